"""Publish and Read as bytes: what asyncua would have read and written."""

from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.common.utils import Buffer
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256, SecurityPolicyNone
from asyncua.server.uaprocessor import PublishRequestData
from asyncua.ua.ua_binary import (
    extensionobject_to_binary,
    header_from_binary,
    nodeid_to_binary,
    struct_from_binary,
    struct_to_binary,
)
from hypothesis import given
from hypothesis import strategies as st

from bridge.northbound.opcua.stack import chunks, services
from tests.northbound.opcua.house import identity

TOKEN = ua.NodeId(b"t" * 32, 0, ua.NodeIdType.ByteString)
NOW = datetime(2026, 3, 4, 5, 6, 7, 890_123, tzinfo=UTC)
NUMBERS = st.integers(0, 2**32 - 1)
READER = services.Reader(TOKEN)


def request(made: Any, handle: int = 7, audit: str | None = None, timeout: int = 0) -> bytes:
    made.RequestHeader = ua.RequestHeader(TOKEN, NOW, handle, 0, audit, timeout)
    return struct_to_binary(made)


@given(NUMBERS, NUMBERS, st.none() | st.text("aé", max_size=5), st.lists(st.tuples(NUMBERS, NUMBERS), max_size=5))
def test_publish_request_is_read_as_asyncua_reads_it(
    handle: int, timeout: int, audit: str | None, pairs: list[tuple[int, int]]
) -> None:
    made = ua.PublishRequest()
    made.Parameters.SubscriptionAcknowledgements = [ua.SubscriptionAcknowledgement(*pair) for pair in pairs]
    asked = READER.publish(request(made, handle, audit, timeout))
    assert asked is not None
    assert (asked.handle, asked.timeout) == (handle, timeout)
    assert services.acknowledgements(asked.parameters) == pairs
    assert READER.read(request(made)) is None


@given(st.binary(max_size=40), st.integers(0, 200))
def test_anything_else_is_left_to_asyncua(tail: bytes, cut: int) -> None:
    whole = request(ua.PublishRequest())
    for body in (whole[: min(cut, len(whole) - 1)], whole[:60] + tail, tail):
        asked = READER.publish(body)
        if asked is not None and (received := services.acknowledgements(asked.parameters)) is not None:
            buffer = Buffer(body)
            decoded = struct_from_binary(ua.PublishRequest, buffer)
            shown = decoded.Parameters.SubscriptionAcknowledgements or []
            assert [(one.SubscriptionId, one.SequenceNumber) for one in shown] == received


def test_another_token_is_not_this_sessions() -> None:
    made = ua.PublishRequest()
    made.RequestHeader.AuthenticationToken = ua.NodeId(b"u" * 32, 0, ua.NodeIdType.ByteString)
    assert READER.publish(struct_to_binary(made)) is None


def test_additional_header_is_left_to_asyncua() -> None:
    made = ua.PublishRequest()
    made.RequestHeader = ua.RequestHeader(TOKEN, AdditionalHeader=ua.ExtensionObject(ua.NodeId(5), b"more"))
    assert READER.publish(struct_to_binary(made)) is None


@given(
    NUMBERS,
    NUMBERS,
    st.booleans(),
    st.lists(NUMBERS, max_size=4),
    st.lists(NUMBERS, max_size=4),
    st.lists(st.floats(), max_size=5),
)
def test_publish_response_has_asyncuas_bytes(
    handle: int, sequence: int, more: bool, available: list[int], results: list[int], values: list[float]
) -> None:
    items = [
        ua.MonitoredItemNotification(n, ua.DataValue(ua.Variant(one), None, NOW, NOW)) for n, one in enumerate(values)
    ]
    change = ua.DataChangeNotification(MonitoredItems=items)
    status = ua.StatusChangeNotification(ua.StatusCode(ua.StatusCodes.BadTimeout))
    theirs = ua.PublishResponse()
    theirs.ResponseHeader = ua.ResponseHeader(NOW, handle)
    theirs.Parameters = ua.PublishResult(
        4,
        available,
        more,
        ua.NotificationMessage(sequence, NOW, [change, status]),
        [ua.StatusCode(one) for one in results],
    )
    ready = services.data_changes([struct_to_binary(one) for one in items], len(items))
    assert ready == extensionobject_to_binary(change)
    message = services.Message(4, sequence, NOW, [ready, extensionobject_to_binary(status)], more, available)
    assert message.response(handle, results, NOW) == struct_to_binary(theirs)
    assert struct_to_binary(message.again()) == struct_to_binary(theirs.Parameters.NotificationMessage)


def test_keep_alive_has_asyncuas_bytes() -> None:
    theirs = ua.PublishResponse()
    theirs.ResponseHeader = ua.ResponseHeader(NOW, 1)
    theirs.Parameters = ua.PublishResult(4, [], False, ua.NotificationMessage(9, NOW, []))
    assert services.Message(4, 9, NOW, []).response(1, [], NOW) == struct_to_binary(theirs)


