"""Times as the vendor reads and writes them: ISO 8601 in, three forms of text and two of ranges out."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?")


def parse(text: object) -> datetime | None:
    """A timestamp, UTC; None for what is none. Without a zone it is UTC, the zone of the vendor's ranges."""
    if not isinstance(text, str) or _ISO.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_day(text: str) -> date | None:
    """A date, also of a timestamp; None for what is neither."""
    moment = parse(text)
    if moment is not None:
        return moment.date()
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        return None


def week_of(moment: datetime) -> tuple[date, date]:
    """Monday and Sunday."""
    monday = moment.date() - timedelta(days=moment.weekday())
    return monday, monday + timedelta(days=6)


def midnight(day: date) -> datetime:
    """The day's first moment, UTC."""
    return datetime.combine(day, time(), UTC)


def seconds_text(moment: datetime) -> str:
    """2025-05-27T10:00:00Z, as in the events feed."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def millis_text(moment: datetime) -> str:
    """2025-05-27T10:01:45.397Z, as created_at."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def ruby_range(start: datetime, end: datetime | None, endless: str = "") -> str:
    """2025-05-27 10:00:00 UTC..., with `endless` after the dots of a range without an end."""
    return f"{_ruby(start)}...{_ruby(end) if end is not None else endless}"


def iso_range(start: datetime, end: datetime) -> str:
    """2025-05-27T10:00:00Z..2025-05-27T11:00:00Z, as in the answer to finish."""
    return f"{seconds_text(start)}..{seconds_text(end)}"


def _ruby(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
