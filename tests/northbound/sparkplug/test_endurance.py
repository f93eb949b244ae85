"""What conformance kits do not see: long sequences, bursts, sizes, changes, and a connection that breaks anywhere."""

from __future__ import annotations

import asyncio
import random
import sys
import textwrap
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from bridge.model.plant import ALIVE, Plant
from bridge.model.tag import TagDefinition
from bridge.model.value import DataType
from bridge.northbound.sparkplug import node as node_module
from bridge.northbound.sparkplug import publisher as publisher_module
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.node import SparkplugNode
from bridge.northbound.sparkplug.session import REBIRTH_WINDOW_S
from bridge.transport.clock import SystemClock
from tests.broker import Mosquitto, free_port
from tests.northbound.sparkplug.host import Host
from tests.northbound.sparkplug.tap import PUBLISH, SUBSCRIBE, Packet, Session, Tap
from tests.northbound.sparkplug.test_node import CLOCK, NCMD, Watcher, rebirth_request, running, say, until, watching
from tests.one_of_everything import DEFINITIONS, VALUES, fill, filled_table, machine
from tests.road import Road

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.hub.slots import Slots
    from bridge.hub.table import Table

pytestmark = pytest.mark.peer("mosquitto")
both = pytest.mark.parametrize("protocol", ["3.1.1", "5"])


@pytest.fixture(autouse=True)
def quick_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "BACK_OFF_S", (0.02, 0.04))


def new_node(tap: Tap, folder: Path, **more: Any) -> SparkplugNode:
    config = SparkplugConfig.model_validate({"broker": tap.config, "publish_interval": 0.01, **more})
    return SparkplugNode(config, CLOCK, folder, "acme", "essen", "bridge-1")


def many(table: Table, slots: Slots, count: int) -> list[str]:
    machines = {f"m-{number}": machine(slots, f"m-{number}", DEFINITIONS[:3]) for number in range(count)}
    table.replace_plant(Plant(table.plant.bridge, machines))
    for one in machines.values():
        table.update([(tag.slot, VALUES[tag.name]) for tag in one.tags])
    return [*machines]


def heard(sessions: list[Session]) -> list[Host]:
    """Each session as a host that misses nothing understands it."""
    hosts = []
    for session in sessions:
        hosts.append(Host())
        for packet in session.published:
            data = packet.payload.SerializeToString()
            hosts[-1].hear(packet.topic, data, packet.qos, packet.retain)
    return hosts


def bd_seqs(tap: Tap) -> list[int]:
    return [session.connect.bd_seq for session in tap.sessions if session.packets]


@both
async def test_seq_over_many_messages_of_many_devices_with_rebirths_between(protocol: str, tmp_path: Path) -> None:
    """More than 600 messages between two births: seq wraps twice, one counter for all devices."""
    table, slots = filled_table()
    names = many(table, slots, 40)
    async with Mosquitto() as server, Tap(server, protocol) as tap, watching(server) as host:
        node = new_node(tap, tmp_path)
        async with running(node, table):
            await until(lambda: node.is_online)
            for turn in range(60):
                for name in names[:: 1 + turn % 3]:
                    say(table, "Monitoring/Pressure", float(turn), name)
                await asyncio.sleep(0.012)
                if turn in (50, 55):
                    host.publish(NCMD, rebirth_request())
            await until(lambda: node.session.rebirths == 2)
            await until(lambda: agree(host, names, 59.0))
        (session,) = tap.sessions
    assert host.broken == []
    (again,) = heard([session])
    assert again.broken == []
    births = [index for index, packet in enumerate(session.published) if packet.message == "NBIRTH"]
    assert births[1] - births[0] > 600
    numbers = [packet.payload.seq for packet in session.published if packet.message != "NDEATH"]
    assert sum(after < before for before, after in pairwise(numbers)) >= 4


def agree(host: Host, names: list[str], value: float) -> bool:
    """The host holds this value of every third."""
    tags = [host.tags.get(name, {}).get("Monitoring/Pressure") for name in names[::3]]
    return all(tag is not None and tag.value == value for tag in tags)


