"""The way down, whole: a client's words in, the simulated panel's readback out, by several doors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from bridge.model.command import Command, Door, Role
from bridge.northbound.opcua import certificates
from bridge.northbound.opcua.passwords import hash_password
from bridge.sim.qitech.panel import Panel
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import Link, Message
from tests.broker import Broker, broker, free_port
from tests.flow.plantfloor import PlantFloor, running_bridge, until
from tests.flow.test_loss_and_return import EXTRUDER, EXTRUDER_TAGS, is_good

SPEED = "extruder-1.Setpoints.ScrewSpeed"
HAZARDS = "[heat, motion, power, protection, loses_data, loses_tension]"
PASSWORD = "correct horse"

Ask = Callable[[Any], Awaitable[tuple[bool, str]]]
"""Asks for a screw speed by one door; (taken, what the door said)."""


def site(port: int) -> str:
    return (
        "sources:\n"
        f'  panel-1: {{type: qitech, url: "http://127.0.0.1:{port}", poll_period: 200ms, writes: true, '
        f"allow_hazards: {HAZARDS}}}\n"
        "machines:\n"
        "  - {id: extruder-1, area: a, source: panel-1, machine: {slug: extruder_v1, serial: 57922}}\n"
    )


FACES = """
northbound:
  opcua:
    port: {opcua}
    trust: any_with_login
    hosts: [127.0.0.1]
    users: [{{name: anna, role: Operator, password_hash: "{hashed}"}}]
  sparkplug: {{publish_interval: 100ms, broker: {{host: 127.0.0.1, port: {mqtt}}}}}
  uns: {{publish_interval: 100ms, commands: {{enabled: true}}, broker: {{host: 127.0.0.1, port: {mqtt}}}}}
  status: {{port: 0}}
