"""One account's requests: one fair queue for all of its calls, so that the vendor never has to answer 429.

    caller -- turn(priority, deadline) --> queue of its class --+
                                                                +--> token bucket --> Turn --> request
    vendor's 429 -- throttled(turn, retry_after) --> pause, and a lower rate for a while

Rules:

1. In no 60 s do more turns begin than `rate + burst`, which is the limit less a reserve. A bucket bounds every window,
   so it does not matter whether the vendor counts in fixed windows or in sliding ones. The reserve is for what the
   network adds: requests held up on the way arrive together with later ones (10 of 100 are good for 7.5 s at 80/min).
   The bucket starts with one token, not full: a restarted bridge does not add a burst to its predecessor's.
2. Authentication goes first, then commands and their confirmation. They need no rule against starving the rest, for
   they are few: a login is one request a day and never two at a time; of commands each machine has one in flight,
   read back a few times. A token that lies there is theirs at once; otherwise the next one is.
3. State goes before the background (activity, inventory, backfill). Where both wait, one turn in five is the
   background's, no more and no less: neither can starve the other. That turn goes to the earliest deadline of all
   three, so that a daily listing is not kept waiting by busy activity; where only the background waits, the classes
   keep their order.
4. Inside a class the earliest deadline goes first; of equal ones the one that has waited longest.
5. A 429 slows the whole account, not the call it hit. All that were under way when it came count as one. How long the
   pause is, the vendor says; where it does not, pauses double.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from bridge.errors import RateLimited
from bridge.sources._waiting import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.ports import Clock

WINDOW: Final = 60.0
"""Seconds over which vendors count."""

RESERVE: Final = 0.1
BURST: Final = 0.1
"""Parts of the limit: what is never used, and what may go at once."""

BACKGROUND: Final = 0.2
"""Part of the turns that activity, inventory and backfill get while state waits."""

WAITERS: Final = 4096
"""Calls of one class that may wait; more are refused. A class of its own cannot be crowded out by another."""

SLOWED: Final = 0.7
FLOOR: Final = 0.25
RECOVERY: Final = 0.025
"""A 429 takes the rate down to SLOWED of what it was, never below FLOOR of the full one; each minute without one gives
back RECOVERY of the full one. At 80/min: not below 20/min, and 2/min a minute."""

FIRST_PAUSE: Final = 5.0
LONGEST_BACKOFF: Final = 120.0
LONGEST_PAUSE: Final = 3600.0
"""Seconds: the pause after a 429 is what the vendor asks for, at least the first; where it does not ask, it doubles
from the first to the longest back-off. One who asks for more than an hour is tried again after an hour: the header may
be a mistake."""

LASTING: Final = 600.0
"""Seconds of nothing but 429 after which an account counts as lost."""

JITTER: Final = 1.25
"""A pause is up to so many times as long as it must be: several bridges on one account shall not return together."""

_WHOLE: Final = 1 - 1e-9
"""A token, less the rounding of adding it up in pieces."""


class Priority(IntEnum):
    """What a request is for; the smaller goes first."""

    AUTH = 0
    COMMAND = 1
    """Commands, and reading back what became of them."""
    STATE = 2
    ACTIVITY = 3
    INVENTORY = 4
    BACKFILL = 5


URGENT: Final = (Priority.AUTH, Priority.COMMAND)
IN_BACKGROUND: Final = (Priority.ACTIVITY, Priority.INVENTORY, Priority.BACKFILL)


@dataclass(frozen=True, slots=True)
class Turn:
    """Leave to send one request now. `at` is the clock's monotonic time."""

    at: float


@dataclass(frozen=True, slots=True)
class Figures:
    """A budget as people see it."""

    limit: float
    """Requests a minute that the vendor allows us: its limit times our share."""
    rate: float
    """Requests a minute that are let out now, apart from a burst; lower for a while after a 429."""
    used: int
    """Requests let out in the last 60 s."""
    waiting: int
    throttled_total: int
    """429 answers ever."""
    paused: float
    """Seconds until the next request may go at all, after a 429."""


@dataclass(order=True, slots=True)
class _Waiter:
    deadline: float
    order: int
    priority: Priority = field(compare=False)
    wake: asyncio.Future[None] = field(compare=False)
    turn: Turn | None = field(default=None, compare=False)

    def rouse(self) -> None:
        if not self.wake.done():
            self.wake.set_result(None)


