"""PanelClock: how far the panel's clock is from ours, and what its stamps mean in our time.

A stamp is made when the panel emits an event; it reaches us a little later, never earlier. So the event that looks
least late shows the offset best: the largest (stamp - receive time) of the last ten to twenty seconds. A corrected
stamp is then never in the future. Milliseconds throughout, in whole numbers.
"""

from __future__ import annotations

from typing import Final

WINDOW: Final = 10_000
"""Milliseconds of one half of the window."""

PLAUSIBLE: Final = 5_000
"""Milliseconds an event may be under way; more means that the panel's clock was set."""

NEWS: Final = 20
"""Milliseconds of change worth telling."""

REPEAT: Final = 60_000
"""Milliseconds after which an unchanged offset is told again."""


class PanelClock:
    """The offset of one panel's clock, learned from its events."""

    def __init__(self) -> None:
        self._window = -1
        self._newest: int | None = None
        self._older: int | None = None
        self._told: tuple[int, int] | None = None

    @property
    def offset(self) -> int | None:
        """Milliseconds the panel's clock is ahead of ours; None before the first event."""
        if self._newest is None or self._older is None:
            return self._newest
        return max(self._newest, self._older)

    def corrected(self, stamp: int, received: int) -> int:
        """The panel's stamp in our time: at most `received`, and at most PLAUSIBLE before it."""
        offset = self.offset
        if offset is not None and received - (stamp - offset) > PLAUSIBLE:
            self._newest = self._older = None
        self._learn(stamp - received, received // WINDOW)
        return stamp - (self.offset or 0)

    def _learn(self, lead: int, window: int) -> None:
        if window != self._window:
            self._older = self._newest if window == self._window + 1 else None
            self._newest, self._window = None, window
        self._newest = lead if self._newest is None else max(self._newest, lead)

    def news(self, now: int) -> float | None:
        """The offset in seconds, if it is worth telling again at `now`."""
        offset = self.offset
        if offset is None:
            return None
        if self._told is not None and abs(offset - self._told[0]) < NEWS and now - self._told[1] < REPEAT:
            return None
        self._told = (offset, now)
        return offset / 1000
