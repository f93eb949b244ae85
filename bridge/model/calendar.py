"""Calendar: the days and shifts of a site, as periods of UTC. Pure.

A shift is written in local time and means instants. Where the clock is put forward, a time that does not exist is the
instant at which it would have been without the change; where it is put back, a time that exists twice is the first of
the two (PEP 495, fold 0). So a boundary that two shifts share is one instant: nothing is counted twice or left out, and
a day or a night shift has 23 or 25 hours of minutes in it twice a year.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

EVERY_DAY = frozenset(range(7))
DAY = timedelta(days=1)
MINUTES_OF_DAY = 24 * 60
MINUTES_OF_WEEK = 7 * MINUTES_OF_DAY


class Period(NamedTuple):
    """A stretch of time, [start, end), both UTC."""

    name: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift as people write it: local times; an end that is not after the start is on the next day.

    `days` are the weekdays on which it begins, 0 is Monday.
    """

    name: str
    start: time
    end: time
    days: frozenset[int] = EVERY_DAY

    @property
    def minutes(self) -> int:
        """How long it is by the clock on the wall."""
        length = _minutes(self.end) - _minutes(self.start)
        return length if length > 0 else length + MINUTES_OF_DAY

    def overlaps(self, other: Shift) -> bool:
        """Whether there is a minute of some week that belongs to both."""
        mine = {minute for begin in self._begins() for minute in self._minutes_from(begin)}
        return any(minute in mine for begin in other._begins() for minute in other._minutes_from(begin))

    def _begins(self) -> Iterator[int]:
        yield from (day * MINUTES_OF_DAY + _minutes(self.start) for day in self.days)

    def _minutes_from(self, begin: int) -> Iterator[int]:
        yield from (minute % MINUTES_OF_WEEK for minute in range(begin, begin + self.minutes))


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days of a time zone and the shifts in them. Shifts do not overlap."""

    zone: ZoneInfo
    shifts: tuple[Shift, ...] = ()

    def day(self, moment: datetime) -> Period:
        """The local day a moment is in, from midnight to midnight."""
        today = moment.astimezone(self.zone).date()
        return Period(today.isoformat(), self._instant(today, time()), self._instant(today + DAY, time()))

    def shift(self, moment: datetime) -> Period | None:
        """The shift a moment is in; None between shifts."""
        today = moment.astimezone(self.zone).date()
        for begun in (today - DAY, today):
            for shift in self.shifts:
                period = self._period(shift, begun)
                if period is not None and period.start <= moment < period.end:
                    return period
        return None

    def _period(self, shift: Shift, day: date) -> Period | None:
        if day.weekday() not in shift.days:
            return None
        end_day = day if shift.end > shift.start else day + DAY
        return Period(shift.name, self._instant(day, shift.start), self._instant(end_day, shift.end))

    def _instant(self, day: date, at: time) -> datetime:
        return datetime.combine(day, at, self.zone).astimezone(UTC)


def _minutes(at: time) -> int:
    return at.hour * 60 + at.minute
