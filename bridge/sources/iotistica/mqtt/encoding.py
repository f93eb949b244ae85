"""From the bytes of a message to plain data: zlib, msgpack or JSON, told apart message by message. Pure.

Source: facts 1.11, "Encodings". An agent deflates what is larger than 4 KiB while its processor is idle, and sends
every thousandth message as JSON whatever is set, so nothing but the message itself tells how it is written.

    first byte  0x?8 below 0x80, checksum of two bytes -> zlib (RFC 1950, 2.2) -> what is inside, once
                0x80-0x9f, 0xdc-0xdf                   -> msgpack: a map or an array, also the 16 and 32 bit ones
                else                                   -> JSON

A first byte of 0x88 (a msgpack map of eight) also passes zlib's checksum now and then: its window would be 64 KiB,
which RFC 1950 does not have, so it is msgpack.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgpack
import orjson

from bridge.errors import ProtocolError

INFLATED: Final = 8 << 20
"""Bytes a message may become: a batch of 40 000 readings. A zip bomb of a megabyte would be a gigabyte."""
MEMBERS: Final = 50_000
"""Members of one list or object in msgpack, which says how many there are before they come."""

REPLACED: Final = "\ufffd".encode()
"""What Node.js makes of bytes that are no text (recorded/iotistica)."""

_WINDOW: Final = 0x70
_PACKED: Final = frozenset((*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF))


def decode(payload: bytes) -> Any:
    """What a message says. Raises ProtocolError with a sentence: how it is written, and why it cannot be read."""
    if payload[0:1] != b"{" and payload.count(REPLACED, 0, 100) > 2:
        raise ProtocolError(
            "the message is destroyed: the agent has taken its bytes for a text before it sent them, as it does with "
            "what it kept while it was offline; its publishing needs the compression json"
        )
    if is_deflated(payload):
        payload = _inflated(payload)
        how = "deflated "
    else:
        how = ""
    if not payload:
        raise ProtocolError("the message is empty")
    if payload[0] in _PACKED:
        return _unpacked(payload, how)
    try:
        return orjson.loads(payload)
    except ValueError as error:
        raise ProtocolError(f"the message is no {how}JSON, and nothing else we know: {error}") from None


def is_deflated(payload: bytes) -> bool:
    """It begins as zlib does."""
    return (
        len(payload) > 2
        and payload[0] & 0x0F == 8
        and payload[0] & 0xF0 <= _WINDOW
        and (payload[0] << 8 | payload[1]) % 31 == 0
    )


def _inflated(payload: bytes) -> bytes:
    machine = zlib.decompressobj()
    try:
        inflated = machine.decompress(payload, INFLATED)
    except zlib.error as error:
        raise ProtocolError(f"the message begins as zlib does, but is none: {error}") from None
    if machine.unconsumed_tail:
        raise ProtocolError(f"the message would be more than {INFLATED >> 20} MiB when inflated; it is not read")
    if not machine.eof:
        raise ProtocolError("the deflated message is cut off")
    return inflated


def _unpacked(payload: bytes, how: str) -> Any:
    try:
        return msgpack.unpackb(payload, max_array_len=MEMBERS, max_map_len=MEMBERS)
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"the message is no {how}msgpack: {error or type(error).__name__}") from None
