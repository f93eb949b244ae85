"""What the simulated agents publish and the source reads: nothing lost, nothing changed, whatever the encoding.

Two people wrote the two sides from the recordings, without looking at each other's.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from bridge.sim.iotistica.encoding import ENCODINGS
from bridge.sources.iotistica.mqtt.dictionary import Dictionary, Unknown, is_compact
from bridge.sources.iotistica.mqtt.encoding import decode
from bridge.sources.iotistica.mqtt.telemetry import batch_of, is_heartbeat
from tests.sim.iotistica.test_encodings import link
from tests.sim.iotistica.vendor import NOON

STEPS, STEP_S = 30, 10
Rows = list[tuple[Any, ...]]


class Reader:
    """The source's side, without a broker."""

    def __init__(self) -> None:
        self.rows: Rows = []
        self._dictionary = Dictionary()
        self._late: list[Any] = []

    def take(self, topic: str, payload: bytes) -> None:
        if "/meta/" in topic:
            told = json.loads(payload)
            (self._dictionary.grow if topic.endswith("delta") else self._dictionary.replace)(told)
            late, self._late = self._late, []
            for message in late:
                self._read(self._dictionary.expand(message, is_late=True))
        elif "/endpoints/" in topic and not is_heartbeat(message := decode(payload)):
            self._read(message)

    def _read(self, message: Any) -> None:
        if is_compact(message):
            try:
                message = self._dictionary.expand(message)
            except Unknown:
                self._late.append(message)
                return
        batch = batch_of(message, NOON)
        assert batch.refused == 0, batch.fault
        names = ("time", "device_uuid", "device", "metric", "value", "unit", "quality")
        self.rows += [tuple(str(row[name]) for name in names) for _, row in batch.rows]


def read(**switches: str) -> Rows:
    """Five minutes of an agent of which a device is lost for a minute."""
    agent_link, clock = link(heartbeat="yes", **switches)
    lost = (NOON.timestamp() + 100, NOON.timestamp() + 160)
    agent_link.agent.devices[1].lost.append(lost)
    reader = Reader()
    for _ in range(STEPS):
        clock.advance(STEP_S)
        for message in agent_link.due():
            reader.take(message.topic, message.payload)
    return sorted(reader.rows)


@cache
def plainly_read() -> Rows:
    return read()


@pytest.mark.parametrize("dictionary", ["domains", "flat"])
@pytest.mark.parametrize("encoding", [*ENCODINGS[1:], "mixed"])
def test_every_encoding_says_what_plain_json_says(encoding: str, dictionary: str) -> None:
    plain = plainly_read()
    assert len(plain) == STEPS * STEP_S // 5 * 2 * 6
    assert {row[-1] for row in plain} == {"good", "bad"}
    assert read(encoding=encoding, dictionary=dictionary, deflate="yes") == plain
