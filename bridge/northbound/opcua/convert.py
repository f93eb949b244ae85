"""From our nouns to OPC UA's: pure, total, no await.

Whatever a DataValue holds, what comes out can be encoded: a value that does not fit its type becomes a status, because
one value that cannot be encoded would end the subscription of everybody who looks at it.
Source: OPC UA Part 4, 7.11 (DataValue); Part 6, 5.1.2 (built-in types); Part 8, 5.6.3 and 5.6.4 (Range, EUInformation).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asyncua import ua

from bridge.model.command import UNSET_TIMES
from bridge.model.status import StatusCode
from bridge.model.value import INTEGER_LIMITS, DataType, DataValue, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.model.tag import Range
    from bridge.model.units import EngineeringUnits

VARIANT_TYPES: dict[DataType, ua.VariantType] = {
    DataType.Boolean: ua.VariantType.Boolean,
    DataType.Int32: ua.VariantType.Int32,
    DataType.UInt32: ua.VariantType.UInt32,
    DataType.Int64: ua.VariantType.Int64,
    DataType.Double: ua.VariantType.Double,
    DataType.String: ua.VariantType.String,
    DataType.DateTime: ua.VariantType.DateTime,
}

UNITS_NAMESPACE = "http://www.opcfoundation.org/UA/units/un/cefact"
LOCALE = "en"

_NULL = ua.Variant(None, ua.VariantType.Null)
_STATUS = {code: ua.StatusCode(int(code)) for code in StatusCode}


def variant_type(data_type: DataType) -> ua.VariantType:
    """The built-in type of a tag's values."""
    return VARIANT_TYPES[data_type]


def data_type_id(data_type: DataType) -> ua.NodeId:
    """The NodeId of the data type."""
    return ua.NodeId(VARIANT_TYPES[data_type].value)


def status_code(status: StatusCode) -> ua.StatusCode:
    """OPC UA's own form of our status; one shared object per code."""
    return _STATUS[status]


def data_value(value: DataValue, data_type: DataType) -> ua.DataValue:
    """A DataValue as OPC UA sends it: Bad has a null value, Uncertain keeps its own."""
    payload, status = _NULL, value.status
    if not status.is_bad:
        fitting = fit(value.value, data_type)
        if isinstance(fitting, StatusCode):
            status = fitting
        else:
            payload = ua.Variant(fitting, VARIANT_TYPES[data_type])
    return ua.DataValue(payload, _STATUS[status], value.source_timestamp, value.server_timestamp)


def fit(value: Value, data_type: DataType) -> Value | StatusCode:
    """`value` as this type takes it, or the Bad status that says why it does not."""
    if value is None:
        return StatusCode.BadNoData
    return _FIT[data_type](value, data_type)


def _fit_boolean(value: Value, _: DataType) -> Value | StatusCode:
    return value if isinstance(value, bool) else StatusCode.BadTypeMismatch


def _fit_double(value: Value, _: DataType) -> Value | StatusCode:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return StatusCode.BadTypeMismatch
    try:
        number = float(value)
    except OverflowError:
        return StatusCode.BadOutOfRange
    return number if math.isfinite(number) else StatusCode.BadOutOfRange


def _fit_integer(value: Value, data_type: DataType) -> Value | StatusCode:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return StatusCode.BadTypeMismatch
    low, high = INTEGER_LIMITS[data_type]
    return value if low <= value <= high else StatusCode.BadOutOfRange


def _fit_string(value: Value, _: DataType) -> Value | StatusCode:
    return text(value) if isinstance(value, str) else StatusCode.BadTypeMismatch


def _fit_moment(value: Value, _: DataType) -> Value | StatusCode:
    if not isinstance(value, datetime):
        return StatusCode.BadTypeMismatch
    return value if value.tzinfo else value.replace(tzinfo=UTC)


_FIT = {
    DataType.Boolean: _fit_boolean,
    DataType.Int32: _fit_integer,
    DataType.UInt32: _fit_integer,
    DataType.Int64: _fit_integer,
    DataType.Double: _fit_double,
    DataType.String: _fit_string,
    DataType.DateTime: _fit_moment,
}


