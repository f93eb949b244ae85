"""The edge node on a real broker, as an independent subscriber sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import textwrap
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bridge.errors import LinkLost
from bridge.model.plant import ALIVE, Plant
from bridge.model.quality import sparkplug_quality
from bridge.model.status import StatusCode
from bridge.model.tag import TagDefinition
from bridge.model.value import DataType, DataValue, bad, to_milliseconds
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug import node as node_module
from bridge.northbound.sparkplug.codec import METRIC_TYPES, MetricType, stamp
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.node import SparkplugNode
from bridge.northbound.sparkplug.session import BD_SEQ, REBIRTH
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import Link, Message
from tests.broker import Broker, Mosquitto, broker, free_port
from tests.northbound.sparkplug.host import Host, Known
from tests.one_of_everything import DEFINITIONS, VALUES, fill, filled_table, machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from bridge.hub.table import Table

NCMD = "spBv1.0/acme:essen/NCMD/bridge-1"
CLOCK = SystemClock()
mosquitto = pytest.mark.peer("mosquitto")


@pytest.fixture(autouse=True)
def quick_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "BACK_OFF_S", (0.02, 0.04))


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    yield
    await until(lambda: asyncio.all_tasks() <= {asyncio.current_task()})


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Watcher(Host):
    """A host that listens on a link of its own, and may speak."""

    link: Link
    is_faithful: bool
    """The broker hands messages on with the QoS they were published with; amqtt raises it."""

    async def listen(self) -> None:
        with suppress(LinkLost):
            async for message in self.link.messages():
                if "CMD" not in message.topic:
                    self.now_ms = to_milliseconds(datetime.now(UTC)) + 1
                    qos = message.qos if self.is_faithful else int("NDEATH" in message.topic)
                    self.hear(message.topic, message.payload, qos, message.retain)

    def publish(self, topic: str, payload: bytes, **more: Any) -> None:
        self.link.publish(Message(topic, payload, **more))


@asynccontextmanager
async def watching(server: Broker) -> AsyncIterator[Watcher]:
    async with Link.connect(server.config, "watcher") as link:
        await link.subscribe("spBv1.0/#")
        watcher = Watcher()
        watcher.link = link
        watcher.is_faithful = isinstance(server, Mosquitto)
        listening = asyncio.create_task(watcher.listen())
        try:
            yield watcher
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening


def new_node(server: Broker, directory: Path, **more: Any) -> SparkplugNode:
    broker_config = server.config.model_copy(update={"protocol": more.pop("protocol", "3.1.1")})
    config = SparkplugConfig(broker=broker_config, **{"publish_interval": 0.02, **more})
    return SparkplugNode(config, CLOCK, directory, "acme", "essen", "bridge-1")


@asynccontextmanager
async def running(node: SparkplugNode, table: Table) -> AsyncIterator[SparkplugNode]:
    task = asyncio.create_task(node.run(table, None, None))  # type: ignore[arg-type]
    try:
        yield node
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


def say(table: Table, name: str, value: Any, machine_id: str = "extruder-1") -> None:
    tag = table.plant.machines[machine_id].tag(name)
    assert tag is not None
    now = CLOCK.now()
    table.update([(tag.slot, DataValue(value, StatusCode.Good, now, now))])


def rebirth_request() -> bytes:
    metric = codec.MetricEncoder(REBIRTH, MetricType.Boolean).encode(stamp(1), True, with_type=True)
    return codec.payload(1, [metric], None)


def as_sent(value: DataValue, data_type: DataType) -> tuple[Any, int, int]:
    raw = to_milliseconds(value.value) if isinstance(value.value, datetime) else value.value
    assert data_type in METRIC_TYPES
    return raw, sparkplug_quality(value.status).value, to_milliseconds(value.source_timestamp)


def held(known: Known) -> tuple[Any, int, int]:
    return known.value, known.quality, known.timestamp


def agrees(host: Host, table: Table, machine_id: str) -> bool:
    """The host holds exactly what is on the table: value, quality and time."""
    return all(
        tag.name in host.tags.get(machine_id, {})
        and held(host.tags[machine_id][tag.name]) == as_sent(table.read(tag), tag.definition.data_type)
        for tag in table.plant.machines[machine_id].tags
    )


async def test_node_lives_from_birth_to_death(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host:
        async with running(new_node(server, tmp_path), table):
            await until(lambda: "DBIRTH extruder-1" in host.said)
            say(table, "Monitoring/Pressure", 99.5)
            await until(lambda: host.tags["extruder-1"]["Monitoring/Pressure"].value == 99.5)
            say(table, ALIVE, False)
            await until(lambda: "extruder-1" in host.dead)
            say(table, ALIVE, True)
            await until(lambda: "extruder-1" not in host.dead)
        await until(lambda: not host.is_online)
    assert host.broken == []
    assert host.said == [
        "NBIRTH",
        "DBIRTH extruder-1",
        "DDATA extruder-1",
        "DDEATH extruder-1",
        "DBIRTH extruder-1",
        "DDEATH extruder-1",
        "NDEATH",
    ]


async def test_topics_nbirth_carries_the_bridge_s_own_tags_and_properties(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table):
        await until(lambda: host.is_online)
    assert set(host.tags[""]) == {
        BD_SEQ,
        REBIRTH,
        "Properties/FW",
        "Properties/OS",
        "Properties/OS Version",
        *(tag.name for tag in table.plant.bridge.tags),
    }
    assert host.tags[""]["Version"].value == "0.1.0"


async def test_birth_holds_value_quality_time_and_properties_of_every_tag(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table):
        await until(lambda: "DBIRTH extruder-1" in host.said)
    assert agrees(host, table, "extruder-1")
    pressure = host.tags["extruder-1"]["Monitoring/Pressure"]
    assert pressure.properties["engUnit"] == "bar"
    assert host.tags["extruder-1"]["Setpoints/Mode"].quality == 500
    assert host.tags["extruder-1"]["Monitoring/Temperature/Front"].quality == 0


async def test_machine_is_born_when_its_alive_rule_first_holds(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table):
        await until(lambda: "DBIRTH extruder-1" in host.said)
        say(table, "Monitoring/Pressure", 1.0, "winder-2")
        say(table, "Monitoring/Pressure", 1.0)
        await until(lambda: "DDATA extruder-1" in host.said)
        assert "winder-2" not in host.tags
        say(table, ALIVE, True, "winder-2")
        await until(lambda: "DBIRTH winder-2" in host.said)
        assert host.tags["winder-2"]["Monitoring/Plain"].value is None
        assert host.tags["winder-2"]["Monitoring/Plain"].quality == 0
        assert host.tags["winder-2"]["Monitoring/Pressure"].value == 1.0
    assert host.broken == []


async def test_dead_machine_says_nothing(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online)
        say(table, ALIVE, False)
        say(table, "Monitoring/Pressure", 5.0)
        await until(lambda: "extruder-1" in host.dead)
        said = node.messages_total
        say(table, "Monitoring/Pressure", 6.0)
        await asyncio.sleep(0.05)
        assert node.messages_total == said
        say(table, ALIVE, True)
        await until(lambda: host.said[-1] == "DBIRTH extruder-1")
        assert host.tags["extruder-1"]["Monitoring/Pressure"].value == 6.0
    assert host.broken == []


async def test_changes_of_one_interval_come_in_one_message(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online)
        await until(lambda: "DBIRTH extruder-1" in host.said)
        for number in range(100):
            say(table, "Monitoring/Pressure", float(number))
            say(table, "Monitoring/Count", number)
        await until(lambda: host.tags["extruder-1"]["Monitoring/Count"].value == 99)
        assert host.tags["extruder-1"]["Monitoring/Pressure"].value == 99.0
        assert host.said.count("DDATA extruder-1") <= 2
    assert host.broken == []


async def test_node_metric_changes_come_as_ndata(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online)
        tag = table.plant.bridge.tag("Sources/panel/Reconnects")
        assert tag is not None
        table.update([(tag.slot, DataValue(3, StatusCode.Good, CLOCK.now(), CLOCK.now()))])
        await until(lambda: "" in host.tags and host.tags[""]["Sources/panel/Reconnects"].value == 3)
    assert "NDATA" in host.said
    assert host.broken == []


async def test_host_and_table_agree_when_random_traffic_rests(tmp_path: Path) -> None:
    table, _ = filled_table()
    fill(table, "winder-2")
    dice = random.Random(7)
    tags = [tag for one in table.plant.machines.values() for tag in one.tags if tag.name != ALIVE]
    samples: dict[DataType, Callable[[], Any]] = {
        DataType.Double: lambda: dice.uniform(-1e6, 1e6),
        DataType.Boolean: lambda: dice.random() < 0.5,
        DataType.String: lambda: str(dice.random()),
        DataType.DateTime: CLOCK.now,
        DataType.UInt32: lambda: dice.randrange(2**32),
        DataType.Int32: lambda: dice.randrange(-(2**31), 2**31),
        DataType.Int64: lambda: dice.randrange(-(2**63), 2**63),
    }
    statuses = (StatusCode.Good, StatusCode.Good, StatusCode.UncertainLastUsableValue, StatusCode.BadNoCommunication)
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online)
        for turn in range(300):
            tag, status, now = dice.choice(tags), dice.choice(statuses), CLOCK.now()
            value = samples[tag.definition.data_type]()
            fresh = bad(status, "lost", now) if status.is_bad else DataValue(value, status, now, now)
            table.update([(tag.slot, fresh)])
            if turn == 150:
                host.publish(NCMD, rebirth_request())
            if turn % 5 == 0:
                await asyncio.sleep(0.002)
        await until(lambda: agrees(host, table, "extruder-1") and agrees(host, table, "winder-2"))
    assert host.said.count("NBIRTH") == 2
    assert host.broken == []


async def test_operational_behavior_data_commands_rebirth(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online)
        host.publish(NCMD, rebirth_request(), qos=1)
        await until(lambda: host.said.count("DBIRTH extruder-1") == 2)
        assert host.said[:4] == ["NBIRTH", "DBIRTH extruder-1"] * 2
        assert host.bd_seq == 0
        for _ in range(5):
            host.publish(NCMD, rebirth_request())
        await until(lambda: node.session.rebirths == 2)
        assert node.session.rebirth_at is None
    assert host.said.count("NBIRTH") == 3, "five requests of one second were served together"
    assert host.broken == []


async def test_retained_rebirth_request_is_ignored(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host:
        host.publish(NCMD, rebirth_request(), retain=True)
        await host.link.flush(5)
        async with running(new_node(server, tmp_path), table) as node:
            await until(lambda: node.is_online)
            say(table, "Monitoring/Pressure", 1.0)
            await until(lambda: "DDATA extruder-1" in host.said)
            assert node.session.rebirths == 0


async def test_garbage_and_unknown_commands_are_counted_and_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table, _ = filled_table()
    command = codec.MetricEncoder("Setpoints/Mode", MetricType.Int64).encode(stamp(1), 2)
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online)
        for _ in range(3):
            host.publish(NCMD, b"\xff\xff\xff")
            host.publish("spBv1.0/acme:essen/DCMD/bridge-1/extruder-1", codec.payload(1, [command], None))
        await until(lambda: (node.malformed_total, node.commands_total) == (3, 3))
        say(table, "Monitoring/Pressure", 7.0)
        await until(lambda: "DDATA extruder-1" in host.said)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 2
    assert host.broken == []


async def test_own_death_from_elsewhere_is_answered_by_births(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online and host.is_online)
        metric = codec.MetricEncoder(BD_SEQ, MetricType.Int64).encode(stamp(1), 0, with_type=True)
        host.publish("spBv1.0/acme:essen/NDEATH/bridge-1", codec.payload(1, [metric], None), qos=1)
        await until(lambda: host.said.count("NBIRTH") == 2 and host.is_online)
    assert host.broken == []


async def test_plant_that_changes_while_it_runs(tmp_path: Path) -> None:
    """DBIRTH of what is added, DDEATH of what is removed, both for what is changed."""
    table, slots = filled_table()
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online)
        whole = table.plant
        table.replace_plant(Plant(whole.bridge, {**whole.machines, "laser-3": machine(slots, "laser-3")}))
        fill(table, "laser-3")
        await until(lambda: "DBIRTH laser-3" in host.said)
        extra = TagDefinition("Monitoring/Extra", DataType.Double)
        grown = machine(slots, "extruder-1", (*DEFINITIONS, extra))
        table.replace_plant(Plant(whole.bridge, {**table.plant.machines, "extruder-1": grown}))
        await until(lambda: host.said[-2:] == ["DDEATH extruder-1", "DBIRTH extruder-1"])
        assert host.tags["extruder-1"]["Monitoring/Extra"].value is None
        assert host.tags["extruder-1"]["Monitoring/Pressure"].value == 12.5
        remaining = {name: one for name, one in table.plant.machines.items() if name != "laser-3"}
        table.replace_plant(Plant(whole.bridge, remaining))
        await until(lambda: host.said[-1] == "DDEATH laser-3")
        say(table, "Monitoring/Extra", 4.0)
        await until(lambda: host.tags["extruder-1"]["Monitoring/Extra"].value == 4.0)
    assert host.said.count("NBIRTH") == 1
    assert host.broken == []


async def test_plant_that_changes_while_the_broker_is_away(tmp_path: Path) -> None:
    table, slots = filled_table()
    async with broker() as server, running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online)
        await server.stop()
        await until(lambda: not node.is_online)
        table.replace_plant(Plant(table.plant.bridge, {"laser-3": machine(slots, "laser-3")}))
        fill(table, "laser-3")
        await server.start()
        async with watching(server) as host:
            await until(lambda: node.is_online)
            host.publish(NCMD, rebirth_request())
            await until(lambda: "DBIRTH laser-3" in host.said)
            assert set(host.tags) == {"", "laser-3"}


@mosquitto
async def test_broker_killed_and_restarted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Next bdSeq, births with what changed meanwhile, one line down and one up."""
    caplog.set_level(logging.INFO)
    table, _ = filled_table()
    async with Mosquitto() as server, running(new_node(server, tmp_path), table) as node:
        async with watching(server) as host:
            await until(lambda: node.is_online and host.is_online)
            assert host.bd_seq == 0
        await server.stop()
        await until(lambda: node.reconnects > 3)
        say(table, "Monitoring/Pressure", 77.0)
        await server.start()
        async with watching(server) as host:
            await until(lambda: node.is_online)
            host.publish(NCMD, rebirth_request())
            await until(lambda: "DBIRTH extruder-1" in host.said)
            assert host.bd_seq == 1, "connections that were not made use up no bdSeq"
            assert agrees(host, table, "extruder-1")
            await until(lambda: not node.trouble)
    told = [(record.levelname, record.name) for record in caplog.records if record.name.startswith("bridge")]
    assert told == [("WARNING", node_module.__name__), ("INFO", node_module.__name__)]


