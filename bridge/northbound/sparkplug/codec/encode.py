"""Metrics and payloads to bytes. Pure.

Made for many small changes: what never changes about a metric is bytes from the start, so that one changed value costs
two concatenations. Tags are a field's number times 8 plus its wire type.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING

from bridge.model.value import to_milliseconds
from bridge.northbound.sparkplug.codec.datatype import MetricType
from bridge.northbound.sparkplug.codec.wire import length_delimited, varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.model.value import Value

U32, U64 = 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF
NULL = b"\x38\x01"
"""is_null = true: there is no value (tck-id-operational-behavior-data-publish-nbirth-values)."""
HISTORICAL = b"\x28\x01"
"""is_historical = true; never written false, which the conformance kit takes for a promise about order."""
_DOUBLE = struct.Struct("<Bd")
_FLOAT = struct.Struct("<Bf")
_TRUE, _FALSE = b"\x70\x01", b"\x70\x00"
_SEQ = tuple(b"\x18" + varint(number) for number in range(256))
_CACHED_BODY = 32
"""Bytes of time and value for which a metric's head is kept: numbers always, texts while they are short."""


@lru_cache(16)
def stamp(milliseconds: int) -> bytes:
    """A time as `MetricEncoder` takes it; the metrics of one payload, and the payloads of one moment, share it."""
    return varint(milliseconds)


def _int(value: Value) -> bytes:
    return NULL if value is None else b"\x50" + varint(int(value) & U32)  # type: ignore[arg-type]


def _long(value: Value) -> bytes:
    return NULL if value is None else b"\x58" + varint(int(value) & U64)  # type: ignore[arg-type]


def _float(value: Value) -> bytes:
    return NULL if is_absent(value) else _FLOAT.pack(0x65, value)


def _double(value: Value) -> bytes:
    if value is None or value - value != 0:  # type: ignore[operator]  # infinite, or not a number
        return NULL
    return _DOUBLE.pack(0x69, value)


def _boolean(value: Value) -> bytes:
    if value is None:
        return NULL
    return _TRUE if value else _FALSE


def _string(value: Value) -> bytes:
    return NULL if value is None else length_delimited(b"\x7a", str(value).encode("utf-8", "replace"))


def _moment(value: Value) -> bytes:
    return NULL if value is None else b"\x58" + varint(to_milliseconds(value) & U64)  # type: ignore[arg-type]


_VALUE: Mapping[MetricType, Callable[[Value], bytes]] = {
    **dict.fromkeys((MetricType.Int8, MetricType.Int16, MetricType.Int32), _int),
    **dict.fromkeys((MetricType.UInt8, MetricType.UInt16, MetricType.UInt32), _int),
    **dict.fromkeys((MetricType.Int64, MetricType.UInt64), _long),
    MetricType.Float: _float,
    MetricType.Double: _double,
    MetricType.Boolean: _boolean,
    **dict.fromkeys((MetricType.String, MetricType.Text, MetricType.UUID), _string),
    MetricType.DateTime: _moment,
}
"""The value field, or NULL, of the types we can send; small integers keep their sign over all 32 bits."""

ENCODED_TYPES = frozenset(_VALUE)
"""What `MetricEncoder` can send; the others are only understood."""


def is_absent(value: Value) -> bool:
    """There is nothing a consumer could use: no value, or a number JSON and historians do not know."""
    return value is None or (type(value) is float and value - value != 0)


class MetricEncoder:
    """One metric's bytes.

    With an alias, births carry name and alias, and everything else the alias alone
    (tck-id-payloads-alias-birth-requirement, -alias-data-cmd-requirement).
    """

    __slots__ = ("_heads", "_is_double", "_key", "_name", "_type", "_value", "alias")

    def __init__(self, name: str, kind: MetricType, alias: int | None = None) -> None:
        self.alias = alias
        self._name = length_delimited(b"\x0a", name.encode())
        self._type = b"\x20" + varint(kind)
        self._value = _VALUE[kind]
        self._is_double = kind is MetricType.Double
        self._take(alias)

    def rename(self, alias: int) -> None:
        """From the next birth on the metric goes by this alias."""
        self._take(alias)

    def birth(self, timestamp: bytes, value: Value, properties: bytes = b"") -> bytes:
        """The metric as a birth has it: name, alias, type, and its properties (see `property_set`)."""
        alias = b"" if self.alias is None else b"\x10" + varint(self.alias)
        held = self._value(value)
        rest = held + properties if held is NULL else properties + held
        return length_delimited(b"\x12", self._name + alias + b"\x18" + timestamp + self._type + rest)

    def encode(
        self,
        timestamp: bytes,
        value: Value,
        properties: bytes = b"",
        with_type: bool = False,
        historical: bool = False,
    ) -> bytes:
        """The metric as a field of any other payload. `timestamp` is a `stamp`; an absent value is null."""
        if self._is_double and value is not None and value - value == 0:  # type: ignore[operator]
            held = _DOUBLE.pack(0x69, value)  # the call of _double is a quarter of what a metric costs
        else:
            held = self._value(value)
        if properties or with_type or historical:
            rest = held + properties if held is NULL else properties + held
            held = (self._type if with_type else b"") + (HISTORICAL if historical else b"") + rest
        body = timestamp + held
        try:
            return self._heads[len(body)] + body
        except KeyError:
            return self._head(len(body)) + body

    def _head(self, size: int) -> bytes:
        """Everything before the time, for so many bytes from there on."""
        head = b"\x12" + varint(len(self._key) + size) + self._key
        if size <= _CACHED_BODY:
            self._heads[size] = head
        return head

    def _take(self, alias: int | None) -> None:
        self.alias = alias
        self._key = (self._name if alias is None else b"\x10" + varint(alias)) + b"\x18"
        self._heads: dict[int, bytes] = {}


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
    """A whole payload from encoded metrics. `seq` None: a death of the node, or a command, which have none."""
    tail = b"" if seq is None else _SEQ[seq]
    return b"\x08" + stamp(timestamp_ms) + b"".join(metrics) + tail
