"""What a hostile peer may send.

Each of these was run once against a stock asyncua 2.1.0 server with the same nodes: there each succeeds, but those
marked `holds on stock`, which keep what others have fallen for. Services that are not offered only have another status
there, where the user is no administrator.
"""

import asyncio
import gc
import logging
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.ua.ua_binary import nodeid_to_binary, struct_to_binary

from bridge.model.status import StatusCode
from bridge.model.value import DataValue
from bridge.northbound.opcua.stack.engine import Engine
from tests.northbound.opcua.house import House, Raw, Seen, eventually, house, raw
from tests.one_of_everything import NOW

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRESSURE = ua.NodeId("extruder-1.Monitoring.Pressure", 2)
QUICK_S = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house(unsecured_read_only=True, limits={"sessions": 5, "operations": 10}) as home:
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def session(home: House) -> AsyncIterator[Raw]:
    async with raw(home.port) as client:
        await client.open()
        await client.session()
        yield client


async def still_serves(home: House) -> None:
    async with Client(home.url) as client:
        assert await client.get_node(PRESSURE).read_value() == 12.5


def read_request(*nodes: ua.NodeId) -> ua.ReadRequest:
    request = ua.ReadRequest()
    request.Parameters.NodesToRead = [ua.ReadValueId(node, ua.AttributeIds.Value) for node in nodes]
    return request


async def test_message_without_a_channel_closes_the_connection(home: House) -> None:
    async with raw(home.port) as client:
        await client.hello()
        await client.send(client.request(ua.GetEndpointsRequest()))
        assert await client.is_closed()


async def test_message_before_hello_closes_the_connection(home: House) -> None:
    async with raw(home.port) as client:
        await client.send(client.request(ua.GetEndpointsRequest()))
        assert await client.is_closed()


async def test_second_hello_closes_the_connection(home: House) -> None:
    async with raw(home.port) as client:
        await client.hello()
        with pytest.raises(asyncio.IncompleteReadError):
            await client.hello()


async def test_tiny_buffers_are_refused(home: House) -> None:
    async with raw(home.port) as client:
        await client.hello(buffer=16)
        assert await client.is_closed()


@pytest.mark.parametrize("size", [0, 7, 2**31 - 1, 2**32 - 1, 65_536])
async def test_chunk_of_a_declared_size_out_of_bounds_is_not_waited_for(home: House, size: int) -> None:
    """0 and 7 hold on stock (CVE-2023-26151)."""
    async with raw(home.port) as client:
        await client.send(b"HELF" + struct.pack("<I", size))
        assert await client.is_closed()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" * 10, b"ERRF" + b"\x20\0\0\0" * 8])
async def test_another_protocol_is_closed(home: House, data: bytes) -> None:
    async with raw(home.port) as client:
        await client.send(data)
        assert await client.is_closed()


async def test_sequence_number_out_of_order_closes_the_connection(home: House) -> None:
    async with raw(home.port) as client:
        await client.open()
        client.sequence += 5
        await client.send(client.request(ua.GetEndpointsRequest()))
        assert await client.is_closed()


async def test_many_sessions_on_one_connection_leave_one(home: House) -> None:
    async with raw(home.port) as client:
        await client.open()
        tokens = [(await client.ask(ua.CreateSessionRequest())).Parameters.AuthenticationToken for _ in range(50)]
        activate = ua.ActivateSessionRequest()
        activate.Parameters.UserIdentityToken = ua.AnonymousIdentityToken("anonymous")
        async with raw(home.port) as other:
            await other.open()
            for other.authentication in tokens[:-1]:
                assert await other.status(activate) == "BadSessionIdInvalid"
        client.authentication = tokens[-1]
        assert await client.status(activate) == "Good"
    await still_serves(home)


async def connected(home: House, address: str = "127.0.0.1") -> Raw:
    client = Raw(*await asyncio.open_connection("127.0.0.1", home.port, local_addr=(address, 0)))
    await client.open()
    return client


