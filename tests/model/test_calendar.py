from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model.calendar import Calendar, Period, Shift

BERLIN = ZoneInfo("Europe/Berlin")
THREE = (
    Shift("Early", time(6), time(14)),
    Shift("Late", time(14), time(22)),
    Shift("Night", time(22), time(6)),
)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("moment", "hours"),
    [("2026-01-15T12:00Z", 24), ("2026-03-29T12:00Z", 23), ("2026-10-25T12:00Z", 25)],
)
def test_a_day_is_from_midnight_to_midnight_also_when_the_clock_is_changed(moment: str, hours: int) -> None:
    day = Calendar(BERLIN).day(at(moment))
    assert day.end - day.start == timedelta(hours=hours)
    assert day.name == moment[:10]
    assert day.start.astimezone(BERLIN).time() == time()


def test_a_day_is_the_local_one() -> None:
    assert Calendar(BERLIN).day(at("2026-01-14T23:30Z")).name == "2026-01-15"


@pytest.mark.parametrize(
    ("moment", "name"),
    [("2026-01-15T05:00Z", "Early"), ("2026-01-15T04:59Z", "Night"), ("2026-01-15T21:00Z", "Night")],
)
def test_the_shift_of_a_moment(moment: str, name: str) -> None:
    period = Calendar(BERLIN, THREE).shift(at(moment))
    assert period is not None
    assert period.name == name


@pytest.mark.parametrize(("evening", "hours"), [("2026-03-28T22:00Z", 7), ("2026-10-24T22:00Z", 9)])
def test_a_night_shift_is_shorter_or_longer_when_the_clock_is_changed(evening: str, hours: int) -> None:
    night = Calendar(BERLIN, THREE).shift(at(evening))
    assert night is not None
    assert night.end - night.start == timedelta(hours=hours)


@given(MOMENTS)
def test_shifts_round_the_clock_leave_no_gap_and_do_not_overlap(moment: datetime) -> None:
    calendar = Calendar(BERLIN, THREE)
    now = calendar.shift(moment)
    assert now is not None
    assert calendar.shift(now.start) == now
    following = calendar.shift(now.end)
    assert following is not None
    assert following.start == now.end


@given(MOMENTS)
def test_days_follow_each_other(moment: datetime) -> None:
    calendar = Calendar(BERLIN)
    day = calendar.day(moment)
    assert day.start <= moment < day.end
    assert calendar.day(day.end).start == day.end


def test_a_shift_begins_only_on_its_days() -> None:
    weekdays = Calendar(BERLIN, (Shift("Night", time(22), time(6), frozenset(range(5))),))
    assert weekdays.shift(at("2026-01-17T03:00Z")) == Period(
        "Night", at("2026-01-16T21:00Z"), at("2026-01-17T05:00Z")
    )  # Friday's night is in Saturday
    assert weekdays.shift(at("2026-01-17T22:00Z")) is None
    assert weekdays.shift(at("2026-01-15T12:00Z")) is None


def test_shifts_that_overlap_are_seen_also_over_the_end_of_the_week() -> None:
    sunday_night = Shift("Night", time(22), time(6), frozenset({6}))
    assert sunday_night.overlaps(Shift("Monday", time(5), time(14), frozenset({0})))
    assert not sunday_night.overlaps(Shift("Monday", time(6), time(14), frozenset({0})))
    assert not any(one.overlaps(other) for one in THREE for other in THREE if one is not other)
    assert Shift("All", time(6), time(6)).overlaps(THREE[0])
