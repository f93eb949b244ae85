"""Bookings: commands that are records, kept while their vendor is offline, and delivered in order when it is back.

    lane -> certainly not reached -> [journal: queued] -> caller: queued -> source is back -> lane -> end -> Event

Rules
1. A lane's bookings never overtake each other: while one is kept, or it is not known what became of one, those after it
   are kept too. Other commands of the lane pass by: they are about now, and a booking about then.
2. A booking says when it was booked (`edge`): whenever it arrives, it is told with that time.
3. It is kept by what the journal has of it, and made anew from that when it is sent; what the journal must not keep (an
   e-mail address, a secret) is refused as if there were no queue.
4. Nothing is tried while the source is not connected. Then, and after its return, once with a growing pause.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bridge.commands.masking import is_impersonal, is_masked, without_secrets
from bridge.model.command import Outcome, Result
from bridge.model.event import Event
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from datetime import datetime

    from bridge.commands.entry import Entry
    from bridge.model.command import Command
    from bridge.ports import Clock

PER_LANE: Final = 500
IN_ALL: Final = 5_000
"""Bookings that are kept: half of what the journal holds unfinished."""

LONGEST_PAUSE_S: Final = 60.0
SPREAD_S: Final = 2.0
"""A source that is back is not met by all of its machines' bookings at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Booking:
    """A record, and how long it may be kept."""

    command: Command
    edge: datetime
    """When it was taken: what "now" means in it."""
    until: datetime
    is_told: bool = False
    """Who asked was answered that it is queued."""

    @classmethod
    def of(cls, entry: Entry) -> Booking:
        """What an earlier life has left in the journal."""
        assert entry.until is not None and entry.edge is not None  # noqa: S101
        return cls(entry.command, entry.edge, entry.until, is_told=True)

    @property
    def can_be_kept(self) -> bool:
        """Nothing of it is missing from the journal."""
        kept = without_secrets(self.command).arguments
        return not is_masked(kept) and not is_impersonal(kept)

    def told(self) -> Booking:
        """It, after its caller was answered."""
        return replace(self, is_told=True)

    def queued(self, why: str) -> Outcome:
        """What its caller is answered."""
        sentence = f"Kept with its time, {self.edge:%Y-%m-%d %H:%M:%S} UTC, to be delivered by {self.until:%H:%M} UTC"
        return Outcome(Result.QUEUED, StatusCode.GoodCompletesAsynchronously, f"{sentence}. {why}".strip())

    def expired(self, now: datetime) -> Outcome:
        """It is too late to deliver it."""
        late = (now - self.edge).total_seconds() / 3600
        sentence = f"It could not be delivered for {late:.1f} h, longer than its max_delay; it was not sent"
        return Outcome(Result.EXPIRED, StatusCode.BadTimeout, sentence)


NOT_KEPT = "It is not kept for later, because the journal keeps no e-mail addresses: give a badge number or user name"


class BookingQueue:
    """The kept bookings of one lane, first come first, and when the first one is to be tried."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: deque[Booking] = deque()
        self._attempt = 0
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, booking: Booking) -> None:
        """Keep it, after all others."""
        self._kept.append(booking)

    def put_back(self, booking: Booking) -> None:
        """It could not be delivered: it is the first again, and has to wait."""
        self._kept.appendleft(booking)
        pause = min(LONGEST_PAUSE_S, 2.0**self._attempt)
        self._due = self._clock.monotonic() + random.uniform(pause / 2, pause)
        self._attempt = min(self._attempt + 1, 10)

    def take(self) -> Booking | None:
        """The first, if it is its time."""
        return self._kept.popleft() if self._kept and self._clock.monotonic() >= self._due else None

    def remove(self, command_id: str) -> Booking | None:
        """The one of this command, which is kept no longer; None where it is not kept."""
        found = next((booking for booking in self._kept if booking.command.id == command_id), None)
        if found is not None:
            self._kept.remove(found)
        return found

    def pop_expired(self) -> list[Booking]:
        """Those whose time is over."""
        now = self._clock.now()
        gone = [booking for booking in self._kept if booking.until <= now]
        for booking in gone:
            self._kept.remove(booking)
        return gone

    def delivered(self) -> None:
        """One arrived: the next need not wait."""
        self._attempt, self._due = 0, 0.0

    def hurry(self, within_s: float = 0.0) -> None:
        """Try again soon: the source is back, or a person says so."""
        self._attempt = 0
        self._due = self._clock.monotonic() + random.uniform(0, within_s)

    def pause_s(self, *, may_go: bool) -> float | None:
        """Seconds until there is something to do without being told; None: nothing is kept.

        Never longer than a minute: the computer's clock may be set.
        """
        if not self._kept:
            return None
        ends = (min(booking.until for booking in self._kept) - self._clock.now()).total_seconds()
        due = self._due - self._clock.monotonic() if may_go else LONGEST_PAUSE_S
        return max(0.0, min(ends, due, LONGEST_PAUSE_S))


class Register:
    """Every booking that was answered "queued" and has no end yet, by its command's id."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Outcome]] = {}
        self._of: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._known)

    def answer(self, command_id: str) -> Outcome | None:
        """What its caller was answered; None where it is not kept."""
        known = self._known.get(command_id)
        return known[1] if known else None

    def put(self, booking: Booking, outcome: Outcome) -> None:
        """It was answered "queued"."""
        command_id = booking.command.id
        if command_id not in self._known:
            self._of[machine_of(booking.command)] += 1
        self._known[command_id] = (machine_of(booking.command), outcome)

    def end(self, command_id: str, outcome: Outcome) -> bool:
        """It has its end; False where it was never kept."""
        known = self._known.pop(command_id, None)
        if known is None:
            return False
        self._of[known[0]] -= 1
        self.ended[told_as(outcome)] += 1
        return True

    def pending(self, machine: str) -> int:
        """How many of a machine."""
        return self._of[machine]

    def metrics(self) -> dict[str, float]:
        """Counters for the status page."""
        ends = {f"bookings_{word.lower()}_total": float(self.ended[word]) for word in WORDS}
        return {"bookings_pending": float(len(self._known)), **ends}


WORDS: Final = ("Delivered", "Refused", "Expired", "Unknown", "Discarded")
_WORD: Final = {Result.EXPIRED: "Expired", Result.UNKNOWN: "Unknown", Result.SUPERSEDED: "Discarded"}
_SEVERITY: Final = {"Delivered": 100, "Discarded": 100, "Unknown": 700}


def told_as(outcome: Outcome) -> str:
    """How an event calls this end of a booking."""
    return "Delivered" if outcome.status.is_good else _WORD.get(outcome.result, "Refused")


def machine_of(command: Command) -> str:
    """The id of the machine it is about."""
    return command.target.partition(".")[0]


def event_of(command: Command, edge: datetime, source: str, outcome: Outcome, now: datetime) -> Event:
    """How a booking ended, for everybody: who asked was answered long ago. The same end has the same id."""
    word = told_as(outcome)
    data = {
        "id": command.id,
        "target": command.target,
        "booked": edge.isoformat(),
        "result": outcome.result.value,
        "requester": command.requester,
    }
    message = f"{command.target} of {edge:%Y-%m-%d %H:%M:%S} UTC: {outcome.sentence}"
    identifier = f"booking:{word}:{command.id}"
    severity = _SEVERITY.get(word, 500)
    return Event(identifier, f"Booking{word}", now, message[:1000], severity, source, machine_of(command), data)
