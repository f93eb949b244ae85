"""Bytes to what they say. Pure.

Every message of the schema is read, templates within templates too, and whatever is not in it is passed over: unknown
fields, extensions, groups. Bounds keep bytes that mean harm from costing more than a moment: their size, the fields of
all messages together, and the depth of messages within messages.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from bridge.errors import ProtocolError
from bridge.northbound.sparkplug.codec.received import (
    BOOLEAN,
    DATASET,
    DOUBLE,
    EXTENSION,
    FLOAT,
    INT,
    LONG,
    PROPERTIES,
    RAW,
    STRING,
    TEMPLATE,
    DataSet,
    Held,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Property,
    Template,
)
from bridge.northbound.sparkplug.codec.wire import BYTES, FIXED32, FIXED64, VARINT, Reader

MAX_BYTES = 256 * 1024
"""Size of a payload; the brokers of clouds take 128 to 256 KiB."""
MAX_FIELDS = 10_000
"""Fields in a payload, those of nested messages and packed numbers included; a message counts for three more.

1000 commands have some 9000; to read so many keeps the event loop for less than 50 ms.
"""
_MESSAGE = 3
MAX_DEPTH = 32
"""Messages within messages; a template within a template is two more."""

U32 = 0xFFFF_FFFF


def decode(data: bytes) -> Payload:
    """What a payload says. Raises ProtocolError, and nothing else."""
    if len(data) > MAX_BYTES:
        raise ProtocolError(f"a payload of {len(data)} bytes is too large: at most {MAX_BYTES} are read")
    return Payload(**_Decoder().read(data, _PAYLOAD))


class _Decoder:
    """Reads one payload, within its bounds."""

    def __init__(self) -> None:
        self.reader = Reader(MAX_FIELDS)
        self._depth = 0

    def read(self, data: bytes, schema: _Schema) -> dict[str, Any]:
        """A message's known fields by name; of a field that came twice the last counts, as in Protocol Buffers."""
        self.reader.spend(_MESSAGE)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ProtocolError(f"more than {MAX_DEPTH} messages within messages")
        found: dict[str, Any] = {}
        repeated: dict[str, list[Any]] = {}
        for number, wire_type, value in self.reader.fields(data):
            known = schema.get((number, wire_type))
            if known is None:
                continue
            name, convert, is_repeated = known
            if is_repeated:
                repeated.setdefault(name, []).extend(convert(self, value))
            else:
                found[name] = convert(self, value)
        self._depth -= 1
        for name, values in repeated.items():
            found[name] = tuple(values)
        return found


class _Field(NamedTuple):
    """What becomes of a field; `convert` of a repeated one gives all that it holds."""

    name: str
    convert: Callable[[_Decoder, Any], Any]
    is_repeated: bool = False


