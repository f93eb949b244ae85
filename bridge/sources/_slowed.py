"""Tell that an account is slowed down by its vendor (429), and when it no longer is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.model.observation import Condition
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from bridge.ports import Clock, Publish
    from bridge.sources._budget import Budget

LOOK_AGAIN: Final = 5.0
"""Seconds."""

ADVICE: Final = (
    "The bridge goes on by itself, more slowly. If this lasts: what else uses this account? "
    "Give this source less (requests_per_minute, share)"
)


async def tell_slowed(name: str, vendor: str, budget: Budget, clock: Clock, publish: Publish) -> None:
    """Until cancelled. Values stay as they are, and grow old by themselves."""
    is_told = False
    reason = f"Slowed: {vendor} has answered 429, and is asked less often for a while"
    try:
        while True:
            if budget.is_slowed is not is_told:
                is_told = not is_told
                told = (reason, ADVICE) if is_told else ("", "")
                publish(Condition(name, StatusCode.Good, told[0], clock.now(), advice=told[1]))
            await clock.sleep(LOOK_AGAIN)
    finally:
        if is_told:  # nobody would end it: this half may be gone while the source is not
            publish(Condition(name, StatusCode.Good, "", clock.now()))
