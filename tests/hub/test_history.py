"""The history: what a reader gets live and later, over outages, restarts, crashes and full disks."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import HistoryUnreadable
from bridge.hub import history as module
from bridge.hub import history_file
from bridge.hub.history import HistoryStore
from bridge.hub.history_file import Bounds
from bridge.hub.slots import Slots
from bridge.hub.table import Feed, Table
from bridge.model.history import Gap, HistoricValue
from bridge.model.plant import Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Tag, TagDefinition
from bridge.model.value import DataType, DataValue, Value, bad
from bridge.ports import Clock
from bridge.transport.clock import SystemClock, VirtualClock
from tests.one_of_everything import NOW, NoEvents, bridge_machine, machine

PLENTY = Bounds(64 << 20, timedelta(days=7))
FOR_EVER = Bounds(64 << 20, timedelta(days=36_500))
KINDS = (DataType.Double, DataType.Int64, DataType.String, DataType.Boolean, DataType.DateTime)
DEFINITIONS = (
    *(TagDefinition(f"Monitoring/{kind.value}", kind, history=True) for kind in KINDS),
    TagDefinition("Monitoring/Other", DataType.Double),
)


def a_plant(slots: Slots, *identifiers: str, definitions: tuple[TagDefinition, ...] = DEFINITIONS) -> Plant:
    machines = [machine(slots, identifier, definitions) for identifier in identifiers or ("m-1", "m-2")]
    return Plant(bridge_machine(slots), {one.id: one for one in machines})


class House:
    """A table with a history, as a bridge has it."""

    def __init__(self, store: HistoryStore, plant: Plant) -> None:
        self.store = store
        self.table = Table(plant, SystemClock(), NoEvents(), store)  # type: ignore[arg-type]
        self.values = 0

    def tag(self, identifier: str) -> Tag:
        tag = self.table.plant.find(identifier)
        assert tag is not None
        return tag

    def put(self, identifier: str, value: Value, at: datetime = NOW) -> None:
        self.table.update([(self.tag(identifier).slot, good(value, at))])

    def late(self, identifier: str, value: Value, at: datetime = NOW) -> None:
        self.store.record_late(self.tag(identifier), good(value, at))


def good(value: Value, at: datetime = NOW) -> DataValue:
    return DataValue(value, StatusCode.Good, at, at)


@asynccontextmanager
async def house(folder: Path, bounds: Bounds = PLENTY, clock: Clock | None = None) -> AsyncIterator[House]:
    async with HistoryStore(folder / "history.db", clock or VirtualClock(NOW), bounds) as store:
        yield House(store, a_plant(Slots()))


class Face:
    """A face as the port wants it: takes batches, says them, acknowledges; reads what it is owed."""

    def __init__(self, house: House, name: str = "face") -> None:
        self.house = house
        self.name = name
        self.reader = house.store.reader(name)
        self.live: list[Value] = []
        self.read: list[Value] = []
        self.gaps: list[Gap] = []
        self._flying: list[tuple[Sequence[int], list[Value]]] = []
        self._subscription: AbstractContextManager[Feed] | None = None
        self._feed: Feed | None = None

    def connect(self) -> None:
        if self._subscription is None:
            self._subscription = self.house.table.subscribe(self.name)
            self._feed = self._subscription.__enter__()

    def lose(self) -> None:
        if self._subscription is not None:
            self._subscription.__exit__(None, None, None)
            self._subscription = self._feed = None
        self._flying.clear()

    async def say(self, newer: Sequence[int] = ()) -> None:
        """Publish what is new, taking for these tags what came in the meantime."""
        if self._feed is None or not (self._feed.has_news or self._feed._wake.is_set()):
            return
        batch = await asyncio.wait_for(anext(self._feed), 1)
        values = {
            slot: self._feed.newer(slot) or value if slot in newer else value for slot, value in batch.values.items()
        }
        kept = {tag.slot for one in batch.plant.everything() for tag in one.tags if tag.definition.history}
        said = [value.value for slot, value in values.items() if slot in kept and value.status is StatusCode.Good]
        self._flying.append((self.reader.said(), said))

    def arrive(self) -> None:
        """The broker acknowledges."""
        for said, values in self._flying:
            self.reader.acknowledge(said)
            self.live += [value for value in values if value not in self.live]
        self._flying.clear()

    async def backfill(self, limit: int = 1000, arrives: bool = True) -> None:
        items = await asyncio.wait_for(self.reader.read(limit), 30)
        self.gaps += [item for item in items if isinstance(item, Gap)]
        self.read += [item.value.value for item in items if isinstance(item, HistoricValue)]
        if arrives:
            self.reader.acknowledge_read(items)

    @property
    def owed(self) -> float:
        return self.house.store.metrics()[f"history_owed_{self.name}"]

    async def catch_up(self) -> None:
        """Come to where nothing is owed."""
        self.connect()
        await self.say()
        self.arrive()
        while self.owed or self.reader.gaps:
            with suppress(TimeoutError):  # nothing is left of what was owed
                await asyncio.wait_for(self.backfill(), 0.1)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (the condition is anybody's)
        await asyncio.sleep(0.001)


async def test_values_of_every_type_and_status_come_back_as_they_were(tmp_path: Path) -> None:
    values: dict[str, Value] = {
        "m-1.Monitoring.Double": -1.7976931348623157e308,
        "m-1.Monitoring.Int64": -(2**63),
        "m-1.Monitoring.String": 'Grüße, "Panel"',
        "m-1.Monitoring.Boolean": False,
        "m-1.Monitoring.DateTime": NOW - timedelta(days=20_000),
    }
    doubtful = DataValue(
        1.0, StatusCode.UncertainLastUsableValue, NOW, NOW, "Silent for 3 s", NOW - timedelta(seconds=3)
    )
    lost = bad(StatusCode.BadNoCommunication, "Nothing is heard", NOW)
    async with house(tmp_path) as one:
        for identifier, value in values.items():
            one.put(identifier, value)
        slot = one.tag("m-2.Monitoring.Double").slot
        one.table.update([(slot, doubtful)])
        one.table.update([(slot, lost)])
        for identifier, value in values.items():
            page = await one.store.query(identifier)
            assert [(row.tag, row.value) for row in page.values] == [(identifier, good(value))]
            assert page.values[0].value.value.__class__ is value.__class__
        assert [row.value for row in (await one.store.query("m-2.Monitoring.Double")).values] == [doubtful, lost]


async def test_half_a_surrogate_pair_does_not_stop_the_history(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        one.put("m-1.Monitoring.String", "a\ud800b")
        assert [row.value.value for row in (await one.store.query("m-1.Monitoring.String")).values] == ["a?b"]


async def test_only_tags_that_ask_for_it_have_a_history(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        one.put("m-1.Monitoring.Other", 1.0)
        assert not (await one.store.query("m-1.Monitoring.Other")).values
        assert not one.store.recorded_total


async def test_without_a_history_there_is_no_file_no_thread_and_no_timer(tmp_path: Path) -> None:
    async with HistoryStore(tmp_path / "history.db", SystemClock(), FOR_EVER) as store:
        plain = tuple(replace(definition, history=False) for definition in DEFINITIONS)
        one = House(store, a_plant(Slots(), definitions=plain))
        face = Face(one)
        one.put("m-1.Monitoring.Double", 1.0)
        face.connect()
        await face.say()
        face.arrive()
        assert not store._thread._threads
        assert not store._wake.is_set()
    assert not os.listdir(tmp_path)


async def test_a_tag_gets_its_history_when_the_plant_says_so(tmp_path: Path) -> None:
    slots = Slots()
    plain = tuple(replace(definition, history=False) for definition in DEFINITIONS)
    async with HistoryStore(tmp_path / "history.db", SystemClock(), FOR_EVER) as store:
        one = House(store, a_plant(slots, definitions=plain))
        one.put("m-1.Monitoring.Double", 1.0)
        one.table.replace_plant(a_plant(slots))
        one.put("m-1.Monitoring.Double", 2.0)
        one.table.replace_plant(a_plant(slots, definitions=plain))
        one.put("m-1.Monitoring.Double", 3.0)
        assert [row.value.value for row in (await store.query("m-1.Monitoring.Double")).values] == [2.0]


# -- readers ----------------------------------------------------------------------------------------------------------


async def test_what_was_said_live_is_not_owed(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        face = Face(one)
        face.connect()
        for number in range(5):
            one.put("m-1.Monitoring.Double", float(number))
            await face.say()
            face.arrive()
        await one.store.flush()
        assert face.live == [0.0, 1.0, 2.0, 3.0, 4.0]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(face.reader.read(10), 0.05)


async def test_what_was_merged_is_owed_at_once(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        face = Face(one)
        face.connect()
        for number in range(5):
            one.put("m-1.Monitoring.Double", float(number))
        await face.say()
        face.arrive()
        await face.backfill()
        assert (face.live, face.read, face.owed) == ([4.0], [0.0, 1.0, 2.0, 3.0], 0)


async def test_a_value_taken_in_the_place_of_another_leaves_that_one_owed(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        face = Face(one)
        face.connect()
        slot = one.tag("m-1.Monitoring.Double").slot
        one.put("m-1.Monitoring.Double", 1.0)
        assert face._feed is not None
        batch = await anext(face._feed)
        assert batch.values[slot].value == 1.0
        one.put("m-1.Monitoring.Double", 2.0)
        assert face._feed.newer(slot) == good(2.0)
        face.reader.acknowledge(face.reader.said())
        await face.backfill()
        assert face.read == [1.0]


async def test_what_may_still_be_said_live_is_not_read(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        face = Face(one)
        face.connect()
        one.put("m-1.Monitoring.Double", 1.0)
        await one.store.flush()
        reading = asyncio.create_task(face.reader.read(10))
        await asyncio.sleep(0.02)
        assert not reading.done()  # it waits in the feed
        await face.say()
        await asyncio.sleep(0.02)
        assert not reading.done()  # it is on its way
        face.lose()
        face.connect()
        one.put("m-1.Monitoring.Double", 2.0)
        await face.say()
        face.arrive()
        assert [item.value.value for item in await reading if isinstance(item, HistoricValue)] == [1.0]


async def test_what_the_broker_did_not_acknowledge_is_owed(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        face = Face(one)
        face.connect()
        one.put("m-1.Monitoring.Double", 1.0)
        await face.say()
        face.reader.abandon()
        await face.backfill()
        assert face.read == [1.0]


async def test_what_was_read_comes_again_until_it_is_acknowledged(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        face = Face(one)
        face.connect()
        one.late("m-1.Monitoring.Double", 1.0)
        await face.backfill(arrives=False)
        await face.backfill()
        assert (face.read, face.owed) == ([1.0, 1.0], 0)


async def test_a_reader_seen_for_the_first_time_begins_at_the_present(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        one.put("m-1.Monitoring.Double", 1.0)
        face = Face(one)
        one.put("m-1.Monitoring.Double", 2.0)
        one.put("m-1.Monitoring.Double", 3.0)
        await face.catch_up()
        assert (face.live, face.read) == ([3.0], [2.0])


async def test_a_new_reader_is_known_after_a_restart_before_it_acknowledged_anything(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        Face(one)
        one.put("m-1.Monitoring.Double", 1.0)
    async with house(tmp_path) as one:
        face = Face(one)
        await face.catch_up()
        assert face.read == [1.0]


async def test_reading_goes_by_machine_and_comes_back_to_those_left_out(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        face = Face(one)
        for number in range(3):
            one.late("m-1.Monitoring.Double", float(number))
            one.late("m-2.Monitoring.Double", float(number + 10))
        face.connect()
        items = await face.reader.read(2, {"m-2"})
        assert [item.value.value for item in items if isinstance(item, HistoricValue)] == [10.0, 11.0]
        face.reader.acknowledge_read(items)
        await face.backfill()
        assert face.read == [0.0, 1.0, 2.0, 12.0]


async def test_late_values_of_any_tag_are_owed_and_move_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        face = Face(one)
        face.connect()
        one.put("m-1.Monitoring.Other", 5.0)
        await face.say()
        one.late("m-1.Monitoring.Other", 1.0, NOW - timedelta(hours=1))
        await face.backfill()
        assert face.read == [1.0]
        assert one.table.read(one.tag("m-1.Monitoring.Other")) == good(5.0)


async def test_a_birth_says_current_values_and_what_could_not_be_said_is_put_back(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        face = Face(one)
        face.connect()
        slot = one.tag("m-1.Monitoring.Double").slot
        one.put("m-1.Monitoring.Double", 1.0)
        assert face._feed is not None
        await anext(face._feed)
        face.reader.put_back([slot])  # its device is dead
        assert not face.reader.said()
        one.put("m-1.Monitoring.Double", 2.0)
        face.reader.hand_current([slot])
        face.reader.acknowledge(face.reader.said())
        await face.backfill()
        assert (face.read, face.owed) == ([1.0], 0)


async def test_too_many_readers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_READERS", 1)
    async with house(tmp_path) as one:
        one.store.reader("first")
        with pytest.raises(ValueError, match="second cannot read"):
            one.store.reader("second")


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3)),
        st.tuples(st.just("put"), st.integers(0, 3)),
        st.tuples(st.just("late"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["say", "arrive", "lose", "connect", "restart"]), st.just(0)),
        st.tuples(st.sampled_from(["backfill", "backfill in vain"]), st.integers(1, 5)),
    ),
    max_size=40,
)
TAGS = ("m-1.Monitoring.Double", "m-1.Monitoring.Int64", "m-2.Monitoring.Double", "m-2.Monitoring.Int64")


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
async def test_every_value_arrives_live_or_read_whatever_happens(steps: list[Step]) -> None:
    """At least once each; once where nothing was lost on the way; in order what is read; current values never moved."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "INTERVAL_S", 0.001)
        entered = house(Path(directory))
        one = await entered.__aenter__()
        face = Face(one)
        face.connect()
        live: list[Value] = []
        read: list[Value] = []
        put: list[Value] = []
        current: dict[str, DataValue] = {}
        is_calm = True
        for step, argument in steps:
            if step in ("put", "late"):
                put.append(float(len(put)) if argument % 2 == 0 else len(put))
                at = NOW + timedelta(seconds=len(put))
                getattr(one, step)(TAGS[argument], put[-1], at)
                if step == "put":
                    current[TAGS[argument]] = good(put[-1], at)
            elif step == "say":
                await face.say(newer=(one.tag(TAGS[0]).slot,))
            elif step in ("arrive", "connect"):
                getattr(face, step)()
            elif step == "lose":
                is_calm = False
                face.lose()
            elif step == "restart":
                is_calm = False
                live, read = [*live, *face.live], [*read, *face.read]
                face.lose()
                await entered.__aexit__(None, None, None)
                entered = house(Path(directory))
                one = await entered.__aenter__()
                face = Face(one)
                current.clear()
            elif face._feed is not None:
                await one.store.flush()
                is_calm &= step == "backfill"
                reading = asyncio.create_task(face.backfill(argument, arrives=step == "backfill"))
                await asyncio.wait({reading}, timeout=0.01)
                reading.cancel()
                await asyncio.wait({reading})
        before = len(face.read)
        await face.catch_up()
        live, read = [*live, *face.live], [*read, *face.read]
        assert {*live, *read} == {*put}
        assert face.read[before:] == sorted(face.read[before:], key=put.index)
        if is_calm:
            assert sorted([*live, *read], key=put.index) == put
        for identifier, value in current.items():
            assert one.table.read(one.tag(identifier)) == value
        assert not face.gaps
        await entered.__aexit__(None, None, None)


