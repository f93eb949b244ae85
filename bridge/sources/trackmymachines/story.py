"""Story: the events that a change of the timeline is told as. Pure. Source: facts 2.3.

The id follows from the vendor's id and from how often the event was changed; `observed_at` and `replayed` tell of the
reading, not of the event, and the log does not compare them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from bridge.model.event import Event
from bridge.sources.trackmymachines.payloads import ACTIVITY_REASON, Entry
from bridge.sources.trackmymachines.timeline import SECOND, Change, Kind

WORDS: Final = {
    "cycle": "Cycle",
    "step": "Step",
    "part_count": "Part count",
    "shift_period": "Shift",
    "activity_reason": "Downtime",
    "work_order_operation": "Work order operation",
}


def told(source: str, change: Change, observed: int, late: int) -> Event:
    """A change as an event; `late` is after how many milliseconds it counts as replayed."""
    entry, kind = change.entry, change.kind
    happened = _happened(change, observed)
    data: dict[str, str | int | float | bool | None] = {
        "vendor_id": entry.id,
        "change": str(kind),
        "type": entry.type,
        "machine_foreign_id": entry.machine,
        "label": entry.label,
        "from": _iso(entry.start),
        "to": None if entry.end is None else _iso(entry.end),
        "duration": None if entry.end is None else (entry.end - entry.start) / SECOND,
        "replayed": observed - happened > late,
        "observed_at": _iso(observed),
    }
    if change.before is not None:
        before = change.before
        data |= {
            "label_before": before.label,
            "from_before": _iso(before.start),
            "to_before": None if before.end is None else _iso(before.end),
        }
        if before.machine != entry.machine:
            data["machine_foreign_id_before"] = before.machine
    return Event(
        f"{source}:{entry.id}:{change.number}:{kind}",
        f"{entry.type}_{kind}",
        _moment(_stamp(change)),
        _sentence(change),
        _severity(change),
        source,
        entry.machine,
        data,
    )


def _happened(change: Change, observed: int) -> int:
    """When it became so; of corrections nobody tells when they were made."""
    if change.kind in (Kind.CORRECTED, Kind.RETRACTED):
        return observed
    return _stamp(change)


def _stamp(change: Change) -> int:
    """The event's own time, which is the same at every reading."""
    entry = change.entry
    return entry.end if entry.end is not None and change.kind in (Kind.CLOSED, Kind.BACKFILLED) else entry.start


def _severity(change: Change) -> int:
    if change.kind in (Kind.OPENED, Kind.CLOSED):
        return 300 if change.entry.type == ACTIVITY_REASON and change.kind is Kind.OPENED else 100
    return 300


def _sentence(change: Change) -> str:
    entry, what = change.entry, WORDS[change.entry.type]
    named = f"{what} {entry.label}" if entry.label else what
    if change.kind is Kind.CORRECTED and change.before is not None:
        return f"{named} was corrected: {_difference(change.before, entry)}"
    if change.kind is Kind.RETRACTED:
        return f"{named} of {_iso(entry.start)} was taken back"
    if change.kind is Kind.BACKFILLED:
        return f"{named} of {_iso(entry.start)} was written late"
    return f"{named} {'began' if change.kind is Kind.OPENED else 'ended'}"


def _difference(before: Entry, after: Entry) -> str:
    pairs = (
        ("label", before.label, after.label),
        ("from", _iso(before.start), _iso(after.start)),
        ("to", _end(before), _end(after)),
        ("machine", before.machine, after.machine),
        ("type", before.type, after.type),
    )
    return ", ".join(f"{name} {old or 'nothing'} is {new or 'nothing'}" for name, old, new in pairs if old != new)


def _end(entry: Entry) -> str:
    return "" if entry.end is None else _iso(entry.end)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _iso(milliseconds: int) -> str:
    return _moment(milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
