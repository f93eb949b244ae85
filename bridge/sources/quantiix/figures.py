"""Figures of a window of time: minutes by state, availability, stops. Pure. Source: facts/other-vendors.md 3.4.

Quantiix knows RUNNING, IDLE and OFF, so this is availability, one factor of OEE, and never called OEE: of performance
and quality the vendor knows nothing.

Rules
1. run + idle + off + unknown is the window. A gap, and a state we do not know, is unknown: never guessed.
2. A stop is a change from RUNNING to IDLE or OFF strictly inside the window: then how the vendor cuts its records at
   the edges changes nothing. A gap after RUNNING is no stop.
3. What has no denominator has no value: no stop, no MTBF.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from bridge.sources.quantiix.intervals import MINUTE, clipped, timeline

if TYPE_CHECKING:
    from bridge.sources.quantiix.intervals import Interval, Timeline

RUNNING: Final = "RUNNING"
IDLE: Final = "IDLE"
OFF: Final = "OFF"
CODES: Final = {OFF: 0, IDLE: 1, RUNNING: 2}
UNKNOWN_CODE: Final = -1


@dataclass(frozen=True, slots=True)
class Figures:
    """One window. Times are minutes; None is what has no value."""

    start: int
    end: int
    run: float
    idle: float
    off: float
    unknown: float
    availability: float | None
    """Percent of the planned time that was known."""
    coverage: float | None
    """Percent of the window of which the state is known."""
    stops: int
    longest_stop: float
    mtbf: float | None
    mttr: float | None


def figures(whole: Timeline, start: int, end: int, *, off_counts: bool) -> Figures:
    """The figures of [start, end). `off_counts`: OFF is planned time, and repair time."""
    pieces = tuple(clipped(whole, start, end))
    minutes = {state: sum(piece.minutes for piece in pieces if piece.state == state) for state in CODES}
    run, idle, off = minutes[RUNNING], minutes[IDLE], minutes[OFF]
    known = run + idle + off
    length = (end - start) / MINUTE
    down = idle + off if off_counts else idle
    stops = sum(_is_stop(one, other) for one, other in pairwise(pieces))
    return Figures(
        start=start,
        end=end,
        run=run,
        idle=idle,
        off=off,
        unknown=max(0.0, length - known),
        availability=_percent(run, run + down),
        coverage=_percent(known, length),
        stops=stops,
        longest_stop=max((stop.minutes for stop in _stops(pieces)), default=0.0),
        mtbf=run / stops if stops else None,
        mttr=down / stops if stops else None,
    )


def _is_stop(one: Interval, other: Interval) -> bool:
    return one.state == RUNNING and other.state in (IDLE, OFF) and one.end == other.start


def _stops(pieces: tuple[Interval, ...]) -> Timeline:
    """IDLE and OFF that follow each other are one stop."""
    return timeline(piece._replace(state=IDLE) for piece in pieces if piece.state in (IDLE, OFF))


def _percent(part: float, whole: float) -> float | None:
    return None if whole <= 0 else 100.0 * part / whole
