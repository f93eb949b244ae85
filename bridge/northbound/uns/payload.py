"""Payloads: a DataValue, a machine's description, an event, as JSON. Pure.

    vtq  {"value": 12.5, "timestamp": "2026-03-04T05:06:07.089Z", "quality": "Good", "unit": "bar"}
         {"value": 2, "timestamp": …, "quality": "Uncertain", "status": "UncertainLastUsableValue",
          "reason": "Nothing has been heard for 3 s", "since": …}
    umh  {"timestamp_ms": 1772600767089, "value": 12.5}
    raw  12.5

Where the protocol cannot expire a message (MQTT 3.1.1), vtq says so itself: {…, "sent": "…Z", "max_age": 300}: what was
sent longer ago than that many seconds was left by a bridge that is gone.

Time stamps are RFC 3339 in UTC with milliseconds, always 24 characters. Facts on UNS 12.2 find both that and integer
milliseconds in the field; i3X (12.5) settles it, a person can read it, and it still sorts as text. Quality words are
i3X's: Good, Uncertain, Bad, GoodNoData; `value` is null only with the last two.
umh and raw have no place for quality: there, anything not Good has no payload, and the topic is emptied (12.3).
"""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from bridge.model.command import Result
from bridge.model.quality import uns_quality
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, to_milliseconds
from bridge.northbound.uns.config import Preset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bridge.model.command import ItemOutcome, Outcome
    from bridge.model.event import Event
    from bridge.model.history import Gap
    from bridge.model.plant import Machine
    from bridge.model.tag import Tag
    from bridge.model.value import Value

JSON = "application/json"

EMPTY = b""
"""What clears a retained topic."""

Labels = tuple[tuple[str, str], ...]
"""MQTT 5 user properties."""


def labels(schema: str, source: str, unit: str = "") -> Labels:
    """What a message is, in which version, and which bridge says it; the unit only where the payload has no place."""
    return (("schema", f"{schema}/1"), ("source", source), *([("unit", unit)] if unit else []))


NOT_FINITE = "The value is not a finite number"
BRIDGE_STOPPED = "The bridge was stopped; this is the last value"

_QUALITY = {status: uns_quality(status).value for status in StatusCode}


def rfc3339(moment: datetime) -> str:
    """Text like 2026-03-04T05:06:07.089Z for an aware UTC moment."""
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"


def encode(preset: Preset, value: DataValue, unit: bytes = b"", aging: bytes = b"") -> bytes:
    """The payload of a tag's topic; EMPTY where the preset cannot carry it.

    Args:
        preset: the shape.
        value: what is told.
        unit: as `unit_part` makes it; vtq only.
        aging: as `aging_part` makes it; vtq only.
    """
    if preset is Preset.VTQ:
        return _vtq(value, unit, aging)
    value = _finite(value)
    if not value.status.is_good or value.value is None:
        return EMPTY
    return _umh(value) if preset is Preset.UMH else _raw(value.value)


def past(tag: str, value: DataValue, unit: str) -> bytes:
    """One value of the past, for `backfill`: {"tag": "<Group>/<Tag>"} and what preset vtq says, whatever the preset."""
    return b'{"tag":%b,%b' % (to_json(tag), _vtq(value, unit_part(unit))[1:])


def gap(tag: str, missing: Gap) -> bytes:
    """Values nobody will get, for `backfill`. `from` and `to` are the times of the first and the last of them."""
    return to_json(
        {
            "tag": tag,
            "from": rfc3339(missing.first),
            "to": rfc3339(missing.last),
            "count": missing.number,
            "reason": missing.why,
        }
    )


def backfill(values: Sequence[bytes], gaps: Sequence[bytes]) -> bytes:
    """{"values": [what `past` gives, …], "gaps": [what `gap` gives, …]}; in the order in which they came to us."""
    return b'{"values":[' + b",".join(values) + b'],"gaps":[' + b",".join(gaps) + b"]}"


def unit_part(unit: str) -> bytes:
    """A unit as it stands in every payload of its tag."""
    return b',"unit":' + to_json(unit) if unit else b""


def aging_part(now: datetime, max_age_s: int) -> bytes:
    """When a value is sent and for how long that says it is alive, for every payload sent now."""
    return b',"sent":%b,"max_age":%d' % (_quoted(now), max_age_s)