# -- bounds and disks -------------------------------------------------------------------------------------------------


async def test_what_grows_too_old_for_a_reader_is_a_gap(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with house(tmp_path, Bounds(64 << 20, timedelta(hours=1)), clock) as one:
        face = Face(one)
        for number in range(4):
            one.put("m-1.Monitoring.Double", float(number), NOW + timedelta(seconds=number))
        one.put("m-2.Monitoring.Double", 99.0)
        one.put("m-2.Monitoring.Double", 100.0)
        await one.store.flush()
        await clock.advance(3700)
        one.put("m-1.Monitoring.Double", 9.0, clock.now())
        await one.store.flush()
        await until(lambda: one.store.pruned_total == 6)
        await face.catch_up()
        found = {gap.tag: gap for gap in face.gaps}
        assert found.keys() == {"m-1.Monitoring.Double", "m-2.Monitoring.Double"}
        gap = found["m-1.Monitoring.Double"]
        assert (gap.first, gap.last, gap.number) == (NOW, NOW + timedelta(seconds=3), 4)
        assert gap.why == history_file.TOO_MUCH
        assert face.live == [9.0, 100.0]  # what is current was said
        assert not face.read
        assert not (await one.store.query("m-2.Monitoring.Double")).values


async def test_what_does_not_fit_goes_from_the_oldest_and_every_value_is_read_or_in_a_gap(tmp_path: Path) -> None:
    bounds = Bounds(200_000, timedelta(days=7))
    async with house(tmp_path, bounds) as one:
        face, other = Face(one), Face(one, "other")
        other.connect()
        await other.say()
        for number in range(10_000):
            one.put("m-1.Monitoring.String", f"{number:050}", NOW + timedelta(seconds=number))
            await other.say()
            other.arrive()
            if number % 500 == 0:
                await one.store.flush()
        await one.store.flush()
        await until(lambda: not one.store._has_work)
        assert one.store.metrics()["history_bytes"] <= bounds.size * 1.3
    async with house(tmp_path, bounds) as one:  # the gap is known after a restart
        face = Face(one)
        await face.catch_up()
        [gap] = face.gaps
        assert gap.number + len(face.read) == 10_000
        assert face.read == [f"{number:050}" for number in range(gap.number, 10_000)]
        assert (gap.first, gap.last) == (NOW, NOW + timedelta(seconds=gap.number - 1))
        other = Face(one, "other")
        await other.catch_up()
        assert not other.gaps  # it had them all
    async with house(tmp_path, bounds) as one:
        again = Face(one)
        await again.catch_up()
        assert not again.gaps  # told once


async def test_a_gap_that_grows_while_it_is_told_is_told_again(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    async with house(tmp_path, Bounds(64 << 20, timedelta(hours=1)), clock) as one:
        face = Face(one)
        face.connect()
        for number in range(2):
            one.late("m-1.Monitoring.Double", float(number))
            await one.store.flush()
            await clock.advance(3700)
            one.late("m-2.Monitoring.Double", float(number))
            await one.store.flush()
            await until(lambda number=number: one.store.pruned_total > number)  # type: ignore[misc]
            if number == 0:
                told = await face.reader.read(10, {"m-1"})
        assert [item.number for item in told if isinstance(item, Gap)] == [1]
        face.reader.acknowledge_read(told)
        assert [item.number for item in await face.reader.read(10, {"m-1"}) if isinstance(item, Gap)] == [2]


async def test_a_full_disk_is_said_once_loses_the_oldest_and_leaves_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 10)
    monkeypatch.setattr(module, "RETRY_S", 0.001)
    caplog.set_level(logging.INFO)
    real, failures = history_file.HistoryFile.write, 0

    def full(*arguments: object) -> int:
        nonlocal failures
        failures += 1
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(history_file.HistoryFile, "write", full)
    async with house(tmp_path, FOR_EVER, SystemClock()) as one:
        face = Face(one)
        for number in range(25):
            one.put("m-1.Monitoring.Double", float(number), NOW + timedelta(seconds=number))
        await until(lambda: failures > 3)
        monkeypatch.setattr(history_file.HistoryFile, "write", real)
        await one.store.flush()
        await face.catch_up()
        [gap] = face.gaps
        assert (gap.number, gap.why) == (15, module.DISK)
        assert (gap.first, gap.last) == (NOW, NOW + timedelta(seconds=14))
        assert face.read == [float(number) for number in range(15, 24)]
        assert face.live == [24.0]
        assert one.store.lost_total == 15
        said = [record.getMessage() for record in caplog.records if record.name.startswith("bridge.hub")]
    assert [text for text in said if "full" in text] == ["The history cannot be written: database or disk is full"]
    assert said[-1] == "The history can be written again"


async def test_what_was_said_live_is_no_gap_when_the_disk_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 5)
    monkeypatch.setattr(module, "RETRY_S", 0.001)
    monkeypatch.setattr(history_file.HistoryFile, "write", lambda *_: (_ for _ in ()).throw(sqlite3.OperationalError))
    async with house(tmp_path, FOR_EVER, SystemClock()) as one:
        face = Face(one)
        face.connect()
        for number in range(30):
            one.put("m-1.Monitoring.Double", float(number))
            await face.say()
            face.arrive()
        assert one.store.lost_total >= 20
        assert not face.reader.gaps


