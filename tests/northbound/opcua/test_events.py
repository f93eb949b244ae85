"""Events, as clients subscribe to them on the Server object."""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from bridge.model.event import Event
from bridge.model.value import to_milliseconds
from bridge.northbound.opcua.events import MAX_KINDS, event_id
from bridge.northbound.opcua.stack.event_filter import like
from tests.northbound.opcua.event_peer import SERVER, event_peer
from tests.northbound.opcua.house import House, eventually, house, running
from tests.one_of_everything import NOW


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house(unsecured_read_only=True) as home:
        yield home


def event(number: int, kind: str = "MachineLost", **changes: Any) -> Event:
    given = Event(f"{kind}-{number}", kind, NOW, f"Nr. {number} Grüße", 500, "panel", "extruder-1", {})
    return replace(given, **changes)


FIELDS = ["EventId", "EventType", "SourceNode", "SourceName", "Time", "Message", "Severity"]


@pytest.mark.peer("node")
@pytest.mark.asyncio(loop_scope="module")
async def test_every_field_arrives_at_a_client_that_is_not_ours(home: House) -> None:
    async with event_peer(home) as peer:
        watched = await peer.ask(
            watch={"node": SERVER, "fields": [*FIELDS, "ReceiveTime", "3:Kind", "3:Key", "3:Data"]}
        )
        assert watched["status"] == "Good"
        home.table.log.append(event(1, data={"a": 1.5, "b": None}))
        [[*fields, received, kind, key, data]] = await peer.ask(heard=1)
        assert fields == [
            event_id("MachineLost-1").hex(),
            "ns=3;s=MachineLostEventType",
            "ns=2;s=extruder-1",
            "extruder-1",
            to_milliseconds(NOW),
            "Nr. 1 Grüße",
            500,
        ]
        assert (kind, key, json.loads(data)) == ("MachineLost", "MachineLost-1", {"a": 1.5, "b": None})
        assert received > to_milliseconds(NOW)


@pytest.mark.peer("node")
@pytest.mark.asyncio(loop_scope="module")
async def test_a_kind_nobody_knew_gets_a_type_with_its_fields(home: House) -> None:
    async with event_peer(home) as peer:
        path = ["EventType", "3:VendorId", "3:Duration", "3:Replayed", "3:Nothing"]
        assert (await peer.ask(watch={"node": SERVER, "fields": path}))["status"] == "Good"
        data = {"vendor_id": "x-1", "duration": 3, "replayed": False, "nothing": None, "odd key!": 1, "tag.a.b": "c"}
        home.table.log.append(event(2, "step_closed", data=data))
        assert await peer.ask(heard=1) == [["ns=3;s=StepClosedEventType", "x-1", 3, False, None]]
        members = {name for name, *_ in await peer.ask(browse="ns=3;s=StepClosedEventType")}
        assert {"3:VendorId", "3:Duration", "3:Replayed", "3:OddKey", "3:TagAB"} <= members
        again = {"vendor_id": 7, "duration": "long", "replayed": None, "nothing": "now"}
        home.table.log.append(event(3, "step_closed", data=again))
        assert await peer.ask(heard=1) == [["ns=3;s=StepClosedEventType", "7", None, None, "now"]]


@pytest.mark.peer("node")
@pytest.mark.asyncio(loop_scope="module")
async def test_a_command_is_an_audit_event(home: House) -> None:
    async with event_peer(home) as peer:
        fields = ["Status", "ClientUserId", "ClientAuditEntryId", "3:Target", "3:Result"]
        where = {"op": "OfType", "of": [{"node": "ns=0;i=2052"}]}
        assert (await peer.ask(watch={"node": SERVER, "fields": fields, "where": where}))["status"] == "Good"
        home.table.log.append(event(4))
        data = {"id": "uns:7", "target": "a.b", "requester": "anna", "result": "refused", "done": False}
        home.table.log.append(event(5, "CommandEnded", data=data))
        assert await peer.ask(heard=1) == [[False, "anna", "uns:7", "a.b", "refused"]]


