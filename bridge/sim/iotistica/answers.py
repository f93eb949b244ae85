"""The vendor's answers: no two parts of it word success or error alike (facts 1.4), and neither does this."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web


class Refused(Exception):
    """The request is answered with another status than 200, and with this body."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


def refused(status: int, error: str, message: str | None = None, **more: Any) -> Refused:
    """`{error[, message], ...}`, as most of it."""
    body: dict[str, Any] = {"error": error}
    if message is not None:
        body["message"] = message
    return Refused(status, {**body, **more})


def failed(status: int, error: str) -> Refused:
    """`{success: false, error}`, as anomalies and audit events."""
    return Refused(status, {"success": False, "error": error})


def json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer with the vendor's content type."""
    body = orjson.dumps(content)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json", charset="utf-8")


def iso(moment: datetime | float | None) -> str | None:
    """As JavaScript writes a moment; numbers are seconds since the epoch."""
    if moment is None:
        return None
    if isinstance(moment, int | float):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str) -> float | None:
    """Seconds since the epoch of a date that JavaScript would take; None where it would not."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def number(text: str | None, default: int) -> int:
    """A number of the query; the default where it is none, as parseInt's NaN ends up."""
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 18 else default