async def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "history.db").write_bytes(b"no database at all" * 1000)
    async with house(tmp_path) as one:
        one.put("m-1.Monitoring.Double", 1.0)
        assert len((await one.store.query("m-1.Monitoring.Double")).values) == 1
    assert sorted(os.listdir(tmp_path)) == ["history.db", "history.db.damaged"]
    assert "set aside" in caplog.text


async def test_a_file_that_turns_out_damaged_is_set_aside_and_the_history_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path, FOR_EVER, SystemClock()) as one:
        face = Face(one)
        for number in range(20_000):
            one.put("m-1.Monitoring.Double", float(number))
            if number % 5000 == 0:
                await one.store.flush()
        await one.store.flush()
        await asyncio.get_running_loop().run_in_executor(one.store._thread, one.store._file.close)
        with (tmp_path / "history.db").open("r+b") as file:
            file.seek(4096 * 3)
            file.write(os.urandom(4096 * 80))
        with suppress(HistoryUnreadable):  # found when it is opened, or when it is read
            await one.store.query("m-1.Monitoring.Double", limit=10_000)
        one.put("m-1.Monitoring.Double", -1.0)
        assert [row.value.value for row in (await one.store.query("m-1.Monitoring.Double")).values] == [-1.0]
        await face.catch_up()
        assert face.live == [-1.0]
    assert "damaged and was set aside" in caplog.text


