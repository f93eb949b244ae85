"""The shop floor that runs by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from bridge.sim.trackmymachines.organisation import EVENT_TYPES, MAX_EVENTS
from tests.sim.trackmymachines.client import Client, day, server

YESTERDAY = {"from": "2025-05-26T12:00:00Z", "to": "2025-05-27T12:00:00Z"}


async def test_floor_has_a_day_of_history_of_every_type() -> None:
    async with server(floor=True) as tmm:
        rows = await tmm.events(**YESTERDAY)
        assert {row["type"] for row in rows} == set(EVENT_TYPES)
        assert {row["machine_foreign_id"] for row in rows} == {"MACHINE_001", "MACHINE_002", None}
        assert any(row["type"] == "step" and row["to"] is None for row in rows)
        assert any(row["type"] == "shift_period" and row["to"] > day("12:00:00") for row in rows)


async def test_same_seed_gives_the_same_floor_however_time_passes() -> None:
    async def told(seed: int, *pieces: float) -> list[dict[str, Any]]:
        async with server(floor=True, seed=seed) as tmm:
            for piece in pieces:
                tmm.faults.advance(piece)
                await tmm.events()
            return await tmm.events()

    assert await told(1, 7200) == await told(1, *[600] * 12)
    assert await told(1, 7200) != await told(2, 7200)


async def test_time_that_passes_closes_events_and_finds_reasons() -> None:
    async with server(floor=True) as tmm:
        before = {row["id"]: row for row in await tmm.events(**YESTERDAY)}
        tmm.faults.advance(7200)
        after = {row["id"]: row for row in await tmm.events(**YESTERDAY)}
        assert before.keys() <= after.keys()
        changed = [row for key, row in before.items() if after[key] != row]
        assert {row["type"] for row in changed} >= {"cycle"}
        assert all(row["to"] is None or row["label"] == "Unclassified" for row in changed)


async def test_one_step_runs_at_a_time_and_cycles_do_not_overlap() -> None:
    async with server(floor=True) as tmm:
        for kind in ("cycle", "step"):
            rows = [row for row in await tmm.events(**YESTERDAY) if row["type"] == kind]
            for machine in ("MACHINE_001", "MACHINE_002"):
                spans = sorted((r["from"], r["to"] or "~") for r in rows if r["machine_foreign_id"] == machine)
                assert all(first[1] <= second[0] for first, second in pairwise(spans))


async def test_step_started_by_a_client_is_worked_on_until_the_client_finishes_it() -> None:
    async with server(floor=True) as tmm:
        await tmm.create(start=day("12:00:00"), part_unique_identifier="OURS")
        tmm.faults.advance(4 * 3600)
        assert await running(tmm) == ["OURS"]
        counts = await tmm.events("types=part_count&machine_foreign_ids=MACHINE_001", **{"from": day("12:10:00")})
        assert len(counts) > 20
        assert (await tmm.finish(machine_display_name="Machine 1", qty_made=len(counts))).status_code == 200
        tmm.faults.advance(3600)
        [label] = await running(tmm)
        assert label != "OURS"


async def running(tmm: Client) -> list[str]:
    rows = await tmm.events("types=step&machine_foreign_ids=MACHINE_001")
    return [row["label"] for row in rows if row["to"] is None]


async def test_long_jump_is_bounded() -> None:
    async with server(floor=True) as tmm:
        tmm.faults.advance(3 * 365 * 86400)
        tmm.faults.renew_key("rw")
        gap = await tmm.events(**{"from": "2026-05-27T00:00:00Z", "to": "2026-05-28T00:00:00Z"})
        assert [row for row in gap if row["from"] > "2026-05-27"] == []  # only what was in flight when the plant shut
        assert len(tmm.simulator.organisation.events) <= MAX_EVENTS
        now = tmm.simulator.clock.now()
        window = {"from": f"{now:%Y-%m-%dT00:00:00Z}", "to": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
        assert {row["type"] for row in await tmm.events(**window)} >= {"cycle", "step"}


async def test_running_clock_lets_the_floor_work() -> None:
    async with server(floor=True, speed=100_000) as tmm:
        first = len(tmm.simulator.organisation.events)
        while len(tmm.simulator.organisation.events) < first + 5:
            await tmm.app("events")
