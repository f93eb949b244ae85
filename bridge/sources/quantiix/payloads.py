"""Payloads: what Quantiix answers, parsed. Pure. Sources: Quantiix developer page; facts/other-vendors.md 3.2.

Fields that are missing are None or left out, fields we do not know are passed over; what has not even the outline of
the documented shape raises ProtocolError. A state we do not know keeps its word: people may read it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import orjson

from bridge.errors import ProtocolError
from bridge.sources.quantiix.intervals import Interval

ALIASES: Final = {"OPERATING": "RUNNING"}
"""Words of the API that Quantiix's is like (3d Signals)."""

LATEST: Final = 4_102_444_800_000
EARLIEST: Final = 946_684_800_000
"""Milliseconds of 2100 and of 2000: a time outside is none, or seconds."""

SHOWN: Final = 120


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine in the list. `factory_id` is a text for Quantiix."""

    unique_id: str
    name: str
    factory_id: str
    factory: str


@dataclass(frozen=True, slots=True)
class State:
    """What a machine does now, and since how many whole minutes."""

    word: str
    minutes: int


@dataclass(frozen=True, slots=True)
class Activity:
    """What a machine did in a window.

    `provisional` is the start of what still went on when the window was read: its end is only where the window ended.
    `oddities` are what of the answer could not be believed, in words.
    """

    intervals: tuple[Interval, ...]
    provisional: int | None
    oddities: tuple[str, ...] = ()


def parse_token(body: bytes) -> str:
    """POST security/getAPIToken: {"token": str}."""
    token = _object(body, "the login").get("token")
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise ProtocolError("Quantiix answered the login without a token")
    return token


def expiry(token: str) -> float | None:
    """`exp` of a token that is a JWT (RFC 7519 4.1.4): seconds since 1970; not verified, it is only for our timing."""
    try:
        body = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, binascii.Error, ValueError):
        return None
    exp = claims.get("exp") if isinstance(claims, dict) else None
    return float(exp) if isinstance(exp, int | float) and not isinstance(exp, bool) else None


def parse_machines(body: bytes) -> tuple[Machine, ...]:
    """GET machineInfo: {"machines": [{machineDisplayName, machineUniqueId, factoryId, factoryName}]}; may be empty."""
    listed = _object(body, "the list of machines").get("machines")
    if not isinstance(listed, list):
        raise ProtocolError(f"Quantiix' list has no machines: {_shown(body)}")
    found = {machine.unique_id: machine for entry in listed if (machine := _machine(entry)) is not None}
    return tuple(found.values())


def _machine(entry: Any) -> Machine | None:
    if not isinstance(entry, dict):
        return None
    unique_id = _text(entry.get("machineUniqueId"))
    if not unique_id:
        return None
    name = _text(entry.get("machineDisplayName")) or unique_id
    return Machine(unique_id, name, _text(entry.get("factoryId")), _text(entry.get("factoryName")))


def parse_state(body: bytes) -> State:
    """GET machineState: {"machineState" or "state": str, "durationInMinutes": int}."""
    answer = _object(body, "a machine's state")
    state = _word(answer)
    minutes = answer.get("durationInMinutes")
    if state is None:
        raise ProtocolError(f"Quantiix' answer has no machineState: {_shown(body)}")
    if not isinstance(minutes, int | float) or isinstance(minutes, bool) or not 0 <= minutes < 1e8:
        raise ProtocolError(f"Quantiix' answer has no durationInMinutes: {_shown(body)}")
    return State(state, int(minutes))


def parse_activity(body: bytes, start: int, end: int) -> Activity:
    """GET machineActivity of [start, end): {"machineId", "activity": [{state, startTime, endTime, durationInMinutes}]}.

    Whatever stands for the end of what still goes on (null, nothing, now, the window's end) is the window's end here.
    """
    records = _object(body, "a machine's activity").get("activity", [])
    if not isinstance(records, list):
        raise ProtocolError(f"Quantiix' activity is not a list: {_shown(body)}")
    intervals, oddities = [], []
    provisional = None
    for record in records:
        read = _interval(record, end)
        if isinstance(read, str):
            oddities.append(read)
            continue
        interval, is_open = read
        if interval.start >= end or interval.end <= start:
            oddities.append(
                f"a record from {interval.start} to {interval.end} is outside the window that was asked for"
            )
            continue
        if is_open or interval.end >= end:
            provisional = interval.start
        if (odd := _mismatch(record, interval, is_open)) is not None:
            oddities.append(odd)
        intervals.append(interval)
    return Activity(tuple(intervals), provisional, tuple(oddities))


def _interval(record: Any, end: int) -> tuple[Interval, bool] | str:
    """An interval and whether it still goes on, or why it is none."""
    if not isinstance(record, dict):
        return f"a record is no object: {_shown(record)}"
    state, start, until = _word(record), record.get("startTime"), record.get("endTime")
    if state is None or not _is_time(start):
        return f"a record has no state or no startTime in milliseconds: {_shown(record)}"
    if until is None:
        return Interval(start, max(start, end), state), True
    if not _is_time(until) or until < start:
        return f"a record has no endTime in milliseconds after its startTime: {_shown(record)}"
    return Interval(start, min(until, max(start, end)), state), False


def _mismatch(record: dict[str, Any], interval: Interval, is_open: bool) -> str | None:
    told = record.get("durationInMinutes")
    if is_open or not isinstance(told, int | float) or isinstance(told, bool) or record["endTime"] != interval.end:
        return None
    if abs(told - interval.minutes) <= 1:
        return None
    return f"a record from {interval.start} to {interval.end} says {told} minutes and has {interval.minutes:.0f}"


def _is_time(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and EARLIEST <= value <= LATEST


def _word(answer: dict[str, Any]) -> str | None:
    word = answer.get("machineState", answer.get("state"))
    if not isinstance(word, str) or not word.strip():
        return None
    plain = word.strip()[:64]
    return ALIASES.get(plain.upper(), plain.upper() if plain.upper() in ("RUNNING", "IDLE", "OFF") else plain)


def _text(value: Any) -> str:
    return str(value).strip()[:200] if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"Quantiix' answer is not JSON, where {what} was expected: {_shown(body)}") from error
    if not isinstance(answer, dict):
        raise ProtocolError(f"Quantiix' answer is no object, where {what} was expected: {_shown(body)}")
    return answer


def _shown(strange: Any) -> str:
    text = strange.decode("utf-8", "replace") if isinstance(strange, bytes) else repr(strange)
    return text[:SHOWN]
