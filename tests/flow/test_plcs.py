"""PLCs at one bridge: they overtake each other, cycle, wait for a slow panel, are rebooted and vanish.

One bridge with two panels for all tests of this file; clients are node-opcua.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from bridge.sim.qitech.panel import Panel
from tests.broker import free_port
from tests.flow.commanded import (
    ENGINEER,
    EXTRUDER,
    OBSERVER,
    OPERATOR,
    eventually,
    held,
    last_entry,
    mutations,
    node,
    people,
    plc_floor,
    speed,
)
from tests.flow.doors import COMMAND, shows
from tests.flow.opcua_peer import OpcuaPeer
from tests.flow.plantfloor import PlantFloor, until

pytestmark = [pytest.mark.peer("node"), pytest.mark.asyncio(loop_scope="module")]

SPEED, MODE = "extruder-1.Setpoints.ScrewSpeed", "extruder-1.Setpoints.Mode"
COMMANDS = node("extruder-1.Commands")
PID = f"extruder-1.Commands.{COMMAND.replace('/', '.')}"


@dataclass(frozen=True)
class Stage:
    """Two panels of 3.0 behind one bridge, and the people."""

    panel: Panel
    other: Panel
    floor: PlantFloor
    peer: OpcuaPeer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("order")
    async with AsyncExitStack() as stack:
        panels = [await stack.enter_async_context(Panel([EXTRUDER], release="3.0", port=free_port())) for _ in range(2)]
        floor = await stack.enter_async_context(plc_floor(folder, *panels))
        peer = await stack.enter_async_context(people(floor))
        await peer.read(OBSERVER, node(SPEED))
        yield Stage(*panels, floor, peer)
        assert [panel.crashes for panel in panels] == [[], []]


async def test_standby_overtakes_what_waits_and_a_newer_set_point_an_older_one(stage: Stage) -> None:
    panel, peer = stage.panel, stage.peer
    before, sessions = len(mutations(panel)), [f"{OPERATOR}#{number}" for number in range(3)]
    for session in sessions:
        await peer.read(session, node(SPEED))
    items = [(node(SPEED), "Double", 20.0), (node(SPEED), "Double", 30.0), (node(MODE), "String", "Heat")]

    async def lined_up() -> bool:
        journal = await stage.floor.bridge.journal.newest(10, machine="extruder-1")
        return sum(entry.command.target in (SPEED, MODE) for entry in journal) >= 4

    async with held(panel):
        sent = asyncio.create_task(peer.write(OPERATOR, (node(SPEED), "Double", 10.0)))
        await until(lambda: len(mutations(panel)) > before)
        waiting = [asyncio.create_task(peer.write(*one)) for one in zip(sessions, items, strict=True)]
        await eventually(lined_up)
        standby = asyncio.create_task(peer.ask(ENGINEER, "call", [COMMANDS, f"{COMMANDS}.StandbyCall", []]))
        gone = [("BadRequestCancelledByClient", 0x802C_0000)]
        assert await asyncio.gather(*waiting) == [gone] * 3
        assert not sent.done()
    assert await sent == [("Good", 0)]
    answer = await standby
    assert (answer["status"], answer["outputs"][2]) == ("Good", "confirmed")
    assert mutations(panel)[before:] == [{"SetInverterTargetRpm": 10.0}, {"SetExtruderMode": "Standby"}]
    journal = await stage.floor.bridge.journal.newest(5, machine="extruder-1")
    ended = {
        (one.command.target, one.command.arguments.get("value")): one.outcome and one.outcome.result.value
        for one in journal
    }
    assert ended == {
        (SPEED, 10.0): "confirmed",
        (SPEED, 20.0): "superseded",
        (SPEED, 30.0): "superseded",
        (MODE, "Heat"): "superseded",
        ("extruder-1.Commands.Standby", None): "confirmed",
    }


async def test_a_plc_that_cycles_does_not_fight_the_operator_and_is_told(stage: Stage) -> None:
    panel, peer, floor = stage.panel, stage.peer, stage.floor
    before = len(mutations(panel))
    plc = f"{OPERATOR}#plc"
    await peer.ask(plc, "cycle", [node(SPEED), "Float", 30.0, 100])

    async def answered() -> bool:
        return "Good" in await peer.ask(plc, "heard", True)

    await eventually(answered)
    panel.machine(EXTRUDER.slug, EXTRUDER.serial).mutate({"SetInverterTargetRpm": 25.0})
    await until(lambda: floor.value(SPEED).value == pytest.approx(25.0))
    await peer.read(OBSERVER, node(SPEED))
    told = await peer.ask(plc, "heard", True)  # what it was told until the bridge knew
    told_after: list[str] = []

    async def ten_more() -> bool:
        told_after.extend(await peer.ask(plc, "heard", True))
        return len(told_after) >= 10

    await eventually(ten_more)
    assert told_after == ["BadInvalidState"] * len(told_after)
    assert set(told) <= {"Good", "BadInvalidState"}
    assert floor.value(SPEED).value == pytest.approx(25.0)
    assert mutations(panel)[before:] == [{"SetInverterTargetRpm": 30.0}]
    kinds = [(event.kind, event.data.get("after")) for event in await floor.bridge.log.newest(50)]
    assert ("SetpointChangedAtMachine", "25.0") in kinds
    await peer.ask(plc, "halt", True)
    assert await peer.write(plc, (node(SPEED), "Float", 31.0)) == [("Good", 0)]
    assert await peer.write(plc, (node(SPEED), "Float", 30.0)) == [("Good", 0)]
    assert [list(one.values()) for one in mutations(panel)[before:]] == [[30.0], [31.0], [30.0]]


async def test_a_slow_panel_holds_up_nobody_else(stage: Stage) -> None:
    panel, peer = stage.panel, stage.peer
    before, other = len(mutations(panel)), node(speed("2"))
    async with held(panel):
        slow = asyncio.create_task(peer.write(OPERATOR, (node(SPEED), "Double", 12.0)))
        await until(lambda: len(mutations(panel)) > before)
        for who, value in ((OPERATOR, 13.0), (ENGINEER, 14.0)):
            assert await peer.write(who, (other, "Double", value)) == [("Good", 0)]
            assert await peer.read(who, other, node(SPEED)) == [value, pytest.approx(30.0)]
            base = node("extruder-2.Commands")
            assert (await peer.ask(who, "call", [base, f"{base}.StandbyCall", []]))["status"] == "Good"
        assert not slow.done()
    assert await slow == [("Good", 0)]
    entry = await last_entry(stage.floor, "extruder-1", SPEED)
    assert entry.outcome is not None
    assert entry.outcome.result.value == "confirmed"


async def edge(peer: OpcuaPeer, number: int, kp: float) -> list[str]:
    """Write everything a handshake needs in one request, after Execute was False."""
    await peer.write(ENGINEER, (node(f"{PID}.Execute"), "Boolean", False))
    items = {
        "RequestId": ("UInt32", number),
        "Args.Kp": ("Double", kp),
        "Args.Ki": ("Double", 1.0),
        "Args.Kd": ("Double", 0.5),
        "Execute": ("Boolean", True),
    }
    return [
        name for name, _ in await peer.write(ENGINEER, *((node(f"{PID}.{key}"), *one) for key, one in items.items()))
    ]


async def test_a_request_id_used_again_after_a_reboot_never_shows_the_old_result(stage: Stage) -> None:
    before = len(mutations(stage.panel))
    async with people(stage.floor) as plc:
        assert await edge(plc, 1, 3.0) == ["Good"] * 5
        await shows(plc, PID, State=2, AckRequestId=1, ExecutionCount=1)
    async with people(stage.floor) as rebooted:
        assert await edge(rebooted, 1, 4.0) == [*["Good"] * 4, "BadInvalidArgument"]
        refused = await shows(rebooted, PID, State=3, AckRequestId=1)
        assert (refused["Done"], refused["Error"], refused["Results.Result"]) == (False, True, "rejected")
        assert "RequestId 1 was used at" in refused["ErrorText"]
        assert await edge(rebooted, 1, 3.0) == ["Good"] * 5
        again = await shows(rebooted, PID, State=2, AckRequestId=1)
        assert (again["Results.Result"], again["ExecutionCount"]) == ("confirmed", 1)
        sent = [{"SetTemperaturePidSettings": {"kp": 3.0, "ki": 1.0, "kd": 0.5, "zone": "front"}}]
        assert mutations(stage.panel)[before:] == sent
        assert await edge(rebooted, 2, 4.0) == ["Good"] * 5
        await shows(rebooted, PID, State=2, AckRequestId=2, ExecutionCount=2)
    assert len(mutations(stage.panel)) - before == 2


@pytest.mark.parametrize("door", ["write", "method", "handshake"])
async def test_a_client_that_vanishes_cancels_nothing(stage: Stage, door: str) -> None:
    panel, before = stage.panel, len(mutations(stage.panel))
    kp, target = {"write": 0.0, "method": 5.0, "handshake": 6.0}[door], SPEED if door == "write" else PID
    async with people(stage.floor) as leaving:
        async with held(panel):
            doing = asyncio.create_task(_start(leaving, door, kp))
            await until(lambda: len(mutations(panel)) > before)
            await leaving.vanish(ENGINEER)
            (entry, *_) = await stage.floor.bridge.journal.newest(1, machine="extruder-1")
            assert (entry.command.target, entry.outcome) == (target, None)
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
    entry = await last_entry(stage.floor, "extruder-1", target)
    assert entry.outcome is not None
    assert (entry.command.door.value, entry.outcome.result.value) == (f"opcua-{door}", "confirmed")
    assert len(mutations(panel)) - before == 1
    if door == "write":
        assert stage.floor.value(SPEED).value == pytest.approx(7.0)
    else:
        assert panel.machine(EXTRUDER.slug, EXTRUDER.serial).state()["pid_settings"]["temperature"]["front"]["kp"] == kp
    if door == "handshake":
        await shows(stage.peer, PID, State=2, Done=True, AckRequestId=60)


async def _start(peer: OpcuaPeer, door: str, kp: float) -> Any:
    if door == "write":
        return await peer.write(ENGINEER, (node(SPEED), "Double", 7.0))
    if door == "handshake":
        return await edge(peer, 60, kp)
    given = [["Double", kp], ["Double", 1.0], ["Double", 0.5]]
    return await peer.ask(ENGINEER, "call", [node(PID).rpartition(".")[0], f"{node(PID)}Call", given])
