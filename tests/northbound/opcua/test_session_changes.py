"""Sessions that go on elsewhere, subscriptions that outlive them, and what is told to whom."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua

from bridge.model.event import Event
from bridge.model.status import StatusCode
from bridge.model.value import DataValue
from bridge.northbound.opcua.stack.access import Visitor
from tests.northbound.opcua.house import House, Raw, house, raw
from tests.one_of_everything import NOW

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRESSURE = ua.NodeId("extruder-1.Monitoring.Pressure", 2)
NAMESPACES = ua.NodeId(ua.ObjectIds.Server_NamespaceArray)
CURRENT_TIME = ua.NodeId(ua.ObjectIds.Server_ServerStatus_CurrentTime)
SERVER = ua.NodeId(ua.ObjectIds.Server)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house(unsecured_read_only=True, limits={"subscriptions_per_session": 2}) as home:
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def client(home: House) -> AsyncIterator[Raw]:
    async with raw(home.port) as client:
        await begin(home, client)
        yield client


async def begin(home: House, client: Raw, user: str = "anna") -> None:
    """A channel and a session, which is this user's: a session without a login has no name to be known by."""
    await client.open()
    await client.session()
    name_it(home, client, user)


def name_it(home: House, client: Raw, user: str) -> None:
    assert home.server._serving is not None
    session = home.server._serving.iserver.external_session(client.authentication)
    assert session is not None
    assert isinstance(session.user, Visitor)
    session.user.name = user


async def subscribe(client: Raw, *, most: int = 0) -> int:
    request = ua.CreateSubscriptionRequest()
    request.Parameters = ua.CreateSubscriptionParameters(50.0, 10_000, 3_000, most, True, 0)
    return int((await client.ask(request)).Parameters.SubscriptionId)


async def monitor(client: Raw, subscription: int, node: ua.NodeId, handle: int, **wishes: Any) -> int:
    attribute = ua.AttributeIds.EventNotifier if node == SERVER else ua.AttributeIds.Value
    mode = wishes.pop("mode", ua.MonitoringMode.Reporting)
    asked = ua.MonitoringParameters(**{"ClientHandle": handle, "SamplingInterval": 50.0, "QueueSize": 1, **wishes})
    request = ua.CreateMonitoredItemsRequest()
    item = ua.MonitoredItemCreateRequest(ua.ReadValueId(node, attribute), mode, asked)
    request.Parameters = ua.CreateMonitoredItemsParameters(subscription, ua.TimestampsToReturn.Both, [item])
    (result,) = (await client.ask(request)).Results
    assert result.StatusCode.is_good()
    return int(result.MonitoredItemId)


async def published(client: Raw) -> ua.PublishResult:
    """The next message that is more than a keep-alive."""
    async with asyncio.timeout(30):
        while True:
            result = (await client.ask(ua.PublishRequest())).Parameters
            if result.NotificationMessage.NotificationData:
                return result


def values(result: ua.PublishResult) -> dict[int, Any]:
    """By client handle."""
    data = result.NotificationMessage.NotificationData
    return {one.ClientHandle: one.Value.Value.Value for part in data for one in part.MonitoredItems}


async def end(client: Raw, *, delete: bool) -> None:
    await client.send(client.request(ua.CloseSessionRequest(), bytes([delete])))
    assert (await client.receive()).response.ResponseHeader.ServiceResult.is_good()


async def take(client: Raw, *subscriptions: int, again: bool = False) -> list[ua.TransferResult]:
    request = ua.TransferSubscriptionsRequest()
    request.Parameters = ua.TransferSubscriptionsParameters(list(subscriptions), again)
    return list((await client.ask(request)).Parameters.Results)


def put(home: House, value: float) -> None:
    home.table.update([(home.tag("Monitoring/Pressure").slot, DataValue(value, StatusCode.Good, NOW, NOW))])


@pytest.mark.parametrize("again", [True, False])
async def test_a_taken_subscription_tells_its_values_once_more_where_asked(
    home: House, client: Raw, again: bool
) -> None:
    put(home, 12.5)
    subscription = await subscribe(client)
    await monitor(client, subscription, PRESSURE, 1)
    await monitor(client, subscription, NAMESPACES, 2)
    seen: dict[int, Any] = {}
    while len(seen) < 2:
        seen |= values(await published(client))
    async with raw(home.port) as other:
        await begin(home, other)
        await client.send(client.request(ua.PublishRequest()))
        (result,) = await take(other, subscription, again=again)
        assert result.StatusCode.is_good()
        assert result.AvailableSequenceNumbers
        (told,) = (await client.receive()).response.Parameters.NotificationMessage.NotificationData
        assert told.Status.name == "GoodSubscriptionTransferred"
        if not again:
            put(home, 13.0)
        assert values(await published(other)) == (seen if again else {1: 13.0})
        assert await client.status(ua.PublishRequest()) == "BadNoSubscription"
        await end(other, delete=True)


