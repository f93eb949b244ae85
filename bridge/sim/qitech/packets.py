"""Engine.IO 4 and Socket.IO 5 frames as the panel sends them: msgpack parser, one binary WebSocket frame a packet.

Pure. A packet is one msgpack map {"type", "nsp", "data"}, keys in this order, as recorded; integers and floats keep
Rust's types (`ts` is a u64, every number of a machine an f64).
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import orjson

CONNECT = 0
DISCONNECT = 1
EVENT = 2
CONNECT_ERROR = 4

MAX_PAYLOAD = 100_000

_TEXT = 0x81
_BINARY = 0x82


class BadPacket(Exception):
    """Not a Socket.IO packet of the msgpack parser: the panel drops the connection."""


def open_packet(sid: str, upgrades: list[str], ping_interval_s: float, ping_timeout_s: float) -> str:
    """The Engine.IO open packet, key order as recorded."""
    settings = {
        "sid": sid,
        "upgrades": upgrades,
        "pingInterval": round(ping_interval_s * 1000),
        "pingTimeout": round(ping_timeout_s * 1000),
        "maxPayload": MAX_PAYLOAD,
    }
    return "0" + orjson.dumps(settings).decode()


def packet(kind: int, namespace: str, data: Any) -> bytes:
    """A packed Socket.IO packet."""
    return bytes(msgpack.packb({"type": kind, "nsp": namespace, "data": data}))


def event(namespace: str, name: str, data: Any, ts_ms: int) -> bytes:
    """The one event there is: "event" with {"name", "data", "ts"}."""
    return packet(EVENT, namespace, ["event", {"name": name, "data": data, "ts": ts_ms}])


def read(payload: bytes) -> tuple[int, str, Any]:
    """Type, namespace and data of a client's packet. Raises BadPacket."""
    try:
        content = msgpack.unpackb(payload)
    except Exception as error:  # msgpack raises a dozen kinds for a dozen ways to be wrong
        raise BadPacket(str(error)) from error
    if not isinstance(content, dict):
        raise BadPacket("not a map")
    kind, namespace = content.get("type"), content.get("nsp")
    if kind not in (CONNECT, DISCONNECT, EVENT) or not isinstance(namespace, str):
        raise BadPacket("no type or no namespace")
    return kind, namespace, content.get("data")


def text_frame(content: str) -> bytes:
    """A WebSocket text frame, server to client (RFC 6455 section 5.2: unmasked)."""
    return _frame(_TEXT, content.encode())


def binary_frame(content: bytes) -> bytes:
    """A WebSocket binary frame, server to client."""
    return _frame(_BINARY, content)


def _frame(first: int, content: bytes) -> bytes:
    length = len(content)
    if length < 126:
        return struct.pack("!BB", first, length) + content
    if length < 65536:
        return struct.pack("!BBH", first, 126, length) + content
    return struct.pack("!BBQ", first, 127, length) + content


def unframe(frame: bytes) -> tuple[bool, bytes]:
    """Whether one of our frames is binary, and its content."""
    header = {126: 4, 127: 10}.get(frame[1], 2)
    return frame[0] == _BINARY, frame[header:]
