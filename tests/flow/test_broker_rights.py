"""The shipped ACL: a whole bridge is denied nothing; each line is needed, and where one is missing that is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import topic_matches_sub

from bridge.hub.log import EventLogStore
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.event import Event
from bridge.model.plant import Plant
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.node import SparkplugNode
from bridge.northbound.uns import events
from bridge.northbound.uns.config import UnsConfig
from bridge.northbound.uns.publisher import UnsPublisher
from bridge.sim.qitech.panel import Panel
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import BrokerConfig, Link, Message
from tests import peers
from tests.broker import free_port
from tests.flow.commanded import EXTRUDER, OPCUA, WATER, _hashed, mutations, open_source
from tests.flow.plantfloor import PlantFloor, running_bridge, until
from tests.flow.test_loss_and_return import is_good
from tests.guarded import BRIDGE, Dynamic, Guarded, Right, rights, shipped_acl
from tests.northbound.fake_desk import FakeDesk
from tests.northbound.opcua.house import APPLICATION, own_certificate
from tests.northbound.sparkplug.host import Host
from tests.northbound.sparkplug.schema import encode
from tests.northbound.sparkplug.test_node import rebirth_request, say
from tests.northbound.uns.test_publisher import Addresses, good
from tests.one_of_everything import NOW, filled_table
from tests.one_of_everything import plant as plant_of

pytestmark = pytest.mark.peer("mosquitto", "mosquitto_passwd")
both = pytest.mark.parametrize("protocol", ["5", "3.1.1"])

SPARKPLUG = "spBv1.0/acme:essen"
LINE = "acme/essen/extrusion/line-1"
SPEED = f"{LINE}/extruder-1/cmd/Setpoints/ScrewSpeed"
STATE = "spBv1.0/STATE/host-1"
ONLINE = "acme/essen/_bridge/bridge-1/online"
BOOLEAN, DOUBLE = 11, 10

SITE = """
sources:
  panel: {{type: qitech, url: "{url}", poll_period: 200ms, {source}}}
machines:
  - {{id: extruder-1, area: extrusion, line: line-1, source: panel, machine: {{slug: extruder_v1, serial: 57922}},
      tags: {{Setpoints/ScrewSpeed: {{history: true}}}}}}
{more}
discovery: adopt
"""
WATER_1 = (
    "  - {id: water-1, area: extrusion, line: line-1, source: panel, machine: {slug: aquapath_v1, serial: 57924}}\n"
)
MQTT = """
  sparkplug:
    publish_interval: 100ms
    primary_host_id: host-1
    commands: {{enabled: true}}
    broker: &broker
      {{host: 127.0.0.1, port: {port}, protocol: "{protocol}", tls: true, ca_file: "{ca}", username: bridge-1,
       password: "${{file:{secret}}}"}}
  uns:
    publish_interval: 100ms
    commands: {{enabled: true}}
    broker: *broker
"""


@asynccontextmanager
async def plant(
    folder: Path, server: Guarded, panel: Panel, protocol: str, more: str = WATER_1
) -> AsyncIterator[PlantFloor]:
    """A bridge with all faces open for commands, its password in a file."""
    secret = folder / "password"
    secret.write_text(server.password(BRIDGE))
    opcua = free_port()
    users = f'      - {{name: otto, role: Operator, password_hash: "{_hashed()}"}}'
    faces = OPCUA.format(opcua=opcua, users=users, pki=own_certificate().parent, application=APPLICATION)
    faces += MQTT.format(port=server.port, protocol=protocol, ca=server.ca_file, secret=secret)
    rest = SITE.format(url=panel.url, source=open_source(), more=more)
    async with running_bridge(folder, rest, server, faces=faces, opcua=opcua) as floor:
        await until(lambda: is_good(floor, "extruder-1.Setpoints.ScrewSpeed"))
        yield floor


class Client:
    """One of the others at the broker: what is on each topic, and all that came."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.came: list[Message] = []
        self.now: dict[str, Message] = {}
        self.host = Host()

    async def listen(self) -> None:
        async for message in self.link.messages():
            self.came.append(message)
            self.now[message.topic] = message
            if message.topic.startswith(f"{SPARKPLUG}/") and "CMD" not in message.topic:
                self.host.hear(message.topic, message.payload, message.qos, message.retain)

    def say(self, topic: str, payload: bytes, **more: Any) -> None:
        self.link.publish(Message(topic, payload, 1, **more))

    async def answer(self, topic: str, payload: bytes, answers: str, **more: Any) -> dict[str, Any]:
        """Say something, and wait for what comes on a topic then."""
        before = len(self.came)
        self.say(topic, payload, **more)
        await until(lambda: any(one.topic == answers for one in self.came[before:]))
        found: dict[str, Any] = json.loads(next(one for one in self.came[before:] if one.topic == answers).payload)
        return found