async def created(client: Raw) -> str:
    response = await client.ask(ua.CreateSessionRequest())
    if response.ResponseHeader.ServiceResult.is_good():
        client.authentication = response.Parameters.AuthenticationToken
    return str(response.ResponseHeader.ServiceResult.name)


async def activated(client: Raw) -> str:
    request = ua.ActivateSessionRequest()
    request.Parameters.UserIdentityToken = ua.AnonymousIdentityToken("anonymous")
    return await client.status(request)


async def test_sessions_are_bounded_and_come_back(home: House) -> None:
    clients = [await connected(home) for _ in range(7)]
    for client in clients[:5]:
        await client.session()
    assert [await created(client) for client in clients[5:]] == ["BadTooManySessions"] * 2
    for client in clients:
        await client.close()
    await asyncio.sleep(0.02)
    await still_serves(home)


async def test_sessions_without_a_login_give_way_those_of_the_greediest_address_first(home: House) -> None:
    patient = await connected(home, "127.0.0.2")
    stranger = [await connected(home) for _ in range(5)]
    assert [await created(client) for client in (patient, *stranger)] == ["Good"] * 6
    late = [await connected(home, "127.0.0.3") for _ in range(2)]
    for client in late:  # all sessions are the stranger's, who begins another one whenever he has lost one
        assert [await created(one) for one in (client, stranger[0])] == ["Good"] * 2
    assert [await activated(client) for client in (patient, *late)] == ["Good"] * 3
    got = [await activated(client) for client in stranger]
    assert got == ["Good", *["BadSessionIdInvalid"] * 3, "Good"]
    for client in (patient, *late, *stranger):
        await client.send(client.request(ua.CloseSessionRequest(), b"\x01"))
        await client.close()
    await still_serves(home)


async def test_an_address_has_one_session_without_a_login_on_each_connection() -> None:
    async with house(unsecured_read_only=True, limits={"connections_per_address": 3}) as home:
        for _ in range(2):
            clients = [await connected(home) for _ in range(3)]
            for client in clients * 3:
                assert await created(client) == "Good"
            assert home.server.metrics()["opcua_sessions"] == 3
            for client in clients:
                await client.close()
            await eventually(lambda: not home.server.metrics()["opcua_sessions"])


@pytest.mark.parametrize(
    "request_type",
    [
        ua.RegisterServerRequest,
        ua.RegisterServer2Request,
        ua.AddNodesRequest,
        ua.DeleteNodesRequest,
        ua.AddReferencesRequest,
        ua.DeleteReferencesRequest,
        ua.HistoryUpdateRequest,
        ua.QueryFirstRequest,
        ua.QueryNextRequest,
        ua.SetTriggeringRequest,
        ua.CancelRequest,
    ],
)
async def test_services_that_are_not_offered_are_not_there(session: Raw, request_type: type) -> None:
    assert await session.status(request_type()) == "BadServiceUnsupported"


async def test_registering_servers_without_a_session_is_refused(home: House) -> None:
    async with raw(home.port) as client:
        await client.open()
        register = ua.RegisterServerRequest()
        register.Server.ServerUri, register.Server.IsOnline = "urn:false:server", True
        register.Server.ServerNames = [ua.LocalizedText("false")]
        register.Server.DiscoveryUrls = ["opc.tcp://192.0.2.1:4840/"]
        assert await client.status(register) == "BadServiceUnsupported"
        found = await client.ask(ua.FindServersRequest())
        assert [one.ApplicationUri for one in found.Servers] == ["urn:test:bridge"]


def write_body(variant: bytes) -> bytes:
    """NodesToWrite with one Value whose Variant is these bytes."""
    value_id = nodeid_to_binary(PRESSURE) + struct.pack("<I", ua.AttributeIds.Value) + b"\xff\xff\xff\xff"
    return struct.pack("<i", 1) + value_id + b"\x01" + variant


