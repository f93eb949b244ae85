"""How often each machine can be read where every read is a request and requests are limited: arithmetic only."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.sources._budget import BACKGROUND, WINDOW


@dataclass(frozen=True, slots=True)
class Periods:
    """Seconds from one read of a machine to the next, as they can be kept."""

    state: float
    activity: float


def achievable(machines: int, rate: float, wanted: Periods) -> Periods:
    """The wanted periods, or longer ones where `rate` requests a minute do not suffice for so many machines.

    Activity may take BACKGROUND of the rate; state gets what activity leaves.
    """
    activity = max(wanted.activity, WINDOW * machines / (BACKGROUND * rate))
    left = rate - WINDOW * machines / activity
    return Periods(max(wanted.state, WINDOW * machines / left), activity)
