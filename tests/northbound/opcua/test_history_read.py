"""HistoryRead: values of tags with a history, and events, as node-opcua reads them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from bridge.model.event import Event
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, to_milliseconds
from bridge.northbound.opcua.history_read import AT_ONCE, MAX_SCANNED, Interval
from bridge.northbound.opcua.stack.history import MAX_NODES, MAX_VALUES
from tests.northbound.opcua.event_peer import SERVER, EventPeer, event_peer
from tests.northbound.opcua.house import House, house
from tests.one_of_everything import NOW

pytestmark = pytest.mark.asyncio(loop_scope="module")
PRESSURE = "ns=2;s=extruder-1.Monitoring.Pressure"
BEGIN = NOW + timedelta(minutes=1)
COUNT = 2 * MAX_VALUES + 500


def at(second: float) -> datetime:
    return BEGIN + timedelta(seconds=second)


def text(second: float | None) -> str | None:
    return None if second is None else at(second).isoformat()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    """A value a second: 0, 1, 2, …; before them, at NOW, 12.5."""
    async with house(unsecured_read_only=True) as home:
        tag = home.tag("Monitoring/Pressure")
        for second in range(COUNT):
            home.table.update([(tag.slot, value(second))])
        for second in range(COUNT):
            kind = "step_closed" if second % 10 else "downtime_opened"
            machine = "winder-2" if second % 100 == 7 else "extruder-1"
            home.table.log.append(Event(f"e{second}", kind, at(second), str(second), 100 + second % 7, "", machine))
        await home.table.history.flush()
        await home.table.log.flush()
        yield home


def value(second: int) -> DataValue:
    if second == 13:
        return DataValue(None, StatusCode.BadNoCommunication, at(13), at(14), "gone", at(13))
    if second == 14:
        return DataValue(14.0, StatusCode.UncertainLastUsableValue, at(14), at(14.5), "old", at(14))
    return DataValue(float(second), StatusCode.Good, at(second), at(second + 0.25))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer(home: House) -> AsyncIterator[EventPeer]:
    async with event_peer(home) as peer:
        yield peer


async def read(peer: EventPeer, start: float | None, end: float | None, count: int = 0, **more: Any) -> list[list[Any]]:
    wish = {"node": PRESSURE, "start": text(start), "end": text(end), "count": count, **more}
    found = await peer.ask(history=wish)
    assert found["status"] in ("Good", "GoodNoData"), found
    return [[one["value"] for one in page] for page in found["pages"]]


@pytest.mark.peer("node")
@pytest.mark.parametrize(
    ("start", "end", "count", "pages"),
    [
        (1, 5, 0, [[1, 2, 3, 4]]),
        (5, 1, 0, [[5, 4, 3, 2]]),
        (1, 5, 3, [[1, 2, 3], [4]]),
        (5, 1, 3, [[5, 4, 3], [2]]),
        (0.5, 2.5, 0, [[1, 2]]),
        (2.5, 0.5, 0, [[2, 1]]),
        (3, None, 2, [[3, 4]]),
        (None, 3, 2, [[3, 2]]),
        (3, 3, 0, [[3]]),
        (3.5, 3.5, 0, [[]]),
        (-20, -10, 0, [[]]),
    ],
)
async def test_intervals_in_both_directions(peer: EventPeer, start: Any, end: Any, count: int, pages: Any) -> None:
    assert await read(peer, start, end, count) == pages


@pytest.mark.peer("node")
@pytest.mark.parametrize(
    ("start", "end", "count", "pages"),
    [
        (1, 3, 0, [[1, 2, 3]]),
        (3, 1, 0, [[3, 2, 1]]),
        (1.5, 3.5, 0, [[1, 2, 3, 4]]),
        (3.5, 1.5, 0, [[4, 3, 2, 1]]),
        (1.5, 3.5, 2, [[1, 2], [3, 4]]),
        (1.5, 3.5, 3, [[1, 2, 3], [4]]),
        (1.5, 3.5, 1, [[1], [2], [3], [4]]),
        (-10, 0.5, 0, [[12.5, 0, 1]]),
        (-1000, -500, 0, [[None, 12.5]]),
        (COUNT - 1.5, COUNT + 5, 0, [[COUNT - 2, COUNT - 1, None]]),
        (1.5, None, 3, [[1, 2, 3]]),
        (None, 1.5, 3, [[2, 1, 0]]),
    ],
)
async def test_bounds(peer: EventPeer, start: Any, end: Any, count: int, pages: Any) -> None:
    assert await read(peer, start, end, count, bounds=True) == pages


@pytest.mark.peer("node")
async def test_a_bound_that_is_not_there_says_so(peer: EventPeer) -> None:
    wish = {"node": PRESSURE, "start": text(COUNT), "end": text(COUNT + 5), "bounds": True}
    [[_, last]] = (await peer.ask(history=wish))["pages"]
    assert (last["status"], last["source"]) == ("BadBoundNotFound", to_milliseconds(at(COUNT + 5)))


@pytest.mark.peer("node")
@pytest.mark.parametrize("backward", [False, True])
async def test_everything_comes_once_page_by_page(peer: EventPeer, backward: bool) -> None:
    start, end = (COUNT, -1) if backward else (-1, COUNT)
    pages = await read(peer, start, end)
    assert [len(page) for page in pages] == [MAX_VALUES, MAX_VALUES, 500]
    found = [one for page in pages for one in page if one is not None]
    expected = [float(second) for second in range(COUNT) if second != 13]
    assert found == (expected[::-1] if backward else expected)
    counted = await read(peer, *((COUNT, None) if not backward else (None, COUNT)), count=MAX_VALUES + 3)  # type: ignore[arg-type]
    assert [len(page) for page in counted] == ([0] if not backward else [MAX_VALUES, 3])


@pytest.mark.peer("node")
async def test_quality_and_the_times_that_were_asked_for(peer: EventPeer) -> None:
    wish = {"node": PRESSURE, "start": text(12), "end": text(15)}
    [[good, bad, uncertain]] = (await peer.ask(history=wish))["pages"]
    assert [one["status"] for one in (good, bad, uncertain)] == [
        "Good",
        "BadNoCommunication",
        "UncertainLastUsableValue",
    ]
    assert (bad["value"], uncertain["value"]) == (None, 14)
    assert (good["source"], good["server"]) == (to_milliseconds(at(12)), to_milliseconds(at(12.25)))
    [[only]] = (await peer.ask(history={**wish, "end": text(13), "timestamps": "Source"}))["pages"]
    assert (only["source"], only["server"]) == (to_milliseconds(at(12)), None)
    [[only]] = (await peer.ask(history={**wish, "end": text(13), "timestamps": "Server"}))["pages"]
    assert (only["source"], only["server"]) == (None, to_milliseconds(at(12.25)))


@pytest.mark.peer("node")
@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"node": "ns=2;s=extruder-1.Monitoring.Plain"}, "BadHistoryOperationUnsupported"),
        ({"node": "ns=2;s=nothing"}, "BadHistoryOperationUnsupported"),
        ({"node": "ns=0;i=2258"}, "BadHistoryOperationUnsupported"),
        ({"modified": True}, "BadHistoryOperationUnsupported"),
        ({"start": None, "end": None}, "BadHistoryOperationInvalid"),
        ({"end": None}, "BadHistoryOperationInvalid"),
        ({"start": None, "end": None, "count": 5}, "BadHistoryOperationInvalid"),
    ],
)
async def test_what_cannot_be_read_says_so(peer: EventPeer, wish: dict[str, Any], status: str) -> None:
    asked = {"node": PRESSURE, "start": text(1), "end": text(5), **wish}
    assert (await peer.ask(history=asked))["status"] == status


@pytest.mark.peer("node")
async def test_a_client_sees_which_tags_have_a_history(peer: EventPeer) -> None:
    wanted = [[PRESSURE, "Historizing"], ["ns=2;s=extruder-1.Monitoring.Plain", "Historizing"]]
    assert await peer.ask(attributes=wanted) == [True, False]
    levels = [
        [PRESSURE, "AccessLevel"],
        [PRESSURE, "UserAccessLevel"],
        ["ns=2;s=extruder-1.Monitoring.Plain", "AccessLevel"],
    ]
    assert await peer.ask(attributes=levels) == [5, 5, 1]
    assert await peer.ask(attributes=[[SERVER, "EventNotifier"], ["ns=2;s=extruder-1", "EventNotifier"]]) == [5, 5]
    can = "ns=0;i=11193"  # HistoryServerCapabilities.AccessHistoryDataCapability
    assert await peer.ask(attributes=[[can, "Value"]]) == [True]


async def test_times_finer_than_a_millisecond_keep_their_meaning() -> None:
    fine = timedelta(microseconds=300)
    forward, backward = Interval.of(NOW + fine, NOW + 2 * fine, 0), Interval.of(NOW + fine, NOW - fine, 0)
    first, last = forward.between(with_end=False)
    assert first is not None and last is not None
    assert first == NOW + timedelta(milliseconds=1) > last
    assert backward.between(with_end=False) == (NOW, NOW + fine)


# --- events ----------------------------------------------------------------------------------------------------------


async def events(peer: EventPeer, **wish: Any) -> list[list[Any]]:
    asked = {"node": SERVER, "fields": ["Message"], **wish}
    found = await peer.ask(eventHistory=asked)
    assert found["status"] in ("Good", "GoodNoData"), found
    return [[int(one) for [one] in page] for page in found["pages"]]


@pytest.mark.peer("node")
async def test_events_of_a_time_in_both_directions(peer: EventPeer) -> None:
    assert await events(peer, start=text(2), end=text(5)) == [[2, 3, 4]]
    assert await events(peer, start=text(5), end=text(2)) == [[5, 4, 3]]
    assert await events(peer, start=text(2), end=text(5), count=2) == [[2, 3], [4]]
    assert await events(peer, start=text(2), count=2) == [[2, 3]]
    assert await events(peer, end=text(5), count=2) == [[5, 4]]
    pages = await events(peer, start=text(0), end=text(COUNT))
    assert [one for page in pages for one in page] == list(range(COUNT))


@pytest.mark.peer("node")
async def test_events_of_one_machine_and_by_a_where_clause(peer: EventPeer) -> None:
    assert await events(peer, node="ns=2;s=winder-2", start=text(0), end=text(250)) == [[7, 107, 207]]
    where = {"op": "OfType", "of": [{"node": "ns=3;s=DowntimeOpenedEventType"}]}
    pages = await events(peer, where=where, start=text(0), end=text(COUNT))
    assert [one for page in pages for one in page] == list(range(0, COUNT, 10))
    fields = ["EventType", "Time", "Severity", "SourceName"]
    wish = {"node": SERVER, "fields": fields, "start": text(7), "end": text(8)}
    assert (await peer.ask(eventHistory=wish))["pages"] == [
        [["ns=3;s=StepClosedEventType", to_milliseconds(at(7)), 100, "winder-2"]]
    ]
    assert COUNT < MAX_SCANNED


@pytest.mark.peer("node")
@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"node": PRESSURE}, "BadHistoryOperationUnsupported"),
        ({"node": SERVER, "start": None}, "BadHistoryOperationInvalid"),
        ({"node": SERVER, "where": {"op": "Equals", "of": [{"field": "Message"}]}}, "BadEventFilterInvalid"),
    ],
)
async def test_events_that_cannot_be_read(peer: EventPeer, wish: dict[str, Any], status: str) -> None:
    asked = {"fields": ["Message"], "start": text(1), "end": text(5), **wish}
    assert (await peer.ask(eventHistory=asked))["status"] == status


# --- requests no good client sends -----------------------------------------------------------------------------------


def request(*nodes: ua.HistoryReadValueId, **changes: Any) -> ua.HistoryReadParameters:
    details = ua.ReadRawModifiedDetails(False, at(1), at(5), 0, False)
    given = ua.HistoryReadParameters(details, ua.TimestampsToReturn.Both, False, list(nodes))
    return replace(given, **changes)


def node(**changes: Any) -> ua.HistoryReadValueId:
    return replace(ua.HistoryReadValueId(ua.NodeId("extruder-1.Monitoring.Pressure", 2)), **changes)


@pytest.mark.parametrize(
    ("params", "status"),
    [
        (request(), "BadNothingToDo"),
        (request(*[node()] * (MAX_NODES + 1)), "BadTooManyOperations"),
        (request(node(), TimestampsToReturn=ua.TimestampsToReturn.Neither), "BadTimestampsToReturnInvalid"),
        (request(node(), TimestampsToReturn=ua.TimestampsToReturn.Invalid), "BadTimestampsToReturnInvalid"),
    ],
)
async def test_a_whole_request_is_refused(home: House, params: ua.HistoryReadParameters, status: str) -> None:
    async with Client(home.url) as client:
        with pytest.raises(ua.UaStatusCodeError) as refused:
            await client.uaclient.history_read(params)
        assert ua.StatusCode(refused.value.code).name == status


@pytest.mark.parametrize(
    ("params", "status"),
    [
        (request(node(ContinuationPoint=b"x")), "BadContinuationPointInvalid"),
        (request(node(ContinuationPoint=b"e" + b"\xff" * 21)), "BadContinuationPointInvalid"),
        (request(node(ContinuationPoint=b"v" + b"\xff" * 21)), "Good"),
        (request(node(ContinuationPoint=b"v" + b"\x7f" * 21)), "GoodNoData"),
        (request(node(IndexRange="0:1")), "BadIndexRangeNoData"),
        (request(node(DataEncoding=ua.QualifiedName("Default XML", 0))), "BadDataEncodingInvalid"),
        (request(node(DataEncoding=ua.QualifiedName("Default Binary", 0))), "BadDataEncodingInvalid"),
        (request(node(DataEncoding=ua.QualifiedName("", 0))), "Good"),
        (request(node(), ReleaseContinuationPoints=True), "Good"),
        (request(node(), HistoryReadDetails=ua.ReadProcessedDetails()), "BadHistoryOperationUnsupported"),
        (request(node(), HistoryReadDetails=ua.ReadAtTimeDetails()), "BadHistoryOperationUnsupported"),
    ],
)
async def test_one_node_is_refused(home: House, params: ua.HistoryReadParameters, status: str) -> None:
    async with Client(home.url) as client:
        [result] = await client.uaclient.history_read(params)
        assert result.StatusCode.name == status


async def test_an_answer_is_bounded_over_all_its_nodes(home: House) -> None:
    details = ua.ReadRawModifiedDetails(False, at(-1), at(COUNT), 0, False)
    async with Client(home.url) as client:
        results = await client.uaclient.history_read(request(*[node()] * 10, HistoryReadDetails=details))
        assert [len(one.HistoryData.DataValues) for one in results] == [MAX_VALUES // 10] * 10
        assert all(one.ContinuationPoint for one in results)


async def test_a_history_is_not_changed_from_outside(home: House) -> None:
    async with Client(home.url) as client:
        with pytest.raises(ua.UaStatusCodeError) as refused:
            await client.uaclient.protocol.send_request(ua.HistoryUpdateRequest())
        assert ua.StatusCode(refused.value.code).name == "BadServiceUnsupported"


async def test_one_event_among_thousands_costs_few_questions(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    log, asked = home.table.log, []
    query = log.query

    def counted(*arguments: Any, **wishes: Any) -> Any:
        asked.append(wishes)
        return query(*arguments, **wishes)

    monkeypatch.setattr(log, "query", counted)
    base = ua.NodeId(ua.ObjectIds.BaseEventType)
    message = ua.SimpleAttributeOperand(base, [ua.QualifiedName("Message")], ua.AttributeIds.Value)
    words = ua.LiteralOperand(ua.Variant(str(COUNT - 3), ua.VariantType.String))
    where = ua.ContentFilter([ua.ContentFilterElement(ua.FilterOperator.Equals, [message, words])])
    details = ua.ReadEventDetails(1, at(0), at(COUNT), ua.EventFilter([message], where))
    server = ua.HistoryReadValueId(ua.NodeId(ua.ObjectIds.Server))
    async with Client(home.url) as client:
        given = ua.HistoryReadParameters(details, ua.TimestampsToReturn.Both, False, [server])
        (result,) = await client.uaclient.history_read(given)
        (found,) = result.HistoryData.Events
        assert found.EventFields[0].Value.Text == str(COUNT - 3)
        assert len(asked) <= COUNT / AT_ONCE + 1
        server.ContinuationPoint = result.ContinuationPoint
        (rest,) = await client.uaclient.history_read(given)
    assert (rest.HistoryData.Events, rest.ContinuationPoint) == ([], None)
