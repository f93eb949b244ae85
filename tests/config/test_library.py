"""The library of mappings: loading, `extends`, overrides, choosing."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import pytest

from bridge.config.library import MappingLibrary
from bridge.mapping.clash import clashes
from bridge.mapping.machine import PartMapping
from bridge.model.plant import Part
from bridge.model.status import StatusCode

BASE = """
version: 1
mapping: test/base
abstract: true
channels: {live: {periodic: 1s}}
for_each: {zone: {Front: {key: front}}}
tags:
  Monitoring/<zone>: {from: live.<zone.key>, type: Double, unit: bar, range: [0, 10]}
  Monitoring/Old: {from: live.old, type: Double}
commands: {Stop: {send: stop}}
examples:
  - {given: {channel: live, payload: {front: 1}}, expect: {Monitoring/Front: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mappings").mkdir()
    return tmp_path / "mappings"


def library(folder: Path, **files: str) -> MappingLibrary:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return MappingLibrary.load([folder], shipped=False)


def told(found: MappingLibrary) -> list[str]:
    """The faults without the folder."""
    return [f"{Path(fault.file).name}:{fault.line}: {fault.key_path}: {fault.problem}" for fault in found.faults]


CHILD = "version: 1\nmapping: test/child\nextends: test/base\nmatch: {vendor: 1}\n"


def test_mapping_inherits_and_changes_key_by_key(folder: Path) -> None:
    found = library(folder, base=BASE, child=CHILD + "tags: {Monitoring/<zone>: {range: [0, 20]}}\n")
    assert told(found) == []
    specs = {spec.definition.name: spec.definition for spec in found.compiled("test/child").tags}
    assert set(specs) == {"Monitoring/Front", "Monitoring/Old"}
    assert specs["Monitoring/Front"].eu_range == (0, 20)
    assert specs["Monitoring/Front"].unit is not None and specs["Monitoring/Front"].unit.code == "bar"
    assert [spec.name for spec in found.compiled("test/child").commands] == ["Stop"]


def test_null_removes_what_is_inherited(folder: Path) -> None:
    found = library(folder, base=BASE, child=CHILD + "tags: {Monitoring/Old: null}\ncommands: {Stop: null}\n")
    assert told(found) == []
    assert [spec.definition.name for spec in found.compiled("test/child").tags] == ["Monitoring/Front"]
    assert found.compiled("test/child").commands == ()


def test_abstract_base_is_no_machine_and_its_examples_are_not_inherited(folder: Path) -> None:
    found = library(folder, base=BASE, child=CHILD)
    assert found.names == ["test/child"]
    assert found.compiled("test/child").examples == ()
    assert found.choose({"vendor": 1}) is found.compiled("test/child")


def test_abstract_base_may_be_incomplete(folder: Path) -> None:
    base = BASE.replace("for_each: {zone: {Front: {key: front}}}\n", "").partition("examples:")[0]
    child = CHILD + "for_each: {zone: {Left: {key: left}}}\n"
    found = library(folder, base=base, child=child)
    assert told(found) == []
    assert "Monitoring/Left" in {spec.definition.name for spec in found.compiled("test/child").tags}


def test_grandchildren_inherit_through_their_parents(folder: Path) -> None:
    grandchild = CHILD.replace("child", "grandchild").replace("test/base", "test/child")
    found = library(folder, base=BASE, child=CHILD + "tags: {Monitoring/Old: null}\n", grandchild=grandchild)
    assert told(found) == []
    assert [spec.definition.name for spec in found.compiled("test/grandchild").tags] == ["Monitoring/Front"]


def test_unknown_base_is_told_with_the_nearest_name(folder: Path) -> None:
    found = library(folder, base=BASE, child=CHILD.replace("test/base", "test/bsae"))
    assert told(found) == ["child.yaml:3: extends: there is no mapping 'test/bsae'"]
    assert found.faults[0].hint == 'did you mean "test/base"?'
    assert found.names == []


def test_circle_is_told_and_not_walked_for_ever(folder: Path) -> None:
    one = CHILD.replace("test/child", "test/one").replace("test/base", "test/two")
    two = CHILD.replace("test/child", "test/two").replace("test/base", "test/one")
    found = library(folder, one=one, two=two)
    assert len(found.faults) == 2
    assert all("is a circle" in fault.problem for fault in found.faults)


def test_name_taken_twice_in_one_folder_is_told(folder: Path) -> None:
    found = library(folder, base=BASE, other=BASE)
    assert [line.partition(" is also")[0] for line in told(found)] == ["other.yaml:3: mapping: test/base"]


def test_later_folder_replaces_a_mapping(folder: Path, tmp_path: Path) -> None:
    library(folder, own="version: 1\nmapping: test/own\nmatch: {vendor: 1}\nlabel: shipped\n")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "own.yaml").write_text("version: 1\nmapping: test/own\nmatch: {vendor: 1}\nlabel: site\n")
    found = MappingLibrary.load([folder, tmp_path / "site"], shipped=False)
    assert told(found) == []
    assert found.compiled("test/own").label == "site"


def test_file_without_a_name_is_told(folder: Path) -> None:
    assert told(library(folder, x="version: 1\n", y="- 1\n")) == [
        "x.yaml:1: : is no mapping: it has no name",
        "y.yaml:1: : is no mapping: it has no name",
    ]


def test_fault_of_a_base_is_told_once_and_in_its_own_file(folder: Path) -> None:
    base = BASE.replace("live.old", "lvie.old")
    child = CHILD + "tags: {Monitoring/New: {from: live.new, type: Double, range: [2, 1]}}\n"
    found = library(folder, base=base, child=child, other=child.replace("test/child", "test/other"))
    assert told(found) == [
        "base.yaml:9: tags.Monitoring/Old.from: 'lvie' is no channel of this mapping",
        "child.yaml:5: tags.Monitoring/New.range: the low end is not below the high end",
        "other.yaml:5: tags.Monitoring/New.range: the low end is not below the high end",
    ]
    assert found.names == []


def test_key_unknown_in_a_base_is_told_once(folder: Path) -> None:
    found = library(folder, base=BASE.replace("unit: bar", "unti: bar"), child=CHILD)
    assert told(found) == ["base.yaml:8: tags.Monitoring/<zone>.unti: unknown key"]
    assert found.names == []


def test_example_that_fails_is_a_fault(folder: Path) -> None:
    example = "examples: [{given: {channel: live, payload: {front: 1}}, expect: {Monitoring/Front: 2}}]\n"
    found = library(folder, base=BASE, child=CHILD + example)
    assert told(found) == ["child.yaml:5: examples[0].expect.Monitoring/Front: is 1.0"]


def test_most_specific_mapping_wins(folder: Path) -> None:
    text = "version: 1\nmapping: test/{0}\nmatch: {{{1}}}\n"
    found = library(
        folder,
        any=text.format("any", "vendor: 1"),
        four=text.format("four", "vendor: 1, machine: 4"),
        old=text.format("old", 'vendor: 1, machine: 4, profile: "2.x"'),
    )

    def chosen(**identity: str | int) -> str | None:
        mapping = found.choose(identity)
        return mapping.name if mapping else None

    assert chosen(vendor=1, machine=9) == "test/any"
    assert chosen(vendor=1, machine=4, profile="3.x") == "test/four"
    assert chosen(vendor=1, machine=4, profile="2.x") == "test/old"
    assert chosen(vendor=2) is None


def test_overrides_compile_anew_and_leave_the_mapping_alone(folder: Path) -> None:
    found = library(folder, base=BASE, child=CHILD)
    changed = found.compiled("test/child", {"Monitoring/Front": {"range": [0, 5]}})
    assert changed.tags[0].definition.eu_range == (0, 5)
    assert found.compiled("test/child").tags[0].definition.eu_range == (0, 10)
    assert found.compiled("test/child", {"Monitoring/Front": {"range": [0, 5]}}) is changed


def test_unknown_mapping_is_a_key_error(folder: Path) -> None:
    with pytest.raises(KeyError):
        library(folder).compiled("test/none")


def test_shipped_mappings_have_no_faults_and_all_their_examples_are_true() -> None:
    found = MappingLibrary.load([])
    assert found.faults == []
    assert found.examples() > 200
    assert all(found.compiled(name).examples for name in found.names)


def test_statuses_of_shipped_examples_exist() -> None:
    """A misspelled status in an example could otherwise be one that no tag ever has."""
    found = MappingLibrary.load([])
    said = [
        wanted["status"]
        for name in found.names
        for example in found.compiled(name).examples
        for wanted in (example.expect or {}).values()
        if isinstance(wanted, dict)
    ]
    assert said
    assert set(said) <= set(StatusCode.__members__)


def test_shipped_mappings_of_different_vendors_fit_into_one_machine() -> None:
    shipped = MappingLibrary.load([])
    by_vendor: dict[str, list[PartMapping]] = {}
    for name in shipped.names:
        vendor = name.partition("/")[0]
        part = PartMapping(Part(vendor, vendor, "1", name), shipped.compiled(name), {})
        by_vendor.setdefault(vendor, []).append(part)
    assert len(by_vendor) > 1
    for one, other in combinations(by_vendor.values(), 2):
        assert [clash for pair in product(one, other) for clash in clashes(pair)] == []
