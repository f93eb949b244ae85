"""The MQTT half at simulated agents and a real broker: every encoding, and a write that the next reading shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bridge.model.action import Action
from bridge.model.command import Result
from bridge.model.observation import Observation
from bridge.sim.clock import VirtualClock
from bridge.sim.iotistica import Behaviour, Iotistica, MqttAccess
from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.iotistica.source import IotisticaSource
from tests.broker import broker
from tests.sources.iotistica.rig import START
from tests.sources.iotistica.test_listener import Nothing


async def until(clock: VirtualClock, condition: Callable[[], object]) -> None:
    """Let virtual seconds pass until it is so."""
    async with asyncio.timeout(30):
        while not condition():
            clock.advance(1)
            await asyncio.sleep(0.02)


SWITCHES = (
    {"encoding": "mixed", "heartbeat": "yes", "duplicates": "yes", "deflate": "yes"},
    {"encoding": "mixed", "dictionary": "flat", "memory": "bytes"},
)


@pytest.mark.parametrize("switches", SWITCHES, ids=("as-recorded", "older"))
async def test_what_agents_say_is_read_and_what_is_written_is_read_back(switches: dict[str, str]) -> None:
    clock, items = VirtualClock(START, speed=0), list[Any]()
    async with broker() as there:
        told = {"type": "iotistica", "writes": True, "mqtt": {"broker": {"host": there.host, "port": there.port}}}
        source = IotisticaSource("edge", IotisticaConfig.model_validate(told), clock, Nothing())
        serving = asyncio.create_task(source.run(items.append))
        await until(clock, lambda: source.listener is not None and source.listener.is_connected)
        access = MqttAccess(there.host, there.port)
        async with Iotistica(behaviour=Behaviour(**switches), clock=clock, broker=access) as vendor:
            agent = vendor.tenant.agents[0]

            def values() -> dict[tuple[str, str], Any]:
                said = [one for one in items if isinstance(one, Observation) and one.channel == "readings"]
                rows = [row for one in said if not one.historical for row in one.payload]
                return {(row["device_uuid"], row["metric"]): row["value"] for row in rows}

            expected = {(device.endpoint_uuid, point.name) for device in agent.devices for point in device.points}
            await until(clock, lambda: values().keys() >= expected)
            device = agent.devices[0]
            write = {"device_write": {"device": device.endpoint_uuid, "point": "pressure_setpoint", "value": 4.25}}
            await until(clock, lambda: any(one.channel == "devices" for one in items if isinstance(one, Observation)))
            outcome = await source.executor.execute(Action("edge", agent.uuid, write, command="c-1"), 0)
            assert outcome.result is Result.ACCEPTED, outcome.sentence
            await until(clock, lambda: values()[device.endpoint_uuid, "pressure_setpoint"] == 4.25)
            assert source.listener is not None
            assert dict(source.listener.intake.figures())["MqttRefused"] == 0
        serving.cancel()
        await asyncio.wait({serving})
