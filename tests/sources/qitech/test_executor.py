"""Commands against a panel that is as unkind as the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from bridge.model.action import Action, Expectation
from bridge.model.command import Outcome, Result
from bridge.model.observation import Condition, Inventory, Observation
from bridge.model.status import StatusCode
from bridge.model.value import Value
from bridge.ports import Executor
from bridge.sim.qitech.machines.extruder import Extruder
from bridge.sim.qitech.panel import Panel, SimulatedMachine
from bridge.sources.qitech.client import MUTATE
from bridge.sources.qitech.source import QitechSource
from tests.sources.qitech.listener import HurriedClock, Listener, outcome, running, until
from tests.sources.qitech.test_against_panel import panel_of, source_of

EXTRUDER, WINDER, AQUAPATH, UNROUTED = "1/4/57922", "1/2/57923", "1/9/57924", "1/22/57925"
MACHINES = (
    SimulatedMachine("extruder_v1", 57922),
    SimulatedMachine("winder_v1", 57923),
    SimulatedMachine("aquapath_v1", 57924),
    SimulatedMachine("extruder_v2", 57925),
)
EXTRUDER_SLUG = ("extruder_v1", 57922)
BOTH = pytest.mark.parametrize("release", ["2.17", "3.0"])
RPM = "state.screw_state.target_rpm"


def action(payload: Any, path: str = "", value: Value = None, machine: str = EXTRUDER) -> Action:
    confirm = ((Expectation(path, value),),) if path else ()
    return Action("panel", machine, payload, confirm)


def rpm(value: float, machine: str = EXTRUDER) -> Action:
    return action({"SetInverterTargetRpm": value}, RPM, value, machine)


@dataclass
class Desk:
    """A panel, its source at work, and what it publishes."""

    panel: Panel
    source: QitechSource
    listener: Listener
    task: asyncio.Task[None]

    @property
    def executor(self) -> Executor:
        return self.source.executor

    @property
    def posts(self) -> list[Any]:
        """The mutations that reached the panel; None for one that Caddy turned away."""
        asked = [request for request in self.panel.journal if request.method == "POST"]
        assert {request.path for request in asked} <= {MUTATE}
        return [orjson.loads(request.body)["data"] if request.body else None for request in asked]

    def now(self) -> float:
        return self.source._clock.monotonic()

    async def execute(self, wanted: Action, seconds: float = 300.0) -> Outcome:
        """Execute, which must send exactly once."""
        before = len(self.posts)
        result = await self.executor.execute(wanted, self.now() + seconds)
        assert self.posts[before:] == [None if result.vendor_code == 401 else wanted.payload]
        return result

    async def refrain(self, wanted: Action, seconds: float = 6000.0) -> Outcome:
        """Execute, which must send nothing, and say so without waiting for its deadline."""
        before = len(self.posts)
        async with asyncio.timeout(30):
            result = await self.executor.execute(wanted, self.now() + seconds)
        assert len(self.posts) == before
        return result


@asynccontextmanager
async def desk_at(
    release: str, *, speed: float = 10.0, username: str | None = None, **keys: Any
) -> AsyncIterator[Desk]:
    async with panel_of(release, MACHINES, username=username) as panel:
        source, listener = source_of(panel, speed=speed, writes=True, **keys), Listener()
        async with running(source, listener) as task:
            for key in (EXTRUDER, WINDER, AQUAPATH, UNROUTED):
                await listener.values_of(key)
            yield Desk(panel, source, listener, task)


def errors(listener: Listener) -> list[str | None]:
    """What the panel's lists said is wrong with machines."""
    return [machine.error for one in listener.all(Inventory) for machine in one.appeared]


def extruder(panel: Panel) -> Extruder:
    machine = panel.machine(*EXTRUDER_SLUG)
    assert isinstance(machine, Extruder)
    return machine


def target(panel: Panel) -> float:
    return float(extruder(panel).state()["screw_state"]["target_rpm"])


def said(result: Outcome) -> tuple[Result, StatusCode]:
    return result.result, result.status


