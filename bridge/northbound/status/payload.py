"""What the admin API says, as JSON-able dictionaries. Times are ISO 8601 in UTC with milliseconds, ages are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.model.event import Event
    from bridge.model.plant import Machine
    from bridge.model.tag import Tag
    from bridge.model.value import DataValue
    from bridge.ports import FaceHealth, Health, SourceHealth

Payload = dict[str, Any]


def instant(moment: datetime | None) -> str | None:
    """`2026-03-04T05:06:07.089Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def machine_payload(machine: Machine) -> Payload:
    """A machine without its tags."""
    return {
        "id": machine.id,
        "type": machine.type_name,
        "label": machine.label,
        "place": list(machine.place.levels),
        "parts": {part.name: {"source": part.source, "machine": part.source_machine} for part in machine.parts},
    }


def tag_payload(tag: Tag, value: DataValue, now: datetime) -> Payload:
    """A tag with its value: `id`, `machine`, `name`, `type`, `unit`, `range`, `access`, then `value_payload`."""
    definition = tag.definition
    return {
        "id": tag.id,
        "machine": tag.machine,
        "name": tag.name,
        "type": definition.data_type.value,
        "unit": definition.unit.symbol if definition.unit else None,
        "range": list(definition.eu_range) if definition.eu_range else None,
        "access": "write" if definition.writable else "read",
        **value_payload(value, now),
    }


def value_payload(value: DataValue, now: datetime) -> Payload:
    """`value`, `status`, `reason`, `since`, `time` (source time), `age` (seconds since then)."""
    raw = value.value
    return {
        "value": instant(raw) if isinstance(raw, datetime) else raw,
        "status": value.status.name,
        "reason": value.reason,
        "since": instant(value.since),
        "time": instant(value.source_timestamp),
        "age": round((now - value.source_timestamp).total_seconds(), 3),
    }


def event_payload(event: Event) -> Payload:
    """An event as it is in the log."""
    return {
        "id": event.id,
        "kind": event.kind,
        "time": instant(event.time),
        "message": event.message,
        "severity": event.severity,
        "source": event.source,
        "machine": event.machine,
        "data": dict(event.data),
    }


def health_payload(health: Health) -> Payload:
    """The bridge's state, its sources and its faces."""
    return {
        "live": health.live,
        "ready": health.ready,
        "why_not_ready": list(health.why_not_ready),
        "version": health.version,
        "started": instant(health.started),
        "configuration": health.configuration,
        "refused": list(health.refused),
        "sources": [source_payload(source) for source in health.sources],
        "faces": [face_payload(face) for face in health.faces],
        "metrics": dict(health.metrics),
    }


def plain(value: Any) -> Any:
    """Anything `explain` may hold, as JSON: what JSON has no word for becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if isinstance(value, datetime):
        return instant(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def source_payload(source: SourceHealth) -> Payload:
    """One source as a person wants to see it."""
    return {
        "name": source.name,
        "type": source.type,
        "state": source.state,
        "reason": source.reason,
        "since": instant(source.since),
        "advice": source.advice,
        "last_update": instant(source.last_update),
        "reconnects": source.reconnects,
        "next_try_in": source.next_try_in,
    }


def face_payload(face: FaceHealth) -> Payload:
    """One face."""
    return {"name": face.name, "running": face.running, "detail": face.detail}