@asynccontextmanager
async def client(server: Guarded, user: str, protocol: str, *filters: str) -> AsyncIterator[Client]:
    async with Link.connect(server.config_of(user, protocol), user) as link:
        one = Client(link)
        for topic_filter in filters:
            await link.subscribe(topic_filter)
        task = asyncio.create_task(one.listen())
        try:
            yield one
        finally:
            task.cancel()
            await asyncio.wait({task})


@both
async def test_a_bridge_with_every_face_and_its_clients_are_denied_nothing(tmp_path: Path, protocol: str) -> None:
    async with (
        Guarded(tmp_path / "broker") as server,
        Panel([EXTRUDER, WATER], release="3.0", port=free_port()) as panel,
        client(server, "host-1", protocol, f"{SPARKPLUG}/#", STATE) as host,
        client(server, "reader", protocol, "acme/essen/#") as reader,
        client(server, "commander", protocol, "acme/essen/#", "answers/commander/#") as commander,
    ):
        host.say(STATE, b'{"online": true, "timestamp": 1}', retain=True)
        async with plant(tmp_path, server, panel, protocol) as floor:
            await _everybody_is_served(floor, panel, host, reader, commander, protocol)
        await until(lambda: b'"online":false' in reader.now[ONLINE].payload)
        await until(lambda: host.host.said[-1] == "NDEATH")
        # What an earlier run left behind is looked for, found and emptied.
        water = f"{LINE}/water-1/Setpoints/Mode"
        assert reader.now[water].payload
        async with plant(tmp_path, server, panel, protocol, more="") as floor:
            await until(lambda: reader.now[water].payload == b"" and reader.now[f"{LINE}/water-1/_meta"].payload == b"")
            await until(lambda: [getattr(face, "trouble", "") for face in floor.bridge.faces.values()] == ["", "", ""])
        assert server.denied == []
        assert host.host.broken == []
        reader.say(SPEED, b"30")
        await until(lambda: any(SPEED in line for line in server.denied))


async def _everybody_is_served(
    floor: PlantFloor, panel: Panel, host: Client, reader: Client, commander: Client, protocol: str
) -> None:
    await until(lambda: "DBIRTH extruder-1" in host.host.said and "DBIRTH water-1" in host.host.said)
    await until(lambda: ONLINE in reader.now and b'"online":true' in reader.now[ONLINE].payload)
    host.say(f"{SPARKPLUG}/NCMD/bridge-1", rebirth_request())
    await until(lambda: host.host.said.count("NBIRTH") == 2)
    host.say(f"{SPARKPLUG}/DCMD/bridge-1/extruder-1", encode(("Setpoints/ScrewSpeed", DOUBLE, 11.0)))
    await until(lambda: _result(host.host) == "confirmed")
    beside = await commander.answer(SPEED, b'{"value": 12, "id": "1"}', f"{SPEED}/result")
    assert beside["result"] == "confirmed"
    if protocol == "5":
        mine = "answers/commander/1"
        answered = await commander.answer(SPEED, b"13", mine, response_topic=mine, correlation_data=b"c")
        assert answered["result"] == "confirmed"
    snapshot = f"{LINE}/extruder-1/_snapshot"
    assert (await reader.answer(snapshot, b"", f"{snapshot}/result"))["values"]
    own = "acme/essen/_bridge/bridge-1/_snapshot"
    assert (await reader.answer(own, b"", f"{own}/result"))["values"]
    await panel.backend.send(panel.machine(EXTRUDER.slug, EXTRUDER.serial).identity, {"SetInverterTargetRpm": 17.0})
    changed = f"{LINE}/extruder-1/event/SetpointChangedAtMachine"
    await until(lambda: changed in reader.now)
    assert len(mutations(panel)) == (3 if protocol == "5" else 2)


