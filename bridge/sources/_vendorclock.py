"""The clock of a vendor that tells its time only in the Date of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.ports import Clock
    from bridge.transport.http import Answer

HALF: Final = 0.5
"""Seconds: a Date is cut to whole ones (RFC 9110, 5.6.7), so it is half a second behind on the average."""


class VendorClock:
    """What time it is for the vendor: ours until an answer with a Date; one without says nothing about it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset = 0.0
        """Seconds the vendor's clock is ahead of ours."""

    def hear(self, answer: Answer) -> None:
        """An answer has just come."""
        date = answer.date
        if date is not None:
            self.offset = (date - self._clock.now()).total_seconds() + HALF

    def now(self) -> int:
        """Milliseconds since 1970 by the vendor's clock."""
        return round((self._clock.now().timestamp() + self.offset) * 1000)