async def test_a_question_that_cannot_be_answered_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(history_file.HistoryFile, "query", unreadable)
    async with house(tmp_path) as one:
        one.put("m-1.Monitoring.Double", 1.0)
        with pytest.raises(HistoryUnreadable, match="disk I/O error"):
            await one.store.query("m-1.Monitoring.Double")


async def test_no_file_stays_open(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        one.put("m-1.Monitoring.Double", 1.0)
    assert os.listdir(tmp_path) == ["history.db"]
    assert not [file for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))]


# -- questions --------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.integers(0, 20), max_size=30),
    span=st.tuples(st.none() | st.integers(-1, 21), st.none() | st.integers(-1, 21)),
    limit=st.integers(1, 7),
    newest_first=st.booleans(),
)
async def test_pages_of_a_query_are_the_values_by_time(
    times: list[int], span: tuple[int | None, int | None], limit: int, newest_first: bool
) -> None:
    start, end = (None if second is None else NOW + timedelta(seconds=second) for second in span)
    with tempfile.TemporaryDirectory() as directory:
        async with house(Path(directory)) as one:
            for number, second in enumerate(times):
                one.late("m-1.Monitoring.Int64", number, NOW + timedelta(seconds=second))
                one.late("m-2.Monitoring.Int64", -1, NOW + timedelta(seconds=second))
            found: list[Value] = []
            after = None
            while True:
                page = await one.store.query(
                    "m-1.Monitoring.Int64", start, end, newest_first=newest_first, limit=limit, after=after
                )
                found += [row.value.value for row in page.values]
                after = page.after
                if after is None:
                    break
                assert len(page.values) == limit
    low, high = (0 if span[0] is None else span[0]), (99 if span[1] is None else span[1])
    wanted = sorted((second, number) for number, second in enumerate(times) if low <= second <= high)
    assert found == [number for _, number in (reversed(wanted) if newest_first else wanted)]