def _result(host: Host) -> object:
    """What the machine's metrics say of the last DCMD."""
    known = host.tags.get("extruder-1", {}).get("Commands/DCMD/Result")
    return known and known.value


# A line less. Faces alone, each line with a broker of its own, all at once.

OF_BRIDGE = [right for right in rights() if right.user == BRIDGE]
SILENT = [right for right in OF_BRIDGE if right.access == "write" and right.topic.startswith("spBv1.0/")]
"""Sparkplug publishes with QoS 0: the broker's log alone tells."""
WARNED = {
    f"{SPARKPLUG}/NDEATH/bridge-1": "A twin of acme:essen/bridge-1 would not be noticed",
    "acme/essen/_bridge/bridge-1/_machines": "not looked for, and stay",
    "acme/essen/_bridge/bridge-1/_meta": "not looked for, and stay",
    f"{LINE}/+/_meta": "not looked for, and stay",
}
"""What the bridge does without: said in its log once."""


class Faces:
    """Both MQTT faces on a plant of one machine, connected as the bridge."""

    def __init__(self, folder: Path, broker: BrokerConfig) -> None:
        self.table, _ = filled_table()
        self.table.replace_plant(
            Plant(self.table.plant.bridge, {"extruder-1": self.table.plant.machines["extruder-1"]})
        )
        self.broker = broker
        more: dict[str, Any] = {"publish_interval": 0.05, "commands": {"enabled": True}}
        host = SparkplugConfig(broker=broker, primary_host_id="host-1", **more)
        self.sparkplug = SparkplugNode(host, CLOCK, folder, "acme", "essen", BRIDGE)
        uns = UnsConfig.model_validate({"broker": broker, "heartbeat": 1, **more})
        self.uns = UnsPublisher(uns, CLOCK, "acme", "essen", BRIDGE)

    async def __aenter__(self) -> Faces:
        """Host-1 is online already, and an earlier run served a machine that is gone."""
        async with Link.connect(self.broker, "earlier") as link:
            link.publish(Message(f"{UNS_BRIDGE}/_machines", EARLIER, 1, retain=True))
            assert await link.flush(5)
        desk, operations = FakeDesk(), Addresses()
        self._tasks = [
            asyncio.create_task(self.sparkplug.run(self.table, desk, operations)),  # type: ignore[arg-type]
            asyncio.create_task(self.uns.run(self.table, desk, operations)),  # type: ignore[arg-type]
        ]
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        assert all(task.cancelled() for task in self._tasks)


UNS_BRIDGE = "acme/essen/_bridge/bridge-1"
EARLIER = json.dumps({"machines": {"gone": f"{LINE}/gone", "Bridge": UNS_BRIDGE}}).encode()
CLOCK = SystemClock()


async def _host_is_online(config: BrokerConfig) -> None:
    async with Link.connect(config, "host-1") as link:
        link.publish(Message(STATE, b'{"online": true, "timestamp": 1}', 1, retain=True))
        assert await link.flush(5)


def _without(right: Right) -> str:
    """The shipped ACL, and this line of the bridge taken out."""
    head, block, rest = shipped_acl().partition("user bridge-1\n")
    assert rest.count(f"\n{right.line}\n") == 1
    return head + block + rest.replace(f"\n{right.line}\n", "\n")


async def test_each_missing_line_of_publishing_is_told(tmp_path: Path) -> None:
    """With MQTT 5 by the bridge, where the broker acknowledges; what is QoS 0 by the broker's log."""
    writes = [right for right in OF_BRIDGE if right.access == "write"]
    await asyncio.gather(*(_published_without(tmp_path / str(number), right) for number, right in enumerate(writes)))


async def _published_without(folder: Path, right: Right) -> None:
    async with Guarded(folder, _without(right)) as server:
        await _host_is_online(server.config_of("host-1"))
        async with Faces(folder, server.config_of(BRIDGE)) as faces, client(server, "commander", "5") as commander:
            await until(lambda: faces.sparkplug.is_online and faces.uns.trouble.count("cannot be used") == 0)
            await until(lambda: faces.uns.metrics()["uns_connected"])
            say(faces.table, "Monitoring/Pressure", 1.0)
            version = faces.table.plant.bridge.tag("Version")
            assert version is not None
            faces.table.update([(version.slot, good("1"))])
            if right.topic.startswith("answers/"):
                commander.say(f"{LINE}/extruder-1/_snapshot", b"", response_topic="answers/commander/1")
            if right not in SILENT:
                await until(lambda: "Its ACL lacks" in faces.uns.trouble)
                told = faces.uns.trouble.partition('for user "bridge-1": ')[2].partition(";")[0].partition(" and ")[0]
                assert topic_matches_sub(right.topic, told.removeprefix("topic write ")), faces.uns.trouble
            else:
                await until(lambda: faces.sparkplug.messages_total > 3)
        await until(lambda: _denied(server))
        assert all(topic_matches_sub(right.topic, topic) for topic in _denied(server)), (right, server.denied)
        assert right in SILENT or not faces.sparkplug.trouble


