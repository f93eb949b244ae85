"""Intervals: what a machine did from when to when, and the arithmetic of putting such records together. Pure.

Times are milliseconds since 1970, UTC; an interval is [start, end). A timeline is a tuple of intervals in order of time
that do not overlap and of which no two that touch have the same state. Time that no interval covers is unknown.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MINUTE = 60_000


class Interval(NamedTuple):
    """One stretch of one state, in the vendor's word."""

    start: int
    end: int
    state: str

    @property
    def minutes(self) -> float:
        """How long it is."""
        return (self.end - self.start) / MINUTE


Timeline = tuple[Interval, ...]


def timeline(intervals: Iterable[Interval]) -> Timeline:
    """A timeline of intervals in any order. Where two overlap the later one begins when the earlier one ends."""
    whole: list[Interval] = []
    for interval in sorted(intervals):
        last = whole[-1] if whole else None
        if last is not None and interval.start < last.end:
            interval = interval._replace(start=last.end)
        if interval.start >= interval.end:
            continue
        if last is not None and last.end == interval.start and last.state == interval.state:
            whole[-1] = last._replace(end=interval.end)
        else:
            whole.append(interval)
    return tuple(whole)


def clipped(intervals: Iterable[Interval], start: int, end: int) -> Iterator[Interval]:
    """The parts of these intervals that lie within [start, end)."""
    for interval in intervals:
        inside = interval._replace(start=max(start, interval.start), end=min(end, interval.end))
        if inside.start < inside.end:
            yield inside


def replaced(whole: Timeline, start: int, end: int, news: Iterable[Interval]) -> Timeline:
    """The timeline with what is now known of [start, end): what was known of it before is forgotten.

    An interval that the vendor cut at an edge of the window grows together again with its other half.
    """
    before = clipped(whole, whole[0].start, start) if whole else ()
    after = clipped(whole, end, whole[-1].end) if whole else ()
    return timeline((*before, *clipped(news, start, end), *after))


def gaps(whole: Timeline, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of [start, end) of which nothing is known."""
    edges = [Interval(start, start, ""), *clipped(whole, start, end), Interval(end, end, "")]
    for one, other in pairwise(edges):
        if one.end < other.start:
            yield one.end, other.start