def _text(decoder: _Decoder, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a string is not UTF-8: {error.reason}") from None


def _as_it_is(decoder: _Decoder, value: int | bytes) -> int | bytes:
    return value


def _u32(decoder: _Decoder, value: int) -> int:
    return value & U32


def _bool(decoder: _Decoder, value: int) -> bool:
    return bool(value)


def _float(decoder: _Decoder, value: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", value))[0])


def _double(decoder: _Decoder, value: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", value))[0])


def _texts(decoder: _Decoder, value: bytes) -> tuple[str]:
    return (_text(decoder, value),)


def _metrics(decoder: _Decoder, value: bytes) -> tuple[Metric]:
    found = decoder.read(value, _METRIC)
    held = found.pop("held", None)
    return (Metric(**found) if held is None else Metric(value_field=held.field, value=held.value, **found),)


def _metadata(decoder: _Decoder, value: bytes) -> MetaData:
    return MetaData(**decoder.read(value, _METADATA))


def _properties(decoder: _Decoder, value: bytes) -> dict[str, Property]:
    found = decoder.read(value, _PROPERTY_SET)
    keys, values = found.get("keys", ()), found.get("values", ())
    if len(keys) != len(values):
        raise ProtocolError(f"{len(keys)} property keys for {len(values)} values")
    return dict(zip(keys, values, strict=True))


def _property_sets(decoder: _Decoder, value: bytes) -> tuple[dict[str, Property]]:
    return (_properties(decoder, value),)


def _property_set_list(decoder: _Decoder, value: bytes) -> tuple[dict[str, Property], ...]:
    return tuple(decoder.read(value, _PROPERTY_SET_LIST).get("sets", ()))


def _property_values(decoder: _Decoder, value: bytes) -> tuple[Property]:
    found = decoder.read(value, _PROPERTY_VALUE)
    held = found.pop("held", None)
    return (Property(**found) if held is None else Property(value=held.value, **found),)


def _data_set(decoder: _Decoder, value: bytes) -> DataSet:
    return DataSet(**decoder.read(value, _DATA_SET))


def _packed(decoder: _Decoder, value: bytes) -> tuple[int, ...]:
    return tuple(number & U32 for number in decoder.reader.numbers(value))


def _unpacked(decoder: _Decoder, value: int) -> tuple[int]:
    return (value & U32,)


def _rows(decoder: _Decoder, value: bytes) -> tuple[tuple[Held | None, ...]]:
    return (decoder.read(value, _ROW).get("elements", ()),)


def _elements(decoder: _Decoder, value: bytes) -> tuple[Held | None]:
    return (decoder.read(value, _ELEMENT).get("held"),)


def _template(decoder: _Decoder, value: bytes) -> Template:
    return Template(**decoder.read(value, _TEMPLATE))


def _parameters(decoder: _Decoder, value: bytes) -> tuple[Parameter]:
    return (Parameter(**decoder.read(value, _PARAMETER)),)


def _values(first: int, *others: tuple[int, Callable[[_Decoder, Any], Any]]) -> _Schema:
    """The oneof `value` of a message, its plain fields beginning at number `first`; they become `Held`."""
    fields: list[_Value] = [*_PLAIN, *((number, BYTES, convert) for number, convert in others)]
    return {
        (first + place, wire_type): _Field("held", partial(_held, number, convert))
        for place, (number, wire_type, convert) in enumerate(fields)
    }


def _held(number: int, convert: Callable[[_Decoder, Any], Any], decoder: _Decoder, value: int | bytes) -> Held:
    return Held(number, convert(decoder, value))


_Value = tuple[int, int, Callable[[_Decoder, Any], Any]]
_PLAIN: tuple[_Value, ...] = (
    (INT, VARINT, _u32),
    (LONG, VARINT, _as_it_is),
    (FLOAT, FIXED32, _float),
    (DOUBLE, FIXED64, _double),
    (BOOLEAN, VARINT, _bool),
    (STRING, BYTES, _text),
)
_Schema = dict[tuple[int, int], _Field]

_ELEMENT = _values(1, (EXTENSION, _as_it_is))
_ROW: _Schema = {(1, BYTES): _Field("elements", _elements, True)}
_DATA_SET: _Schema = {
    (1, VARINT): _Field("num_of_columns", _as_it_is),
    (2, BYTES): _Field("columns", _texts, True),
    (3, VARINT): _Field("types", _unpacked, True),
    (3, BYTES): _Field("types", _packed, True),
    (4, BYTES): _Field("rows", _rows, True),
}
_PROPERTY_VALUE: _Schema = {
    (1, VARINT): _Field("type", _u32),
    (2, VARINT): _Field("is_null", _bool),
    **_values(3, (PROPERTIES, _properties), (PROPERTIES, _property_set_list), (EXTENSION, _as_it_is)),
}
_PROPERTY_SET: _Schema = {
    (1, BYTES): _Field("keys", _texts, True),
    (2, BYTES): _Field("values", _property_values, True),
}
_PROPERTY_SET_LIST: _Schema = {(1, BYTES): _Field("sets", _property_sets, True)}
_METADATA: _Schema = {
    (1, VARINT): _Field("is_multi_part", _bool),
    (2, BYTES): _Field("content_type", _text),
    (3, VARINT): _Field("size", _as_it_is),
    (4, VARINT): _Field("seq", _as_it_is),
    (5, BYTES): _Field("file_name", _text),
    (6, BYTES): _Field("file_type", _text),
    (7, BYTES): _Field("md5", _text),
    (8, BYTES): _Field("description", _text),
}
_PARAMETER: _Schema = {
    (1, BYTES): _Field("name", _text),
    (2, VARINT): _Field("type", _u32),
    **_values(3, (EXTENSION, _as_it_is)),
}
_TEMPLATE: _Schema = {
    (1, BYTES): _Field("version", _text),
    (2, BYTES): _Field("metrics", _metrics, True),
    (3, BYTES): _Field("parameters", _parameters, True),
    (4, BYTES): _Field("template_ref", _text),
    (5, VARINT): _Field("is_definition", _bool),
}
_METRIC: _Schema = {
    (1, BYTES): _Field("name", _text),
    (2, VARINT): _Field("alias", _as_it_is),
    (3, VARINT): _Field("timestamp", _as_it_is),
    (4, VARINT): _Field("datatype", _u32),
    (5, VARINT): _Field("is_historical", _bool),
    (6, VARINT): _Field("is_transient", _bool),
    (7, VARINT): _Field("is_null", _bool),
    (8, BYTES): _Field("metadata", _metadata),
    (9, BYTES): _Field("properties", _properties),
    **_values(10, (RAW, _as_it_is), (DATASET, _data_set), (TEMPLATE, _template), (EXTENSION, _as_it_is)),
}
_PAYLOAD: _Schema = {
    (1, VARINT): _Field("timestamp", _as_it_is),
    (2, BYTES): _Field("metrics", _metrics, True),
    (3, VARINT): _Field("seq", _as_it_is),
    (4, BYTES): _Field("uuid", _text),
    (5, BYTES): _Field("body", _as_it_is),
}
