"""Values hosts missed: historical, once, in order of time, and beside live ones that are not moved by them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bridge.hub.history import HistoryStore
from bridge.hub.history_file import Bounds
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.plant import ALIVE
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, to_milliseconds
from bridge.northbound.sparkplug import backfill as module
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug import node as node_module
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import Link, Message
from tests.broker import Broker, broker
from tests.northbound.sparkplug.test_node import CLOCK, new_node, rebirth_request, running, say, until
from tests.one_of_everything import BRIDGE_MACHINE_ID, NoEvents, fill, plant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PRESSURE = "Monitoring/Pressure"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "BACK_OFF_S", (0.02, 0.04))
    monkeypatch.setattr(module, "CONFIRM_S", 0.01)


class Listener:
    """What came for Monitoring/Pressure of extruder-1, as a host's historian takes it: (kind, historical, value)."""

    def __init__(self) -> None:
        self.came: list[tuple[str, bool, Any]] = []
        self.times: dict[Any, int] = {}
        self.qualities: list[Any] = []
        self.seq: list[int] = []

    async def listen(self, link: Link) -> None:
        async for message in link.messages():
            levels = message.topic.split("/")
            payload = codec.decode(message.payload)
            if levels[2] == "NBIRTH":
                self.seq.clear()
            if levels[2] not in ("NDEATH", "NCMD", "DCMD") and payload.seq is not None:
                self.seq.append(payload.seq)
            for metric in payload.metrics if levels[4:] == ["extruder-1"] else ():
                if metric.name == PRESSURE:
                    value = None if metric.is_null else metric.value
                    self.came.append((levels[2], metric.is_historical, value))
                    self.times[value] = metric.timestamp or 0
                    if metric.is_historical and metric.is_null:
                        self.qualities.append(metric.properties["Quality"].value)

    @property
    def past(self) -> list[Any]:
        return [value for _, is_historical, value in self.came if is_historical]

    @property
    def live(self) -> list[Any]:
        return [*dict.fromkeys(value for _, is_historical, value in self.came if not is_historical)]

    @property
    def is_whole(self) -> bool:
        """No message of the node was lost or came out of order."""
        return all(after == (before + 1) % 256 for before, after in zip(self.seq, self.seq[1:], strict=False))


@asynccontextmanager
async def listening(server: Broker, name: str = "listener") -> AsyncIterator[Listener]:
    listener = Listener()
    async with Link.connect(server.config, name) as link:
        await link.subscribe("spBv1.0/#")
        task = asyncio.create_task(listener.listen(link))
        try:
            yield listener
        finally:
            if not task.done():
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def a_table(folder: Path, size: int = 64 << 20) -> AsyncIterator[tuple[Table, HistoryStore]]:
    async with HistoryStore(folder / "history.db", SystemClock(), Bounds(size, timedelta(days=10_000))) as store:
        table = Table(plant(Slots()), SystemClock(), NoEvents(), store)  # type: ignore[arg-type]
        fill(table, "extruder-1")
        fill(table, BRIDGE_MACHINE_ID)
        yield table, store


def put(table: Table, *numbers: int) -> None:
    for number in numbers:
        say(table, PRESSURE, float(number))


@pytest.fixture
async def server() -> AsyncIterator[Broker]:
    async with broker() as one:
        yield one


async def test_values_of_an_outage_come_once_as_historical_in_order_with_their_own_time(
    server: Broker, tmp_path: Path
) -> None:
    async with a_table(tmp_path) as (table, store), running(new_node(server, tmp_path), table) as node:
        async with listening(server) as host:
            await until(lambda: node.is_online)
            for number in range(3):
                put(table, number)
                await until(lambda number=number: host.live[-1:] == [number])
            await until(lambda: not store.metrics()["history_owed_sparkplug"])
            assert host.past == []
        await server.stop()
        await until(lambda: not node.is_online)
        before = to_milliseconds(CLOCK.now())
        put(table, *range(3, 60))
        after = to_milliseconds(CLOCK.now())
        await server.start()
        async with listening(server) as host:
            node.session.want_rebirth(0)
            await until(lambda: len(host.past) >= 56)
            put(table, 60)
            await until(lambda: 60.0 in host.live)
            await until(lambda: not store.metrics()["history_owed_sparkplug"])
            assert host.past == [float(number) for number in range(3, 59)]
            assert set(host.live) <= {59.0, 60.0}
            assert before <= host.times[3.0] <= host.times[58.0] <= after
            assert {kind for kind, is_historical, _ in host.came if is_historical} == {"DDATA"}