async def test_bdseq_goes_on_after_a_restart(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host:
        for expected in range(3):
            async with running(new_node(server, tmp_path), table):
                await until(lambda: host.is_online)
                assert host.bd_seq == expected
            await until(lambda: not host.is_online)
    assert host.broken == []


async def test_run_may_be_called_again(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with broker() as server, watching(server) as host:
        node = new_node(server, tmp_path)
        for _ in range(2):
            async with running(node, table):
                await until(lambda: host.is_online)
            await until(lambda: not host.is_online)
    assert host.broken == []


async def test_start_without_a_broker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table, _ = filled_table()
    server = broker()
    async with running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.reconnects > 2)
        async with server:
            await until(lambda: node.is_online)
            async with watching(server) as host:
                host.publish(NCMD, rebirth_request())
                await until(lambda: host.bd_seq == 0)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) <= 2


async def test_cancel_while_there_is_no_broker_is_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "BACK_OFF_S", (600.0, 600.0))
    table, _ = filled_table()
    server = broker()
    server.port = free_port()
    async with asyncio.timeout(30), running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.reconnects)


@mosquitto
async def test_payloads_ndeath_will_message_publisher_disconnect_mqtt50(tmp_path: Path) -> None:
    """MQTT 5: NDEATH, then DISCONNECT with reason 0x04: the broker says the will as well."""
    table, _ = filled_table()
    async with Mosquitto() as server, watching(server) as host:
        async with running(new_node(server, tmp_path, protocol="5"), table):
            await until(lambda: "DBIRTH extruder-1" in host.said)
        await until(lambda: host.said[-3:] == ["DDEATH extruder-1", "NDEATH", "NDEATH"])
    assert host.broken == []


