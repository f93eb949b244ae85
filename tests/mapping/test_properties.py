"""Whatever a vendor sends: projection never raises, and what it says can be shown on every face."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.config.library import MappingLibrary
from bridge.mapping.compile import CompiledMapping, TagSpec
from bridge.model.payload_path import Path, parse_path
from bridge.model.value import INTEGER_LIMITS, DataType, DataValue
from tests.mapping.rig import Rig, compiled

EVERYTHING = compiled(
    """
for_each: {n: {count: 2}}
tags:
  Monitoring/Plain: {from: live.a, type: Double}
  Monitoring/Scaled: {from: live.a, type: Double, scale: 1e300, offset: -1, range: [-1e308, 1e308], deadband: 0.5}
  Monitoring/Precise: {from: live.a, type: Double, precision: 3}
  Monitoring/Whole: {from: live.a, type: Int32, scale: 1000}
  Monitoring/Natural: {from: live.a, type: UInt32}
  Monitoring/Long: {from: live.a, type: Int64}
  Monitoring/Flag: {from: live.a, type: Boolean, map: {"1": true, "0.5": false, x: true}}
  Monitoring/Text: {from: live.a, type: String}
  Monitoring/When: {from: live.a, type: DateTime}
  Monitoring/Either: {from: [live.a, live.b], type: Double, min_interval: 3s}
  Monitoring/Ratio: {from: {a: live.a, b: state.b}, type: Double, expr: a / b}
  Monitoring/Word: {from: live.a, enum: {Off: 0, x: 1}, null_is: Off}
  Monitoring/Dated: {from: live.a, time: live.t, type: Double, max_age: 10s, limits: {low: -5, high: 5}}
  Monitoring/Judged:
    from: live.a
    type: Double
    quality: {from: state.q, map: {x: Good, "1": UncertainLastUsableValue, "true": BadDeviceFailure}}
    bad_when: {path: state.b, in: [1, x, true]}
    uncertain_when: [{path: live.a, gt: 1, for: 2s}, {expr: a > b, from: {a: live.a, b: state.b}}]
  Monitoring/Of/<n>: {from: "live.list[<n.index>]", type: Double}
item_state: {from: Monitoring/Flag, map: {"true": Executing}}
"""
)

SHIPPED = MappingLibrary.load([])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        [0, 1, 0.0, 10**400, -(10**400), 2**63, 2**64, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan]
    ),
    st.floats(),
    st.text(st.characters(codec=None, categories=None, exclude_categories=()), max_size=8),
    st.sampled_from(
        ["x", "Standby", "Off", "2026-03-04T05:06:07Z", "0001-01-01T00:00:00+23:59", "1767225600500", "\ud800"]
    ),
    st.builds(list),
    st.builds(dict),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "t", "q", "list"]), inner),
    max_leaves=12,
)


def paths(spec: TagSpec) -> list[Path]:
    conditions = [
        parse_path(one.path)
        for listed in (spec.rule.bad_when, spec.rule.uncertain_when)
        for rule in (listed if isinstance(listed, list) else [listed] if listed else [])
        for one in (rule.all or [rule])
        if one.path
    ]
    return [path for _, path in spec.sources] + conditions


def shaped(mapping: CompiledMapping, channel: str) -> st.SearchStrategy[Any]:
    """Payloads with the mapping's own outline and anything at its ends."""
    wanted = sorted({path.keys for spec in mapping.tags for path in paths(spec) if path.channel == channel}, key=str)

    @st.composite
    def build(draw: st.DrawFn) -> Any:
        payload: dict[Any, Any] = {}
        chosen = draw(st.lists(st.sampled_from(wanted), max_size=8, unique=True)) if wanted else []
        for keys in chosen:
            place(payload, keys, draw(LEAVES))
        return payload

    return build() | JSON


def place(payload: Any, keys: Sequence[str | int], leaf: Any) -> None:
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        if not isinstance(payload, list if isinstance(key, int) else dict):
            return
        if isinstance(payload, list):
            payload.extend([None] * (int(key) + 1 - len(payload)))
        inner: Any = leaf if following is None else [] if isinstance(following, int) else {}
        if following is None or (payload[key] if isinstance(payload, list) else payload.get(key)) is None:
            payload[key] = inner  # type: ignore[index]
        payload = payload[key]  # type: ignore[index]


TYPES = {
    DataType.Boolean: bool,
    DataType.Double: float,
    DataType.String: str,
    DataType.DateTime: datetime,
    **dict.fromkeys(INTEGER_LIMITS, int),
}


def assert_sound(said: DataValue, data_type: DataType | None) -> None:
    value = said.value
    for moment in (said.source_timestamp, said.server_timestamp, *((said.since,) if said.since else ())):
        assert moment.tzinfo is UTC
        assert moment.microsecond % 1000 == 0
    said.reason.encode()
    assert (said.reason == "") is said.status.is_good
    assert (said.since is None) is said.status.is_good
    if said.status.is_bad:
        assert value is None
        return
    assert value is not None
    if isinstance(value, float):
        assert math.isfinite(value)
    if isinstance(value, str):
        value.encode()
    if data_type is not None:
        assert type(value) is TYPES[data_type]
    if data_type in INTEGER_LIMITS:
        low, high = INTEGER_LIMITS[data_type]
        assert low <= value <= high  # type: ignore[operator]


def types(mapping: CompiledMapping) -> dict[str, DataType]:
    found = {spec.definition.name: spec.definition.data_type for spec in mapping.tags}
    for spec in mapping.tags:
        if spec.text:
            found[spec.text.name] = DataType.String
        found.update({alarm.name: DataType.Boolean for alarm, _ in spec.alarms})
    return found | {"Status/ItemState": DataType.UInt32}


def check(mapping: CompiledMapping, said: Sequence[tuple[str, Any, float]]) -> None:
    machine = Rig(mapping)
    expected = types(mapping)
    for channel, payload, after in said:
        for name, value in machine.see(channel, payload, after).items():
            assert_sound(value, expected[name])
        assert machine.see(channel, payload, after=0) == {}


STEPS = st.sampled_from([0.033, 1.0, 4.0, 20.0])


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_any_payload_is_projected_soundly_and_once(data: st.DataObject) -> None:
    either = st.sampled_from(["live", "state"])
    steps = st.tuples(either, st.dictionaries(st.sampled_from("abtq"), LEAVES) | JSON, STEPS)
    check(EVERYTHING, data.draw(st.lists(steps, min_size=1, max_size=6)))


@pytest.mark.parametrize("name", SHIPPED.names)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_payload_of_a_shipped_mapping_is_projected_soundly_and_once(name: str, data: st.DataObject) -> None:
    mapping = SHIPPED.compiled(name)
    steps = st.sampled_from(sorted(mapping.channels)).flatmap(
        lambda channel: st.tuples(st.just(channel), shaped(mapping, channel), STEPS)
    )
    check(mapping, data.draw(st.lists(steps, min_size=1, max_size=4)))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, 0.5, 3.0])), max_size=20)
)
def test_value_shown_is_never_further_off_than_the_deadband(values: list[tuple[float, float]]) -> None:
    machine = Rig("tags: {Monitoring/A: {from: live.a, type: Double, deadband: 2}}")
    for base, step in values:
        machine.see("live", {"a": base + step})
        assert abs(machine.value("Monitoring/A") - (base + step)) < 2  # type: ignore[operator]
