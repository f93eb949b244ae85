"""Prefixes and clashes: two parts of a kind in one machine."""

from __future__ import annotations

import itertools

import pytest

from bridge.mapping.clash import BRIDGE, Clash, clashes
from bridge.mapping.compile import CompiledMapping, compile_mapping
from bridge.mapping.machine import PartMapping, compile_machine
from bridge.mapping.prefix import prefixed
from bridge.mapping.targets import targets_of
from bridge.model.path import Place
from bridge.model.plant import Part
from tests.mapping.rig import Rig, mapping_file

MACHINE = """
for_each: {zone: {Front: {key: front}}}
tags:
  Monitoring/P/<zone>: {from: live.<zone.key>, type: Double, limits: {high: 9}}
  Setpoints/Mode:
    {from: state.m, enum: {Off: 0, Run: 1}, was: [Setpoints/M], write: {send: $value, confirm: {Status/Ready: true}}}
  Setpoints/Speed: {from: state.s, type: Double, range: [0, 9], write: {send: $value, requires: {Status/Ready: true}}}
  Status/Ready: {from: state.r, type: Boolean}
commands:
  Stop: {send: stop, safe: true, confirm: {any: [{Setpoints/Mode: "Off"}, {Status/Ready: false}]}}
  Load: {args: {Speed: [0, 9]}, set: {Setpoints/Speed: $Speed, Setpoints/Mode: Run}, requires: {Status/Ready: true}}
item_state: {from: Setpoints/Mode, map: {Run: Executing}}
examples:
  - {given: {channel: live, payload: {front: 1.0}}, expect: {Monitoring/P/Front: 1.0}}
"""


def compiled_with(prefix: str, text: str = MACHINE) -> CompiledMapping:
    found: list[object] = []
    file = mapping_file(text)
    mapping = compile_mapping(prefixed(file, prefix) if prefix else file, lambda *fault: found.append(fault))
    assert found == []
    return mapping


def part(name: str, mapping: CompiledMapping) -> PartMapping:
    return PartMapping(Part(name, f"source-{name}", name, mapping.name), mapping, {}, accepts_writes=True)


def test_every_name_is_one_level_deeper() -> None:
    mapping = compiled_with("Two")
    assert {name for spec in mapping.tags for name in spec.names} == {
        "Monitoring/Two/P/Front",
        "Alarms/Two/P/Front/High",
        "Setpoints/Two/Mode",
        "Setpoints/Two/ModeText",
        "Setpoints/Two/Speed",
        "Status/Two/Ready",
    }
    assert [command.name for command in mapping.commands] == ["Two/Stop", "Two/Load"]
    assert mapping.was == {"Setpoints/Two/M": "Setpoints/Two/Mode"}
    assert mapping.examples == ()


def test_values_and_item_state_come_as_without_it() -> None:
    rig = Rig(compiled_with("Two"))
    rig.see("live", {"front": 12.5})
    rig.see("state", {"m": "Run", "s": 1.0, "r": True})
    assert rig.value("Monitoring/Two/P/Front") == 12.5
    assert rig.value("Alarms/Two/P/Front/High") is True
    assert rig.value("Setpoints/Two/ModeText") == "Run"
    assert rig.value("Status/ItemState") == 3


def test_what_is_sent_and_what_confirms_is_the_same() -> None:
    def orders(prefix: str) -> list[tuple[object, ...]]:
        mapping = compiled_with(prefix)
        number = itertools.count()
        machine = compile_machine("m", Place("a", "b"), [part("x", mapping)], lambda _: next(number)).machine
        arguments = {"value": 1, "Speed": 3.0}
        targets = targets_of("m", machine.parts[0], mapping, {tag.name: tag for tag in machine.tags})
        return [
            (item.action.payload, _unprefixed(item.action.confirm), _unprefixed(item.action.requires))
            for target in targets
            for item in target.items({argument.name: arguments[argument.name] for argument in target.arguments})
        ]

    assert orders("Two") == orders("")
    assert len(orders("Two")) == 5


def _unprefixed(told: object) -> str:
    return repr(told).replace(".Two.", ".")


def test_two_of_a_kind_fit_into_one_machine_with_a_prefix_and_not_without() -> None:
    plain, other = part("one", compiled_with("")), part("two", compiled_with(""))
    clashing = clashes([plain, other])
    assert {clash.name for clash in clashing} >= {
        "Setpoints/Mode",
        "Setpoints/M",
        "Commands/Stop",
        "Alarms/P/Front/High",
    }
    assert clashes([plain, part("two", compiled_with("Two"))]) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Monitoring/p/FRONT", [Clash("Monitoring/p/FRONT", "job", "Monitoring/P/Front", "values")]),
        ("Monitoring/P", [Clash("Monitoring/P", "job", "Monitoring/P/Front", "values")]),
        ("Status/Ready/Since", [Clash("Status/Ready/Since", "job", "Status/Ready", "values")]),
        ("Setpoints/M", [Clash("Setpoints/M", "job", "Setpoints/M", "values")]),
        ("Status/ItemState/X", [Clash("Status/ItemState/X", "job", "Status/ItemState", BRIDGE)]),
        ("Monitoring/P/Back", []),
        ("Status/M", []),
    ],
)
def test_what_clashes(name: str, expected: list[Clash]) -> None:
    job = compiled_with("", f"tags: {{{name}: {{from: live.x, type: Double}}}}")
    assert clashes([part("values", compiled_with("")), part("job", job)]) == expected
