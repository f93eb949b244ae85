r"""Freshness: is what a channel last said still true? A pure state machine on a clock that is handed in.

Theory of operation. Freshness belongs to the channel, not to the value (design.md section 5).

    Waiting --observation--> Fresh --silence > stale_after--> Silent --silence > bad_after--> Gone
       |                       ^  \--condition--> Lost (Uncertain) --bad_after--> Gone (Bad, the condition's own)
       |                       \---------------- observation, from anywhere ------------/
       \--condition--> Gone

Rules
1. Only an observation on the channel itself ends Lost and Gone; silence alone is also ended by the channel that
   keeps this one alive (`alive_by`), because then nothing was missed on the wire.
2. A channel that comes on change, with nothing to keep it alive, is never stale.
3. Who had a value keeps it, Uncertain, until `bad_after`: two steps are what historians handle best.
4. `judge` says what the channel's tags must look like now; it says it once.
"""

from __future__ import annotations

from copy import copy
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from datetime import datetime

    from bridge.mapping.schema import ChannelRule
    from bridge.model.observation import Condition

STALE_FLOOR = 2.0
"""Seconds; a 30 Hz stream is not stale because one garbage collection took 100 ms."""

BAD_FLOOR = 10.0
"""Seconds; a panel's backend needs at least 10 s to restart (facts/qitech.md section 2)."""


class Phase(Enum):
    """Where a channel is."""

    WAITING = "waiting"
    FRESH = "fresh"
    SILENT = "silent"
    LOST = "lost"
    GONE = "gone"


class Verdict(NamedTuple):
    """What the tags of a channel become."""

    status: StatusCode
    reason: str
    since: datetime


class ChannelWatch:
    """One channel of one part of a machine."""

    def __init__(self, name: str, rule: ChannelRule) -> None:
        self.name = name
        self.rule = rule
        self.phase = Phase.WAITING
        self.period: float | None = rule.periodic
        self.heard: float | None = None
        self.look_at = 0.0
        """Monotonic time from which the shape of its payloads is looked at again."""
        self._lost_at = 0.0
        self._since: datetime | None = None
        self._final = StatusCode.BadNoCommunication
        self._said: tuple[StatusCode, str] = (StatusCode.Good, "")
        self.verdict: Verdict | None = None
        """What the channel's tags look like now because of silence or loss; None while it is fresh or waits."""

    def heir(self, rule: ChannelRule) -> ChannelWatch:
        """The same channel under another rule: what was heard and what was lost stay so."""
        heir = copy(self)
        heir.rule = rule
        if self.period == self.rule.periodic:
            heir.period = rule.periodic
        return heir

    @property
    def stale_after(self) -> float | None:
        """Seconds of silence after which values are Uncertain; None: silence says nothing."""
        if self.rule.stale_after is not None:
            return self.rule.stale_after
        return None if self.period is None else max(3 * self.period, STALE_FLOOR)

    @property
    def bad_after(self) -> float:
        """Seconds of silence, or of loss, after which there is no value."""
        if self.rule.bad_after is not None:
            return self.rule.bad_after
        return BAD_FLOOR if self.period is None else max(10 * self.period, BAD_FLOOR)

    def hear(self, now: float, period: float | None) -> bool:
        """An observation came. True when everything about the channel must be said anew."""
        returned = self.phase is not Phase.FRESH
        self.phase, self.verdict = Phase.FRESH, None
        self.heard = now
        if period is not None:
            self.period = period
        elif self.rule.on_change:
            self.period = None
        return returned

    def stay_alive(self, now: float) -> bool:
        """The channel that keeps this one alive spoke. True when a silence ended by it."""
        if self.phase not in (Phase.FRESH, Phase.SILENT):
            return False
        ended = self.phase is Phase.SILENT
        self.phase, self.verdict = Phase.FRESH, None
        self.heard = now
        return ended

    def lose(self, condition: Condition, now: float) -> Verdict | None:
        """The source says that this channel is lost. None when it has said exactly this before."""
        said = (condition.status, condition.reason)
        if self.phase in (Phase.LOST, Phase.GONE) and said == self._said:
            return None
        self._said = said
        self._final = condition.status if condition.status.is_bad else StatusCode.BadNoCommunication
        if self.phase in (Phase.FRESH, Phase.SILENT):
            self.phase, self._lost_at, self._since = Phase.LOST, now, condition.since
        elif self.phase is Phase.WAITING:
            self.phase, self._since = Phase.GONE, condition.since
        since = self._since or condition.since
        keeps_its_status = self.phase is Phase.GONE or condition.status.is_uncertain
        status = condition.status if keeps_its_status else StatusCode.UncertainNoCommunicationLastUsableValue
        self.verdict = Verdict(status, condition.reason, since)
        return self.verdict

    def judge(
        self, now: float, wall: datetime, alive_limit: tuple[float | None, float] | None = None
    ) -> Verdict | None:
        """What time makes of the channel, when that is news.

        Args:
            now: monotonic seconds.
            wall: the same moment as a time stamp.
            alive_limit: (stale_after, bad_after) of the channel that keeps this one alive, if any.
        """
        verdict = self._judged(now, wall, alive_limit)
        self.verdict = verdict or self.verdict
        return verdict

    def _judged(self, now: float, wall: datetime, alive_limit: tuple[float | None, float] | None) -> Verdict | None:
        if self.phase is Phase.LOST and now - self._lost_at > self.bad_after:
            self.phase = Phase.GONE
            return Verdict(self._final, self._said[1], self._since or wall)
        if self.phase not in (Phase.FRESH, Phase.SILENT) or self.heard is None:
            return None
        stale_after, bad_after = alive_limit or (self.stale_after, self.bad_after)
        if stale_after is None:
            return None
        silence = now - self.heard
        if silence > bad_after:
            self.phase = Phase.GONE
            reason = f"Nothing has been heard for {silence:.0f} s"
            return Verdict(StatusCode.BadNoCommunication, reason, self._since or wall)
        if silence > stale_after and self.phase is Phase.FRESH:
            self.phase, self._since = Phase.SILENT, wall
            return Verdict(StatusCode.UncertainLastUsableValue, f"Nothing has been heard for {silence:.1f} s", wall)
        return None
