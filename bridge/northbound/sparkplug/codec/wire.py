"""The Protocol Buffers encoding that Sparkplug payloads use: varint, 32 and 64 bits, length-delimited. Pure.

Source: Protocol Buffers encoding guide; proto2 presence: a field that is there is written, whatever its value.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from bridge.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = range(6)
"""Wire types. Groups are not used by Sparkplug: as unknown fields they are passed over."""

_FIXED = {FIXED64: struct.Struct("<Q"), FIXED32: struct.Struct("<I")}
MAX_GROUPS = 16
"""Groups within groups that are passed over."""
SMALL = tuple(bytes((number,)) for number in range(128))
"""The varints of one byte."""


def varint(number: int) -> bytes:
    """A number of 0 to 2^64 - 1 as a varint."""
    if number < 1 << 7:
        return SMALL[number]
    one, two = number & 127 | 128, number >> 7
    if number < 1 << 14:
        return bytes((one, two))
    if number < 1 << 21:
        return bytes((one, two & 127 | 128, number >> 14))
    if 1 << 35 <= number < 1 << 42:  # milliseconds from 1971 to 2109
        three, four = number >> 14 & 127 | 128, number >> 21 & 127 | 128
        return bytes((one, two & 127 | 128, three, four, number >> 28 & 127 | 128, number >> 35))
    return bytes((one,)) + varint(two)


def length_delimited(tag: bytes, content: bytes) -> bytes:
    """A string, bytes or message field."""
    return tag + varint(len(content)) + content


class Reader:
    """Reads the fields of a message and of those within it; `limit` is how many there may be in all."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def fields(self, data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
        """The fields in order: number, wire type, value. Fixed fields are unsigned integers.

        Raises ProtocolError where the bytes are no message.
        """
        position, end = 0, len(data)
        while position < end:
            self.spend()
            number, wire_type, position = _read_tag(data, position)
            if wire_type == GROUP:
                position = self._after_group(data, position, number)
                continue
            value, position = _read_value(data, position, wire_type)
            yield number, wire_type, value

    def numbers(self, data: bytes) -> Iterator[int]:
        """Packed varints."""
        position = 0
        while position < len(data):
            self.spend()
            number, position = read_varint(data, position)
            yield number

    def _after_group(self, data: bytes, position: int, number: int) -> int:
        open_groups = [number]
        while open_groups:
            self.spend()
            number, wire_type, position = _read_tag(data, position)
            if wire_type == GROUP:
                open_groups.append(number)
                if len(open_groups) > MAX_GROUPS:
                    raise ProtocolError("too many groups within groups")
            elif wire_type != GROUP_END:
                _, position = _read_value(data, position, wire_type)
            elif open_groups.pop() != number:
                raise ProtocolError(f"group {number} ends where another one is open")
        return position

    def spend(self, count: int = 1) -> None:
        """So much more was read. Raises ProtocolError where it is too much."""
        self._left -= count
        if self._left < 0:
            raise ProtocolError("the payload has too many fields")


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


def _read_tag(data: bytes, position: int) -> tuple[int, int, int]:
    tag, position = read_varint(data, position)
    number = tag >> 3
    if not 0 < number < 1 << 29:
        raise ProtocolError(f"field number {number} is not possible")
    return number, tag & 7, position


def _read_value(data: bytes, position: int, wire_type: int) -> tuple[int | bytes, int]:
    if wire_type == VARINT:
        return read_varint(data, position)
    if wire_type == BYTES:
        size, position = read_varint(data, position)
        return _taken(data, position, size)
    if wire_type not in _FIXED:
        raise ProtocolError(f"wire type {wire_type} does not belong here")
    raw, position = _taken(data, position, _FIXED[wire_type].size)
    return _FIXED[wire_type].unpack(raw)[0], position


def _taken(data: bytes, position: int, size: int) -> tuple[bytes, int]:
    if size > len(data) - position:
        raise ProtocolError("the payload ends inside a field")
    return data[position : position + size], position + size
