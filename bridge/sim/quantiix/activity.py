"""The records of a machine's activity log, as the switches have them."""

from __future__ import annotations

from typing import Any

from bridge.sim.quantiix.behaviour import Behaviour
from bridge.sim.quantiix.timeline import RUNNING, Timeline

MINUTE_MS = 60_000


def records(
    timeline: Timeline, behaviour: Behaviour, window: tuple[int, int], known_until: int, now_ms: int
) -> list[dict[str, Any]]:
    """The records that overlap `window` (ms), of what is known until a minute."""
    found = []
    for interval in timeline.known(known_until, window[0] // MINUTE_MS, behaviour.revises == "yes"):
        start, end = interval.start * MINUTE_MS, interval.end * MINUTE_MS
        if end <= window[0] or start >= window[1]:
            continue
        is_open = interval.end >= known_until and (window[1] >= end or behaviour.clip == "no")
        if is_open and behaviour.open_end == "left-out":
            continue
        if behaviour.clip == "yes":
            start, end = max(start, window[0]), min(end, window[1])
        record = _record(behaviour, str(interval.state), start, end)
        if is_open:
            _leave_open(record, behaviour, start, now_ms, window[1])
        found.append(record)
    return found if behaviour.order == "ascending" else found[::-1]


def _record(behaviour: Behaviour, state: str, start: int, end: int) -> dict[str, Any]:
    return {
        "state": word(behaviour, state),
        "startTime": _stamp(behaviour, start),
        "endTime": _stamp(behaviour, end),
        "durationInMinutes": _duration(behaviour, start, end),
    }


def _leave_open(record: dict[str, Any], behaviour: Behaviour, start: int, now_ms: int, asked_until: int) -> None:
    """The interval still runs: its endTime is what the vendor makes of that. `requested` may be in the future."""
    if behaviour.open_end == "null":
        record["endTime"] = None
    elif behaviour.open_end == "absent":
        del record["endTime"]
    else:
        end = asked_until if behaviour.open_end == "requested" else now_ms
        if behaviour.clip == "yes":
            end = min(end, asked_until)
        record["endTime"] = _stamp(behaviour, end)
        record["durationInMinutes"] = _duration(behaviour, start, end)


def word(behaviour: Behaviour, state: str) -> str:
    """The state's word."""
    return behaviour.running if state == RUNNING else state


def _stamp(behaviour: Behaviour, moment: int) -> int:
    return moment if behaviour.stamps == "ms" else moment // 1000


def _duration(behaviour: Behaviour, start: int, end: int) -> int:
    return (end - start) // (MINUTE_MS if behaviour.durations == "minutes" else 1000)
