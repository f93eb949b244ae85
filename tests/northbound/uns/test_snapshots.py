"""All values of a machine, asked for by topic, against a real broker and with mosquitto's own client."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.plant import Plant
from bridge.model.tag import TagDefinition
from bridge.model.value import DataType
from bridge.northbound.uns import snapshots
from bridge.transport.clock import SystemClock, VirtualClock
from bridge.transport.mqtt import Link, Message
from tests import peers
from tests.broker import Broker, Mosquitto, broker
from tests.northbound.uns.test_publisher import Watcher, publisher, running, tag_of, until, watching
from tests.one_of_everything import DEFINITIONS, NoEvents, bridge_machine, filled_table, machine

LINE = "acme/essen/extrusion/line-1"
ASK = f"{LINE}/extruder-1/_snapshot"
RESULT = f"{ASK}/result"
ONLINE = "acme/essen/_bridge/edge-1/online"

mosquitto = pytest.mark.peer("mosquitto")
BOTH = pytest.mark.parametrize("protocol", ["3.1.1", "5"])


@pytest.fixture
async def server() -> AsyncIterator[Broker]:
    async with broker() as one:
        yield one


async def ask(link: Link, content: bytes = b"", **more: Any) -> None:
    link.publish(Message(ASK, content, 1, **more))
    assert await link.flush(5)


async def answers(watcher: Watcher, count: int, topic: str = RESULT) -> list[dict[str, Any]]:
    await until(lambda: len(watcher.of(topic)) >= count)
    return [json.loads(message.payload) for message in watcher.of(topic)]


@mosquitto
@BOTH
async def test_snapshot_is_what_the_topics_hold(protocol: str) -> None:
    table, _ = filled_table()
    async with Mosquitto() as server:
        config = server.config.model_copy(update={"protocol": protocol})
        async with watching(config) as watcher, running(publisher(config), table), Link.connect(config, "hmi") as hmi:
            await watcher.sees(ONLINE, online=True)
            await ask(hmi, b'{"id": "a-1"}')
            [told] = await answers(watcher, 1)
            assert (told["id"], told["status"], told["machine"]) == ("a-1", "ok", "extruder-1")
            assert len(told["values"]) == len(DEFINITIONS)
            for name, value in told["values"].items():
                topic = watcher.document(f"{LINE}/extruder-1/{name}")
                assert {key: topic[key] for key in topic if key not in {"sent", "max_age"}} == value
            [message] = watcher.of(RESULT)
            assert (message.retain, message.qos) == (False, 1)


async def test_snapshot_is_newer_than_what_was_published(server: Broker) -> None:
    table, _ = filled_table()
    clock = VirtualClock()
    tag = tag_of(table, "extruder-1.Monitoring.Pressure")
    face = publisher(server.config, clock, publish_interval=3600)
    async with watching(server.config) as watcher, running(face, table), Link.connect(server.config, "hmi") as hmi:
        await watcher.sees(ONLINE, online=True)
        table.update([(tag.slot, table.read(tag)._replace(value=99.0))])
        await ask(hmi)
        [told] = await answers(watcher, 1)
        assert told["values"]["Monitoring/Pressure"]["value"] == 99.0
        assert told["id"] is None
        assert watcher.document(f"{LINE}/extruder-1/Monitoring/Pressure")["value"] == 12.5


async def test_meta_tells_where_to_ask(server: Broker) -> None:
    table, _ = filled_table()
    meta = f"{LINE}/extruder-1/_meta"
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(ONLINE, online=True)
        assert watcher.document(meta)["snapshot"] == ASK
        assert watcher.document(meta)["events"] == f"{LINE}/extruder-1/event"
        assert "commands" not in watcher.document(meta)
    async with watching(server.config) as watcher, running(publisher(server.config, snapshots=False), table):
        await watcher.sees(ONLINE, online=True)
        await until(lambda: "snapshot" not in watcher.document(meta))


async def test_closed_door_does_not_listen(server: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = filled_table()
    asked: list[str] = []
    subscribe = Link.subscribe

    async def noted(link: Link, topic: str, *more: Any, **options: Any) -> None:
        asked.append(topic)
        await subscribe(link, topic, *more, **options)

    async with watching(server.config) as watcher:
        monkeypatch.setattr(Link, "subscribe", noted)
        async with running(publisher(server.config, snapshots=False), table):
            await watcher.sees(ONLINE, online=True)
    assert not [topic for topic in asked if "_snapshot" in topic]


@mosquitto
async def test_forbidden_response_topic_is_refused_at_the_result() -> None:
    table, _ = filled_table()
    async with Mosquitto() as server:
        config = server.config.model_copy(update={"protocol": "5"})
        async with watching(config) as watcher, running(publisher(config), table), Link.connect(config, "hmi") as hmi:
            await watcher.sees(ONLINE, online=True)
            await ask(hmi, response_topic=f"{LINE}/extruder-1/cmd/Standby")
            [told] = await answers(watcher, 1)
            assert (told["status"], told["code"]) == ("error", "BadInvalidArgument")
            assert watcher.of(f"{LINE}/extruder-1/cmd/Standby") == []


@BOTH
@mosquitto
async def test_retained_request_is_refused(protocol: str) -> None:
    table, _ = filled_table()
    async with Mosquitto() as server:
        config = server.config.model_copy(update={"protocol": protocol})
        async with Link.connect(config, "hmi") as hmi:
            await ask(hmi, b"{}", retain=True)
        async with watching(config) as watcher, running(publisher(config), table):
            await watcher.sees(ONLINE, online=True)
            if protocol == "5":  # the broker is asked for nothing of the past
                async with Link.connect(config, "hmi") as hmi:
                    await ask(hmi, b"{}", retain=True)
            [told] = await answers(watcher, 1)
            assert (told["status"], told["code"]) == ("error", "BadInvalidState")


async def test_who_asks_too_often_is_told_so_and_answered_again_later(server: Broker) -> None:
    table, _ = filled_table()
    clock = VirtualClock()
    face = publisher(server.config, clock)
    async with watching(server.config) as watcher, running(face, table), Link.connect(server.config, "hmi") as hmi:
        await watcher.sees(ONLINE, online=True)
        for _ in range(int(snapshots.BURST) + 3):
            hmi.publish(Message(ASK, b"", 1))
        assert await hmi.flush(5)
        told = await answers(watcher, int(snapshots.BURST) + 3)
        assert [one["status"] for one in told] == ["ok"] * int(snapshots.BURST) + ["error"] * 3
        assert told[-1]["code"] == "BadTooManyOperations"
        await clock.advance(1.0)
        await ask(hmi)
        assert (await answers(watcher, len(told) + 1))[-1]["status"] == "ok"
        assert face.metrics()["uns_snapshots_total"] == snapshots.BURST + 1
        assert face.metrics()["uns_snapshots_refused_total"] == 3


async def test_snapshot_that_no_broker_takes_is_refused(server: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOT", 1000)
    table, _ = filled_table()
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(ONLINE, online=True)
        async with Link.connect(server.config, "hmi") as hmi:
            await ask(hmi, b'{"id": 5}')
        [told] = await answers(watcher, 1)
        assert (told["id"], told["code"]) == (5, "BadNotSupported")


@mosquitto
async def test_snapshot_larger_than_the_brokers_packets_is_refused() -> None:
    slots = Slots()
    many = tuple(TagDefinition(f"Monitoring/T{number}", DataType.Double) for number in range(300))
    one = machine(slots, "extruder-1", many)
    table = Table(Plant(bridge_machine(slots), {one.id: one}), SystemClock(), NoEvents())  # type: ignore[arg-type]
    async with Mosquitto(("allow_anonymous true", "max_packet_size 20000")) as server:
        config = server.config.model_copy(update={"protocol": "5"})
        face = publisher(config, meta=False)
        async with watching(config) as watcher, running(face, table), Link.connect(config, "hmi") as hmi:
            await watcher.sees(ONLINE, online=True)
            await ask(hmi)
            [told] = await answers(watcher, 1)
            assert told["code"] == "BadNotSupported"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[1, 2]", b'{"id": true}', b'{"id": 1.5}', b'{"id": "' + b"x" * 200 + b'"}', b"nil"]
)
async def test_whatever_is_asked_with_is_answered(server: Broker, content: bytes) -> None:
    table, _ = filled_table()
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(ONLINE, online=True)
        async with Link.connect(server.config, "hmi") as hmi:
            await ask(hmi, content)
        [told] = await answers(watcher, 1)
        assert (told["id"], told["status"]) == (None, "ok")


async def test_machine_that_appears_is_asked_too_and_one_that_vanished_is_silent(server: Broker) -> None:
    table, _ = filled_table()
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(ONLINE, online=True)
        left = {name: one for name, one in table.plant.machines.items() if name != "extruder-1"}
        table.replace_plant(Plant(table.plant.bridge, left))
        await until(lambda: f"{LINE}/extruder-1/_meta" not in watcher.now)
        async with Link.connect(server.config, "hmi") as hmi:
            await ask(hmi)
            other = "acme/essen/winding/winder-2/_snapshot"
            hmi.publish(Message(other, b"", 1))
            [told] = await answers(watcher, 1, f"{other}/result")
        assert told["machine"] == "winder-2"
        assert watcher.of(RESULT) == []


async def test_machine_that_just_vanished_ends_nothing(server: Broker) -> None:
    """The plant is a batch ahead of what this face was told of it."""
    table, _ = filled_table()
    face = publisher(server.config, publish_interval=3600)
    async with watching(server.config) as watcher, running(face, table) as run:
        await watcher.sees(ONLINE, online=True)
        left = {name: one for name, one in table.plant.machines.items() if name != "extruder-1"}
        table.replace_plant(Plant(table.plant.bridge, left))
        async with Link.connect(server.config, "hmi") as hmi:
            await ask(hmi, b'{"id": 7}')
        [told] = await answers(watcher, 1)
        assert (told["id"], told["code"]) == (7, "BadNotFound")
        assert not run.done()


@mosquitto
@pytest.mark.peer("mosquitto_rr")
async def test_mosquitto_rr_asks_in_one_line() -> None:
    table, _ = filled_table()
    program = peers.program("mosquitto_rr")
    assert program is not None
    async with Mosquitto() as server, watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(ONLINE, online=True)
        client = await asyncio.create_subprocess_exec(
            *(program, "-h", server.host, "-p", str(server.port), "-V", "mqttv5", "-q", "1"),
            *("-t", ASK, "-e", "hmi/eva", "-D", "publish", "correlation-data", "4711", "-F", "%D %p", "-n"),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await client.communicate()
    properties, _, document = said.decode().partition(" {")
    assert "4711" in properties
    assert json.loads("{" + document)["values"]["Monitoring/Pressure"]["value"] == 12.5
