"""/api/v1/step_events and charts."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.sim.trackmymachines import Machine
from tests.sim.qitech.recorded import shape
from tests.sim.trackmymachines.client import STEP, Client, day, error, published, server

NO_MACHINE = {"error": "Machine not found"}
NO_USER = {"error": "User not found"}
NO_ACTIVE = {"error": "No active step event found for this machine"}
BAD_END = {"error": "Invalid end timestamp"}

# -- POST


async def test_published_request_gets_the_published_answer(tmm: Client) -> None:
    tmm.faults.behave("display_names", "squeezed")  # the page asks for "Machine1" and gets "Machine 1"
    example = published("step_events_create")
    answer = await tmm.com("step_events", "POST", json=example["body"])
    expected = example["answer"]
    got = answer.json()
    assert answer.status_code == 201
    assert shape(got) == shape(expected)
    assert {name: list(part) for name, part in got.items()} == {name: list(part) for name, part in expected.items()}
    free = {"id", "eventable_id", "user_id", "recipe_id", "part_id", "created_at", "updated_at"}
    assert _without(got, free) == _without(expected, free)


def _without(answer: dict[str, Any], free: set[str]) -> dict[str, Any]:
    return {name: {key: v for key, v in part.items() if key not in free} for name, part in answer.items()}


async def test_ids_of_the_answer_belong_together_and_stamps_have_milliseconds(tmm: Client) -> None:
    tmm.simulator.clock.advance(0.397)
    got = (await tmm.create()).json()
    assert got["event"]["eventable_id"] == got["step"]["id"]
    assert got["step"]["recipe_id"] == got["recipe"]["id"]
    assert got["recipe"]["part_id"] == got["part"]["id"]
    assert got["event"]["created_at"] == "2025-05-27T12:00:00.397Z"


@pytest.mark.parametrize("field", sorted(STEP))
@pytest.mark.parametrize("value", [None, "", " "])
async def test_required_field_that_is_missing_or_blank_is_refused(tmm: Client, field: str, value: str | None) -> None:
    status, body = error(await tmm.create(**{field: value}))
    assert (status, list(body)) == (422, ["error"])
    assert await tmm.events() == []


async def test_optional_fields_are_optional(tmm: Client) -> None:
    got = (await tmm.create()).json()
    assert got["event"]["metadata"] == {}
    assert (got["step"]["expected_cycle_time"], got["step"]["expected_setup_time"]) == (None, None)


@pytest.mark.parametrize("status", [404, 422])
async def test_unknown_machine_and_user_are_named_with_either_status(tmm: Client, status: int) -> None:
    tmm.faults.behave("not_found_status", status)
    assert error(await tmm.create(machine_display_name="Machine1")) == (status, NO_MACHINE)
    assert error(await tmm.create(machine_display_name="MACHINE_001")) == (status, NO_MACHINE)
    assert error(await tmm.create(machine_display_name="Old lathe")) == (status, NO_MACHINE)
    assert error(await tmm.create(user_email="nobody@example.com")) == (status, NO_USER)
    assert error(await tmm.finish(machine_display_name="Machine 2")) == (status, NO_ACTIVE)
    assert error(await tmm.finish(machine_display_name="nope")) == (status, NO_MACHINE)
    assert await tmm.events() == []


async def test_created_status_is_a_switch(tmm: Client) -> None:
    tmm.faults.behave("created_status", 200)
    assert (await tmm.create()).status_code == 200


async def test_start_must_be_a_timestamp(tmm: Client) -> None:
    assert (await tmm.create(start="ten o'clock")).status_code == 422


async def test_part_recipe_and_step_are_made_once_and_a_typo_makes_others(tmm: Client) -> None:
    first, same = (await tmm.create()).json(), (await tmm.create(start=day("10:30:00"))).json()
    other = (await tmm.create(part_unique_identifier="PART-123", start=day("10:40:00"))).json()
    for what in ("part", "recipe", "step"):
        assert first[what]["id"] == same[what]["id"] != other[what]["id"]
    assert first["event"]["id"] != same["event"]["id"]


async def test_version_and_number_change_type(tmm: Client) -> None:
    got = (await tmm.create(recipe_version=2, step_number=20)).json()
    assert (got["recipe"]["version"], got["step"]["number"]) == (2, "20")
    odd = (await tmm.create(recipe_version="B", start=day("11:00:00"))).json()
    assert odd["recipe"]["version"] == 0  # Ruby's to_i


@pytest.mark.parametrize(
    "options",
    [
        {"content": b"{"},
        {"content": b"[]"},
        {"json": STEP},
        {"json": {"step_event": {}}},
        {"json": {"step_event": "x"}},
        {"json": {"step_event": STEP}, "headers": {"Content-Type": "text/plain"}},
    ],
)
async def test_body_without_a_step_event_is_a_bad_request(tmm: Client, options: dict[str, Any]) -> None:
    options = {**options, "headers": {"Content-Type": "application/json", **options.get("headers", {})}}
    for method, path in (("POST", "step_events"), ("PATCH", "step_events/finish")):
        answer = await tmm.com(path, method, **options)
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (400, "text/html")


async def test_same_request_twice_makes_two_events(tmm: Client) -> None:
    tmm.faults.behave("when_active", "overlap")
    assert [(await tmm.create()).status_code for _ in range(2)] == [201, 201]
    assert len(await tmm.events("types=step")) == 2


async def test_new_step_finishes_the_one_that_runs(tmm: Client) -> None:
    await tmm.create(part_unique_identifier="A")
    await tmm.create(part_unique_identifier="B", start=day("11:00:00"))
    rows = {row["label"]: row["to"] for row in await tmm.events("types=step")}
    assert rows == {"A": day("11:00:00"), "B": None}


async def test_new_step_overlaps_the_one_that_runs(tmm: Client) -> None:
    tmm.faults.behave("when_active", "overlap")
    await tmm.create(part_unique_identifier="A")
    await tmm.create(part_unique_identifier="B", start=day("11:00:00"))
    rows = {row["label"]: row["to"] for row in await tmm.events("types=step")}
    assert rows == {"A": None, "B": None}
    await tmm.finish(machine_display_name="Machine 1")
    rows = {row["label"]: row["to"] for row in await tmm.events("types=step")}
    assert rows == {"A": None, "B": day("12:00:00")}


async def test_new_step_is_refused_while_one_runs(tmm: Client) -> None:
    tmm.faults.behave("when_active", "422")
    await tmm.create(part_unique_identifier="A")
    assert (await tmm.create(part_unique_identifier="B")).status_code == 422
    assert (await tmm.create(machine_display_name="Machine 2")).status_code == 201
    assert await tmm.labels("types=step") == ["A", "PART123"]


async def test_new_step_appears_in_the_feed_a_little_later(tmm: Client) -> None:
    tmm.faults.behave("feed_delay_s", 5)
    await tmm.create()
    assert await tmm.events() == []
    tmm.faults.advance(5)
    [row] = await tmm.events()
    assert (row["type"], row["label"], row["from"], row["to"]) == ("step", "PART123", STEP["start"], None)


async def test_answer_lost_after_the_commit_leaves_one_step(tmm: Client) -> None:
    import httpx

    tmm.faults.reset(method="POST", after_commit=True)
    with pytest.raises(httpx.ReadError):
        await tmm.create()
    assert await tmm.labels() == ["PART123"]


# -- PATCH finish


async def test_published_finish_gets_the_published_answer() -> None:
    async with server(machines=[Machine(45, "Machine 1", "MACHINE_001")]) as tmm:
        tmm.faults.behave("display_names", "squeezed")
        await tmm.com("step_events", "POST", json=published("step_events_create")["body"])
        example = published("step_events_finish")
        answer = await tmm.com("step_events/finish", "PATCH", json=example["body"])
        free = {"id", "user_id"}
        assert answer.status_code == 200
        assert shape(answer.json()) == shape(example["answer"])
        assert list(answer.json()["event"]) == list(example["answer"]["event"])
        assert _without(answer.json(), free) == _without(example["answer"], free)


async def test_finish_without_an_end_is_now(tmm: Client) -> None:
    await tmm.create()
    got = (await tmm.finish(machine_display_name="Machine 1")).json()
    assert got["event"]["tzrange"] == f"{day('10:00:00')}..{day('12:00:00')}"
    [row] = await tmm.events()
    assert (row["to"], row["duration_seconds"]) == (day("12:00:00"), 7200)


@pytest.mark.parametrize("end", ["soon", "", "2025-05-27", day("09:59:59"), 5])
async def test_end_that_is_none_or_before_the_start_is_refused(tmm: Client, end: object) -> None:
    await tmm.create()
    assert error(await tmm.finish(machine_display_name="Machine 1", end=end)) == (422, BAD_END)
    assert [row["to"] for row in await tmm.events()] == [None]


async def test_finish_needs_a_machine(tmm: Client) -> None:
    assert (await tmm.finish(end=day("11:00:00"))).status_code == 422


async def test_second_finish_finds_nothing_or_closes_the_next_job(tmm: Client) -> None:
    await tmm.create(part_unique_identifier="A")
    assert (await tmm.finish(machine_display_name="Machine 1", end=day("10:30:00"))).status_code == 200
    assert error(await tmm.finish(machine_display_name="Machine 1", end=day("10:30:00"))) == (404, NO_ACTIVE)
    await tmm.create(part_unique_identifier="B", start=day("11:00:00"))
    assert (await tmm.finish(machine_display_name="Machine 1")).status_code == 200
    assert {row["label"]: row["to"] for row in await tmm.events()} == {"A": day("10:30:00"), "B": day("12:00:00")}


# -- editions


async def test_daily_sums_have_the_published_shape(tmm: Client) -> None:
    await tmm.create()
    tmm.insert("cycle", "10:00:00", "10:02:00", "Cycle")
    tmm.insert("cycle", "10:03:00", "10:04:30", "Cycle")
    await tmm.create(start=day("11:00:00"))
    got = (await tmm.com("step_events?from=2025-05-20&to=2025-05-27")).json()
    assert got == {"data": [{"date": "2025-05-27", "machine": "Machine 1", "events_count": 2, "total_cycle_time": 210}]}
    assert shape(got["data"][0]) == shape(published("step_events")["answer"]["data"][0])


async def test_default_window_is_the_week_and_machines_are_numbers(tmm: Client) -> None:
    for start in ("2025-05-25T23:00:00Z", "2025-05-26T00:00:00Z", "2025-06-01T23:00:00Z", "2025-06-02T00:00:00Z"):
        tmm.faults.insert("Machine 1", "step", start, start, "x")
    tmm.faults.insert("Machine 2", "step", day("10:00:00"), None, "x")

    async def days(query: str) -> list[tuple[str, str]]:
        return [(row["date"], row["machine"]) for row in (await tmm.com(f"step_events{query}")).json()["data"]]

    monday, sunday = ("2025-05-26", "Machine 1"), ("2025-06-01", "Machine 1")
    assert await days("") == [monday, ("2025-05-27", "Machine 2"), sunday]
    assert await days("?machine_ids=6") == [monday, sunday]
    assert len(await days("?machine_ids=6,7")) == 3
    assert await days("?machine_ids=MACHINE_001") == []
    assert (await tmm.com("step_events?from=lately")).status_code == 422


async def test_july_rows_are_a_bare_array_with_every_published_key(tmm: Client) -> None:
    tmm.faults.behave("edition", "2025-07")
    example = published("step_events_2025_07")
    for at in ("10:10:00", "10:14:00", "10:20:00"):
        tmm.insert("part_count", at, at, "1")
    tmm.insert("cycle", "10:08:00", "10:10:00", "Cycle")
    tmm.insert("cycle", "10:12:00", "10:14:00", "Cycle")
    tmm.insert("cycle", "10:16:00", "10:20:00", "Cycle")
    await tmm.create(
        start=day("10:00:00"), part_unique_identifier="1677723", qty_expected=15, wo_number="", step_number="10"
    )
    [row] = (await tmm.com("step_events")).json()
    assert list(row) == example["keys"]
    assert row["tzrange"] == "2025-05-27 10:00:00 UTC...Infinity"
    assert {name: row[name] for name in ("ended_at", "eventable_type", "metadata", "display_name")} == {
        name: example["published"][name] for name in ("ended_at", "eventable_type", "metadata", "display_name")
    }
    assert (row["cycle_count"], row["part_count"], row["time_to_first_part_count"]) == (3, 3, 600)
    assert (row["minimum_cycle_time"], row["median_cycle_time"], row["maximum_cycle_time"]) == (120, 120, 240)
    assert (row["minimum_time_between_part_counts"], row["maximum_time_between_part_counts"]) == (240, 360)
    assert (row["total_in_cycle_time"], row["total_dead_time"]) == (480, 7200 - 480)


async def test_july_has_no_finish_and_post_finishes_what_it_creates(tmm: Client) -> None:
    await tmm.create()
    tmm.faults.behave("edition", "2025-07")
    answer = await tmm.finish(machine_display_name="Machine 1")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (404, "text/html")
    got = (await tmm.create(part_unique_identifier="B", start=day("11:00:00"), end=day("11:30:00"))).json()
    assert got["event"]["tzrange"] == "2025-05-27 11:00:00 UTC...2025-05-27 11:30:00 UTC"
    assert error(await tmm.create(start=day("11:00:00"), end=day("10:30:00"))) == (422, BAD_END)
    assert error(await tmm.create(start=day("11:00:00"), end="soon")) == (422, BAD_END)


async def test_name_of_the_finish_parameter_is_a_switch(tmm: Client) -> None:
    tmm.simulator.behave({"edition": "2025-07", "finish_parameter": "finish"})
    assert (await tmm.create(end=day("11:30:00"))).json()["event"]["range"] == "2025-05-27 10:00:00 UTC..."
    got = (await tmm.create(finish=True)).json()
    assert got["event"]["range"] == "2025-05-27 10:00:00 UTC...2025-05-27 12:00:00 UTC"


async def test_may_ignores_an_end_in_post(tmm: Client) -> None:
    assert (await tmm.create(end=day("11:30:00"))).json()["event"]["range"] == "2025-05-27 10:00:00 UTC..."


@pytest.mark.parametrize("chart", ["machine_utilisation", "nonsense"])
async def test_chart_is_not_found_under_message_not_error(tmm: Client, chart: str) -> None:
    assert error(await tmm.app(f"charts/{chart}")) == (404, {"message": "Chart not found"})