def _vtq(value: DataValue, unit: bytes, aging: bytes = b"") -> bytes:
    """Put together from parts: a dictionary and its encoding cost three times as much, for every change of a value."""
    content, stamp = _fragment(value.value), _quoted(value.source_timestamp)
    if value.status is StatusCode.Good and content != b"null":
        return b'{"value":%b,"timestamp":%b,"quality":"Good"%b%b}' % (content, stamp, unit, aging)
    value = _finite(value)
    why: dict[str, Any] = {}
    if value.status is not StatusCode.Good:
        why = {"status": value.status.name, "reason": value.reason}
        if value.since is not None:
            why["since"] = rfc3339(value.since)
    told = b"," + to_json(why)[1:-1] if why else b""
    quality = _QUALITY[value.status].encode()
    return b'{"value":%b,"timestamp":%b,"quality":"%b"%b%b%b}' % (content, stamp, quality, unit, told, aging)


def _finite(value: DataValue) -> DataValue:
    """The table never holds a number that is not finite: a last guard."""
    if not isinstance(value.value, float) or math.isfinite(value.value):
        return value
    return value._replace(
        value=None, status=StatusCode.BadDecodingError, reason=NOT_FINITE, since=value.source_timestamp
    )


def _fragment(value: Value) -> bytes:
    """A value as JSON; what is not finite is null."""
    if isinstance(value, datetime):
        return _quoted(value)
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return to_json(value)


def _quoted(moment: datetime) -> bytes:
    """`rfc3339` in quotes, at a quarter of its cost; orjson leaves out microseconds that are 0."""
    text = orjson.dumps(moment, option=orjson.OPT_UTC_Z)
    return text[:24] + b'Z"' if len(text) == _WITH_MICROSECONDS else text[:20] + b'.000Z"'


_WITH_MICROSECONDS = len('"2026-03-04T05:06:07.089000Z"')


def _umh(value: DataValue) -> bytes:
    return orjson.dumps({"timestamp_ms": to_milliseconds(value.source_timestamp), "value": _scalar(value.value)})


def _raw(value: Value) -> bytes:
    plain = _scalar(value)
    return plain.encode(errors="replace") if isinstance(plain, str) else orjson.dumps(plain)


def _scalar(value: Value) -> bool | int | float | str | None:
    """What JSON has for a value; a moment is text."""
    return rfc3339(value) if isinstance(value, datetime) else value


def to_json(document: Any, option: int = 0) -> bytes:
    """As JSON; half a surrogate pair in a vendor's text, which JSON cannot carry, becomes "?"."""
    try:
        return orjson.dumps(document, option=option)
    except orjson.JSONEncodeError:
        return orjson.dumps(_mended(document), option=option)


def _mended(part: Any) -> Any:
    if isinstance(part, str):
        return part.encode(errors="replace").decode()
    if isinstance(part, dict):
        return {_mended(key): _mended(value) for key, value in part.items()}
    return [_mended(one) for one in part] if isinstance(part, list) else part


def stopped(value: DataValue, now: datetime) -> DataValue | None:
    """What a value becomes when the bridge stops: Uncertain, kept; None where there is no value to doubt."""
    if value.value is None:
        return None
    return value._replace(
        status=StatusCode.UncertainLastUsableValue, reason=BRIDGE_STOPPED, since=now, server_timestamp=now
    )


def online(is_online: bool, now: datetime) -> bytes:
    """The retained health topic. In a will, `timestamp` is when the session that broke began."""
    return orjson.dumps({"online": is_online, "timestamp": rfc3339(now)})


def machines(roots: Mapping[str, str]) -> bytes:
    """Which machines a bridge serves, and where: {"machines": {"<id>": "<branch>"}}."""
    return orjson.dumps({"machines": dict(roots)})


def snapshot(identifier: str | int | None, machine: Machine, values: Mapping[str, DataValue], now: datetime) -> bytes:
    """All values of a machine, as vtq has them.

    Shape: {"id": the client's own or null, "status": "ok", "machine", "timestamp": now, "values": {"<Group>/<Tag>":
    {"value", "timestamp", "quality", "unit"?, "status"?, "reason"?, "since"?}}}
    """
    units = {tag.name: tag.definition.unit.symbol for tag in machine.tags if tag.definition.unit}
    told = {name: orjson.Fragment(_vtq(value, unit_part(units.get(name, "")))) for name, value in values.items()}
    head = {"id": identifier, "status": "ok", "machine": machine.id, "timestamp": rfc3339(now)}
    return orjson.dumps({**head, "values": told})


