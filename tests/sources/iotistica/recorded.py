"""What Iotistica's own agent published and answered (tests/recorded/iotistica/README.md)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[2] / "recorded" / "iotistica"
AGENT = "7c2f1a90-4b7e-4d53-9a0e-2f8f6f1d3c55"
EXTRUDER, DRYER = "1f0c9f5e-0a53-4b51-8f4a-6a0d6f0e0001", "1f0c9f5e-0a53-4b51-8f4a-6a0d6f0e0003"


class Recorded(NamedTuple):
    """One message."""

    file: str
    topic: str
    retain: bool
    told: dict[str, Any]
    """What the index says of it."""

    @property
    def payload(self) -> bytes:
        return (FOLDER / "mqtt" / self.file).read_bytes()


def messages() -> list[Recorded]:
    index = json.loads((FOLDER / "mqtt" / "index.json").read_text(encoding="utf-8"))["messages"]
    return [Recorded(told["file"], told["topic"], told["retain"], told) for told in index]


def exchanges() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "commands" / "exchanges.json").read_text(encoding="utf-8"))
    return found


ALL = messages()
DESTROYED = [one for one in ALL if one.payload.count(b"\xef\xbf\xbd") > 2]
"""Binary messages that the agent has taken for a text."""
ALL = [one for one in ALL if one not in DESTROYED]
BATCHES = [one for one in ALL if one.told.get("format") and not one.told.get("dictionary")]


def story(prefix: str) -> list[Recorded]:
    """Compacted messages and their dictionaries, in the order in which they came."""
    return [one for one in ALL if re.fullmatch(rf"{prefix}_\d\d\.bin", one.file)]
