"""The publisher against a real broker."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.hub.log import EventLogStore
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.event import Event
from bridge.model.path import Place
from bridge.model.plant import Machine, Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Tag, TagDefinition
from bridge.model.value import DataType, DataValue
from bridge.northbound.uns import publisher as publisher_module
from bridge.northbound.uns import values
from bridge.northbound.uns.config import UnsConfig
from bridge.northbound.uns.payload import rfc3339
from bridge.northbound.uns.publisher import UnsPublisher
from bridge.ports import FaceHealth, Health, SourceHealth
from bridge.transport.clock import SystemClock, VirtualClock
from bridge.transport.mqtt import BrokerConfig, Link, Message
from tests import peers
from tests.broker import Broker, Mosquitto, broker
from tests.one_of_everything import (
    DEFINITIONS,
    NOW,
    NoEvents,
    bridge_machine,
    fill,
    filled_table,
    machine,
    plant,
)

PANEL = SourceHealth("panel", "qitech", "Connected", "", NOW, "", NOW, 0)
LINE = "acme/essen/extrusion/line-1"
PRESSURE = f"{LINE}/extruder-1/Monitoring/Pressure"
BRIDGE = "acme/essen/_bridge/edge-1"


class Addresses:
    """As much of Operations as this face asks for."""

    def addresses(self, tag: Tag) -> Mapping[str, str]:
        return {"opcua": f"ns=2;s={tag.id}", "sparkplug": f"acme:essen/edge-1/{tag.machine} {tag.name}"}

    def __init__(self) -> None:
        self.said = Health(True, True, (), "0.1.0", NOW, "c0ffee", (PANEL,), (FaceHealth("uns", True),))

    def health(self) -> Health:
        return self.said


class Watcher:
    """A subscriber: everything as it came, and what is on each topic now."""

    def __init__(self) -> None:
        self.came: list[Message] = []
        self.now: dict[str, Message] = {}

    async def listen(self, link: Link) -> None:
        async for message in link.messages():
            self.came.append(message)
            if message.payload:
                self.now[message.topic] = message
            else:
                self.now.pop(message.topic, None)

    def document(self, topic: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.now[topic].payload) if topic in self.now else {}
        return content

    def of(self, topic: str) -> list[Message]:
        return [message for message in self.came if message.topic == topic]

    async def sees(self, topic: str, **fields: object) -> dict[str, Any]:
        """Wait until the document on a topic has these fields."""
        await until(lambda: fields.items() <= self.document(topic).items() and topic in self.now)
        return self.document(topic)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (the condition is anybody's)
        await asyncio.sleep(0.002)


@asynccontextmanager
async def watching(config: BrokerConfig, name: str = "watcher") -> AsyncIterator[Watcher]:
    watcher = Watcher()
    async with Link.connect(config, name) as link:
        await link.subscribe("#")
        task = asyncio.create_task(watcher.listen(link))
        try:
            yield watcher
        finally:
            task.cancel()
            await asyncio.wait({task})


def publisher(config: BrokerConfig, clock: Any = None, **options: Any) -> UnsPublisher:
    settings = {"publish_interval": 0.05, **options}
    return UnsPublisher(
        UnsConfig.model_validate({"broker": config, **settings}), clock or SystemClock(), "acme", "essen", "edge-1"
    )


def start(face: UnsPublisher, table: Table, operations: Addresses | None = None) -> "asyncio.Task[None]":
    return asyncio.create_task(face.run(table, None, operations or Addresses()))  # type: ignore[arg-type]


async def stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


@asynccontextmanager
async def running(
    face: UnsPublisher, table: Table, operations: Addresses | None = None
) -> AsyncIterator["asyncio.Task[None]"]:
    task = start(face, table, operations)
    try:
        yield task
    finally:
        if not task.done():
            await stop(task)


@pytest.fixture
async def server() -> AsyncIterator[Broker]:
    async with broker() as one:
        yield one


def good(value: float) -> DataValue:
    return DataValue(value, StatusCode.Good, NOW, NOW)


def tag_of(table: Table, identifier: str) -> Tag:
    tag = table.plant.find(identifier)
    assert tag is not None
    return tag


async def test_every_tag_of_the_plant_is_on_its_topic_retained(server: Broker) -> None:
    table, _ = filled_table()
    face = publisher(server.config)
    async with running(face, table):
        async with watching(server.config) as first:
            await first.sees(f"{BRIDGE}/online", online=True)
        async with watching(server.config, "late") as watcher:
            topics = {face.address(tag): tag for machine in table.plant.everything() for tag in machine.tags}
            await until(lambda: topics.keys() <= watcher.now.keys())
            for topic, tag in topics.items():
                value = table.read(tag)
                found = watcher.document(topic)
                assert found["timestamp"] == rfc3339(value.source_timestamp)
                assert found["value"] == (rfc3339(value.value) if hasattr(value.value, "isoformat") else value.value)
                assert watcher.now[topic].retain
                assert watcher.now[topic].qos == 1
    assert face.faults(table.plant) == []


async def test_address_is_where_the_value_is(server: Broker) -> None:
    table, _ = filled_table()
    face = publisher(server.config)
    face.faults(table.plant)
    assert face.address(tag_of(table, "extruder-1.Monitoring.Pressure")) == PRESSURE
    assert face.address(tag_of(table, "Bridge.Version")) == f"{BRIDGE}/Version"


async def test_values_that_change_often_are_published_once_per_interval(server: Broker) -> None:
    clock = VirtualClock()
    table, _ = filled_table()
    tag = tag_of(table, "extruder-1.Monitoring.Pressure")
    async with watching(server.config) as watcher, running(publisher(server.config, clock, publish_interval=1), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        for value in range(100):
            table.update([(tag.slot, good(value))])
            await asyncio.sleep(0)
        assert len(watcher.of(PRESSURE)) == 1
        await clock.advance(1.0)
        assert (await watcher.sees(PRESSURE, value=99))["unit"] == "bar"
        assert len(watcher.of(PRESSURE)) == 2


async def test_loss_is_published_with_its_reason(server: Broker) -> None:
    table, _ = filled_table()
    tag = tag_of(table, "extruder-1.Monitoring.Pressure")
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(PRESSURE, quality="Good")
        since = NOW + timedelta(seconds=3)
        table.update([(tag.slot, DataValue(12.5, StatusCode.UncertainLastUsableValue, NOW, NOW, "Silent", since))])
        found = await watcher.sees(PRESSURE, quality="Uncertain")
    assert (found["value"], found["reason"], found["since"]) == (12.5, "Silent", rfc3339(since))


async def test_every_value_is_repeated_within_a_heartbeat_and_not_all_at_once(server: Broker) -> None:
    clock = VirtualClock()
    table, _ = filled_table()
    face = publisher(server.config, clock, publish_interval=1)
    async with watching(server.config) as watcher, running(face, table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        topics = {face.address(tag) for one in table.plant.everything() for tag in one.tags}
        watcher.came.clear()
        most = 0

        def came() -> int:
            return sum(message.topic in topics for message in watcher.came)

        for _ in range(60):
            before, total = came(), face.published_total
            await clock.advance(1.0)
            await until(lambda sent=face.published_total - total, seen=before: came() - seen == sent)  # type: ignore[misc]
            most = max(most, came() - before)
        assert topics <= {message.topic for message in watcher.came}
        assert most <= 2
        assert came() < 2 * len(topics)
        assert watcher.of(f"{BRIDGE}/_info")


async def test_meta_describes_every_machine(server: Broker) -> None:
    table, _ = filled_table()
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        document = watcher.document(f"{LINE}/extruder-1/_meta")
        assert document["tags"]["Monitoring/Pressure"]["topic"] == PRESSURE
        assert document["tags"]["Monitoring/Pressure"]["node_id"] == "ns=2;s=extruder-1.Monitoring.Pressure"
        assert document["tags"]["Monitoring/Pressure"]["metric"].endswith("extruder-1 Monitoring/Pressure")
        assert "Version" in watcher.document(f"{BRIDGE}/_meta")["tags"]
        assert watcher.document(f"{BRIDGE}/_machines")["machines"]["winder-2"] == "acme/essen/winding/winder-2"


async def test_meta_can_be_left_out(server: Broker) -> None:
    table, _ = filled_table()
    async with watching(server.config) as watcher, running(publisher(server.config, meta=False), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        assert not [topic for topic in watcher.now if "/_m" in topic]


async def test_machine_that_appears_is_described_and_told(server: Broker) -> None:
    table, slots = filled_table()
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        new = machine(slots, "laser-3", DEFINITIONS[:2], Place("acme", "essen", "lab"))
        table.replace_plant(Plant(table.plant.bridge, {**table.plant.machines, new.id: new}))
        fill(table, "laser-3")
        await watcher.sees("acme/essen/lab/laser-3/Monitoring/Pressure", value=12.5)
        assert watcher.document("acme/essen/lab/laser-3/_meta")["machine"] == "laser-3"
        assert "laser-3" in watcher.document(f"{BRIDGE}/_machines")["machines"]


async def test_machine_that_vanishes_leaves_nothing_retained(server: Broker) -> None:
    table, _ = filled_table()
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        left = {name: one for name, one in table.plant.machines.items() if name != "winder-2"}
        table.replace_plant(Plant(table.plant.bridge, left))
        await until(lambda: not [topic for topic in watcher.now if "winder-2" in topic])
        assert PRESSURE in watcher.now
    async with watching(server.config, "late") as late:
        await late.sees(f"{BRIDGE}/online")
        assert not [topic for topic in late.now if "winder-2" in topic]


async def test_machine_that_vanishes_is_not_repeated_and_the_others_are(server: Broker) -> None:
    table, _ = filled_table()
    async with watching(server.config) as watcher, running(publisher(server.config, heartbeat=1), table) as run:
        await watcher.sees(f"{BRIDGE}/online", online=True)
        left = {name: one for name, one in table.plant.machines.items() if name == "extruder-1"}
        gone = [topic for topic in watcher.now if topic.startswith("acme/essen/winding")]
        table.replace_plant(Plant(table.plant.bridge, left))
        await until(lambda: watcher.now.keys().isdisjoint(gone))
        before = len(watcher.of(PRESSURE))
        await until(lambda: len(watcher.of(PRESSURE)) > before + 1 or run.done())
        assert not run.done()
        assert gone
        assert watcher.now.keys().isdisjoint(gone)


async def test_machine_that_moves_is_told_there_with_all_its_values(server: Broker) -> None:
    table, _ = filled_table()
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        moved = replace(table.plant.machines["extruder-1"], place=Place("acme", "essen", "hall-2"))
        table.replace_plant(Plant(table.plant.bridge, {**table.plant.machines, moved.id: moved}))
        await until(lambda: not [topic for topic in watcher.now if topic.startswith(f"{LINE}/extruder-1")])
        found = await watcher.sees("acme/essen/hall-2/extruder-1/Monitoring/Pressure")
        assert found["value"] == 12.5
        await until(lambda: sum("/hall-2/extruder-1/" in topic for topic in watcher.now) == len(moved.tags) + 1)


async def test_graceful_stop_leaves_uncertain_values_and_offline(server: Broker) -> None:
    table, _ = filled_table()
    async with watching(server.config) as watcher:
        task = start(publisher(server.config), table)
        await watcher.sees(f"{BRIDGE}/online", online=True)
        await stop(task)
        await watcher.sees(f"{BRIDGE}/online", online=False)
        for one in table.plant.everything():
            for tag in one.tags:
                found = watcher.document(publisher_address(table, tag))
                value = table.read(tag).value
                assert found["quality"] == ("Uncertain" if value is not None else found["quality"])
                assert (found["value"] is None) == (value is None)
                assert found["quality"] != "Good"
        assert "stopped" in watcher.document(PRESSURE)["reason"]
        assert watcher.document(PRESSURE)["timestamp"] == rfc3339(NOW)


def publisher_address(table: Table, tag: Tag) -> str:
    face = publisher(BrokerConfig.model_validate({}))
    face.faults(table.plant)
    return face.address(tag)


async def test_broken_bridge_is_offline_by_its_will(server: Broker) -> None:
    table, _ = filled_table()
    relay = await asyncio.start_server(lambda r, w: through(server, r, w), "127.0.0.1", 0)
    async with relay:
        port = relay.sockets[0].getsockname()[1]
        face = publisher(server.config.model_copy(update={"port": port}), VirtualClock())  # it will not come back
        async with watching(server.config) as watcher, running(face, table):
            await watcher.sees(f"{BRIDGE}/online", online=True)
            for cut in RELAYED:
                cut.transport.abort()
            await watcher.sees(f"{BRIDGE}/online", online=False)
            assert watcher.document(PRESSURE)["quality"] == "Good"  # nobody was there to say otherwise: it expires
    RELAYED.clear()


RELAYED: list[asyncio.StreamWriter] = []


async def through(server: Broker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on between a client and the broker until either is gone."""
    other_reader, other_writer = await asyncio.open_connection(server.host, server.port)
    RELAYED.extend((writer, other_writer))

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while content := await source.read(65536):
                sink.write(content)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))


