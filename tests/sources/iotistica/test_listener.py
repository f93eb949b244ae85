"""The listener at a real broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import AuthFailed, NotConnected
from bridge.model.action import Action
from bridge.model.command import Result
from bridge.model.observation import Condition, Observation
from bridge.model.status import StatusCode
from bridge.ports import Memory
from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.iotistica.source import IotisticaSource
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import BrokerConfig, Link, Message
from tests.broker import broker
from tests.guarded import Dynamic, Right
from tests.sources.iotistica import recorded
from tests.sources.iotistica.rig import AGENT, PUMP, batch, reading, topic

ITEMS = list[Any]


class Heap:
    """Memory, as it is over a restart."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}

    async def recall(self) -> dict[str, Any]:
        return self.document

    async def keep(self, document: Mapping[str, Any]) -> None:
        self.document = json.loads(json.dumps(document))


class Nothing:
    async def recall(self) -> dict[str, Any]:
        return {}

    async def keep(self, document: object) -> None:
        pass


def source_at(reached: BrokerConfig, memory: Memory | None = None, **said: Any) -> IotisticaSource:
    told = {"type": "iotistica", "mqtt": {"broker": reached.model_dump()}, **said}
    return IotisticaSource("edge", IotisticaConfig.model_validate(told), SystemClock(), memory or Nothing())


def values(said: Observation) -> list[Any]:
    return [row["value"] for row in said.payload] if said.channel == "readings" else []


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - another task's work, at a real broker
            await asyncio.sleep(0.01)


async def test_what_agents_publish_is_heard_and_writes_come_back() -> None:
    async with broker() as running, Link.connect(running.config, "agent") as agent:
        await agent.subscribe(f"{AGENT}/cmd/write")
        source, items = source_at(running.config, writes=True), []
        serving = asyncio.create_task(source.run(items.append))
        assert source.listener is not None
        await until(lambda: source.listener.is_connected)  # type: ignore[union-attr]
        agent.publish(Message(topic("endpoints/line/1"), json.dumps(batch(reading(2.5))).encode(), 1))
        await until(lambda: any(isinstance(item, Observation) and item.channel == "readings" for item in items))
        (said,) = [item for item in items if isinstance(item, Observation) and item.channel == "readings"]
        assert (said.machine, said.payload[0]["value"], said.payload[0]["device_uuid"]) == (AGENT, 2.5, PUMP)

        long = {**batch(reading(3.5)), "filler": "x" * (3 << 20)}
        agent.publish(Message(topic("endpoints/line/1"), json.dumps(long).encode(), 1))
        await until(lambda: any(isinstance(one, Observation) and 3.5 in values(one) for one in items))

        payload = {"device_write": {"device": "press", "point": "setpoint", "value": 5}}
        writing = asyncio.create_task(source.executor.execute(Action("edge", AGENT, payload, command="c-1"), 0))
        command = json.loads((await agent.next_message()).payload)
        assert (command["commandId"], command["value"]) == ("c-1", 5)
        answer = {"commandId": "c-1", "status": "succeeded"}
        agent.publish(Message(f"{AGENT}/cmd/result", json.dumps(answer).encode(), 1))
        outcome = await asyncio.wait_for(writing, 30)
        assert outcome.result is Result.ACCEPTED
        await running.stop()
        with pytest.raises(NotConnected):
            await asyncio.wait_for(serving, 30)


async def test_a_dictionary_outlives_the_bridge_and_the_brokers_memory() -> None:
    messages, memory = recorded.story("dictionary_json"), Heap()
    memory.document = {"version": 1, "pages": {"polls": {"another's": 1}}}
    told = [one for one in messages if one.told.get("kind")]
    batches = [one for one in messages if not one.told.get("kind")][-2:]
    for sent in (told, batches):
        async with broker() as running, Link.connect(running.config, "agent") as agent:
            source, items = source_at(running.config, memory), []
            serving = asyncio.create_task(source.run(items.append))
            await until(lambda: source.listener.is_connected)  # type: ignore[union-attr] # noqa: B023
            for one in sent:
                agent.publish(Message(one.topic, one.payload, 1, one.retain))
            await until(lambda: source.listener.intake.messages == len(sent))  # type: ignore[union-attr] # noqa: B023
            serving.cancel()
            await asyncio.wait({serving})
    rows = [
        row for item in items if isinstance(item, Observation) and item.channel == "readings" for row in item.payload
    ]
    assert {row["metric"] for row in rows} >= {"barrel_temp", "screw_speed"}
    assert all(row["device"] for row in rows)
    assert set(memory.document["pages"]) == {"polls", "dictionaries", "told"}


async def test_a_broker_that_is_not_there_is_not_connected() -> None:
    source = source_at(BrokerConfig(port=1))
    with pytest.raises(NotConnected) as caught:
        await source.run(lambda item: None)
    assert "127.0.0.1:1" in caught.value.advice


READER, READ = "reader", "i/self-hosted/a/+"


@pytest.mark.peer("mosquitto_dynamic_security")
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_refused_subscriptions_are_a_fault_that_everybody_sees(tmp_path: Path, protocol: str) -> None:
    allowed = [Right(READER, "read", f"{READ}/{tail}") for tail in ("state", "meta/dictionary/#", "agent/status")]
    async with Dynamic(tmp_path / "security", allowed) as running:
        reached = running.config_of(READER, protocol)  # type: ignore[attr-defined]
        source, items = source_at(reached.model_copy()), []
        serving = asyncio.create_task(source.run(items.append))
        await until(lambda: any(isinstance(item, Condition) for item in items))
        serving.cancel()
        await asyncio.wait({serving})
        conditions = [item for item in items if isinstance(item, Condition)]
    assert [(one.channel, one.status) for one in conditions] == [("readings", StatusCode.BadConfigurationError)]
    assert "refuses 3 of 6 subscriptions" in conditions[0].reason
    assert "access 1 to 3" in conditions[0].advice


@pytest.mark.peer("mosquitto_dynamic_security")
async def test_where_everything_is_refused_a_person_is_needed(tmp_path: Path) -> None:
    async with Dynamic(tmp_path / "security", []) as running:
        source = source_at(running.config_of(READER, "5"))  # type: ignore[attr-defined]
        with pytest.raises(AuthFailed) as caught:
            await asyncio.wait_for(source.run(lambda item: None), 30)
    assert "refuses 6 of 6" in str(caught.value)
    assert "superuser" in caught.value.advice
