"""Which of several brokers to connect to next, and when. Pure.

One at a time, in their order (tck-id-operational-behavior-primary-application-state-with-multiple-servers-walk). One
that failed is tried again after a wait that grows for it alone, so that a dead one does not keep us from the next.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PERSON_NEEDED = 10
"""Waits after a refusal are as long as those after so many failures: trying again soon does not help."""
STEADY_S = 10.0
"""A session that lasted so long forgives what failed before it; two bridges of one name end each other's sooner."""
OFTEN = 2
"""So many sessions that did not last, and this one, are no accident."""


class Walk:
    """The round of the brokers. Times are monotonic seconds; `wait` gives the seconds after so many failures."""

    def __init__(self, count: int, wait: Callable[[int], float]) -> None:
        self.current = 0
        """The broker in use, or to be tried."""
        self._wait = wait
        self._failures = [0] * count
        self._not_before = [0.0] * count
        self._unhelpful: set[int] = set()
        self._online_since: float | None = None
        self._connected_at: float | None = None

    @property
    def is_alone(self) -> bool:
        """There is nowhere else to go."""
        return len(self._failures) == 1

    @property
    def has_untried(self) -> bool:
        """Some other broker was not tried since we were last online."""
        return len(self._unhelpful | {self.current}) < len(self._failures)

    def connected(self, now: float) -> None:
        """The broker in use has a session of ours."""
        self._connected_at = now

    def online(self, now: float) -> None:
        """The broker in use does what we need."""
        if self._online_since is None:
            self._online_since = now
        self._unhelpful.clear()

    def is_cut_short(self, now: float) -> bool:
        """Session after session began and ended soon, perhaps before its births had arrived."""
        lasted_s = inf if self._connected_at is None else now - self._connected_at
        return lasted_s < STEADY_S and self._failures[self.current] >= OFTEN

    def failed(self, now: float, is_refused: bool = False) -> None:
        """It could not be reached, was lost, or refused us: go on to the next."""
        if self._online_since is not None and now - self._online_since >= STEADY_S:
            self._failures[self.current] = 0
        failures = self._failures[self.current]
        self._failures[self.current] += 1
        self._go_on(now, self._wait(PERSON_NEEDED if is_refused else failures))

    def left(self, now: float) -> None:
        """We left it, for the next one: it may be tried again soon."""
        self._go_on(now, self._wait(0))

    def pause(self, now: float) -> float:
        """Seconds until the chosen broker may be tried."""
        return max(0.0, self._not_before[self.current] - now)

    def _go_on(self, now: float, wait_s: float) -> None:
        """To the next one that may be tried now, else to that which may be tried first."""
        self._not_before[self.current] = now + wait_s
        self._unhelpful.add(self.current)
        self._online_since = self._connected_at = None
        count = len(self._failures)
        following = [(self.current + step) % count for step in range(1, count + 1)]
        self.current = min(following, key=lambda index: max(now, self._not_before[index]))
