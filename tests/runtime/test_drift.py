"""Schema drift: new, vanished and retyped fields, told once, counted, offered as a mapping patch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.config.documents import parse_document
from bridge.mapping.shape import MAX_FIELDS, path_of, shape_of, tag_name
from bridge.model.observation import Observation
from bridge.runtime.drift import LOOK_EVERY_S, MAX_FINDINGS, DriftWatch, Finding, patch
from tests.mapping.rig import START, compiled
from tests.runtime.test_plant_keeper import LIVE, House


class Watched:
    def __init__(self) -> None:
        self.told: list[Finding] = []
        self.watch = DriftWatch(self.told.append)

    def see(self, payload: Any, machine: str = "m1") -> list[tuple[str, str, str, str]]:
        before = len(self.told)
        self.watch.look("acme/press", machine, Observation("panel", machine, "live", payload, START))
        return [(one.kind, one.path, one.before, one.after) for one in self.told[before:]]


def test_the_first_payload_is_what_others_are_compared_with() -> None:
    watched = Watched()
    assert watched.see({"a": 1, "b": {"c": "x"}}) == []
    assert watched.see({"a": 2.5, "b": {"c": "y"}}) == []
    assert watched.see({"a": 2, "b": {"c": "y", "d": True}}) == [("new", "live.b.d", "", "Boolean")]
    assert watched.see({"a": "2", "b": {"d": True}}) == [
        ("retyped", "live.a", "Double", "String"),
        ("gone", "live.b.c", "String", ""),
    ]


def test_null_is_no_kind_and_a_finding_is_told_once_for_all_machines() -> None:
    watched = Watched()
    assert watched.see({"a": 1, "n": None}) == []
    assert watched.see({"a": None, "n": 3}) == []
    assert watched.see({"a": 1, "n": "text"}) == [("retyped", "live.n", "Double", "String")]
    watched.see({"a": 1}, "m2")
    assert watched.see({"a": 1, "z": 1}, "m2") == [("new", "live.z", "", "Double")]
    watched.see({"a": 1}, "m3")
    assert watched.see({"a": 1, "z": 1}, "m3") == []
    assert [one.count for one in watched.watch.findings if one.kind == "new"] == [2]
    assert watched.watch.total == {"new": 2, "gone": 0, "retyped": 1}


def test_entries_of_a_list_are_one_field() -> None:
    watched = Watched()
    watched.see({"rows": [{"id": 1}]})
    assert watched.see({"rows": [{"id": 1}, {"id": 2}, {"id": 3}]}) == []
    assert watched.see({"rows": [{"id": 1, "why": "x"}]}) == [("new", "live.rows[0].why", "", "String")]


def test_everything_is_bounded() -> None:
    assert len(shape_of({f"k{number}": number for number in range(5000)})) == MAX_FIELDS
    deep: Any = 1
    for _ in range(100):
        deep = {"d": deep}
    assert len(shape_of(deep)) <= 1
    watched = Watched()
    watched.see({})
    for number in range(MAX_FINDINGS + 20):
        watched.see({f"k{number}": 1})
    assert len(watched.watch.findings) == len(watched.told) == MAX_FINDINGS


def test_a_patch_is_a_mapping_that_compiles() -> None:
    watched = Watched()
    watched.see({"a": 1, "old": 1})
    watched.see({"a": "x", "new value": {"in side": 2.5}, "flag": False})
    text = patch([{"mapping": one.mapping, "channel": one.channel, "kind": one.kind, "path": one.path,
                   "before": one.before, "after": one.after} for one in watched.watch.findings])  # fmt: skip
    rules = text.replace("# acme/press\n", "")
    names = {spec.definition.name for spec in compiled(rules).tags}
    assert names == {"Monitoring/NewValue/InSide", "Monitoring/Flag"}
    assert "# live.a: retyped, Double → String" in text
    assert "# live.old: gone" in text
    assert parse_document(text, "patch.yaml").data["tags"]["Monitoring/Flag"]["type"] == "Boolean"


@pytest.mark.parametrize(
    ("keys", "path", "name"),
    [
        (("motor_status", "rpm"), "live.motor_status.rpm", "Monitoring/MotorStatus/Rpm"),
        (("a.b", 0), "live['a.b'][0]", "Monitoring/AB/0"),
        ((), "live", "Monitoring/Value"),
        (("äöü",), "live['äöü']", "Monitoring/Field"),
    ],
)
def test_paths_and_names(keys: tuple[str | int, ...], path: str, name: str) -> None:
    assert (path_of("live", keys), tag_name(keys)) == (path, name)


async def test_a_stream_is_looked_at_now_and_then_and_tells_an_event(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.observe("live_values", LIVE)
    house.observe("live_values", {**LIVE, "amplitude9": 1.0})
    assert not [event for event in house.events if event.kind == "SchemaDrift"]
    await house.clock.advance(LOOK_EVERY_S)
    house.observe("live_values", {**LIVE, "amplitude9": 1.0})
    house.observe("live_values", {**LIVE, "amplitude9": 1.0})
    [event] = [event for event in house.events if event.kind == "SchemaDrift"]
    assert event.machine == "mock-1"
    assert event.message.startswith("live_values.amplitude9 of qitech/mock is new (Double)")