@pytest.mark.parametrize(
    "variant",
    [
        b"\x80" + struct.pack("<i", 20_000_000),  # array of Null: 20 million elements of no bytes
        b"\xc6" + struct.pack("<ii", 1, 5) + struct.pack("<iii", 2, 999_999, 1),  # dimensions that declare a million
        b"\x8c" + struct.pack("<i", 20_000_000) + b"\xfc\xff\xff\xff" * 4,  # strings that put the cursor back
    ],
    ids=["null array", "dimensions", "negative lengths"],
)
async def test_few_bytes_do_not_make_the_decoder_work(home: House, session: Raw, variant: bytes) -> None:
    before = time.process_time()
    status = await session.status(ua.WriteRequest(), write_body(variant))
    assert status != "Good"
    assert time.process_time() - before < QUICK_S
    await still_serves(home)


async def test_array_longer_than_any_of_ours_is_refused(session: Raw) -> None:
    booleans = b"\x81" + struct.pack("<i", 20_000) + b"\x00" * 20_000
    assert await session.status(ua.WriteRequest(), write_body(booleans)) == "BadDecodingError"


async def test_stranger_may_not_send_more_than_a_login_takes(home: House) -> None:
    async with raw(home.port) as client:
        await client.open()
        await client.send(client.wrap(b"\x00" * 40_000, final=b"C"))
        await client.send(client.wrap(b"\x00" * 40_000, final=b"C"))
        assert await client.is_closed()


async def test_nested_variants_are_survived(home: House, session: Raw) -> None:
    """Holds on stock (CVE-2021-27432)."""
    await session.send(session.request(ua.WriteRequest(), write_body(b"\x18" * 5000 + b"\x06\x01\0\0\0")))
    answer = await session.receive()
    assert answer.response.ResponseHeader.ServiceResult.is_bad()
    await still_serves(home)


async def test_session_token_cannot_be_guessed(home: House, session: Raw) -> None:
    assert isinstance(session.authentication.Identifier, bytes)
    assert len(session.authentication.Identifier) == 32
    async with raw(home.port) as thief:
        await thief.open()
        activate = ua.ActivateSessionRequest()
        activate.Parameters.UserIdentityToken = ua.AnonymousIdentityToken("anonymous")
        for number in range(1000, 1030):
            thief.authentication = ua.NodeId(number, 0)
            assert await thief.status(activate) == "BadSessionIdInvalid"


async def test_token_of_another_connection_is_of_no_use(home: House, session: Raw) -> None:
    async with raw(home.port) as other:
        await other.open()
        await other.session()
        other.authentication = session.authentication
        assert await other.status(read_request(PRESSURE)) == "BadSessionIdInvalid"


async def test_subscription_of_another_session_does_not_exist(home: House, session: Raw) -> None:
    create = ua.CreateSubscriptionRequest()
    create.Parameters.PublishingEnabled = True
    identifier = (await session.ask(create)).Parameters.SubscriptionId
    async with raw(home.port) as other:
        await other.open()
        await other.session()
        delete = ua.DeleteSubscriptionsRequest()
        delete.Parameters.SubscriptionIds = [identifier]
        (status,) = (await other.ask(delete)).Results
        assert status.name == "BadSubscriptionIdInvalid"
        items = ua.CreateMonitoredItemsRequest()
        items.Parameters.SubscriptionId = identifier
        items.Parameters.ItemsToCreate = [ua.MonitoredItemCreateRequest()]
        assert await other.status(items) == "BadSubscriptionIdInvalid"
        transfer = ua.TransferSubscriptionsRequest()
        transfer.Parameters.SubscriptionIds = [identifier]
        (result,) = (await other.ask(transfer)).Parameters.Results
        assert result.StatusCode.name == "BadUserAccessDenied"
        assert await other.status(ua.PublishRequest()) == "BadNoSubscription"
    delete = ua.DeleteSubscriptionsRequest()
    delete.Parameters.SubscriptionIds = [identifier]
    (status,) = (await session.ask(delete)).Results
    assert status.is_good()


