"""The REST half against the simulator on a socket, in both profiles."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bridge.config.vendor_profile import load_profile
from bridge.model.action import Action
from bridge.model.command import Result
from bridge.sim.clock import VirtualClock
from bridge.sim.iotistica import Behaviour, Iotistica
from bridge.sim.iotistica.server import PASSWORD, USERNAME
from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.iotistica.notebook import Notebook
from bridge.sources.iotistica.presence import Presence
from bridge.sources.iotistica.rest.backfill import Lapse
from bridge.sources.iotistica.rest.rest import Rest
from bridge.sources.iotistica.roster import Roster
from tests.sources.iotistica.cloud import START, Heap, Heard


class AtSimulator:
    def __init__(self, vendor: Iotistica, clock: VirtualClock) -> None:
        self.vendor = vendor
        self.clock = clock
        self.heard = Heard()
        self.heap = Heap()
        self.agent = vendor.tenant.agents[0].uuid

    @contextlib.asynccontextmanager
    async def running(self, *, has_mqtt: bool = True, websocket: bool = False, **rules: Any) -> AsyncIterator[Rest]:
        account = {"url": self.vendor.url, "username": USERNAME, "password": PASSWORD, **rules}
        config = IotisticaConfig.model_validate({"type": "iotistica", "rest": account})
        assert config.rest is not None
        rest = Rest(
            "i", config.rest, load_profile(self.vendor.behaviour.profile), self.clock, Roster("i", config, None),
            Presence("i"), Notebook(self.heap), has_mqtt=has_mqtt, writes=True, websocket=websocket,
        )  # fmt: skip
        task = asyncio.create_task(rest.run(self.heard))
        try:
            yield rest
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def until(self, condition: Callable[[], object], step: float = 1.0) -> None:
        async with asyncio.timeout(40):
            while not condition():
                self.clock.advance(step)
                await asyncio.sleep(0.003)


@contextlib.asynccontextmanager
async def at_simulator(profile: str = "actual", **more: Any) -> AsyncIterator[AtSimulator]:
    clock = VirtualClock(START, speed=0)
    async with Iotistica(behaviour=Behaviour(profile=profile), clock=clock, **more) as vendor:
        yield AtSimulator(vendor, clock)


@pytest.mark.parametrize("profile", ["actual", "documented"])
async def test_either_profile_is_read_whole(profile: str) -> None:
    async with at_simulator(profile) as at, at.running(has_mqtt=False, audit=True) as rest:
        assert (await rest.probe()).profile == profile
        channels = {"agent", "state", "detail", "health", "incidents", "readings"}
        await at.until(lambda: all(at.heard.channel(one, at.agent) for one in channels))
        await at.until(lambda: {"AuditEvents", "JobList", "Fleets"} <= at.heard.readings().keys())
        told = at.heard.readings()
        assert {told[name] for name in ("AuditEvents", "JobList", "Fleets", "Incidents", "Agents") if name in told} == {
            "ok"
        }
        await at.until(lambda: any(at.heard.channel("readings", at.agent)), step=5)
        assert {row["unit"] for rows in at.heard.channel("readings", at.agent) for row in rows if "unit" in row}
        assert PASSWORD not in repr(at.heard.items)


async def test_no_request_goes_out_before_retry_after() -> None:
    async with at_simulator() as at, at.running(has_mqtt=False) as rest:
        await at.until(lambda: rest.is_connected)
        at.vendor.faults.spend(300)
        await at.until(lambda: rest.client.limits.figures.throttled_total)
        figures = [budget.figures.paused for budget in rest.client.limits.budgets.values()]
        asked = rest.client.wire.requests
        wait = min(figures)
        assert wait > 10
        ends = at.clock.monotonic() + wait - 1
        await at.until(lambda: at.clock.monotonic() > ends, step=0.5)
        assert rest.client.wire.requests == asked
        await at.until(lambda: rest.client.wire.requests > asked)


async def test_an_anomaly_is_an_incident_and_an_alert_and_can_be_resolved() -> None:
    async with at_simulator() as at, at.running() as rest:
        await at.until(lambda: at.heard.channel("incidents", at.agent))
        device = at.vendor.tenant.agents[0].devices[0]
        at.vendor.faults.anomaly(at.agent, device.name, next(iter(device.points)).name, events=3)
        await at.until(lambda: at.heard.events("incident_opened") and at.heard.events("alert_fired"))
        incident = str(at.heard.events("incident_opened")[0].data["incident"])
        action = Action("i", at.agent, {"incident_resolve": {"incident": incident}}, command="uns:1")
        outcome = asyncio.ensure_future(rest.executor.execute(action, at.clock.monotonic() + 60))
        await at.until(outcome.done)
        assert outcome.result().result is Result.CONFIRMED
        await at.until(lambda: at.heard.events("incident_resolved"))


@pytest.mark.parametrize("profile", ["actual", "documented"])
async def test_a_job_is_taken_told_and_over(profile: str) -> None:
    async with at_simulator(profile) as at, at.running() as rest:
        await at.until(lambda: rest.is_connected)
        payload = {"job_execute": {"name": "x", "document": {"steps": [{"name": "x", "action": "shell"}]}}}
        action = Action("i", at.agent, payload, command="uns:1")
        outcome = asyncio.ensure_future(rest.executor.execute(action, at.clock.monotonic() + 60))
        await at.until(outcome.done)
        assert outcome.result().result is Result.ACCEPTED
        found = asyncio.ensure_future(rest.executor.reconcile(action))
        await at.until(found.done)
        assert found.result().actual == outcome.result().actual
        await at.until(lambda: at.heard.events("job_succeeded"), step=3)


async def test_what_was_missed_is_filled_from_the_simulator() -> None:
    async with at_simulator() as at, at.running() as rest:
        await at.until(lambda: at.clock.monotonic() > 300, step=5)
        now = rest.client.now()
        devices = at.vendor.tenant.agents[0].devices
        rest.fill([Lapse(at.agent, one.endpoint_uuid, "barrel_temp", now - 200_000, now) for one in devices])
        await at.until(lambda: rest.backfilled.rows)
        rows = [row for one in at.heard.channel("readings", at.agent) for row in one]
        assert len({row["device_uuid"] for row in rows}) == 2
        assert len(rows) == len({(row["device_uuid"], row["time"]) for row in rows})


async def test_the_websocket_outlives_its_token_at_the_simulator() -> None:
    async with at_simulator() as at, at.running(websocket=True) as rest:
        assert rest.sockets is not None
        await at.until(lambda: at.vendor.websockets.sessions and at.heard.channel("system", at.agent))
        fewest = 1

        def is_late() -> bool:
            nonlocal fewest
            fewest = min(fewest, sum(len(one.channels) == 4 for one in at.vendor.websockets.sessions))
            return at.clock.monotonic() > 2000

        await at.until(is_late, step=3)
        assert fewest == 1
        assert rest.sockets.opened >= 3
