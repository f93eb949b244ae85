"""DataValues as they are sent: pure, and the same bytes asyncua would make (tests/northbound/opcua/test_wire.py).

A tag's value is encoded once, however many ask; what a subscription or a read adds is derived by cutting.

    mask 0x0F | Variant | StatusCode | SourceTimestamp | ServerTimestamp
                          ^ -20        ^ -16             ^ -8

Every value of a tag has all four, and no picoseconds. Source: OPC UA Part 6, 5.2.2.16 and 5.2.2.17.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from bridge.model.value import DataType
from bridge.northbound.opcua import convert

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.model.status import StatusCode
    from bridge.model.value import DataValue

MASK, BAD = 0x0F, 0x80000000
STATUS, SOURCE, SERVER = -20, -16, -8
MAX_MOMENTS = 4096
OVERFLOW = 0x480
"""StatusCode info bits: InfoType DataValue, Overflow (Part 4, 7.39.1)."""

_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_LAST = 2**63 - 1
_STATUS = struct.Struct("<I")
_LENGTH = struct.Struct("<BBi")
_TAIL = struct.Struct("<Iqq")


class _Ticks(dict[datetime, int]):
    """Of moments asked for lately: the values of a batch share theirs, and counting costs more than all the rest."""

    def __missing__(self, moment: datetime) -> int:
        if len(self) >= MAX_MOMENTS:
            self.clear()
        self[moment] = counted = ticks(moment)
        return counted


_TICKS = _Ticks()


def ticks(moment: datetime) -> int:
    """100 ns since 1601, 0 before, the largest number from the end of 9999 on (Part 6, 5.2.2.5)."""
    if moment >= _END:
        return _LAST
    delta: timedelta = moment - _EPOCH
    return max(0, (delta.days * 86_400 + delta.seconds) * 10_000_000 + delta.microseconds * 10)


_kept: tuple[StatusCode | None, datetime | None, datetime | None, bytes] = None, None, None, b""


def _tail(status: StatusCode, source: datetime, server: datetime) -> bytes:
    """Status and times. Those of the last value are kept: values of one batch share theirs."""
    global _kept
    data = _TAIL.pack(status, _TICKS[source], _TICKS[server])
    _kept = status, source, server, data
    return data


def _fixed(data_type: DataType, kind: type, letter: str) -> Callable[[DataValue], bytes]:
    """The encoder of a type of fixed size."""
    pack, head = struct.Struct(f"<2s{letter}20s").pack, bytes((MASK, convert.variant_type(data_type).value))

    def encode(now: DataValue) -> bytes:
        value, status, source, server, _, _ = now
        if type(value) is kind and status < BAD:
            known, moment, received, tail = _kept
            if status is not known or source is not moment or server is not received:
                tail = _tail(status, source, server)
            try:
                return pack(head, value, tail)
            except struct.error:
                pass
        return _as_converted(now, data_type)

    return encode


def _double(now: DataValue) -> bytes:
    value, status, source, server, _, _ = now
    if type(value) is float and status < BAD and isfinite(value):
        known, moment, received, tail = _kept
        if status is not known or source is not moment or server is not received:
            tail = _tail(status, source, server)
        return _PACK_DOUBLE(_DOUBLE, value, tail)
    return _as_converted(now, DataType.Double)


_DOUBLE, _PACK_DOUBLE = bytes((MASK, 11)), struct.Struct("<2sd20s").pack


def _string(now: DataValue) -> bytes:
    value, status, source, server, _, _ = now
    if type(value) is not str or status >= BAD or not value.isascii():
        return _as_converted(now, DataType.String)
    return _LENGTH.pack(MASK, 12, len(value)) + value.encode() + _tail(status, source, server)


def _moment(now: DataValue) -> bytes:
    value, status, source, server, _, _ = now
    if type(value) is not datetime or status >= BAD or value.tzinfo is None:
        return _as_converted(now, DataType.DateTime)
    return _PACK_MOMENT(MASK, 13, ticks(value)) + _tail(status, source, server)


_PACK_MOMENT = struct.Struct("<BBq").pack


def _as_converted(now: DataValue, data_type: DataType) -> bytes:
    """Asyncua's own bytes: of what is Bad, does not fit, or is not ASCII."""
    return struct_to_binary(convert.data_value(now, data_type))


ENCODERS: dict[DataType, Callable[[DataValue], bytes]] = {
    DataType.Boolean: _fixed(DataType.Boolean, bool, "?"),
    DataType.Int32: _fixed(DataType.Int32, int, "i"),
    DataType.UInt32: _fixed(DataType.UInt32, int, "I"),
    DataType.Int64: _fixed(DataType.Int64, int, "q"),
    DataType.Double: _double,
    DataType.String: _string,
    DataType.DateTime: _moment,
}
"""How values of a type are encoded."""


def encoded(value: ua.DataValue) -> bytes:
    """Any DataValue, by asyncua."""
    data: bytes = struct_to_binary(value)
    return data


def stamped(data: bytes, wanted: ua.TimestampsToReturn) -> bytes:
    """The bytes of a tag's value with these times only."""
    if wanted == ua.TimestampsToReturn.Both:
        return data
    if wanted == ua.TimestampsToReturn.Source:
        return bytes((data[0] & ~0x08,)) + data[1:SERVER]
    if wanted == ua.TimestampsToReturn.Server:
        return bytes((data[0] & ~0x04,)) + data[1:SOURCE] + data[SERVER:]
    return bytes((data[0] & ~0x0C,)) + data[1:SOURCE]


def restamped(value: ua.DataValue, wanted: ua.TimestampsToReturn) -> ua.DataValue:
    """As `stamped`, for what asyncua encodes."""
    if wanted == ua.TimestampsToReturn.Both:
        return value
    source = value.SourceTimestamp if wanted == ua.TimestampsToReturn.Source else None
    server = value.ServerTimestamp if wanted == ua.TimestampsToReturn.Server else None
    return ua.DataValue(value.Value, value.StatusCode, source, server)


def overflowed(data: bytes) -> bytes:
    """The bytes of a tag's value with the Overflow bit: values before or after it are lost."""
    (status,) = _STATUS.unpack_from(data, len(data) + STATUS)
    return data[:STATUS] + _STATUS.pack(status | OVERFLOW) + data[SOURCE:]


def number(data: bytes) -> Any:
    """The value of a number in a tag's bytes; None when it has none, being Bad."""
    unpack = _NUMBERS.get(data[1])
    return unpack(data, 2)[0] if unpack else None


_NUMBERS = {
    ua.VariantType[name].value: struct.Struct(f"<{letter}").unpack_from
    for name, letter in (("Int32", "i"), ("UInt32", "I"), ("Int64", "q"), ("Double", "d"))
}