@pytest.mark.parametrize("asked", [0.0, -1.0, 0.001, float("nan"), float("inf"), 1e300])
async def test_publishing_interval_is_brought_within_bounds(session: Raw, asked: float) -> None:
    create = ua.CreateSubscriptionRequest()
    create.Parameters.RequestedPublishingInterval = asked
    create.Parameters.RequestedLifetimeCount = 2**32 - 1
    create.Parameters.RequestedMaxKeepAliveCount = 2**32 - 1
    revised = (await session.ask(create)).Parameters
    assert 50 <= revised.RevisedPublishingInterval <= 3_600_000
    assert revised.RevisedLifetimeCount >= 3 * revised.RevisedMaxKeepAliveCount
    delete = ua.DeleteSubscriptionsRequest()
    delete.Parameters.SubscriptionIds = [revised.SubscriptionId]
    await session.ask(delete)


async def test_too_many_operations_are_refused(session: Raw) -> None:
    assert await session.status(read_request(*[PRESSURE] * 10)) == "Good"
    assert await session.status(read_request(*[PRESSURE] * 11)) == "BadTooManyOperations"
    assert await session.status(read_request()) == "BadNothingToDo"


async def test_subscriptions_of_one_session_are_bounded() -> None:
    async with (
        house(unsecured_read_only=True, limits={"subscriptions_per_session": 2}) as home,
        raw(home.port) as client,
    ):
        await client.open()
        await client.session()
        statuses = [await client.status(ua.CreateSubscriptionRequest()) for _ in range(3)]
        assert statuses == ["Good", "Good", "BadTooManySubscriptions"]


async def test_connections_of_one_address_are_bounded() -> None:
    async with house(limits={"connections_per_address": 2}) as home, raw(home.port) as first, raw(home.port) as second:
        await first.hello()
        await second.hello()
        async with raw(home.port) as third:
            assert await third.is_closed()


async def test_client_that_does_not_read_is_cut_off() -> None:
    async with house(unsecured_read_only=True, limits={"send_buffer": 2**20}) as home, raw(home.port) as client:
        await client.open()
        await client.session()
        browse = ua.BrowseRequest()
        everything = ua.BrowseDescription(
            NodeId=ua.NodeId(ua.ObjectIds.BaseDataType),
            BrowseDirection=ua.BrowseDirection.Both,
            IncludeSubtypes=True,
            ResultMask=63,
        )
        browse.Parameters.NodesToBrowse = [everything] * 500
        request = struct_to_binary(browse)
        assert len(request) < 60_000
        with pytest.raises((ConnectionError, TimeoutError)):
            for _ in range(100):
                browse.RequestHeader.AuthenticationToken = client.authentication
                client.writer.write(client.wrap(struct_to_binary(browse)))
                async with asyncio.timeout(2):
                    await client.writer.drain()
                await asyncio.sleep(0.02)
        await still_serves(home)