"""


async def by_uns(floor: PlantFloor, mqtt: Broker, folder: Path, stack: AsyncExitStack) -> Ask:
    link = await stack.enter_async_context(Link.connect(mqtt.config, "commander"))
    topic = "acme/essen/a/extruder-1/cmd/Setpoints/ScrewSpeed"
    answers = link.messages()
    await link.subscribe("acme/essen/_bridge/bridge-1/online", 1)
    while not json.loads((await anext(answers)).payload)["online"]:
        pass
    link.unsubscribe("acme/essen/_bridge/bridge-1/online")
    await link.subscribe(f"{topic}/result", 1)

    async def ask(value: Any) -> tuple[bool, str]:
        link.publish(Message(topic, json.dumps({"value": value}).encode(), qos=1))
        answer = json.loads((await anext(answers)).payload)
        return answer["status"] == "ok", f"{answer['result']} {answer['sentence']}"

    return ask


async def by_opcua(floor: PlantFloor, mqtt: Broker, folder: Path, stack: AsyncExitStack) -> Ask:
    certificates.load_or_make(folder / "client", "urn:test:client", ("localhost",), SystemClock().now())
    own = folder / "client" / "own"
    client = Client(floor.opcua_url, timeout=15)
    client.application_uri = "urn:test:client"
    client.set_user("anna")
    client.set_password(PASSWORD)
    await client.set_security(
        SecurityPolicyBasic256Sha256,
        certificate=str(own / "certificate.der"),
        private_key=str(own / "key.pem"),
        mode=ua.MessageSecurityMode.SignAndEncrypt,
    )
    await stack.enter_async_context(client)
    node = client.get_node(f"ns=2;s={SPEED}")

    async def ask(value: Any) -> tuple[bool, str]:
        variant = ua.Variant(value, ua.VariantType.Float if isinstance(value, float) else None)
        try:
            await node.write_value(ua.DataValue(variant))
        except ua.UaStatusCodeError as error:
            return False, f"{error} {type(error).__name__}"
        return True, "Good"

    return ask


async def by_admin(floor: PlantFloor, mqtt: Broker, folder: Path, stack: AsyncExitStack) -> Ask:
    numbers = iter(range(1000))

    async def ask(value: Any) -> tuple[bool, str]:
        now = SystemClock().now()
        command = Command(
            f"test:{next(numbers)}",
            SPEED,
            {"value": value},
            Door.ADMIN,
            "anna",
            now,
            now + timedelta(seconds=30),
            Role.OPERATOR,
        )
        outcome = await floor.bridge.desk.submit(command).result
        return outcome.status.is_good, f"{outcome.result.value} {outcome.sentence}"

    return ask


DOORS = {"uns": by_uns, "opcua": by_opcua, "admin": by_admin}


@asynccontextmanager
async def commanded(tmp_path: Path, door: str, release: str) -> AsyncIterator[tuple[Panel, PlantFloor, Ask]]:
    port, opcua = free_port(), free_port()
    async with AsyncExitStack() as stack:
        mqtt = await stack.enter_async_context(broker())
        panel = await stack.enter_async_context(Panel([EXTRUDER], release=release, port=port))
        faces = FACES.format(opcua=opcua, mqtt=mqtt.port, hashed=hash_password(PASSWORD))
        floor = await stack.enter_async_context(running_bridge(tmp_path, site(port), mqtt, faces=faces, opcua=opcua))
        await until(lambda: is_good(floor, *EXTRUDER_TAGS))
        yield panel, floor, await DOORS[door](floor, mqtt, tmp_path, stack)
        assert panel.forbidden_requests == 0


@pytest.mark.peer("mosquitto")
@pytest.mark.parametrize("release", ["2.17", "3.0"])
@pytest.mark.parametrize("door", list(DOORS))
async def test_what_really_happened_is_answered_by_every_door(tmp_path: Path, door: str, release: str) -> None:
    async with commanded(tmp_path, door, release) as (panel, floor, ask):
        taken, said = await ask(12.5)
        assert taken, said
        assert floor.value(SPEED).value == pytest.approx(12.5)
        assert floor.value("extruder-1.Commands.Last.Outcome").value == "confirmed"
        taken, said = await ask(4000.0)
        assert not taken
        assert "range" in said.lower() or "must be from" in said
        panel.faults.ignore_mutations("extruder_v1", 57922, True)
        taken, said = await ask(20.0)
        assert not taken
        assert "unknown" in said.lower() or "timeout" in said.lower()
        panel.faults.ignore_mutations("extruder_v1", 57922, False)
        taken, said = await ask(21.0)
        assert taken, said
        panel.faults.down()
        await until(lambda: not is_good(floor, SPEED))
        taken, said = await ask(22.0)
        assert not taken
        assert "unreached" in said or "NotConnected" in said or "not connected" in said.lower()
        assert panel.crashes == []


async def test_a_cycling_plc_does_not_fight_the_operator_and_is_told(tmp_path: Path) -> None:
    async with commanded(tmp_path, "opcua", "3.0") as (panel, floor, ask):
        assert (await ask(30.0))[0]
        panel.machine("extruder_v1", 57922).mutate({"SetInverterTargetRpm": 25.0})
        await until(lambda: floor.value(SPEED).value == pytest.approx(25.0))
        before = len(panel.journal)
        for _ in range(10):
            taken, said = await ask(30.0)
            assert not taken
            assert "State" in said
            await asyncio.sleep(0.02)
        assert not [request for request in list(panel.journal)[before:] if request.method == "POST"]
        assert floor.value(SPEED).value == pytest.approx(25.0)
        events = [event.kind for event in await floor.bridge.log.newest(50)]
        assert "SetpointChangedAtMachine" in events


async def test_a_restart_to_defaults_lists_what_was_lost(tmp_path: Path) -> None:
    async with commanded(tmp_path, "admin", "2.17") as (panel, floor, ask):
        assert (await ask(30.0))[0]
        panel.faults.restart(0.2)
        await until(lambda: is_good(floor, SPEED) and floor.value(SPEED).value == 0.0, 25)

        async def told() -> bool:
            return any(event.kind == "MachineRestartedToDefaults" for event in await floor.bridge.log.newest(50))

        async with asyncio.timeout(5):
            while not await told():  # noqa: ASYNC110 - the log is read, not listened to
                await asyncio.sleep(0.05)
        event = next(e for e in await floor.bridge.log.newest(50) if e.kind == "MachineRestartedToDefaults")
        assert SPEED in event.message
