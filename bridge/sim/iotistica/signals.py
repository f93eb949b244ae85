"""What a point showed at any moment: computed, not stored, so that the past is as long as anybody asks."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from bridge.sim.iotistica.plant import Agent, Device, Point, Value

WORDS = ("PLA-7 blue", "PETG natural", "ABS grey")
UNITS = {"°C": "degreesCelsius", "bar": "bars"}
"""What the vendor's normalisation makes of units it knows; the others stay as they are (recorded)."""
HISTORY_S = 30 * 24 * 3600
"""How far back readings go."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One point at one moment."""

    device: Device
    point: Point
    at: float
    """Seconds since the epoch, on whole milliseconds."""
    value: Value
    quality: str
    """GOOD or BAD, as the agent writes it."""
    code: str = ""

    @property
    def unit(self) -> str:
        """Normalised where it is understood, which takes a good value."""
        return UNITS.get(self.point.unit, self.point.unit) if self.quality == "GOOD" else self.point.unit


def reading(device: Device, point: Point, at: float) -> Reading:
    """What the agent read; a device that does not answer is BAD without a value."""
    if device.is_lost(at):
        return Reading(device, point, at, None, "BAD", "DEVICE_OFFLINE")
    return Reading(device, point, at, value(point, at), "GOOD")


def value(point: Point, at: float) -> Value:
    """The value at a moment: what was written last, else the point's own course."""
    index = bisect_right(point.written, at, key=lambda pair: pair[0])
    if index:
        return point.written[index - 1][1]
    phase = math.sin(2 * math.pi * at / point.period_s) * 0.5 + 0.5
    level = point.low + (point.high - point.low) * phase
    match point.kind:
        case "bool":
            return phase >= 0.1
        case "int":
            return round(level)
        case "string":
            return WORDS[int(at // 3600) % len(WORDS)]
    return round(level, 3)


def polls(agent: Agent, device: Device, since: float, until: float) -> Iterator[float]:
    """The moments at which a device was polled, newest first; devices of one agent not in the same millisecond."""
    step = device.poll_ms / 1000
    offset = (agent.devices.index(device) * 37 % device.poll_ms) / 1000
    number = math.floor((until - offset) / step)
    while (at := round(offset + number * step, 3)) >= since:
        yield at
        number -= 1


def history(agent: Agent, device: Device, point: Point, since: float, until: float) -> Iterator[Reading]:
    """A point's readings, newest first."""
    for at in polls(agent, device, since, until):
        yield reading(device, point, at)
