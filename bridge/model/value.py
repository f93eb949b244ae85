"""DataValue: a value with its status and its times, and the data types a tag can have."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from bridge.model.status import StatusCode

Value = bool | int | float | str | datetime | None
"""What a tag can hold: scalars only; absence is None with a Bad status, never NaN, 0 or ""."""


class DataType(Enum):
    """Built-in data types, by their OPC UA names; a tag keeps its type for ever."""

    Boolean = "Boolean"
    Int32 = "Int32"
    UInt32 = "UInt32"
    Int64 = "Int64"
    Double = "Double"
    String = "String"
    DateTime = "DateTime"

    @property
    def is_numeric(self) -> bool:
        """Units, ranges and deadbands make sense."""
        return self in _NUMERIC


_NUMERIC = {DataType.Int32, DataType.UInt32, DataType.Int64, DataType.Double}

INTEGER_LIMITS = {
    DataType.Int32: (-(2**31), 2**31 - 1),
    DataType.UInt32: (0, 2**32 - 1),
    DataType.Int64: (-(2**63), 2**63 - 1),
}


class DataValue(NamedTuple):
    """A value, its status and its times (OPC UA Part 4, DataValue).

    Times are aware, UTC, whole milliseconds. Bad has value None; Uncertain keeps the last value.
    `reason` is one sentence for a person, "" when Good; `since` is when this status began, None when Good.
    Never changed once made, and shared by reference between readers.
    """

    value: Value
    status: StatusCode
    source_timestamp: datetime
    server_timestamp: datetime
    reason: str = ""
    since: datetime | None = None


make = tuple.__new__
"""`make(DataValue, (value, status, source, server, reason, since))`: what the constructor does, in half its time."""


def bad(status: StatusCode, reason: str, now: datetime) -> DataValue:
    """No value, from `now` on, for a reason."""
    return DataValue(None, status, now, now, reason, now)


def to_milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC, exact for a stamp in whole milliseconds."""
    delta = moment - _EPOCH
    return delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000


def from_milliseconds(milliseconds: int) -> datetime:
    """The moment so many milliseconds after 1970-01-01 UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
