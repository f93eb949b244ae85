"""Publish requests and what answers them, on the wire."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua

from bridge.model.status import StatusCode
from bridge.model.value import DataValue
from tests.northbound.opcua.house import House, Raw, eventually, house, raw

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("Monitoring/Pressure", "Monitoring/Plain", "Setpoints/ScrewSpeed")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house(unsecured_read_only=True) as home:
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def client(home: House) -> AsyncIterator[Raw]:
    async with raw(home.port) as client:
        await client.open()
        await client.session()
        yield client


async def subscribe(
    client: Raw, *, most: int = 0, timestamps: ua.TimestampsToReturn = ua.TimestampsToReturn.Both, attribute: int = 13
) -> int:
    create = ua.CreateSubscriptionRequest()
    create.Parameters = ua.CreateSubscriptionParameters(50.0, 3000, 1000, most, True, 0)
    identifier: int = (await client.ask(create)).Parameters.SubscriptionId
    items = ua.CreateMonitoredItemsRequest()
    items.Parameters = ua.CreateMonitoredItemsParameters(
        identifier, timestamps, [item(n, name, attribute) for n, name in enumerate(NAMES)]
    )
    results = (await client.ask(items)).Results
    assert all(one.StatusCode.is_good() for one in results), results
    return identifier


def item(handle: int, name: str, attribute: int) -> ua.MonitoredItemCreateRequest:
    node_id = ua.NodeId(f"extruder-1.{name.replace('/', '.')}", 2)
    asked = ua.MonitoringParameters(handle, 50.0, None, 1, True)
    return ua.MonitoredItemCreateRequest(ua.ReadValueId(node_id, attribute), ua.MonitoringMode.Reporting, asked)


def publish(*acknowledged: tuple[int, int]) -> ua.PublishRequest:
    made = ua.PublishRequest()
    made.Parameters.SubscriptionAcknowledgements = [ua.SubscriptionAcknowledgement(*one) for one in acknowledged]
    return made


def changes(response: Any) -> list[ua.MonitoredItemNotification]:
    """The data changes of a PublishResponse."""
    found = response.Parameters.NotificationMessage.NotificationData
    return [one for data in found for one in data.MonitoredItems]


def put(home: House, value: float) -> None:
    moment = datetime.now(UTC).replace(microsecond=0)
    home.table.update([(home.tag(name).slot, DataValue(value, StatusCode.Good, moment, moment)) for name in NAMES])


async def test_limit_of_notifications_cuts_and_says_that_there_is_more(client: Raw) -> None:
    await subscribe(client, most=2)
    for _ in range(3):
        await client.send(client.request(publish()))
    first = (await client.receive()).response
    while not changes(first):  # the first cycle may come before the items do
        first = (await client.receive()).response
    second = (await client.receive()).response
    assert [len(changes(one)) for one in (first, second)] == [2, 1]
    assert [one.Parameters.MoreNotifications for one in (first, second)] == [True, False]
    numbers = [one.Parameters.NotificationMessage.SequenceNumber for one in (first, second)]
    assert numbers[1] == numbers[0] + 1
    assert {one.ClientHandle for one in changes(first) + changes(second)} == {0, 1, 2}


async def test_more_goes_on_with_the_next_request(client: Raw) -> None:
    await subscribe(client, most=1)
    handles = []
    while len(handles) < 3:
        response = await client.ask(publish())
        handles += [one.ClientHandle for one in changes(response)]
        assert response.Parameters.MoreNotifications == (0 < len(handles) < 3)
    assert sorted(handles) == [0, 1, 2]


async def test_a_client_that_is_late_gets_the_newest_value_only(home: House, client: Raw) -> None:
    await subscribe(client)
    while not changes(await client.ask(publish())):
        pass
    for value in (1.0, 2.0, 3.0):
        put(home, value)
        await asyncio.sleep(0.12)  # two publishing cycles without a request
    response = await client.ask(publish())
    assert [one.Value.Value.Value for one in changes(response)] == [3.0] * 3


async def test_a_request_is_kept_when_there_is_no_news_after_all(home: House, client: Raw) -> None:
    await subscribe(client)
    while not changes(await client.ask(publish())):
        pass
    put(home, 50.0)
    assert changes(await client.ask(publish()))
    await client.send(client.request(publish()))
    for _ in range(3):
        put(home, 50.0)  # the same value
        await asyncio.sleep(0.06)
    put(home, 51.0)
    response = (await client.receive()).response
    assert {one.Value.Value.Value for one in changes(response)} == {51.0}


async def test_message_can_be_had_again_until_it_is_acknowledged(client: Raw) -> None:
    identifier = await subscribe(client)
    response = await client.ask(publish())
    while not changes(response):
        response = await client.ask(publish())
    sequence = response.Parameters.NotificationMessage.SequenceNumber
    assert response.Parameters.AvailableSequenceNumbers == [sequence]
    again = ua.RepublishRequest(Parameters=ua.RepublishParameters(identifier, sequence))
    for _ in range(2):
        assert (await client.ask(again)).NotificationMessage == response.Parameters.NotificationMessage
    await client.send(client.request(publish((identifier, sequence), (identifier + 1000, 1))))
    await client.send(client.request(ua.ModifySubscriptionRequest()))  # an answer to wait for
    await client.receive()
    assert await client.status(again) == "BadMessageNotAvailable"


@pytest.mark.parametrize("attribute", [13, 4], ids=["value", "display name"])
@pytest.mark.parametrize("wanted", [one for one in ua.TimestampsToReturn if one != ua.TimestampsToReturn.Invalid])
async def test_times_are_those_that_were_asked_for(client: Raw, wanted: ua.TimestampsToReturn, attribute: int) -> None:
    await subscribe(client, timestamps=wanted, attribute=attribute)
    found = changes(await client.ask(publish()))
    while not found:
        found = changes(await client.ask(publish()))
    has_source, has_server = wanted in (0, 2), wanted in (1, 2)
    if attribute == 13:
        assert all((one.Value.SourceTimestamp is not None) == has_source for one in found)
        assert all((one.Value.ServerTimestamp is not None) == has_server for one in found)
    assert all(one.Value.Value.Value is not None for one in found)


async def test_unknown_choice_of_times_is_refused(client: Raw) -> None:
    items = ua.CreateMonitoredItemsRequest()
    items.Parameters = ua.CreateMonitoredItemsParameters(1, ua.TimestampsToReturn.Invalid, [item(1, NAMES[0], 13)])
    assert await client.status(items) == "BadTimestampsToReturnInvalid"


async def test_publish_without_a_subscription_is_refused(client: Raw) -> None:
    assert await client.status(publish()) == "BadNoSubscription"


async def test_publish_with_another_sessions_token_is_refused(home: House, client: Raw) -> None:
    await subscribe(client)
    async with raw(home.port) as stranger:
        await stranger.open()
        await stranger.session()
        stranger.authentication = client.authentication
        assert await stranger.status(publish()) == "BadSessionIdInvalid"


async def test_acknowledgements_are_answered_in_order(home: House, client: Raw) -> None:
    identifier = await subscribe(client)
    first = await client.ask(publish())
    while not changes(first):
        first = await client.ask(publish())
    sequence = first.Parameters.NotificationMessage.SequenceNumber
    await client.send(client.request(publish((identifier + 1000, 1), (identifier, sequence), (identifier, sequence))))
    put(home, datetime.now(UTC).timestamp())
    response = (await client.receive()).response
    assert [one.name for one in response.Parameters.Results] == [
        "BadSubscriptionIdInvalid",
        "Good",
        "BadSequenceNumberUnknown",
    ]
    assert sequence not in response.Parameters.AvailableSequenceNumbers


async def test_too_many_parked_requests_send_the_oldest_back(home: House, client: Raw) -> None:
    await subscribe(client)
    while not changes(await client.ask(publish())):
        pass
    for _ in range(12):  # one subscription may park eleven
        await client.send(client.request(publish()))
    assert (await client.receive()).response.ResponseHeader.ServiceResult.name == "BadTooManyPublishRequests"


async def test_bytes_kept_for_republish_are_bounded(home: House, client: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge.northbound.opcua.stack import subscription

    monkeypatch.setattr(subscription, "MAX_KEPT", 300)
    await subscribe(client)
    available: list[int] = []
    for value in range(8):
        put(home, 100.0 + value)
        response = await client.ask(publish())
        available = response.Parameters.AvailableSequenceNumbers
    assert 1 <= len(available) <= 3


async def test_publish_requests_that_wait_are_answered_when_the_last_subscription_goes(client: Raw) -> None:
    """Part 4, 5.13.8.1."""
    subscriptions = []
    for _ in range(2):
        subscriptions.append(await subscribe(client))
        while not changes(await client.ask(publish())):  # the first cycle may come before the items do
            pass
    for _ in range(3):
        await client.send(client.request(publish()))
    delete = ua.DeleteSubscriptionsRequest()
    for identifier in subscriptions:
        delete.Parameters.SubscriptionIds = [identifier]
        assert (await client.ask(delete)).Results[0].is_good()
    answers = [(await client.receive()).response.ResponseHeader.ServiceResult.name for _ in range(3)]
    assert answers == ["BadNoSubscription"] * 3


async def test_a_subscription_whose_lifetime_is_over_says_so_with_the_next_request(home: House, client: Raw) -> None:
    create = ua.CreateSubscriptionRequest()
    create.Parameters = ua.CreateSubscriptionParameters(50.0, 3, 1, 0, True, 0)
    identifier = (await client.ask(create)).Parameters.SubscriptionId
    engine = home.server._serving
    assert engine is not None
    await eventually(lambda: identifier not in engine.iserver.subscriptions)
    response = (await client.ask(publish())).Parameters
    assert response.SubscriptionId == identifier
    (told,) = response.NotificationMessage.NotificationData
    assert told.Status.name == "BadTimeout"
    assert await client.status(publish()) == "BadNoSubscription"


async def test_a_subscription_that_outlived_its_session_says_nothing_to_the_next_one(home: House, client: Raw) -> None:
    create = ua.CreateSubscriptionRequest()
    create.Parameters = ua.CreateSubscriptionParameters(50.0, 3, 1, 0, True, 0)
    identifier = (await client.ask(create)).Parameters.SubscriptionId
    assert await client.status(ua.CloseSessionRequest(), b"\x00") == "Good"
    await client.session()
    engine = home.server._serving
    assert engine is not None
    await eventually(lambda: identifier not in engine.iserver.subscriptions)
    assert await client.status(publish()) == "BadNoSubscription"
