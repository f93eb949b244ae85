"""Sparkplug payloads to and from bytes. Pure; no schema compiler and no Protocol Buffers runtime.

Encoding is made for many small changes: what never changes about a metric (name, type, properties) is bytes from the
start, so that one changed value costs a concatenation.

Source: Sparkplug 3.0, chapter 6 (sparkplug_b.proto). Tags are a field's number times 8 plus its wire type.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING

from bridge.errors import ProtocolError
from bridge.model.value import to_milliseconds
from bridge.northbound.sparkplug import wire
from bridge.northbound.sparkplug.datatype import INTEGER_BITS, SIGNED, MetricType
from bridge.northbound.sparkplug.wire import BYTES, FIXED32, FIXED64, VARINT, length_delimited, varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.model.value import Value

U32, U64 = 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF
NULL = b"\x38\x01"
"""is_null = true: there is no value (tck-id-operational-behavior-data-publish-nbirth-values)."""
_DOUBLE = struct.Struct("<Bd")
_METRIC = tuple(b"\x12" + size for size in wire.SMALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _int(value: Value) -> bytes:
    return b"\x50" + varint(int(value) & U32)  # type: ignore[arg-type]


def _long(value: Value) -> bytes:
    return b"\x58" + varint(int(value) & U64)  # type: ignore[arg-type]


def _double(value: Value) -> bytes:
    return _DOUBLE.pack(0x69, value)


def _boolean(value: Value) -> bytes:
    return b"\x70\x01" if value else b"\x70\x00"


def _string(value: Value) -> bytes:
    return length_delimited(b"\x7a", str(value).encode("utf-8", "replace"))


def _moment(value: Value) -> bytes:
    return b"\x58" + varint(to_milliseconds(value) & U64)  # type: ignore[arg-type]


_VALUE: Mapping[MetricType, Callable[[Value], bytes]] = {
    MetricType.Int32: _int,
    MetricType.Int64: _long,
    MetricType.Double: _double,
    MetricType.Boolean: _boolean,
    MetricType.String: _string,
    MetricType.DateTime: _moment,
}
"""The value field of the types we send; the others are only understood."""


def is_absent(value: Value) -> bool:
    """There is nothing a consumer could use: no value, or a number JSON and historians do not know."""
    return value is None or (isinstance(value, float) and not isfinite(value))


class MetricEncoder:
    """One metric's bytes. `properties` are those of its births, already encoded (see `property_set`)."""

    __slots__ = ("_head", "_type", "_value")

    def __init__(self, name: str, kind: MetricType) -> None:
        self._head = length_delimited(b"\x0a", name.encode()) + b"\x18"
        self._type = b"\x20" + varint(kind)
        self._value = _VALUE[kind]

    def encode(self, timestamp: bytes, value: Value, properties: bytes = b"", with_type: bool = False) -> bytes:
        """The metric as a field of a payload. `timestamp` is a varint of milliseconds; an absent value is null."""
        body = self._head + timestamp
        if with_type:
            body += self._type
        body += NULL + properties if is_absent(value) else properties + self._value(value)
        size = len(body)
        return (_METRIC[size] if size < 128 else b"\x12" + varint(size)) + body


def property_set(properties: Mapping[str, tuple[MetricType, Value]]) -> bytes:
    """A metric's properties as a field: keys and values in parallel (tck-id-payloads-propertyset-keys-array-size)."""
    keys = b"".join(length_delimited(b"\x0a", key.encode()) for key in properties)
    values = b"".join(length_delimited(b"\x12", _property(kind, value)) for kind, value in properties.values())
    return length_delimited(b"\x4a", keys + values) if properties else b""


def _property(kind: MetricType, value: Value) -> bytes:
    head = b"\x08" + varint(kind)
    if kind is MetricType.Int32:
        return head + b"\x18" + varint(int(value) & U32)  # type: ignore[arg-type]
    if kind is MetricType.Double:
        return head + _DOUBLE.pack(0x31, value)
    if kind is MetricType.Boolean:
        return head + (b"\x38\x01" if value else b"\x38\x00")
    if kind is MetricType.String:
        return head + length_delimited(b"\x42", str(value).encode("utf-8", "replace"))
    raise ValueError(f"no property is sent as {kind.name}")


def payload(timestamp_ms: int, metrics: Iterable[bytes], seq: int | None) -> bytes:
    """A whole payload from encoded metrics. `seq` None: a death of the node, which has none."""
    head = b"\x08" + varint(timestamp_ms)
    tail = b"" if seq is None else b"\x18" + varint(seq)
    return b"".join((head, *metrics, tail))


