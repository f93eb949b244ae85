"""What may be written about an organisation, and how faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from tests.sites import make_site

SITE = """
version: 1
bridge: {{name: b, enterprise: acme, site: essen, state_directory: state{bridge}}}
sources:
  tmm:
    type: trackmymachines
    events_url: https://acme.trackmymachines.app/
    step_events_url: https://acme.trackmymachines.com
    api_key: secret-key{source}
machines:
  - id: mill-1
    source: tmm
    machine: {{foreign_id: MACHINE_001{machine}}}
"""


def faults(folder: Path, source: str = "", machine: str = "", bridge: str = "") -> list[str]:
    extra = "".join(f"\n    {line}" for line in source.split("; ") if line)
    try:
        make_site(folder, SITE.format(source=extra, machine=machine, bridge=bridge))
    except ConfigError as error:
        assert "secret-key" not in str(error)
        return [str(fault).partition("bridge.yaml:")[2] for fault in error.faults]
    return []


def test_addresses_get_the_path_of_the_api(tmp_path: Path) -> None:
    site = make_site(tmp_path, SITE.format(source="", machine="", bridge=""))
    config = site.file.sources["tmm"]
    assert config.type == "trackmymachines"
    assert config.events_url == "https://acme.trackmymachines.app/api/v1"
    assert not config.accepts_writes
    assert "secret-key" not in repr(config)
    assert site.identities("tmm")["MACHINE_001"]["foreign_id"] == "MACHINE_001"


def test_writes_want_to_know_which_parts_and_which_machine(tmp_path: Path) -> None:
    told = faults(tmp_path, "writes: true")
    assert [fault.split(": ")[1] for fault in told] == ["sources.tmm.writes", "machines[0].machine"]
    assert "allow" in told[0]
    assert "display_name" in told[1]
    assert told[1].startswith("14:14")
    assert faults(tmp_path, 'writes: true; allow: {part: "[0-9]+"}', ", display_name: Machine 1") == []


@pytest.mark.parametrize("key", ["display_name: Machine 1", "number: 6"])
def test_two_machines_are_not_the_same_one_to_the_vendor(tmp_path: Path, key: str) -> None:
    second = f"}}\n  - id: mill-2\n    source: tmm\n    machine: {{foreign_id: MACHINE_002, {key}"
    [told] = faults(tmp_path, machine=f", {key}{second}")
    assert told.startswith("16:")
    assert f": machines[1].machine.{key.split(':')[0]}: is that of MACHINE_001 too" in told


def test_half_of_the_short_form_names_the_vendors_own_keys(tmp_path: Path) -> None:
    [told] = faults(tmp_path, machine="}\n  - {id: mill-2, source: tmm")
    assert told.endswith("expected source: tmm and machine: {foreign_id: …}")


def test_a_key_that_is_empty_is_none(tmp_path: Path) -> None:
    text = SITE.format(source="", machine="", bridge="").replace("secret-key", "''")
    with pytest.raises(ConfigError, match="api_key: is empty; expected some text"):
        make_site(tmp_path, text)


@pytest.mark.parametrize(
    ("source", "bridge", "told"),
    [
        ("calendar: days", "", "time_zone"),
        ("calendar: shifts", ", time_zone: Europe/Berlin", "shifts"),
        ("finish_parameter: end", "", "2025-07"),
        ("period: 2s", "", "period"),
        ("max_backfill: 30d", "", "max_backfill"),
        ('allow: {part: "("}', "", "regular expression"),
        ("user_email: anna", "", "e-mail"),
        ("api_kez: x", "", "api_key"),
    ],
)
def test_a_fault_is_told_where_it_is(tmp_path: Path, source: str, bridge: str, told: str) -> None:
    found = faults(tmp_path, source, bridge=bridge)
    assert len(found) >= 1
    assert any(told in fault for fault in found), found
