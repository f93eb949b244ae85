"""Services as Part 4 says, byte by byte where asyncua's own client would hide something."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua

from bridge.model.status import StatusCode
from bridge.model.value import DataValue
from tests.northbound.opcua.house import House, Raw, house, raw
from tests.one_of_everything import NOW

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRESSURE = ua.NodeId("extruder-1.Monitoring.Pressure", 2)
MONITORING = ua.NodeId("extruder-1.Monitoring", 2)
NAMESPACES = ua.NodeId(ua.ObjectIds.Server_NamespaceArray)
CURRENT_TIME = ua.NodeId(ua.ObjectIds.Server_ServerStatus_CurrentTime)
Stamps = ua.TimestampsToReturn


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house(unsecured_read_only=True, limits={"continuation_points": 3, "references_per_node": 10}) as home:
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def session(home: House) -> AsyncIterator[Raw]:
    async with raw(home.port) as client:
        await client.open()
        await client.session()
        yield client


# --- browse ----------------------------------------------------------------------------------------------------------


def browse_request(*nodes: ua.NodeId, most: int = 0, **wishes: Any) -> ua.BrowseRequest:
    request = ua.BrowseRequest()
    request.Parameters.RequestedMaxReferencesPerNode = most
    request.Parameters.NodesToBrowse = [
        ua.BrowseDescription(**{"NodeId": node, "ResultMask": 63, **wishes}) for node in nodes
    ]
    return request


async def browse(client: Raw, *nodes: ua.NodeId, most: int = 0, **wishes: Any) -> list[ua.BrowseResult]:
    return list((await client.ask(browse_request(*nodes, most=most, **wishes))).Results)


async def browse_next(client: Raw, *points: bytes, release: bool = False) -> list[ua.BrowseResult]:
    request = ua.BrowseNextRequest()
    request.Parameters.ContinuationPoints = list(points)
    request.Parameters.ReleaseContinuationPoints = release
    return list((await client.ask(request)).Parameters.Results)


def ids(result: ua.BrowseResult) -> list[ua.NodeId]:
    return [one.NodeId for one in result.References]


@pytest.mark.parametrize("most", [1, 3, 0, 1000])
async def test_portions_together_are_everything_once(home: House, session: Raw, most: int) -> None:
    (result,) = await browse(session, ua.NodeId(ua.ObjectIds.BaseDataType), most=most)
    portions = [ids(result)]
    while result.ContinuationPoint:
        (result,) = await browse_next(session, result.ContinuationPoint)
        portions.append(ids(result))
    got = [one for portion in portions for one in portion]
    assert all(len(portion) == (most if 0 < most < 10 else 10) for portion in portions[:-1])
    assert len(got) == len(set(got)) > 10


async def test_a_node_with_few_references_leaves_no_point(session: Raw) -> None:
    (result,) = await browse(session, ua.NodeId(ua.ObjectIds.ObjectsFolder), most=1000, NodeClassMask=1)
    assert result.References
    assert not result.ContinuationPoint


async def test_only_the_fields_that_are_asked_for_are_given(session: Raw) -> None:
    node = ua.NodeId(ua.ObjectIds.ObjectsFolder)
    (whole,), (names,), (bare,) = [await browse(session, node, ResultMask=mask) for mask in (63, 0b1010, 0)]
    assert [(one.IsForward, one.BrowseName) for one in names.References] == [
        (one.IsForward, one.BrowseName) for one in whole.References
    ]
    assert {(one.ReferenceTypeId, one.NodeClass, one.DisplayName.Text) for one in names.References} == {
        (ua.NodeId(), ua.NodeClass.Unspecified, None)
    }
    assert bare.References == [ua.ReferenceDescription(NodeId=one, IsForward=False) for one in ids(whole)]


async def test_only_nodes_of_the_classes_that_are_asked_for_are_given(session: Raw) -> None:
    (whole,) = await browse(session, ua.NodeId(ua.ObjectIds.Server))
    (some,) = await browse(session, ua.NodeId(ua.ObjectIds.Server), NodeClassMask=ua.NodeClass.Variable)
    first = [one.NodeId for one in whole.References if one.NodeClass == ua.NodeClass.Variable]
    assert 0 < len(first) < len(whole.References)
    assert ids(some)[: len(first)] == first
    assert {one.NodeClass for one in some.References} == {ua.NodeClass.Variable}


async def test_points_of_one_request_are_bounded_and_those_of_earlier_ones_give_way(session: Raw) -> None:
    node = ua.NodeId(ua.ObjectIds.BaseDataType)
    (first,) = await browse(session, node, most=1)
    several = await browse(session, *[node] * 5, most=1)
    names = [one.StatusCode.name for one in several]
    assert names == ["Good"] * 3 + ["BadNoContinuationPoints"] * 2
    assert (await browse_next(session, first.ContinuationPoint))[0].StatusCode.name == "BadContinuationPointInvalid"
    (second,) = await browse_next(session, several[0].ContinuationPoint)
    assert ids(second) != ids(several[0])


async def test_released_foreign_and_invented_points_are_refused(home: House, session: Raw) -> None:
    node = ua.NodeId(ua.ObjectIds.BaseDataType)
    released, kept = [(await browse(session, node, most=1))[0].ContinuationPoint for _ in range(2)]
    (answer,) = await browse_next(session, released, release=True)
    assert (answer.StatusCode.name, answer.References) == ("Good", [])
    async with raw(home.port) as other:
        await other.open()
        await other.session()
        (foreign,) = await browse_next(other, kept)
    results = [foreign, *await browse_next(session, released, b"", b"\x00" * 64)]
    assert {one.StatusCode.name for one in results} == {"BadContinuationPointInvalid"}
    assert (await browse_next(session, kept))[0].References


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"NodeId": ua.NodeId("nothing", 2)}, "BadNodeIdUnknown"),
        ({"ReferenceTypeId": ua.NodeId(999_999)}, "BadReferenceTypeIdInvalid"),
        ({"BrowseDirection": ua.BrowseDirection.Invalid}, "BadBrowseDirectionInvalid"),
    ],
)
async def test_browse_that_makes_no_sense_is_refused_per_node(
    session: Raw, wishes: dict[str, Any], expected: str
) -> None:
    (result,) = await browse(session, MONITORING, **wishes)
    assert result.StatusCode.name == expected


async def test_browse_by_kind_and_direction(session: Raw) -> None:
    organizes = {"ReferenceTypeId": ua.NodeId(ua.ObjectIds.HierarchicalReferences)}
    (exact,) = await browse(session, MONITORING, IncludeSubtypes=False, **organizes)
    (children,) = await browse(session, MONITORING, IncludeSubtypes=True, **organizes)
    (parents,) = await browse(
        session, MONITORING, IncludeSubtypes=True, BrowseDirection=ua.BrowseDirection.Inverse, **organizes
    )
    assert exact.References == []
    assert PRESSURE in ids(children)
    assert ids(parents) == [ua.NodeId("extruder-1", 2)]


async def test_an_answer_has_a_bound(session: Raw) -> None:
    request = browse_request(*[ua.NodeId(ua.ObjectIds.ObjectsFolder)] * 200)
    assert await session.status(request) == "BadResponseTooLarge"


async def test_registered_nodes_are_the_same_and_bounded(session: Raw) -> None:
    request = ua.RegisterNodesRequest()
    request.Parameters.NodesToRegister = [PRESSURE]
    assert (await session.ask(request)).Parameters.RegisteredNodeIds == [PRESSURE]
    request.Parameters.NodesToRegister = [PRESSURE] * 1001
    assert await session.status(request) == "BadTooManyOperations"
    release = ua.UnregisterNodesRequest()
    release.Parameters.NodesToUnregister = [PRESSURE]
    assert await session.status(release) == "Good"


# --- read ------------------------------------------------------------------------------------------------------------


async def read(client: Raw, node: ua.NodeId, index_range: str | None = None, **wishes: Any) -> ua.DataValue:
    request = ua.ReadRequest()
    request.Parameters = ua.ReadParameters(
        NodesToRead=[ua.ReadValueId(node, ua.AttributeIds.Value, index_range)],
        **{"TimestampsToReturn": Stamps.Both, **wishes},
    )
    (value,) = (await client.ask(request)).Results
    return value


@pytest.mark.parametrize(
    ("stamps", "source", "server"),
    [
        (Stamps.Source, True, False),
        (Stamps.Server, False, True),
        (Stamps.Both, True, True),
        (Stamps.Neither, False, False),
    ],
)
async def test_only_the_times_that_were_asked_for_come(
    session: Raw, stamps: Stamps, source: bool, server: bool
) -> None:
    value = await read(session, PRESSURE, TimestampsToReturn=stamps)
    assert (value.SourceTimestamp is not None, value.ServerTimestamp is not None) == (source, server)
    assert value.Value.Value == 12.5


async def test_read_parameters_that_make_no_sense_are_refused(session: Raw) -> None:
    request = ua.ReadRequest()
    request.Parameters.NodesToRead = [ua.ReadValueId(PRESSURE, ua.AttributeIds.Value)]
    request.Parameters.TimestampsToReturn = Stamps.Invalid
    assert await session.status(request) == "BadTimestampsToReturnInvalid"
    request.Parameters.TimestampsToReturn = Stamps.Both
    for age in (-1.0, float("nan")):
        request.Parameters.MaxAge = age
        assert await session.status(request) == "BadMaxAgeInvalid"


@pytest.mark.parametrize(
    ("node", "index_range", "expected"),
    [
        (NAMESPACES, "0", ["http://opcfoundation.org/UA/"]),
        (NAMESPACES, "1:2", ["urn:test:bridge", "urn:test:bridge:instances"]),
        (NAMESPACES, "2:900", None),
        (NAMESPACES, "900", "BadIndexRangeNoData"),
        (NAMESPACES, "2:1", "BadIndexRangeInvalid"),
        (NAMESPACES, "1:1", "BadIndexRangeInvalid"),
        (NAMESPACES, "-1", "BadIndexRangeInvalid"),
        (NAMESPACES, "0,0", "BadIndexRangeInvalid"),
        (NAMESPACES, "9" * 30, "BadIndexRangeInvalid"),
        (PRESSURE, "0", "BadIndexRangeNoData"),
    ],
)
async def test_index_range_gives_that_part_or_is_refused(
    session: Raw, node: ua.NodeId, index_range: str, expected: list[str] | str | None
) -> None:
    value = await read(session, node, index_range)
    if isinstance(expected, str):
        assert value.StatusCode.name == expected
        assert value.Value is None or value.Value.Value is None
    else:
        assert value.StatusCode.is_good()
        assert value.Value.Value == (expected or (await read(session, NAMESPACES)).Value.Value[2:])


STATUS, SERVER = ua.NodeId(ua.ObjectIds.Server_ServerStatus), ua.NodeId(ua.ObjectIds.Server)
A = ua.AttributeIds


@pytest.mark.parametrize("is_monitored", [False, True], ids=["read", "monitored"])
@pytest.mark.parametrize(
    ("node", "attribute", "encoding", "expected"),
    [
        (PRESSURE, A.Value, "Default Binary", "BadDataEncodingInvalid"),
        (PRESSURE, A.Value, "Default JSON", "BadDataEncodingInvalid"),
        (PRESSURE, A.DisplayName, "Default Binary", "BadDataEncodingInvalid"),
        (PRESSURE, A.Value, "", "Good"),
        (NAMESPACES, A.Value, "Default Binary", "BadDataEncodingInvalid"),
        (STATUS, A.Value, "Default Binary", "Good"),
        (STATUS, A.Value, "Default XML", "BadDataEncodingUnsupported"),
        (STATUS, A.Value, "2:Default Binary", "BadDataEncodingUnsupported"),
        (STATUS, A.BrowseName, "Default Binary", "BadDataEncodingInvalid"),
        (STATUS, A.Executable, "Default Binary", "BadAttributeIdInvalid"),
        (SERVER, A.EventNotifier, "Default Binary", "BadDataEncodingInvalid"),
        (ua.NodeId("nothing", 2), A.Value, "Default XML", "BadNodeIdUnknown"),
    ],
)
async def test_an_encoding_is_for_values_of_structures_only(
    session: Raw, node: ua.NodeId, attribute: ua.AttributeIds, encoding: str, expected: str, is_monitored: bool
) -> None:
    asked = ua.ReadValueId(node, attribute, DataEncoding=ua.QualifiedName.from_string(encoding))
    if is_monitored:
        request: Any = ua.CreateMonitoredItemsRequest()
        item = ua.MonitoredItemCreateRequest(asked)
        request.Parameters = ua.CreateMonitoredItemsParameters(await subscribe(session), Stamps.Both, [item])
    else:
        request = ua.ReadRequest(Parameters=ua.ReadParameters(0, Stamps.Both, [asked]))
    (result,) = (await session.ask(request)).Results
    assert result.StatusCode.name == expected


# --- subscriptions ---------------------------------------------------------------------------------------------------


async def subscribe(client: Raw, interval: float = 50.0, **wishes: Any) -> int:
    request = ua.CreateSubscriptionRequest()
    request.Parameters = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=interval,
        RequestedLifetimeCount=1000,
        RequestedMaxKeepAliveCount=100,
        PublishingEnabled=True,
        **wishes,
    )
    return int((await client.ask(request)).Parameters.SubscriptionId)


async def monitor(
    client: Raw,
    subscription: int,
    node: ua.NodeId = PRESSURE,
    stamps: Stamps = Stamps.Both,
    index_range: str | None = None,
    **parameters: Any,
) -> ua.MonitoredItemCreateResult:
    item = ua.MonitoredItemCreateRequest(
        ua.ReadValueId(node, ua.AttributeIds.Value, index_range),
        ua.MonitoringMode.Reporting,
        ua.MonitoringParameters(**{"ClientHandle": 7, "SamplingInterval": 10.0, "QueueSize": 1, **parameters}),
    )
    request = ua.CreateMonitoredItemsRequest()
    request.Parameters = ua.CreateMonitoredItemsParameters(subscription, stamps, [item])
    (result,) = (await client.ask(request)).Results
    return result


async def publish(client: Raw, *acks: tuple[int, int]) -> ua.PublishResult:
    request = ua.PublishRequest()
    request.Parameters.SubscriptionAcknowledgements = [ua.SubscriptionAcknowledgement(*one) for one in acks]
    return (await client.ask(request)).Parameters


async def changes(client: Raw, *acks: tuple[int, int]) -> list[ua.DataValue]:
    """The values of the next message that has some."""
    async with asyncio.timeout(30):
        while True:
            result = await publish(client, *acks)
            for data in result.NotificationMessage.NotificationData or ():
                return [one.Value for one in data.MonitoredItems]


def put(home: House, value: float) -> None:
    home.table.update([(home.tag("Monitoring/Pressure").slot, DataValue(value, StatusCode.Good, NOW, NOW))])


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def first_value(home: House) -> AsyncIterator[None]:
    yield
    put(home, 12.5)


@pytest.mark.parametrize("node", [PRESSURE, CURRENT_TIME], ids=["tag", "another node"])
@pytest.mark.parametrize("stamps", [Stamps.Source, Stamps.Server, Stamps.Neither])
async def test_notifications_have_the_times_that_were_asked_for(session: Raw, node: ua.NodeId, stamps: Stamps) -> None:
    subscription = await subscribe(session)
    await monitor(session, subscription, node, stamps)
    value = (await changes(session))[0]
    has = (value.SourceTimestamp is not None, value.ServerTimestamp is not None)
    assert has == (stamps == Stamps.Source, stamps == Stamps.Server)
    both = await read(session, node)
    assert both.SourceTimestamp is not None
    assert both.ServerTimestamp is not None


@pytest.mark.parametrize("discard_oldest", [True, False])
async def test_full_queue_drops_the_end_that_was_asked_and_marks_the_gap(
    home: House, session: Raw, discard_oldest: bool
) -> None:
    subscription = await subscribe(session, 1000.0)
    await monitor(session, subscription, QueueSize=3, DiscardOldest=discard_oldest)
    assert [one.Value.Value for one in await changes(session)] == [12.5]
    for number in range(1, 7):
        put(home, float(number))
        while (await read(session, PRESSURE)).Value.Value != number:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.06)  # the next sampling interval
    got = await changes(session)
    marked = [bool(one.StatusCode.value & 0x480 == 0x480) for one in got]
    assert [one.Value.Value for one in got] == ([4.0, 5.0, 6.0] if discard_oldest else [1.0, 2.0, 6.0])
    assert marked == ([True, False, False] if discard_oldest else [False, False, True])


@pytest.mark.parametrize(
    ("node", "index_range", "expected"),
    [
        (NAMESPACES, "1:2", "Good"),
        (NAMESPACES, "2:1", "BadIndexRangeInvalid"),
        (PRESSURE, "0", "BadIndexRangeNoData"),
        (PRESSURE, "2:1", "BadIndexRangeInvalid"),
    ],
)
async def test_item_with_an_index_range_gives_that_part_or_is_refused(
    session: Raw, node: ua.NodeId, index_range: str, expected: str
) -> None:
    result = await monitor(session, await subscribe(session), node, index_range=index_range)
    assert result.StatusCode.name == expected
    if expected == "Good":
        (change,) = await changes(session)
        assert change.Value.Value == ["urn:test:bridge", "urn:test:bridge:instances"]


async def test_queue_of_a_node_that_is_no_tag_does_the_same(session: Raw) -> None:
    """CurrentTime changes every second, and nobody asks for it for three."""
    subscription = await subscribe(session)
    for discard_oldest in (True, False):
        await monitor(session, subscription, CURRENT_TIME, QueueSize=2, DiscardOldest=discard_oldest)
    first = (await changes(session))[0].Value.Value
    async with asyncio.timeout(30):
        while ((await read(session, CURRENT_TIME)).Value.Value - first).total_seconds() < 3.5:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    got = await changes(session)
    assert [one.StatusCode.value & 0x480 == 0x480 for one in got] == [True, False, False, True]
    newest, gap = (got[i + 1].Value.Value - got[i].Value.Value for i in (0, 2))
    assert newest.total_seconds() < 1.5 < gap.total_seconds()


async def test_message_is_republished_as_often_as_asked_until_acknowledged(home: House, session: Raw) -> None:
    subscription = await subscribe(session)
    await monitor(session, subscription)
    async with asyncio.timeout(30):
        while not (result := await publish(session)).NotificationMessage.NotificationData:
            pass
    number = result.NotificationMessage.SequenceNumber
    request = ua.RepublishRequest()
    request.Parameters = ua.RepublishParameters(subscription, number)
    twice = [(await session.ask(request)).NotificationMessage for _ in range(2)]
    assert twice == [result.NotificationMessage] * 2
    put(home, 1.0)  # so that the next answer need not wait for a keep-alive
    acknowledged = await publish(session, (subscription, number), (subscription, 999), (999, 1))
    assert [one.name for one in acknowledged.Results] == [
        "Good",
        "BadSequenceNumberUnknown",
        "BadSubscriptionIdInvalid",
    ]
    assert await session.status(request) == "BadMessageNotAvailable"
    request.Parameters = ua.RepublishParameters(subscription, 4711)
    assert await session.status(request) == "BadMessageNotAvailable"


async def test_subscription_is_modified_within_bounds(home: House, session: Raw) -> None:
    subscription = await subscribe(session, 60_000.0)
    await monitor(session, subscription)
    assert await changes(session)
    request = ua.ModifySubscriptionRequest()
    request.Parameters = ua.ModifySubscriptionParameters(subscription, 0.001, 2**32 - 1, 2**32 - 1)
    revised = (await session.ask(request)).Parameters
    assert revised.RevisedPublishingInterval == 50.0
    assert revised.RevisedLifetimeCount >= 3 * revised.RevisedMaxKeepAliveCount
    put(home, 1.0)
    assert [one.Value.Value for one in await changes(session)] == [1.0]  # it would take a minute at the old interval


@pytest.mark.parametrize("name", ["SetTriggering", "QueryFirst", "QueryNext", "HistoryUpdate", "Cancel"])
async def test_services_that_are_not_offered_say_so(session: Raw, name: str) -> None:
    assert await session.status(getattr(ua, f"{name}Request")()) == "BadServiceUnsupported"


def foreign_requests(subscription: int, item: int) -> list[tuple[Any, str]]:
    """Every service that names a subscription, and what somebody else's is answered with."""
    create, modify = ua.CreateMonitoredItemsRequest(), ua.ModifyMonitoredItemsRequest()
    create.Parameters = ua.CreateMonitoredItemsParameters(subscription, Stamps.Both, [ua.MonitoredItemCreateRequest()])
    modify.Parameters = ua.ModifyMonitoredItemsParameters(
        subscription, Stamps.Both, [ua.MonitoredItemModifyRequest(item)]
    )
    delete, mode, change, again = (
        ua.DeleteMonitoredItemsRequest(),
        ua.SetMonitoringModeRequest(),
        ua.ModifySubscriptionRequest(),
        ua.RepublishRequest(),
    )
    delete.Parameters = ua.DeleteMonitoredItemsParameters(subscription, [item])
    mode.Parameters = ua.SetMonitoringModeParameters(subscription, ua.MonitoringMode.Disabled, [item])
    change.Parameters = ua.ModifySubscriptionParameters(subscription, 60_000.0, 10, 10)
    again.Parameters = ua.RepublishParameters(subscription, 1)
    pause, end, take, ack = (
        ua.SetPublishingModeRequest(),
        ua.DeleteSubscriptionsRequest(),
        ua.TransferSubscriptionsRequest(),
        ua.PublishRequest(),
    )
    pause.Parameters = ua.SetPublishingModeParameters(False, [subscription])
    end.Parameters = ua.DeleteSubscriptionsParameters([subscription])
    take.Parameters = ua.TransferSubscriptionsParameters([subscription])
    ack.Parameters = ua.PublishParameters([ua.SubscriptionAcknowledgement(subscription, 1)])
    faults = [(one, "BadSubscriptionIdInvalid") for one in (create, modify, delete, mode, change, again)]
    items = [(pause, "BadSubscriptionIdInvalid"), (end, "BadSubscriptionIdInvalid"), (ack, "BadSubscriptionIdInvalid")]
    return [*faults, *items, (take, "BadUserAccessDenied")]


