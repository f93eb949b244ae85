"""What a Sparkplug metric costs: its bytes, and the whole way from changed values to a payload.

    encode   MetricEncoder.encode for each metric, one stamp, payload()
    change   DataValues of one batch -> MetricSet.data (compare, time, quality, order) -> payload()
    upb      the same metrics by Google's Protocol Buffers runtime: add(**fields) for each, SerializeToString()

One process, nothing else: no feed, no session, no link. Each figure is the shortest of many short slices,
which other work on the computer hardly touches.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.model.path import Place
from bridge.model.plant import Machine, Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Tag, TagDefinition
from bridge.model.value import DataType, DataValue, to_milliseconds
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.plan import Plan

METRICS = (10, 100)
NOW = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
MIXED = (DataType.Double, DataType.Double, DataType.Int64, DataType.Boolean, DataType.String)
SLICE_METRICS = 400


@dataclass
class EncodeCost:
    """One kind of message; microseconds a metric."""

    metrics: int
    content: str
    size: int
    """Bytes of a message."""
    encode_us: float
    change_us: float
    upb_us: float | None
    """None where the runtime, or Tahu's schema, is not installed."""


def run(seconds: float) -> list[EncodeCost]:
    """Every kind of message, for so long altogether."""
    kinds = [
        (count, content, kinds, aliases)
        for content, kinds, aliases in (
            ("Double", (DataType.Double,), False),
            ("Double, aliases", (DataType.Double,), True),
            ("mixed", MIXED, False),
        )
        for count in METRICS
    ]
    gc.collect()
    gc.disable()
    try:
        return [_cost(*kind, seconds / len(kinds) / 3) for kind in kinds]
    finally:
        gc.enable()


def _cost(count: int, content: str, kinds: tuple[DataType, ...], aliases: bool, seconds: float) -> EncodeCost:
    place, tags = Place("acme", "lab"), tuple(_tag(n, kinds[n % len(kinds)]) for n in range(count))
    machine = Machine("m", place, "bench", (), tags)
    plan = Plan(Machine("bridge", place, "bridge", (), ()), SparkplugConfig(aliases=aliases))
    plan.follow(plan.difference(Plant(plan.node.machine, {"m": machine})))
    device = plan.devices["m"]
    device.birth(_Nothing(), NOW, 0)  # type: ignore[arg-type]
    batches = _batches(machine)
    encoders = [metric.encoder for metric in device.metrics.values()]
    values = [value.value for _, value in batches[0][1]]
    pairs = [*zip(encoders, values, strict=True)]

    def encode(turn: int) -> bytes:
        now_ms = batches[turn][0]
        stamp = codec.stamp(now_ms)
        return codec.payload(now_ms, [one.encode(stamp, value) for one, value in pairs], turn)

    def change(turn: int) -> bytes:
        now_ms, changed = batches[turn]
        return codec.payload(now_ms, device.data(changed, now_ms), turn)

    upb = _upb(machine, values, aliases)
    return EncodeCost(
        count,
        content,
        len(encode(0)),
        _shortest(encode, count, seconds),
        _shortest(change, count, seconds),
        None if upb is None else _shortest(upb, count, seconds),
    )


def _shortest(make: Callable[[int], bytes], count: int, seconds: float) -> float:
    """Microseconds a metric, in the shortest slice."""
    turns, shortest, end = max(1, SLICE_METRICS // count), float("inf"), time.perf_counter() + seconds
    turn = 0
    while time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(turns):
            turn = (turn + 1) % 200
            make(turn)
        shortest = min(shortest, time.perf_counter() - begin)
    return shortest / turns / count * 1e6


def _tag(number: int, kind: DataType) -> Tag:
    definition = TagDefinition(f"Monitoring/Temperature/Zone{number}", kind)
    return Tag(f"m.{definition.name}", number, "m", definition)


def _batches(machine: Machine) -> list[tuple[int, list[tuple[int, DataValue]]]]:
    """200 batches in which every value and the time have changed."""
    samples: dict[DataType, Callable[[int], Any]] = {
        DataType.Double: lambda n: n * 1.1,
        DataType.Int64: lambda n: 1000 * n,
        DataType.Boolean: lambda n: n % 2 == 0,
        DataType.String: lambda n: f"Message {n}",
    }
    batches = []
    for turn in range(200):
        at = NOW + timedelta(milliseconds=100 * turn)
        batch = [
            (tag.slot, DataValue(samples[tag.definition.data_type](turn + tag.slot), StatusCode.Good, at, at))
            for tag in machine.tags
        ]
        batches.append((to_milliseconds(at) + 5, batch))
    return batches


class _Nothing:
    """A table without values."""

    def read(self, tag: Tag) -> DataValue:
        return DataValue(None, StatusCode.BadWaitingForInitialData, NOW - timedelta(days=1), NOW)


def _upb(machine: Machine, values: list[Any], aliases: bool) -> Callable[[int], bytes] | None:
    try:
        from sparkplub_b_packets.core.sparkplug_b_pb2 import Payload
    except ImportError:
        return None
    fields = {float: "double_value", int: "long_value", bool: "boolean_value", str: "string_value"}
    keys: list[dict[str, Any]] = [{"alias": tag.slot + 1} if aliases else {"name": tag.name} for tag in machine.tags]
    told = [(key, fields[type(value)], value) for key, value in zip(keys, values, strict=True)]

    def encode(turn: int) -> bytes:
        now_ms = to_milliseconds(NOW) + turn
        payload = Payload(timestamp=now_ms, seq=turn)
        for key, field, value in told:
            payload.metrics.add(timestamp=now_ms, **key, **{field: value})
        return bytes(payload.SerializeToString())

    return encode
