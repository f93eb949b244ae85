"""Back-off and pace of the sources."""

from __future__ import annotations

import pytest

from bridge.sources._poll import Backoff, Pace
from bridge.transport.clock import VirtualClock


def test_backoff_grows_to_its_cap_and_begins_anew_after_success() -> None:
    longest = Backoff(uniform=lambda low, high: high)
    assert [longest.next() for _ in range(7)] == [2, 4, 8, 16, 30, 30, 30]
    longest.reset()
    assert longest.next() == 2


def test_backoff_never_hammers() -> None:
    shortest = Backoff(uniform=lambda low, high: low)
    assert {shortest.next() for _ in range(100)} == {1.0}


def test_backoff_stays_finite_after_years_of_failure() -> None:
    backoff = Backoff()
    backoff.attempt = 10_000
    assert 1 <= backoff.next() <= 30


async def polled(pace: Pace, clock: VirtualClock, took: float) -> float:
    """One poll that takes so long; gives the time at which it began."""
    pace.began()
    began = clock.monotonic()
    await clock.advance(took)
    wait = pace.wait()
    left = max(0.0, pace._due - clock.monotonic())
    wait.close()
    await clock.advance(left)
    return began


async def test_pace_is_even_whatever_a_poll_takes() -> None:
    clock = VirtualClock()
    pace = Pace(0.5, clock)
    assert [await polled(pace, clock, took) for took in (0.1, 0.4, 0.2)] == pytest.approx([0, 0.5, 1.0])
    assert pace.effective == pytest.approx(0.5)


async def test_slow_poll_stretches_the_period_and_causes_no_burst() -> None:
    clock = VirtualClock()
    pace = Pace(0.5, clock)
    assert [await polled(pace, clock, took) for took in (3.0, 0.1, 0.1)] == pytest.approx([0, 3.0, 3.5])
    await polled(pace, clock, 2.0)
    pace.began()
    assert pace.effective == pytest.approx(2.0)