async def test_an_answer_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAGE", 3)
    async with house(tmp_path) as one:
        for number in range(5):
            one.put("m-1.Monitoring.Int64", number)
        page = await one.store.query("m-1.Monitoring.Int64", limit=1_000_000)
        assert len(page.values) == 3
        assert page.after is not None


async def test_nothing_is_found_where_nothing_was_kept(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        assert await one.store.query("m-1.Monitoring.Int64") == ((), None)


# -- crashes ----------------------------------------------------------------------------------------------------------

CHILD = """
import asyncio, sys
from pathlib import Path
from tests.hub.test_history import Face, house

async def main():
    async with house(Path(sys.argv[1])) as one:
        face = Face(one)
        face.connect()
        for number in range(1_000_000):
            one.put("m-1.Monitoring.Int64", number)
            if number % 7 == 0:  # the six before are merged
                await face.say()
                face.arrive()
            if number and number % 140 == 0:
                await one.store.flush()
                await face.backfill()
                print(number, *face.live, *face.read, flush=True)
                face.live.clear(), face.read.clear()

asyncio.run(main())
"""


async def test_kill_loses_nothing_that_was_written_and_a_cursor_never_passes_what_did_not_arrive(
    tmp_path: Path,
) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert child.stdout is not None
    lines = [await child.stdout.readline() for _ in range(6)]
    child.send_signal(signal.SIGKILL)
    lines += (await child.stdout.read()).splitlines(keepends=True)
    await child.wait()
    told = [[int(word) for word in line.split()] for line in lines if line.endswith(b"\n")]
    written, arrived = told[-1][0], {number for line in told for number in line[1:]}
    async with house(tmp_path) as one:
        kept = [row.value.value for row in (await one.store.query("m-1.Monitoring.Int64", limit=10_000)).values]
        assert kept[: written + 1] == [*range(written + 1)]
        face = Face(one)
        one.put("m-1.Monitoring.Int64", -1)
        await face.catch_up()
        assert {*range(written + 1)} <= {*arrived, *face.read}
        assert face.read == sorted(face.read)  # type: ignore[type-var]
        assert face.live == [-1]


async def test_a_slow_disk_does_not_hold_up_the_event_loop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with house(tmp_path) as one:
        release = asyncio.Event()
        loop, real = asyncio.get_running_loop(), one.store._file.write

        def write(*arguments: object) -> int:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(5)
            return real(*arguments)  # type: ignore[arg-type]

        one.store._file.write = write  # type: ignore[method-assign, assignment]
        one.put("m-1.Monitoring.Double", 1.0)
        flushing = asyncio.create_task(one.store.flush())
        for number in range(200):
            one.put("m-1.Monitoring.Double", float(number))
            await asyncio.sleep(0)
        assert not flushing.done()
        release.set()
        await flushing
        assert len((await one.store.query("m-1.Monitoring.Double")).values) == 201


def test_times_are_utc() -> None:
    assert history_file._moment(0) == datetime(1970, 1, 1, tzinfo=UTC)
