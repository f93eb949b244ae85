"""IndexRange: a part of an array or of a text (Part 4, 7.27)."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from asyncua import ua

_RANGE = re.compile(r"(\d{1,9})(?::(\d{1,9}))?\Z", re.ASCII)


def part(value: ua.DataValue, index_range: str | None) -> ua.DataValue:
    """The asked part of a value, or the status that refuses it. One dimension: there are no others here."""
    if not index_range:
        return value
    found = _slice(index_range)
    if found is None:
        return ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadIndexRangeInvalid))
    whole: Any = value.Value.Value if value.Value is not None else None
    if whole is None and value.StatusCode is not None and not value.StatusCode.is_good():
        return value
    got = whole[found] if isinstance(whole, list | tuple | str | bytes) else None
    if not got:
        return ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadIndexRangeNoData))
    variant = ua.Variant(got, value.Value.VariantType, is_array=value.Value.is_array)
    return dataclasses.replace(value, Value=variant)


def is_valid(index_range: str) -> bool:
    """It is one, of one dimension."""
    return _slice(index_range) is not None


def _slice(index_range: str) -> slice | None:
    """Of "2" or "2:5"; the second must be greater."""
    match = _RANGE.match(index_range)
    if match is None:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    return None if match[2] and last <= first else slice(first, last + 1)