def text(value: str) -> str:
    """`value` without what UTF-8 cannot carry (lone surrogates)."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def from_data_value(value: ua.DataValue, now: datetime) -> DataValue:
    """Our form of what OPC UA holds; a code we do not name becomes the nearest of its severity."""
    status = _status(value.StatusCode)
    payload = None if status.is_bad or value.Value is None else value.Value.Value
    source = _aware(value.SourceTimestamp) or now
    return DataValue(payload, status, source, _aware(value.ServerTimestamp) or source)


def _status(status: ua.StatusCode | None) -> StatusCode:
    number = status.value & 0xFFFF0000 if status else 0
    try:
        return StatusCode(number)
    except ValueError:
        pass
    if number < 0x40000000:
        return StatusCode.Good
    return StatusCode.UncertainSubNormal if number < 0x80000000 else StatusCode.BadNoData


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


_SCALARS = frozenset(
    ua.VariantType[name]
    for name in (
        *("Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double"),
        *("String", "DateTime"),
    )
)


def from_variant(variant: ua.Variant | None, now: datetime, *, trim: bool) -> Value | StatusCode:
    """What a client wants to be written, as it came; or the status that refuses it.

    `trim`: a PLC's STRING comes filled up with NULs or blanks. A DateTime of zero means `now`.
    """
    if variant is None or variant.is_array or variant.VariantType not in _SCALARS:
        return StatusCode.BadTypeMismatch
    value = variant.Value
    if variant.VariantType is ua.VariantType.String:
        return _written_text(value or "", trim=trim)
    if variant.VariantType is ua.VariantType.DateTime:
        return _written_moment(value, now)
    return value if isinstance(value, bool | int | float) else StatusCode.BadTypeMismatch


def _written_text(value: str, *, trim: bool) -> Value | StatusCode:
    if text(value) != value:
        return StatusCode.BadInvalidArgument
    return value.rstrip("\0 ") if trim else value


def _written_moment(value: datetime | None, now: datetime) -> Value | StatusCode:
    moment = _aware(value)
    if moment is None or moment in UNSET_TIMES:
        return now
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def localized(words: str) -> ua.LocalizedText:
    """English text."""
    return ua.LocalizedText(text(words), LOCALE)


def eu_range(limits: Range) -> ua.Range:
    """EURange."""
    return ua.Range(Low=float(limits.low), High=float(limits.high))


def eu_information(unit: EngineeringUnits) -> ua.EUInformation:
    """EngineeringUnits, by the UNECE code."""
    return ua.EUInformation(
        NamespaceUri=UNITS_NAMESPACE,
        UnitId=unit.unit_id,
        DisplayName=localized(unit.symbol),
        Description=localized(unit.name),
    )


def is_dense(enumeration: Mapping[str, int]) -> bool:
    """The numbers are 0, 1, 2 … without a gap, so that EnumStrings can be indexed by them."""
    return sorted(enumeration.values()) == list(range(len(enumeration)))


def enum_strings(enumeration: Mapping[str, int]) -> list[ua.LocalizedText]:
    """EnumStrings of a dense enumeration."""
    return [localized(name) for name, _ in sorted(enumeration.items(), key=lambda item: item[1])]


def enum_values(enumeration: Mapping[str, int]) -> list[ua.EnumValueType]:
    """EnumValues of an enumeration with gaps."""
    return [
        ua.EnumValueType(Value=number, DisplayName=localized(name), Description=ua.LocalizedText())
        for name, number in sorted(enumeration.items(), key=lambda item: item[1])
    ]


def mirrored(value: DataValue, kind: ua.VariantType, words: Mapping[int, Any]) -> ua.DataValue:
    """An enumeration's value as something else (its text, its state's NodeId)."""
    if not value.status.is_bad and isinstance(value.value, int):
        word = words.get(value.value)
        if word is not None:
            return _with(ua.Variant(word, kind), value.status, value)
        return _with(_NULL, StatusCode.BadOutOfRange, value)
    return _with(_NULL, value.status if value.status.is_bad else StatusCode.BadTypeMismatch, value)


def number(value: DataValue) -> ua.DataValue:
    """An enumeration's number."""
    return data_value(value, DataType.UInt32)


def _with(payload: ua.Variant, status: StatusCode, like: DataValue) -> ua.DataValue:
    return ua.DataValue(payload, _STATUS[status], like.source_timestamp, like.server_timestamp)


def from_text(words: str | None, data_type: ua.NodeId) -> ua.DataValue:
    """A configured text as a property of this data type; what does not fit it has no value."""
    kind = ua.VariantType(data_type.Identifier) if data_type.NamespaceIndex == 0 else ua.VariantType.String
    try:
        payload = _FROM_TEXT.get(kind, text)(words) if words is not None else None
    except ValueError:
        payload = None
    if payload is None:
        return ua.DataValue(_NULL, _STATUS[StatusCode.BadNoData])
    return ua.DataValue(ua.Variant(payload, kind if kind in _FROM_TEXT else ua.VariantType.String))


_FROM_TEXT: dict[ua.VariantType, Callable[[str], Any]] = {
    ua.VariantType.String: text,
    ua.VariantType.LocalizedText: localized,
    ua.VariantType.UInt16: int,
    ua.VariantType.Byte: int,
    ua.VariantType.DateTime: lambda words: _aware(datetime.fromisoformat(words)),
}
