"""machineActivity: windows, records, and everything the page does not say about them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.sim.quantiix.vendor import DAY, HOUR, KNOWN_MS, MINUTE, NOON_MS, Client, M, quantiix


def lay(client: Client) -> None:
    """RUNNING from 10:59, IDLE from 11:29, OFF from 11:49, which still goes on."""
    client.vendor.faults.state(M, "RUNNING", minutes_ago=60, minutes=30)
    client.vendor.faults.state(M, "IDLE", minutes_ago=30, minutes=20)
    client.vendor.faults.state(M, "OFF", minutes_ago=10, minutes=60)


def spans(records: list[dict[str, Any]]) -> list[tuple[str, int, int | None]]:
    """State, and minutes from the time that is known to start and end."""
    return [
        (r["state"], (r["startTime"] - KNOWN_MS) // MINUTE, r["endTime"] and (r["endTime"] - KNOWN_MS) // MINUTE)
        for r in records
    ]


async def test_records_have_the_published_shape() -> None:
    async with quantiix() as client:
        lay(client)
        assert await client.records(KNOWN_MS - 60 * MINUTE, KNOWN_MS - 10 * MINUTE) == [
            {
                "state": "RUNNING",
                "startTime": KNOWN_MS - 60 * MINUTE,
                "endTime": KNOWN_MS - 30 * MINUTE,
                "durationInMinutes": 30,
            },
            {
                "state": "IDLE",
                "startTime": KNOWN_MS - 30 * MINUTE,
                "endTime": KNOWN_MS - 10 * MINUTE,
                "durationInMinutes": 20,
            },
        ]


async def test_a_month_of_life_is_ascending_without_gaps_and_of_three_states() -> None:
    async with quantiix() as client:
        records = await client.records(NOON_MS - 30 * DAY, NOON_MS)
        assert len(records) > 500
        assert {r["state"] for r in records} == {"RUNNING", "IDLE", "OFF"}
        assert all(a["endTime"] == b["startTime"] and a["state"] != b["state"] for a, b in pairwise(records))
        assert all((r["endTime"] - r["startTime"]) // MINUTE == r["durationInMinutes"] > 0 for r in records[1:-1])
        assert all(r["startTime"] % MINUTE == 0 for r in records[1:])
        again = [
            r
            for part in range(30)
            for r in await client.records(NOON_MS - (30 - part) * DAY, NOON_MS - (29 - part) * DAY)
        ]
        assert sum(r["endTime"] - r["startTime"] for r in again) == records[-1]["endTime"] - records[0]["startTime"]


async def test_machines_differ_and_the_same_seed_lives_the_same_life() -> None:
    lives = []
    for _ in range(2):
        async with quantiix() as client:
            lives.append([await client.records(NOON_MS - DAY, NOON_MS, m) for m in ("MACHINE_001", "MACHINE_002")])
    assert lives[0] == lives[1]
    assert lives[0][0] != lives[0][1]


async def test_state_and_activity_tell_one_story() -> None:
    async with quantiix() as client:
        for _ in range(100):
            client.vendor.faults.advance(451)
            now = int(client.vendor.clock.now().timestamp() * 1000)
            if (now // MINUTE) % 97 == 0:
                await client.log_in()
            last = (await client.records(now - 3 * DAY, now))[-1]
            state = (await client.state()).json()
            assert state["machineState"] == last["state"]
            known = now // MINUTE * MINUTE - MINUTE
            assert state["durationInMinutes"] == (known - last["startTime"]) // MINUTE


@pytest.mark.parametrize(
    ("start", "end", "status"),
    [
        (NOON_MS - 30 * DAY, NOON_MS, 200),
        (NOON_MS - 30 * DAY - 1, NOON_MS, 422),
        (NOON_MS, NOON_MS - 1, 422),
        (NOON_MS, NOON_MS, 204),
        (NOON_MS + HOUR, NOON_MS + DAY, 204),
        (NOON_MS - 60 * DAY, NOON_MS - 59 * DAY, 204),
        (NOON_MS // 1000 - 3600, NOON_MS // 1000, 204),  # seconds: January 1970
        (NOON_MS * 1000 - HOUR, NOON_MS * 1000, 204),  # microseconds: in 56 000 years
        (NOON_MS // 1000, NOON_MS, 422),  # one of each
        (KNOWN_MS, NOON_MS, 204),  # nothing is known yet of the last minute
    ],
)
async def test_windows(start: int, end: int, status: int) -> None:
    async with quantiix() as client:
        assert (await client.activity(start, end)).status_code == status


GARBLED = [
    (name, value) for name in ("startTime", "endTime") for value in ("abc", "-5", "1.5", "1e3", "١٢", "9" * 5000)
]
MISSING = [(name, value) for name in ("machineId", "startTime", "endTime") for value in (None, "")]


@pytest.mark.parametrize(("missing", "value"), GARBLED + MISSING)
async def test_missing_or_garbled_parameters_are_422(missing: str, value: str | None) -> None:
    params: dict[str, Any] = {"machineId": M, "startTime": NOON_MS - HOUR, "endTime": NOON_MS}
    del params[missing]
    if value is not None:
        params[missing] = value
    async with quantiix() as client:
        assert (await client.get("machineActivity", **params)).status_code == 422


@pytest.mark.parametrize(
    ("no_activity", "status", "content"), [("204", 204, None), ("200", 200, {"machineId": M, "activity": []})]
)
async def test_no_records_are_204_or_an_empty_list(no_activity: str, status: int, content: Any) -> None:
    async with quantiix(no_activity=no_activity) as client:
        answer = await client.activity(NOON_MS + HOUR, NOON_MS + DAY)
        assert answer.status_code == status
        assert (answer.json() if answer.content else None) == content


@pytest.mark.parametrize(
    ("clip", "expected"),
    [("yes", [("RUNNING", -45, -30), ("IDLE", -30, -20)]), ("no", [("RUNNING", -60, -30), ("IDLE", -30, -10)])],
)
async def test_records_are_cut_to_the_window_or_not(clip: str, expected: Any) -> None:
    async with quantiix(clip=clip) as client:
        client.vendor.faults.state(M, "OFF", minutes_ago=70, minutes=10)
        lay(client)
        assert spans(await client.records(KNOWN_MS - 45 * MINUTE, KNOWN_MS - 20 * MINUTE)) == expected


@pytest.mark.parametrize(
    ("open_end", "end", "duration"),
    [("now", NOON_MS, 11), ("null", None, 10), ("requested", NOON_MS + HOUR, 71), ("absent", "absent", 10)],
)
async def test_interval_that_still_runs_ends_as_the_switch_says(open_end: str, end: Any, duration: int) -> None:
    async with quantiix(open_end=open_end) as client:
        lay(client)
        last = (await client.records(KNOWN_MS - HOUR, NOON_MS + HOUR))[-1]
        assert (last["state"], last["startTime"]) == ("OFF", KNOWN_MS - 10 * MINUTE)
        assert (last.get("endTime", "absent"), last["durationInMinutes"]) == (end, duration)


async def test_interval_that_still_runs_may_be_left_out() -> None:
    async with quantiix(open_end="left-out") as client:
        lay(client)
        assert spans(await client.records(KNOWN_MS - HOUR, NOON_MS)) == [("RUNNING", -60, -30), ("IDLE", -30, -10)]


async def test_open_interval_is_closed_when_the_window_ends_before_it() -> None:
    async with quantiix(open_end="null") as client:
        lay(client)
        assert spans(await client.records(KNOWN_MS - HOUR, KNOWN_MS - 5 * MINUTE))[-1] == ("OFF", -10, -5)


async def test_last_hour_is_revised_and_older_is_final() -> None:
    async with quantiix(revises="yes") as client:
        client.vendor.faults.state(M, "RUNNING", minutes_ago=30, minutes=120)
        client.vendor.faults.state(M, "IDLE", minutes_ago=20, minutes=2)
        client.vendor.faults.state(M, "IDLE", minutes_ago=10, minutes=3)
        window = (KNOWN_MS - 30 * MINUTE, KNOWN_MS - 5 * MINUTE)
        early = [("RUNNING", -30, -10), ("IDLE", -10, -7), ("RUNNING", -7, -5)]
        final = [("RUNNING", -30, -20), ("IDLE", -20, -18), ("RUNNING", -18, -10), *early[1:]]
        assert spans(await client.records(*window)) == early
        client.vendor.faults.advance(40 * 60)
        assert spans(await client.records(*window)) == early
        client.vendor.faults.advance(60)
        assert spans(await client.records(*window)) == final
        client.vendor.faults.advance(60 * 60)
        assert spans(await client.records(*window)) == final


async def test_an_interval_of_the_last_hour_can_be_split_now() -> None:
    async with quantiix() as client:
        lay(client)
        start, end = client.vendor.faults.revise(M)
        records = await client.records(KNOWN_MS - HOUR, KNOWN_MS)
        assert [(r["state"], r["startTime"], r["endTime"]) for r in records[:3]] == [
            ("RUNNING", KNOWN_MS - HOUR, start),
            ("IDLE", start, end),
            ("RUNNING", end, KNOWN_MS - 30 * MINUTE),
        ]


async def test_gaps_and_unknown_states_are_in_the_records() -> None:
    async with quantiix() as client:
        lay(client)
        client.vendor.faults.gap(M, minutes_ago=50, minutes=10)
        client.vendor.faults.state(M, "CALIBRATING", minutes_ago=25, minutes=5)
        assert spans(await client.records(KNOWN_MS - HOUR, KNOWN_MS - 10 * MINUTE)) == [
            ("RUNNING", -60, -50),
            ("RUNNING", -40, -30),
            ("IDLE", -30, -25),
            ("CALIBRATING", -25, -20),
            ("IDLE", -20, -10),
        ]


async def test_order_and_magnitudes_can_be_wrong() -> None:
    async with quantiix(order="descending", stamps="s", durations="seconds", running="OPERATING") as client:
        lay(client)
        first, second = await client.records(KNOWN_MS - HOUR, KNOWN_MS - 10 * MINUTE)
        assert (first["state"], second["state"]) == ("IDLE", "OPERATING")
        assert second["startTime"] == (KNOWN_MS - HOUR) // 1000
        assert second["durationInMinutes"] == 1800


async def test_history_goes_on_over_a_jump_of_a_year_and_back() -> None:
    async with quantiix() as client:
        client.vendor.faults.advance(365 * 86400)
        await client.log_in()
        later = NOON_MS + 365 * DAY
        assert len(await client.records(later - 30 * DAY, later)) > 100
        client.vendor.faults.set_time("2026-02-20T00:00:00")
        await client.log_in()
        assert (await client.state()).status_code in (200, 204)


async def test_no_time_there_are_records_of_is_refused() -> None:
    async with quantiix() as client:
        with pytest.raises(ValueError, match="45 days"):
            client.vendor.faults.gap(M, minutes_ago=60 * 24 * 50, minutes=10)