TAKEN = (Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously)
UNREACHED = (Result.UNREACHED, StatusCode.BadNotConnected)
UNKNOWN = (Result.UNKNOWN, StatusCode.BadTimeout)


# -- what a panel does with a mutation


@BOTH
@pytest.mark.parametrize("machine", [EXTRUDER, UNROUTED])
async def test_good_mutation_is_accepted_and_then_reads_as_asked(release: str, machine: str) -> None:
    async with desk_at(release) as desk:
        assert said(await desk.execute(rpm(12.3, machine))) == TAKEN
        assert said(await desk.executor.reconcile(rpm(12.3, machine))) == (Result.CONFIRMED, StatusCode.Good)
        assert desk.listener.all(Condition) == []


@BOTH
async def test_state_after_a_mutation_comes_by_itself_or_by_a_refresh(release: str) -> None:
    async with desk_at(release) as desk:
        before, asked = len(desk.listener.all(Observation)), desk.now()
        await desk.execute(rpm(30))
        await desk.executor.refresh(EXTRUDER)
        if release == "3.0":
            await desk.listener.next(Observation, machine=EXTRUDER, channel="state")
        newer = desk.listener.all(Observation)[before:]
        state = [one for one in newer if (one.machine, one.channel) == (EXTRUDER, "state")][-1]
        assert state.payload["screw_state"]["target_rpm"] == pytest.approx(30)
        assert state.requested_at is None if release == "3.0" else (state.requested_at or 0) >= asked


@BOTH
async def test_ignored_mutation_is_accepted_and_reads_otherwise(release: str) -> None:
    async with desk_at(release) as desk:
        desk.panel.faults.ignore_mutations(*EXTRUDER_SLUG)
        assert said(await desk.execute(rpm(12.3))) == TAKEN
        found = await desk.executor.reconcile(rpm(12.3))
        assert (found.result, found.actual) == (Result.CHANGED, 0.0)


@pytest.mark.parametrize(("release", "side"), [("2.17", "front"), ("3.0", "left")])
async def test_clamped_mutation_reads_what_the_panel_made_of_it(release: str, side: str) -> None:
    async with desk_at(release) as desk:
        path = f"state.temperature_states.{side}.target_temperature"
        wanted = action({f"Set{side.capitalize()}Temperature": 95.0}, path, 95.0, AQUAPATH)
        assert said(await desk.execute(wanted)) == TAKEN
        found = await desk.executor.reconcile(wanted)
        assert said(found) == (Result.CHANGED, StatusCode.GoodClamped)
        assert found.actual == pytest.approx(80)


@BOTH
async def test_refused_mode_reads_as_before(release: str) -> None:
    async with desk_at(release) as desk:
        wanted = action({"SetMode": "Wind"}, "state.mode_state.mode", "Wind", WINDER)
        assert said(await desk.execute(wanted)) == TAKEN
        found = await desk.executor.reconcile(wanted)
        assert (found.result, found.actual) == (Result.CHANGED, "Standby")
        assert "Standby" in found.sentence


@BOTH
async def test_machine_with_an_error_is_refused_in_the_panels_words(release: str) -> None:
    async with desk_at(release) as desk:
        desk.panel.faults.machine_error(*EXTRUDER_SLUG, "No inverter")
        await desk.listener.until(lambda: "No inverter" in errors(desk.listener))
        refused = await desk.refrain(rpm(5))
        assert said(refused) == (Result.REFUSED, StatusCode.BadInvalidState)
        assert refused.vendor_text == "No inverter"
        assert said(await desk.execute(rpm(5, UNROUTED))) == TAKEN


async def test_machine_that_vanished_a_moment_ago_is_refused_by_the_panel() -> None:
    async with desk_at("2.17", speed=1.0) as desk:
        desk.panel.faults.unplug(*EXTRUDER_SLUG)
        refused = await desk.execute(rpm(5))
        assert said(refused) == (Result.REFUSED, StatusCode.BadNotFound)
        assert refused.vendor_code == 500
        assert "server::rest" in refused.vendor_text