@both
async def test_burst_of_rebirth_requests_while_data_flows(protocol: str, tmp_path: Path) -> None:
    """Twenty requests: births at once, and at most once more, for those that came meanwhile."""
    table, slots = filled_table()
    names = many(table, slots, 20)
    async with Mosquitto() as server, Tap(server, protocol) as tap, watching(server) as host:
        node = new_node(tap, tmp_path)
        async with running(node, table):
            await until(lambda: node.is_online)
            rebirths = 0
            for _ in range(2):
                for number in range(20):
                    host.publish(NCMD, rebirth_request(), qos=number % 2)
                    say(table, "Monitoring/Pressure", float(number), random.choice(names))
                before = rebirths
                await until(lambda: node.session.rebirths > before)  # noqa: B023
                await asyncio.sleep(REBIRTH_WINDOW_S * 1.5)
                assert node.session.rebirth_at is None
                rebirths = node.session.rebirths
                assert rebirths <= before + 2
            assert len(tap.sessions) == 1
        (session,) = tap.sessions
        said = [packet.message for packet in session.published]
    assert said.count("NBIRTH") == 1 + rebirths
    assert said.count("NDEATH") == 1, "only the planned end"
    for index, kind in enumerate(said):
        if kind == "NBIRTH":
            assert said[index + 1 : index + 21] == ["DBIRTH"] * 20
    assert {packet.bd_seq for packet in session.said("NBIRTH")} == {0}
    assert heard([session])[0].broken == []


MOMENTS = ["CONNECT", "SUBSCRIBE", "NBIRTH", "DBIRTH 1", "DBIRTH 5", "DBIRTH last", "DDATA", "rebirth", "NDEATH"]


class Moment:
    """Says yes once, after the packet that is meant."""

    def __init__(self, moment: str, devices: int) -> None:
        self._kind, _, number = moment.partition(" ")
        self._left = devices if number == "last" else int(number or 1)
        if moment == "rebirth":
            self._kind, self._left = "DBIRTH", devices + 3
        self.is_over = False

    def __call__(self, packet: Packet) -> bool:
        kind = packet.message if packet.kind == PUBLISH else {1: "CONNECT", SUBSCRIBE: "SUBSCRIBE"}.get(packet.kind)
        if self.is_over or kind != self._kind:
            return False
        self._left -= 1
        self.is_over = self._left == 0
        return self.is_over


@both
@pytest.mark.parametrize("moment", MOMENTS)
async def test_connection_that_breaks_at_any_moment(moment: str, protocol: str, tmp_path: Path) -> None:
    """Next bdSeq, all births again, the newest values, and the host in the right state in between."""
    table, slots = filled_table()
    names = many(table, slots, 10)
    cut = Moment(moment, len(names))
    async with Mosquitto() as server, Tap(server, protocol) as tap, watching(server) as host:
        tap.breaks_after = cut
        node = new_node(tap, tmp_path)
        async with running(node, table):
            if moment == "NDEATH":
                await until(lambda: node.is_online)
            elif moment in ("DDATA", "rebirth"):
                await until(lambda: node.is_online)
                host.publish(NCMD, rebirth_request())
                say(table, "Monitoring/Pressure", 1.0, names[0])
                await until(lambda: node.session.rebirths or cut.is_over)
                say(table, "Monitoring/Pressure", 2.0, names[0])
            if moment != "NDEATH":
                await until(lambda: cut.is_over)
                for name in names:
                    say(table, "Monitoring/Pressure", 3.0, name)
                await until(lambda: node.is_online and len(tap.sessions) == 2)
                await until(lambda: host.is_online and agree(host, names, 3.0) and host.dead == set())
        await until(lambda: not host.is_online)
        used = bd_seqs(tap)
    assert used == [*range(len(used))], "each CONNECT has the next number"
    assert all(one.broken == [] for one in heard(tap.sessions))


