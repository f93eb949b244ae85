"""Every limit is configurable, enforced, and advertised where OPC UA has a node for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from bridge.northbound.opcua.config import OpcuaLimits
from bridge.northbound.opcua.stack.decoding import MAX_ELEMENTS
from bridge.northbound.opcua.stack.status import ADVERTISED
from tests.northbound.opcua.house import House, Raw, house, raw

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRESSURE = ua.NodeId("extruder-1.Monitoring.Pressure", 2)
SMALL: dict[str, Any] = {
    "connections": 6,
    "connections_per_address": 5,
    "sessions": 3,
    "subscriptions": 3,
    "subscriptions_per_session": 2,
    "monitored_items": 25,
    "monitored_items_per_session": 20,
    "queue_size": 7,
    "event_fields_per_session": 200,
    "operations": 10,
    "references_per_node": 11,
    "continuation_points": 2,
    "login_within": 2.0,
    "message_size": 70_000,
    "send_buffer": 2**20,
    "retired_tags": 5,
}
ELSEWHERE = {
    "send_buffer": "test_abuse.test_client_that_does_not_read_is_cut_off",
    "login_within": "test_abuse.test_connection_without_a_session_is_closed_in_time",
    "retired_tags": "test_plant_change",
}
"""Limits that have their test in another file."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house(unsecured_read_only=True, limits=SMALL) as home:
        yield home


async def opened(home: House) -> Raw:
    client = Raw(*await asyncio.open_connection("127.0.0.1", home.port))
    await client.open()
    return client


async def subscribe(client: Raw) -> str:
    response = await client.ask(ua.CreateSubscriptionRequest())
    if response.ResponseHeader.ServiceResult.is_good():
        client.subscription = response.Parameters.SubscriptionId  # type: ignore[attr-defined]
    return str(response.ResponseHeader.ServiceResult.name)


async def monitor(client: Raw, count: int, queue: int = 1) -> tuple[str, int]:
    """How it was answered, and the queue the first item got."""
    request = ua.CreateMonitoredItemsRequest()
    item = ua.MonitoredItemCreateRequest(
        ua.ReadValueId(PRESSURE, ua.AttributeIds.Value), RequestedParameters=ua.MonitoringParameters(QueueSize=queue)
    )
    request.Parameters = ua.CreateMonitoredItemsParameters(
        client.subscription,  # type: ignore[attr-defined]
        ua.TimestampsToReturn.Both,
        [item] * count,
    )
    response = await client.ask(request)
    got = response.Results[0].RevisedQueueSize if response.ResponseHeader.ServiceResult.is_good() else 0
    return str(response.ResponseHeader.ServiceResult.name), int(got)


async def connections(home: House, clients: list[Raw]) -> None:
    clients += [await opened(home) for _ in range(SMALL["connections_per_address"])]
    async with raw(home.port) as late:
        assert await late.is_closed()
    neighbour, late = [await opened_from(home, "127.0.0.2") for _ in range(2)]
    clients += [neighbour, late]
    await neighbour.open()
    assert await late.is_closed()


async def opened_from(home: House, address: str) -> Raw:
    return Raw(*await asyncio.open_connection("127.0.0.1", home.port, local_addr=(address, 0)))


async def sessions(home: House, clients: list[Raw]) -> None:
    for _ in range(SMALL["sessions"]):
        clients.append(await opened(home))
        await clients[-1].session()
    clients.append(await opened(home))
    assert await clients[-1].status(ua.CreateSessionRequest()) == "BadTooManySessions"


async def subscriptions(home: House, clients: list[Raw]) -> None:
    got = []
    for _ in range(2):
        clients.append(await opened(home))
        await clients[-1].session()
        got.append([await subscribe(clients[-1]) for _ in range(3)])
    assert got == [["Good", "Good", "BadTooManySubscriptions"], ["Good", *["BadTooManySubscriptions"] * 2]]


