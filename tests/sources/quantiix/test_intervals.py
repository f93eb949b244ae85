from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bridge.sources.quantiix.figures import CODES, Figures, figures
from bridge.sources.quantiix.intervals import MINUTE, Interval, clipped, gaps, replaced, timeline

STATES = st.sampled_from([*CODES, "SETUP"])
TIMES = st.integers(0, 5000)
INTERVALS = st.lists(st.builds(Interval, TIMES, TIMES, STATES), max_size=40)
WINDOWS = st.tuples(TIMES, TIMES).filter(lambda window: window[0] < window[1])
SCALE = MINUTE // 10


def scaled(intervals: list[Interval]) -> list[Interval]:
    return [Interval(one.start * SCALE, one.end * SCALE, one.state) for one in intervals]


@given(INTERVALS)
def test_a_timeline_is_in_order_and_does_not_overlap(intervals: list[Interval]) -> None:
    whole = timeline(intervals)
    for one, other in itertools.pairwise(whole):
        assert one.start < one.end <= other.start
        assert one.end < other.start or one.state != other.state
    assert timeline(whole) == whole


@given(INTERVALS, st.lists(TIMES, max_size=10))
def test_splitting_records_again_changes_nothing(intervals: list[Interval], cuts: list[int]) -> None:
    whole = timeline(intervals)
    pieces = [piece for one in whole for piece in split(one, cuts)]
    assert timeline(pieces) == whole


def split(one: Interval, cuts: list[int]) -> list[Interval]:
    edges = sorted({one.start, one.end, *(cut for cut in cuts if one.start < cut < one.end)})
    return [Interval(start, end, one.state) for start, end in itertools.pairwise(edges)]


@given(INTERVALS, WINDOWS)
def test_reading_a_window_again_changes_nothing_whether_or_not_the_vendor_clips(
    intervals: list[Interval], window: tuple[int, int]
) -> None:
    whole = timeline(intervals)
    start, end = window
    overlapping = [one for one in whole if one.start < end and one.end > start]
    assert replaced(whole, start, end, overlapping) == whole
    assert replaced(whole, start, end, clipped(whole, start, end)) == whole


@given(INTERVALS, INTERVALS, WINDOWS)
def test_what_is_read_takes_the_place_of_what_was_known(
    before: list[Interval], news: list[Interval], window: tuple[int, int]
) -> None:
    start, end = window
    after = replaced(timeline(before), start, end, timeline(news))
    assert timeline(clipped(after, start, end)) == timeline(clipped(timeline(news), start, end))
    assert timeline(clipped(after, 0, start)) == timeline(clipped(timeline(before), 0, start))
    assert timeline(clipped(after, end, 9999)) == timeline(clipped(timeline(before), end, 9999))


@given(INTERVALS, WINDOWS)
def test_gaps_are_what_nothing_covers(intervals: list[Interval], window: tuple[int, int]) -> None:
    whole = timeline(intervals)
    start, end = window
    known = sum(one.end - one.start for one in clipped(whole, start, end))
    assert known + sum(b - a for a, b in gaps(whole, start, end)) == end - start


def of(intervals: list[Interval], window: tuple[int, int], *, off_counts: bool = True) -> Figures:
    return figures(timeline(scaled(intervals)), window[0] * SCALE, window[1] * SCALE, off_counts=off_counts)


@given(INTERVALS, WINDOWS)
def test_the_minutes_of_a_window_sum_to_the_window(intervals: list[Interval], window: tuple[int, int]) -> None:
    told = of(intervals, window)
    minutes = (window[1] - window[0]) / 10
    assert abs(told.run + told.idle + told.off + told.unknown - minutes) < 1e-6
    assert min(told.run, told.idle, told.off, told.unknown) >= 0
    assert told.coverage is not None
    assert -1e-9 <= told.coverage <= 100 + 1e-9


@given(INTERVALS, WINDOWS)
def test_clipping_changes_no_figure(intervals: list[Interval], window: tuple[int, int]) -> None:
    whole = timeline(scaled(intervals))
    start, end = window[0] * SCALE, window[1] * SCALE
    cut = timeline(clipped(whole, start, end))
    assert figures(whole, start, end, off_counts=True) == figures(cut, start, end, off_counts=True)


@given(INTERVALS, WINDOWS, TIMES)
def test_minutes_of_two_windows_add_up(intervals: list[Interval], window: tuple[int, int], cut: int) -> None:
    middle = min(max(cut, window[0] + 1), window[1])
    if middle >= window[1]:
        return
    whole, left, right = of(intervals, window), of(intervals, (window[0], middle)), of(intervals, (middle, window[1]))
    for name in ("run", "idle", "off", "unknown"):
        assert abs(getattr(whole, name) - getattr(left, name) - getattr(right, name)) < 1e-6


def test_availability_stops_and_times_between_them() -> None:
    day = [
        Interval(0, 600, "RUNNING"),
        Interval(600, 800, "IDLE"),
        Interval(800, 900, "OFF"),
        Interval(900, 1200, "RUNNING"),
        Interval(1200, 1250, "IDLE"),
        Interval(1300, 1400, "RUNNING"),  # after a gap
    ]
    told = of(day, (0, 1400))
    assert (told.run, told.idle, told.off, told.unknown) == (100.0, 25.0, 10.0, 5.0)
    assert told.availability == 100 * 100 / 135
    assert of(day, (0, 1400), off_counts=False).availability == 80.0
    assert told.stops == 2
    assert told.longest_stop == 30.0
    assert told.mtbf == 50.0
    assert told.mttr == 17.5
    assert of(day, (0, 1400), off_counts=False).mttr == 12.5


def test_what_has_no_denominator_has_no_value() -> None:
    nothing = of([], (0, 600))
    assert (nothing.availability, nothing.mtbf, nothing.mttr) == (None, None, None)
    assert (nothing.unknown, nothing.coverage, nothing.stops) == (60.0, 0.0, 0)
    assert of([Interval(0, 600, "OFF")], (0, 600), off_counts=False).availability is None


def test_a_gap_after_running_is_no_stop_and_an_unknown_state_is_unknown() -> None:
    told = of([Interval(0, 100, "RUNNING"), Interval(200, 300, "IDLE"), Interval(300, 400, "SETUP")], (0, 400))
    assert told.stops == 0
    assert told.unknown == 20.0