async def test_no_service_touches_a_subscription_of_another_session(home: House, session: Raw) -> None:
    subscription = await subscribe(session)
    item = (await monitor(session, subscription)).MonitoredItemId
    assert await changes(session)
    async with raw(home.port) as other:
        await other.open()
        await other.session()
        await subscribe(other)
        for request, expected in foreign_requests(subscription, item):
            answer = await other.ask(request)
            result = answer.ResponseHeader.ServiceResult
            if result.is_good():
                results = answer.Results if hasattr(answer, "Results") else answer.Parameters.Results
                result = getattr(results[0], "StatusCode", results[0])
            assert result.name == expected, request
    put(home, 3.0)
    assert [one.Value.Value for one in await changes(session)] == [3.0]


async def test_publish_requests_of_a_closed_session_do_not_serve_the_next_one(session: Raw) -> None:
    subscription = await subscribe(session)
    await monitor(session, subscription)
    assert await changes(session)
    for _ in range(3):
        await session.send(session.request(ua.PublishRequest()))
    await session.send(session.request(ua.CloseSessionRequest(), b"\x01"))
    answers = [(await session.receive()).response.ResponseHeader.ServiceResult.name for _ in range(4)]
    assert answers == ["BadSessionClosed"] * 3 + ["Good"]
    await session.session()
    await monitor(session, await subscribe(session))
    assert [one.Value.Value for one in await changes(session)] == [12.5]
