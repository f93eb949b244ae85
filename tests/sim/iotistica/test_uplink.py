"""The agents at a real broker."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import aiomqtt
import pytest

from bridge.sim.clock import VirtualClock
from bridge.sim.iotistica import Behaviour, Iotistica, MqttAccess
from tests.broker import Broker, broker
from tests.sim.iotistica.vendor import NOON


@asynccontextmanager
async def agents(**switches: str) -> AsyncIterator[tuple[Iotistica, aiomqtt.Client, Broker]]:
    """One agent at a broker, and a client that hears everything."""
    clock = VirtualClock(NOON, speed=0)
    async with broker() as there, aiomqtt.Client(there.host, there.port) as client:
        await client.subscribe("#", qos=1)
        access = MqttAccess(there.host, there.port)
        async with Iotistica(behaviour=Behaviour(**switches), clock=clock, broker=access) as vendor:
            assert vendor.uplink is not None
            await asyncio.wait_for(vendor.uplink.connected.wait(), 30)
            yield vendor, client, there


async def heard(client: aiomqtt.Client, tail: str) -> aiomqtt.Message:
    """The next message whose topic ends so."""
    async with asyncio.timeout(30):
        async for message in client.messages:
            if str(message.topic).endswith(tail):
                return message
    raise AssertionError("no message")


def command(vendor: Iotistica, **other: Any) -> dict[str, Any]:
    agent = vendor.tenant.agents[0]
    issued = vendor.clock.now()
    return {
        "version": 1, "commandId": "c1", "type": "device.write", "issuedAt": issued.isoformat(),
        "expiresAt": (issued + timedelta(seconds=10)).isoformat(), "deviceUuid": agent.devices[0].uuid,
        "pointName": "pressure_setpoint", "value": 4.5, **other,
    }  # fmt: skip


async def test_telemetry_state_and_a_write_that_is_seen_in_the_next_reading() -> None:
    async with agents() as (vendor, client, _):
        agent = vendor.tenant.agents[0]
        assert agent.uuid in json.loads((await heard(client, "/state")).payload)
        await client.publish(f"{agent.uuid}/cmd/write", json.dumps(command(vendor)), qos=1)
        result = json.loads((await heard(client, "/cmd/result")).payload)
        assert (result["status"], result["requestedValue"]) == ("succeeded", 4.5)
        vendor.faults.advance(5)
        batch = json.loads((await heard(client, "/endpoints/modbus")).payload)
        rows = [row for message in batch["messages"] for row in message["readings"]]
        points = {(row["endpoint_uuid"], row["metric"]): row["value"] for row in rows}
        assert points[agent.devices[0].endpoint_uuid, "pressure_setpoint"] == 4.5
        assert points[agent.devices[1].endpoint_uuid, "pressure_setpoint"] == 3.5


async def test_retained_command_is_not_carried_out_when_it_is_old() -> None:
    clock = VirtualClock(NOON, speed=0)
    async with broker() as there, aiomqtt.Client(there.host, there.port) as client:
        vendor = Iotistica(clock=clock, broker=MqttAccess(there.host, there.port))
        agent = vendor.tenant.agents[0]
        await client.publish(f"{agent.uuid}/cmd/write", json.dumps(command(vendor)), qos=1, retain=True)
        await client.subscribe("+/cmd/result", qos=1)
        async with vendor:
            assert vendor.uplink is not None
            await asyncio.wait_for(vendor.uplink.connected.wait(), 30)
            await client.publish(f"{agent.uuid}/cmd/write", json.dumps(command(vendor, commandId="c2")), qos=1)
            result = json.loads((await heard(client, "/cmd/result")).payload)
            assert result["commandId"] == "c2", "the retained one was dropped in silence"


async def test_faults_of_mqtt() -> None:
    async with agents(encoding="msgpack") as (vendor, client, _):
        agent = vendor.tenant.agents[0]
        size = vendor.faults.zip_bomb(agent.name, 4)
        bomb = await heard(client, "/endpoints/modbus")
        assert len(bomb.payload) == size < 20_000
        assert len(zlib.decompress(bytes(bomb.payload))) == 4 << 20
        vendor.faults.publish(agent.name, "endpoints/odd/one", base64.b64encode(b"\x00").decode())
        assert (await heard(client, "/endpoints/odd/one")).payload == b"\x00"
        vendor.faults.anomaly(agent.name, "extruder-1", "barrel_temp")
        event = json.loads((await heard(client, "/events/anomaly")).payload)
        assert event["metric"].startswith(agent.uuid)
        vendor.faults.sync_dictionary(agent.name)
        assert (await heard(client, "/meta/dictionary")).payload


async def test_agents_come_back_after_the_broker_was_gone() -> None:
    async with agents() as (vendor, _, there):
        await there.stop()
        vendor.faults.advance(5)
        await there.start()
        async with aiomqtt.Client(there.host, there.port) as client:
            await client.subscribe("#", qos=1)
            assert (await heard(client, "/endpoints/modbus")).payload


async def test_agents_stop_though_the_cancellation_came_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """`asyncio.wait_for`, in which aiomqtt waits, forgets the cancellation then (Python before 3.12)."""
    waiting = asyncio.Event()

    async def answered(*_: object, **__: object) -> None:
        waiting.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with agents() as (vendor, _, _):
        monkeypatch.setattr(aiomqtt.Client, "publish", answered)
        vendor.faults.advance(5)
        await waiting.wait()
