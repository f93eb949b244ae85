"""Totals: what the vendor itself sums up of step events, of one machine. Pure. Source: facts 2.2 no. 17, 2.1.

Edition 2025-05 tells sums of a day by display name; 2025-07 tells each step event. The page's own example asks for
"Machine1" and answers "Machine 1": blanks and case do not tell machines apart here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.sources.trackmymachines.payloads import DayRow, StepRow


def totals_of(
    identity: Mapping[str, str | int], days: Iterable[DayRow], rows: Iterable[StepRow], today: str
) -> tuple[dict[str, Any] | None, tuple[StepRow, ...]]:
    """A machine's channel "totals", None where the vendor tells nothing of it; and its step events."""
    own = tuple(row for row in rows if is_same_machine(identity, row.machine_name, row.machine_id))
    summed = [row for row in days if is_same_machine(identity, row.machine_name, None)]
    if own:
        return _of_rows(own, today), own
    if summed:
        newest = max(summed, key=lambda row: row.date)
        return {**_NOTHING, "date": newest.date, "steps": newest.events, "cycle_time": newest.cycle_time}, own
    return None, own


_NOTHING: dict[str, Any] = {
    "date": None,
    "steps": None,
    "cycle_time": None,
    "cycles": None,
    "parts": None,
    "median_cycle_time": None,
    "load_time": None,
    "dead_time": None,
}


def _of_rows(rows: tuple[StepRow, ...], today: str) -> dict[str, Any]:
    """Sums of the newest day there is a step of, and the figures of the step that began last."""
    newest = max(rows, key=lambda row: row.start)
    day = min(today, _date(newest.start))
    of_day = [row for row in rows if _date(row.start) == day]
    return {
        "date": day,
        "steps": len(of_day),
        "cycle_time": sum(row.cycle_time or 0.0 for row in of_day),
        "cycles": newest.cycles,
        "parts": newest.parts,
        "median_cycle_time": newest.median_cycle_time,
        "load_time": newest.load_time,
        "dead_time": newest.dead_time,
    }


def is_same_machine(identity: Mapping[str, str | int], name: str, number: int | None) -> bool:
    """By its number where both have one, else by its name."""
    own = identity.get("number")
    if own is not None and number is not None:
        return own == number
    known = identity.get("display_name")
    return known is not None and _plain(str(known)) == _plain(name)


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()


def _date(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()
