"""Milliseconds since 1970 UTC as a time. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bridge.errors import ProtocolError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_milliseconds(number: int) -> datetime:
    """The time. Raises ProtocolError for years nobody can write."""
    try:
        return _EPOCH + timedelta(milliseconds=number)
    except OverflowError:
        raise ProtocolError(f"{number} ms is no time") from None