async def test_a_restarted_bridge_says_what_it_owed(server: Broker, tmp_path: Path) -> None:
    async with a_table(tmp_path) as (table, _), running(new_node(server, tmp_path), table) as node:
        await until(lambda: node.is_online)
        await server.stop()
        await until(lambda: not node.is_online)
        put(table, 1001, 1002)
    await server.start()
    async with (
        a_table(tmp_path) as (table, _),
        listening(server) as host,
        running(new_node(server, tmp_path), table),
    ):
        await until(lambda: 1002.0 in host.past)
        assert [value for value in host.past if value > 1000] == [1001.0, 1002.0]
        assert host.is_whole


async def test_live_values_rebirths_and_past_ones_keep_one_order_of_seq(server: Broker, tmp_path: Path) -> None:
    async with a_table(tmp_path) as (table, store), listening(server) as host:
        node = new_node(server, tmp_path, backfill_rate=2000)
        async with running(node, table), Link.connect(server.config, "asker") as asker:
            await until(lambda: node.is_online)
            for first in range(0, 600, 20):
                put(table, *range(first, first + 20))
                if first % 100 == 0:
                    asker.publish(_ncmd())
                await asyncio.sleep(0.02)
                assert host.is_whole
            await until(lambda: not store.metrics()["history_owed_sparkplug"])
            put(table, 600)
            await until(lambda: 600.0 in host.live)
    assert {*host.live, *host.past} >= {float(number) for number in range(601)}
    past = [value for value in host.past if value is not None]
    assert past == sorted(past)


def _ncmd() -> Message:
    return Message("spBv1.0/acme:essen/NCMD/bridge-1", rebirth_request())


async def test_a_dead_device_s_values_wait_for_its_birth_and_hold_up_nobody(server: Broker, tmp_path: Path) -> None:
    async with (
        a_table(tmp_path) as (table, store),
        listening(server) as host,
        running(new_node(server, tmp_path), table) as node,
    ):
        await until(lambda: node.is_online and "DBIRTH" in [kind for kind, *_ in host.came])
        say(table, ALIVE, False)
        await until(lambda: not node.session.is_born("extruder-1"))
        for number in (1001, 1002, 1003):
            put(table, number)
            await until(lambda: store.reader("sparkplug").horizon is None)  # the node took it, and left it unsaid
        await store.flush()
        await asyncio.sleep(0.05)
        assert 1001.0 not in host.past
        say(table, ALIVE, True)
        await until(lambda: 1002.0 in host.past)
        assert [value for value in host.past if value > 1000] == [1001.0, 1002.0]
        assert host.live[-1] == 1003.0


async def test_a_gap_is_a_historical_null_that_is_bad(server: Broker, tmp_path: Path) -> None:
    async with a_table(tmp_path, size=100_000) as (table, store), listening(server) as host:
        store.reader("sparkplug")
        for first in range(0, 4000, 500):
            put(table, *range(first, first + 500))
            await store.flush()
        await until(lambda: not store._has_work)
        async with running(new_node(server, tmp_path, backfill_rate=100_000), table):
            await until(lambda: 3998.0 in host.past)
            assert host.past[0] is None
            assert set(host.qualities) == {0}
            values = [value for value in host.past if value is not None]
            assert values == sorted(values)
            assert len(values) < 3999


async def test_late_values_of_one_message_are_in_order_of_time(server: Broker, tmp_path: Path) -> None:
    async with (
        a_table(tmp_path) as (table, store),
        listening(server) as host,
        running(new_node(server, tmp_path), table) as node,
    ):
        await until(lambda: node.is_online)
        say(table, ALIVE, False)
        await until(lambda: not node.session.is_born("extruder-1"))
        tag = table.plant.find(f"extruder-1.{PRESSURE.replace('/', '.')}")
        assert tag is not None
        for number in (3, 1, 2):
            moment = CLOCK.now() - timedelta(hours=1) + timedelta(seconds=number)
            store.record_late(tag, DataValue(float(number), StatusCode.Good, moment, moment))
        await store.flush()
        say(table, ALIVE, True)
        await until(lambda: {1.0, 2.0, 3.0} <= {*host.past})
        assert [value for value in host.past if value in (1.0, 2.0, 3.0)] == [1.0, 2.0, 3.0]


async def test_a_late_value_is_historical(server: Broker, tmp_path: Path) -> None:
    async with (
        a_table(tmp_path) as (table, store),
        listening(server) as host,
        running(new_node(server, tmp_path), table) as node,
    ):
        await until(lambda: node.is_online and bool(host.live))
        tag = table.plant.find("extruder-1.Monitoring.Pressure")
        assert tag is not None
        at = CLOCK.now() - timedelta(hours=2)
        store.record_late(tag, DataValue(7.0, StatusCode.Good, at, CLOCK.now()))
        await until(lambda: 7.0 in host.past)
        assert host.times[7.0] == to_milliseconds(at)
        assert 7.0 not in host.live