async def items(home: House, clients: list[Raw]) -> None:
    for _ in range(2):
        clients.append(await opened(home))
        await clients[-1].session()
        await subscribe(clients[-1])
    first, second = clients
    assert await monitor(first, 10, queue=2**31) == ("Good", SMALL["queue_size"])
    assert await monitor(first, 10) == ("Good", 1)
    assert (await monitor(first, 1))[0] == "BadTooManyMonitoredItems"  # of its session: 20
    assert (await monitor(second, 5))[0] == "Good"
    assert (await monitor(second, 1))[0] == "BadTooManyMonitoredItems"  # of all: 25


async def watch(client: Raw, fields: int, queue: int = 100) -> tuple[str, int]:
    """The status and the queue of an event item with so many fields."""
    kind = ua.NodeId(ua.ObjectIds.BaseEventType)
    one = ua.SimpleAttributeOperand(kind, [ua.QualifiedName("Message")], ua.AttributeIds.Value)
    asked = ua.MonitoringParameters(QueueSize=queue, Filter=ua.EventFilter([one] * fields))
    server = ua.ReadValueId(ua.NodeId(ua.ObjectIds.Server), ua.AttributeIds.EventNotifier)
    request = ua.CreateMonitoredItemsRequest()
    request.Parameters = ua.CreateMonitoredItemsParameters(
        client.subscription,  # type: ignore[attr-defined]
        ua.TimestampsToReturn.Both,
        [ua.MonitoredItemCreateRequest(server, RequestedParameters=asked)],
    )
    (result,) = (await client.ask(request)).Results
    return result.StatusCode.name, result.RevisedQueueSize


async def events(home: House, clients: list[Raw]) -> None:
    clients.append(await opened(home))
    first = clients[0]
    await first.session()
    await subscribe(first)
    assert await watch(first, 10) == ("Good", 7)  # 8 of 20 fields: 160
    assert await watch(first, 6) == ("Good", 1)  # 2 of 16: 32
    assert await watch(first, 1) == ("BadTooManyMonitoredItems", 0)
    end = ua.DeleteSubscriptionsRequest()
    end.Parameters.SubscriptionIds = [first.subscription]  # type: ignore[attr-defined]
    await first.ask(end)
    await subscribe(first)
    assert await watch(first, 10, queue=4) == ("Good", 4)
    await subscribe(first)  # another one of the same session has what the first one leaves
    assert await watch(first, 10) == ("Good", 4)


async def operations(home: House, clients: list[Raw]) -> None:
    clients.append(await opened(home))
    await clients[-1].session()
    await subscribe(clients[-1])
    assert (await monitor(clients[-1], 11))[0] == "BadTooManyOperations"
    for request in many(11):
        assert await clients[-1].status(request) == "BadTooManyOperations", request


def many(count: int) -> list[object]:
    """A request of each service that takes a list of nodes, with so many."""
    nodes = [PRESSURE] * count
    read, write, call, browse = ua.ReadRequest(), ua.WriteRequest(), ua.CallRequest(), ua.BrowseRequest()
    read.Parameters.NodesToRead = [ua.ReadValueId(one, ua.AttributeIds.Value) for one in nodes]
    write.Parameters.NodesToWrite = [ua.WriteValue(one, ua.AttributeIds.Value) for one in nodes]
    call.Parameters.MethodsToCall = [ua.CallMethodRequest(one, one) for one in nodes]
    browse.Parameters.NodesToBrowse = [ua.BrowseDescription(NodeId=one) for one in nodes]
    following, register, release = ua.BrowseNextRequest(), ua.RegisterNodesRequest(), ua.UnregisterNodesRequest()
    following.Parameters.ContinuationPoints = [b"1"] * count
    register.Parameters.NodesToRegister = release.Parameters.NodesToUnregister = nodes
    translate, end, pause = (
        ua.TranslateBrowsePathsToNodeIdsRequest(),
        ua.DeleteSubscriptionsRequest(),
        ua.SetPublishingModeRequest(),
    )
    translate.Parameters.BrowsePaths = [ua.BrowsePath(one) for one in nodes]
    end.Parameters.SubscriptionIds = pause.Parameters.SubscriptionIds = [1] * count
    take = ua.TransferSubscriptionsRequest()
    take.Parameters.SubscriptionIds = [1] * count
    return [
        *(read, write, call, browse, following, register, release, translate, end, pause, take),
    ]


