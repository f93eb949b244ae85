"""Array data types: packed little-endian into bytes_value. Pure.

Source: Sparkplug 3.0, 6.4.16; byte examples of its errata (branch 3.x).
"""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING

from bridge.errors import ProtocolError
from bridge.northbound.sparkplug.codec.datatype import MetricType
from bridge.northbound.sparkplug.codec.moment import from_milliseconds

if TYPE_CHECKING:
    from bridge.model.value import Value

_ELEMENTS = {
    MetricType.Int8Array: "b",
    MetricType.Int16Array: "h",
    MetricType.Int32Array: "i",
    MetricType.Int64Array: "q",
    MetricType.UInt8Array: "B",
    MetricType.UInt16Array: "H",
    MetricType.UInt32Array: "I",
    MetricType.UInt64Array: "Q",
    MetricType.FloatArray: "f",
    MetricType.DoubleArray: "d",
    MetricType.DateTimeArray: "q",
}
ARRAY_TYPES = frozenset({*_ELEMENTS, MetricType.BooleanArray, MetricType.StringArray})
_COUNT = struct.Struct("<I")
_BITS = tuple(tuple(bool(byte & 128 >> at) for at in range(8)) for byte in range(256))


def decode_array(kind: MetricType, data: bytes) -> tuple[Value, ...]:
    """The elements. Raises ProtocolError where the bytes are no such array."""
    if kind is MetricType.BooleanArray:
        return _booleans(data)
    if kind is MetricType.StringArray:
        return _strings(data)
    element = _ELEMENTS[kind]
    size = struct.calcsize(f"<{element}")
    if len(data) % size:
        raise ProtocolError(f"{len(data)} bytes are no {kind.name}: each element has {size}")
    numbers = struct.unpack(f"<{len(data) // size}{element}", data)
    return tuple(map(from_milliseconds, numbers)) if kind is MetricType.DateTimeArray else numbers


def _booleans(data: bytes) -> tuple[Value, ...]:
    """A count, then bits, the first in the highest."""
    if len(data) < _COUNT.size:
        raise ProtocolError("a BooleanArray begins with its count of four bytes")
    count, bits = _COUNT.unpack_from(data)[0], data[_COUNT.size :]
    if count > 8 * len(bits):
        raise ProtocolError(f"a BooleanArray of {count} has {len(bits)} bytes of bits")
    return tuple(chain.from_iterable(map(_BITS.__getitem__, bits)))[:count]


def _strings(data: bytes) -> tuple[Value, ...]:
    if data and data[-1]:
        raise ProtocolError("the last text of a StringArray does not end")
    try:
        return tuple(one.decode() for one in data.split(b"\0")[:-1])
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a text of a StringArray is not UTF-8: {error.reason}") from None
