"""GET /api/v1/events."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bridge.sim.trackmymachines.organisation import EVENT_TYPES
from tests.sim.trackmymachines.client import NOON, Client, day, error, published

NOT_TIMESTAMPS = {"error": "from and to are required ISO8601 timestamps"}
NOT_AFTER = {"error": "to must be after from"}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "from=2025-05-27T08:00:00Z",
        "to=2025-05-27T08:00:00Z",
        "from=&to=",
        "from=yesterday&to=2025-05-27T08:00:00Z",
        "from=2025-05-27&to=2025-05-28",
        "from=1748332800&to=1748336400",
        "from=2025-02-30T08:00:00Z&to=2025-03-01T08:00:00Z",
        "from[]=2025-05-27T08:00:00Z&to=2025-05-27T09:00:00Z",
        "from=2025-05-27T08:00:00+02:00&to=2025-05-27T09:00:00+02:00",  # a plus that nobody escaped is a space
    ],
)
async def test_window_without_two_timestamps_is_refused(tmm: Client, query: str) -> None:
    assert error(await tmm.app(f"events?{query}")) == (422, NOT_TIMESTAMPS)


async def test_offset_that_is_escaped_is_read(tmm: Client) -> None:
    tmm.insert("cycle", "07:10:00", "07:20:00", "early")
    window = {"from": "2025-05-27T09:00:00%2B02:00", "to": "2025-05-27T10:00:00%2B02:00"}
    assert await tmm.labels(**window) == ["early"]


@pytest.mark.parametrize("to", ["2025-05-27T08:00:00Z", "2025-05-27T07:59:59Z"])
async def test_window_that_does_not_go_forward_is_refused(tmm: Client, to: str) -> None:
    assert error(await tmm.app(f"events?from=2025-05-27T08:00:00Z&to={to}")) == (422, NOT_AFTER)


async def test_window_of_a_day_is_allowed_and_a_longer_one_is_not(tmm: Client) -> None:
    start = "from=2025-05-27T00:00:00Z"
    assert (await tmm.app(f"events?{start}&to=2025-05-28T00:00:00Z")).status_code == 200
    for longer in ("2025-05-28T00:00:01Z", "2025-05-28T01:00:00Z"):
        status, body = error(await tmm.app(f"events?{start}&to={longer}"))
        assert (status, list(body)) == (422, ["error"])
        assert body not in (NOT_TIMESTAMPS, NOT_AFTER)


async def test_answer_is_a_bare_array_of_the_published_shape(tmm: Client) -> None:
    tmm.insert("step", "10:00:00", "11:30:00", "PART123")
    tmm.insert("activity_reason", "11:30:00", None, "Tool change")
    rows = await tmm.events()
    assert [re.fullmatch(r"evt_[0-9A-Za-z]{12}", row["id"]) is not None for row in rows] == [True, True]
    expected = published("events")["answer"]
    assert [{**row, "id": ""} for row in rows] == [{**row, "id": ""} for row in expected]
    assert [list(row) for row in rows] == [list(row) for row in expected]


async def test_machine_without_a_foreign_id_is_null(tmm: Client) -> None:
    tmm.insert("cycle", "10:00:00", "10:01:00", "nameless", machine="Laser 3")
    assert [row["machine_foreign_id"] for row in await tmm.events()] == [None]


async def test_all_six_types_come_without_a_filter(tmm: Client) -> None:
    for kind in EVENT_TYPES:
        tmm.insert(kind, "10:00:00", "10:01:00", kind)
    assert sorted(row["type"] for row in await tmm.events()) == sorted(EVENT_TYPES)
    assert len(EVENT_TYPES) == 6


@pytest.mark.parametrize(("setting", "seen"), [("all", 6), ("none", 0)])
async def test_what_omitted_types_mean_is_a_switch(tmm: Client, setting: str, seen: int) -> None:
    for kind in EVENT_TYPES:
        tmm.insert(kind, "10:00:00", "10:01:00", kind)
    tmm.faults.behave("types_omitted", setting)
    assert len(await tmm.events()) == seen
    assert len(await tmm.events("types=cycle")) == 1


# -- filters


@pytest.fixture
def filled(tmm: Client) -> Iterator[Client]:
    tmm.insert("step", "10:00:00", "10:01:00", "step 1")
    tmm.insert("activity_reason", "10:00:00", "10:01:00", "reason 1")
    tmm.insert("cycle", "10:00:00", "10:01:00", "cycle 2", machine="MACHINE_002")
    tmm.insert("cycle", "10:00:00", "10:01:00", "cycle 3", machine="Laser 3")
    tmm.insert("cycle", "10:00:00", "10:01:00", "cycle 9", machine="MACHINE_009")
    yield tmm


BOTH = ["cycle 2", "reason 1", "step 1"]
"""Of MACHINE_001 and MACHINE_002."""


@pytest.mark.parametrize(
    ("query", "rails", "lenient"),
    [
        ("", ["cycle 2", "cycle 3", "reason 1", "step 1"], None),
        ("types=step&types=activity_reason", ["reason 1"], ["reason 1", "step 1"]),
        ("types=activity_reason&types=step", ["step 1"], ["reason 1", "step 1"]),
        ("types[]=step&types[]=activity_reason", ["reason 1", "step 1"], None),
        ("types%5B%5D=step&types%5B%5D=activity_reason", ["reason 1", "step 1"], None),
        ("types=step,activity_reason", ["reason 1", "step 1"], None),
        ("types[]=step,activity_reason", [], ["reason 1", "step 1"]),
        ("types=step&types=nonsense", [], ["step 1"]),
        ("types[]=step&types[]=nonsense", ["step 1"], None),
        ("types=Step", [], None),
        ("types=", ["cycle 2", "cycle 3", "reason 1", "step 1"], None),
        ("machine_foreign_ids=MACHINE_001,MACHINE_002", BOTH, None),
        ("machine_foreign_ids[]=MACHINE_001&machine_foreign_ids[]=MACHINE_002", BOTH, None),
        ("machine_foreign_ids[]=MACHINE_001,MACHINE_002", [], BOTH),
        ("machine_foreign_ids=MACHINE_001&machine_foreign_ids=MACHINE_002", ["cycle 2"], BOTH),
        ("machine_foreign_ids=machine_001", [], None),
        ("machine_foreign_ids=6", [], None),
    ],
)  # fmt: skip
async def test_filters_as_each_parser_reads_them(
    filled: Client, query: str, rails: list[str], lenient: list[str] | None
) -> None:
    assert await filled.labels(query) == rails
    filled.faults.behave("filters", "lenient")
    assert await filled.labels(query) == (rails if lenient is None else lenient)


@pytest.mark.parametrize(
    ("parser", "query", "labels"),
    [
        ("array", "machine_foreign_ids[]=MACHINE_001&machine_foreign_ids[]=MACHINE_002", BOTH),
        ("array", "machine_foreign_ids=MACHINE_001,MACHINE_002", []),
        ("array", "machine_foreign_ids=MACHINE_002", ["cycle 2"]),
        ("array", "types=step,cycle", []),
        ("comma", "machine_foreign_ids=MACHINE_001,MACHINE_002", BOTH),
        ("comma", "machine_foreign_ids=MACHINE_001&machine_foreign_ids=MACHINE_002", ["cycle 2"]),
    ],
)
async def test_filters_as_code_that_knows_one_spelling_reads_them(
    filled: Client, parser: str, query: str, labels: list[str]
) -> None:
    filled.faults.behave("filters", parser)
    assert await filled.labels(query) == labels


async def test_archived_machine_is_left_out_until_it_is_back(filled: Client) -> None:
    filled.faults.archive("MACHINE_001")
    filled.faults.archive("MACHINE_009", archived=False)
    assert await filled.labels() == ["cycle 2", "cycle 3", "cycle 9"]


async def test_types_that_are_all_unknown_are_a_switch(filled: Client) -> None:
    assert await filled.labels("types=nonsense") == []
    filled.faults.behave("types_unknown", "all")
    assert len(await filled.labels("types=nonsense")) == 4


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("types=step&types[]=cycle", 400),
        ("types[]=step&types=cycle", 400),
        ("types[a]=step&types=cycle", 400),
        ("types[a]=step", 500),
        ("comma machine_foreign_ids[]=MACHINE_001", 500),
        ("array machine_foreign_ids[a]=MACHINE_001", 500),
    ],
)
async def test_query_that_rails_trips_over(filled: Client, query: str, status: int) -> None:
    parser, _, query = query.rpartition(" ")
    filled.faults.behave("filters", parser or "rails")
    answer = await filled.app(f"events?from={day('00:00:00')}&to={day('01:00:00')}&{query}")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (status, "text/html")


# -- which events belong to a window


async def test_overlap_gives_what_touches_the_window(tmm: Client) -> None:
    tmm.insert("step", "08:00:00", "10:30:00", "began before")
    tmm.insert("step", "08:00:00", "10:00:00", "ended at from")
    tmm.insert("step", "08:00:00", None, "in flight")
    tmm.insert("step", "10:59:59", "13:00:00", "goes on")
    tmm.insert("step", "11:00:00", "13:00:00", "begins at to")
    tmm.insert("part_count", "10:00:00", "10:00:00", "instant")
    window = {"from": day("10:00:00"), "to": day("11:00:00")}
    assert await tmm.labels(**window) == ["began before", "goes on", "in flight", "instant"]
    tmm.faults.behave("selection", "start-in-window")
    assert await tmm.labels(**window) == ["begins at to", "goes on", "instant"]


async def test_step_of_thirty_hours_is_still_found_by_short_windows_only_where_it_overlaps(tmm: Client) -> None:
    step = tmm.faults.insert("MACHINE_001", "step", "2025-05-26T00:00:00Z", None, "long")
    tmm.faults.advance(3600)
    tmm.faults.close(step)
    assert await tmm.labels() == ["long"]
    tmm.faults.behave("selection", "start-in-window")
    assert await tmm.labels() == []
    assert await tmm.labels(**{"from": "2025-05-26T00:00:00Z", "to": "2025-05-26T00:01:00Z"}) == ["long"]


async def test_order_is_the_databases_not_that_of_time(tmm: Client) -> None:
    tmm.insert("cycle", "11:00:00", "11:01:00", "late")
    tmm.insert("cycle", "10:00:00", "10:01:00", "early")
    assert [row["label"] for row in await tmm.events()] == ["late", "early"]


async def test_new_event_appears_within_the_delay(tmm: Client) -> None:
    tmm.faults.behave("feed_delay_s", 5)
    for number in range(20):
        tmm.insert("cycle", "11:00:00", "11:01:00", str(number))
    seen = []
    for _ in range(6):
        seen.append(len(await tmm.events()))
        tmm.faults.advance(1)
    assert seen == sorted(seen)
    assert seen[0] < seen[2] < 20
    assert seen[5] == 20


# -- people who edit the past


async def test_events_are_closed_relabelled_moved_and_deleted_under_the_same_id(tmm: Client) -> None:
    event = tmm.insert("activity_reason", "11:00:00", None, "Unclassified")
    tmm.faults.close(event)
    tmm.faults.relabel(event, "No material")
    [row] = await tmm.events()
    assert row == {
        "id": event, "type": "activity_reason", "machine_foreign_id": "MACHINE_001",
        "from": day("11:00:00"), "to": day("12:00:00"), "duration_seconds": 3600, "label": "No material",
    }  # fmt: skip
    tmm.faults.back_date(event, day("10:00:00"), day("10:00:30"))
    [row] = await tmm.events()
    assert (row["id"], row["from"], row["duration_seconds"]) == (event, day("10:00:00"), 30)
    tmm.faults.delete(event)
    assert await tmm.events() == []


async def test_event_written_late_appears_in_a_window_long_gone(tmm: Client) -> None:
    window = {"from": day("01:00:00"), "to": day("02:00:00")}
    assert await tmm.events(**window) == []
    tmm.insert("activity_reason", "01:10:00", "01:20:00", "found out")
    assert await tmm.labels(**window) == ["found out"]


async def test_planned_shift_ends_in_the_future(tmm: Client) -> None:
    tmm.faults.plan_shift("MACHINE_001", hours=8)
    [row] = await tmm.events()
    assert (row["type"], row["to"], row["duration_seconds"]) == ("shift_period", day("20:00:00"), 28800)
    assert tmm.simulator.clock.now() == NOON


async def test_reseed_changes_numbers_and_order_but_no_id(tmm: Client) -> None:
    tmm.simulator.behave({"edition": "2025-07"})
    for hour in range(10):
        await tmm.create(start=day(f"{hour:02}:00:00"), part_unique_identifier=f"P{hour}")
    before = await tmm.events()
    numbers = {row["display_name"]: row["id"] for row in (await tmm.com("step_events")).json()}
    tmm.faults.reseed()
    after = await tmm.events()
    assert sorted(map(str, after)) == sorted(map(str, before))
    assert after != before
    renumbered = {row["display_name"]: row["id"] for row in (await tmm.com("step_events")).json()}
    assert not set(numbers.values()) & set(renumbered.values())