PROCESS = """
import asyncio, sys
from pathlib import Path
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.node import SparkplugNode
from bridge.transport.clock import SystemClock
from tests.one_of_everything import filled_table

async def main():
    table, _ = filled_table()
    config = SparkplugConfig.model_validate({"broker": {"port": int(sys.argv[1])}})
    await SparkplugNode(config, SystemClock(), Path(sys.argv[2]), "acme", "essen", "bridge-1").run(table, None, None)

asyncio.run(main())
"""


@mosquitto
async def test_message_flow_edge_node_birth_publish_will_message_speaks_for_a_killed_process(tmp_path: Path) -> None:
    async with Mosquitto() as server, watching(server) as host:
        root = Path(__file__).parents[3]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            textwrap.dedent(PROCESS),
            str(server.port),
            str(tmp_path),
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        try:
            await until(lambda: "DBIRTH extruder-1" in host.said)
        finally:
            process.kill()
            await process.wait()
        await until(lambda: not host.is_online)
    assert host.said[-1] == "NDEATH"
    assert host.broken == []


@mosquitto
async def test_subscriptions_are_made_before_the_birth(tmp_path: Path) -> None:
    """tck-id-message-flow-edge-node-ncmd-subscribe: a request in answer to the birth is never lost."""
    table, _ = filled_table()
    async with Mosquitto() as server, watching(server) as host:
        heard = asyncio.Event()
        listen = host.hear

        def answer_at_once(topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
            listen(topic, payload, qos, retain)
            if host.said == ["NBIRTH"]:
                host.publish(NCMD, rebirth_request())
                heard.set()

        host.hear = answer_at_once  # type: ignore[method-assign]
        async with running(new_node(server, tmp_path), table):
            await heard.wait()
            await until(lambda: host.said.count("NBIRTH") == 2)
    assert host.broken == []


def everybody_holds(host: Host, machines: Iterable[str], value: float) -> bool:
    return all(host.tags[name]["Monitoring/Pressure"].value == value for name in machines)


async def test_many_machines_wrap_seq_and_lose_nothing(tmp_path: Path) -> None:
    """600 and more messages, one counter."""
    table, slots = filled_table()
    machines = {f"m-{number}": machine(slots, f"m-{number}", DEFINITIONS[:3]) for number in range(150)}
    table.replace_plant(Plant(table.plant.bridge, machines))
    for one in machines.values():
        table.update([(tag.slot, VALUES[tag.name]) for tag in one.tags])
    async with broker() as server, watching(server) as host, running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online)
        for turn in range(4):
            for name in machines:
                say(table, "Monitoring/Pressure", float(turn), name)
            await until(partial(everybody_holds, host, machines, turn))
        await until(lambda: len(host.said) > 600)
    assert host.broken == []
