"""Ages: how old the values are that a client has."""

from __future__ import annotations

from typing import NamedTuple


class AgeSummary(NamedTuple):
    """Milliseconds; percentiles over every new value of every tag.

    `arrival`: how old a value is when it arrives. `held`: how old it is when the next one takes its place, which is the
    most that anybody who looks at the client ever sees; it contains the publishing interval.
    """

    values: int
    tags: int
    arrival_p50: float
    arrival_p99: float
    held_p50: float
    held_p99: float
    held_max: float


class Ages:
    """Collects. Seconds since 1970 in; a value that is repeated (the same source time) is not a new one."""

    def __init__(self) -> None:
        self._newest: dict[object, float] = {}
        self._arrival: list[float] = []
        self._held: list[float] = []

    def begin(self) -> None:
        """Forget what was measured, not what the client has."""
        self._arrival.clear()
        self._held.clear()

    def take(self, tag: object, source_time: float, now: float) -> None:
        """A value of a tag has arrived."""
        before = self._newest.get(tag)
        if before == source_time:
            return
        self._newest[tag] = source_time
        self._arrival.append(now - source_time)
        if before is not None:
            self._held.append(now - before)

    def summary(self) -> AgeSummary:
        """What was collected since `begin`."""
        arrival, held = sorted(self._arrival), sorted(self._held)
        return AgeSummary(
            len(arrival),
            len(self._newest),
            _percentile(arrival, 0.5),
            _percentile(arrival, 0.99),
            _percentile(held, 0.5),
            _percentile(held, 0.99),
            _percentile(held, 1.0),
        )


def _percentile(ordered: list[float], share: float) -> float:
    """In milliseconds; 0 where there is nothing."""
    if not ordered:
        return 0.0
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1)
