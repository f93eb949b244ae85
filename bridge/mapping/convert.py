"""From a raw JSON value to a tag's data type: never a guess, never a silent loss."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bridge.model.value import INTEGER_LIMITS, DataType, Value

_DIGITS = re.compile(r"[0-9]{9,16}\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Converter = Callable[[Any], Value]
"""Gives the typed value; raises ValueError with a sentence where the raw value is not one."""


def _double(raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(f"expected a number, got {kind(raw)}")
    try:
        number = float(raw)
    except OverflowError as error:
        raise ValueError("the vendor sent a whole number of more than 300 digits") from error
    if not math.isfinite(number):
        raise ValueError("the vendor sent a number that is none (NaN or infinite)")
    return number


def _boolean(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"expected true or false, got {kind(raw)}")
    return raw


def _string(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"expected a text, got {kind(raw)}")
    if _has_half_a_character(raw):
        raise ValueError("the text holds half a character (a lone surrogate)")
    return raw


def is_text(raw: Any) -> bool:
    """It can be shown on every face."""
    return isinstance(raw, str) and not _has_half_a_character(raw)


def _has_half_a_character(text: str) -> bool:
    return not text.isprintable() and any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def _datetime(raw: Any) -> datetime:
    return parse_time(raw)


def _integer(data_type: DataType) -> Converter:
    low, high = INTEGER_LIMITS[data_type]

    def convert(raw: Any) -> int:
        number = _double(raw) if not isinstance(raw, int) or isinstance(raw, bool) else raw
        whole = int(number)
        if whole != number:
            raise ValueError(f"expected a whole number, got {number!r}")
        if not low <= whole <= high:
            raise ValueError(f"{whole} does not fit {data_type.value}")
        return whole

    return convert


_CONVERTERS: dict[DataType, Converter] = {
    DataType.Boolean: _boolean,
    DataType.Double: _double,
    DataType.String: _string,
    DataType.DateTime: _datetime,
    **{data_type: _integer(data_type) for data_type in INTEGER_LIMITS},
}


def converter(data_type: DataType) -> Converter:
    """How raw values become this type."""
    return _CONVERTERS[data_type]


def parse_time(raw: Any) -> datetime:
    """A vendor's time: ISO 8601 with a zone, or milliseconds since 1970 (seconds where too small for that).

    The number may be written as a text of digits. Raises ValueError: a time without a zone is ambiguous and refused,
    and one before 1970 is a clock that was never set, or .NET's 0001-01-01 for "none".
    """
    try:
        moment = _from_text(raw) if isinstance(raw, str) and not _DIGITS.match(raw) else _from_number(raw)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{kind(raw)} is no time") from error
    if moment < _EPOCH:
        raise ValueError(f"{moment.isoformat()} is before 1970")
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _from_text(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)


def _from_number(raw: Any) -> datetime:
    number = _double(float(raw) if isinstance(raw, str) else raw)
    return datetime.fromtimestamp(number / 1000 if abs(number) >= 1e11 else number, UTC)


def word(raw: Any) -> str | None:
    """How a scalar is written as a key of a mapping: Standby, true, 1, 0.5. None for what is no scalar."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, str):
        return raw
    if isinstance(raw, float):
        return str(int(raw)) if raw.is_integer() else str(raw)
    return str(raw) if isinstance(raw, int) and abs(raw) < 2**64 else None


def kind(raw: Any) -> str:
    """What a raw value is, in a person's words."""
    if raw is None:
        return "null"
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int | float):
        return f"the number {raw!r}"
    if isinstance(raw, str):
        return f"the text {raw[:40]!r}"
    return "a list" if isinstance(raw, list) else "an object"
