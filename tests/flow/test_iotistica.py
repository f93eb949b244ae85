"""Agents at a broker and their cloud behind it, on three faces: what is live, what is old, what was missed, a write."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.model.command import Result
from bridge.model.status import StatusCode
from bridge.model.tag import Tag
from bridge.northbound.sparkplug import codec
from bridge.sim.clock import VirtualClock
from bridge.sim.iotistica import Iotistica, MqttAccess
from bridge.sim.iotistica import signals as vendor_signals
from bridge.sim.iotistica.plant import Agent, Device, default_agent
from bridge.sources.iotistica.source import IotisticaSource
from tests.broker import Broker, broker, free_port
from tests.flow.commanded import OPERATOR, faces, last_entry, node, people
from tests.flow.lines import LinePeer
from tests.flow.mosquitto import Listener, publish
from tests.flow.opcua_peer import OpcuaPeer
from tests.flow.plantfloor import MqttView, PlantFloor, SparkplugHost, compare, running_bridge, until

SITE = """
sources:
  edge:
    type: iotistica
    writes: true
    mqtt: {{broker: {{host: 127.0.0.1, port: {line}}}}}
    rest: {{url: "{url}/api/v1", username: bridge, password: Simulated-1, share: 1.0}}
machines:
  - {{id: hall-1, area: hall, source: edge, machine: {{agent: "{agent}"}}, mapping: acme/agent}}
mappings: [agent.yaml]
"""
MAPPING = """
version: 1
mapping: acme/agent
extends: iotistica/agent
each: {readings: {settle: 100ms, tag: {"Monitoring/<device>/<metric>": {history: true}}}}
"""
FACES = """
northbound:
  opcua: {{port: {opcua}, unsecured_read_only: true, hosts: [127.0.0.1]}}
  sparkplug: {{publish_interval: 100ms, datatype_in_data: true, broker: {{host: 127.0.0.1, port: {mqtt}}}}}
  uns: {{publish_interval: 100ms, commands: {{enabled: true}}, broker: {{host: 127.0.0.1, port: {mqtt}}}}}
  status: {{port: 0}}
"""
SET_POINTS = """
version: 1
mapping: acme/agent
extends: iotistica/agent
tags:
  Setpoints/Pressure:
    from: readings[device_uuid={first},metric=pressure_setpoint].value
    type: Double
    unit: bar
    range: [0, 12]
    write: {{send: {{device_write: {{device: {first}, point: pressure_setpoint, value: $value}}}}, confirm_within: 25s}}
  Setpoints/Hasty:
    from: readings[device_uuid={second},metric=pressure_setpoint].value
    type: Double
    write:
      send: {{device_write: {{device: {second}, point: pressure_setpoint, value: $value}}}}
      confirm_within: 500ms
"""
METRIC, POINT = "barrel_temp", "pressure_setpoint"
POLL_S = 1.0
PRESSURE, HASTY = "hall-1.Setpoints.Pressure", "hall-1.Setpoints.Hasty"
BEHIND = timedelta(seconds=40)
"""The vendor's clock is moved by the test, by whole seconds; a time that is ahead would be a wrong one."""
HALL = "acme/essen/hall/hall-1"
WRITE = f"{HALL}/cmd/DeviceWrite"


