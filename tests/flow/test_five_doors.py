"""The same truth by every door: what became of a command, in the caller's own protocol, at the machine, in the journal.

One bridge for all tests of this file, with a panel of each generation, one whose hazards nobody allowed, and one that
takes no commands. Every client is somebody else's: node-opcua, mosquitto_pub and mosquitto_sub, sparkplug-payload.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from bridge.sim.qitech.panel import Panel
from tests.broker import Broker, broker, free_port
from tests.flow.commanded import (
    ENGINEER,
    EXTRUDER,
    OBSERVER,
    OPERATOR,
    WATER,
    eventually,
    faces,
    last_entry,
    mutations,
    node,
    open_source,
    people,
    site,
    speed,
)
from tests.flow.doors import (
    COMMAND,
    ONLINE,
    SET_POINT,
    UNS,
    Dcmd,
    Door,
    Handshake,
    Method,
    Response,
    Topic,
    Truth,
    Write,
)
from tests.flow.lines import LinePeer
from tests.flow.mosquitto import Listener, publish
from tests.flow.opcua_peer import OpcuaPeer
from tests.flow.plantfloor import PlantFloor, running_bridge, until
from tests.flow.test_loss_and_return import is_good

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.peer("mosquitto", "mosquitto_pub", "mosquitto_sub", "node"),
    pytest.mark.asyncio(loop_scope="module"),
]

RELEASES = {"2x": "2.17", "3x": "3.0"}
DOORS = ("write", "method", "handshake", "dcmd", "uns", "response")
SET_POINT_DOORS = ("write", "dcmd", "uns", "response")
SIDES = {"2x": ("Front", "front"), "3x": ("Left", "left")}
"""Names of the first water circuit: in set points, and in the simulated machine."""


@dataclass(frozen=True)
class Stage:
    """Everything there is."""

    panels: dict[str, Panel]
    floor: PlantFloor
    peer: OpcuaPeer
    doors: dict[str, Door]
    broker: Broker
    listener: Listener
    numbers: Iterator[int]

    def value(self) -> float:
        """A value nobody has asked for before, which a Float holds exactly."""
        return next(self.numbers) / 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder, opcua = tmp_path_factory.mktemp("doors"), free_port()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        mqtt = await enter(broker())
        panels = {
            line: await enter(Panel([EXTRUDER, WATER], release=release, port=free_port()))
            for line, release in RELEASES.items()
        }
        for line in ("tame", "shut"):
            panels[line] = await enter(Panel([EXTRUDER], release="3.0", port=free_port()))
        sources = {line: open_source() for line in RELEASES} | {"tame": open_source("[]"), "shut": "writes: false"}
        rest = site(*((line, panel, sources[line]) for line, panel in panels.items()))
        listener = await enter(Listener(mqtt, ONLINE, "acme/essen/a/+/cmd/#", "answers/#", "spBv1.0/+/DDATA/#"))
        decoder = await enter(LinePeer("sparkplug_decoder.js"))
        floor = await enter(running_bridge(folder, rest, mqtt, faces=faces(opcua, mqtt.port), opcua=opcua))
        peer = await enter(people(floor))
        await listener.next(ONLINE, 0, b'"online":true')
        await until(lambda: all(is_good(floor, speed(line)) for line in panels))
        await until(lambda: all(is_good(floor, temperature(line)) for line in RELEASES))
        doors = {
            "write": Write(peer),
            "method": Method(peer),
            "handshake": Handshake(peer),
            "dcmd": Dcmd(mqtt, listener, decoder),
            "uns": Topic(mqtt, listener),
            "response": Response(mqtt, listener),
        }
        yield Stage(panels, floor, peer, doors, mqtt, listener, itertools.count(8))
        assert [panel.crashes for panel in panels.values()] == [[]] * len(panels)
        assert [panel.forbidden_requests for panel in panels.values()] == [0] * len(panels)


def temperature(line: str) -> str:
    return f"water-{line}.Setpoints.Temperature.{SIDES[line][0]}"


async def proof(stage: Stage, line: str, door: str, truth: Truth, sent: int, ask: Any = None) -> None:
    """Ask once; then the answer, Commands/Last, the journal and the panel must all tell the same."""
    way, panel, machine = stage.doors[door], stage.panels[line], f"extruder-{line}"
    before, value = len(mutations(panel)), stage.value()
    answer = await (ask or way.ask)(machine, value)
    way.check(answer, truth)
    assert len(mutations(panel)) - before == sent, (door, line)
    await told_everywhere(stage, way, machine, way.target(machine), truth)


async def told_everywhere(stage: Stage, way: Door, machine: str, target: str, truth: Truth) -> None:
    entry = await last_entry(stage.floor, machine, target)
    assert entry.outcome is not None
    assert (entry.command.door.value, entry.command.requester) == (way.kind, way.requester)
    assert (entry.outcome.result.value, entry.outcome.status.name) == (truth.result, truth.code)
    assert truth.words in entry.outcome.sentence
    names = ("Target", "Outcome", "By", "Sentence")
    wanted = [target, truth.result, f"({way.kind})"]

    async def shown() -> bool:
        nodes = (f"{node(machine)}.Commands.Last.{name}" for name in names)
        seen = await stage.peer.read(OBSERVER, *nodes)
        return seen[:2] == wanted[:2] and wanted[2] in seen[2] and truth.words in seen[3]

    await eventually(shown)


CONFIRMED = Truth("confirmed", "Good", "", 200)
UNKNOWN = Truth("unknown", "BadTimeout", "outcome unknown", 200)
REFUSED = Truth("refused", "BadNotFound", "No Machine found with id:", 500)
UNREACHED = Truth("unreached", "BadNotConnected", "")
CLAMPED = Truth("changed", "GoodClamped", "22", 200, 22.0)
OUT_OF_RANGE = Truth("rejected", "BadOutOfRange", "must be from")
NO_HAZARD = Truth("rejected", "BadUserAccessDenied", "is not allowed: name it in allow_hazards")


@contextmanager
def fault(stage: Stage, name: str) -> Iterator[None]:
    """A fault of both extruders, for as long as this lasts."""
    for line in RELEASES:
        getattr(stage.panels[line].faults, name)(EXTRUDER.slug, EXTRUDER.serial, True)
    try:
        yield
    finally:
        for line in RELEASES:
            getattr(stage.panels[line].faults, name)(EXTRUDER.slug, EXTRUDER.serial, False)


@pytest.mark.parametrize("door", DOORS)
async def test_confirmed_is_good(stage: Stage, door: str) -> None:
    await asyncio.gather(*(proof(stage, line, door, CONFIRMED, 1) for line in RELEASES))


@pytest.mark.parametrize("door", DOORS)
async def test_a_mutation_the_panel_ignores_is_unknown_though_it_said_200(stage: Stage, door: str) -> None:
    with fault(stage, "ignore_mutations"):
        truths = {line: replace(UNKNOWN, actual=stage.floor.value(speed(line)).value) for line in RELEASES}
        await asyncio.gather(*(proof(stage, line, door, truths[line], 1) for line in RELEASES))


@pytest.mark.parametrize("door", DOORS)
async def test_a_refusal_comes_in_the_vendors_own_words(stage: Stage, door: str) -> None:
    with fault(stage, "forget"):
        await asyncio.gather(*(proof(stage, line, door, REFUSED, 1) for line in RELEASES))


@pytest.mark.parametrize("door", SET_POINT_DOORS)
async def test_what_the_panel_clamps_is_changed_and_says_to_what(stage: Stage, door: str) -> None:
    """The panel raises a water temperature that is below the ambient one (22 °C) to it."""
    await asyncio.gather(*(_clamped(stage, line, stage.doors[door]) for line in RELEASES))


async def _clamped(stage: Stage, line: str, way: Door) -> None:
    panel, machine, (side, _) = stage.panels[line], f"water-{line}", SIDES[line]
    panel.machine(WATER.slug, WATER.serial).mutate({f"Set{side}Temperature": 40.0})
    await until(lambda: stage.floor.value(temperature(line)).value == pytest.approx(40.0))
    before = len(mutations(panel))
    answer = await way.ask(machine, 10.0 + stage.value() / 100, f"Setpoints/Temperature/{side}")
    way.check(answer, replace(CLAMPED, actual=pytest.approx(22.0)))
    assert len(mutations(panel)) - before == 1
    assert stage.floor.value(temperature(line)).value == pytest.approx(22.0)
    await told_everywhere(stage, way, machine, temperature(line), CLAMPED)


@pytest.mark.parametrize("door", DOORS)
async def test_what_is_out_of_range_is_not_sent(stage: Stage, door: str) -> None:
    way = stage.doors[door]
    if door == "handshake":
        await _refused_argument(stage, way)
        return
    await proof(stage, "3x", door, OUT_OF_RANGE, 0, lambda machine, value: way.ask(machine, 100.5 + value))


async def _refused_argument(stage: Stage, way: Door) -> None:
    """A handshake's argument is refused where it is written, so that Execute has nothing to start."""
    before = len(mutations(stage.panels["3x"]))
    answer = await way.ask("extruder-3x", 100.5)
    assert answer["written"] == ["BadOutOfRange", "Good", "Good", "Good", "BadInvalidArgument"]
    way.check(answer, Truth("rejected", "BadInvalidArgument", "Args/Kp"))
    assert len(mutations(stage.panels["3x"])) == before


