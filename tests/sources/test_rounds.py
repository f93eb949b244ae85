"""Rounds: fair, even, and changed while they run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.sources._budget import Budget, Priority
from bridge.sources._periods import Periods, achievable
from bridge.sources._rounds import Rounds, Visit
from bridge.transport.clock import VirtualClock


class Reader:
    """Counts reads; a read takes `takes` seconds of the clock."""

    def __init__(self, clock: VirtualClock, takes: float = 0.0) -> None:
        self.clock = clock
        self.takes = takes
        self.visits: list[Visit] = []

    @property
    def counts(self) -> Counter[str]:
        return Counter(visit.key for visit in self.visits)

    def times(self, key: str) -> list[float]:
        return [visit.turn.at for visit in self.visits if visit.key == key]

    async def visit(self, visit: Visit) -> None:
        self.visits.append(visit)
        if self.takes:
            await self.clock.sleep(self.takes)


@asynccontextmanager
async def running(rounds: Rounds, reader: Reader) -> AsyncIterator[None]:
    task = asyncio.create_task(rounds.run(reader.visit))
    await reader.clock.advance(0)
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def machines(count: int) -> list[str]:
    return [f"MACHINE_{number:03}" for number in range(count)]


def rounds(clock: VirtualClock, period: float, keys: list[str], per_minute: float = 100) -> Rounds:
    made = Rounds("state", period, Budget(per_minute, clock), Priority.STATE, clock)
    made.visit_all(keys)
    return made


async def test_few_are_read_at_once_and_then_each_at_its_own_place() -> None:
    clock = VirtualClock()
    reader = Reader(clock)
    await clock.advance(1000)
    tour = Rounds("state", 30, Budget(100, clock), Priority.STATE, clock)
    tour.visit_all(machines(10))
    await clock.advance(60)
    async with running(tour, reader):
        await clock.advance(10 * 60 / 80)
        assert set(reader.counts.values()) == {1}
        await clock.advance(600)
    for key in machines(10):
        first, second, *later = reader.times(key)
        assert 15 - 8 <= second - first < 45
        assert all(b - a == pytest.approx(30, abs=2) for a, b in pairwise([second, *later]))
    seconds = sorted(reader.times(key)[5] % 30 for key in machines(10))
    assert seconds[-1] - seconds[0] > 10, "they bunch"


async def test_hundred_on_a_hundred_a_minute_are_read_equally_often() -> None:
    clock = VirtualClock()
    limit = Budget(100, clock)
    periods = achievable(100, limit.full_rate, Periods(60, 600))
    state = Rounds("state", periods.state, limit, Priority.STATE, clock)
    activity = Rounds("activity", periods.activity, limit, Priority.ACTIVITY, clock)
    states, activities = Reader(clock, takes=0.2), Reader(clock, takes=0.2)
    for tour in (state, activity):
        tour.visit_all(machines(100))
    async with running(state, states), running(activity, activities):
        for minute in range(30):
            await clock.advance(60)
            counts = [states.counts[key] for key in machines(100)]
            assert max(counts) - min(counts) <= 1, minute
            assert limit.figures.used <= 90
    assert sum(states.counts.values()) >= 30 * 60 / periods.state * 100 * 0.95
    counts = [activities.counts[key] for key in machines(100)]
    assert max(counts) - min(counts) <= 1
    assert min(counts) >= 2
    assert limit.figures.throttled_total == 0


@given(count=st.integers(1, 60), period=st.floats(5, 60), takes=st.sampled_from([0.0, 0.7]))
@settings(deadline=None, max_examples=15)
def test_more_than_the_budget_stretches_all_alike(count: int, period: float, takes: float) -> None:
    async def play() -> None:
        clock = VirtualClock()
        reader = Reader(clock, takes)
        tour = rounds(clock, period, machines(count), per_minute=30)
        async with running(tour, reader):
            for _ in range(10):
                await clock.advance(37)
                counts = [reader.counts[key] for key in machines(count)]
                assert max(counts) - min(counts) <= 1
            if count / 24 * 60 > 1.5 * period:  # 24 a minute is all there is
                assert reader.counts.total() == pytest.approx(370 * 24 / 60, abs=10)

    asyncio.run(play())


async def test_stretched_period_is_shown_and_shrinks_when_there_is_room() -> None:
    clock = VirtualClock()
    reader = Reader(clock)
    tour = rounds(clock, 30, machines(60), per_minute=30)
    async with running(tour, reader):
        await clock.advance(900)
        assert tour.interval == pytest.approx(150, rel=0.1)  # 60 at 24 a minute
        tour.visit_all(machines(6))
        await clock.advance(300)
        assert tour.interval == pytest.approx(30, rel=0.1)


async def test_pause_of_an_hour_is_not_made_up_for() -> None:
    clock = VirtualClock()
    reader = Reader(clock)
    limit = Budget(100, clock, uniform=lambda low, high: low)
    tour = Rounds("state", 30, limit, Priority.STATE, clock)
    tour.visit_all(machines(10))
    async with running(tour, reader):
        await clock.advance(300)
        limit.throttled(reader.visits[-1].turn, 3600)
        await clock.advance(3600)
        before = reader.counts.total()
        await clock.advance(300)
        assert reader.counts.total() - before <= 10 * (300 / 30 + 2)
        assert max(reader.counts.values()) - min(reader.counts.values()) <= 1


async def test_what_was_missed_is_not_made_up_for() -> None:
    clock = VirtualClock()
    reader = Reader(clock, takes=100.0)
    tour = rounds(clock, 10, ["A"])
    async with running(tour, reader):
        await clock.advance(50)
        reader.takes = 0.0
        await clock.advance(60.5)
        assert len(reader.visits) == 2
        assert 100 <= tour.interval <= 110
        await clock.advance(100)
        assert len(reader.visits) == pytest.approx(12, abs=1)
        assert tour.interval == pytest.approx(10)


async def test_who_comes_and_goes_disturbs_nobody() -> None:
    clock = VirtualClock()
    reader = Reader(clock)
    tour = rounds(clock, 30, ["A", "B"])
    async with running(tour, reader):
        await clock.advance(100)
        b = reader.counts["B"]
        tour.visit_all(["A", "C"])
        await clock.advance(1)
        assert reader.counts["C"] == 1
        await clock.advance(300)
        assert reader.counts["B"] == b
    later = reader.times("A")[1:]
    assert all(y - x == pytest.approx(30, abs=1) for x, y in pairwise(later))


async def test_hastened_is_read_now_also_while_it_is_being_read() -> None:
    clock = VirtualClock()
    reader = Reader(clock, takes=2.0)
    tour = rounds(clock, 600, ["A"])
    async with running(tour, reader):
        await clock.advance(1)
        tour.hasten("A")
        tour.hasten("nobody")
        await clock.advance(2)
        assert len(reader.visits) == 2
        await clock.advance(50)
        assert len(reader.visits) == 2
        tour.hasten("A")
        await clock.advance(1)
        assert len(reader.visits) == 3


async def test_period_can_be_stretched_while_they_run() -> None:
    clock = VirtualClock()
    reader = Reader(clock)
    tour = rounds(clock, 10, ["A"])
    async with running(tour, reader):
        await clock.advance(100)
        tour.period = 50
        await clock.advance(60)
        before = len(reader.visits)
        await clock.advance(500)
        assert len(reader.visits) - before == pytest.approx(10, abs=1)


async def test_failure_ends_all_and_they_can_run_again() -> None:
    clock = VirtualClock()
    reader = Reader(clock)
    tour = rounds(clock, 30, machines(3))

    async def fails(visit: Visit) -> None:
        raise ConnectionError(visit.key)

    task = asyncio.create_task(tour.run(fails))
    await clock.advance(10)
    with pytest.raises(ExceptionGroup):
        await task
    async with running(tour, reader):
        await clock.advance(5)
        assert set(reader.counts) == set(machines(3))
