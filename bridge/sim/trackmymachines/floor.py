"""A shop floor that runs by itself on the virtual clock: shifts, jobs, cycles, parts, stops with reasons found later.

Each machine's life is a generator that yields when it wants to go on; `catch_up` runs all of them up to now. Nothing
happens between requests, so the same seed gives the same floor however fast the clock runs.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator
from datetime import datetime, timedelta
from random import Random

from bridge.sim.trackmymachines.organisation import Event, Machine, Organisation

HISTORY = timedelta(days=1)
LONGEST_CATCH_UP = timedelta(days=8)
"""A clock that jumps further leaves a gap, as a plant that was shut does."""

SHIFTS = ("Night shift", "Early shift", "Late shift")
"""8 h each, every day, the first from 22:00 UTC of the day before."""
SHIFT_LENGTH = timedelta(hours=8)
REASONS = ("Tool change", "No material", "Quality check", "Cleaning", "Waiting for operator", "Breakdown")
UNKNOWN_REASON = "Unclassified"
PARTS = ("PART123", "BRACKET-7", "HOUSING-A", "SHAFT-40")
STOP_CHANCE = 0.05

Life = Generator[datetime, datetime, None]
Work = Generator[datetime, datetime, datetime]


class ShopFloor:
    """The lives of all machines that are not archived.

    Args:
        organisation: Where it is recorded.
        seed: Of every length and choice.
        start: When the floor begins.
    """

    def __init__(self, organisation: Organisation, seed: int, start: datetime) -> None:
        self._waiting: list[tuple[datetime, int, Life]] = []
        for order, machine in enumerate(organisation.machines):
            if not machine.archived:
                life = _MachineLife(organisation, machine, Random(f"{seed} floor {order}")).live(start)
                heapq.heappush(self._waiting, (next(life), order, life))

    def catch_up(self, now: datetime) -> None:
        """Let happen what has happened until now."""
        while self._waiting and self._waiting[0][0] <= now:
            due, order, life = heapq.heappop(self._waiting)
            heapq.heappush(self._waiting, (life.send(max(due, now - LONGEST_CATCH_UP)), order, life))


class _MachineLife:
    def __init__(self, records: Organisation, machine: Machine, rng: Random) -> None:
        self._records = records
        self._machine = machine
        self._rng = rng
        self._left = 0
        self._cycle_s = rng.uniform(60, 240)
        self._orders = rng.randrange(1000, 9000)
        self._job: Event | None = None
        self._order: Event | None = None
        self._unnamed: list[tuple[datetime, Event]] = []

    def live(self, start: datetime) -> Life:
        t = yield start
        while True:
            begin, name = _shift_at(t)
            end = begin + SHIFT_LENGTH
            # A shift is planned: its end is known, and in the future, from its first moment.
            self._note("shift_period", begin, end, name, t)
            while t < end:
                t = yield from self._work(t)
                self._name_stops(t)

    def _work(self, t: datetime) -> Work:
        running = self._records.active_step(self._machine)
        if running is None:
            return (yield from self._set_up(t))
        if self._rng.random() < STOP_CHANCE:
            return (yield from self._stop(t))
        return (yield from self._cycle(t))

    def _set_up(self, t: datetime) -> Work:
        self._end_order(t)
        self._orders += 1
        self._left = self._rng.randrange(20, 80)
        number = str(self._rng.choice((10, 20, 30)))
        step = self._records.step(self._rng.choice(PARTS), 1, number, t)
        step.expected_cycle_time = step.expected_cycle_time or round(self._cycle_s)
        metadata = {"qty_expected": self._left, "wo_number": f"WO-{self._orders}"}
        user = self._rng.choice(self._records.users) if self._records.users else None
        part = step.recipe.part.unique_identifier
        self._job = self._note("step", t, None, part, t, step=step, user=user, metadata=metadata)
        self._order = self._note("work_order_operation", t, None, f"WO-{self._orders} Op{number}", t)
        return (yield t + timedelta(seconds=self._rng.uniform(120, 900)))

    def _cycle(self, t: datetime) -> Work:
        cycle = self._note("cycle", t, None, "Cycle", t)
        t = yield t + timedelta(seconds=self._cycle_s * self._rng.uniform(0.92, 1.15))
        _end(cycle, t)
        self._note("part_count", t, t, "1", t)
        self._left -= 1
        if self._left <= 0 and self._job is not None:
            made = self._job.metadata.get("qty_expected", 0)
            self._job.metadata |= {"quantity_made": made, "quantity_scrapped": self._rng.choice((0, 0, 0, 1, 2))}
            _end(self._job, t)
            self._job = None
        return (yield t + timedelta(seconds=self._rng.uniform(5, 25)))

    def _stop(self, t: datetime) -> Work:
        stop = self._note("activity_reason", t, None, UNKNOWN_REASON, t)
        t = yield t + timedelta(seconds=self._rng.expovariate(1 / 480))
        _end(stop, t)
        self._unnamed.append((t + timedelta(seconds=self._rng.uniform(60, 900)), stop))
        return t

    def _name_stops(self, t: datetime) -> None:
        for when, stop in [entry for entry in self._unnamed if entry[0] <= t]:
            self._unnamed.remove((when, stop))
            stop.label, stop.updated = self._rng.choice(REASONS), t

    def _end_order(self, t: datetime) -> None:
        for event in (self._job, self._order):
            if event is not None:
                _end(event, t)
        self._job = self._order = None

    def _note(
        self, kind: str, start: datetime, end: datetime | None, label: str, now: datetime, **more: object
    ) -> Event:
        return self._records.insert(kind, self._machine, start, end, label, now, **more)


def _end(event: Event, t: datetime) -> None:
    if event.end is None:  # somebody else may have ended it
        event.end = event.updated = max(event.start, t)


def _shift_at(t: datetime) -> tuple[datetime, str]:
    midnight = t.replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight - timedelta(hours=2)
    order = (t - first) // SHIFT_LENGTH
    return first + order * SHIFT_LENGTH, SHIFTS[order % len(SHIFTS)]