class Line:
    """The cable between the bridge and the vendor's broker: agents go on publishing while it is cut."""

    def __init__(self, there: Broker) -> None:
        self._there = there
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Line:
        await self.mend()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.cut()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        await self._server.wait_closed()

    async def _join(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, on = await asyncio.open_connection(self._there.host, self._there.port)
        ways = {asyncio.create_task(_pass(near, on)), asyncio.create_task(_pass(far, back))}
        self._passing |= ways
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for writer in (back, on):
            writer.close()
        await asyncio.wait(ways)
        self._passing -= ways


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
    except OSError:
        pass


class View(MqttView):
    """Every document of UNS in its order, beside what MqttView keeps."""

    def __init__(self, there: Broker) -> None:
        super().__init__(there)
        self.said: list[tuple[str, Any]] = []

    async def _collect(self) -> None:
        async for message in self._link.messages():
            if message.topic.startswith("spBv1.0/"):
                self.sparkplug.append((message.topic, message.payload))
            else:
                self.uns[message.topic] = message.payload
                if message.topic.startswith(HALL) and message.payload:
                    self.said.append((message.topic, json.loads(message.payload)))

    def metrics(self, tag: Tag, *, historical: bool) -> list[tuple[datetime, Any]]:
        """Times and values of a metric that is not null, in the order of Sparkplug's messages."""
        topics = tuple(f"/{kind}/bridge-1/hall-1" for kind in ("DBIRTH", "DDATA"))
        told = [payload for topic, payload in self.sparkplug if topic.endswith(topics)]
        metrics = [one for payload in told for one in codec.decode(payload).metrics if one.name == tag.name]
        wanted = [one for one in metrics if one.is_historical is historical and not one.is_null]
        return [(moment(one.timestamp), one.value) for one in wanted]

    def live(self, tag: Tag) -> list[tuple[datetime, Any]]:
        """Times and good values of a tag's own topic, in order; that one is uncertain has the bridge's own time."""
        topic = f"{HALL}/{tag.name}"
        told = [one for where, one in self.said if where == topic and one["quality"] == "Good"]
        return [(datetime.fromisoformat(one["timestamp"]), one["value"]) for one in told]

    def past(self, tag: Tag) -> list[tuple[datetime, Any]]:
        """Times and values of a tag on the backfill topic, in order."""
        told = [one for where, document in self.said if where == f"{HALL}/backfill" for one in document["values"]]
        return [(datetime.fromisoformat(one["timestamp"]), one["value"]) for one in told if one["tag"] == tag.name]


class Hall:
    """A running bridge, its vendor, and the vendor's clock, which only the test moves."""

    def __init__(self, vendor: Iotistica, floor: PlantFloor) -> None:
        self.vendor = vendor
        self.agent = vendor.tenant.agents[0]
        self.floor = floor
        source = floor.bridge.runners["edge"].source
        assert isinstance(source, IotisticaSource)
        self.source = source

    def tag(self, device: Device, metric: str = METRIC) -> Tag:
        return self.floor.tag(f"hall-1.readings.{device.endpoint_uuid}.{metric}")

    def shown(self, device: Device, metric: str = METRIC) -> Any:
        return self.floor.bridge.table.read(self.tag(device, metric))

    async def begin(self) -> None:
        """Until the agents have told the first time."""
        await self.is_connected()
        self.vendor.clock.advance(1)
        assert self.vendor.uplink is not None
        await self.vendor.uplink.connected.wait()
        self.vendor.clock.advance(POLL_S)

    async def poll(self) -> None:
        """Once, and never ahead of the bridge: Sparkplug is told no time of the future, the table is."""
        await until(lambda: self.behind >= POLL_S)
        self.vendor.clock.advance(POLL_S)

    @property
    def behind(self) -> float:
        """Seconds by which the vendor's clock is behind the bridge's."""
        return (self.floor.bridge.clock.now() - self.vendor.clock.now()).total_seconds()

    def polled(self, device: Device) -> list[tuple[datetime, Any]]:
        """What the agent has read by now, newest last."""
        now, point = self.vendor.tenant.now, device.point(METRIC)
        assert point is not None
        moments = [*vendor_signals.polls(self.agent, device, now - 600, now)]
        return [(moment(at * 1000), vendor_signals.value(point, at)) for at in reversed(moments)]

    async def is_connected(self) -> None:
        """Until the bridge hears the agents and reads their cloud."""
        listener, rest = self.source.listener, self.source.rest
        assert listener is not None
        assert rest is not None
        await until(lambda: listener.is_connected and rest.is_connected)


class Stage(Hall):
    """A hall, and what three faces say of it."""

    def __init__(self, vendor: Iotistica, floor: PlantFloor, view: View, reader: LinePeer, decoder: LinePeer) -> None:
        super().__init__(vendor, floor)
        self.view = view
        self.reader = reader
        self.host = SparkplugHost(view, decoder)

    async def step(self, number: int = 1) -> None:
        """Poll so many times, and see each on the way."""
        for _ in range(number):
            await self.poll()
            await until(self._is_seen)

    async def pass_unheard(self, theirs: MqttView) -> None:
        """Poll once; the vendor's broker is told, and the bridge is not there."""
        await self.poll()
        newest = [at.isoformat(timespec="milliseconds")[:23].encode() for at, _ in self.newest().values()]
        await until(lambda: all(any(at in one for one in theirs.uns.values()) for at in newest))

    async def pass_the_bridges_word(self) -> None:
        """Poll until all is newer than what the bridge has said itself: for Sparkplug no time goes back.

        A bridge that starts knows its tags: born before their first values, it tells them unknown since its start.
        """
        since = self.floor.bridge.clock.now()
        self.vendor.clock.advance(max(0, math.floor(self.behind) - 2))
        while min(at for at, _ in self.newest().values()) <= since:
            await self.step()

    def _is_seen(self) -> bool:
        shown = [(self.shown(one).source_timestamp, self.shown(one).value) for one in self.agent.devices]
        return shown == [self.polled(one)[-1] for one in self.agent.devices]

    async def agree(self, metric: str = "") -> None:
        """Until every face says what the table holds, of this metric or of all."""
        differences = ["nothing was compared"]
        for _ in range(600):
            found = await compare(self.floor, self.reader, self.host, self.view)
            differences = [one for one in found if metric in one]
            if not differences:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("\n".join(differences[:20]))

    async def check_course(self, device: Device, missed: list[tuple[datetime, Any]]) -> None:
        """What was missed is in the past of both MQTT faces exactly once, and nothing current went back."""
        tag, view = self.tag(device), self.view
        await until(lambda: {*missed} <= {*view.past(tag)} & {*view.metrics(tag, historical=True)})
        for past in (view.past(tag), view.metrics(tag, historical=True)):
            times = Counter(past)
            assert [times[one] for one in missed] == [1] * len(missed)
            assert {*past} <= {*self.polled(device)}
        for live in (view.live(tag), view.metrics(tag, historical=False)):
            assert live == sorted(live, key=lambda one: one[0])
            assert not {*live} & {*missed}

    def after(self, device: Device, last: tuple[datetime, Any]) -> list[tuple[datetime, Any]]:
        """The polls after that one."""
        polled = self.polled(device)
        return polled[polled.index(last) + 1 :]

    def newest(self) -> dict[str, tuple[datetime, Any]]:
        """The newest poll of each device."""
        return {device.uuid: self.polled(device)[-1] for device in self.agent.devices}


def _agents(clock: VirtualClock) -> list[Agent]:
    """One with two devices, whose temperatures are never the same twice."""
    agent = default_agent(0, 2, 1, clock.now())
    for device in agent.devices:
        device.poll_ms = round(POLL_S * 1000)
        point = device.point(METRIC)
        assert point is not None
        point.high, point.period_s = 1e6, 1e5
    return [agent]


def moment(milliseconds: float | None) -> datetime:
    assert milliseconds is not None
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=round(milliseconds))


