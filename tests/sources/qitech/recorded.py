"""Answers recorded from the vendor's own server (tests/recorded/qitech)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "recorded" / "qitech"


def record(name: str) -> dict[str, Any]:
    """One record: where, when, request, status, body."""
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return loaded


def body(name: str) -> bytes:
    """The body of an answer as it was on the wire."""
    content = record(name)["body"]
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()


def frames(name: str) -> list[dict[str, Any]]:
    """The frames of a WebSocket conversation: dir, opcode, raw or base64."""
    found: list[dict[str, Any]] = record(name)["body"]["frames"]
    return found


def received_binaries(name: str) -> list[bytes]:
    """What the server sent in binary frames."""
    return [base64.b64decode(f["base64"]) for f in frames(name) if f["dir"] == "in" and f["opcode"] == "binary"]