@BOTH
async def test_machine_that_is_not_listed_is_unreached(release: str) -> None:
    async with desk_at(release) as desk:
        desk.panel.faults.unplug(*EXTRUDER_SLUG)
        await desk.listener.until(
            lambda: any("does not list" in one.reason for one in desk.listener.all(Condition, machine=EXTRUDER))
        )
        assert said(await desk.refrain(rpm(5))) == UNREACHED
        assert said(await desk.executor.reconcile(rpm(5))) == UNKNOWN
        desk.panel.faults.plug(*EXTRUDER_SLUG)
        await desk.listener.next(Observation, machine=EXTRUDER, channel="state")
        assert said(await desk.execute(rpm(5))) == TAKEN


# -- what happens on the way


@BOTH
@pytest.mark.parametrize(("username", "code"), [(None, 0), ("machine", 502)])
async def test_panel_that_is_down_is_unreached(release: str, username: str | None, code: int) -> None:
    """First before the loss is noticed: refused, or 502 by Caddy; then at once, without asking."""
    async with desk_at(release, username=username) as desk:
        desk.panel.faults.down()
        before = len(desk.posts)
        first = await desk.executor.execute(rpm(5), desk.now() + 30)
        assert (said(first), first.vendor_code) == (UNREACHED, code)
        assert len(desk.posts) == before + (username is not None)
        await outcome(desk.task)
        assert said(await desk.refrain(rpm(5))) == UNREACHED
        assert said(await desk.executor.reconcile(rpm(5))) == UNKNOWN
        await desk.executor.refresh(EXTRUDER)


@BOTH
async def test_wrong_password_is_refused(release: str) -> None:
    async with desk_at(release, username="machine", speed=1.0, poll_period="10s") as desk:
        desk.panel.faults.rotate_password()
        refused = await desk.execute(rpm(5))
        assert said(refused) == (Result.REFUSED, StatusCode.BadConfigurationError)
        assert refused.vendor_code == 401


async def test_mutation_for_a_stalled_queue_is_unknown_and_never_lands() -> None:
    async with desk_at("3.0") as desk:
        desk.panel.faults.stall_queue(*EXTRUDER_SLUG)
        assert said(await desk.execute(rpm(1))) == TAKEN
        assert said(await desk.execute(rpm(2))) == TAKEN
        began = desk.now()
        assert said(await desk.execute(rpm(3))) == UNKNOWN
        assert 5 <= desk.now() - began < 9
        desk.panel.faults.stall_queue(*EXTRUDER_SLUG, False)
        await until(lambda: target(desk.panel) == pytest.approx(2))
        assert said(await desk.execute(rpm(4))) == TAKEN
        await until(lambda: target(desk.panel) == pytest.approx(4))


async def test_deadline_that_comes_earlier_ends_the_wait() -> None:
    async with desk_at("3.0") as desk:
        desk.panel.faults.slow(5)
        began = desk.now()
        assert said(await desk.execute(rpm(1), seconds=2.0)) == UNKNOWN
        assert desk.now() - began < 4


@pytest.mark.parametrize("username", [None, "machine"])
async def test_panel_that_dies_with_a_mutation_in_hand_is_unknown(username: str | None) -> None:
    async with desk_at("3.0", username=username) as desk:
        desk.panel.faults.stall_queue(*EXTRUDER_SLUG)
        for value in (1, 2):
            await desk.execute(rpm(value))
        third = asyncio.create_task(desk.execute(rpm(3)))
        await until(lambda: len(desk.posts) == 3)
        began = desk.now()
        await until(lambda: desk.now() - began > 1.5)
        desk.panel.faults.down()
        assert said(await third) == UNKNOWN


@BOTH
async def test_cancelled_caller_leaves_the_mutation_on_its_way(release: str) -> None:
    async with desk_at(release, speed=1.0) as desk:
        desk.panel.faults.slow(0.3)
        caller = asyncio.create_task(desk.executor.execute(rpm(7), desk.now() + 30))
        await until(lambda: len(desk.posts) == 1)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert target(desk.panel) == 0
        await until(lambda: target(desk.panel) == pytest.approx(7))
        assert len(desk.posts) == 1