async def browsing(home: House, clients: list[Raw]) -> None:
    clients.append(await opened(home))
    await clients[-1].session()
    request = ua.BrowseRequest()
    everything = ua.BrowseDescription(NodeId=ua.NodeId(ua.ObjectIds.BaseDataType), ResultMask=63)
    request.Parameters.NodesToBrowse = [everything] * 3
    results = (await clients[-1].ask(request)).Results
    assert [one.StatusCode.name for one in results] == ["Good"] * 2 + ["BadNoContinuationPoints"]
    assert len(results[0].References) == SMALL["references_per_node"]


async def message_size(home: House, clients: list[Raw]) -> None:
    clients.append(await opened(home))
    create = ua.CreateSessionRequest()
    result = (await clients[-1].ask(create)).Parameters
    assert result.MaxRequestMessageSize == SMALL["message_size"]
    await clients[-1].session()
    for final in (b"C", b"C", b"F"):
        await clients[-1].send(clients[-1].wrap(b"\x00" * 30_000, final=final))
    assert await clients[-1].is_closed()


Check = Callable[[House, list[Raw]], Awaitable[None]]
ENFORCED: dict[str, Check] = {
    "connections": connections,
    "connections_per_address": connections,
    "sessions": sessions,
    "subscriptions": subscriptions,
    "subscriptions_per_session": subscriptions,
    "monitored_items": items,
    "monitored_items_per_session": items,
    "queue_size": items,
    "event_fields_per_session": events,
    "operations": operations,
    "references_per_node": browsing,
    "continuation_points": browsing,
    "message_size": message_size,
}


@pytest.mark.parametrize("check", dict.fromkeys(ENFORCED.values()), ids=lambda check: check.__name__)
async def test_limit_is_enforced(home: House, check: Check) -> None:
    clients: list[Raw] = []
    try:
        await check(home, clients)
    finally:
        for client in clients:
            if not client.authentication.is_null():
                await client.send(client.request(ua.CloseSessionRequest(), b"\x01"))
            await client.close()


async def test_every_limit_has_its_test() -> None:
    assert set(SMALL) == set(OpcuaLimits.model_fields) == set(ENFORCED) | set(ELSEWHERE)
    assert not set(ENFORCED) & set(ELSEWHERE)


async def test_what_is_advertised_is_what_is_enforced(home: House) -> None:
    assert set(ADVERTISED) <= set(SMALL)
    async with Client(home.url) as client:
        for field, names in ADVERTISED.items():
            for name in names:
                node = client.get_node(getattr(ua.ObjectIds, f"Server_ServerCapabilities_{name}"))
                assert await node.read_value() == SMALL[field], name
        array = client.get_node(ua.ObjectIds.Server_ServerCapabilities_MaxArrayLength)
        assert await array.read_value() == MAX_ELEMENTS


async def test_every_mandatory_property_of_the_server_has_a_value(home: House) -> None:
    """Part 5, 6.3.1 and 6.3.2, and ServerDiagnosticsType's."""
    capabilities = ("ServerProfileArray", "LocaleIdArray", "MinSupportedSampleRate", "SoftwareCertificates")
    points = (f"Max{what}ContinuationPoints" for what in ("Browse", "Query", "History"))
    wanted = {
        "Server_": ("ServerArray", "NamespaceArray", "ServiceLevel", "Auditing", "ServerDiagnostics_EnabledFlag"),
        "Server_ServerCapabilities_": (*capabilities, *points, "MaxStringLength", "MaxByteStringLength"),
    }
    async with Client(home.url) as client:
        for path, names in wanted.items():
            for name in names:
                node = client.get_node(getattr(ua.ObjectIds, path + name))
                value = (await node.read_data_value()).Value
                assert value is not None
                assert value.VariantType is not ua.VariantType.Null, name
                assert value.is_array == (await node.read_value_rank() == ua.ValueRank.OneDimension), name
