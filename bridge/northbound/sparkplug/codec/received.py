"""What a payload says, once decoded, and its values in the type that was meant. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bridge.errors import ProtocolError
from bridge.northbound.sparkplug.codec.array import ARRAY_TYPES, decode_array
from bridge.northbound.sparkplug.codec.datatype import INTEGER_BITS, SIGNED, MetricType
from bridge.northbound.sparkplug.codec.moment import from_milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.model.value import Value

INT, LONG, FLOAT, DOUBLE, BOOLEAN, STRING, RAW, DATASET, TEMPLATE, EXTENSION = range(10, 20)
"""The numbers of a metric's value fields; properties, parameters and data set elements are renumbered to these."""
PROPERTIES = 20
"""Property sets, which only properties hold."""

U32, U64 = 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF
_FIELDS: Mapping[MetricType, tuple[int, ...]] = {
    MetricType.Float: (FLOAT, DOUBLE),
    MetricType.Double: (FLOAT, DOUBLE),
    MetricType.Boolean: (BOOLEAN,),
    MetricType.String: (STRING,),
    MetricType.Text: (STRING,),
    MetricType.UUID: (STRING,),
}
"""Which value fields may hold a scalar that needs no conversion."""
_TRUTHS = (INT, LONG, BOOLEAN)
_COMPLEX = {
    MetricType.Bytes: RAW,
    MetricType.File: RAW,
    MetricType.DataSet: DATASET,
    MetricType.Template: TEMPLATE,
}


class Held(NamedTuple):
    """A value field: its number (10 int … 19 extension) and what is in it, integers without sign."""

    field: int
    value: Raw

    def resolve(self, kind: MetricType) -> Value | Complex:
        """The value in this type. Raises ProtocolError where they do not fit."""
        if kind in ARRAY_TYPES and self.field == RAW and isinstance(self.value, bytes):
            return decode_array(kind, self.value)
        if self.field == _COMPLEX.get(kind):
            return self.value
        return self.scalar(kind)

    def scalar(self, kind: MetricType) -> Value:
        """The value in this type. Raises ProtocolError where they do not fit, and for types that are no scalars.

        Lenient where encoders differ: integers may come in either integer field, masked or with their sign extended.
        """
        if kind in INTEGER_BITS:
            return self._integer(kind)
        if kind is MetricType.DateTime:
            number = self._number(kind)
            return from_milliseconds(number - (1 << 64) if number >> 63 else number)
        if self.field not in _FIELDS.get(kind, ()) or not isinstance(self.value, bool | float | str):
            raise ProtocolError(f"field {self.field} holds no {kind.name}")
        return self.value

    def _number(self, kind: MetricType) -> int:
        if self.field not in (INT, LONG) or not isinstance(self.value, int):
            raise ProtocolError(f"field {self.field} holds no {kind.name}")
        return self.value

    def _integer(self, kind: MetricType) -> int:
        raw, bits = self._number(kind), INTEGER_BITS[kind]
        mask = (1 << bits) - 1
        number = raw & mask
        if kind in SIGNED and number >> bits - 1:
            number -= 1 << bits
        if raw not in (number & mask, number & U32, number & U64):
            raise ProtocolError(f"{raw} is no {kind.name}")
        return number


@dataclass(frozen=True, slots=True)
class Property:
    """A property. `value` of types 20 and 21 is a mapping of properties, or several."""

    type: int | None = None
    value: Raw | Mapping[str, Property] | tuple[Mapping[str, Property], ...] | None = None
    is_null: bool = False


@dataclass(frozen=True, slots=True)
class MetaData:
    """What a metric tells about a file or a part of one."""

    is_multi_part: bool = False
    content_type: str | None = None
    size: int | None = None
    seq: int | None = None
    file_name: str | None = None
    file_type: str | None = None
    md5: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class DataSet:
    """A table; an element that is None has no value."""

    num_of_columns: int | None = None
    columns: tuple[str, ...] = ()
    types: tuple[int, ...] = ()
    rows: tuple[tuple[Held | None, ...], ...] = ()

    def table(self) -> tuple[tuple[Value | Complex, ...], ...]:
        """The rows in the types of their columns. Raises ProtocolError where the numbers of columns differ.

        tck-id-payloads-dataset-column-size, -column-num-headers, -types-num.
        """
        width = self.num_of_columns
        if not width == len(self.columns) == len(self.types) or any(len(row) != width for row in self.rows):
            raise ProtocolError(f"a data set of {width} columns has {len(self.columns)} names, {len(self.types)} types")
        kinds = [_known(number) for number in self.types]
        return tuple(
            tuple(None if held is None else held.resolve(kind) for held, kind in zip(row, kinds, strict=True))
            for row in self.rows
        )


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a template."""

    name: str | None = None
    type: int | None = None
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A template's definition, or an instance of one."""

    version: str | None = None
    metrics: tuple[Metric, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    template_ref: str | None = None
    is_definition: bool | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A received metric. `value_field` is the number of the value's field, None where there is no value."""

    name: str | None = None
    alias: int | None = None
    timestamp: int | None = None
    datatype: int | None = None
    is_historical: bool = False
    is_transient: bool = False
    is_null: bool = False
    metadata: MetaData | None = None
    properties: Mapping[str, Property] = field(default_factory=dict)
    value_field: int | None = None
    value: Raw | None = None

    @property
    def truth(self) -> bool | None:
        """True or false, also as 1 or 0 of a host that knows no Booleans; None where it is neither, or of the past."""
        is_said = not self.is_null and not self.is_historical
        return bool(self.value) if is_said and self.value in (0, 1) and self.value_field in _TRUTHS else None

    def resolve(self, born_as: MetricType | None = None) -> Value | Complex:
        """The value in the type the message names, else the one it was born with; None for null.

        Raises ProtocolError where type and value do not fit.
        """
        if self.is_null or self.value_field is None or self.value is None:
            return None
        kind = _known(self.datatype) if self.datatype else born_as
        if kind is None:
            raise ProtocolError(f"metric {self.name!r} has no data type")
        try:
            return Held(self.value_field, self.value).resolve(kind)
        except ProtocolError as error:
            raise ProtocolError(f"metric {self.name!r}: {error}") from None


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


Complex = bytes | tuple["Value", ...] | DataSet | Template
"""Values that are no scalars."""
Raw = bool | int | float | str | bytes | DataSet | Template
"""What a value field may hold."""


def _known(number: int) -> MetricType:
    try:
        return MetricType(number)
    except ValueError:
        raise ProtocolError(f"data type {number} is not understood") from None
