"""Framing of Engine.IO and Socket.IO, and what their errors mean."""

from __future__ import annotations

import inspect
from typing import Any

import aiohttp
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from bridge.errors import AuthFailed, NotConnected, ProtocolError, SourceError
from bridge.sources.qitech.socketio import (
    CONNECT,
    CONNECT_ERROR,
    ERRORS,
    EVENT,
    Handshake,
    Packet,
    decode,
    encode_connect,
    parse_handshake,
    stream_error,
)
from tests.sources.qitech.recorded import frames, received_binaries


def test_handshake_of_the_vendors_server() -> None:
    opening = frames("engineio_open_websocket")[0]["raw"]
    handshake = parse_handshake(opening)
    assert handshake == Handshake(ping_interval=25, ping_timeout=20)
    assert handshake.silence == 45


def test_handshake_without_times_has_those_of_the_protocol() -> None:
    assert parse_handshake('0{"sid":"x","pingInterval":"soon"}') == Handshake(25, 20)


@pytest.mark.parametrize("text", ["", "2", "1{}", "0", "0[]", "0{"])
def test_what_is_no_handshake_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_handshake(text)


def test_join_is_the_packet_the_vendors_server_took() -> None:
    assert msgpack.unpackb(encode_connect("/main")) == {"type": 0, "nsp": "/main", "data": {}}


def test_welcome_and_events_of_the_vendors_server() -> None:
    packets = [decode(frame) for frame in received_binaries("socketio_machine_extruder_v1")]
    assert {packet.namespace for packet in packets} == {"/machine/1/4/57922"}
    assert [packet.type for packet in packets[:3]] == [CONNECT, EVENT, EVENT]
    assert packets[1].data[1]["name"] == "StateEvent"


def test_refusal_of_the_vendors_server() -> None:
    packet = decode(received_binaries("socketio_connect_unknown_namespace")[-1])
    assert packet.type == CONNECT_ERROR


@pytest.mark.parametrize(
    "packet", [None, 3, [], {}, {"type": "2", "nsp": "/"}, {"type": 2}, {"type": 2, "nsp": None}, {b"type": 2}]
)
def test_what_is_no_packet_is_refused(packet: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(msgpack.packb(packet))


def test_packet_may_lack_data_and_have_more_than_we_know() -> None:
    assert decode(msgpack.packb({"type": 2, "nsp": "/main", "id": 7})) == Packet(2, "/main", None)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_refused(frame: bytes) -> None:
    try:
        decode(frame)
    except ProtocolError:
        return


def test_deep_nesting_is_refused_and_harms_nothing() -> None:
    with pytest.raises(ProtocolError):
        decode(b"\x91" * 100_000)


EVERY_AIOHTTP_ERROR = [
    kind
    for _, kind in inspect.getmembers(aiohttp, inspect.isclass)
    if issubclass(kind, (aiohttp.ClientError, aiohttp.WebSocketError))
    and kind.__name__ != "UploadAbortedError"  # nothing is uploaded; older releases do not have it
]


@pytest.mark.parametrize("kind", EVERY_AIOHTTP_ERROR)
def test_every_client_exception_of_aiohttp_has_its_row(kind: type[Exception]) -> None:
    row = next(theirs for theirs, _, _ in ERRORS if issubclass(kind, theirs))
    assert row is not aiohttp.ClientError or kind is aiohttp.ClientError


def test_no_row_of_the_table_hides_a_later_one() -> None:
    kinds = [theirs for theirs, _, _ in ERRORS]
    for index, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:index]), kind


@pytest.mark.parametrize(("status", "kind"), [(401, AuthFailed), (502, NotConnected), (404, ProtocolError)])
def test_refused_upgrade_means_what_its_status_means(status: int, kind: type[SourceError]) -> None:
    url = URL("http://panel")
    info = aiohttp.RequestInfo(url, "GET", CIMultiDictProxy(CIMultiDict()), url)
    assert type(stream_error(aiohttp.WSServerHandshakeError(info, (), status=status))) is kind


def test_exception_of_nobody_we_know_stays() -> None:
    assert stream_error(KeyError("ours")) is None