async def test_only_what_is_ones_own_and_there_can_be_taken_and_not_too_much(home: House, client: Raw) -> None:
    mine = [await subscribe(client) for _ in range(2)]
    async with raw(home.port) as other:
        await begin(home, other, "bert")
        assert [one.StatusCode.name for one in await take(other, mine[0], 999_999)] == [
            "BadUserAccessDenied",
            "BadSubscriptionIdInvalid",
        ]
        name_it(home, other, "anna")
        await subscribe(other)
        assert [one.StatusCode.name for one in await take(other, *mine)] == ["Good", "BadTooManySubscriptions"]
        await end(other, delete=True)
    await end(client, delete=True)


async def test_a_subscription_that_outlived_its_session_takes_no_request_of_the_next(home: House, client: Raw) -> None:
    left = await subscribe(client)
    await monitor(client, left, PRESSURE, 1)
    assert (await published(client)).SubscriptionId == left
    await end(client, delete=False)
    await client.session()
    name_it(home, client, "bert")
    own = await subscribe(client)
    await monitor(client, own, PRESSURE, 2)
    assert (await published(client)).SubscriptionId == own
    for value in (1.0, 2.0, 3.0):
        put(home, value)
        result = await published(client)
        assert (result.SubscriptionId, values(result)) == (own, {2: value})
    name_it(home, client, "anna")
    await take(client, left)
    await end(client, delete=True)


async def test_a_session_that_goes_on_with_another_connection_is_lost_to_the_first(home: House, client: Raw) -> None:
    subscription = await subscribe(client)
    await monitor(client, subscription, PRESSURE, 1)
    assert await published(client)
    async with raw(home.port) as other:
        await other.open()
        other.authentication = client.authentication
        activate = ua.ActivateSessionRequest()
        activate.Parameters.UserIdentityToken = ua.AnonymousIdentityToken("anonymous")
        assert await other.status(activate) == "Good"
        for request in (ua.ReadRequest(), ua.PublishRequest(), ua.CloseSessionRequest()):
            assert await client.status(request) == "BadSessionIdInvalid"
        put(home, 77.0)
        assert values(await published(other)) == {1: 77.0}
        await end(other, delete=True)


async def test_what_is_only_sampled_is_told_once_it_is_to_be_reported(home: House, client: Raw) -> None:
    subscription = await subscribe(client)
    sampled = await monitor(client, subscription, NAMESPACES, 1, mode=ua.MonitoringMode.Sampling)
    off = await monitor(client, subscription, CURRENT_TIME, 2, mode=ua.MonitoringMode.Sampling)
    await monitor(client, subscription, PRESSURE, 3)
    put(home, 5.0)
    assert set(values(await published(client))) == {3}
    for item, mode in ((off, ua.MonitoringMode.Disabled), (sampled, ua.MonitoringMode.Reporting)):
        request = ua.SetMonitoringModeRequest()
        request.Parameters = ua.SetMonitoringModeParameters(subscription, mode, [item])
        assert await client.status(request) == "Good"
    assert set(values(await published(client))) == {1}
    await end(client, delete=True)


async def test_events_count_for_the_limit_of_a_message_too(home: House, client: Raw) -> None:
    subscription = await subscribe(client, most=2)
    wanted = ua.SimpleAttributeOperand(
        ua.NodeId(ua.ObjectIds.BaseEventType), [ua.QualifiedName("Message")], ua.AttributeIds.Value
    )
    await monitor(client, subscription, SERVER, 1, QueueSize=10, Filter=ua.EventFilter([wanted]))
    for number in range(5):
        home.table.log.append(Event(f"e{number}", "MachineLost", NOW, str(number), 500, "panel", "extruder-1", {}))
    heard: list[str] = []
    while len(heard) < 5:
        result = await published(client)
        (data,) = result.NotificationMessage.NotificationData
        assert len(data.Events) <= 2
        heard += [one.EventFields[0].Value.Text for one in data.Events]
    assert heard == list("01234")
    await end(client, delete=True)