def field(name: str) -> dict[str, str]:
    return {"field": name}


def of(data_type: str, value: object) -> dict[str, object]:
    return {"type": data_type, "value": value}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"op": "GreaterThanOrEqual", "of": [field("Severity"), of("UInt16", 500)]}, [500, 700]),
        ({"op": "Equals", "of": [field("SourceName"), of("String", "winder-2")]}, [300]),
        ({"op": "Like", "of": [field("Message"), of("String", "Nr. 1_ %")]}, [100, 300, 500, 700]),
        ({"op": "OfType", "of": [{"node": "ns=3;s=BridgeEventType"}]}, [100, 300, 500, 700]),
        ({"op": "Not", "of": [{"op": "OfType", "of": [{"node": "ns=3;s=SourceLostEventType"}]}]}, [100, 300, 500]),
        (
            {
                "op": "And",
                "of": [
                    {"op": "OfType", "of": [{"node": "ns=0;i=2041"}]},
                    {"op": "Between", "of": [field("Severity"), of("Int32", 200), of("Int32", 500)]},
                ],
            },
            [300, 500],
        ),
        ({"op": "InList", "of": [field("Severity"), of("UInt16", 100), of("UInt16", 700)]}, [100, 700]),
        ({"op": "IsNull", "of": [field("3:After")]}, [100, 300, 500, 700]),
        ({"op": "GreaterThan", "of": [field("3:After"), of("Int32", 1)]}, []),
    ],
    ids=lambda value: value.get("op") if isinstance(value, dict) else "",
)  # fmt: skip
@pytest.mark.peer("node")
@pytest.mark.asyncio(loop_scope="module")
async def test_where_clauses_choose(home: House, where: dict[str, Any], expected: list[int]) -> None:
    async with event_peer(home) as peer:
        assert (await peer.ask(watch={"node": SERVER, "fields": ["Severity"], "where": where}))["status"] == "Good"
        assert (await peer.ask(watch={"node": SERVER, "fields": ["Message"]}))["status"] == "Good"
        for number, severity in enumerate((100, 300, 500, 700), 10):
            machine = "winder-2" if severity == 300 else "extruder-1"
            kind = "SourceLost" if severity == 700 else "MachineLost"
            home.table.log.append(
                event(id(where) + severity, kind, severity=severity, machine=machine, message=f"Nr. {number} x")
            )
        heard = await peer.ask(heard=4 + len(expected))
        assert [one for [one] in heard if isinstance(one, int)] == expected
        assert len(heard) == 4 + len(expected)


@pytest.mark.peer("node")
@pytest.mark.asyncio(loop_scope="module")
async def test_a_machine_tells_of_itself_only(home: House) -> None:
    async with event_peer(home) as peer:
        assert (await peer.ask(watch={"node": "ns=2;s=winder-2", "fields": ["Message"]}))["status"] == "Good"
        home.table.log.append(event(30, machine="extruder-1"))
        home.table.log.append(event(31, machine="winder-2"))
        assert await peer.ask(heard=1) == [["Nr. 31 Grüße"]]
        notified = {nodeid for _, nodeid, _ in await peer.ask(browse=SERVER)}
        assert {"ns=2;s=winder-2", "ns=2;s=extruder-1"} <= notified


# --- what is refused, and bounds -------------------------------------------------------------------------------------


def event_filter(*elements: ua.ContentFilterElement, path: str = "Message") -> ua.EventFilter:
    select = ua.SimpleAttributeOperand(
        ua.NodeId(ua.ObjectIds.BaseEventType), [ua.QualifiedName(path, 0)], ua.AttributeIds.Value
    )
    return ua.EventFilter([select], ua.ContentFilter(list(elements)))


def element(operator: ua.FilterOperator, *operands: Any) -> ua.ContentFilterElement:
    return ua.ContentFilterElement(operator, list(operands))


def literal(value: Any) -> ua.LiteralOperand:
    return ua.LiteralOperand(ua.Variant(value))