@pytest.mark.parametrize("door", DOORS)
async def test_a_hazard_that_nobody_allowed_is_not_sent(stage: Stage, door: str) -> None:
    await proof(stage, "tame", door, NO_HAZARD, 0)


async def test_safe_commands_need_no_hazard_to_be_allowed(stage: Stage) -> None:
    before, base = len(mutations(stage.panels["tame"])), node("extruder-tame.Commands")
    answer = await stage.peer.ask(OPERATOR, "call", [base, f"{base}.StandbyCall", []])
    assert (answer["status"], answer["outputs"]) == ("Good", ["", 200, "confirmed"])
    assert mutations(stage.panels["tame"])[before:] == [{"SetExtruderMode": "Standby"}]


PID = {"Kp": 2.0, "Ki": 1.0, "Kd": 0.5}


async def test_no_role_no_effect(stage: Stage) -> None:
    """What belongs to an Engineer, by doors and people that have less."""
    before, peer, machine = len(mutations(stage.panels["3x"])), stage.peer, "extruder-3x"
    target = node(f"{machine}.Commands.{COMMAND.replace('/', '.')}")
    given = [["Double", one] for one in PID.values()]
    for who in (OBSERVER, OPERATOR):
        answer = await peer.ask(who, "call", [target.rpartition(".")[0], f"{target}Call", given])
        assert answer["status"] == "BadUserAccessDenied"
        written = await peer.write(who, (f"{target}.Args.Kp", "Double", 2.0), (f"{target}.Execute", "Boolean", True))
        assert [name for name, _ in written] == ["BadUserAccessDenied"] * 2
    written = await peer.write(OBSERVER, (node(speed("3x")), "Double", 2.0))
    assert [name for name, _ in written] == ["BadUserAccessDenied"]
    await _mqtt_has_the_role_of_its_door(stage, machine)
    assert len(mutations(stage.panels["3x"])) == before


