"""What a machine did, minute by minute: a Markov chain that is known a minute or two late.

Times are minutes since the epoch. Generated when it is asked for, the same for the same seed and start.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from random import Random

HISTORY_MIN = 45 * 24 * 60
"""So far back there are records: more than the 30 days that one request may ask for."""

PROVISIONAL_MIN = 60
BRIEF_MIN = 2
"""Stops that are not seen at first."""

RUNNING, IDLE, OFF = "RUNNING", "IDLE", "OFF"

_MEAN_MIN = {RUNNING: 45.0, IDLE: 7.0, OFF: 200.0}
_NEXT = {RUNNING: {IDLE: 0.93, OFF: 0.07}, IDLE: {RUNNING: 0.88, OFF: 0.12}, OFF: {IDLE: 0.7, RUNNING: 0.3}}


@dataclass(frozen=True, slots=True)
class Interval:
    """Minutes from `start` up to, not including, `end`; `state` None: nothing is known."""

    start: int
    end: int
    state: str | None


class Timeline:
    """One machine's past."""

    def __init__(self, seed: str, now: int) -> None:
        self._rng = Random(seed)
        self._state = self._rng.choice((RUNNING, IDLE, OFF))
        self._starts = [now - HISTORY_MIN]
        self._states: list[str | None] = [self._state]
        self._end = self._starts[0]
        self._extend(now)

    def at(self, minute: int) -> Interval | None:
        """The interval that holds this minute, cut off after it: what can be known at its end."""
        self._extend(minute + 1)
        index = bisect_right(self._starts, minute) - 1
        return Interval(self._starts[index], minute + 1, self._states[index]) if index >= 0 else None

    def known(self, until: int, since: int, provisional: bool) -> list[Interval]:
        """The intervals that end after `since`, whole at their beginning, as they are known at `until`; no gaps.

        With `provisional`, brief ones of the last hour are still taken for what was before them.
        """
        self._extend(until)
        first = min(since, until - PROVISIONAL_MIN) if provisional else since
        index = max(0, bisect_right(self._starts, first) - 1)
        bounds = [*self._starts[index:], self._end]
        pieces = [
            Interval(start, min(end, until), state)
            for (start, end), state in zip(pairwise(bounds), self._states[index:], strict=True)
            if start < until
        ]
        if provisional:
            pieces = _smoothed(pieces, until)
        return [piece for piece in pieces if piece.end > since and piece.state is not None]

    def overwrite(self, start: int, end: int, state: str | None) -> None:
        """Let it have been otherwise from `start` to `end`; also in the future. None is a gap.

        Raises ValueError where that is no time there are records of.
        """
        start = max(start, self._starts[0])
        if not start < end:
            raise ValueError(
                "there are no records of that time: expected it to end after it begins, 45 days ago at most"
            )
        self._extend(end + 1)
        after = self._states[bisect_right(self._starts, end) - 1]
        kept = [(s, x) for s, x in zip(self._starts, self._states, strict=True) if s < start or s > end]
        self._adopt(sorted([*kept, (start, state), (end, after)], key=lambda piece: piece[0]))

    def _adopt(self, pieces: list[tuple[int, str | None]]) -> None:
        """Take these beginnings; neighbours of one state are one interval."""
        self._starts, self._states = [], []
        for start, state in pieces:
            if not self._states or self._states[-1] != state:
                self._starts.append(start)
                self._states.append(state)

    def _extend(self, until: int) -> None:
        if until - self._end > HISTORY_MIN:  # the clock was set far ahead: nobody can ask for what was between
            self._end = until - HISTORY_MIN
        while self._end < until:
            self._step()
        forgotten = bisect_right(self._starts, until - HISTORY_MIN) - 1
        if forgotten > 0:
            del self._starts[:forgotten], self._states[:forgotten]

    def _step(self) -> None:
        if self._states[-1] != self._state:
            self._starts.append(self._end)
            self._states.append(self._state)
        self._end += 1 + int(self._rng.expovariate(1 / _MEAN_MIN[self._state]))
        following = _NEXT[self._state]
        self._state = self._rng.choices(list(following), list(following.values()))[0]


def _smoothed(pieces: list[Interval], until: int) -> list[Interval]:
    smooth: list[Interval] = []
    for piece in pieces:
        is_brief = piece.end - piece.start <= BRIEF_MIN and piece.end < until
        before = smooth[-1] if smooth else None
        if before is not None and (
            before.state == piece.state or (is_brief and piece.start >= until - PROVISIONAL_MIN)
        ):
            smooth[-1] = Interval(before.start, piece.end, before.state)
        else:
            smooth.append(piece)
    return smooth
