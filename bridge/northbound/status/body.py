"""What requests carry and answers say: JSON objects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

LIMIT: Final = 64 * 1024
PATIENCE_S: Final = 10.0
"""So long a body of this size may take."""


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object of a request, {} for none. Raises HTTPException 400, 408 or 413."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            raw = await _read(request)
    except TimeoutError:
        raise HTTPException(408, "the request did not come to its end in time") from None
    except ClientDisconnect:  # nobody hears this answer, and it is nothing to log
        raise HTTPException(400, "the request did not come to its end") from None
    try:
        body = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"no JSON: {error}") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "expected a JSON object")
    return body


async def _read(request: Request) -> bytes:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > LIMIT:
            raise HTTPException(413, f"at most {LIMIT} bytes")
    return raw


def json_answer(body: Any) -> Response:
    """An answer that nobody keeps."""
    return Response(orjson.dumps(body), 200, {"Cache-Control": "no-store"}, "application/json")