async def test_slow_write_does_not_stop_reads_of_the_same_client(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()

    async def slow(self: object, visitor: object, items: list[object]) -> list[ua.StatusCode]:
        await gate.wait()
        return [ua.StatusCode(ua.StatusCodes.BadNotWritable) for _ in items]

    monkeypatch.setattr("bridge.northbound.opcua.writes.Writes.write", slow)
    async with Client(home.url) as client:
        item = ua.WriteValue(PRESSURE, ua.AttributeIds.Value, None, ua.DataValue(ua.Variant(1.0)))
        writing = asyncio.create_task(client.uaclient.write(ua.WriteParameters([item])))
        await asyncio.sleep(0.02)
        async with asyncio.timeout(30):
            assert await client.get_node(PRESSURE).read_value() == 12.5
        assert not writing.done()
        gate.set()
        assert [one.name for one in await writing] == ["BadNotWritable"]


async def test_session_that_waits_for_a_slow_vendor_keeps_publishing(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def slow(self: object, visitor: object, items: list[object]) -> list[ua.StatusCode]:
        await gate.wait()
        return [ua.StatusCode(ua.StatusCodes.BadNotWritable) for _ in items]

    monkeypatch.setattr("bridge.northbound.opcua.writes.Writes.write", slow)
    slot = home.tag("Monitoring/Pressure").slot
    async with Client(home.url) as client:
        seen = Seen()
        subscription = await client.create_subscription(50, seen)
        await subscription.subscribe_data_change(client.get_node(PRESSURE))
        item = ua.WriteValue(PRESSURE, ua.AttributeIds.Value, None, ua.DataValue(ua.Variant(1.0)))
        writing = [asyncio.create_task(client.uaclient.write(ua.WriteParameters([item]))) for _ in range(5)]
        for value in (1.0, 2.0, 3.0, 12.5):
            home.table.update([(slot, DataValue(value, StatusCode.Good, NOW, NOW))])
            await eventually(
                lambda value=value: [one.Value.Value for one in seen.of(PRESSURE.Identifier)[-1:]] == [value]
            )
        assert not any(one.done() for one in writing)
        gate.set()
        await asyncio.gather(*writing)


async def churn(home: House, engine: Engine, rounds: int) -> None:
    """Clients of every kind come and go: some log out, some vanish, some send nonsense."""
    for number in range(rounds):
        client = Raw(*await asyncio.open_connection("127.0.0.1", home.port))
        await client.open()
        await client.session()
        subscription = (await client.ask(ua.CreateSubscriptionRequest())).Parameters.SubscriptionId
        items = ua.CreateMonitoredItemsRequest()
        items.Parameters.SubscriptionId = subscription
        item = ua.MonitoredItemCreateRequest(ua.ReadValueId(PRESSURE, ua.AttributeIds.Value))
        items.Parameters.ItemsToCreate = [item] * 10
        await client.ask(items)
        await client.send(client.request(ua.PublishRequest()))
        browse = ua.BrowseRequest()
        browse.Parameters.RequestedMaxReferencesPerNode = 1
        browse.Parameters.NodesToBrowse = [ua.BrowseDescription(NodeId=ua.NodeId(ua.ObjectIds.BaseDataType))]
        await client.send(client.request(browse))
        match number % 3:
            case 0:
                await client.send(client.request(ua.CloseSessionRequest(), b"\x01"))
            case 1:
                client.writer.transport.abort()
            case 2:
                await client.send(client.wrap(b"\xff" * 200))
        await client.close()
        await time_out(engine)
    listener = engine.bserver
    async with asyncio.timeout(30):
        while listener.clients or listener.closing_tasks or engine.iserver.session_count:
            await time_out(engine)
            await asyncio.sleep(0.01)


async def time_out(engine: Engine) -> None:
    """Sessions whose clients are gone end, as they would in their own time."""
    for session in engine.iserver.external_sessions:
        if session.is_activated() and session.channel._transport.is_closing():
            await session.close_session(True)


async def memory_after(home: House, engine: Engine, rounds: int) -> tuple[int, int]:
    await churn(home, engine, rounds)
    gc.collect()
    return tracemalloc.get_traced_memory()[0], len(asyncio.all_tasks())


async def churned(engines: list[Engine], rounds: int, slack: int) -> None:
    async with house(unsecured_read_only=True) as home:
        (engine,) = engines
        tracemalloc.start()
        logging.disable(logging.WARNING)  # pytest keeps what is logged, and each subscription a line speaks of
        try:
            await memory_after(home, engine, 30)
            before, tasks = await memory_after(home, engine, 30)
            after, _ = await memory_after(home, engine, rounds)
        finally:
            tracemalloc.stop()
            logging.disable(logging.NOTSET)
        assert not engine.iserver.subscriptions
        assert not engine.iserver.aspace[PRESSURE].attributes[ua.AttributeIds.Value].watchers
        assert after - before < slack
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
        await still_serves(home)


async def test_clients_that_come_and_go_leave_no_memory_behind(engines: list[Engine]) -> None:
    await churned(engines, 100, 100 * 6000)  # one that stays takes more than 10 kB; some wait for their timers' end


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_an_hour_of_clients_in_a_minute_leaves_no_memory_behind(engines: list[Engine]) -> None:
    await churned(engines, 3600, 2_000_000)


async def test_slow_writes_of_a_client_that_left_are_ended(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()

    async def endless(self: object, visitor: object, items: list[object]) -> list[ua.StatusCode]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return []

    monkeypatch.setattr("bridge.northbound.opcua.writes.Writes.write", endless)
    async with raw(home.port) as client:
        await client.open()
        await client.session()
        write = ua.WriteRequest()
        write.Parameters.NodesToWrite = [ua.WriteValue(PRESSURE, ua.AttributeIds.Value)]
        await client.send(client.request(write))
        await asyncio.sleep(0.02)
    async with asyncio.timeout(30):
        await ended.wait()


async def test_value_is_not_copied_for_every_subscriber(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(value: object) -> object:
        raise AssertionError(f"a copy of {value!r} was made")

    monkeypatch.setattr("asyncua.server.monitored_item_service.copy", SimpleNamespace(deepcopy=never))
    async with Client(home.url) as first, Client(home.url) as second:
        seen = Seen(), Seen()
        for client, one in zip((first, second), seen, strict=True):
            subscription = await client.create_subscription(50, one)
            await subscription.subscribe_data_change(client.get_node(PRESSURE))
            await subscription.subscribe_data_change(client.get_node(ua.ObjectIds.Server_ServerStatus_State))
        await eventually(lambda: all(one.of(PRESSURE.Identifier) for one in seen))
        values = [one.of(PRESSURE.Identifier)[0].Value.Value for one in seen]
    assert values == [12.5, 12.5]


SERVICES = [
    one
    for one in vars(ua).values()
    if isinstance(one, type) and one.__name__.endswith("Request")
    if "RequestHeader" in getattr(one, "__dataclass_fields__", ())
]


async def test_garbage_after_login_never_ends_the_server(home: House) -> None:
    """Holds on stock."""
    import random

    dice = random.Random(4840)
    for request in SERVICES:
        async with raw(home.port) as client:
            await client.open()
            await client.session()
            message = request()
            message.RequestHeader.AuthenticationToken = client.authentication
            body = bytearray(struct_to_binary(message))
            for _ in range(dice.randint(1, 12)):
                body[dice.randrange(len(body))] = dice.randrange(256)
            await client.send(client.wrap(bytes(body)))
    await still_serves(home)


async def test_list_of_many_elements_is_refused_by_its_length(session: Raw) -> None:
    length = struct.pack("<i", 2**31 - 1)
    assert await session.status(ua.CallRequest(), length) == "BadDecodingError"
    assert await session.status(ua.DeleteSubscriptionsRequest(), length) == "BadDecodingError"


async def test_lists_of_one_request_are_bounded_together(session: Raw) -> None:
    one = nodeid_to_binary(PRESSURE) * 2 + struct.pack("<i", 100) + b"\x00" * 100  # a hundred Null arguments
    assert await session.status(ua.CallRequest(), struct.pack("<i", 3) + one * 3) == "BadDecodingError"


async def test_text_that_is_no_utf_8_harms_nowhere(session: Raw) -> None:
    """That none is written is with the methods: `test_methods`."""
    broken = "caf\udce9"  # "café" of a PLC that writes Latin-1
    (value,) = (await session.ask(read_request(ua.NodeId(broken, 2)))).Results
    assert value.StatusCode.name == "BadNodeIdUnknown"
    browse = ua.BrowseRequest()
    browse.Parameters.NodesToBrowse = [ua.BrowseDescription(NodeId=ua.NodeId(broken, 2))]
    assert (await session.ask(browse)).Results[0].StatusCode.name == "BadNodeIdUnknown"
    create = ua.CreateSessionRequest()
    create.Parameters.SessionName = create.Parameters.ClientDescription.ApplicationUri = broken
    assert await session.status(create) == "Good"


async def test_connection_without_a_session_is_closed_in_time() -> None:
    """Slow loris: a byte now and then is no login."""
    async with house(limits={"login_within": 1.0}) as home, raw(home.port) as silent, raw(home.port) as slow:
        await slow.hello()
        dripping = asyncio.create_task(drip(slow))
        assert await silent.is_closed()
        assert await slow.is_closed()
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def drip(client: Raw) -> None:
    for byte in b"OPNF" + struct.pack("<I", 5000):
        client.writer.write(bytes([byte]))
        await asyncio.sleep(0.3)


async def test_connection_whose_session_was_closed_is_closed_in_time() -> None:
    async with house(unsecured_read_only=True, limits={"login_within": 1.0}) as home, raw(home.port) as client:
        await client.open()
        await client.session()
        close = ua.CloseSessionRequest()
        assert await client.status(close) == "Good"
        assert await client.is_closed()


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """The insides of servers made in this test: what they still hold cannot be seen from outside."""
    made: list[Engine] = []

    class Seen(Engine):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("bridge.northbound.opcua.server.Engine", Seen)
    return made


async def test_client_that_vanishes_leaves_nothing_after_its_timeout(engines: list[Engine]) -> None:
    async with house(unsecured_read_only=True, limits={"login_within": 1.0, "sessions": 1}) as home:
        (engine,) = engines
        engine.iserver.min_session_timeout_ms = 300
        async with raw(home.port) as client:
            await client.open()
            create = ua.CreateSessionRequest()
            create.Parameters.RequestedSessionTimeout = 300
            client.authentication = (await client.ask(create)).Parameters.AuthenticationToken
            activate = ua.ActivateSessionRequest()
            activate.Parameters.UserIdentityToken = ua.AnonymousIdentityToken("anonymous")
            assert await client.status(activate) == "Good"
            subscription = (await client.ask(ua.CreateSubscriptionRequest())).Parameters.SubscriptionId
            items = ua.CreateMonitoredItemsRequest()
            items.Parameters.SubscriptionId = subscription
            items.Parameters.ItemsToCreate = [
                ua.MonitoredItemCreateRequest(ua.ReadValueId(PRESSURE, ua.AttributeIds.Value))
            ]
            assert (await client.ask(items)).Results[0].StatusCode.is_good()
            client.writer.transport.abort()
        assert engine.iserver.session_count == 1  # it may come back
        await eventually(lambda: not engine.iserver.session_count)
        assert not engine.iserver.subscriptions
        value = engine.iserver.aspace[PRESSURE].attributes[ua.AttributeIds.Value]
        assert not value.watchers
        await still_serves(home)


async def test_fifty_clients_at_once_are_served_alike() -> None:
    async with house(unsecured_read_only=True) as home:
        clients = [Raw(*await asyncio.open_connection("127.0.0.1", home.port)) for _ in range(50)]

        async def work(client: Raw) -> list[object]:
            await client.open()
            await client.session()
            return [(await client.ask(read_request(PRESSURE))).Results[0].Value.Value for _ in range(5)]

        values = await asyncio.gather(*(work(client) for client in clients))
        assert values == [[12.5] * 5] * 50
        async with raw(home.port) as late:
            assert await late.is_closed()  # connections_per_address
        for client in clients:
            await client.close()
