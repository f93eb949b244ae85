"""Request bodies as axum's JSON extractor takes or rejects them (status and text/plain sentence as recorded).

415 without a JSON content type, 413 above 2 MiB, 400 for what is no JSON, 422 for JSON of another shape.
"""

from __future__ import annotations

import json
from typing import Any

import orjson
from aiohttp import web

from bridge.sim.qitech.catalogue import Identity

_SHAPE = "Failed to deserialize the JSON body into the target type"


class Rejected(Exception):
    """The request is refused before the panel's own code sees it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


async def read_body(request: web.Request) -> bytes | None:
    """The body as it came; None for one that is too large."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return None


def list_body(request: web.Request, body: bytes | None) -> list[Any]:
    """The body, which must be a JSON array. Raises Rejected."""
    content = json_body(request, body)
    if not isinstance(content, list):
        column = 0 if isinstance(content, dict) else 1
        raise Rejected(422, f"{_SHAPE}: invalid type: {_name(content)}, expected a sequence at line 1 column {column}")
    return content


def json_body(request: web.Request, body: bytes | None) -> Any:
    """The body, already read by `read_body`, as JSON. Raises Rejected."""
    kind = request.content_type
    if "Content-Type" not in request.headers or not (kind == "application/json" or kind.endswith("+json")):
        raise Rejected(415, "Expected request with `Content-Type: application/json`")
    if body is None:
        raise Rejected(413, "Failed to buffer the request body: length limit exceeded")
    return _parse(body)


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Rejected(400, f"Failed to parse the request body as JSON: {_complaint(body)}") from None


def _complaint(body: bytes) -> str:
    try:
        json.loads(body)
    except json.JSONDecodeError as error:
        if error.pos >= len(body.decode(errors="replace").rstrip()):
            return f"EOF while parsing a value at line {error.lineno} column {max(0, error.colno - 1)}"
        return f"expected value at line {error.lineno} column {error.colno}"
    except UnicodeDecodeError as error:
        return f"invalid unicode code point at line 1 column {error.start}"
    # What Python reads and Rust does not: NaN, infinities, numbers beyond f64.
    return f"number out of range at line 1 column {len(body)}"


def mutation_of(body: Any) -> tuple[Identity, Any]:
    """Machine and mutation of a v1 body. Raises Rejected (422) naming the path that is wrong."""
    unique, data = _struct(body, "", ("machine_identification_unique", "data"))
    (path, inner), (_, mutation) = unique, data
    (kind_path, kind), serial = _struct(inner, path, ("machine_identification", "serial"))
    vendor, machine = _struct(kind, kind_path, ("vendor", "machine"))
    return Identity(_u16(*machine), _u16(*serial), _u16(*vendor)), mutation


def _struct(value: Any, path: str, fields: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Path and content of each field. serde reads a struct from an array too, by position, as recorded."""
    where = f"{path}: " if path else ""
    if isinstance(value, list) and len(value) <= len(fields):
        content = dict(zip(fields, value, strict=False))
        paths = [f"[{i}]" for i in range(len(fields))]
    elif isinstance(value, dict):
        content, paths = value, list(fields)
    else:
        raise Rejected(422, f"{_SHAPE}: {where}invalid type: {_name(value)}, expected struct at line 1 column 1")
    prefix = f"{path}." if path else ""
    if missing := [name for name in fields if name not in content]:
        if isinstance(value, list):
            raise Rejected(422, f"{_SHAPE}: {where}invalid length {len(value)}, expected struct at line 1 column 1")
        raise Rejected(422, f"{_SHAPE}: {where}missing field `{missing[0]}` at line 1 column {_length(value)}")
    return [(prefix + part, content[name]) for part, name in zip(paths, fields, strict=True)]


def _u16(path: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Rejected(422, f"{_SHAPE}: {path}: invalid type: {_name(value)}, expected u16 at line 1 column 1")
    if not 0 <= value <= 65535:
        raise Rejected(
            422, f"{_SHAPE}: {path}: invalid value: integer `{value}`, expected u16 at line 1 column {_length(value)}"
        )
    return value


def _name(value: Any) -> str:
    """A value in serde's words."""
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`"
    if isinstance(value, str):
        return f'string "{value}"'
    return "null" if value is None else "map" if isinstance(value, dict) else "sequence"


def _length(value: Any) -> int:
    return len(json.dumps(value))