O = ua.FilterOperator  # noqa: E741


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ([element(O.Cast, literal(1), literal(ua.NodeId(6)))], "BadFilterOperatorUnsupported"),
        ([element(O.InView, literal(ua.NodeId(6)))], "BadFilterOperatorUnsupported"),
        ([element(O.Equals, literal(1))], "BadFilterOperandCountMismatch"),
        ([element(O.Not, ua.ElementOperand(0))], "BadFilterOperandInvalid"),
        ([element(O.Not, ua.ElementOperand(7))], "BadFilterOperandInvalid"),
        ([element(O.IsNull, ua.AttributeOperand())], "BadFilterOperandInvalid"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_where_clause_that_cannot_be_done_is_answered(
    home: House, elements: list[ua.ContentFilterElement], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(home.url) as client:
        result = await watch(client, event_filter(*elements))
        assert result.StatusCode.name == "BadEventFilterInvalid"
        assert [one.StatusCode.name for one in result.FilterResult.WhereClauseResult.ElementResults] == [code]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def watch(client: Client, filter_: ua.EventFilter, queue: int = 0, node_id: Any = None) -> Any:
    subscription = await client.create_subscription(50, Heard())
    target = ua.ReadValueId(node_id or ua.NodeId(ua.ObjectIds.Server), ua.AttributeIds.EventNotifier)
    item = ua.MonitoredItemCreateRequest(target, ua.MonitoringMode.Reporting)
    item.RequestedParameters = ua.MonitoringParameters(1, 0, filter_, queue, True)
    params = ua.CreateMonitoredItemsParameters(subscription.subscription_id, ua.TimestampsToReturn.Both, [item])
    return (await client.uaclient.create_monitored_items(params))[0]


class Heard:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def event_notification(self, event: Any) -> None:
        self.messages.append(event.Message.Text)

    def status_change_notification(self, status: Any) -> None:
        return None


@pytest.mark.asyncio(loop_scope="module")
async def test_select_clauses_are_answered_one_by_one(home: House) -> None:
    async with Client(home.url) as client:
        filter_ = event_filter()
        wrong = ua.SimpleAttributeOperand(
            ua.NodeId("nothing", 2), [ua.QualifiedName("Message", 0)], ua.AttributeIds.Value
        )
        no_type = ua.SimpleAttributeOperand(ua.NodeId(ua.ObjectIds.BaseObjectType), [ua.QualifiedName("a", 0)], 13)
        odd = ua.SimpleAttributeOperand(ua.NodeId(2041), [ua.QualifiedName("Message", 0)], ua.AttributeIds.Description)
        filter_.SelectClauses += [wrong, no_type, odd]
        result = await watch(client, filter_)
        assert result.StatusCode.is_good()
        codes = [one.name for one in result.FilterResult.SelectClauseResults]
        assert codes == ["Good", "BadTypeDefinitionInvalid", "BadTypeDefinitionInvalid", "BadAttributeIdInvalid"]


@pytest.mark.parametrize(
    ("node_id", "code"),
    [(ua.NodeId("nothing", 2), "BadNodeIdUnknown"), (ua.NodeId("extruder-1.Monitoring", 2), "BadNotSupported")],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_has_no_events_says_so(home: House, node_id: ua.NodeId, code: str) -> None:
    async with Client(home.url) as client:
        assert (await watch(client, event_filter(), node_id=node_id)).StatusCode.name == code


async def test_a_full_queue_says_that_events_were_lost() -> None:
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        slow, quick = Heard(), Heard()
        narrow = await client.create_subscription(50, slow)
        await narrow.subscribe_events(queuesize=3)
        wide = await client.create_subscription(50, quick)
        await wide.subscribe_events(queuesize=100)
        await narrow.set_publishing_mode(False)
        for number in range(10):
            home.table.log.append(event(number, message=str(number)))
        await eventually(lambda: quick.messages == [str(number) for number in range(10)])
        assert slow.messages == []
        await narrow.set_publishing_mode(True)
        await eventually(lambda: len(slow.messages) == 4)
        assert slow.messages[1:] == ["7", "8", "9"]
        assert "lost" in slow.messages[0]
        home.table.log.append(event(11, message="next"))
        await eventually(lambda: slow.messages[4:] == ["next"])


async def test_an_item_that_is_switched_to_and_fro_keeps_no_more_than_its_queue() -> None:
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        slow, quick = Heard(), Heard()
        narrow = await client.create_subscription(50, slow)
        await narrow.subscribe_events(queuesize=3)
        wide = await client.create_subscription(50, quick)
        await wide.subscribe_events(queuesize=100)
        await narrow.set_publishing_mode(False)
        for number in range(12):
            if not number % 3:
                await narrow.set_monitoring_mode(ua.MonitoringMode.Sampling)
            home.table.log.append(event(number, message=str(number)))
            await eventually(lambda n=number: len(quick.messages) == n + 1)
            if number % 3 == 2:
                await narrow.set_monitoring_mode(ua.MonitoringMode.Reporting)
        await narrow.set_publishing_mode(True)
        await eventually(lambda: len(slow.messages) == 4)
        assert slow.messages[1:] == ["9", "10", "11"]
        assert "lost" in slow.messages[0]


async def test_an_item_that_is_switched_off_hears_nothing_and_another_filter_holds_at_once() -> None:
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        heard, other = Heard(), Heard()
        subscription = await client.create_subscription(50, heard)
        handle = await subscription.subscribe_events()
        witness = await client.create_subscription(50, other)
        await witness.subscribe_events()
        await subscription.set_monitoring_mode(ua.MonitoringMode.Disabled)
        home.table.log.append(event(1))
        await eventually(lambda: other.messages)
        await subscription.set_monitoring_mode(ua.MonitoringMode.Reporting)
        home.table.log.append(event(2))
        await eventually(lambda: heard.messages == ["Nr. 2 Grüße"])
        await subscription.unsubscribe(handle)
        home.table.log.append(event(3))
        await eventually(lambda: len(other.messages) == 3)
        assert heard.messages == ["Nr. 2 Grüße"]


async def test_kinds_without_end_share_the_general_type() -> None:
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        heard = Heard()
        subscription = await client.create_subscription(50, heard)
        await subscription.subscribe_events(queuesize=100)
        for number in range(MAX_KINDS + 20):
            home.table.log.append(event(number, f"kind_{number}"))
        home.table.log.append(event(0, "ä/%", message="the last"))
        await eventually(lambda: "the last" in heard.messages)
        kinds = client.get_node(ua.NodeId("BridgeEventType", 3))
        assert len(await kinds.get_children(ua.ObjectIds.HasSubtype)) < MAX_KINDS


async def test_what_the_log_knows_has_a_type_after_a_restart() -> None:
    async with house(unsecured_read_only=True) as home:
        home.table.log.append(event(1, "downtime_opened", data={"label": "Cleaning"}))
        await home.table.log.flush()
        await home.stop()
        async with running(home.server, home.table):
            assert home.server.endpoint is not None
            async with Client(home.server.endpoint.replace("localhost", "127.0.0.1")) as client:
                kind = client.get_node(ua.NodeId("DowntimeOpenedEventType", 3))
                names = [(await one.read_browse_name()).Name for one in await kind.get_properties()]
                assert names == ["Label"]


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("Screw 1", "Screw%", True),
        ("Screw 1", "%1", True),
        ("Screw 1", "%[0-9]", True),
        ("Screw 1", "%[^0-9]", False),
        ("100%", "100\\%", True),
        ("1000", "100\\%", False),
        ("abc", "a_c", True),
        ("abc", "a_", False),
        ("", "%", True),
        ("", "_", False),
        ("a[", "a[", True),
        ("a" * 5000, "%a" * 100, True),
        ("x", 3, None),
        (None, "%", None),
        ("x", "%" * 201, None),
    ],
)
def test_like(text: Any, pattern: Any, expected: bool | None) -> None:
    assert like(text, pattern) is expected
