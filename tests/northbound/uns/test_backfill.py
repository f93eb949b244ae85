"""Values of the past on `<machine>/backfill`: whole, in order, once, and never in the way of live ones."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.hub.history import HistoryStore
from bridge.hub.history_file import Bounds
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.history import Gap, HistoricValue
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, Value
from bridge.northbound.uns import backfill as module
from bridge.northbound.uns import publisher as publisher_module
from bridge.northbound.uns.backfill import Backfill
from bridge.northbound.uns.config import UnsConfig
from bridge.northbound.uns.topic import DEFAULT_TEMPLATE, Namespace
from bridge.transport.clock import SystemClock, VirtualClock
from bridge.transport.mqtt import Link, Message
from bridge.transport.mqtt_packet import LARGEST_PACKET
from bridge.transport.mqtt_refusals import Refusals
from tests.broker import Broker, Mosquitto, broker
from tests.northbound.uns.test_publisher import (
    BRIDGE,
    LINE,
    PRESSURE,
    Watcher,
    publisher,
    running,
    tag_of,
    until,
    watching,
)
from tests.one_of_everything import NOW, NoEvents, machine, plant

TAG = "extruder-1.Monitoring.Pressure"
TOPIC = f"{LINE}/extruder-1/backfill"


def good(value: Value, second: float = 0) -> DataValue:
    at = NOW + timedelta(seconds=second)
    return DataValue(value, StatusCode.Good, at, at)


@asynccontextmanager
async def a_table(folder: Path, size: int = 64 << 20) -> AsyncIterator[tuple[Table, HistoryStore]]:
    """The plant of which only Pressure has a history."""
    async with HistoryStore(folder / "history.db", VirtualClock(NOW), Bounds(size, timedelta(days=7))) as store:
        yield Table(plant(Slots()), SystemClock(), NoEvents(), store), store  # type: ignore[arg-type]


def put(table: Table, *numbers: int) -> None:
    for number in numbers:
        table.update([(tag_of(table, TAG).slot, good(float(number), number))])


def entries(watcher: Watcher, key: str = "values") -> list[dict[str, Any]]:
    """Everything of one kind that came on the backfill topic."""
    return [entry for message in watcher.of(TOPIC) for entry in json.loads(message.payload)[key]]


def numbers(watcher: Watcher) -> list[float]:
    return [entry["value"] for entry in entries(watcher)]


def live(watcher: Watcher) -> list[float]:
    """Good values of the live topic, each once, in the order in which they came."""
    documents = [json.loads(message.payload) for message in watcher.of(PRESSURE) if message.payload]
    return [*dict.fromkeys(one["value"] for one in documents if one["quality"] == "Good")]


@pytest.fixture
async def server() -> AsyncIterator[Broker]:
    async with broker() as one:
        yield one


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "BACK_OFF_S", (0.05, 0.1))
    monkeypatch.setattr(module, "CONFIRM_S", 0.01)


async def test_values_of_an_outage_come_once_in_order_and_the_live_topic_never_goes_back(
    server: Broker, tmp_path: Path
) -> None:
    async with a_table(tmp_path) as (table, store), running(publisher(server.config), table):
        async with watching(server.config) as watcher:
            await watcher.sees(f"{BRIDGE}/online", online=True)
            for number in range(3):
                put(table, number)
                await watcher.sees(PRESSURE, value=float(number))
            await until(lambda: not store.metrics()["history_owed_uns"])
            assert not watcher.of(TOPIC)
        await server.stop()
        put(table, *range(3, 50))
        await server.start()
        async with watching(server.config, "again") as watcher:
            await watcher.sees(PRESSURE, value=49.0)
            await until(lambda: len(entries(watcher)) >= 46)
            await until(lambda: not store.metrics()["history_owed_uns"])
            put(table, 50)
            await watcher.sees(PRESSURE, value=50.0)
            assert live(watcher) == [49.0, 50.0]
            assert numbers(watcher) == [float(number) for number in range(3, 49)]
            [first, *_] = watcher.of(TOPIC)
            assert (first.retain, first.qos) == (False, 1)
            assert entries(watcher)[0] == {
                "tag": "Monitoring/Pressure",
                "value": 3.0,
                "timestamp": "2026-03-04T05:06:10.089Z",
                "quality": "Good",
                "unit": "bar",
            }


async def test_a_bridge_that_was_restarted_says_what_it_owed(server: Broker, tmp_path: Path) -> None:
    async with a_table(tmp_path) as (table, _), running(publisher(server.config), table):
        async with watching(server.config) as watcher:
            put(table, 0)
            await watcher.sees(PRESSURE, value=0.0)
        await server.stop()
        put(table, 1, 2)
    async with a_table(tmp_path) as (table, _):
        put(table, 3)
        async with running(publisher(server.config), table):
            put(table, 4)
            await server.start()
            async with watching(server.config) as watcher:
                await until(lambda: len(entries(watcher)) >= 3)
                assert numbers(watcher)[-3:] == [1.0, 2.0, 3.0]
                await watcher.sees(PRESSURE, value=4.0)


async def test_what_was_merged_into_a_newer_value_comes_as_past(server: Broker, tmp_path: Path) -> None:
    async with a_table(tmp_path) as (table, store):
        face = publisher(server.config)
        async with watching(server.config) as watcher, running(face, table):
            await watcher.sees(f"{BRIDGE}/online", online=True)
            for first in range(0, 100, 10):
                put(table, *range(first, first + 10))
                await asyncio.sleep(0.03)
            await until(lambda: not store.metrics()["history_owed_uns"])
            await watcher.sees(PRESSURE, value=99.0)
            await until(lambda: len(live(watcher)) + len(numbers(watcher)) >= 100)
            assert sorted([*live(watcher), *numbers(watcher)]) == [float(number) for number in range(100)]
            assert numbers(watcher) == sorted(numbers(watcher))
            assert live(watcher) == sorted(live(watcher))
            assert face.metrics()["uns_backfill_values_total"] == len(numbers(watcher))


async def test_a_late_value_is_past_and_is_nowhere_else(server: Broker, tmp_path: Path) -> None:
    async with (
        a_table(tmp_path) as (table, store),
        watching(server.config) as watcher,
        running(publisher(server.config), table),
    ):
        put(table, 100)
        await watcher.sees(PRESSURE, value=100.0)
        doubtful = good(7.0)._replace(status=StatusCode.UncertainSubNormal, reason="Rough", since=NOW)
        store.record_late(tag_of(table, TAG), doubtful)
        await until(lambda: bool(entries(watcher)))
        [entry] = entries(watcher)
        assert entry["timestamp"] == "2026-03-04T05:06:07.089Z"
        assert (entry["status"], entry["reason"], entry["quality"]) == ("UncertainSubNormal", "Rough", "Uncertain")
        assert live(watcher) == [100.0]


async def test_what_did_not_fit_is_a_gap(server: Broker, tmp_path: Path) -> None:
    async with a_table(tmp_path, size=100_000) as (table, store):
        store.reader("uns")
        for number in range(0, 4000, 500):
            put(table, *range(number, number + 500))
            await store.flush()
        await until(lambda: not store._has_work)
        async with watching(server.config) as watcher, running(publisher(server.config), table):
            await until(lambda: not store.metrics()["history_owed_uns"])
            await until(lambda: bool(numbers(watcher)) and numbers(watcher)[-1] == 3998)
            [gap] = entries(watcher, "gaps")
            assert gap["tag"] == "Monitoring/Pressure"
            assert gap["count"] + len(numbers(watcher)) + 1 == 4000
            assert numbers(watcher) == [float(number) for number in range(gap["count"], 3999)]
            assert gap["from"] == "2026-03-04T05:06:07.089Z"
            assert "older" in gap["reason"]
            first = json.loads(watcher.of(TOPIC)[0].payload)
            assert first["gaps"]  # it comes before what follows it


@pytest.mark.peer("mosquitto")
async def test_what_the_broker_refuses_is_kept_and_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.2)
    rights = tmp_path / "acl"
    rest = "topic readwrite #\n"
    rights.write_text(rest + "topic deny acme/essen/+/+/+/backfill\n")
    rights.chmod(0o600)
    async with (
        a_table(tmp_path) as (table, store),
        Mosquitto(("allow_anonymous true", f"acl_file {rights}")) as server,
    ):
        face = publisher(server.config.model_copy(update={"protocol": "5"}), meta=False, snapshots=False)
        async with watching(server.config) as watcher, running(face, table):
            await watcher.sees(f"{BRIDGE}/online", online=True)
            await until(lambda: not store.metrics()["history_owed_uns"])
            store.record_late(tag_of(table, TAG), good(1.0))
            await until(lambda: "/backfill" in face.trouble)
            assert store.metrics()["history_owed_uns"] == 1
            assert face.metrics()["uns_backfill_values_total"] == 0
            rights.write_text(rest)
            os.kill(server.pid, signal.SIGHUP)
            await until(lambda: not store.metrics()["history_owed_uns"])
            await until(lambda: numbers(watcher) == [1.0])


@pytest.mark.peer("mosquitto")
async def test_no_message_is_larger_than_the_broker_takes(tmp_path: Path) -> None:
    async with (
        a_table(tmp_path) as (table, store),
        Mosquitto(("allow_anonymous true", "max_packet_size 2000")) as server,
    ):
        store.reader("uns")
        put(table, *range(200))
        await store.flush()
        face = publisher(server.config.model_copy(update={"protocol": "5"}), meta=False)
        async with watching(server.config) as watcher, running(face, table):
            await until(lambda: not store.metrics()["history_owed_uns"])
            await until(lambda: numbers(watcher) == [float(number) for number in range(199)])


# -- the messages, without a broker -----------------------------------------------------------------------------------


class Reader:
    """Gives the same items for ever, and counts."""

    def __init__(self, *items: HistoricValue | Gap) -> None:
        self.items = items
        self.read_total = 0
        self.acknowledged = 0

    async def read(self, limit: int, machines: object = None) -> tuple[HistoricValue | Gap, ...]:
        self.read_total += 1
        return self.items[:limit]

    def acknowledge_read(self, items: tuple[HistoricValue | Gap, ...]) -> None:
        self.acknowledged += len(items)


class Out:
    """A link on which everything arrives."""

    maximum_packet_size = LARGEST_PACKET

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refusals = Refusals()

    def publish(self, message: Message) -> bool:
        self.messages.append(message)
        return True

    async def drain(self) -> None:
        await asyncio.sleep(0)

    async def arrived(self) -> None:
        await asyncio.sleep(0)


def a_backfill(reader: Reader, clock: VirtualClock, **options: object) -> Backfill:
    config = UnsConfig.model_validate(options)
    return Backfill(reader, config, clock, Namespace(DEFAULT_TEMPLATE, "acme", "essen", "edge-1"))  # type: ignore[arg-type]


async def run_for(backfill: Backfill, clock: VirtualClock, seconds: float) -> Out:
    slots = Slots()
    table = Table(plant(slots, machine(slots), machine(slots, "extruder-2")), clock, NoEvents())  # type: ignore[arg-type]
    out = Out()
    task = asyncio.create_task(backfill.publish(out, table))  # type: ignore[arg-type]
    await clock.advance(seconds)
    task.cancel()
    await asyncio.wait({task})
    return out


async def test_not_more_than_the_rate_is_said() -> None:
    clock = VirtualClock()
    reader = Reader(*(HistoricValue(number, TAG, good(1.0)) for number in range(1000)))
    out = await run_for(a_backfill(reader, clock, backfill_rate=50, publish_interval=1), clock, 9.5)
    assert reader.acknowledged == 500
    assert len(out.messages) == 10


async def test_a_message_is_for_one_machine_and_not_longer_than_brokers_take() -> None:
    clock = VirtualClock()
    text = [HistoricValue(number, "extruder-1.Status.Message", good("x" * 1000)) for number in range(100)]
    other = HistoricValue(101, "extruder-2.Monitoring.Pressure", good(2.0))
    out = await run_for(a_backfill(Reader(*text, other), clock, publish_interval=1), clock, 0.5)
    by_topic: dict[str, list[Any]] = {}
    for message in out.messages:
        assert len(message.payload) < 62_000
        assert message.content_type == "application/json"
        by_topic.setdefault(message.topic, []).extend(json.loads(message.payload)["values"])
    assert {topic: len(values) for topic, values in by_topic.items()} == {
        f"{LINE}/extruder-1/backfill": 100,
        f"{LINE}/extruder-2/backfill": 1,
    }
    assert len(out.messages) == 3


async def test_values_of_a_machine_that_is_gone_are_counted_and_not_in_the_way() -> None:
    clock = VirtualClock()
    backfill = a_backfill(Reader(HistoricValue(1, "press-9.Monitoring.Force", good(1.0))), clock)
    out = await run_for(backfill, clock, 0.5)
    assert not out.messages
    assert backfill.skipped_total == 1


async def test_nothing_is_said_where_the_house_keeps_nothing(server: Broker) -> None:
    table = Table(plant(Slots()), SystemClock(), NoEvents())  # type: ignore[arg-type]
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await watcher.sees(f"{BRIDGE}/online", online=True)
        put(table, 1, 2)
        await watcher.sees(PRESSURE, value=2.0)
        assert not watcher.of(TOPIC)


async def test_meta_says_which_tags_have_a_history(server: Broker) -> None:
    table = Table(plant(Slots()), SystemClock(), NoEvents())  # type: ignore[arg-type]
    async with watching(server.config) as watcher, running(publisher(server.config), table):
        await until(lambda: f"{LINE}/extruder-1/_meta" in watcher.now)
        tags = watcher.document(f"{LINE}/extruder-1/_meta")["tags"]
        assert [name for name, tag in tags.items() if "history" in tag] == ["Monitoring/Pressure"]
        assert tags["Monitoring/Pressure"]["history"] is True


def test_link_is_as_the_backfill_uses_it() -> None:
    assert all(hasattr(Link, name) for name in ("publish", "drain", "arrived", "maximum_packet_size"))