@both
async def test_broker_killed_again_and_again_during_births(protocol: str, tmp_path: Path) -> None:
    """At random times: each CONNECT has the next number, whatever became of it; in the end all is right."""
    dice = random.Random(5)
    table, slots = filled_table()
    names = many(table, slots, 60)
    async with Mosquitto() as server, Tap(server, protocol) as tap:
        node = new_node(tap, tmp_path)
        async with running(node, table):
            for turn in range(12):
                for name in names:
                    say(table, "Monitoring/Pressure", float(turn), name)
                await asyncio.sleep(dice.uniform(0, 0.08))
                await server.stop()
                await asyncio.sleep(dice.uniform(0, 0.04))
                await server.start()
            await until(lambda: node.is_online)
            async with watching(server) as host:
                host.publish(NCMD, rebirth_request())
                await until(lambda: len(host.tags) == 61 and agree(host, names, 11.0))
        used = bd_seqs(tap)
    assert used == [*range(len(used))]
    assert all(one.broken == [] for one in heard(tap.sessions))


MORTAL = """
import asyncio, sys
from pathlib import Path
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.node import SparkplugNode
from bridge.transport.clock import SystemClock
from tests.one_of_everything import filled_table

async def main():
    table, _ = filled_table()
    config = SparkplugConfig.model_validate({"broker": {"port": int(sys.argv[1]), "protocol": "3.1.1"}})
    node = SparkplugNode(config, SystemClock(), Path(sys.argv[2]), "acme", "essen", "bridge-1")
    print("runs", flush=True)
    await node.run(table, None, None)

asyncio.run(main())
"""


async def test_killed_process_never_says_a_bdseq_twice(tmp_path: Path) -> None:
    """kill -9 after CONNECT, in the births, and before anything: bdSeq goes on."""
    async with Mosquitto() as server, Tap(server) as tap:
        port = str(tap.config.port)
        for moment in ("CONNECT", "NBIRTH", "", "DBIRTH", "CONNECT"):
            killed = asyncio.Event()
            cut = Moment(moment, 1)

            def kill(packet: Packet, cut: Moment = cut, killed: asyncio.Event = killed) -> bool:
                if cut(packet):
                    killed.set()
                return False

            tap.breaks_after = kill
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", textwrap.dedent(MORTAL), port, str(tmp_path)), stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            await process.stdout.readline()
            if moment:
                await killed.wait()
            process.kill()
            await process.wait()
        await until(lambda: not tap.open)
        used = bd_seqs(tap)
    assert len(used) == len(set(used)) >= 4, used
    assert used == sorted(used)
    assert used[0] == 0
    assert used[-1] <= len(used) + 1, "a kill before CONNECT may use up a number"


