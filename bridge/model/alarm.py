"""Alarm conditions: what is wrong now, and who knows of it (the words of OPC UA Part 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final


class AlarmKind(StrEnum):
    """What is watched."""

    LIMIT = "limit"
    """A number beyond its limits."""
    STATE = "state"
    """Something the vendor says is wrong."""
    SOURCE = "source"
    """A vendor cannot be reached."""


ALARM_ACTIVE: Final = "AlarmActive"
ALARM_INACTIVE: Final = "AlarmInactive"
ALARM_ACKNOWLEDGED: Final = "AlarmAcknowledged"
ALARM_COMMENTED: Final = "AlarmCommented"
ALARM_EVENTS: Final = frozenset({ALARM_ACTIVE, ALARM_INACTIVE, ALARM_ACKNOWLEDGED, ALARM_COMMENTED})
"""Kinds of the events that tell of a condition; their data is `AlarmCondition.data()`."""


@dataclass(frozen=True, slots=True)
class AlarmCondition:
    """One alarm as it is. `id` is unique and stays; `event` is the id of the event that told its state last."""

    id: str
    kind: AlarmKind
    machine: str
    name: str
    """What a person calls it: "Melt pressure"."""
    tag: str
    """Id of the tag that is judged."""
    active: bool
    level: str
    """Of a limit that is passed: LowLow, Low, High or HighHigh; else ""."""
    acked: bool
    severity: int
    since: datetime
    """When it became active, or inactive."""
    message: str
    event: str
    raised: str = ""
    """Id of the event that is to be acknowledged."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Of a limit alarm: its limits by name."""
    acked_by: str = ""
    comment: str = ""
    commented_by: str = ""
    """Who said the comment."""
    commented: datetime | None = None
    last_severity: int = 0
    """What the severity was before it changed; 0 where it never did."""

    @property
    def retain(self) -> bool:
        """Somebody should still look at it."""
        return self.active or not self.acked

    def data(self) -> dict[str, str | int | float | bool | None]:
        """The condition as data of an event."""
        return {
            "condition": self.id,
            "alarm": self.kind.value,
            "name": self.name,
            "tag": self.tag,
            "severity": self.severity,
            "active": self.active,
            "level": self.level,
            "acked": self.acked,
            "acked_by": self.acked_by,
            "comment": self.comment,
            "commented_by": self.commented_by,
            "commented": self.commented.isoformat() if self.commented else None,
            "last_severity": self.last_severity,
            "retain": self.retain,
            "since": self.since.isoformat(),
            **self.limits,
        }
