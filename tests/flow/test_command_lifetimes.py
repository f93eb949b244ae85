"""A command lives once: not before the bridge was there, and not again after a restart.

Clients are node-opcua, mosquitto_pub and mosquitto_sub, sparkplug-payload.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bridge.sim.qitech.panel import Panel
from tests.broker import broker, free_port
from tests.flow.commanded import EXTRUDER, OPERATOR, eventually, mutations, node, people, plc_floor, speed
from tests.flow.doors import ONLINE, SET_POINT, Dcmd, dcmd, shows
from tests.flow.lines import LinePeer
from tests.flow.mosquitto import Listener, publish
from tests.flow.plantfloor import until
from tests.flow.test_loss_and_return import is_good

pytestmark = pytest.mark.peer("node")

STANDBY, SPEED = "extruder-1.Commands.Standby", speed("1")


async def test_a_restart_of_the_bridge_fires_nothing_for_a_plc_that_holds_execute(tmp_path: Path) -> None:
    opcua = free_port()
    async with AsyncExitStack() as stack:
        panel = await stack.enter_async_context(Panel([EXTRUDER], release="3.0", port=free_port()))
        execute = node(f"{STANDBY}.Execute")
        async with plc_floor(tmp_path, panel, opcua=opcua) as floor:
            peer = await stack.enter_async_context(people(floor))
            await peer.write(OPERATOR, (execute, "Boolean", False))
            await peer.ask(OPERATOR, "cycle", [execute, "Boolean", True, 50])
            await shows(peer, STANDBY, State=2, ExecutionCount=1)
            assert mutations(panel) == [{"SetExtruderMode": "Standby"}]
        await peer.ask(OPERATOR, "heard", True)
        async with plc_floor(tmp_path, panel, opcua=opcua):
            heard: list[str] = []

            async def refused() -> bool:
                heard.extend(await peer.ask(OPERATOR, "heard", True))
                return heard.count("BadInvalidState") >= 5

            await eventually(refused)
            assert "Good" not in heard
            assert mutations(panel) == [{"SetExtruderMode": "Standby"}]
            await shows(peer, STANDBY, State=0, ExecutionCount=0)
            await peer.ask(OPERATOR, "halt", True)
            await peer.write(OPERATOR, (execute, "Boolean", False))
            assert await peer.write(OPERATOR, (execute, "Boolean", True)) == [("Good", 0)]
            await shows(peer, STANDBY, State=2, ExecutionCount=1)
            assert mutations(panel) == [{"SetExtruderMode": "Standby"}] * 2


@pytest.mark.peer("mosquitto", "mosquitto_pub", "mosquitto_sub")
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_what_was_published_while_the_bridge_was_down_does_nothing(tmp_path: Path, protocol: str) -> None:
    topic, device = f"acme/essen/a/extruder-1/cmd/{SET_POINT}", "spBv1.0/acme:essen/DCMD/bridge-1/extruder-1"
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        mqtt = await enter(broker())
        panel = await enter(Panel([EXTRUDER], release="3.0", port=free_port()))
        listener = await enter(Listener(mqtt, ONLINE, f"{topic}/result", "spBv1.0/+/DDATA/#", "spBv1.0/+/DBIRTH/#"))
        decoder = await enter(LinePeer("sparkplug_decoder.js"))
        door = Dcmd(mqtt, listener, decoder)
        async with plc_floor(tmp_path, panel, mqtt=mqtt, protocol=protocol):  # a session it wants kept is kept from now
            await listener.next(ONLINE, 0, b'"online":true')
            await publish(mqtt, topic, b'{"value": 4, "id": "first"}')
            assert json.loads((await listener.next(f"{topic}/result", 0)).payload)["result"] == "confirmed"
        before, since = len(mutations(panel)), listener.now
        point = {"name": SET_POINT, "type": "Double"}
        await publish(mqtt, topic, b"5")
        await publish(mqtt, topic, b"6", "-r")
        await publish(mqtt, device, await dcmd({**point, "value": 7.0}))
        await publish(mqtt, device, await dcmd({**point, "value": 8.0}), "-r")
        async with plc_floor(tmp_path, panel, mqtt=mqtt, protocol=protocol) as floor:
            answer = await door.answer("extruder-1", since)
            assert answer["Commands/DCMD/Result"] == "rejected"
            assert "kept this command from the past" in answer["Commands/DCMD/Sentence"]
            if protocol == "3.1.1":  # MQTT 5 spares us what was retained
                said = json.loads((await listener.next(f"{topic}/result", since)).payload)
                assert (said["result"], said["code"]) == ("rejected", "BadInvalidState")
                assert "kept this command from the past" in said["sentence"]
            await listener.next(ONLINE, since, b'"online":true')
            await publish(mqtt, topic, b'{"value": 9, "id": "last"}')
            await listener.next(f"{topic}/result", since, b'"last"')
            assert mutations(panel)[before:] == [{"SetInverterTargetRpm": 9.0}]
            journal = await floor.bridge.journal.newest(10, machine="extruder-1")
            ended = [(one.command.retained, one.outcome and one.outcome.result.value) for one in journal]
            refused = [(True, "rejected")] * (2 if protocol == "3.1.1" else 1)
            assert ended == [(False, "confirmed"), *refused, (False, "confirmed")]


async def test_a_restart_to_defaults_lists_what_was_lost(tmp_path: Path) -> None:
    async with (
        Panel([EXTRUDER], release="2.17", port=free_port()) as panel,
        plc_floor(tmp_path, panel) as floor,
        people(floor) as peer,
    ):
        assert await peer.write(OPERATOR, (node(SPEED), "Double", 30.0)) == [("Good", 0)]
        panel.faults.restart(0.2)
        await until(lambda: is_good(floor, SPEED) and floor.value(SPEED).value == 0.0, 30)

        async def told() -> list[str]:
            events = await floor.bridge.log.newest(50)
            return [event.message for event in events if event.kind == "MachineRestartedToDefaults"]

        (message,) = await eventually(told)
        assert SPEED in message
        assert len(mutations(panel)) == 1
