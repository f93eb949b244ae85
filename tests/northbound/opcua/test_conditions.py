"""Alarms as OPC UA clients see and acknowledge them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asyncua import Client, ua

from bridge.model.plant import Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Alarm, TagDefinition
from bridge.model.value import DataType, DataValue
from bridge.runtime.alarms import AlarmKeeper
from bridge.transport.clock import SystemClock
from tests.northbound.opcua.event_peer import SERVER, event_peer
from tests.northbound.opcua.house import FakeDesk, House, house
from tests.one_of_everything import DEFINITIONS, NOW, machine

pytestmark = pytest.mark.peer("node")
ALARMS = (
    TagDefinition("Alarms/Pressure/High", DataType.Boolean, alarm=Alarm(500, "Monitoring/Pressure", "high")),
    TagDefinition("Alarms/Pressure/HighHigh", DataType.Boolean, alarm=Alarm(700, "Monitoring/Pressure", "high_high")),
    TagDefinition("Alarms/Fault", DataType.Boolean, alarm=Alarm(900), description="The drive has a fault"),
)
CONDITION, FAULT = "ns=2;s=extruder-1.Monitoring.Pressure.Alarm", "ns=2;s=extruder-1.Alarms.Fault.Alarm"
FIELDS = ["ConditionId", "EventType", "ActiveState/Id", "AckedState/Id", "Retain", "Severity"]
TYPE, REFRESH, REFRESH_2, ACKNOWLEDGE = "ns=0;i=2782", "ns=0;i=3875", "ns=0;i=12912", "ns=0;i=9111"
ADD_COMMENT, CONFIRM, ENABLE, DISABLE, SHELVE = (
    "ns=0;i=9029",
    "ns=0;i=9113",
    "ns=0;i=9027",
    "ns=0;i=9028",
    "ns=0;i=2949",
)


@asynccontextmanager
async def alarmed() -> AsyncIterator[House]:
    """A house whose extruder has alarms."""
    desk = FakeDesk()
    async with house(desk=desk, unsecured_read_only=True) as home:
        desk.keeper = AlarmKeeper(home.state / "alarms.json", home.table, SystemClock(), home.table.log.append)
        plant = home.table.plant
        extruder = machine(home.slots, "extruder-1", (*DEFINITIONS, *ALARMS))
        home.table.replace_plant(Plant(plant.bridge, {**plant.machines, "extruder-1": extruder}))
        task = asyncio.create_task(desk.keeper.run())
        say(home, **{"Pressure/High": False, "Pressure/HighHigh": False, "Fault": False})
        try:
            yield home
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def say(home: House, **values: bool) -> None:
    for name, value in values.items():
        home.table.update([(home.tag(f"Alarms/{name}").slot, DataValue(value, StatusCode.Good, NOW, NOW))])


async def test_an_alarm_from_its_beginning_to_its_acknowledgement() -> None:
    async with alarmed() as home, event_peer(home, "operator") as peer:
        where = {"op": "OfType", "of": [{"node": "ns=0;i=2782"}]}
        more = ["EventId", "LimitState/CurrentState", "HighHighLimit", "InputNode", "ConditionName", "SourceNode"]
        assert (await peer.ask(watch={"node": SERVER, "fields": [*FIELDS, *more], "where": where}))["status"] == "Good"
        say(home, **{"Pressure/High": True})
        [[*now, first, level, limit, tag, name, source]] = await peer.ask(heard=1)
        assert now == [CONDITION, "ns=0;i=9341", True, False, True, 500]
        assert (level, limit, tag, name) == ("High", 300, "ns=2;s=extruder-1.Monitoring.Pressure", "Melt pressure")
        assert source == "ns=2;s=extruder-1"
        say(home, **{"Pressure/HighHigh": True})
        [[*now, second, level, _, _, _, _]] = await peer.ask(heard=1)
        assert (now[2:], level) == ([True, False, True, 700], "HighHigh")
        assert first != second
        wrong = await peer.ask(call=[CONDITION, ACKNOWLEDGE, [["ByteString", first], ["LocalizedText", {"text": "x"}]]])
        assert wrong["status"] == "BadEventIdUnknown"
        said = [["ByteString", second], ["LocalizedText", {"text": "on my way"}]]
        assert (await peer.ask(call=[CONDITION, ACKNOWLEDGE, said]))["status"] == "Good"
        [[*now, _, _, _, _, _, _]] = await peer.ask(heard=1)
        assert now[2:] == [True, True, True, 700]
        assert (await peer.ask(call=[CONDITION, ACKNOWLEDGE, said]))["status"] == "BadConditionBranchAlreadyAcked"
        [condition] = home.desk.keeper.conditions
        assert condition.comment == "on my way"
        assert condition.acked_by.startswith("operator@")
        say(home, **{"Pressure/HighHigh": False, "Pressure/High": False})
        [[*now, _, _, _, _, _, _]] = (await peer.ask(heard=1))[-1:]
        assert now[2:5] == [False, True, False]


async def test_who_only_looks_acknowledges_nothing() -> None:
    async with alarmed() as home, event_peer(home, "observer") as peer:
        assert (await peer.ask(watch={"node": SERVER, "fields": ["EventId"]}))["status"] == "Good"
        say(home, Fault=True)
        [[event]] = await peer.ask(heard=1)
        said = [["ByteString", event], ["LocalizedText", {"text": ""}]]
        assert (await peer.ask(call=[FAULT, ACKNOWLEDGE, said]))["status"] == "BadUserAccessDenied"
        assert [one.acked for one in home.desk.keeper.conditions] == [False]


async def test_a_client_that_comes_late_asks_what_there_is() -> None:
    async with alarmed() as home, event_peer(home, "operator") as peer:
        say(home, **{"Pressure/High": True, "Fault": True})
        while len(home.desk.keeper.conditions) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        where = {"op": "Equals", "of": [{"field": "Severity"}, {"type": "UInt16", "value": 900}]}
        watched = await peer.ask(watch={"node": SERVER, "fields": [*FIELDS, "EventId"], "where": where})
        subscription = await peer.ask(subscription=True)
        await home.table.log.flush()
        assert (await peer.ask(call=[TYPE, REFRESH, [["UInt32", subscription]]]))["status"] == "Good"
        heard: list[list[Any]] = []
        while "ns=0;i=2788" not in [one[1] for one in heard]:
            heard += await peer.ask(heard=1)
        begin = [one[1] for one in heard].index("ns=0;i=2787")
        assert [one[1] for one in heard[begin:]] == ["ns=0;i=2787", "ns=0;i=10637", "ns=0;i=2788"]
        fault = heard[begin + 1]
        assert fault[:6] == [FAULT, "ns=0;i=10637", True, False, True, 900]
        only = [["UInt32", subscription], ["UInt32", watched["id"]]]
        assert (await peer.ask(call=[TYPE, REFRESH_2, only]))["status"] == "Good"
        assert len(await peer.ask(heard=3)) == 3
        said = [["ByteString", fault[6]], ["LocalizedText", {"text": ""}]]
        assert (await peer.ask(call=[FAULT, ACKNOWLEDGE, said]))["status"] == "Good"  # with the id of the refresh


async def test_a_comment_is_told_to_everybody_and_kept_until_another_is_said() -> None:
    async with alarmed() as home, event_peer(home, "operator") as peer:
        fields = ["EventId", "Comment", "ClientUserId", "AckedState/Id", "Severity", "LastSeverity"]
        assert (await peer.ask(watch={"node": SERVER, "fields": fields}))["status"] == "Good"
        say(home, **{"Pressure/High": True})
        [[event, comment, *_, severity, last]] = await peer.ask(heard=1)
        assert (comment, severity, last) == ("", 500, 0)
        said = [["ByteString", event], ["LocalizedText", {"text": "a filter is blocked"}]]
        assert (await peer.ask(call=[CONDITION, ADD_COMMENT, said]))["status"] == "Good"
        [[_, comment, who, acked, severity, _]] = await peer.ask(heard=1)
        assert (comment, acked, severity) == ("a filter is blocked", False, 500)
        assert who.startswith("operator@")
        nothing = [["ByteString", event], ["LocalizedText", {"text": ""}]]
        assert (await peer.ask(call=[CONDITION, ACKNOWLEDGE, nothing]))["status"] == "Good"
        [[_, comment, _, acked, *_]] = await peer.ask(heard=1)
        assert (comment, acked) == ("a filter is blocked", True)
        say(home, **{"Pressure/HighHigh": True})
        [[*_, severity, last]] = await peer.ask(heard=1)
        assert (severity, last) == (700, 500)


async def test_what_conditions_do_not_do_is_said() -> None:
    async with alarmed() as home, event_peer(home, "operator") as peer:
        assert (await peer.ask(watch={"node": SERVER, "fields": ["EventId", "ConfirmedState", "ShelvingState"]}))[
            "status"
        ]
        say(home, Fault=True)
        [[event, confirmed, shelved]] = await peer.ask(heard=1)
        assert (confirmed, shelved) == (None, None)
        said = [["ByteString", event], ["LocalizedText", {"text": ""}]]
        for method, given, status in (
            (CONFIRM, said, "BadMethodInvalid"),
            (SHELVE, [["Double", 1000]], "BadMethodInvalid"),
            (ENABLE, [], "BadConditionAlreadyEnabled"),
            (DISABLE, [], "BadNotExecutable"),
        ):
            assert (await peer.ask(call=[FAULT, method, given]))["status"] == status, method
            assert (await peer.ask(call=[CONDITION, method, given]))["status"] == "BadNodeIdUnknown", method
        assert (await peer.ask(call=["ns=0;i=2881", ACKNOWLEDGE, said]))["status"] == "BadNodeIdInvalid"
        assert await peer.ask(attributes=[[DISABLE, "Executable"], [ENABLE, "Executable"]]) == [False, True]


@pytest.mark.parametrize(
    ("node", "method", "given", "status"),
    [
        (TYPE, REFRESH, [["UInt32", 4711]], "BadSubscriptionIdInvalid"),
        (TYPE, REFRESH, [], "BadArgumentsMissing"),
        (TYPE, REFRESH, [["UInt32", 1], ["UInt32", 1]], "BadTooManyArguments"),
        (TYPE, REFRESH, [["String", "1"]], "BadInvalidArgument"),
        (FAULT, ACKNOWLEDGE, [["ByteString", "00"], ["LocalizedText", {"text": ""}]], "BadNodeIdUnknown"),
    ],
)
async def test_what_makes_no_sense_is_answered(node: str, method: str, given: list[Any], status: str) -> None:
    async with alarmed() as home, event_peer(home, "operator") as peer:
        assert (await peer.ask(call=[node, method, given]))["status"] == status


async def test_another_sessions_subscription_is_not_refreshed() -> None:
    async with alarmed() as home, event_peer(home, "operator") as peer, Client(home.url) as other:
        subscription = await peer.ask(subscription=True)
        request = ua.CallMethodRequest(
            ua.NodeId(2782), ua.NodeId(3875), [ua.Variant(subscription, ua.VariantType.UInt32)]
        )
        [result] = await other.uaclient.call([request])
        assert result.StatusCode.name == "BadSubscriptionIdInvalid"


async def test_alarms_of_the_past_are_read_from_the_log() -> None:
    async with alarmed() as home, event_peer(home) as peer:
        say(home, Fault=True)
        while not home.desk.keeper.conditions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await home.table.log.flush()
        wish = {"node": SERVER, "fields": FIELDS[:3], "start": NOW.isoformat(), "count": 10}
        pages = (await peer.ask(eventHistory=wish))["pages"]
        found = [one for page in pages for one in page if one[0] == FAULT]
        assert found
        assert {one[1] for one in found} == {"ns=0;i=10637"}