@BOTH
async def test_only_one_mutation_of_a_machine_is_in_flight(release: str) -> None:
    async with desk_at(release, speed=1.0) as desk:
        desk.panel.faults.slow(0.3)
        callers = [asyncio.create_task(desk.executor.execute(rpm(value), desk.now() + 30)) for value in (1, 2)]
        other = asyncio.create_task(desk.executor.execute(rpm(3, UNROUTED), desk.now() + 30))
        assert [said(await caller) for caller in (*callers, other)] == [TAKEN, TAKEN, TAKEN]
        when = {
            orjson.loads(one.body)["data"]["SetInverterTargetRpm"]: one.when
            for one in desk.panel.journal
            if one.method == "POST"
        }
        assert abs((when[3] - when[1]).total_seconds()) < 0.25
        assert (when[2] - when[1]).total_seconds() >= 0.25


async def test_there_is_no_time_left() -> None:
    async with desk_at("2.17") as desk:
        assert said(await desk.refrain(rpm(5), seconds=0.0)) == (Result.EXPIRED, StatusCode.BadTimeout)


async def test_commands_are_off_until_they_are_allowed() -> None:
    async with desk_at("2.17") as desk:
        silent = source_of(desk.panel)
        refused = await silent.executor.execute(rpm(5), desk.now() + 30)
        assert said(refused) == (Result.REJECTED, StatusCode.BadNotWritable)
        assert desk.posts == []


async def test_executor_answers_before_its_source_ever_ran() -> None:
    async with panel_of("2.17", MACHINES) as panel:
        executor: Executor = source_of(panel, writes=True).executor
        assert executor.validate(rpm(5)) is None
        assert said(await executor.execute(rpm(5), float("inf"))) == UNREACHED
        assert said(await executor.reconcile(rpm(5))) == UNKNOWN
        await executor.refresh(EXTRUDER)


# -- reading back


@BOTH
async def test_reading_back_silences_nobody(release: str) -> None:
    async with desk_at(release) as desk:
        for _ in range(3):
            assert (await desk.executor.reconcile(rpm(0, UNROUTED))).result is Result.CONFIRMED
        for _ in range(3):
            await desk.listener.next(Observation, machine=UNROUTED, channel="live_values")
        assert desk.listener.all(Condition) == []
        assert desk.posts == []


async def test_machine_that_tells_nothing_is_unknown() -> None:
    async with desk_at("3.0") as desk:
        desk.panel.faults.drop_states(100)
        assert said(await desk.executor.reconcile(rpm(0))) == UNKNOWN


async def test_alternatives_and_live_values_are_read_back() -> None:
    async with desk_at("3.0") as desk:
        never, meters = Expectation("state.mode_state.mode", "Hold"), Expectation("live_values.spool_progress", 0)
        wanted = Action("panel", WINDER, "ResetSpoolProgress", ((never,), (meters,)), absolute=False)
        assert said(await desk.execute(wanted)) == TAKEN
        found = await desk.executor.reconcile(wanted)
        assert found.result is Result.ACCEPTED  # it is not absolute: so it may have been before


async def test_command_without_a_readback_stays_unknown() -> None:
    async with desk_at("2.17") as desk:
        assert said(await desk.executor.reconcile(action({"ResetInverter": True}))) == UNKNOWN


async def test_lost_session_ends_a_reconciliation() -> None:
    async with desk_at("3.0") as desk:
        desk.panel.faults.drop_states(100)
        waiting = asyncio.create_task(desk.executor.reconcile(rpm(0)))
        await asyncio.sleep(0.02)
        assert isinstance(desk.source._clock, HurriedClock)
        desk.source._clock.speed = 1e-6  # whatever it would still wait for, it would wait for long
        desk.task.cancel()
        async with asyncio.timeout(30):
            assert said(await waiting) == UNKNOWN
