"""What `why` tells of a value is what the projection did."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from bridge.config.library import MappingLibrary
from bridge.mapping.examples import _as_given
from bridge.mapping.projection import PartProjection
from bridge.mapping.tag_plan import TagPlan
from bridge.mapping.trace import around, change, trace, verdict
from bridge.model.observation import Observation
from bridge.model.value import DataValue
from tests.mapping.rig import Rig

SHIPPED = MappingLibrary.load([])
TAGS = """
tags:
  Monitoring/P: {from: [live.a.p, live.p], type: Double, scale: 0.1, offset: 1, precision: 2,
                 range: [0, 100], deadband: 0.5}
  Monitoring/Slow: {from: live.slow, type: Double, min_interval: 60s}
  Monitoring/Sum: {from: {a: live.x, b: live.y}, expr: a + b, type: Double,
                   bad_when: {path: live.broken, eq: true, reason: It is broken}}
  Monitoring/Mode: {from: live.mode, enum: {Off: 0, On: 1}}
"""


def plan_of(rig: Rig, name: str) -> TagPlan:
    plan = rig.projection.plan_of(rig.slots[name])
    assert plan is not None
    return plan


@pytest.mark.parametrize("name", sorted(SHIPPED.names))
def test_the_value_at_the_end_of_the_steps_is_the_one_that_was_told(name: str) -> None:
    """Over every example of every shipped mapping."""
    mapping = SHIPPED.compiled(name)
    for example in mapping.examples:
        if example.given is None:
            continue
        slots: dict[str, int] = {}
        counter = itertools.count()
        projection = PartProjection(mapping, lambda tag: slots.setdefault(tag, next(counter)))  # noqa: B023
        told: dict[int, DataValue] = {}
        at = datetime(2026, 1, 1, tzinfo=UTC)
        for one in _as_given(example):
            at += timedelta(seconds=one.after)
            told.update(projection.project(Observation("source", "machine", one.channel, one.payload, at)))
        for spec in mapping.tags:
            value = told.get(slots[spec.definition.name])
            if value is None or value.value is None:
                continue
            traced = trace(spec, projection.payloads)
            assert (spec.definition.name, traced.value) == (spec.definition.name, value.value)
            assert verdict(spec, traced, value) == "" or not value.status.is_good


def test_alternatives_and_steps_are_told_in_order() -> None:
    rig = Rig(TAGS)
    rig.see("live", {"p": 120})
    traced = trace(plan_of(rig, "Monitoring/P").spec, rig.projection.payloads)
    assert [(str(look.path), look.found, look.chosen) for look in traced.looks] == [
        ("live.a.p", "absent", False),
        ("live.p", "value", True),
    ]
    assert [*traced.steps] == [("type: Double", 120.0), ("scale: 0.1 offset: 1", 13.0), ("precision: 2", 13.0)]


def test_a_value_that_is_held_back_says_by_what() -> None:
    rig = Rig(TAGS)
    rig.see("live", {"p": 120, "slow": 1.0})
    plan, slow = plan_of(rig, "Monitoring/P"), plan_of(rig, "Monitoring/Slow")
    assert change(plan, 13.0).startswith("It was told")
    assert rig.see("live", {"p": 121, "slow": 2.0}) == {}
    said = change(plan, trace(plan.spec, rig.projection.payloads).value)
    assert said == "Held back: 13.1 is less than the deadband 0.5 away from 13, told before"
    assert "at most every 60 s" in change(slow, trace(slow.spec, rig.projection.payloads).value)


@pytest.mark.parametrize(
    ("payload", "name", "by"),
    [
        ({"p": 2000}, "Monitoring/P", "range"),
        ({"p": "hot"}, "Monitoring/P", "type"),
        ({"p": None}, "Monitoring/P", "absent"),
        ({"x": 1, "y": 2, "broken": True}, "Monitoring/Sum", "bad_when"),
        ({"x": 1}, "Monitoring/Sum", "absent"),
        ({"mode": "Sideways"}, "Monitoring/Mode", "enum"),
        ({"mode": "On"}, "Monitoring/Mode", ""),
    ],
)
def test_what_decided_the_status_is_named(payload: dict[str, Any], name: str, by: str) -> None:
    rig = Rig(TAGS)
    rig.see("live", payload)
    spec = plan_of(rig, name).spec
    assert verdict(spec, trace(spec, rig.projection.payloads), rig.values[name]) == by


def test_the_text_of_an_enum_is_made_by_the_same_plan() -> None:
    rig = Rig(TAGS)
    assert plan_of(rig, "Monitoring/ModeText") is plan_of(rig, "Monitoring/Mode")


def test_the_part_around_a_path_is_bounded_and_can_be_written_as_json() -> None:
    payload = {"deep": {"zones": [{"t": 1, "big": 2**70, "text": "x" * 1000, **{f"k{i}": [i] for i in range(50)}}]}}
    shown = around(payload, ("deep", "zones", 0, "t"))
    inner = shown["deep"]["zones"]["[0] of 1"]
    assert next(iter(inner.items())) == ("t", 1)
    assert inner["big"] == "a whole number of 71 bits"
    assert len(orjson.dumps(shown)) < 1000
    assert inner["…"] == "41 more"


@pytest.mark.parametrize(
    ("payload", "keys", "shown"),
    [
        ({"a": 1, "b": {"c": 2}}, ("x", "y"), {"a": 1, "b": "{1 fields}"}),
        ([1, 2], (5,), "[2 items]"),
        (None, ("a",), None),
        ({"a": 1}, (), {"a": 1}),
    ],
)
def test_a_path_that_leads_nowhere_shows_what_is_there_instead(payload: Any, keys: Any, shown: Any) -> None:
    assert around(payload, keys) == shown