@pytest.mark.peer("mosquitto", "mosquitto_pub", "mosquitto_sub", "node")
async def test_agents_on_three_faces(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(MAPPING)
    clock, opcua = VirtualClock((datetime.now(UTC) - BEHIND).replace(microsecond=500_000), speed=0), free_port()
    async with (
        broker() as theirs,
        broker() as ours,
        Line(theirs) as line,
        Iotistica(
            _agents(clock), broker=MqttAccess(theirs.host, theirs.port), clock=clock, agents_after_s=1.0
        ) as vendor,
        MqttView(theirs) as heard,
        View(ours) as view,
        running_bridge(
            tmp_path,
            SITE.format(line=line.port, url=vendor.url, agent=vendor.tenant.agents[0].uuid),
            ours,
            faces=FACES.format(opcua=opcua, mqtt=ours.port),
            opcua=opcua,
        ) as floor,
        LinePeer("opcua_reader.js", floor.opcua_url) as reader,
        LinePeer("sparkplug_decoder.js") as decoder,
        Listener(ours, f"{WRITE}/result") as listener,
    ):
        stage = Stage(vendor, floor, view, reader, decoder)
        await _begin(stage)
        await _replay(stage)
        await _write(stage, ours, listener)
        await _lose_the_broker(stage, line, heard)


@pytest.mark.peer("mosquitto", "node")
async def test_what_agents_said_while_the_bridge_was_stopped_is_of_the_past(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(MAPPING)
    clock, opcua = VirtualClock((datetime.now(UTC) - BEHIND).replace(microsecond=500_000), speed=0), free_port()
    async with (
        broker() as theirs,
        broker() as ours,
        Iotistica(
            _agents(clock), broker=MqttAccess(theirs.host, theirs.port), clock=clock, agents_after_s=1.0
        ) as vendor,
        MqttView(theirs) as heard,
        View(ours) as view,
        LinePeer("sparkplug_decoder.js") as decoder,
    ):
        site = SITE.format(line=theirs.port, url=vendor.url, agent=vendor.tenant.agents[0].uuid)
        three = FACES.format(opcua=opcua, mqtt=ours.port)
        async with (
            running_bridge(tmp_path, site, ours, faces=three, opcua=opcua) as floor,
            LinePeer("opcua_reader.js", floor.opcua_url) as reader,
        ):
            stage = Stage(vendor, floor, view, reader, decoder)
            await _begin(stage)
            before = stage.newest()
        for _ in range(5):
            await stage.pass_unheard(heard)
        missed = {device.uuid: stage.after(device, before[device.uuid]) for device in stage.agent.devices}
        async with (
            running_bridge(tmp_path, site, ours, faces=three, opcua=opcua) as floor,
            LinePeer("opcua_reader.js", floor.opcua_url) as reader,
        ):
            stage = Stage(vendor, floor, view, reader, decoder)
            await stage.is_connected()
            await stage.pass_the_bridges_word()
            for device in stage.agent.devices:
                assert len(missed[device.uuid]) == 5
                await stage.check_course(device, missed[device.uuid])
            await stage.agree(METRIC)  # what never changes may have, on Sparkplug, still the time of the bridge's word


@pytest.mark.peer("mosquitto", "node")
async def test_a_point_behind_an_agent_is_a_set_point_that_reads_back(tmp_path: Path) -> None:
    clock, opcua = VirtualClock((datetime.now(UTC) - BEHIND).replace(microsecond=500_000), speed=0), free_port()
    async with (
        broker() as theirs,
        Iotistica(
            _agents(clock), broker=MqttAccess(theirs.host, theirs.port), clock=clock, agents_after_s=1.0
        ) as vendor,
    ):
        first, second = (device.endpoint_uuid for device in vendor.tenant.agents[0].devices)
        (tmp_path / "agent.yaml").write_text(SET_POINTS.format(first=first, second=second))
        site = SITE.format(line=theirs.port, url=vendor.url, agent=vendor.tenant.agents[0].uuid)
        patient = faces(opcua, None).replace("    trust:", "    answer_within: 30\n    trust:")
        async with running_bridge(tmp_path, site, None, faces=patient, opcua=opcua) as floor, people(floor) as peer:
            hall = Hall(vendor, floor)
            await hall.begin()
            await until(lambda: floor.value(PRESSURE).value == floor.value(HASTY).value == 3.5)
            await _confirmed(hall, peer)
            await _refused(hall, peer)
            await _unconfirmed(hall, peer)
            assert await peer.write(OPERATOR, (node(PRESSURE), "Double", 12.5)) == [("BadOutOfRange", 0x803C_0000)]


async def _confirmed(hall: Hall, peer: OpcuaPeer) -> None:
    """The agent's word is not enough, nor is what it had read before: the new reading is."""
    writing = asyncio.create_task(peer.write(OPERATOR, (node(PRESSURE), "Float", 4.25)))
    device = hall.agent.devices[0]
    await until(lambda: _held(device) == 4.25)
    hall.vendor.faults.write(hall.agent.uuid, hall.agent.devices[1].uuid, POINT, 4.25)
    assert hall.floor.value(PRESSURE).value == 3.5
    assert not writing.done()
    await hall.poll()
    assert await writing == [("Good", 0)]
    await until(lambda: hall.floor.value(HASTY).value == 4.25)
    assert hall.floor.value(PRESSURE).value == 4.25
    assert await _outcome(hall, PRESSURE) == (Result.CONFIRMED, "The machine reads back what was asked")


async def _refused(hall: Hall, peer: OpcuaPeer) -> None:
    """By the device's driver: nothing is waited for."""
    hall.vendor.faults.write_mode(hall.agent.uuid, hall.agent.devices[0].uuid, "reject")
    assert await peer.write(OPERATOR, (node(PRESSURE), "Double", 5.5)) == [("BadInvalidState", 0x80AF_0000)]
    result, sentence = await _outcome(hall, PRESSURE)
    assert (result, sentence.startswith("The device refuses it")) == (Result.REFUSED, True)
    await hall.poll()
    assert hall.floor.value(PRESSURE).value == 4.25


async def _unconfirmed(hall: Hall, peer: OpcuaPeer) -> None:
    """Taken, and not read in time: unknown; then it is read."""
    assert await peer.write(OPERATOR, (node(HASTY), "Double", 6.0)) == [("BadTimeout", 0x800A_0000)]
    result, sentence = await _outcome(hall, HASTY)
    assert (result, "within 0.5 s: outcome unknown" in sentence) == (Result.UNKNOWN, True)
    assert hall.floor.value(HASTY).value == 4.25
    await hall.poll()
    await until(lambda: hall.floor.value(HASTY).value == 6.0)


def _held(device: Device) -> Any:
    """What the device itself has."""
    point = device.point(POINT)
    assert point is not None
    return point.written[-1][1] if point.written else None


async def _outcome(hall: Hall, target: str) -> tuple[Result, str]:
    outcome = (await last_entry(hall.floor, "hall-1", target)).outcome
    assert outcome is not None
    return outcome.result, outcome.sentence


async def _begin(stage: Stage) -> None:
    """Two devices with one metric name are two tags, and every face says the same of them."""
    await stage.begin()
    await until(lambda: len([tag for tag in stage.floor.tags() if ".readings." in tag.id]) == 12)
    await stage.step(2)
    first, second = (stage.tag(device) for device in stage.agent.devices)
    assert first.name != second.name
    assert first.name.rpartition("/")[2] == second.name.rpartition("/")[2] == METRIC
    await stage.agree()


async def _replay(stage: Stage) -> None:
    """An agent whose uplink was down tells first what is so, then what was."""
    assert stage.vendor.uplink is not None
    before, link = stage.newest(), stage.vendor.uplink.link(stage.agent.uuid)
    stage.vendor.faults.disconnect(stage.agent.uuid)
    assert not link.due()
    stage.vendor.clock.advance(6 * POLL_S)
    stage.vendor.faults.connect(stage.agent.uuid)
    await stage.step()
    for device in stage.agent.devices:
        await stage.check_course(device, stage.after(device, before[device.uuid])[:5])
    await stage.agree()


async def _write(stage: Stage, ours: Broker, listener: Listener) -> None:
    """A write is answered with what the agent said of it, and is shown when it was read."""
    device = stage.agent.devices[0]

    async def answer(value: float) -> Any:
        since, arguments = listener.now, {"Device": device.endpoint_uuid, "Point": POINT, "Value": value}
        await publish(ours, WRITE, json.dumps({"args": arguments, "id": f"order-{value}"}).encode())
        return json.loads((await listener.next(f"{WRITE}/result", since)).payload)

    said = await answer(4.25)
    assert (said["status"], said["result"]) == ("ok", "accepted"), said
    await stage.step()
    await until(lambda: stage.shown(device, POINT).value == 4.25)
    stage.vendor.faults.write_mode(stage.agent.uuid, device.uuid, "reject")
    said = await answer(5.5)
    assert (said["status"], said["result"]) == ("error", "refused"), said
    await stage.step()
    assert stage.shown(device, POINT).value == 4.25
    await stage.agree()


async def _lose_the_broker(stage: Stage, line: Line, theirs: MqttView) -> None:
    """What agents published meanwhile is read from the cloud."""
    listener, rest = stage.source.listener, stage.source.rest
    assert listener is not None
    assert rest is not None
    before = stage.newest()
    await line.cut()
    lost = StatusCode.UncertainNoCommunicationLastUsableValue
    await until(lambda: all(stage.shown(device).status is lost for device in stage.agent.devices))
    since = max(stage.shown(device).source_timestamp for device in stage.agent.devices)
    stage.vendor.clock.advance(max(0, math.floor(stage.behind) - 8))
    while stage.vendor.clock.now() <= since:  # what comes next is newer than the bridge's word on the loss
        await stage.pass_unheard(theirs)
    for device in stage.agent.devices:
        assert stage.shown(device).status is lost
        assert stage.shown(device).value == before[device.uuid][1]
    await line.mend()
    await until(lambda: listener.is_connected)
    missed = {device.uuid: stage.after(device, before[device.uuid]) for device in stage.agent.devices}
    await stage.step()
    for device in stage.agent.devices:
        assert len(missed[device.uuid]) > 6
        await stage.check_course(device, missed[device.uuid])
    assert rest.backfilled.rows >= sum(map(len, missed.values()))
    await until(lambda: not len(rest.backfilled))
    await stage.step()
    await stage.agree()
