"""Secure channels end with their tokens, and what a client says of itself in its Hello holds."""

import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256, SecurityPolicyNone
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

from bridge.model.event import Event
from bridge.model.status import StatusCode
from bridge.model.value import DataValue
from bridge.northbound.opcua.stack import channel
from bridge.northbound.opcua.stack.channel import ChannelFault, GuardedConnection
from tests.northbound.opcua.house import House, Raw, house, identity, raw
from tests.one_of_everything import NOW

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIFETIMES = [(0, 10_000), (9_999, 10_000), (60_000, 60_000), (2**32 - 1, 3_600_000)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house(unsecured_read_only=True, limits={"login_within": 1.0}) as home:
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def client(home: House) -> AsyncIterator[Raw]:
    async with raw(home.port) as client:
        await client.open()
        yield client


class Time:
    """What the channels take for the monotonic clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        monkeypatch.setattr(channel, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + self.ahead))


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.mark.parametrize(("asked", "given"), LIFETIMES)
async def test_lifetime_of_a_token_is_bounded_and_told(home: House, asked: int, given: int) -> None:
    async with raw(home.port) as client:
        await client.hello()
        assert (await client.ask_token(asked)).Parameters.SecurityToken.RevisedLifetime == given
        assert (await client.ask_token(asked, renews=True)).Parameters.SecurityToken.RevisedLifetime == given


async def test_message_with_a_token_that_has_expired_ends_the_channel(client: Raw, later: Time) -> None:
    later.ahead = 60 * 1.25 - 2
    assert await client.status(ua.GetEndpointsRequest()) == "Good"
    later.ahead = 60 * 1.25
    await client.send(client.request(ua.GetEndpointsRequest()))
    answer = await client.receive()
    assert answer.kind == b"ERR"
    assert int.from_bytes(answer.body[:4], "little") == ua.StatusCodes.BadSecureChannelTokenUnknown
    assert await client.is_closed()


async def test_channel_that_is_renewed_goes_on(client: Raw, later: Time) -> None:
    later.ahead = 45.0
    token = (await client.ask_token(renews=True)).Parameters.SecurityToken
    assert await client.status(ua.GetEndpointsRequest()) == "Good"  # the old one, until the new one is used
    client.token, later.ahead = token.TokenId, 100.0
    assert await client.status(ua.GetEndpointsRequest()) == "Good"


async def test_channel_whose_client_is_silent_ends_too(client: Raw, later: Time) -> None:
    await client.session()
    later.ahead = 100.0
    assert await client.is_closed()


def connection(*, secured: bool) -> GuardedConnection:
    policy: Any = SecurityPolicyNone()
    if secured:
        mine, other = identity("chunk-a"), identity("chunk-b")
        mode = ua.MessageSecurityMode.SignAndEncrypt
        policy = SecurityPolicyBasic256Sha256(other.certificate, mine.certificate, mine.key, mode)
    return GuardedConnection(policy, TransportLimits())


@pytest.mark.parametrize(
    ("secured", "nonce", "is_taken"),
    [(True, 32, True), (True, 64, True), (True, 31, False), (True, 0, False), (False, 0, True), (False, 32, True)],
)
@pytest.mark.parametrize("kind", ua.SecurityTokenRequestType)
async def test_keys_are_made_of_a_nonce_of_full_length_only(
    secured: bool, nonce: int, is_taken: bool, kind: ua.SecurityTokenRequestType
) -> None:
    made = connection(secured=secured)
    server = SimpleNamespace(get_new_channel_id=lambda: 5)
    full = ua.OpenSecureChannelParameters(ClientNonce=b"n" * 32, RequestedLifetime=60_000)
    if kind == ua.SecurityTokenRequestType.Renew:
        made.open(full, server)
    asked = ua.OpenSecureChannelParameters(ClientNonce=b"n" * nonce or None, RequestType=kind, RequestedLifetime=60_000)
    if is_taken:
        assert made.open(asked, server).ServerNonce == made.local_nonce
        return
    with pytest.raises(ChannelFault, match="32 bytes") as caught:
        made.open(asked, server)
    assert caught.value.status == ua.StatusCodes.BadNonceInvalid


# --- what the client takes -------------------------------------------------------------------------------------------

SMALL = [({"MaxMessageSize": 8192}, 0), ({"MaxChunkCount": 1, "ReceiveBufferSize": 8192}, 0), ({}, 8192)]
PRESSURE = ua.ReadValueId(ua.NodeId("extruder-1.Monitoring.Pressure", 2), ua.AttributeIds.Value)


def reading(count: int) -> ua.ReadRequest:
    request = ua.ReadRequest()
    request.Parameters.NodesToRead = [PRESSURE] * count
    return request


@pytest_asyncio.fixture(loop_scope="module", params=SMALL, ids=["bytes", "chunks", "session"])
async def small(home: House, request: pytest.FixtureRequest) -> AsyncIterator[Raw]:
    """A client that takes responses of 8 kB only: so says its Hello, or its session."""
    hello, max_response = request.param
    async with raw(home.port) as client:
        await client.open(**hello)
        await client.session(max_response)
        yield client


async def subscribed(client: Raw, target: ua.ReadValueId, count: int, wanted: Any = None) -> None:
    create = ua.CreateSubscriptionRequest()
    create.Parameters = ua.CreateSubscriptionParameters(50.0, 3000, 1000, 0, True, 0)
    items = ua.CreateMonitoredItemsRequest()
    items.Parameters.SubscriptionId = (await client.ask(create)).Parameters.SubscriptionId
    items.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    for start in range(0, count, 50):
        asked = [ua.MonitoringParameters(start + n, 50.0, wanted, 100, True) for n in range(min(50, count - start))]
        items.Parameters.ItemsToCreate = [
            ua.MonitoredItemCreateRequest(target, ua.MonitoringMode.Reporting, one) for one in asked
        ]
        assert all(one.StatusCode.is_good() for one in (await client.ask(items)).Results)


async def test_response_that_is_too_large_for_the_client_is_a_fault_and_the_next_one_is_given(small: Raw) -> None:
    assert await small.status(reading(200)) == "Good"
    assert await small.status(reading(600)) == "BadResponseTooLarge"
    browse = ua.BrowseRequest()
    browse.Parameters.NodesToBrowse = [
        ua.BrowseDescription(ua.NodeId(ua.ObjectIds.BaseDataType), ResultMask=63, NodeClassMask=0)
    ] * 10
    assert await small.status(browse) == "BadResponseTooLarge"
    assert await small.status(reading(1)) == "Good"


async def test_what_the_client_takes_does_not_bound_what_it_may_send(home: House) -> None:
    async with raw(home.port) as client:
        told = struct_from_binary(ua.Acknowledge, Buffer((await client.hello(MaxMessageSize=8192)).body))
        assert (told.MaxMessageSize, told.MaxChunkCount) == (2**19, 10)
        await client.ask_token()
    async with raw(home.port) as client:
        await client.open(MaxMessageSize=8192)
        await client.session()
        request = client.request(reading(500))
        assert len(request) > 8192
        await client.send(request)
        assert (await client.receive()).response.ResponseHeader.ServiceResult.name == "BadResponseTooLarge"


async def test_buffers_are_answered_from_the_server_s_side(home: House) -> None:
    async with raw(home.port) as client:
        hello = await client.hello(ReceiveBufferSize=9000, SendBufferSize=20_000)
        told = struct_from_binary(ua.Acknowledge, Buffer(hello.body))
        assert (told.ReceiveBufferSize, told.SendBufferSize) == (20_000, 9000)


async def test_notifications_come_in_messages_that_the_client_takes(small: Raw) -> None:
    await subscribed(small, PRESSURE, 500)
    seen: list[int] = []
    while len(seen) < 500:
        answer = await small.ask(ua.PublishRequest())
        assert answer.ResponseHeader.ServiceResult.is_good()
        assert len(struct_to_binary(answer)) <= 8192
        for data in answer.Parameters.NotificationMessage.NotificationData:
            seen += [one.ClientHandle for one in data.MonitoredItems]
    assert sorted(seen) == list(range(500))


async def test_events_come_in_messages_that_the_client_takes(home: House, small: Raw) -> None:
    kind = ua.NodeId(ua.ObjectIds.BaseEventType)
    wanted = ua.EventFilter([ua.SimpleAttributeOperand(kind, [ua.QualifiedName("Message")], ua.AttributeIds.Value)] * 2)
    server = ua.ReadValueId(ua.NodeId(ua.ObjectIds.Server), ua.AttributeIds.EventNotifier)
    await subscribed(small, server, 1, wanted)
    turn = uuid4()  # of an id that was there before the log would take no event
    for number in range(30):
        text = f"{number} {'x' * 300}"
        home.table.log.append(Event(f"{turn} {number}", "MachineLost", NOW, text, 500, "panel", "extruder-1", {}))
    heard: list[int] = []
    while len(heard) < 30:
        answer = await small.ask(ua.PublishRequest())
        assert answer.ResponseHeader.ServiceResult.is_good()
        for data in answer.Parameters.NotificationMessage.NotificationData:
            heard += [int(one.EventFields[0].Value.Text.split()[0]) for one in data.Events]
    assert heard == list(range(30))


async def test_a_notification_that_is_too_large_alone_is_a_fault(home: House, small: Raw) -> None:
    tag = home.tag("Status/Message")
    home.table.update([(tag.slot, DataValue("x" * 9000, StatusCode.Good, NOW, NOW))])
    await subscribed(small, ua.ReadValueId(ua.NodeId(tag.id, 2), ua.AttributeIds.Value), 1)
    status = "Good"
    while status == "Good":
        status = await small.status(ua.PublishRequest())
    assert status == "BadResponseTooLarge"
    home.table.update([(tag.slot, DataValue("short", StatusCode.Good, NOW, NOW))])
    assert (await small.ask(ua.PublishRequest())).ResponseHeader.ServiceResult.is_good()