@both
async def test_twin_is_told_of_and_both_slow_down(
    protocol: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two bridges of one name: the broker keeps the one that came last; they do not storm it."""
    waits: list[int] = []
    monkeypatch.setattr(node_module, "_wait", lambda attempt: waits.append(attempt) or 0.02)
    table, _ = filled_table()
    async with Mosquitto() as server, Tap(server, protocol) as tap:
        one, twin = new_node(tap, tmp_path / "a"), new_node(tap, tmp_path / "b")
        async with running(one, table), running(twin, table):
            await until(lambda: "is there a second bridge of this name?" in caplog.text)
    assert max(waits) >= 2, "sessions that do not last are not forgiven"


async def test_bridge_that_is_stopped_before_it_could_connect_uses_up_no_bdseq(tmp_path: Path) -> None:
    table, _ = filled_table()
    dead = SparkplugConfig.model_validate({"broker": {"port": free_port()}})
    for number in range(12):
        async with running(SparkplugNode(dead, CLOCK, tmp_path, "acme", "essen", "bridge-1"), table):
            await asyncio.sleep(number * 0.003)
    async with Mosquitto() as server, Tap(server) as tap:
        async with running(new_node(tap, tmp_path), table) as node:
            await until(lambda: node.is_online)
        assert bd_seqs(tap) == [0]


def large(slots: Slots, name: str, count: int) -> Any:
    definitions = [TagDefinition(f"Monitoring/Value{number}", DataType.Double) for number in range(count)]
    return machine(slots, name, (*definitions, TagDefinition(ALIVE, DataType.Boolean)))


@pytest.mark.parametrize("says_so", [True, False], ids=["the broker says", "configured"])
async def test_birth_that_is_too_large_is_left_out_and_told(
    says_so: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The others live; the one is a fault with its size, the limit and what to do. Smaller again, it is born."""
    table, slots = filled_table()
    huge = large(slots, "huge-1", 400)
    table.replace_plant(Plant(table.plant.bridge, {**table.plant.machines, "huge-1": huge}))
    say(table, ALIVE, True, "huge-1")
    limit = 8000
    lines = ("allow_anonymous true", f"max_packet_size {limit}") if says_so else ()
    async with Mosquitto(lines) as server, Tap(server, "5" if says_so else "3.1.1") as tap, watching(server) as host:
        node = new_node(tap, tmp_path, **({} if says_so else {"max_packet_size": limit}))
        async with running(node, table):
            await until(lambda: node.is_online and "extruder-1" in host.tags)
            for number in range(3):
                say(table, "Monitoring/Value1", float(number), "huge-1")
                say(table, "Monitoring/Pressure", float(number))
                await until(lambda: host.tags["extruder-1"]["Monitoring/Pressure"].value == number)  # noqa: B023
            assert "huge-1" not in host.tags
            assert "huge-1 is not published: its birth has " in node.trouble
            assert "bytes, the broker takes 7" in node.trouble
            assert "fewer tags" in node.trouble
            small = large(slots, "huge-1", 20)
            table.replace_plant(Plant(table.plant.bridge, {**table.plant.machines, "huge-1": small}))
            say(table, ALIVE, True, "huge-1")
            await until(lambda: "huge-1" in host.tags)
            assert node.trouble == ""
        assert len(tap.sessions) == 1
        assert max(len(packet.body) for packet in tap.published) < limit
    assert caplog.text.count("huge-1 is not published") == 1
    assert host.broken == []


async def test_data_that_would_be_too_large_comes_in_portions(tmp_path: Path) -> None:
    table, slots = filled_table()
    wide = large(slots, "wide-1", 60)
    table.replace_plant(Plant(table.plant.bridge, {"wide-1": wide}))
    say(table, ALIVE, True, "wide-1")
    async with Mosquitto() as server, Tap(server) as tap, watching(server) as host:
        node = new_node(tap, tmp_path, max_packet_size=6000, publish_interval=0.2)
        async with running(node, table):
            await until(lambda: "wide-1" in host.tags)
            node.session.packet_limit = 1024  # births of doubles are larger than their data
            for number in range(60):
                say(table, f"Monitoring/Value{number}", 5.0, "wide-1")
            await until(lambda: all(host.tags["wide-1"][f"Monitoring/Value{n}"].value == 5.0 for n in range(60)))
        data = [packet for packet in tap.published if packet.message == "DDATA"]
    assert len(data) > 2
    assert max(len(packet.body) for packet in data) < 1024
    assert host.broken == []


async def test_node_whose_own_birth_is_too_large_says_nothing_but_why(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with Mosquitto() as server, Tap(server) as tap:
        node = new_node(tap, tmp_path)
        node._config = node._config.model_copy(update={"max_packet_size": 200})
        async with running(node, table):
            await until(lambda: "node's own birth" in node.trouble)
        assert tap.published == []


async def test_large_birth_without_a_known_limit_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "LARGE_BIRTH", 500)
    table, _ = filled_table()
    async with Mosquitto() as server, Tap(server) as tap, running(new_node(tap, tmp_path), table) as node:
        await until(lambda: node.is_online)
    assert "some brokers refuse it" in caplog.text


class SetBack(SystemClock):
    """A wall clock that a person sets."""

    by = timedelta()

    def now(self) -> datetime:
        return super().now() - self.by


async def test_clock_that_is_set_back_is_told_and_nothing_is_from_the_future(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table, _ = filled_table()
    clock = SetBack()
    async with Mosquitto() as server, Tap(server) as tap:
        config = SparkplugConfig(broker=tap.config, publish_interval=0.01)
        async with running(SparkplugNode(config, clock, tmp_path, "acme", "essen", "bridge-1"), table) as node:
            await until(lambda: node.is_online)
            for number in range(3):
                say(table, "Monitoring/Pressure", float(number))
                await until(lambda: node.messages_total == 3 + number)  # noqa: B023
                clock.by = timedelta(hours=1)
        data = [packet.payload for packet in tap.published if packet.message == "DDATA"]
    assert len(data) == 3
    for one in data:
        assert all(metric.timestamp <= one.timestamp for metric in one.metrics)
    assert caplog.text.count("set back by 3600 s") == 1


@both
async def test_what_a_change_of_the_plant_means(protocol: str, tmp_path: Path) -> None:
    """Facts 5.6: metrics of a device; a device added, removed; metrics of the node; and what is nothing for hosts."""
    table, slots = filled_table()
    whole = table.plant
    async with Mosquitto() as server, Tap(server, protocol) as tap, watching(server) as host:
        node = new_node(tap, tmp_path)
        async with running(node, table):
            await until(lambda: "extruder-1" in host.tags)
            await expect(table, host, Plant(whole.bridge, {**whole.machines, "laser-3": machine(slots, "laser-3")}), [])
            fill(table, "laser-3")
            await until(lambda: host.said[-1] == "DBIRTH laser-3")
            same = machine(slots, "extruder-1")  # compiled anew: other periods, nothing else
            await expect(table, host, Plant(whole.bridge, {**table.plant.machines, "extruder-1": same}), [])
            grown = machine(slots, "extruder-1", (*DEFINITIONS, TagDefinition("Monitoring/Extra", DataType.Double)))
            both_said = ["DDEATH extruder-1", "DBIRTH extruder-1"]
            await expect(table, host, Plant(whole.bridge, {**table.plant.machines, "extruder-1": grown}), both_said)
            rest = {name: one for name, one in table.plant.machines.items() if name != "laser-3"}
            await expect(table, host, Plant(whole.bridge, rest), ["DDEATH laser-3"])
            own = machine(slots, whole.bridge.id, tuple(tag.definition for tag in whole.bridge.tags)[:-1])
            await expect(table, host, Plant(own, rest), ["NBIRTH", "DBIRTH extruder-1"])
        assert len(tap.sessions) == 1
        assert {packet.bd_seq for packet in tap.sessions[0].said("NBIRTH")} == {0}
    assert host.broken == []


async def expect(table: Table, host: Watcher, plant: Plant, said: list[str]) -> None:
    """This change, and one of a value after it: nothing else is said before that value's message."""
    before = len(host.said)
    table.replace_plant(plant)
    await until(lambda: host.said[before : before + len(said)] == said)
    marker = random.random()
    say(table, "Monitoring/Pressure", marker)
    await until(lambda: host.tags["extruder-1"]["Monitoring/Pressure"].value == marker)
    assert [kind for kind in host.said[before:] if kind != "DDATA extruder-1"] == said


async def test_births_count_when_they_have_arrived_however_slow_the_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Births that are written are not yet heard: up is said once, when hosts have them."""
    caplog.set_level("INFO")
    table, slots = filled_table()
    many(table, slots, 60)
    async with Mosquitto() as server, Road(server.port) as road, watching(server) as host:
        node = SparkplugNode(
            SparkplugConfig(broker=server.config.model_copy(update={"port": road.port}), publish_interval=0.02),
            CLOCK,
            tmp_path,
            "acme",
            "essen",
            "bridge-1",
        )
        async with running(node, table):
            await until(lambda: not node.trouble)
            road.rate = 5_000
            await road.cut()
            await until(lambda: node.reconnects == 1)
            await until(lambda: node.is_online)
            assert node.trouble
            assert host.said.count("DBIRTH m-59") == 1
            road.rate = None
            await until(lambda: not node.trouble)
            await until(lambda: host.said.count("DBIRTH m-59") == 2)
    told = [record.levelname for record in caplog.records if record.name.startswith("bridge.northbound")]
    assert told == ["WARNING", "INFO"]
