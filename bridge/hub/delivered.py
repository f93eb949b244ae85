"""Delivered: which positions of the history a reader has had, as ranges. Pure.

Values are said live while older ones are still owed, so one number is not enough; but what was said lies together, so
a few ranges are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_RANGES = 4096
"""Ranges kept; what would need one more is not noted, and said a second time."""


class Delivered:
    """A set of positions. Everything up to `begin` is in it from the first."""

    def __init__(self, begin: int = 0) -> None:
        self._starts = [0]
        self._ends = [begin]

    @classmethod
    def from_text(cls, text: str) -> Delivered:
        """What `as_text` gave."""
        one = cls()
        for part in text.split():
            low, _, high = part.partition("-")
            one.add(int(low), int(high))
        return one

    def as_text(self) -> str:
        """Like "0-17 19-19 23-40"."""
        return " ".join(f"{low}-{high}" for low, high in zip(self._starts, self._ends, strict=True))

    @property
    def end(self) -> int:
        """The greatest position in the set."""
        return self._ends[-1]

    def __contains__(self, position: int) -> bool:
        index = bisect_left(self._ends, position)
        return index < len(self._ends) and self._starts[index] <= position

    def add(self, low: int, high: int) -> None:
        """Put in the positions from `low` to `high`; not noted where that needs a range too many."""
        first = bisect_left(self._ends, low - 1)
        beyond = bisect_right(self._starts, high + 1)
        if first < beyond:
            low, high = min(low, self._starts[first]), max(high, self._ends[beyond - 1])
        elif len(self._starts) >= MAX_RANGES:
            return
        self._starts[first:beyond] = [low]
        self._ends[first:beyond] = [high]

    def holes(self, up_to: int) -> Iterator[tuple[int, int]]:
        """The positions up to this one that are not in the set, as ranges, in order."""
        following = [*self._starts[1:], up_to + 1]
        for end, start in zip(self._ends, following, strict=True):
            if end >= up_to:
                return
            yield end + 1, min(start - 1, up_to)

    def lacks(self, up_to: int) -> bool:
        """Whether there is a hole up to this position."""
        return self._ends[0] < up_to
