"""What a message of an Iotistica agent costs: from its bytes to readings, in each encoding.

Intake.take: topic, sniffing, inflating, decoding, names of the dictionary, rows, what is news, one Observation. Twenty
readings a message, each with what the vendor's agent sends beside a value (the recorded one, restamped), one process,
no broker. Each figure is the shortest of many slices.
"""

from __future__ import annotations

import copy
import gc
import json
import time
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgpack

from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.iotistica.mqtt.encoding import decode
from bridge.sources.iotistica.mqtt.intake import Intake
from bridge.sources.iotistica.mqtt.topic import Topics, agent_level
from bridge.sources.iotistica.roster import Roster
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import Message

RECORDED = Path(__file__).parent.parent / "tests" / "recorded" / "iotistica" / "mqtt"
AGENT = "7c2f1a90-4b7e-4d53-9a0e-2f8f6f1d3c55"
READINGS = 20
MESSAGES = 100
"""Of one slice; each with times and values of its own."""


@dataclass
class DecodeCost:
    """One encoding."""

    encoding: str
    size: int
    """Bytes of a message."""
    message_us: float
    metrics: int
    """Readings of a message."""

    @property
    def messages_per_second(self) -> float:
        """On one processor."""
        return 1e6 / self.message_us

    @property
    def metrics_per_second(self) -> float:
        """On one processor."""
        return self.metrics * self.messages_per_second


def run(seconds: float) -> list[DecodeCost]:
    """Every encoding, for so long altogether."""
    batches = [_batch(number) for number in range(MESSAGES)]
    plain = [json.dumps(batch, ensure_ascii=False).encode() for batch in batches]
    packed = [msgpack.packb(batch) for batch in batches]
    pairs = [_pairs(number) for number in range(MESSAGES)]
    compact = [json.dumps(message, ensure_ascii=False).encode() for message in pairs]
    compact_packed = [msgpack.packb(message) for message in pairs]
    ecp = [json.dumps(_ecp(number), ensure_ascii=False).encode() for number in range(MESSAGES)]
    kinds = {
        "json": plain,
        "json, zlib": [zlib.compress(one) for one in plain],
        "msgpack": packed,
        "msgpack, zlib": [zlib.compress(one) for one in packed],
        "dictionary, json": compact,
        "dictionary, msgpack": compact_packed,
        "dictionary, msgpack, zlib": [zlib.compress(one) for one in compact_packed],
        "ecp, json": ecp,
    }
    gc.collect()
    gc.disable()
    try:
        return [_cost(name, payloads, seconds / len(kinds)) for name, payloads in kinds.items()]
    finally:
        gc.enable()


def _cost(name: str, payloads: list[bytes], seconds: float) -> DecodeCost:
    topic = f"i/self-hosted/a/{agent_level(AGENT)}/endpoints/modbus"
    messages = [Message(topic, payload, 1) for payload in payloads]
    shortest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or shortest == float("inf"):
        intake, told = _intake()
        told.clear()
        began = time.perf_counter()
        for message in messages:
            intake.take(message, told.append)
        shortest = min(shortest, time.perf_counter() - began)
        rows = sum(len(item.payload) for item in told if getattr(item, "channel", "") == "readings")
        if rows != READINGS * len(messages):
            raise RuntimeError(f"{name}: {rows} readings of {READINGS * len(messages)}: {intake.last_fault}")
    return DecodeCost(name, len(payloads[0]), shortest / len(messages) * 1e6, READINGS)


def _intake() -> tuple[Intake, list[Any]]:
    config = IotisticaConfig.model_validate({"type": "iotistica", "mqtt": {}})
    if config.mqtt is None:
        raise RuntimeError("no mqtt")
    intake = Intake("edge", config.mqtt, SystemClock(), Roster("edge", config, None), Topics(config.tenant))
    told: list[Any] = []
    whole = (RECORDED / "dictionary_json_11.bin").read_bytes()
    intake.take(Message(f"i/self-hosted/a/{agent_level(AGENT)}/meta/dictionary", whole, 1, True), told.append)
    return intake, told


def _moment(number: int) -> datetime:
    return datetime(2026, 11, 21, 21, 0, tzinfo=UTC) + timedelta(seconds=number)


def _batch(number: int) -> dict[str, Any]:
    """The recorded reading of a number, twenty times."""
    recorded = decode((RECORDED / "custom_json.bin").read_bytes())
    every = [one for group in recorded["messages"] for one in group.get("readings", [group])]
    reading = next(one for one in every if isinstance(one["value"], float) and one["quality"] == "GOOD")
    stamp = _moment(number).isoformat().replace("+00:00", "Z")
    found = []
    for place in range(READINGS):
        one = copy.deepcopy(reading)
        one.update(timestamp=stamp, metric=f"metric_{place}", value=number + place / 10)
        found.append(one)
    return {"timestamp": stamp, "protocol": "modbus", "messages": [{"timestamp": stamp, "readings": found}]}


def _pairs(number: int) -> dict[str, Any]:
    """The recorded compacted reading of a number, twenty times."""
    recorded = decode((RECORDED / "dictionary_json_12.bin").read_bytes())
    groups = next(pair[2] for pair in recorded["p"] if pair[0] == "a")
    every = [one for group in groups for pair in group if pair[0] == "a" for one in pair[2]]
    reading = next(one for one in every if any(pair[0] == 4 and isinstance(pair[1], float) for pair in one))
    value = next(place for place, pair in enumerate(reading) if pair[0] == 4)
    stamp = _moment(number).isoformat().replace("+00:00", "Z")
    found = []
    for place in range(READINGS):
        one = copy.deepcopy(reading)
        one[0][1], one[value - 1][1], one[value][1] = stamp, f"metric_{place}", number + place / 10
        found.append(one)
    return {"v": 1, "p": [[0, stamp], [1, "modbus"], ["a", "messages", [[[0, stamp], ["a", "readings", found]]]]]}


def _ecp(number: int) -> dict[str, Any]:
    recorded = decode((RECORDED / "ecp_json.bin").read_bytes())
    tag = next(one for one in recorded["tags"] if isinstance(one.get("value"), float))
    tags = [
        {**tag, "name": f"press_metric_{place}", "rawName": f"metric_{place}", "value": number + place / 10}
        for place in range(READINGS)
    ]
    return {**recorded, "timestamp": round(_moment(number).timestamp() * 1000), "tags": tags, "msgId": f"m-{number}"}
