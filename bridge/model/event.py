"""Event: something that happened once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

OF_THE_READING: Final = ("observed_at", "replayed")
"""Keys of `Event.data` that tell of the reading, not of the event: two readings of one event may differ in them."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, at a machine or in the bridge.

    `id` is stable: reading the same vendor window again gives the same id, never a second event.
    `severity` is OPC UA's 1 to 1000; we use 100, 300, 500, 700, 900.
    """

    id: str
    kind: str
    time: datetime
    message: str
    severity: int = 300
    source: str = ""
    machine: str = ""
    """The machine id of the plant, "" for the bridge itself."""
    data: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
