"""From a raw JSON value to a tag's data type: never a guess, never a silent loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bridge.model.value import INTEGER_LIMITS, DataType, Value

Converter = Callable[[Any], Value]
"""Gives the typed value; raises ValueError with a sentence where the raw value is not one."""


def _double(raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(f"expected a number, got {kind(raw)}")
    if not math.isfinite(raw):
        raise ValueError("the vendor sent a number that is none (NaN or infinite)")
    return float(raw)


def _boolean(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"expected true or false, got {kind(raw)}")
    return raw


def _string(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"expected a text, got {kind(raw)}")
    if not raw.isprintable() and any(0xD800 <= ord(character) <= 0xDFFF for character in raw):
        raise ValueError("the text holds half a character (a lone surrogate)")
    return raw


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

    Raises ValueError: a time without a zone is ambiguous and refused.
    """
    if isinstance(raw, str):
        moment = datetime.fromisoformat(raw)
        if moment.tzinfo is None:
            raise ValueError(f"{raw!r} has no time zone")
        moment = moment.astimezone(UTC)
    else:
        number = _double(raw)
        try:
            moment = datetime.fromtimestamp(number / 1000 if abs(number) >= 1e11 else number, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError(f"{number!r} is no time") from error
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


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
