"""One request to the API, as a route sees it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from bridge.sim.iotistica.accounts import User
from bridge.sim.iotistica.answers import Refused, refused


@dataclass(slots=True)
class Call:
    """A request whose route is known and whose caller is let in."""

    request: web.Request
    body: bytes
    path: dict[str, str]
    """The variable parts of the path."""
    now: float
    """On the vendor's clock, seconds since the epoch."""
    user: User | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def query(self) -> dict[str, str]:
        """The query; of a name given twice the last."""
        return dict(self.request.query)

    def json(self) -> dict[str, Any]:
        """The body as an object; Fastify's own 400 where it is no JSON. Raises Refused."""
        if not self.body:
            return {}
        try:
            content = orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            body = {"statusCode": 400, "error": "Bad Request", "message": f"Invalid JSON body: {error}"}
            raise Refused(400, body) from None
        return content if isinstance(content, dict) else {}

    def agent_uuid(self, name: str = "agent_uuid") -> str:
        """The uuid in the path of readings. Raises Refused."""
        try:
            return str(uuid.UUID(self.path[name]))
        except ValueError:
            raise refused(400, "Invalid agent UUID format", requestId=self.id) from None
