"""One account's budget: the bound, the order, cancelling, and what a 429 does."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import RateLimited
from bridge.sources import _budget
from bridge.sources._budget import LASTING, Budget, Priority, Turn
from bridge.transport.clock import VirtualClock

P = Priority


def budget(clock: VirtualClock, per_minute: float = 100, **options: float | int) -> Budget:
    return Budget(per_minute, clock, uniform=lambda low, high: low, **options)  # type: ignore[arg-type]


class Line:
    """Calls that wait, and the order in which their turns came."""

    def __init__(self, limit: Budget, group: asyncio.TaskGroup) -> None:
        self.limit = limit
        self.group = group
        self.served: list[str] = []
        self.turns: list[Turn] = []

    def ask(self, name: str, priority: Priority, deadline: float | None = None) -> asyncio.Task[None]:
        return self.group.create_task(self._ask(name, priority, deadline), name=name)

    async def _ask(self, name: str, priority: Priority, deadline: float | None) -> None:
        turn = await self.limit.turn(priority, deadline)
        self.served.append(name)
        self.turns.append(turn)


@asynccontextmanager
async def line(limit: Budget) -> AsyncIterator[Line]:
    async with asyncio.TaskGroup() as group:
        yield Line(limit, group)


async def full(clock: VirtualClock, limit: Budget) -> None:
    """Let the bucket fill."""
    await clock.advance(60.0)
    assert limit.figures.used == 0


async def emptied(clock: VirtualClock, limit: Budget) -> None:
    """Take every token there is."""
    await full(clock, limit)
    for _ in range(limit.burst):
        await limit.turn(P.STATE)


# -- the bound


@pytest.mark.parametrize(("per_minute", "share", "rate", "burst"), [(100, 1, 80, 10), (100, 0.5, 40, 5), (10, 1, 8, 1)])
def test_rate_and_burst_together_leave_a_tenth(per_minute: float, share: float, rate: float, burst: int) -> None:
    limit = Budget(per_minute, VirtualClock(), share=share)
    assert (limit.full_rate, limit.burst, limit.limit) == (pytest.approx(rate), burst, per_minute * share)


@pytest.mark.parametrize(
    ("per_minute", "options"), [(1, {}), (100, {"share": 0}), (100, {"share": 1.5}), (20, {"burst": 18})]
)
def test_budget_that_leaves_nothing_is_refused(per_minute: float, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="requests a minute"):
        Budget(per_minute, VirtualClock(), **options)  # type: ignore[arg-type]


async def test_restarted_bridge_adds_no_burst() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    async with line(limit) as waiting:
        for number in range(3):
            waiting.ask(str(number), P.STATE)
        await clock.advance(0)
        assert waiting.served == ["0"]
        await clock.advance(2 * 60 / 80)


arrivals = st.lists(
    st.tuples(
        st.floats(0, 25),
        st.sampled_from(list(Priority)),
        st.integers(1, 30),
        st.sampled_from(["", "", "", "429", "drop"]),
    ),
    max_size=25,
)


@given(arrivals=arrivals, per_minute=st.sampled_from([10, 30, 100]), share=st.sampled_from([1.0, 0.5]))
@settings(deadline=None, max_examples=60)
def test_no_sixty_seconds_ever_see_more_than_rate_and_burst(
    arrivals: list[tuple[float, Priority, int, str]], per_minute: float, share: float
) -> None:
    clock = VirtualClock()
    limit = budget(clock, per_minute, share=share)
    turns = asyncio.run(_play(clock, limit, arrivals))
    bound = math.floor(limit.full_rate + limit.burst + 1e-6)
    assert bound <= 0.9 * limit.limit + 1e-6
    for first, start in enumerate(turns):  # every sliding window, both ends counted
        assert bisect_right(turns, start + 60.0) - first <= bound
    for offset in range(0, 60, 7):  # fixed windows of every phase
        counts: dict[int, int] = {}
        for at in turns:
            counts[int((at + offset) // 60)] = counts.get(int((at + offset) // 60), 0) + 1
        assert max(counts.values(), default=0) <= bound


async def _play(clock: VirtualClock, limit: Budget, arrivals: list[tuple[float, Priority, int, str]]) -> list[float]:
    async with line(limit) as waiting:
        asked = 0
        for pause, priority, count, then in arrivals:
            await clock.advance(pause)
            tasks = [waiting.ask("", priority, clock.monotonic() + number) for number in range(count)]
            asked += count
            await clock.advance(0)
            if then == "429" and waiting.turns:
                limit.throttled(waiting.turns[-1])
            if then == "drop":
                asked -= sum(task.cancel() for task in tasks[::2])
        await clock.advance(3 * 3600)
        assert len(waiting.turns) == asked, "somebody was forgotten"
    return [turn.at for turn in waiting.turns]


async def test_hundred_a_minute_are_used_to_the_full() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    async with line(limit) as waiting:
        for number in range(400):
            waiting.ask(str(number), P.STATE)
        await clock.advance(60)
        assert (len(waiting.served), limit.figures.waiting) == (81, 319)
        await clock.advance(240)
        assert len(waiting.served) == 400


# -- the order


async def test_classes_keep_their_order_and_deadlines_theirs_within() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    await emptied(clock, limit)
    async with line(limit) as waiting:
        waiting.ask("listing", P.INVENTORY)
        waiting.ask("late", P.ACTIVITY, 500)
        waiting.ask("soon", P.ACTIVITY, 400)
        waiting.ask("first of equals", P.COMMAND, 300)
        waiting.ask("second of equals", P.COMMAND, 300)
        waiting.ask("old", P.BACKFILL)
        waiting.ask("login", P.AUTH)
        await clock.advance(7 * 60 / 80)
    assert waiting.served == ["login", "first of equals", "second of equals", "soon", "late", "listing", "old"]


async def test_command_takes_a_token_that_lies_there_at_once_and_the_next_one_otherwise() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    await full(clock, limit)
    async with line(limit) as waiting:
        for number in range(50):
            waiting.ask(f"state {number}", P.STATE)
        await clock.advance(0)
        assert len(waiting.served) == limit.burst
        waiting.ask("command", P.COMMAND)
        await clock.advance(60 / 80)
        assert waiting.served[limit.burst :] == ["command"]
        await clock.advance(60)


async def test_background_gets_a_fifth_while_state_waits_and_all_of_it_otherwise() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    await emptied(clock, limit)
    async with line(limit) as waiting:
        for number in range(40):
            waiting.ask("state", P.STATE)
            waiting.ask("background", (P.ACTIVITY, P.BACKFILL)[number % 2])
        await clock.advance(50 * 60 / 80)
        assert (waiting.served.count("state"), waiting.served.count("background")) == (40, 10)
        await clock.advance(30 * 60 / 80)
        assert waiting.served.count("background") == 40


async def test_daily_listing_is_not_starved_by_activity_behind_busy_state() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    await emptied(clock, limit)
    async with line(limit) as waiting:
        for number in range(100):
            waiting.ask("state", P.STATE)
            waiting.ask("activity", P.ACTIVITY, clock.monotonic() + number)
        waiting.ask("listing", P.INVENTORY, clock.monotonic() + 2.5)
        await clock.advance(20 * 60 / 80)
        assert "listing" in waiting.served
        await clock.advance(300)


async def test_too_many_of_one_class_are_refused_and_do_not_hold_up_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_budget, "WAITERS", 3)
    clock = VirtualClock()
    limit = budget(clock)
    await emptied(clock, limit)
    async with line(limit) as waiting:
        for _ in range(3):
            waiting.ask("state", P.STATE)
        await clock.advance(0)
        with pytest.raises(RateLimited, match="3 requests wait"):
            await limit.turn(P.STATE)
        waiting.ask("command", P.COMMAND)
        await clock.advance(4 * 60 / 80)
    assert waiting.served == ["command", "state", "state", "state"]


# -- cancelling


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_cancelled_waiter_costs_nothing_and_the_others_go_on(gone: int) -> None:
    clock = VirtualClock()
    limit = budget(clock)
    await emptied(clock, limit)
    async with line(limit) as waiting:
        tasks = [waiting.ask(str(number), P.STATE) for number in range(3)]
        await clock.advance(0.1)
        tasks[gone].cancel()
        await clock.advance(0)
        assert limit.figures.waiting == 2
        await clock.advance(2 * 60 / 80)
        assert waiting.served == [str(number) for number in range(3) if number != gone]
    assert limit.figures.used == limit.burst + 2


async def test_turn_that_comes_as_its_waiter_is_cancelled_goes_to_the_next() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    await emptied(clock, limit)
    async with line(limit) as waiting:
        keeper = waiting.ask("keeper", P.INVENTORY)
        victim = waiting.ask("victim", P.COMMAND)
        waiting.ask("next", P.STATE)
        await clock.advance(0)
        clock._elapsed += 60 / 80  # the token is there, and nobody has looked yet
        waiting.ask("looks", P.BACKFILL)
        await asyncio.sleep(0)
        assert limit.figures.used == limit.burst + 1
        victim.cancel()
        await clock.advance(0)
        assert waiting.served == ["next"]
        assert limit.figures.used == limit.burst + 1
        keeper.cancel()
        await clock.advance(60 / 80)
        assert waiting.served == ["next", "looks"]


# -- 429


async def asked(limit: Budget) -> Turn:
    return await limit.turn(P.STATE)


async def test_429_pauses_everybody_and_lowers_the_rate() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    await full(clock, limit)
    limit.throttled(await asked(limit))
    assert (limit.rate, limit.figures.paused, limit.figures.throttled_total) == (pytest.approx(56), 5.0, 1)
    async with line(limit) as waiting:
        waiting.ask("login", P.AUTH)
        await clock.advance(5)
        assert waiting.served == []
        await clock.advance(60 / 56)
        assert waiting.served == ["login"]


async def test_429s_of_what_was_under_way_count_as_one() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    await full(clock, limit)
    turns = [await asked(limit) for _ in range(10)]
    for turn in turns:
        limit.throttled(turn)
    await clock.advance(30)
    limit.throttled(turns[0])  # and one that took its time
    assert (limit.rate, limit.figures.throttled_total, limit.figures.paused) == (pytest.approx(56), 11, 0)


async def test_429s_one_after_the_other_back_off_to_a_floor() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    pauses, rates = [], []
    for _ in range(7):
        wait = asyncio.ensure_future(asked(limit))
        await clock.advance(limit.figures.paused + 3.0)
        limit.throttled(await wait)
        pauses.append(limit.figures.paused)
        rates.append(round(limit.rate, 1))
    # The pauses of 80 s and more hold no clean minute: a minute in which nothing was asked proves nothing.
    assert pauses == [5, 10, 20, 40, 80, 120, 120]
    assert rates == [56, 39.2, 27.4, 20, 20, 20, 20]


async def test_rate_comes_back_two_a_minute() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    limit.throttled(await asked(limit))
    await clock.advance(5 + 59)
    assert limit.rate == pytest.approx(56)
    await clock.advance(1)
    assert limit.rate == pytest.approx(58)
    await clock.advance(10 * 60)
    assert limit.rate == pytest.approx(78)
    await clock.advance(10 * 60)
    assert limit.rate == pytest.approx(80)
    limit.throttled(await asked(limit))
    assert limit.figures.paused == 5


@pytest.mark.parametrize(("retry_after", "pause"), [(30, 30), (1, 5), (0, 5), (None, 5), (10**9, 3600)])
async def test_vendor_s_wish_is_heard(retry_after: float | None, pause: float) -> None:
    clock = VirtualClock()
    limit = budget(clock)
    limit.throttled(await asked(limit), retry_after)
    assert limit.figures.paused == pause


async def test_pause_that_the_vendor_asks_for_does_not_double() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    for _ in range(5):
        wait = asyncio.ensure_future(asked(limit))
        await clock.advance(limit.figures.paused + 3.0)
        limit.throttled(await wait, 20)
        assert limit.figures.paused == 20
    assert limit.is_slowed and not limit.is_hopeless


async def test_account_is_hopeless_when_nothing_but_429_came_for_ten_minutes() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    for answered in (True, False):
        limit.throttled(await asked(limit))
        await clock.advance(LASTING)
        assert not limit.is_hopeless
        if answered:
            limit.answered()
        await clock.advance(1)
        assert limit.is_hopeless is not answered
    limit.answered()
    assert not limit.is_hopeless


async def test_jitter_only_lengthens() -> None:
    clock = VirtualClock()
    limit = Budget(100, clock, uniform=lambda low, high: high)
    limit.throttled(await asked(limit), 40)
    assert limit.figures.paused == 50


async def test_later_429_of_the_same_time_can_lengthen_the_pause_but_not_shorten_it() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    await full(clock, limit)
    first, second, third = [await asked(limit) for _ in range(3)]
    limit.throttled(first, 30)
    limit.throttled(second, 50)
    limit.throttled(third, 10)
    assert (limit.figures.paused, limit.rate) == (50, pytest.approx(56))


async def test_waiting_keeper_hears_of_a_pause() -> None:
    clock = VirtualClock()
    limit = budget(clock)
    await emptied(clock, limit)
    under_way = Turn(clock.monotonic())
    async with line(limit) as waiting:
        waiting.ask("state", P.STATE)
        await clock.advance(0.5)
        limit.throttled(under_way)
        await clock.advance(5)
        assert waiting.served == []
        await clock.advance(60 / 56)
        assert waiting.served == ["state"]