async def _mqtt_has_the_role_of_its_door(stage: Stage, machine: str) -> None:
    topic, since, way = f"{UNS}/{machine}/cmd/{COMMAND}", stage.listener.now, stage.doors["dcmd"]
    await publish(stage.broker, topic, json.dumps({"args": PID}).encode())
    answer = json.loads((await stage.listener.next(f"{topic}/result", since)).payload)
    assert (answer["result"], answer["code"]) == ("rejected", "BadUserAccessDenied")
    assert "wants the role Engineer" in answer["sentence"]
    assert isinstance(way, Dcmd)
    base = f"Commands/{COMMAND}"
    arguments = [{"name": f"{base}/Args/{name}", "type": "Double", "value": value} for name, value in PID.items()]
    await way.send(machine, *arguments, {"name": f"{base}/Execute", "type": "Boolean", "value": True})
    told = await way.answer(machine, since, COMMAND)
    assert told[f"{base}/Result"] == "rejected"
    assert "wants the role Engineer" in told[f"{base}/Sentence"]


async def test_who_may_do_what_is_shown_to_each(stage: Stage) -> None:
    command = node(f"extruder-3x.Commands.{COMMAND.replace('/', '.')}")
    standby, measured = node("extruder-3x.Commands.Standby"), node("extruder-3x.Monitoring.Pressure")
    levels = [node(speed("3x")), f"{command}.Execute", f"{command}.Args.Kp", f"{standby}.Execute", measured]
    methods = [f"{command}Call", f"{standby}Call"]
    wanted = [[one, "UserAccessLevel"] for one in levels] + [[one, "UserExecutable"] for one in methods]
    read, write = 1, 3  # bits of AccessLevel: CurrentRead, CurrentWrite (OPC UA Part 3, 8.57)
    seen = {who: await stage.peer.ask(who, "attributes", wanted) for who in (OBSERVER, OPERATOR, ENGINEER)}
    assert seen == {
        OBSERVER: [read] * 5 + [False, False],
        OPERATOR: [write, read, read, write, read, False, True],
        ENGINEER: [write] * 4 + [read, True, True],
    }
    everybody = await stage.peer.ask(OBSERVER, "attributes", [[one, "AccessLevel"] for one in levels])
    assert everybody == [write] * 4 + [read]


