"""Since when a machine is in its state. Pure. Source: facts/other-vendors.md 3.2 no. 12, 3.4.

`machineState` has no time stamp and whole minutes: `now - duration` jitters by a minute at every poll. So the first
estimate is kept while the state lasts, until activity gives the exact time. An estimate that jumps to later is a
machine that left the state and came back between two polls: what happened there only activity can tell.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from bridge.sources.quantiix.intervals import MINUTE

TOLERANCE: Final = 2 * MINUTE
"""Milliseconds: a minute of rounding, and a minute of the vendor's own grid."""


class Latched(NamedTuple):
    """A state and since when. `exact`: an edge that activity has shown, not an estimate."""

    state: str
    since: int
    exact: bool = False


class Seen(NamedTuple):
    """What one poll means. `changed` and `missed` (left and came back) exclude each other."""

    latched: Latched
    changed: bool = False
    missed: bool = False


def seen(before: Latched | None, state: str, minutes: int, now: int) -> Seen:
    """What a poll at `now` says of the state, after what was known `before`."""
    estimate = now - minutes * MINUTE
    if before is None:
        return Seen(Latched(state, estimate))
    if state != before.state:
        return Seen(Latched(state, max(estimate, before.since)), changed=True)
    if estimate > before.since + TOLERANCE:
        return Seen(Latched(state, estimate), missed=True)
    if estimate < before.since - TOLERANCE and not before.exact:
        return Seen(Latched(state, estimate))  # the first estimate was of a state that had only just been seen
    return Seen(before)


def corrected(before: Latched | None, state: str, start: int) -> Latched | None:
    """What is known after activity showed that the state that still lasts began at `start`."""
    if before is None or before.state != state:
        return before
    return Latched(state, start, exact=True)
