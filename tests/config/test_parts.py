"""Parts of one machine: what `check` says of names that two of them have, and what a prefix makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from tests.sites import make_site

SITE = """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
sources:
  panel: {type: qitech, url: "http://127.0.0.1:3001", PROFILE}
  account: {type: quantiix, email: me@acme.example, password: secret}
machines:
  - id: line-1
    TAGS
    parts:
      one: {source: panel, machine: {slug: extruder_v1, serial: 1}}
      availability: {source: account, machine: {unique_id: X}}
      two: {source: panel, machine: {slug: winder_v1, serial: 2}, PREFIX}
"""


def site_text(prefix: str = "", profile: str = "profile: 3.x", tags: str = "") -> str:
    return SITE.replace(", PREFIX", f", {prefix}" if prefix else "").replace("PROFILE", profile).replace("TAGS", tags)


def faults(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        make_site(folder, text)
    return str(raised.value)


@pytest.mark.parametrize("profile", ["profile: 3.x", "profile: auto"])
def test_names_that_two_parts_make_are_one_fault_at_the_later_part(tmp_path: Path, profile: str) -> None:
    told = faults(tmp_path, site_text(profile=profile))
    assert told.count("the part one makes it too") == 1
    assert "more)" in told
    assert f"{tmp_path / 'bridge.yaml'}:13:7" in told
    assert "prefix: <Word> in one of the two parts" in told


def test_a_prefix_makes_room(tmp_path: Path) -> None:
    site = make_site(tmp_path, site_text("prefix: Winder"))
    mapping = site.mapping(site.machines[0], site.machines[0].parts[2])
    assert mapping is not None
    assert {spec.definition.name.split("/")[1] for spec in mapping.tags} == {"Winder"}


@pytest.mark.parametrize(
    ("prefix", "problem"),
    [
        ("prefix: ItemState", "the bridge makes Status/ItemState"),
        ("prefix: Last", "the bridge makes Commands/Last"),
        ("prefix: Win der", "only letters, digits"),
        ('prefix: ""', "only letters, digits"),
        ("prefix: Win/der", "only letters, digits"),
    ],
)
def test_a_prefix_that_cannot_be(tmp_path: Path, prefix: str, problem: str) -> None:
    assert problem in faults(tmp_path, site_text(prefix))


def test_overrides_go_by_the_name_that_people_see(tmp_path: Path) -> None:
    site = make_site(tmp_path, site_text("prefix: Winder"))
    parts = {part.part.name: site.mapping(site.machines[0], part) for part in site.machines[0].parts}
    ranged = [s for s in parts["two"].tags if s.rule.write and s.definition.eu_range]  # type: ignore[union-attr]
    name, (low, high) = ranged[0].definition.name, ranged[0].definition.eu_range  # type: ignore[misc]
    narrower = f"tags: {{{name}: {{range: [{low}, {(low + high) / 2}]}}}}"
    site = make_site(tmp_path, site_text("prefix: Winder", tags=narrower))
    mapping = site.mapping(site.machines[0], site.machines[0].parts[2])
    assert mapping is not None
    assert {s.definition.name: s.definition.eu_range for s in mapping.tags}[name] == (low, (low + high) / 2)
    assert "is wider" in faults(
        tmp_path, site_text("prefix: Winder", tags=f"tags: {{{name}: {{range: [{low}, 1e9]}}}}")
    )
    without = name.replace("Winder/", "")
    assert f'did you mean "{name}"' in faults(
        tmp_path, site_text("prefix: Winder", tags=f"tags: {{{without}: {{label: x}}}}")
    )
