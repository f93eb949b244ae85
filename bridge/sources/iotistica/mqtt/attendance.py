"""Attendance: whether an agent is there, by what is heard of it. Pure.

Iotistica's cloud connection has no last will, and its own flag is up to six minutes late (facts 1.6, 1.11). So an agent
is there while anything of it is heard, and gone when nothing was for three of its periods; what its adapter's will says
on the plant's broker counts at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import datetime

MISSED: Final = 3
"""Periods without a word."""


@dataclass(slots=True)
class Attendance:
    """One agent. `is_online` is None while nothing was heard of it in this session."""

    heard: float
    """Monotonic seconds of its last word, or of the beginning of the session."""
    last: datetime | None = None
    """When it was heard last."""
    is_online: bool | None = None
    since: datetime | None = None
    reason: str = ""
    told: datetime | None = None
    """The last word that was told of."""

    def hear(self, monotonic: float, now: datetime) -> bool:
        """It said something; whether it was gone, or not known, before."""
        self.heard, self.last = monotonic, now
        if self.is_online:
            return False
        self.is_online, self.since, self.reason = True, now, ""
        return True

    def lose(self, now: datetime, reason: str) -> bool:
        """It is gone; whether it was there, or not known, before."""
        if self.is_online is False:
            return False
        self.is_online, self.since, self.reason = False, now, reason
        return True

    def is_silent(self, monotonic: float, period: float) -> bool:
        """Nothing was heard for too long."""
        return self.is_online is not False and monotonic - self.heard > MISSED * period

    def is_news(self) -> bool:
        """It was heard since this was asked."""
        told, self.told = self.told, self.last
        return told != self.last

    def payload(self) -> dict[str, Any]:
        """As the channel `link` has it."""
        return {
            "online": self.is_online,
            "since": None if self.since is None else self.since.isoformat(),
            "last_heard": None if self.last is None else self.last.isoformat(),
            "reason": self.reason,
        }
