"""A hundred machines behind 100 requests a minute: nobody is refused, nobody is forgotten."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import httpx
import pytest

from bridge.sim.quantiix import Behaviour, Quantiix, default_machines
from bridge.sim.quantiix.server import EMAIL, PASSWORD
from bridge.sources._budget import Budget, Priority
from bridge.sources._periods import Periods, achievable
from bridge.sources._rounds import Rounds, Visit
from bridge.transport.clock import VirtualClock

HALF_AN_HOUR = 1800.0
MACHINES = 100
SLOWEST = 5.0
"""Virtual seconds that a request may be on its way."""


class Reader:
    """Sends what the rounds ask for; each request is held up on its way for a while."""

    def __init__(self, clock: VirtualClock, http: httpx.AsyncClient, path: str) -> None:
        self.clock = clock
        self.http = http
        self.path = path
        self.rng = Random(path)
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.idle = asyncio.Event()
        self.idle.set()
        self._in_flight = 0

    async def visit(self, visit: Visit) -> None:
        self.counts[visit.key] += 1
        await self.clock.sleep(self.rng.uniform(0, SLOWEST))
        self._in_flight += 1
        self.idle.clear()
        now = int(self.clock.now().timestamp() * 1000)
        window = {"startTime": now - 3_600_000, "endTime": now} if self.path == "machineActivity" else {}
        answer = await self.http.get(self.path, params={"machineId": visit.key, **window})
        self.statuses[answer.status_code] += 1
        self._in_flight -= 1
        if self._in_flight == 0:
            self.idle.set()

    @property
    def spread(self) -> int:
        """How much oftener the luckiest machine was read."""
        counts = [self.counts[machine.unique_id] for machine in default_machines(MACHINES)]
        return max(counts) - min(counts)


@pytest.mark.timeout(300)  # 2 400 requests over a socket
async def test_half_an_hour_without_a_429_and_fair() -> None:
    clock = VirtualClock()
    # Who counts in sliding windows counts in every fixed one too.
    vendor = Quantiix(default_machines(MACHINES), clock=clock, behaviour=Behaviour(window="sliding"))  # type: ignore[arg-type]
    limit = Budget(100, clock)
    periods = achievable(MACHINES, limit.full_rate, Periods(60, 600))
    async with vendor, httpx.AsyncClient(base_url=vendor.url + "/", timeout=30, verify=False) as http:
        await limit.turn(Priority.AUTH)
        token = (await http.post("security/getAPIToken", json={"userEmail": EMAIL, "password": PASSWORD})).json()[
            "token"
        ]
        http.headers["Authorization"] = f"Bearer {token}"
        state, activity = Reader(clock, http, "machineState"), Reader(clock, http, "machineActivity")
        tasks = []
        for reader, period, priority in (
            (state, periods.state, Priority.STATE),
            (activity, periods.activity, Priority.ACTIVITY),
        ):
            rounds = Rounds(reader.path, period, limit, priority, clock)
            rounds.visit_all(vendor.machines)
            tasks.append(asyncio.create_task(rounds.run(reader.visit)))
        while clock.monotonic() < HALF_AN_HOUR:
            await step(clock, state, activity)
            assert state.spread <= 1
            assert activity.spread <= 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert vendor.journal.counts(EMAIL)["429"] == 0
    assert set(state.statuses) | set(activity.statuses) == {200}
    assert limit.figures.throttled_total == 0
    assert state.counts.total() >= 0.95 * MACHINES * HALF_AN_HOUR / periods.state
    assert min(activity.counts.values()) >= HALF_AN_HOUR // periods.activity - 1


async def step(clock: VirtualClock, *readers: Reader) -> None:
    """Let every request be answered, then move time to the next thing that happens."""
    for reader in readers:
        await reader.idle.wait()
    await clock.advance(max(0.0, clock._sleepers[0][0] - clock.monotonic()) if clock._sleepers else 0.0)
