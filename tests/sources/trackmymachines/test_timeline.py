"""The timeline by itself: whatever is read in whatever order is told once."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.sources.trackmymachines.payloads import PART_COUNT, TYPES, Entry
from bridge.sources.trackmymachines.story import told
from bridge.sources.trackmymachines.timeline import (
    COUNTS,
    DAY,
    HOUR,
    KNOWN_COUNTS,
    MINUTE,
    SECOND,
    Kind,
    Timeline,
    Window,
)

NOW = 1_748_347_200_000
SINCE = NOW - 12 * HOUR


def entry(identifier: str = "evt_a", **changed: object) -> Entry:
    return Entry(identifier, "step", "M1", NOW - HOUR, None, "PART1")._replace(**changed)  # type: ignore[arg-type]


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        start = NOW - draw(st.integers(0, 24 * 60)) * MINUTE
        length = draw(st.none() | st.integers(0, 600))
        end = None if length is None else start + length * MINUTE
        found.append(
            Entry(
                f"evt_{number}", draw(st.sampled_from(TYPES)), draw(st.sampled_from(["M1", "M2", ""])), start, end, "x"
            )
        )
    return found


def answered(vendor: list[Entry], window: Window, overlap: bool) -> list[Entry]:
    """As either kind of vendor answers."""
    if overlap:
        return [e for e in vendor if e.start <= window.end and (e.end is None or e.end >= window.start)]
    return [e for e in vendor if window.start <= e.start <= window.end]


windows = st.builds(
    lambda start, length: Window(NOW - DAY + start * MINUTE, min(NOW, NOW - DAY + (start + length) * MINUTE)),
    st.integers(0, 24 * 60 - 1),
    st.integers(1, 24 * 60),
)
WHOLE = Window(NOW - DAY - SECOND, NOW)


@given(entries(), st.lists(windows, max_size=8), st.booleans(), st.randoms())
def test_any_order_and_overlap_of_windows_tells_the_same_events_once(
    vendor: list[Entry], asked: list[Window], overlap: bool, random
) -> None:  # type: ignore[no-untyped-def]
    def told_by(order: list[Window]) -> dict[str, tuple[object, ...]]:
        timeline, events = Timeline(SINCE), {}
        for window in order:
            for change in timeline.read(window, answered(vendor, window, overlap), NOW):
                event = told("tmm", change, NOW, 15 * MINUTE)
                assert event.id not in events
                events[event.id] = event
        return events

    expected = told_by([WHOLE])
    order = [*asked, WHOLE]
    random.shuffle(order)
    assert told_by(order) == expected
    assert told_by([*order, *order]) == expected


@given(entries(), st.lists(windows, max_size=6), st.booleans(), st.data())
@settings(max_examples=50)
def test_a_crash_between_any_two_readings_tells_under_the_same_ids(
    vendor: list[Entry], asked: list[Window], overlap: bool, data: st.DataObject
) -> None:
    order = [*asked, WHOLE]
    events = {}
    timeline = Timeline(SINCE)
    kept = json.dumps(timeline.document())
    for window in order:
        said = [told("tmm", change, NOW, 0) for change in timeline.read(window, answered(vendor, window, overlap), NOW)]
        said = said[: data.draw(st.integers(0, len(said)))] if (crash := data.draw(st.booleans())) else said
        events.update((event.id, event) for event in said)
        if crash:  # what was published is on the disk, what was kept is not of this reading
            timeline = Timeline(0, json.loads(kept))
        kept = json.dumps(timeline.document())
    for change in timeline.read(WHOLE, vendor, NOW):
        events.update([(event.id, event) for event in [told("tmm", change, NOW, 0)]])
    calm = Timeline(SINCE)
    expected = [told("tmm", change, NOW, 0) for change in calm.read(WHOLE, vendor, NOW)]
    assert events == {event.id: event for event in expected}


def kinds(timeline: Timeline, found: list[Entry], now: int = NOW, told_until: int | None = None) -> list[Kind]:
    window = Window(now - DAY + SECOND, now)
    return [change.kind for change in timeline.read(window, found, now, told_until)]


def test_an_end_that_comes_closes_and_one_that_goes_corrects() -> None:
    timeline = Timeline(SINCE)
    assert kinds(timeline, [entry()]) == [Kind.OPENED]
    assert kinds(timeline, [entry(end=NOW)]) == [Kind.CLOSED]
    assert kinds(timeline, [entry()]) == [Kind.CORRECTED]
    assert timeline.open_starts == [NOW - HOUR]
    assert kinds(timeline, [entry(end=NOW)]) == [Kind.CLOSED]


def test_a_correction_has_what_was_before() -> None:
    timeline = Timeline(SINCE)
    kinds(timeline, [entry(end=NOW - MINUTE)])
    (change,) = timeline.read(WHOLE, [entry(end=NOW - MINUTE, label="PART2")], NOW)
    assert (change.kind, change.before and change.before.label, change.entry.label) == (
        Kind.CORRECTED,
        "PART1",
        "PART2",
    )


def test_what_is_missing_once_is_not_taken_back_and_comes_again_as_it_was() -> None:
    timeline = Timeline(SINCE)
    kinds(timeline, [entry()])
    assert kinds(timeline, []) == []
    assert kinds(timeline, [entry()]) == []
    assert kinds(timeline, []) == []
    assert kinds(timeline, []) == [Kind.RETRACTED]
    assert timeline.open_starts == []
    assert kinds(timeline, []) == []
    assert kinds(timeline, [entry()]) == [Kind.OPENED]


def test_what_began_outside_a_window_is_not_missed_in_it() -> None:
    timeline = Timeline(SINCE)
    kinds(timeline, [entry()])
    for _ in range(3):
        assert timeline.read(Window(NOW - MINUTE, NOW), [], NOW) == []


def test_what_is_written_into_a_time_that_was_read_is_backfilled() -> None:
    late = entry(start=NOW - 3 * HOUR, end=NOW - 2 * HOUR)
    assert kinds(Timeline(SINCE), [late], told_until=NOW - HOUR) == [Kind.BACKFILLED]
    assert kinds(Timeline(SINCE), [late], told_until=NOW - 150 * MINUTE) == [Kind.OPENED, Kind.CLOSED]


def test_what_is_forgotten_is_not_taken_for_new() -> None:
    timeline = Timeline(NOW - 10 * DAY)
    count = entry("evt_c", type=PART_COUNT, start=NOW, end=NOW)
    assert kinds(timeline, [count]) == [Kind.CLOSED]
    later = NOW + KNOWN_COUNTS + HOUR
    kinds(timeline, [], later)
    assert len(timeline) == 0
    assert timeline.read(Window(NOW - HOUR, NOW + HOUR), [count], later) == []


def test_counts_are_known_as_long_as_the_step_they_belong_to() -> None:
    timeline = Timeline(NOW - DAY)
    step, count = entry(start=NOW), entry("evt_c", type=PART_COUNT, start=NOW + MINUTE, end=NOW + MINUTE)
    timeline.read(Window(NOW - HOUR, NOW + HOUR), [step, count], NOW + HOUR)
    timeline.read(Window(NOW + 29 * HOUR, NOW + 30 * HOUR), [step], NOW + 30 * HOUR)
    assert timeline.of("M1") == [step, count]
    timeline.read(Window(NOW + 29 * HOUR, NOW + 30 * HOUR), [step._replace(end=NOW + 30 * HOUR)], NOW + 30 * HOUR)
    assert [e.type for e in timeline.of("M1")] == ["step"]


def test_a_step_that_is_open_is_never_forgotten() -> None:
    timeline = Timeline(SINCE)
    kinds(timeline, [entry()])
    later = NOW + 20 * DAY
    timeline.read(Window(later - HOUR, later), [], later)
    assert timeline.open_steps("M1") == [entry()]
    closed = entry(end=later)
    assert [c.kind for c in timeline.read(Window(NOW - HOUR - SECOND, NOW), [closed], later)] == [Kind.CLOSED]
    assert timeline.read(Window(NOW - HOUR - SECOND, NOW), [closed], later) == []


def test_too_many_are_bounded_and_those_that_go_do_not_come_back(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("bridge.sources.trackmymachines.timeline.LIMIT", 100)
    timeline = Timeline(NOW - DAY)
    many = [
        entry(f"evt_{n}", type="cycle", start=NOW - HOUR + n * SECOND, end=NOW - HOUR + n * SECOND) for n in range(150)
    ]
    first = timeline.read(WHOLE, many, NOW)
    assert len(first) == 300
    for _ in range(10):
        assert timeline.read(WHOLE, many, NOW) == []
    assert len(timeline) <= 100
    assert timeline.evicted_total >= 50


def test_all_types_are_people_s_or_counts() -> None:
    assert set(COUNTS) < set(TYPES)