def event(happened: Event) -> bytes:
    """Something that happened once; `id` is the same when it is told again, completed."""
    return to_json(
        {
            "id": happened.id,
            "kind": happened.kind,
            "timestamp": rfc3339(happened.time),
            "severity": happened.severity,
            "message": happened.message,
            "source": happened.source,
            "machine": happened.machine,
            "data": dict(happened.data),
        }
    )


SUCCESSES = frozenset({Result.CONFIRMED, Result.CHANGED, Result.ACCEPTED, Result.QUEUED})
"""Results that are answered "ok" (design.md section 6)."""


def answer(identifier: str | int | None, outcome: Outcome, now: datetime) -> bytes:
    """How a command ended.

    Shape: {"id": the client's own or null, "status": "ok" | "error", "result": "confirmed" | "changed" | …,
    "code": name of the status code, "sentence", "actual": what the machine reads back where that differs, else null,
    "vendor_code": HTTP status or 0, "vendor_text"?, "items"?: of a recipe, in order: [{"target", "value": what was
    asked for, "result", "sentence", "actual"}], "timestamp"}
    """
    document: dict[str, Any] = {
        "id": identifier,
        "status": "ok" if outcome.result in SUCCESSES else "error",
        "result": outcome.result.value,
        "code": outcome.status.name,
        "sentence": outcome.sentence,
        "actual": _scalar(outcome.actual),
        "vendor_code": outcome.vendor_code,
    }
    if outcome.vendor_text:
        document["vendor_text"] = outcome.vendor_text
    if outcome.items:
        document["items"] = [_item(item) for item in outcome.items]
    return to_json({**document, "timestamp": rfc3339(now)})


def _item(item: ItemOutcome) -> dict[str, Any]:
    return {
        "target": item.target,
        "value": _scalar(item.value),
        "result": item.result.value,
        "sentence": item.sentence,
        "actual": _scalar(item.actual),
    }


def meta(
    machine: Machine,
    topics: Mapping[int, str],
    addresses: Callable[[Tag], Mapping[str, str]],
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """What a machine has, so that a dashboard can build itself.

    Shape: {"machine", "label", "type", "place": {…}, "identification": {…}, "tags": {"<Group>/<Tag>": {"topic",
    "type", "unit"?, "ucum"?, "unece"?, "range"?, "enum"?, "label"?, "description"?, "limits"?, "writable",
    "history"?, "node_id"?, "metric"?}}, "events", "snapshot"?, "commands"?, "hash"}; `hash` changes when anything else
    does.

    Args:
        machine: the machine.
        topics: topic by slot.
        addresses: where a tag is on the other faces, by the face's name.
        more: what else there is below the machine: topics of events and snapshots, what can be commanded.
    """
    document: dict[str, Any] = {
        "machine": machine.id,
        "label": machine.label or machine.id,
        "type": machine.type_name,
        "place": {
            "enterprise": machine.place.enterprise,
            "site": machine.place.site,
            "area": machine.place.area,
            "line": machine.place.line,
        },
        "identification": dict(machine.identification),
        "tags": {tag.name: _described(tag, topics.get(tag.slot), addresses(tag)) for tag in machine.tags},
    }
    document.update({name: content for name, content in (more or {}).items() if content})
    document["hash"] = hashlib.sha256(to_json(document, orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    return to_json(document)


def _described(tag: Tag, topic: str | None, addresses: Mapping[str, str]) -> dict[str, Any]:
    definition = tag.definition
    units, limits = definition.unit, definition.limits
    described: dict[str, Any] = {
        "topic": topic,
        "type": definition.data_type.value,
        "writable": definition.writable,
        "history": definition.history or None,
        "unit": units and units.symbol,
        "ucum": units and units.code,
        "unece": units and units.unece,
        "range": definition.eu_range and list(definition.eu_range),
        "enum": definition.enumeration and dict(definition.enumeration),
        "label": dict(definition.label),
        "description": definition.description,
        "limits": limits and {name: bound for name, bound in limits._asdict().items() if bound is not None},
        "node_id": addresses.get("opcua"),
        "metric": addresses.get("sparkplug"),
    }
    return {name: content for name, content in described.items() if content not in (None, "", {})}
