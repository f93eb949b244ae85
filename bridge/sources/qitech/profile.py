"""Profile: which generation of QiTech's API a panel speaks, decided from two probes that touch no machine.

    GET /api/v2/machine    GET /api/v1/metrics/process/metrics
          200                        200                          2.x  (2.14 to 2.17)
          200                        404                          3.x
          else                       any                          unknown: 3.x rules

There is no version endpoint. Unknown means 3.x rules, because a 3.x panel dies of a 2.x client's GET, while a 2.x panel
lives with a 3.x client. The one thing a 3.x client does that harms a 2.x panel is joining a laser's namespace: that
needs a panel which shows itself as a 3.x. A configured profile helps where the panel does not show what it is; it
never makes us do what would harm a panel that does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Profile(StrEnum):
    """How a panel is read."""

    V2 = "2.x"
    """REST per machine; Socket.IO for machines without a route."""
    V3 = "3.x"
    """Socket.IO only; the per-machine GET kills the panel."""


class Metrics(StrEnum):
    """What the panel answers when asked for its process metrics; a change means another release."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a panel is to be read.

    Args:
        profile: by which rules.
        is_known: the panel showed itself as one of the two.
        joins_lasers: a laser's namespace may be joined.
        reason: one sentence for a person.
        metrics: what a later look must agree with.
    """

    profile: Profile
    is_known: bool
    joins_lasers: bool
    reason: str
    metrics: Metrics = Metrics.UNKNOWN


def decide(*, list_status: int, lists_machines: bool, metrics: Metrics) -> Verdict:
    """The verdict on two answers; `lists_machines` says that the list had the documented shape."""
    if list_status == 200 and lists_machines:
        if metrics is Metrics.PRESENT:
            return Verdict(Profile.V2, True, False, "the panel lists machines and has process metrics", metrics)
        if metrics is Metrics.ABSENT:
            return Verdict(Profile.V3, True, True, "the panel lists machines and has no process metrics", metrics)
    reason = f"its list answers {list_status} and its process metrics are {metrics}: read by the rules of 3.x"
    return Verdict(Profile.V3, False, False, reason, metrics)


def reconciled(found: Verdict, configured: Profile) -> Verdict:
    """What was found, seen with what a person says it is."""
    if not found.is_known:
        return replace(found, profile=configured, reason=f"profile {configured} is configured; {found.reason}")
    if found.profile is configured:
        return found
    reason = f"profile {configured} is configured, but {found.reason}: read by the rules of 3.x, without lasers"
    return Verdict(Profile.V3, True, False, reason, found.metrics)
