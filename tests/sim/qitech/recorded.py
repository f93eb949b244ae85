"""The answers of the vendor's own server (2.17.0, mock build), as recorded under tests/recorded/qitech."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bridge.sim.qitech import SimulatedMachine

FOLDER = Path(__file__).parents[2] / "recorded" / "qitech"

MACHINES = [
    SimulatedMachine("mock", 57922),
    SimulatedMachine("extruder_v1", 57922),
    SimulatedMachine("winder_v1", 57922),
    SimulatedMachine("wago_power_v1", 48879),
]
"""What the vendor's mock build shows."""


def recording(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def rest_recordings(*prefixes: str) -> list[str]:
    """Recordings of one plain HTTP request each."""
    names = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem.startswith(prefixes))
    return [name for name in names if _is_one_request(recording(name))]


def _is_one_request(content: dict[str, Any]) -> bool:
    words = content["request"].split()
    return len(words) == 2 and words[0] in ("GET", "POST", "PUT", "DELETE", "OPTIONS")


def shape(value: Any) -> Any:
    """Keys and JSON types, without the values; null stands for itself."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


def frames(name: str, direction: str = "in") -> list[Any]:
    """Decoded Socket.IO packets of a recording."""
    return [
        frame["decoded"]
        for frame in recording(name)["body"]["frames"]
        if frame["dir"] == direction and "decoded" in frame
    ]


def event(name: str, event_name: str) -> Any:
    """The data of the first event of that name."""
    for packet in frames(name):
        if packet["type"] == 2 and packet["data"][1]["name"] == event_name:
            return packet["data"][1]["data"]
    raise KeyError(event_name)