def _denied(server: Guarded) -> set[str]:
    """Topics that were not to be published to."""
    return {line.split("'")[1] for line in server.denied if "PUBLISH" in line}


@pytest.mark.peer(peers.PLUGIN)
@both
async def test_each_missing_line_of_subscribing_is_told(
    tmp_path: Path, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By brokers that refuse SUBSCRIBE, as mosquitto's dynamic security."""
    reads = [right for right in OF_BRIDGE if right.access == "read"]
    assert set(WARNED) < {right.topic for right in reads}
    await asyncio.gather(
        *(_subscribed_without(tmp_path / str(number), right, protocol, caplog) for number, right in enumerate(reads))
    )


async def _subscribed_without(folder: Path, right: Right, protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Dynamic(folder, [one for one in rights() if one != right]) as server:
        await _host_is_online(server.config_of("host-1", protocol))
        async with Faces(folder, server.config_of(BRIDGE, protocol)) as faces:
            await until(lambda: _told(right, faces, [record.getMessage() for record in caplog.records]))
            face = faces.uns if right.topic.startswith("spBv1.0/") else faces.sparkplug
            await until(lambda: not face.trouble)


def _told(right: Right, faces: Faces, said: list[str]) -> bool:
    where = faces.broker.where
    if right.topic in WARNED:
        return any(WARNED[right.topic] in line for line in said)
    if right.topic.startswith("spBv1.0/"):
        return f"not connected to {where}: it refuses {right.topic}: " in faces.sparkplug.trouble
    topic = right.topic.replace("+", "extruder-1")
    return f'Its ACL lacks, for user "bridge-1": topic read {topic}' in faces.uns.trouble


async def test_a_state_nobody_may_read_is_one_possible_reason_to_wait(tmp_path: Path) -> None:
    """mosquitto's acl_file takes the subscription and delivers nothing."""
    (state,) = [right for right in OF_BRIDGE if right.topic == STATE]
    async with Guarded(tmp_path, _without(state)) as server:
        await _host_is_online(server.config_of("host-1"))
        async with Faces(tmp_path, server.config_of(BRIDGE)) as faces:
            await until(lambda: f"access control must let us read {STATE}" in faces.sparkplug.trouble)


async def test_an_event_that_is_refused_is_kept_and_told_when_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RETRY_S", 0.1)
    shipped = shipped_acl()
    mute = shipped.replace("user bridge-1\n", f"user bridge-1\ntopic deny {LINE}/extruder-1/event/#\n")
    async with (
        Guarded(tmp_path, mute) as server,
        EventLogStore(tmp_path / "log.db", CLOCK) as log,
        client(server, "reader", "5", "acme/essen/#") as reader,
    ):
        face = Faces(tmp_path, server.config_of(BRIDGE)).uns
        table = Table(plant_of(Slots()), CLOCK, log)
        task = asyncio.create_task(face.run(table, FakeDesk(), Addresses()))  # type: ignore[arg-type]
        try:
            await until(lambda: face.metrics()["uns_connected"])
            log.append(Event("1", "Before", NOW, "Told"))
            log.append(Event("2", "SourceLost", NOW, "Kept", machine="extruder-1"))
            log.append(Event("3", "After", NOW, "Waits behind it"))
            await until(lambda: f"topic write {LINE}/extruder-1/event/SourceLost" in face.trouble)
            await until(lambda: face.events_total == 1)
            server.allow(shipped)
            await until(lambda: face.events_total == 3)
            ids = [json.loads(one.payload)["id"] for one in reader.came if "/event/" in one.topic]
            assert (ids[0], ids.count("1"), ids.count("2"), ids[-1]) == ("1", 1, 1, "3")
        finally:
            task.cancel()
            await asyncio.wait([task])