class Budget:
    """The requests one credential may send.

    Args:
        per_minute: The vendor's limit.
        clock: Of the source.
        share: This bridge's part of the limit, 0 < share <= 1, where several bridges use one account.
        burst: Turns that may go at once after a rest.
        uniform: Draws the jitter.

    Raises:
        ValueError: Nothing would be left for an even rate.
    """

    def __init__(
        self,
        per_minute: float,
        clock: Clock,
        *,
        share: float = 1.0,
        reserve: float = RESERVE,
        burst: int | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.limit = per_minute * share
        self.burst = max(1, int(self.limit * BURST)) if burst is None else burst
        self.full_rate = self.limit * (1 - reserve) - self.burst
        if not (0 < share <= 1 and self.burst >= 1 and self.full_rate > 0):
            raise ValueError(
                f"{self.limit:g} requests a minute, less a reserve of {reserve:.0%} and bursts of {self.burst}, "
                "leave nothing to go on; expected 2 a minute or more"
            )
        self._clock = clock
        self._uniform = uniform
        self._rate = self.full_rate
        self._tokens = 1.0
        self._filled = clock.monotonic()
        """Up to when tokens were counted; in the future while we pause."""
        self._clean_since = self._filled
        """Since when no 429 has come, or the rate was raised for that."""
        self._slowed_at = -math.inf
        self._slowed_in_a_row = 0
        self._throttled_total = 0
        self._refused_since: float | None = None
        """Since when every answer was a 429."""
        self._turns: deque[float] = deque()
        self._queues: dict[Priority, list[_Waiter]] = {priority: [] for priority in Priority}
        self._order = itertools.count()
        self._background_credit = 0.0
        self._keeper: _Waiter | None = None
        """The one who watches the clock for all who wait."""

    # -- what callers do

    async def turn(self, priority: Priority, deadline: float | None = None) -> Turn:
        """Wait until this request may go. Cancelled, it costs nothing.

        `deadline` is when the request should be out, on the clock's monotonic time; it orders, it does not limit.
        Default is now, so that who comes first goes first.

        Raises RateLimited where too many of this class wait already.
        """
        waiter = self._enter(priority, deadline)
        try:
            self._serve()
            while waiter.turn is None:
                await self._wait(waiter)
                self._serve()
        except BaseException:
            self._give_back(waiter)
            raise
        finally:
            self._leave(waiter)
        return waiter.turn

    def throttled(self, turn: Turn, retry_after: float | None = None) -> None:
        """The request of this turn was answered 429; `retry_after` are the seconds the vendor asks for, if it does."""
        self._accrue()
        self._throttled_total += 1
        if self._refused_since is None:
            self._refused_since = self._clock.monotonic()
        asked = retry_after or 0.0
        if turn.at > self._slowed_at:
            back_off = self._slow_down()
            asked = max(asked, FIRST_PAUSE) if asked else back_off
        if asked > 0:
            pause = min(asked, LONGEST_PAUSE) * self._uniform(1.0, JITTER)
            self._tokens = 0.0
            self._filled = self._clean_since = max(self._filled, self._clock.monotonic() + pause)

    def hold(self, seconds: float) -> None:
        """Let nothing out for so many seconds, at most LONGEST_PAUSE: the vendor hints before it says 429."""
        self._accrue()
        if seconds > 0:
            self._tokens = min(self._tokens, 0.0)
            self._filled = max(self._filled, self._clock.monotonic() + min(seconds, LONGEST_PAUSE))

    def answered(self) -> None:
        """A request was answered, and not with 429."""
        self._refused_since = None

    @property
    def is_slowed(self) -> bool:
        """Fewer requests are let out than there might be: the vendor has answered 429."""
        return self.rate < self.full_rate

    @property
    def is_hopeless(self) -> bool:
        """Nothing but 429 was answered for long: who waits for a turn had better say so."""
        return self._refused_since is not None and self._clock.monotonic() - self._refused_since > LASTING

    @property
    def rate(self) -> float:
        """Requests a minute that are let out now, apart from a burst."""
        self._accrue()
        return self._rate

    @property
    def figures(self) -> Figures:
        """How things stand."""
        self._accrue()
        self._forget()
        return Figures(
            limit=self.limit,
            rate=self._rate,
            used=len(self._turns),
            waiting=sum(map(len, self._queues.values())),
            throttled_total=self._throttled_total,
            paused=max(0.0, self._filled - self._clock.monotonic()),
        )

    # -- tokens

    def _accrue(self) -> None:
        now = self._clock.monotonic()
        while self._rate < self.full_rate and self._clean_since + WINDOW <= now:
            self._clean_since += WINDOW
            self._fill(self._clean_since)
            self._rate = min(self.full_rate, self._rate + RECOVERY * self.full_rate)
            self._slowed_in_a_row = 0
        self._fill(now)

    def _fill(self, until: float) -> None:
        if until > self._filled:
            self._tokens = min(float(self.burst), self._tokens + (until - self._filled) * self._rate / WINDOW)
            self._filled = until

    def _slow_down(self) -> float:
        """A 429 that is news: the rate goes down. Gives the back-off in seconds."""
        self._slowed_at = self._clock.monotonic()
        self._rate = max(FLOOR * self.full_rate, SLOWED * self._rate)
        pause = min(LONGEST_BACKOFF, FIRST_PAUSE * 2.0**self._slowed_in_a_row)
        self._slowed_in_a_row = min(self._slowed_in_a_row + 1, 16)
        return pause

    def _until_next(self) -> float:
        """Seconds until there is a token."""
        pause = self._filled - self._clock.monotonic()
        return max(0.0, pause + (1 - self._tokens) * WINDOW / self._rate)

    def _forget(self) -> None:
        horizon = self._clock.monotonic() - WINDOW
        while self._turns and self._turns[0] <= horizon:
            self._turns.popleft()

    # -- those who wait

    def _enter(self, priority: Priority, deadline: float | None) -> _Waiter:
        queue = self._queues[priority]
        if len(queue) >= WAITERS:
            raise RateLimited(
                f"{len(queue)} requests wait for the vendor's limit of {self.limit:g} a minute already", WINDOW
            )
        due = self._clock.monotonic() if deadline is None else deadline
        waiter = _Waiter(due, next(self._order), priority, asyncio.get_running_loop().create_future())
        heapq.heappush(queue, waiter)
        return waiter

    async def _wait(self, waiter: _Waiter) -> None:
        """Wait until roused: with a turn, or to keep the time because the keeper has left."""
        waiter.wake = asyncio.get_running_loop().create_future()
        self._keeper = self._keeper or waiter
        if self._keeper is waiter:
            await within(self._clock, self._until_next(), waiter.wake)
        else:
            await waiter.wake

    def _leave(self, waiter: _Waiter) -> None:
        if waiter.turn is None:
            queue = self._queues[waiter.priority]
            queue.remove(waiter)
            heapq.heapify(queue)
        if self._keeper is waiter:
            self._keeper = min(itertools.chain(*self._queues.values()), default=None)
            if self._keeper is not None:
                self._keeper.rouse()

    def _give_back(self, waiter: _Waiter) -> None:
        """Cancelled in the very moment its turn came."""
        if waiter.turn is not None:
            self._turns.remove(waiter.turn.at)
            self._tokens = min(float(self.burst), self._tokens + 1)
            self._serve()

    def _serve(self) -> None:
        """Hand out the tokens there are."""
        self._accrue()
        self._forget()
        while self._tokens >= _WHOLE and (waiter := self._next()) is not None:
            now = self._clock.monotonic()
            self._tokens = max(0.0, self._tokens - 1)
            self._turns.append(now)
            waiter.turn = Turn(now)
            waiter.rouse()

    def _next(self) -> _Waiter | None:
        """Take out of the queues whose turn it is."""
        queue = self._first(URGENT)
        if queue is None:
            queue = self._ordinary()
        return heapq.heappop(queue) if queue else None

    def _ordinary(self) -> list[_Waiter] | None:
        state, background = self._queues[Priority.STATE], self._first(IN_BACKGROUND)
        if not state or background is None:
            return state or background
        self._background_credit += BACKGROUND
        if self._background_credit < _WHOLE:
            return state
        self._background_credit -= 1
        return min((self._queues[priority] for priority in IN_BACKGROUND if self._queues[priority]), key=lambda q: q[0])

    def _first(self, priorities: Iterable[Priority]) -> list[_Waiter] | None:
        return next((self._queues[priority] for priority in priorities if self._queues[priority]), None)
