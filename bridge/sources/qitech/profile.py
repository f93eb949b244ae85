"""Profile: which generation of QiTech's API a panel speaks, decided from two probes that touch no machine.

    GET /api/v2/machine    GET /api/v1/metrics/process/metrics
          200                        200                          2.x  (2.14 to 2.17)
          200                        404                          3.x
          else                       any                          unknown: 3.x rules

There is no version endpoint. Unknown means 3.x rules, because a 3.x panel dies of a 2.x client's GET, while a 2.x panel
lives with a 3.x client. The one thing a 3.x client does that harms a 2.x panel is joining a laser's namespace: that
needs a certain verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Profile(StrEnum):
    """How a panel is read."""

    V2 = "2.x"
    """REST per machine; Socket.IO for machines without a route."""
    V3 = "3.x"
    """Socket.IO only; the per-machine GET kills the panel."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe showed.

    `has_metrics` is what a later look must agree with; None where it was not asked.
    """

    profile: Profile
    certain: bool
    reason: str
    has_metrics: bool | None = None


def decide(*, list_status: int, lists_machines: bool, metrics_status: int, has_metrics: bool) -> Verdict:
    """The verdict on two answers: `lists_machines` and `has_metrics` say that the body had the documented shape."""
    if list_status == 200 and lists_machines:
        if metrics_status == 200 and has_metrics:
            return Verdict(Profile.V2, True, "the panel lists machines and has process metrics", True)
        if metrics_status == 404:
            return Verdict(Profile.V3, True, "the panel lists machines and has no process metrics", False)
    reason = f"the machine list answered {list_status}, the process metrics {metrics_status}: read by the rules of 3.x"
    return Verdict(Profile.V3, False, reason, has_metrics)


def forced(profile: Profile) -> Verdict:
    """The verdict of a person."""
    return Verdict(profile, True, f"profile {profile.value} is configured")
