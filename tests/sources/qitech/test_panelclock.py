"""The panel's clock in our time."""

from __future__ import annotations

import random

from bridge.sources.qitech.panelclock import PLAUSIBLE, PanelClock

START = 1_760_000_000_000


def feed(clock: PanelClock, offset: int, seconds: int, start: int = START, seed: int = 1) -> int:
    """Events at 30 Hz that take 1 to 40 ms; gives the largest distance of a corrected stamp from the truth."""
    chance = random.Random(seed)
    worst = 0
    for sent in range(start, start + seconds * 1000, 33):
        received = sent + chance.randint(1, 40)
        worst = max(worst, abs(clock.corrected(sent + offset, received) - sent))
    return worst


def test_offset_is_learned_to_the_least_delay() -> None:
    for offset in (0, 3_600_000, -3_600_000, -START):
        clock = PanelClock()
        feed(clock, offset, 5)
        assert clock.offset is not None
        assert abs(clock.offset - offset) <= 2


def test_corrected_stamps_are_near_the_truth_and_never_in_the_future() -> None:
    clock = PanelClock()
    assert feed(clock, 7_200_000, 60) <= 40
    assert clock.corrected(START + 7_200_000 + 61_000, START + 61_000) <= START + 61_000


def test_clock_that_was_set_is_learned_anew_at_once() -> None:
    for jump in (3_600_000, -3_600_000):
        clock = PanelClock()
        feed(clock, 0, 30)
        assert feed(clock, jump, 30, START + 30_000) <= 40
        assert clock.offset is not None
        assert abs(clock.offset - jump) <= 2


def test_drift_is_followed() -> None:
    clock = PanelClock()
    for second in range(100):
        feed(clock, -second, 1, START + second * 1000)
    assert clock.offset is not None
    assert abs(clock.offset + 99) <= 25


def test_one_late_event_does_not_move_the_offset_for_long() -> None:
    clock = PanelClock()
    feed(clock, 500, 10)
    late = START + 10_000
    assert clock.corrected(late + 500, late + PLAUSIBLE + 2_000) <= late + PLAUSIBLE + 2_000
    feed(clock, 500, 1, late + PLAUSIBLE + 2_000)
    assert clock.offset is not None
    assert abs(clock.offset - 500) <= 2


def test_offset_is_told_first_then_when_it_changes_then_every_minute() -> None:
    clock = PanelClock()
    assert clock.news(START) is None
    clock.corrected(START + 1000, START)
    assert clock.news(START) == 1.0
    assert clock.news(START + 1) is None
    clock.corrected(START + 1500, START)
    assert clock.news(START + 2) == 1.5
    assert clock.news(START + 60_002) == 1.5
