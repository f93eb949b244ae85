from __future__ import annotations

import json
import zlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProtocolError
from bridge.sources.iotistica.mqtt.encoding import INFLATED, decode, is_deflated
from tests.sources.iotistica.recorded import ALL, DESTROYED

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=20),
    max_leaves=20,
)  # fmt: skip
objects = st.dictionaries(st.text(max_size=10), plain, max_size=20)


def map16(message: dict[str, Any]) -> bytes:
    """A map of any size with a 16 bit length, as msgpackr writes it."""
    pairs = b"".join(msgpack.packb(name) + msgpack.packb(value) for name, value in message.items())
    return b"\xde" + len(message).to_bytes(2, "big") + pairs


def map32(message: dict[str, Any]) -> bytes:
    return b"\xdf" + len(message).to_bytes(4, "big") + map16(message)[3:]


def text(message: Any) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")


@given(objects)
def test_what_is_packed_is_read_back_however_it_is_packed(message: dict[str, Any]) -> None:
    for packed in (msgpack.packb(message), map16(message), map32(message)):
        assert decode(packed) == message
        assert decode(zlib.compress(packed)) == message


@given(st.dictionaries(st.text(max_size=10), st.text() | st.integers(-(2**53), 2**53) | st.booleans(), max_size=20))
def test_json_is_read_back_deflated_or_not(message: dict[str, Any]) -> None:
    assert decode(text(message)) == message
    assert decode(zlib.compress(text(message), 1)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_sentence(payload: bytes) -> None:
    try:
        decode(payload)
    except ProtocolError as error:
        assert len(str(error)) > 10


@given(st.sampled_from(ALL), st.data())
def test_a_recorded_message_with_a_wrong_byte_is_read_or_refused(message: Any, data: st.DataObject) -> None:
    payload = bytearray(message.payload)
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(payload[: data.draw(st.integers(0, len(payload)))]))
    except ProtocolError as error:
        assert str(error)


@pytest.mark.parametrize("message", ALL, ids=lambda one: one.file)
def test_what_an_agent_really_sends_is_read(message: Any) -> None:
    assert isinstance(decode(message.payload), dict)
    encoding = message.told.get("encoding", "json")
    assert is_deflated(message.payload) == encoding.endswith("zlib")


@pytest.mark.parametrize("message", DESTROYED, ids=lambda one: one.file)
def test_what_an_agent_has_destroyed_is_told(message: Any) -> None:
    with pytest.raises(ProtocolError, match="taken its bytes for a text"):
        decode(message.payload)


def test_a_map_of_eight_that_looks_like_zlib_is_no_zlib() -> None:
    """Iotistica's own cloud takes one in 31 of them for zlib, and loses it."""
    names = next(first for first in range(0xA0, 0xC0) if (0x88 << 8 | first) % 31 == 0)
    keys = [f"{number}" + "x" * (names - 0xA0 - 1) for number in range(8)]
    packed = msgpack.packb(dict.fromkeys(keys, 1))
    assert (packed[0] & 0x0F, (packed[0] << 8 | packed[1]) % 31) == (8, 0)
    assert decode(packed) == dict.fromkeys(keys, 1)


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"", "empty"),
        (zlib.compress(b""), "empty"),
        (b"offline", "no JSON"),
        (zlib.compress(b"{")[:-1], "cut off"),
        (zlib.compress(b"offline"), "no deflated JSON"),
        (b"\x78\x9c" + b"x" * 20, "begins as zlib does"),
        (zlib.compress(b" " * (INFLATED + 1)), "more than 8 MiB"),
        (zlib.compress(zlib.compress(b"{}")), "no deflated JSON"),
        (b"\x82\xa1a", "no msgpack"),
        (b"\xdd\xff\xff\xff\xff", "no msgpack"),
        (b"\xdd\x00\x00\xc3\x50" * 3000, "no msgpack"),
        (b"\x91" * 5000, "no msgpack"),
        (b"\x81\xa1a\xc7\xff\xff", "no msgpack"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a": NaN}', "no JSON"),
        (b"\x81\xa1\xff\x01", "no msgpack"),
    ],
)
def test_what_cannot_be_read_is_told(payload: bytes, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        decode(payload)
