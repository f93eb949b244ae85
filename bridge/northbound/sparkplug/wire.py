"""The Protocol Buffers encoding that Sparkplug payloads use: varint, 32 and 64 bits, length-delimited. Pure.

Source: Protocol Buffers encoding guide; proto2 presence: a field that is there is written, whatever its value.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from bridge.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types; 3 and 4 (groups) are not used by Sparkplug and not accepted."""

_FIXED = {FIXED64: struct.Struct("<Q"), FIXED32: struct.Struct("<I")}
SMALL = tuple(bytes((number,)) for number in range(128))
"""The varints of one byte."""


def varint(number: int) -> bytes:
    """A number of 0 to 2^64 - 1 as a varint."""
    if number < 128:
        return SMALL[number]
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def length_delimited(tag: bytes, content: bytes) -> bytes:
    """A string, bytes or message field."""
    return tag + varint(len(content)) + content


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """The fields of a message in order: number, wire type, value. Fixed fields are unsigned integers.

    Raises ProtocolError where the bytes are no message.
    """
    position, end = 0, len(data)
    while position < end:
        tag, position = read_varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ProtocolError(f"field number {number} is not possible")
        value: int | bytes
        if wire_type == VARINT:
            value, position = read_varint(data, position)
        elif wire_type == BYTES:
            size, position = read_varint(data, position)
            value, position = _taken(data, position, size)
        elif wire_type in _FIXED:
            raw, position = _taken(data, position, _FIXED[wire_type].size)
            value = _FIXED[wire_type].unpack(raw)[0]
        else:
            raise ProtocolError(f"wire type {wire_type} is not used by Sparkplug")
        yield number, wire_type, value


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The varint at a position, modulo 2^64, and the position after it. Raises ProtocolError."""
    number = shift = 0
    while True:
        if position >= len(data):
            raise ProtocolError("the payload ends inside a number")
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
        if shift > 63:
            raise ProtocolError("a number is longer than ten bytes")


def _taken(data: bytes, position: int, size: int) -> tuple[bytes, int]:
    if size > len(data) - position:
        raise ProtocolError("the payload ends inside a field")
    return data[position : position + size], position + size
