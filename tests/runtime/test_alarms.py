"""Alarms: from tags to conditions, over acknowledgement, loss and restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.alarm import AlarmKind
from bridge.model.connection import ConnectionState
from bridge.model.event import Event
from bridge.model.plant import Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Alarm, Limits, Tag, TagDefinition
from bridge.model.value import DataType, DataValue, bad
from bridge.runtime import alarms as module
from bridge.runtime.alarm_delay import AlarmDelay
from bridge.runtime.alarms import AlarmKeeper
from bridge.runtime.bridge_machine import bridge_machine as own_machine
from bridge.transport.clock import SystemClock
from tests.one_of_everything import NOW, NoEvents, bridge_machine, machine

PRESSURE = TagDefinition(
    "Monitoring/P", DataType.Double, limits=Limits(high=250, high_high=300), label={"en": "Melt pressure"}
)
HIGH = TagDefinition("Alarms/P/High", DataType.Boolean, alarm=Alarm(500, "Monitoring/P", "high"))
HIGH_HIGH = TagDefinition("Alarms/P/HighHigh", DataType.Boolean, alarm=Alarm(700, "Monitoring/P", "high_high"))
FAULT = TagDefinition("Alarms/Fault", DataType.Boolean, alarm=Alarm(900), description="The drive has a fault")
LIMIT, STATE, SOURCE = "m.Monitoring.P.Alarm", "m.Alarms.Fault.Alarm", "Bridge.Sources.panel.Alarm"


class Rig:
    def __init__(self, path: Path) -> None:
        self.slots = slots = Slots()
        one = machine(slots, "m", (PRESSURE, HIGH, HIGH_HIGH, FAULT))
        self.bridge = bridge_machine(slots)
        self.table = Table(Plant(self.bridge, {"m": one}), SystemClock(), NoEvents())  # type: ignore[arg-type]
        self.events: list[Event] = []
        self.keeper = AlarmKeeper(path / "alarms.json", self.table, SystemClock(), self.events.append)
        self.keeper.load()

    async def say(self, **values: bool | int | None) -> None:
        """Tags by the last level of their names; None: lost."""
        everything = [*self.table.plant.machines["m"].tags, *self.bridge.tags] if self.table.plant.machines else []
        for name, value in values.items():
            [tag] = [one for one in everything if one.name.rpartition("/")[2] == name]
            told = (
                bad(StatusCode.BadNoCommunication, "", NOW)
                if value is None
                else DataValue(value, StatusCode.Good, NOW, NOW)
            )
            self.table.update([(tag.slot, told)])
        for _ in range(5):
            await asyncio.sleep(0)

    def is_now(self, identifier: str) -> tuple[bool, str, bool, int] | None:
        found = {one.id: one for one in self.keeper.conditions}.get(identifier)
        return found and (found.active, found.level, found.acked, found.severity)

    @property
    def told(self) -> list[tuple[str, object, object]]:
        return [(one.kind, one.data["active"], one.data["acked"]) for one in self.events]


@asynccontextmanager
async def rig(path: Path) -> AsyncIterator[Rig]:
    made = Rig(path)
    task = asyncio.create_task(made.keeper.run())
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_limits_of_a_tag_are_one_alarm_that_grows_and_shrinks(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.say(High=False, HighHigh=False)
        assert (r.is_now(LIMIT), r.events) == (None, [])
        await r.say(High=True)
        assert r.is_now(LIMIT) == (True, "High", False, 500)
        assert r.keeper.acknowledge(LIMIT, "anna", "seen")
        await r.say(HighHigh=True)
        assert r.is_now(LIMIT) == (True, "HighHigh", False, 700)  # worse: to be seen anew
        assert r.keeper.acknowledge(LIMIT, "anna", "")
        await r.say(HighHigh=False)
        assert r.is_now(LIMIT) == (True, "High", True, 500)
        await r.say(High=False)
        assert r.is_now(LIMIT) is None
        kinds = [one.kind for one in r.events]
        assert kinds == [
            "AlarmActive",
            "AlarmAcknowledged",
            "AlarmActive",
            "AlarmAcknowledged",
            "AlarmActive",
            "AlarmInactive",
        ]
        last = r.events[-1]
        assert (last.machine, last.data["name"], last.data["high_high"]) == ("m", "Melt pressure", 300)
        assert last.data["retain"] is False


async def test_an_alarm_that_nobody_saw_stays_until_somebody_does(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.say(Fault=True)
        await r.say(Fault=False)
        assert r.is_now(STATE) == (False, "", False, 900)
        assert r.keeper.conditions[0].kind is AlarmKind.STATE
        assert r.keeper.acknowledge(STATE, "anna", "")
        assert not r.keeper.acknowledge(STATE, "anna", "")
        assert r.is_now(STATE) is None
        assert r.told == [
            ("AlarmActive", True, False),
            ("AlarmInactive", False, False),
            ("AlarmAcknowledged", False, True),
        ]


async def test_what_is_lost_says_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.say(Fault=True, High=True, HighHigh=False)
        count = len(r.events)
        await r.say(Fault=None, High=None, HighHigh=None)
        await r.say(Fault=True, High=True, HighHigh=False)
        assert len(r.events) == count == 2


async def test_a_lost_source_is_an_alarm_of_the_bridge(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.say(Connected=False)
        assert r.is_now(SOURCE) == (True, "", False, 700)
        assert (r.events[0].source, r.events[0].machine) == ("panel", "")
        await r.say(Connected=True)
        assert r.is_now(SOURCE) == (False, "", False, 700)


async def test_a_source_that_was_just_started_is_not_lost(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.bridge = own_machine("acme", "essen", {"panel": "qitech"}, r.slots.slot)
        r.table.replace_plant(Plant(r.bridge, r.table.plant.machines))
        await r.say(State=ConnectionState.Waiting, Connected=False)
        assert r.events == []
        await r.say(State=ConnectionState.Lost)
        assert r.is_now(SOURCE) == (True, "", False, 700)
        await r.say(State=ConnectionState.Waiting)
        assert r.is_now(SOURCE) == (True, "", False, 700)
        await r.say(State=ConnectionState.Connected, Connected=True)
        assert r.is_now(SOURCE) == (False, "", False, 700)


async def test_a_restart_keeps_what_was_seen_and_tells_only_what_changed(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.say(Fault=True, High=True, HighHigh=False)
        r.keeper.acknowledge(STATE, "anna", "known")
    async with rig(tmp_path) as again:
        assert again.is_now(STATE) == (True, "", True, 900)
        await again.say(Fault=True, High=False, HighHigh=False)
        assert again.told == [("AlarmInactive", False, False)]
        assert again.is_now(STATE) == (True, "", True, 900)
        assert again.is_now(LIMIT) == (False, "", False, 500)


async def test_a_machine_that_is_gone_has_no_active_alarm(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.say(Fault=True)
        r.table.replace_plant(Plant(r.bridge, {}))
        await r.say()
        assert r.is_now(STATE) == (False, "", False, 900)


async def test_a_file_that_cannot_be_read_is_no_obstacle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "alarms.json").write_text('{"conditions": [{"id": 3}]}')
    async with rig(tmp_path) as r:
        await r.say(Fault=True)
        assert r.is_now(STATE) is not None
    assert "cannot be read" in caplog.text


async def test_conditions_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONDITIONS", 1)
    async with rig(tmp_path) as r:
        await r.say(Fault=True, High=True, HighHigh=False)
        assert len(r.keeper.conditions) == 1
        assert len(r.events) == 2


async def test_an_alarm_beyond_the_bound_is_told_once_and_let_in_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CONDITIONS", 1)
    async with rig(tmp_path) as made:
        await made.say(Fault=True)
        for _ in range(3):
            await made.say(High=True, HighHigh=False)
        assert [one.kind for one in made.events] == ["AlarmActive"] * 2
        await made.say(HighHigh=True)
        await made.say(HighHigh=True)
        await made.say(High=False, HighHigh=False)
        assert [one.kind for one in made.events[2:]] == ["AlarmActive", "AlarmInactive"]
        await made.say(High=True)
        assert made.is_now(LIMIT) is None
        await made.say(Fault=False)
        assert made.keeper.acknowledge(STATE, "ana", None)
        told = len(made.events)
        await made.say(High=True)
        assert made.is_now(LIMIT) == (True, "High", False, 500)
        assert len(made.events) == told


async def test_an_alarm_beyond_the_bound_ends_with_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONDITIONS", 0)
    async with rig(tmp_path) as made:
        await made.say(Fault=True)
        made.table.replace_plant(Plant(made.bridge, {}))
        await made.say()
        assert [one.kind for one in made.events] == ["AlarmActive", "AlarmInactive"]


def test_a_delay_lets_through_what_lasts() -> None:
    tag = Tag("m.Alarms.A", 7, "m", replace(FAULT, alarm=Alarm(delay=5.0)))
    values: dict[int, DataValue] = {}
    delay = AlarmDelay([tag], values.get)
    on, off = DataValue(True, StatusCode.Good, NOW, NOW), DataValue(False, StatusCode.Good, NOW, NOW)
    assert delay.passed([(7, on), (8, on)], 0.0) == [(7, off), (8, on)]
    assert delay.due(4.9) == []
    assert delay.passed([(7, off)], 4.9) == [(7, off)]
    assert delay.due(10) == []
    assert delay.passed([(7, on)], 10) == [(7, off)]
    assert delay.passed([(7, on)], 14) == [(7, off)]
    assert delay.due(15) == [(7, on)]
    assert delay.passed([(7, on)], 16) == [(7, on)]
    values[7] = on
    assert AlarmDelay([tag], values.get).passed([(7, on)], 0) == [(7, on)]  # after a reload
