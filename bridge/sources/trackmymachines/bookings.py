"""Bookings: what is known of a step beyond its part, because it was booked through the bridge or told by the vendor.

The timeline tells of a step its part and its times only; the answer to a write has another id than the timeline's
(facts 2.2 no. 28). What belongs together is found by machine, start and part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bridge.sources.trackmymachines.payloads import Entry, StepRow

SAME: Final = 1000
"""Milliseconds by which starts may differ and be the same."""

LIMIT: Final = 50
"""Bookings of one machine that are remembered."""


@dataclass(frozen=True, slots=True)
class Booking:
    """A step on a machine. None and "" where it is not known; nobody's name is in it."""

    start: int
    part: str
    number: int | None = None
    """The vendor's internal id of the step event."""
    end: int | None = None
    operation: str = ""
    recipe_version: str = ""
    work_order: str = ""
    qty_expected: float | None = None
    cycle_time: float | None = None
    setup_time: float | None = None
    qty_made: float | None = None
    qty_scrapped: float | None = None

    def is_of(self, entry: Entry) -> bool:
        """Whether this event of the timeline is this booking."""
        return is_same(self.start, entry.start) and has_part(entry.label, self.part)


def has_part(label: str, part: str) -> bool:
    """Whether a step's label is of this part: "PART1" and "PART1 Op10" are of PART1, "PART12" is not."""
    return label == part or label.startswith(f"{part} ")


def is_same(one: int, other: int) -> bool:
    """Two times that mean the same."""
    return abs(one - other) <= SAME


class Bookings:
    """Those of every machine, the newest of each."""

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        self._of: dict[str, list[Booking]] = {}
        known = {field.name for field in fields(Booking)}
        for machine, rows in (kept or {}).items():
            told = [Booking(**{name: value for name, value in row.items() if name in known}) for row in rows]
            self._of[machine] = told[-LIMIT:]

    def document(self) -> dict[str, Any]:
        """What must be known after a restart."""
        return {machine: [asdict(booking) for booking in booked] for machine, booked in self._of.items()}

    def of(self, machine: str) -> tuple[Booking, ...]:
        """A machine's bookings, oldest first."""
        return tuple(self._of.get(machine, ()))

    def running(self, machine: str) -> Booking | None:
        """The last one that was not finished through the bridge; the timeline may know more."""
        booked = self._of.get(machine)
        return booked[-1] if booked and booked[-1].end is None else None

    def find(self, machine: str, entry: Entry) -> Booking | None:
        """What is known of a step of the timeline."""
        return next((b for b in reversed(self._of.get(machine, ())) if b.is_of(entry)), None)

    def add(self, machine: str, booking: Booking) -> None:
        """A step was started, or finished: it takes the place of the same one."""
        booked = self._of.setdefault(machine, [])
        for index, known in enumerate(booked):
            if is_same(known.start, booking.start) and known.part == booking.part:
                booked[index] = booking
                return
        booked.append(booking)
        booked.sort(key=lambda each: each.start)
        del booked[:-LIMIT]

    def learn(self, machine: str, rows: Iterable[StepRow]) -> None:
        """What the vendor tells of step events (edition 2025-07)."""
        for row in sorted(rows, key=lambda each: each.start):
            part, _, operation = row.display_name.rpartition(" Op")
            part = part or row.display_name
            known = next((b for b in self.of(machine) if is_same(b.start, row.start) and b.part == part), None)
            told: dict[str, Any] = {
                "number": row.id,
                "end": row.end,
                "operation": operation if part != row.display_name else "",
                "work_order": row.work_order,
                "qty_expected": row.qty_expected,
                "qty_made": row.qty_made,
                "qty_scrapped": row.qty_scrapped,
            }
            news = {name: value for name, value in told.items() if value not in (None, "")}
            self.add(machine, replace(known or Booking(row.start, part), **news))