@given(NUMBERS, st.lists(st.floats(allow_nan=False), max_size=5))
def test_read_response_has_asyncuas_bytes(handle: int, values: list[float]) -> None:
    theirs = ua.ReadResponse(Results=[ua.DataValue(ua.Variant(one)) for one in values])
    theirs.ResponseHeader = ua.ResponseHeader(NOW, handle)
    assert services.read_response(handle, [struct_to_binary(one) for one in theirs.Results], NOW) == struct_to_binary(
        theirs
    )


def test_a_parked_request_has_what_asyncua_looks_at() -> None:
    parked, theirs = services.Parked(1, 2, 3), PublishRequestData()
    assert all(hasattr(parked, name) for name in vars(theirs))
    assert (parked.requesthdr.RequestHandle, parked.requesthdr.TimeoutHint, parked.seqhdr.RequestId) == (1, 2, 3)
    assert not services.Parked(1, 0, 3, timestamp=0).has_timed_out(10**9)
    assert services.Parked(1, 2000, 3, timestamp=5).has_timed_out(7.1)
    assert not services.Parked(1, 2000, 3, timestamp=5).has_timed_out(6.9)


# --- chunks ----------------------------------------------------------------------------------------------------------


def channel(*, secured: bool, is_server: bool, buffer: int = 8192) -> SecureConnection:
    policy: Any = SecurityPolicyNone()
    if secured:
        mine, other = (identity(name) for name in (("chunk-a", "chunk-b") if is_server else ("chunk-b", "chunk-a")))
        policy = SecurityPolicyBasic256Sha256(
            other.certificate, mine.certificate, mine.key, ua.MessageSecurityMode.SignAndEncrypt
        )
        keys = (b"s" * 32, b"c" * 32) if is_server else (b"c" * 32, b"s" * 32)
        policy.make_local_symmetric_key(keys[1], keys[0])
        policy.make_remote_symmetric_key(keys[0], keys[1], 60_000)
    made = SecureConnection(policy, TransportLimits(buffer, buffer))
    made.security_token.ChannelId, made.security_token.TokenId = 5, 13
    made._open = True
    return made


@pytest.mark.parametrize("secured", [False, True], ids=["none", "encrypted"])
@pytest.mark.parametrize("size", [1, 15, 16, 100, 8100, 8191, 8192, 30_000])
def test_response_is_cut_and_encrypted_as_by_asyncua(secured: bool, size: int) -> None:
    ours, theirs = (channel(secured=secured, is_server=True) for _ in range(2))
    ours._sequence_number = theirs._sequence_number = 2**32 - 2
    body = bytes(n % 251 for n in range(size))
    for number in range(3):
        assert chunks.wrapped(ours, body, number) == theirs.message_to_binary(body, request_id=number)
    assert ours._sequence_number == theirs._sequence_number


def sent(client: SecureConnection, body: bytes, request_id: int) -> bytes:
    return client.message_to_binary(body, request_id=request_id)


@pytest.mark.parametrize("secured", [False, True], ids=["none", "encrypted"])
def test_request_of_one_chunk_is_opened(secured: bool) -> None:
    client, server = channel(secured=secured, is_server=False), channel(secured=secured, is_server=True)
    server._peer_sequence_number = 0
    for number in (1, 2, 3):
        assert chunks.unwrapped(server, sent(client, b"body", number)) == (number, b"body")
    assert server._peer_sequence_number == 3


@pytest.mark.parametrize("secured", [False, True], ids=["none", "encrypted"])
def test_what_is_unusual_is_left_to_asyncua_unchanged(secured: bool) -> None:
    client, server = channel(secured=secured, is_server=False), channel(secured=secured, is_server=True)
    server._peer_sequence_number = 0
    client._sequence_number = 1
    skipped = sent(client, b"body", 1)  # sequence number 2
    client._sequence_number = 0
    usual = sent(client, b"body", 1)
    other_token = usual[:12] + b"\x0e" + usual[13:]
    other_channel = usual[:8] + b"\x06" + usual[9:]
    for message in (skipped, other_token, other_channel, b"MSGC" + usual[4:], b"MSGA" + usual[4:]):
        assert chunks.unwrapped(server, message) is None
    assert (server._peer_sequence_number, server._incoming_parts) == (0, [])
    assert chunks.unwrapped(server, usual) == (1, b"body")
    assert chunks.unwrapped(server, usual) is None  # sent once more


def test_forged_request_is_refused_by_asyncua() -> None:
    client, server = channel(secured=True, is_server=False), channel(secured=True, is_server=True)
    server._peer_sequence_number = 0
    message = bytearray(sent(client, b"body", 1))
    message[-1] ^= 1
    assert chunks.unwrapped(server, bytes(message)) is None
    buffer = Buffer(bytes(message))
    from asyncua.crypto.uacrypto import InvalidSignature

    with pytest.raises(InvalidSignature):
        server.receive_from_header_and_body(header_from_binary(buffer), buffer)


def test_nodeids_of_services_are_the_short_form() -> None:
    """Which is what every client sends; a long form is decoded by asyncua."""
    assert nodeid_to_binary(services.PUBLISH) == b"\x01\x00\x3a\x03"
    assert nodeid_to_binary(services.READ) == b"\x01\x00\x77\x02"