async def test_after_a_broker_restart_everything_is_told_again(
    server: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.northbound.uns")
    clock = VirtualClock()
    table, _ = filled_table()
    face = publisher(server.config, clock)
    async with running(face, table):
        async with watching(server.config) as watcher:
            await watcher.sees(f"{BRIDGE}/online", online=True)
        count = len(watcher.now)
        await server.stop()
        await until(lambda: not face.metrics()["uns_connected"])
        left = {name: one for name, one in table.plant.machines.items() if name != "winder-2"}
        table.replace_plant(Plant(table.plant.bridge, left))
        await clock.advance(60)  # some attempts in vain
        await server.start()
        async with watching(server.config) as watcher:
            await advance_until(clock, lambda: watcher.document(f"{BRIDGE}/online").get("online") is True)
            assert PRESSURE in watcher.now
            assert not [topic for topic in watcher.now if "winder-2" in topic]
            assert 0 < len(watcher.now) < count
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert face.reconnects_total == 1


async def advance_until(clock: VirtualClock, condition: Callable[[], bool]) -> None:
    while not condition():
        await clock.advance(0.5)
        await asyncio.sleep(0.005)


async def test_broker_that_is_not_there_is_waited_for_quietly(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridge.northbound.uns")
    clock = VirtualClock()
    table, _ = filled_table()
    absent = broker()
    async with running(publisher(absent.config, clock), table):
        for _ in range(20):
            await clock.advance(30)
            await asyncio.sleep(0.005)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert str(absent.port) in caplog.text


@pytest.mark.peer("mosquitto")
async def test_two_bridges_of_one_name_slow_down_and_say_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings: list[float] = []

    def no_wait(low: float, high: float) -> float:
        ceilings.append(high)
        return 0.4

    monkeypatch.setattr(publisher_module.random, "uniform", no_wait)
    (table, _), (other, _) = filled_table(), filled_table()
    async with Mosquitto() as server:
        config = server.config.model_copy(update={"protocol": "3.1.1"})  # which does not say who ended it
        async with watching(config) as watcher, running(publisher(config), table):
            await watcher.sees(f"{BRIDGE}/online", online=True)
            twin = start(publisher(config), other)
            await until(lambda: "is there a second bridge of this name?" in caplog.text)
            await stop(twin)
    assert max(ceilings) >= 8


@pytest.mark.peer("mosquitto")
async def test_bridges_of_one_name_at_two_sites_live_in_peace() -> None:
    (table, _), (other, _) = filled_table(), filled_table()
    async with Mosquitto() as server, watching(server.config) as watcher:
        config = UnsConfig.model_validate({"broker": server.config})
        bonn = UnsPublisher(config, SystemClock(), "acme", "bonn", "edge-1")
        async with running(bonn, other):
            await watcher.sees("acme/bonn/_bridge/edge-1/online", online=True)
            async with running(publisher(server.config), table):
                await watcher.sees(f"{BRIDGE}/online", online=True)
                assert [json.loads(one.payload)["online"] for one in watcher.of("acme/bonn/_bridge/edge-1/online")] == [
                    True
                ]


async def test_run_may_be_called_again(server: Broker) -> None:
    table, _ = filled_table()
    face = publisher(server.config)
    async with watching(server.config) as watcher:
        for _ in range(2):
            async with running(face, table):
                await watcher.sees(f"{BRIDGE}/online", online=True)
                await watcher.sees(PRESSURE, quality="Good")
            await watcher.sees(f"{BRIDGE}/online", online=False)


async def test_what_a_crashed_run_left_is_cleared(server: Broker) -> None:
    table, slots = filled_table()
    async with watching(server.config) as watcher:
        async with running(publisher(server.config), table):
            await watcher.sees(f"{BRIDGE}/online", online=True)
        await watcher.sees(f"{BRIDGE}/online", online=False)
        before = set(watcher.now)
        assert f"{LINE}/extruder-1/Monitoring/Plain" in before
        fewer = tuple(one for one in DEFINITIONS if one.name != "Monitoring/Plain")
        later = Table(plant(slots, machine(slots, definitions=fewer)), SystemClock(), NoEvents())  # type: ignore[arg-type]
        async with running(publisher(server.config), later):
            await watcher.sees(f"{BRIDGE}/online", online=True)
            gone = before - set(watcher.now)
    assert gone == {
        topic for topic in before if "/winder-2/" in topic or topic == f"{LINE}/extruder-1/Monitoring/Plain"
    }


async def test_foreign_topics_are_left_alone(server: Broker) -> None:
    table, _ = filled_table()
    async with Link.connect(server.config, "other") as other:
        other.publish(Message(f"{LINE}/press-9/Monitoring/Force", b'{"value": 1}', 1, retain=True))
        other.publish(Message(f"{BRIDGE}/_machines", b'{"machines": {"x": "#", "y": 5, "z": "a//b"}}', 1, retain=True))
        await other.flush(5)
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        assert f"{LINE}/press-9/Monitoring/Force" in watcher.now


@contextmanager
def a_log_table(log: EventLogStore) -> Iterator[Table]:
    slots = Slots()
    yield Table(plant(slots), SystemClock(), log)


async def test_events_are_told_once_and_survive_a_broker_that_is_away(server: Broker, tmp_path: Path) -> None:
    clock = VirtualClock()
    async with EventLogStore(tmp_path / "log.db", SystemClock()) as log:
        table = Table(plant(Slots()), SystemClock(), log)
        face = publisher(server.config, clock)
        async with running(face, table):
            async with watching(server.config) as watcher:
                await watcher.sees(f"{BRIDGE}/online", online=True)
                log.append(Event("1", "SourceLost", NOW, "The panel is gone", 500, "panel", "extruder-1"))
                log.append(Event("2", "Reloaded", NOW, "The configuration was read again"))
                await until(lambda: face.events_total == 2)
                [lost] = watcher.of(f"{LINE}/extruder-1/event/SourceLost")
                assert (lost.retain, lost.qos) == (False, 1)
                assert json.loads(lost.payload)["message"] == "The panel is gone"
                assert watcher.of(f"{BRIDGE}/event/Reloaded")
            await server.stop()
            await until(lambda: not face.metrics()["uns_connected"])
            log.append(Event("3", "Reloaded", NOW, "Again"))
            await server.start()
            async with watching(server.config) as watcher:
                await advance_until(clock, lambda: face.events_total == 3)
                await until(lambda: bool(watcher.of(f"{BRIDGE}/event/Reloaded")))
                assert [json.loads(one.payload)["id"] for one in watcher.of(f"{BRIDGE}/event/Reloaded")] == ["3"]


async def test_event_of_a_machine_that_is_gone_goes_to_the_bridge(server: Broker, tmp_path: Path) -> None:
    async with EventLogStore(tmp_path / "log.db", SystemClock()) as log:
        table = Table(plant(Slots()), SystemClock(), log)
        async with watching(server.config) as watcher, running(publisher(server.config), table):
            await watcher.sees(f"{BRIDGE}/online", online=True)
            log.append(Event("1", "MachineVanished", NOW, "laser-3 is gone", machine="laser-3"))
            await watcher.sees(f"{BRIDGE}/event/MachineVanished", machine="laser-3")


@pytest.mark.parametrize(
    ("preset", "content"), [("umh", b'{"timestamp_ms":1772600767089,"value":12.5}'), ("raw", b"12.5")]
)
async def test_presets_without_quality_empty_the_topic_when_the_value_is_not_good(
    server: Broker, preset: str, content: bytes
) -> None:
    table, _ = filled_table()
    tag = tag_of(table, "extruder-1.Monitoring.Pressure")
    async with watching(server.config) as watcher, running(publisher(server.config, preset=preset), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        assert watcher.now[PRESSURE].payload == content
        table.update([(tag.slot, good(12.5)._replace(status=StatusCode.UncertainLastUsableValue, reason="Silent"))])
        await until(lambda: PRESSURE not in watcher.now)
        assert watcher.of(PRESSURE)[-1].payload == b""


@pytest.mark.peer("mosquitto")
async def test_mqtt_5_values_expire_and_say_their_type() -> None:
    table, _ = filled_table()
    async with Mosquitto() as server:
        five = server.config.model_copy(update={"protocol": "5"})
        async with running(publisher(five), table), watching(five) as watcher:
            await watcher.sees(f"{BRIDGE}/online", online=True)
            value, health = watcher.now[PRESSURE], watcher.now[f"{BRIDGE}/online"]
            assert value.expiry_s is not None
            assert 290 <= value.expiry_s <= 300
            assert value.content_type == "application/json"
            assert value.user_properties == (("schema", "vtq/1"), ("source", "edge-1"))
            assert "max_age" not in watcher.document(PRESSURE)
            assert health.expiry_s is None
            info = watcher.now[f"{BRIDGE}/_info"]
            assert info.expiry_s is not None
            assert 290 <= info.expiry_s <= 300


async def test_face_has_a_trouble_until_everything_was_told_once(server: Broker) -> None:
    """/readyz says that values flow to every face."""
    table, _ = filled_table()
    face = publisher(server.config)
    assert face.trouble == "is connecting"
    async with running(face, table):
        await until(lambda: not face.trouble)
        assert face.metrics()["uns_connected"]


@pytest.mark.peer("mosquitto")
async def test_messages_the_broker_refuses_are_a_visible_fault(tmp_path: Path) -> None:
    table, _ = filled_table()
    rights = tmp_path / "acl"
    rights.write_text(f"topic readwrite {BRIDGE}/#\ntopic read #\n")
    rights.chmod(0o600)
    async with Mosquitto(("allow_anonymous true", f"acl_file {rights}")) as server:
        five = server.config.model_copy(update={"protocol": "5"})
        face = publisher(five, snapshots=False)
        async with watching(five) as watcher, running(face, table):
            await until(lambda: "refuses what is published" in face.trouble)
            assert "for clients without a name: topic write" in face.trouble
            assert face.metrics()["uns_refused"] > 0
            assert PRESSURE not in watcher.now


@pytest.mark.peer("mosquitto")
async def test_what_is_too_large_for_the_broker_is_a_visible_fault() -> None:
    table, _ = filled_table()
    async with Mosquitto(("allow_anonymous true", "max_packet_size 2000")) as server:
        five = server.config.model_copy(update={"protocol": "5"})
        face = publisher(five)
        async with watching(five) as watcher, running(face, table):
            await watcher.sees(f"{BRIDGE}/online", online=True)
            assert "larger than the 2000 bytes" in face.trouble
            assert f"{LINE}/extruder-1/_meta" not in watcher.now


@pytest.mark.peer("mosquitto")
@pytest.mark.parametrize("preset", ["umh", "raw"])
async def test_mqtt_5_says_the_unit_where_the_payload_has_no_place(preset: str) -> None:
    table, _ = filled_table()
    async with Mosquitto() as server:
        five = server.config.model_copy(update={"protocol": "5"})
        async with running(publisher(five, preset=preset), table), watching(five) as watcher:
            await watcher.sees(f"{BRIDGE}/online", online=True)
            assert ("unit", "bar") in watcher.now[PRESSURE].user_properties


@pytest.mark.peer("mosquitto")
@pytest.mark.peer("mosquitto_sub")
async def test_mosquitto_sub_is_told_that_it_is_text_and_for_how_long() -> None:
    table, _ = filled_table()
    program = peers.program("mosquitto_sub")
    assert program is not None
    async with Mosquitto() as server, running(publisher(server.config), table):
        asked = ("-V", "mqttv5", "-p", str(server.port), "-C", "1", "-W", "20", "-F", "%F|%C|%E|%P|%r", "-t")
        for topic in (PRESSURE, f"{BRIDGE}/online"):
            process = await asyncio.create_subprocess_exec(program, *asked, topic, stdout=asyncio.subprocess.PIPE)
            said, _ = await process.communicate()
            text, kind, expiry, properties, _ = said.decode().split("|")
            assert (text, kind) == ("1", "application/json")
            assert "source:edge-1" in properties
            assert (expiry == "") == topic.endswith("online")


@pytest.mark.peer("mosquitto")
async def test_what_changes_most_is_told_by_topic_alias_and_arrives_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aliased: list[str] = []
    outlet = Link.outlet

    def noted(link: Link, like: Message, *, alias: bool = False) -> Any:
        aliased.extend([like.topic] if alias else [])
        return outlet(link, like, alias=alias)

    monkeypatch.setattr(Link, "outlet", noted)
    table, _ = filled_table()
    tag = tag_of(table, "extruder-1.Monitoring.Pressure")
    async with Mosquitto() as server:
        five = server.config.model_copy(update={"protocol": "5"})
        async with watching(five) as watcher, running(publisher(five, publish_interval=0), table):
            await watcher.sees(f"{BRIDGE}/online", online=True)
            for number in range(values.OFTEN + 50):
                table.update([(tag.slot, good(number))])
                await watcher.sees(PRESSURE, value=number)
            left = {name: one for name, one in table.plant.machines.items() if name == "extruder-1"}
            assert len(left) < len(table.plant.machines)
            gone = [topic for topic in watcher.now if topic.startswith("acme/essen/winding")]
            table.replace_plant(Plant(table.plant.bridge, left))
            await until(lambda: watcher.now.keys().isdisjoint(gone))
            for number in range(values.OFTEN + 50):
                table.update([(tag.slot, good(-number))])
                await watcher.sees(PRESSURE, value=-number)
    assert aliased == [PRESSURE], "there are few, and a plant that changes elsewhere costs none"


@pytest.mark.peer("mosquitto")
async def test_mqtt_5_keeps_an_event_for_a_week(tmp_path: Path) -> None:
    async with Mosquitto() as server, EventLogStore(tmp_path / "log.db", SystemClock()) as log:
        five = server.config.model_copy(update={"protocol": "5"})
        table = Table(plant(Slots()), SystemClock(), log)
        async with watching(five) as watcher, running(publisher(five), table):
            await watcher.sees(f"{BRIDGE}/online", online=True)
            log.append(Event("1", "SourceLost", NOW, "The panel is gone", 500, "panel", "extruder-1"))
            topic = f"{LINE}/extruder-1/event/SourceLost"
            await watcher.sees(topic, id="1")
            [told] = watcher.of(topic)
            assert (told.expiry_s, told.content_type) == (7 * 86_400, "application/json")
            assert ("schema", "event/1") in told.user_properties


async def test_without_mqtt_5_the_payload_says_how_long_it_is_to_be_believed(server: Broker) -> None:
    table, _ = filled_table()
    old = server.config.model_copy(update={"protocol": "3.1.1"})
    async with watching(old) as watcher, running(publisher(old, heartbeat=2, expiry=4), table):
        found = await watcher.sees(PRESSURE, max_age=4)
        assert found["sent"] > found["timestamp"] == rfc3339(NOW)
        await until(lambda: watcher.document(PRESSURE)["sent"] > found["sent"])  # a heartbeat


async def test_every_change_is_told_without_an_interval(server: Broker) -> None:
    table, _ = filled_table()
    tag = tag_of(table, "extruder-1.Monitoring.Pressure")
    clock = VirtualClock()  # nothing here may wait for time to pass
    async with watching(server.config) as watcher, running(publisher(server.config, clock, publish_interval=0), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        for number in range(50):
            table.update([(tag.slot, good(number))])
            await watcher.sees(PRESSURE, value=number)
    assert [json.loads(one.payload)["value"] for one in watcher.of(PRESSURE)][1:51] == list(range(50))


async def test_info_tells_why_a_source_is_down_and_what_to_do(server: Broker) -> None:
    clock = VirtualClock()
    table, _ = filled_table()
    operations = Addresses()
    async with watching(server.config) as watcher, running(publisher(server.config, clock), table, operations):
        info = await watcher.sees(f"{BRIDGE}/_info", state="running", ready=True)
        assert (info["version"], info["configuration"], info["faults"]) == ("0.1.0", "c0ffee", [])
        assert info["sources"][0]["state"] == "Connected"
        assert info["faces"] == [{"name": "uns", "running": True, "detail": ""}]
        assert info["uns"]["preset"] == "vtq"
        assert (info["uns"]["heartbeat"], info["uns"]["expiry"], info["uns"]["machines"]) == (60, 300, 2)
        lost = replace(
            PANEL, state="Lost", reason="connection refused", advice="Look at the cable", reconnects=3, next_try_in=20.0
        )
        operations.said = replace(operations.said, ready=False, why_not_ready=("panel: lost",), sources=(lost,))
        count = len(watcher.of(f"{BRIDGE}/_info"))
        await clock.advance(1.0)
        info = await watcher.sees(f"{BRIDGE}/_info", ready=False, why_not_ready=["panel: lost"])
        [panel] = info["sources"]
        assert (panel["state"], panel["reason"], panel["advice"]) == ("Lost", "connection refused", "Look at the cable")
        assert panel["next_try"] > info["timestamp"]
        assert len(watcher.of(f"{BRIDGE}/_info")) == count + 1


async def test_info_is_told_again_within_a_heartbeat_and_not_in_between(server: Broker) -> None:
    clock = VirtualClock()
    table, _ = filled_table()
    async with watching(server.config) as watcher:
        task = start(publisher(server.config, clock), table)
        await watcher.sees(f"{BRIDGE}/online", online=True)
        first = watcher.document(f"{BRIDGE}/_info")
        for _ in range(60):
            await clock.advance(1.0)
        await until(lambda: watcher.document(f"{BRIDGE}/_info")["timestamp"] > first["timestamp"])
        assert len(watcher.of(f"{BRIDGE}/_info")) == 2
        await stop(task)
        stopped = await watcher.sees(f"{BRIDGE}/_info", state="stopped", ready=False)
        assert stopped["version"] == "0.1.0"


async def test_a_thousand_topics_a_second_do_not_stall_the_event_loop(server: Broker) -> None:
    slots = Slots()
    many = tuple(TagDefinition(f"Monitoring/T{number}", DataType.Double) for number in range(1000))
    one: Machine = machine(slots, "big", many)
    table = Table(Plant(bridge_machine(slots), {one.id: one}), SystemClock(), NoEvents())  # type: ignore[arg-type]
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        for round_ in range(3):
            longest, last = 0.0, time.perf_counter()
            table.update([(tag.slot, good(round_)) for tag in one.tags])
            while watcher.document(f"{LINE}/big/Monitoring/T999").get("value") != round_:
                await asyncio.sleep(0)
                longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
        values = {watcher.document(f"{LINE}/big/Monitoring/T{number}")["value"] for number in range(1000)}
    assert values == {2.0}
    assert longest < 5.0  # what was measured is in the benchmarks; here only: it gives the loop back at all
