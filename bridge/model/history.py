"""History: values that were, as they are read from the log, and where some are missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from bridge.model.event import Event
from bridge.model.value import DataValue


class HistoricValue(NamedTuple):
    """A stored value. Positions are given once, in the order in which values came, not in that of their times."""

    position: int
    tag: str
    """The tag's id."""
    value: DataValue


class Gap(NamedTuple):
    """Values of one tag that a reader did not get and never will.

    `first` and `last` are the source times of the oldest and the newest of them; `position` is that of the last one.
    """

    position: int
    tag: str
    first: datetime
    last: datetime
    number: int
    why: str

    def and_also(self, other: Gap) -> Gap:
        """Both, as one gap."""
        return self._replace(
            position=max(self.position, other.position),
            first=min(self.first, other.first),
            last=max(self.last, other.last),
            number=self.number + other.number,
        )


class Continuation(NamedTuple):
    """Where the next page of a query begins."""

    time_ms: int
    position: int


class Page(NamedTuple):
    """A part of what was asked for. `after` is None when there is no more."""

    values: Sequence[HistoricValue]
    after: Continuation | None


class RecordedEvent(NamedTuple):
    """An event of the log. `recorded` is when the bridge wrote it."""

    position: int
    recorded: datetime
    event: Event


class EventPage(NamedTuple):
    """A part of the events that were asked for. `after` is None when there is no more."""

    events: Sequence[RecordedEvent]
    after: Continuation | None