@dataclass(frozen=True, slots=True)
class Property:
    """A received property."""

    type: int | None = None
    value: Value | bytes = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A received metric.

    `value_field` is the number of the value's field (10 int … 19 extension), None where there is no value.
    DataSet, Template and extension values stay bytes.
    """

    name: str | None = None
    alias: int | None = None
    timestamp: int | None = None
    datatype: int | None = None
    is_historical: bool = False
    is_transient: bool = False
    is_null: bool = False
    value_field: int | None = None
    value: bool | int | float | str | bytes | None = None
    properties: Mapping[str, Property] = field(default_factory=dict)

    def resolve(self, born_as: MetricType | None = None) -> Value:
        """The value in the type the message names, else the one it was born with.

        Lenient where encoders differ: integers of 8 to 32 bits may come in either integer field, masked or with their
        sign extended. Raises ProtocolError where type and value do not fit.
        """
        if self.is_null or self.value_field is None:
            return None
        kind = born_as if self.datatype is None else _known(self.datatype)
        if kind is None:
            raise ProtocolError(f"metric {self.name!r} has no data type")
        if kind in INTEGER_BITS:
            return self._integer(kind)
        if kind is MetricType.DateTime:
            return self._datetime()
        if kind not in _FIELDS or self.value_field not in _FIELDS[kind] or isinstance(self.value, bytes):
            raise ProtocolError(f"metric {self.name!r}: field {self.value_field} holds no {kind.name}")
        return self.value

    def _integer(self, kind: MetricType) -> int:
        if self.value_field not in (10, 11) or not isinstance(self.value, int):
            raise ProtocolError(f"metric {self.name!r}: field {self.value_field} holds no {kind.name}")
        bits = INTEGER_BITS[kind]
        number = self.value & (1 << bits) - 1
        if kind in SIGNED and number >> bits - 1:
            number -= 1 << bits
        if self.value not in (number & (1 << bits) - 1, number & U32, number & U64):
            raise ProtocolError(f"metric {self.name!r}: {self.value} is no {kind.name}")
        return number

    def _datetime(self) -> datetime:
        if self.value_field != 11 or not isinstance(self.value, int):
            raise ProtocolError(f"metric {self.name!r}: field {self.value_field} holds no DateTime")
        number = self.value - (1 << 64) if self.value >> 63 else self.value
        try:
            return _EPOCH + timedelta(milliseconds=number)
        except OverflowError:
            raise ProtocolError(f"metric {self.name!r}: {number} ms is no time") from None


_FIELDS: Mapping[MetricType, tuple[int, ...]] = {
    MetricType.Float: (12, 13),
    MetricType.Double: (12, 13),
    MetricType.Boolean: (14,),
    MetricType.String: (15,),
    MetricType.Text: (15,),
    MetricType.UUID: (15,),
}


@dataclass(frozen=True, slots=True)
class Payload:
    """A received payload."""

    timestamp: int | None = None
    metrics: tuple[Metric, ...] = ()
    seq: int | None = None
    uuid: str | None = None
    body: bytes | None = None

    def metric(self, name: str) -> Metric | None:
        """The first metric of this name."""
        return next((metric for metric in self.metrics if metric.name == name), None)


def decode(data: bytes) -> Payload:
    """What a payload says; unknown fields are passed over. Raises ProtocolError, and nothing else."""
    timestamp = seq = uuid = body = None
    metrics: list[Metric] = []
    for number, kind, value in wire.fields(data):
        if (number, kind) == (2, BYTES):
            metrics.append(_metric(_bytes(value)))
        elif (number, kind) == (1, VARINT):
            timestamp = _number(value)
        elif (number, kind) == (3, VARINT):
            seq = _number(value)
        elif (number, kind) == (4, BYTES):
            uuid = _text(value)
        elif (number, kind) == (5, BYTES):
            body = _bytes(value)
    return Payload(timestamp, tuple(metrics), seq, uuid, body)


_PLAIN: Mapping[tuple[int, int], str] = {
    (2, VARINT): "alias",
    (3, VARINT): "timestamp",
    (4, VARINT): "datatype",
    (5, VARINT): "is_historical",
    (6, VARINT): "is_transient",
    (7, VARINT): "is_null",
}
_VALUE_WIRE = {10: VARINT, 11: VARINT, 12: FIXED32, 13: FIXED64, 14: VARINT, **dict.fromkeys(range(15, 20), BYTES)}


def _metric(data: bytes) -> Metric:
    found: dict[str, object] = {}
    for number, kind, value in wire.fields(data):
        plain = _PLAIN.get((number, kind))
        if plain is not None:
            found[plain] = bool(value) if plain.startswith("is_") else value
        elif (number, kind) == (1, BYTES):
            found["name"] = _text(value)
        elif (number, kind) == (9, BYTES):
            found["properties"] = _properties(_bytes(value))
        elif _VALUE_WIRE.get(number) == kind:
            found["value_field"] = number
            found["value"] = _received(number - 10, value)
    return Metric(**found)  # type: ignore[arg-type]  # each key was given its type above


def _properties(data: bytes) -> dict[str, Property]:
    keys: list[str] = []
    values: list[Property] = []
    for number, kind, value in wire.fields(data):
        if (number, kind) == (1, BYTES):
            keys.append(_text(value))
        elif (number, kind) == (2, BYTES):
            values.append(_received_property(_bytes(value)))
    if len(keys) != len(values):
        raise ProtocolError(f"{len(keys)} property keys for {len(values)} values")
    return dict(zip(keys, values, strict=True))


def _received_property(data: bytes) -> Property:
    kind: int | None = None
    held: Value | bytes = None
    for number, wire_type, value in wire.fields(data):
        if (number, wire_type) == (1, VARINT):
            kind = _number(value)
        elif 3 <= number <= 8 and _VALUE_WIRE[number + 7] == wire_type:
            held = _received(number - 3, value)
    return Property(kind, held)


def _received(position: int, value: int | bytes) -> bool | int | float | str | bytes:
    """A value field by its place in the oneof: int, long, float, double, boolean, string, then bytes."""
    if position == 0:
        return _number(value) & U32
    if position == 2:
        return float(struct.unpack("<f", struct.pack("<I", value))[0])
    if position == 3:
        return float(struct.unpack("<d", struct.pack("<Q", value))[0])
    if position == 4:
        return bool(value)
    return _text(value) if position == 5 else value


def _known(number: int) -> MetricType:
    try:
        return MetricType(number)
    except ValueError:
        raise ProtocolError(f"data type {number} is not understood") from None


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ProtocolError("bytes where a number belongs")
    return value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ProtocolError("a number where bytes belong")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a string is not UTF-8: {error.reason}") from None
