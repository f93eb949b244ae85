"""Figures: what a machine does now and what it did, from its part of the timeline. Pure. Source: facts 2.3.

    entries of one machine + now + bookings -> payloads by channel: step, downtime, shift, work_order, cycle, parts, kpi

Windows: the step that runs; the shift, by the vendor's shift periods or the site's; the last 24 h; today, where the
site has a calendar. What began in a window counts in it; seconds are clipped to it, and what still goes on counts
to now. Nobody's name is in any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.sources.trackmymachines.payloads import (
    ACTIVITY_REASON,
    CYCLE,
    PART_COUNT,
    SHIFT_PERIOD,
    STEP,
    WORK_ORDER_OPERATION,
    Entry,
)
from bridge.sources.trackmymachines.timeline import DAY, SECOND

if TYPE_CHECKING:
    from bridge.model.calendar import Calendar
    from bridge.sources.trackmymachines.bookings import Booking

REASONS: Final = 5
"""Reasons of downtime that are told, the longest first."""


class Span(NamedTuple):
    """A stretch of time, ms."""

    name: str
    start: int
    end: int | None


class Rules(NamedTuple):
    """What the configuration says about windows and parts."""

    calendar: Calendar | None
    has_shifts: bool
    """The site's shifts take the place of the vendor's."""
    parts_per_count: float


Details = Callable[[Entry], "Booking | None"]
"""What is known of a step beyond its part."""


def payloads(entries: Sequence[Entry], now: int, rules: Rules, details: Details) -> dict[str, dict[str, Any]]:
    """Everything that is told of a machine; `entries` are by start."""
    of: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.start <= now:
            of.setdefault(entry.type, []).append(entry)
    step, shift = current(of.get(STEP, ()), now), _shift(of.get(SHIFT_PERIOD, ()), now, rules)
    windows = _windows(step, shift, now, rules)
    cycles, counts = of.get(CYCLE, []), of.get(PART_COUNT, [])
    known = details(step) if step is not None else None
    last = _last(of.get(STEP, ()), now)
    parts = {name: rules.parts_per_count * _count(counts, begin) for name, begin in windows.items()}
    return {
        "step": {
            **_active(step, now),
            **_details(known),
            "last": None if last is None else _ended(last, details(last)),
        },
        "downtime": _downtime(of.get(ACTIVITY_REASON, []), windows, now),
        "shift": {
            "active": shift is not None,
            "name": shift.name if shift else None,
            "start": shift.start if shift else None,
            "end": shift.end if shift else None,
        },
        "work_order": _active(current(of.get(WORK_ORDER_OPERATION, ()), now), now),
        "cycle": {
            "active": current(cycles, now) is not None,
            "last": _closed(_last(cycles, now)),
            **{name: _count(cycles, begin) for name, begin in windows.items()},
        },
        "parts": {**parts, "last": counts[-1].start if counts else None},
        "kpi": {
            "performance": _performance(step, known, parts.get("step"), now),
            "quality": _quality(details(last) if last is not None else None),
            "in_cycle": _share(cycles, shift.start if shift else None, now),
        },
    }


def current(entries: Iterable[Entry], now: int) -> Entry | None:
    """What is in flight: the latest begun, should several be. A planned end is none yet."""
    running = [entry for entry in entries if entry.start <= now and (entry.end is None or entry.end > now)]
    return max(running, key=lambda entry: (entry.start, entry.id), default=None)


def _last(entries: Iterable[Entry], now: int) -> Entry | None:
    over = [entry for entry in entries if entry.end is not None and entry.end <= now]
    return max(over, key=lambda entry: (entry.end or 0, entry.start), default=None)


def _shift(entries: Iterable[Entry], now: int, rules: Rules) -> Span | None:
    if rules.calendar is not None and rules.has_shifts:
        period = rules.calendar.shift(_moment(now))
        return None if period is None else Span(period.name, _ms(period.start), _ms(period.end))
    entry = current(entries, now)
    return None if entry is None else Span(entry.label, entry.start, entry.end)


def _windows(step: Entry | None, shift: Span | None, now: int, rules: Rules) -> dict[str, int]:
    """The begin of every window there is now; all of them end now."""
    found = {"day": now - DAY}
    if step is not None:
        found["step"] = step.start
    if shift is not None:
        found["shift"] = shift.start
    if rules.calendar is not None:
        found["today"] = _ms(rules.calendar.day(_moment(now)).start)
    return found


def _active(entry: Entry | None, now: int) -> dict[str, Any]:
    return {
        "active": entry is not None,
        "id": entry.id if entry else None,
        "label": entry.label if entry else None,
        "since": entry.start if entry else None,
        "elapsed": (now - entry.start) / SECOND if entry else None,
    }


def _closed(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None or entry.end is None:
        return None
    return {
        "id": entry.id,
        "label": entry.label,
        "start": entry.start,
        "end": entry.end,
        "duration": (entry.end - entry.start) / SECOND,
    }


def _ended(entry: Entry, known: Booking | None) -> dict[str, Any]:
    return {
        **(_closed(entry) or {}),
        "qty_made": known.qty_made if known else None,
        "qty_scrapped": known.qty_scrapped if known else None,
    }


def _details(known: Booking | None) -> dict[str, Any]:
    return {
        "operation": (known.operation or None) if known else None,
        "recipe_version": (known.recipe_version or None) if known else None,
        "work_order": (known.work_order or None) if known else None,
        "qty_expected": known.qty_expected if known else None,
        "cycle_time": known.cycle_time if known else None,
        "setup_time": known.setup_time if known else None,
    }


def _downtime(entries: Sequence[Entry], windows: Mapping[str, int], now: int) -> dict[str, Any]:
    last = _closed(_last(entries, now))
    sums: dict[str, float] = {}
    for entry in entries:
        seconds = _seconds(entry, now - DAY, now)
        if seconds > 0:
            sums[entry.label] = sums.get(entry.label, 0.0) + seconds
    longest = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:REASONS]
    return {
        **_active(current(entries, now), now),
        "last": last,
        **{name: sum(_seconds(e, begin, now) for e in entries) for name, begin in windows.items() if name != "step"},
        "reasons": [{"reason": reason, "seconds": seconds} for reason, seconds in longest],
    }


def _seconds(entry: Entry, begin: int, now: int) -> float:
    end = now if entry.end is None else min(entry.end, now)
    return max(0, end - max(entry.start, begin)) / SECOND


def _count(entries: Sequence[Entry], begin: int) -> int:
    return sum(entry.start >= begin for entry in entries)


def _performance(step: Entry | None, known: Booking | None, parts: float | None, now: int) -> float | None:
    """What should have taken, of what it took: expected cycle time × parts / elapsed."""
    if step is None or known is None or not known.cycle_time or parts is None or now <= step.start:
        return None
    return 100 * known.cycle_time * parts / ((now - step.start) / SECOND)


def _quality(known: Booking | None) -> float | None:
    """Of the last step: (made - scrapped) / made."""
    if known is None or not known.qty_made:
        return None
    return 100 * (known.qty_made - (known.qty_scrapped or 0.0)) / known.qty_made


def _share(cycles: Iterable[Entry], begin: int | None, now: int) -> float | None:
    """Time in cycle of the shift so far."""
    if begin is None or now <= begin:
        return None
    return 100 * sum(_seconds(entry, begin, now) for entry in cycles) / ((now - begin) / SECOND)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
