"""A record: what sources published, as lines of JSON, the header first. A line's first key is its kind.

    {"plantbridge-record": 1, "version", "configuration", "began", "time_zone", "redaction", "sources": {name: type},
     "machines": [{"machine", "part", "source", "key", "mapping", "identity", "prefix"}, …]}
    {"observation": {…}, "t": 1.25}       so did condition, inventory, event, reading; t: seconds since `began`
    {"gap": {"dropped": 12, "why": "…"}, "t": 1.5}     what is missing here, and why
    {"end": {"items": 900, "dropped": 12, "why": "…"}, "t": 600.0}    a file without it was cut off

Monotonic times (`requested_at`) are on the axis of `t`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson

from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.sources.replay.plain import packed, unpacked

FORMAT = 1
MAX_LINE = 2**20
"""Bytes; a longer item is told of as a gap."""

Item = Observation | Condition | Inventory | Event | Reading
Kind = TypeVar("Kind")

_MARK = "plantbridge-record"
_LONGEST = 1e9
"""Seconds; 31 years are no recording."""


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """A part of a machine as the recorded bridge had it; `machine` is its id there, "" for one it did not show."""

    machine: str
    part: str
    source: str
    key: str
    mapping: str
    identity: Mapping[str, str | int]
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """What was recorded, of whom. `sources` gives each source's type by its name."""

    began: datetime
    version: str
    configuration: str
    sources: Mapping[str, str]
    machines: tuple[RecordedPart, ...] = ()
    time_zone: str = ""
    redaction: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a source published, and when: seconds since the recording began."""

    at: float
    item: Item


@dataclass(frozen=True, slots=True)
class Gap:
    """Items that are missing."""

    at: float
    dropped: int
    why: str


@dataclass(frozen=True, slots=True)
class End:
    """The recording was ended, not cut off."""

    at: float
    items: int
    dropped: int
    why: str


Line = Entry | Gap | End


# -- writing ----------------------------------------------------------------------------------------------------------


def header_line(header: Header) -> bytes:
    """The first line, with its line end."""
    machines = [
        {
            "machine": part.machine,
            "part": part.part,
            "source": part.source,
            "key": part.key,
            "mapping": part.mapping,
            "identity": dict(part.identity),
            "prefix": part.prefix,
        }
        for part in header.machines
    ]
    return _line(
        {
            _MARK: FORMAT,
            "version": header.version,
            "configuration": header.configuration,
            "began": header.began.isoformat(),
            "time_zone": header.time_zone,
            "redaction": header.redaction,
            "sources": dict(header.sources),
            "machines": machines,
        }
    )


def item_line(at: float, item: Item, zero: float = 0.0) -> bytes:
    """An item's line; a gap's where it is too long. `zero`: the monotonic time at which the recording began."""
    name, fields = _written(item, zero)
    try:
        line = _line({name: fields, "t": round(at, 6)})
    except (TypeError, ValueError) as error:  # orjson: deeper than it writes; what this item was not made for
        return gap_line(at, 1, f"an item of {item.source} that cannot be written: {str(error)[:100]}")
    if len(line) > MAX_LINE:
        return gap_line(at, 1, f"an item of {item.source} with {len(line)} bytes; {MAX_LINE} are allowed")
    return line


def gap_line(at: float, dropped: int, why: str) -> bytes:
    """Says that items are missing here."""
    return _line({"gap": {"dropped": dropped, "why": why}, "t": round(at, 6)})


def end_line(at: float, items: int, dropped: int, why: str) -> bytes:
    """The last line."""
    return _line({"end": {"items": items, "dropped": dropped, "why": why}, "t": round(at, 6)})


def _line(tree: dict[str, Any]) -> bytes:
    return orjson.dumps(tree, option=orjson.OPT_APPEND_NEWLINE)


def _written(item: Item, zero: float) -> tuple[str, dict[str, Any]]:
    if isinstance(item, Observation):
        return "observation", _observation(item, zero)
    if isinstance(item, Condition):
        return "condition", _without_nothing(
            source=item.source,
            status=item.status.name,
            reason=packed(item.reason),
            since=item.since.isoformat(),
            machine=packed(item.machine),
            channel=packed(item.channel),
            advice=packed(item.advice),
            way=packed(item.way or None),
        )
    if isinstance(item, Inventory):
        appeared = [
            _without_nothing(key=packed(m.key), identity=packed(m.identity), error=packed(m.error))
            for m in item.appeared
        ]
        return "inventory", {"source": item.source, "appeared": appeared, "vanished": packed(item.vanished)}
    if isinstance(item, Event):
        return "event", {
            "source": item.source,
            "id": packed(item.id),
            "kind": packed(item.kind),
            "time": item.time.isoformat(),
            "message": packed(item.message),
            "severity": item.severity,
            "machine": packed(item.machine),
            "data": packed(item.data),
        }
    return "reading", {
        "source": item.source,
        "name": packed(item.name),
        "value": packed(item.value),
        "at": item.at.isoformat(),
        "extra": packed(item.extra),
    }


def _observation(item: Observation, zero: float) -> dict[str, Any]:
    optional = _without_nothing(
        received=item.received.isoformat(),
        source_time=None if item.source_time is None else item.source_time.isoformat(),
        requested_at=None if item.requested_at is None else item.requested_at - zero,
        period=item.period,
        historical=item.historical or None,
    )
    return {
        "source": item.source,
        "machine": packed(item.machine),
        "channel": packed(item.channel),
        "payload": packed(item.payload),
        **optional,
    }


def _without_nothing(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


# -- reading ----------------------------------------------------------------------------------------------------------


def read_header(line: bytes) -> Header:
    """The first line. Raises ValueError."""
    tree = _tree(line)
    version = tree.get(_MARK)
    if version is None:
        raise ValueError("this is no record; plantbridge record writes one")
    if version != FORMAT:
        raise ValueError(f"the record has format {version!r:.20}; this plantbridge reads {FORMAT}")
    sources = {name: _of(str, kind, "sources") for name, kind in _field(tree, "sources", dict).items()}
    machines = tuple(_read_part(part) for part in _field(tree, "machines", list))
    return Header(
        _time(tree, "began"),
        _field(tree, "version", str),
        _field(tree, "configuration", str),
        sources,
        machines,
        _field(tree, "time_zone", str),
        _field(tree, "redaction", str),
    )


def read_line(line: bytes) -> Line:
    """Any line but the first. Raises ValueError."""
    tree = _tree(line)
    kind = next(iter(tree), "")
    at, fields = _seconds(tree, "t"), _field(tree, kind, dict)
    if kind == "gap":
        return Gap(at, _field(fields, "dropped", int), _field(fields, "why", str))
    if kind == "end":
        return End(at, _field(fields, "items", int), _field(fields, "dropped", int), _field(fields, "why", str))
    read = _READERS.get(kind)
    if read is None:
        raise ValueError(f"{kind[:40]!r} is no kind of line")
    return Entry(at, read(fields))


def _tree(line: bytes) -> dict[str, Any]:
    try:
        tree = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"this is no JSON: {error}") from None
    return _of(dict, tree, "the line")


def _read_part(tree: Any) -> RecordedPart:
    part = _of(dict, tree, "machines")
    machine, name, source = (_field(part, word, str) for word in ("machine", "part", "source"))
    key, mapping, prefix = (_field(part, word, str) for word in ("key", "mapping", "prefix"))
    return RecordedPart(machine, name, source, key, mapping, _identity(part), prefix)


def _read_observation(fields: dict[str, Any]) -> Observation:
    if "payload" not in fields:
        raise ValueError("payload is missing")
    return Observation(
        _field(fields, "source", str),
        _text(fields, "machine"),
        _text(fields, "channel"),
        unpacked(fields["payload"]),
        _time(fields, "received"),
        _time(fields, "source_time") if "source_time" in fields else None,
        _seconds(fields, "requested_at") if "requested_at" in fields else None,
        _seconds(fields, "period") if "period" in fields else None,
        _of(bool, fields.get("historical", False), "historical"),
    )


def _read_condition(fields: dict[str, Any]) -> Condition:
    name = _field(fields, "status", str)
    if name not in StatusCode.__members__:
        raise ValueError(f"status: {name[:40]!r} is none")
    return Condition(
        _field(fields, "source", str),
        StatusCode[name],
        _text(fields, "reason"),
        _time(fields, "since"),
        _text(fields, "machine") if "machine" in fields else None,
        _text(fields, "channel") if "channel" in fields else None,
        _text(fields, "advice"),
        _text(fields, "way") if "way" in fields else "",
    )


def _read_inventory(fields: dict[str, Any]) -> Inventory:
    appeared = tuple(_read_found(_of(dict, tree, "appeared")) for tree in _field(fields, "appeared", list))
    vanished = tuple(_of(str, unpacked(key), "vanished") for key in _field(fields, "vanished", list))
    return Inventory(_field(fields, "source", str), appeared, vanished)


def _read_found(fields: dict[str, Any]) -> FoundMachine:
    return FoundMachine(_text(fields, "key"), _identity(fields), _text(fields, "error") if "error" in fields else None)


def _read_event(fields: dict[str, Any]) -> Event:
    return Event(
        _text(fields, "id"),
        _text(fields, "kind"),
        _time(fields, "time"),
        _text(fields, "message"),
        _field(fields, "severity", int),
        _field(fields, "source", str),
        _text(fields, "machine"),
        _of(dict, unpacked(_field(fields, "data", dict)), "data"),
    )


def _read_reading(fields: dict[str, Any]) -> Reading:
    value = unpacked(fields.get("value"))
    if not (value is None or isinstance(value, bool | int | float | str | datetime)):
        raise ValueError("value: expected a number, a text, a time, true, false or null")
    extra = _of(dict, unpacked(_field(fields, "extra", dict)), "extra")
    return Reading(_field(fields, "source", str), _text(fields, "name"), value, _time(fields, "at"), extra)


_READERS: dict[str, Callable[[dict[str, Any]], Item]] = {
    "observation": _read_observation,
    "condition": _read_condition,
    "inventory": _read_inventory,
    "event": _read_event,
    "reading": _read_reading,
}


def _identity(fields: dict[str, Any]) -> dict[str, str | int]:
    identity = _of(dict, unpacked(_field(fields, "identity", dict)), "identity")
    if not all(isinstance(key, str) and isinstance(value, str | int) for key, value in identity.items()):
        raise ValueError("identity: expected texts and whole numbers")
    return identity


def _text(fields: dict[str, Any], name: str) -> str:
    if name not in fields:
        raise ValueError(f"{name} is missing")
    return _of(str, unpacked(fields[name]), name)


def _field(fields: dict[str, Any], name: str, kind: type[Kind]) -> Kind:
    if name not in fields:
        raise ValueError(f"{name or 'the kind'} is missing")
    return _of(kind, fields[name], name)


def _of(kind: type[Kind], value: Any, name: str) -> Kind:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name}: expected {_WORDS[kind]}")
    return value


_WORDS: dict[type, str] = {
    str: "a text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list",
}  # fmt: skip


def _seconds(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _LONGEST:
        raise ValueError(f"{name}: expected seconds")
    return float(value)


def _time(fields: dict[str, Any], name: str) -> datetime:
    text = _field(fields, name, str)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{name}: expected a time with its offset from UTC, such as 2026-01-01T00:00:00+00:00")
    return moment