async def test_a_machine_that_takes_no_commands_has_no_door(stage: Stage) -> None:
    machine, peer, panel = "extruder-shut", stage.peer, stage.panels["shut"]
    written = await peer.write(ENGINEER, (node(speed("shut")), "Double", 2.0))
    assert [name for name, _ in written] == ["BadNotWritable"]
    base = node(f"{machine}.Commands")
    answer = await peer.ask(ENGINEER, "call", [base, f"{base}.StandbyCall", []])
    assert answer["status"] in ("BadNodeIdUnknown", "BadMethodInvalid")
    written = await peer.write(ENGINEER, (f"{base}.Standby.Execute", "Boolean", True))
    assert [name for name, _ in written] == ["BadNodeIdUnknown"]
    shut = stage.doors["dcmd"]
    assert isinstance(shut, Dcmd)
    await shut.send(machine, {"name": SET_POINT, "type": "Double", "value": 2.0})
    await publish(stage.broker, f"acme/essen/a/{machine}/cmd/{SET_POINT}", b"2")
    await proof(stage, "3x", "dcmd", CONFIRMED, 1)  # the doors are open, and have taken what came before
    await proof(stage, "3x", "uns", CONFIRMED, 1)
    assert mutations(panel) == []
    assert not [one for one in stage.listener.heard if machine in one.topic and one.topic.endswith("/result")]


async def test_while_the_panel_is_down_every_door_says_that_nothing_was_sent(stage: Stage) -> None:
    """Last: the panels come back with their defaults."""
    for line in RELEASES:
        stage.panels[line].faults.down()
    await until(lambda: not any(is_good(stage.floor, speed(line)) for line in RELEASES))
    for door in DOORS:
        await asyncio.gather(*(proof(stage, line, door, UNREACHED, 0) for line in RELEASES))


async def test_closed_doors_hear_nothing(tmp_path: Path) -> None:
    opcua = free_port()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        mqtt = await enter(broker())
        panel = await enter(Panel([EXTRUDER], release="3.0", port=free_port()))
        listener = await enter(Listener(mqtt, "acme/#", "spBv1.0/+/DDATA/#"))
        rest = site(("1", panel, open_source()))
        text = faces(opcua, mqtt.port, doors=False)
        floor = await enter(running_bridge(tmp_path, rest, mqtt, faces=text, opcua=opcua))
        peer = await enter(people(floor))
        decoder = await enter(LinePeer("sparkplug_decoder.js"))
        await until(lambda: is_good(floor, speed("1")))
        shut = Dcmd(mqtt, listener, decoder)
        await publish(mqtt, f"acme/essen/a/extruder-1/cmd/{SET_POINT}", b"2")
        since = listener.now
        await shut.send("extruder-1", {"name": SET_POINT, "type": "Double", "value": 2.0})
        assert await peer.write(OPERATOR, (node(speed("1")), "Double", 3.0)) == [("Good", 0)]
        await listener.next("acme/essen/a/extruder-1/Commands/Last/Target", since, b"ScrewSpeed")
        assert mutations(panel) == [{"SetInverterTargetRpm": 3.0}]
        assert not [one for one in listener.heard if one.topic.endswith("/result")]
        assert [entry.command.door.value for entry in await floor.bridge.journal.newest(10)] == ["opcua-write"]
