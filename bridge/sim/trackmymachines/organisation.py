"""One organisation's records: machines, people, parts with recipes and steps, and every event on the timeline.

Numbers (`number`) are the database's own and change with a reseed; an event's `id` is the external one and does not.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

EVENT_TYPES = ("cycle", "step", "part_count", "shift_period", "activity_reason", "work_order_operation")
MAX_EVENTS = 50_000
MAX_STEPS = 10_000
"""Of parts, of recipes and of steps; the oldest are forgotten, and made anew when they are named again."""
_BASE62 = string.digits + string.ascii_letters


@dataclass(slots=True)
class Machine:
    """A machine with its three identities."""

    number: int
    display_name: str
    foreign_id: str | None = None
    archived: bool = False


@dataclass(slots=True)
class User:
    """Somebody who may be named in a step event."""

    number: int
    email: str


@dataclass(slots=True)
class Part:
    """What is made."""

    number: int
    unique_identifier: str
    created: datetime


@dataclass(slots=True)
class Recipe:
    """A version of how a part is made."""

    number: int
    part: Part
    version: int
    created: datetime


@dataclass(slots=True)
class Step:
    """An operation of a recipe."""

    number: int
    recipe: Recipe
    name: str
    """The "number" of the vendor's JSON, which is text: "10"."""
    created: datetime
    updated: datetime
    expected_cycle_time: float | None = None
    expected_setup_time: float | None = None


@dataclass(slots=True)
class Event:
    """Something on a machine's timeline; in flight while `end` is None, an instant if it is `start`."""

    id: str
    number: int
    type: str
    machine: Machine
    start: datetime
    end: datetime | None
    label: str
    created: datetime
    updated: datetime
    visible: datetime
    """From when the feed shows it."""
    step: Step | None = None
    user: User | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    ending_type: str = "manual"


class Organisation:
    """The records; everything in here is one commit per call.

    Args:
        machines: What is there.
        users: E-mail addresses of those that may be named.
        seed: Ids and delays are the same for the same seed.
    """

    def __init__(self, machines: Iterable[Machine], users: Iterable[str], seed: int = 1) -> None:
        self.number = 3
        self.machines = list(machines)
        self.users = [User(number, email) for number, email in enumerate(users, start=1)]
        self.parts: dict[str, Part] = {}
        self.recipes: dict[tuple[str, int], Recipe] = {}
        self.steps: dict[tuple[str, int, str], Step] = {}
        self.feed_delay_s = 0.0
        self._events: dict[str, Event] = {}
        self._steps: dict[str, Event] = {}
        self._rng = Random(f"{seed} ids")
        self._numbers = itertools.count(1)
        self._refuse_twins()

    def _refuse_twins(self) -> None:
        for what in ("number", "display_name"):
            values = [getattr(machine, what) for machine in self.machines]
            if len(set(values)) != len(values):
                raise ValueError(f"two machines have the same {what}: {values}")

    # -- looking

    @property
    def events(self) -> Sequence[Event]:
        """Every event in the database's own order, which is no order of time."""
        return sorted(self._events.values(), key=lambda event: event.number)

    def event(self, identifier: str) -> Event:
        """By its external id. Raises ValueError."""
        if identifier not in self._events:
            raise ValueError(f"there is no event {identifier!r}")
        return self._events[identifier]

    def machine(self, name: str) -> Machine:
        """By number, display name or foreign id. Raises ValueError."""
        for machine in self.machines:
            if str(name) in (str(machine.number), machine.display_name, machine.foreign_id):
                return machine
        raise ValueError(f"there is no machine {name!r}")

    def active_step(self, machine: Machine) -> Event | None:
        """The step event that is in flight on a machine: the latest started, should several be."""
        running = (event for event in self._steps.values() if event.machine is machine and event.end is None)
        return max(running, key=lambda event: event.start, default=None)

    # -- changing

    def insert(
        self,
        kind: str,
        machine: Machine,
        start: datetime,
        end: datetime | None,
        label: str,
        now: datetime,
        **more: Any,
    ) -> Event:
        """A new event, shown by the feed a little later. Raises ValueError for a type that is none."""
        if kind not in EVENT_TYPES:
            raise ValueError(f"there is no event type {kind!r}: expected one of {', '.join(EVENT_TYPES)}")
        if end is not None and end < start:
            raise ValueError("an event cannot end before it starts")
        visible = now + timedelta(seconds=self._rng.uniform(0, self.feed_delay_s))
        event = Event(self._new_id(), next(self._numbers), kind, machine, start, end, label, now, now, visible, **more)
        self._events[event.id] = event
        if kind == "step":
            self._steps[event.id] = event
        while len(self._events) > MAX_EVENTS:
            self.delete(next(iter(self._events.values())))
        return event

    def delete(self, event: Event) -> None:
        """The feed never shows it again."""
        self._events.pop(event.id, None)
        self._steps.pop(event.id, None)

    def step(self, part: str, version: int, name: str, now: datetime) -> Step:
        """The step of that part's recipe. All three are created if they are not there: a typo makes a new part."""
        if part not in self.parts:
            self.parts[part] = Part(next(self._numbers), part, now)
        if (part, version) not in self.recipes:
            self.recipes[part, version] = Recipe(next(self._numbers), self.parts[part], version, now)
        if (part, version, name) not in self.steps:
            self.steps[part, version, name] = Step(next(self._numbers), self.recipes[part, version], name, now, now)
        found = self.steps[part, version, name]
        for records in (self.parts, self.recipes, self.steps):
            _forget_oldest(records)
        return found

    def reseed(self) -> None:
        """Build the database anew: every number changes, and with them the feed's order; external ids stay."""
        records: list[Any] = [*self._events.values(), *self.parts.values(), *self.recipes.values()]
        records += [*self.steps.values(), *self.users, *self.machines]
        self._rng.shuffle(records)
        for record in records:
            record.number = next(self._numbers) + 100_000

    def _new_id(self) -> str:
        while True:
            identifier = "evt_" + "".join(self._rng.choices(_BASE62, k=12))
            if identifier not in self._events:
                return identifier


def _forget_oldest(records: dict[Any, Any]) -> None:
    while len(records) > MAX_STEPS:
        del records[next(iter(records))]
