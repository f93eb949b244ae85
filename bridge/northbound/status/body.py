"""What requests carry and answers say: JSON objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

LIMIT: Final = 64 * 1024


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object of a request, {} for none. Raises HTTPException 400 or 413."""
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > LIMIT:
            raise HTTPException(413, f"at most {LIMIT} bytes")
    try:
        body = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"no JSON: {error}") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "expected a JSON object")
    return body


def json_answer(body: Any) -> Response:
    """An answer that nobody keeps."""
    return Response(orjson.dumps(body), 200, {"Cache-Control": "no-store"}, "application/json")
