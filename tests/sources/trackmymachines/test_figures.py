"""Values of a machine from its part of the timeline."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from bridge.model.calendar import Calendar, Shift
from bridge.sources.trackmymachines.bookings import Booking, Bookings
from bridge.sources.trackmymachines.figures import Rules, payloads
from bridge.sources.trackmymachines.payloads import Entry
from bridge.sources.trackmymachines.timeline import HOUR, MINUTE, SECOND

NOW = round(datetime(2025, 5, 27, 12, tzinfo=UTC).timestamp() * 1000)
PLAIN = Rules(None, False, 1.0)


def at(kind: str, start: int, end: int | None = None, label: str = "") -> Entry:
    """Minutes from now."""
    until = None if end is None else NOW + end * MINUTE
    return Entry(f"evt_{kind}{start}", kind, "M1", NOW + start * MINUTE, until, label)


def told(*entries: Entry, rules: Rules = PLAIN, booked: Booking | None = None) -> dict[str, dict[str, object]]:
    return payloads(sorted(entries, key=lambda e: e.start), NOW, rules, lambda entry: booked)


def test_nothing_is_nothing_and_no_zero_that_was_not_counted() -> None:
    found = told()
    assert found["step"]["active"] is False
    assert found["step"]["label"] is None
    assert found["parts"] == {"day": 0.0, "last": None}
    assert found["kpi"] == {"performance": None, "quality": None, "in_cycle": None}


def test_the_latest_of_steps_that_overlap_is_the_current_one() -> None:
    found = told(at("step", -60, None, "A"), at("step", -30, None, "B"), at("step", 30, None, "C"))
    assert (found["step"]["label"], found["step"]["elapsed"]) == ("B", 1800)


def test_counts_begin_anew_with_their_window() -> None:
    parts = [at("part_count", minute, minute) for minute in (-300, -90, -45, -20)]
    shift = at("shift_period", -120, 360, "Early")
    found = told(*parts, shift, at("step", -30, None, "A"), rules=PLAIN._replace(parts_per_count=2.0))
    assert found["parts"] == {"day": 8.0, "step": 2.0, "shift": 6.0, "last": NOW - 20 * MINUTE}


def test_the_sites_shifts_take_the_place_of_the_vendors() -> None:
    calendar = Calendar(ZoneInfo("Europe/Berlin"), (Shift("Late", time(14), time(22)),))
    vendor = at("shift_period", -120, 360, "Early")
    found = told(vendor, at("part_count", -60, -60), rules=Rules(calendar, True, 1.0))
    assert found["shift"]["name"] == "Late"
    assert (found["parts"]["shift"], found["parts"]["today"]) == (0, 1)
    assert told(vendor, rules=Rules(calendar, False, 1.0))["shift"]["name"] == "Early"


def test_downtime_is_clipped_and_its_longest_reasons_come_first() -> None:
    stops = [
        at("activity_reason", -25 * 60, -23 * 60, "Breakdown"),
        at("activity_reason", -200, -170, "Cleaning"),
        at("activity_reason", -10, None, "Cleaning"),
    ]
    found = told(*stops, at("shift_period", -180, 60, "Early"))["downtime"]
    assert found["reasons"] == [{"reason": "Breakdown", "seconds": 3600}, {"reason": "Cleaning", "seconds": 2400}]
    assert (found["day"], found["shift"], found["elapsed"]) == (6000, 1200, 600)
    assert (found["active"], found["label"]) == (True, "Cleaning")


def test_figures_are_told_only_where_what_they_need_is_known() -> None:
    step = at("step", -60, None, "A")
    counts = [at("part_count", -30 - n, -30 - n) for n in range(20)]
    assert told(step, *counts)["kpi"]["performance"] is None
    booked = Booking(step.start, "A", cycle_time=90.0)
    assert told(step, *counts, booked=booked)["kpi"]["performance"] == pytest.approx(50)
    done = at("step", -60, -10, "A")
    made = Booking(done.start, "A", qty_made=42, qty_scrapped=3)
    assert told(done, booked=made)["kpi"]["quality"] == pytest.approx(100 * 39 / 42)
    cycles = [at("cycle", -20, -10), at("cycle", -5)]
    assert told(at("shift_period", -60, 60), *cycles)["kpi"]["in_cycle"] == pytest.approx(25)


def test_a_booking_is_found_by_start_and_part_and_outlives_a_restart() -> None:
    booked = Bookings()
    booked.add("M1", Booking(NOW, "PART1", 7785, work_order="WO-1"))
    again = Bookings(booked.document())
    entry = Entry("evt_a", "step", "M1", NOW + SECOND, None, "PART1 Op10")
    assert again.find("M1", entry) == Booking(NOW, "PART1", 7785, work_order="WO-1")
    assert again.find("M1", entry._replace(start=NOW + 2 * SECOND)) is None
    assert again.find("M1", entry._replace(label="PART2")) is None
    for hour in range(200):
        again.add("M1", Booking(NOW + hour * HOUR, "PART1"))
    assert len(again.of("M1")) == 50
