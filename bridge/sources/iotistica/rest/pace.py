"""Pace: how many requests a minute the periods want, and which limit they are to fit into. Arithmetic only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.sources._budget import BURST, RESERVE, WINDOW

if TYPE_CHECKING:
    from bridge.sources.iotistica.profile import Bucket, Profile
    from bridge.sources.iotistica.rest.config import RestRules


class Demand(NamedTuple):
    """What a limit is asked for; requests a minute."""

    bucket: Bucket
    wanted: float
    allowed: float
    """What is let out evenly, of our share of the limit."""


OF_EACH_AGENT: Final = (
    ("device_health", "health_period"),
    ("agent", "detail_period"),
    ("reported_devices", "detail_period"),
)
OF_ALL: Final = (
    ("agents", "agents_period", 1),
    ("incidents", "incidents_period", 2),
    ("alerts", "incidents_period", 1),
    ("jobs", "jobs_period", 1),
)
"""Routes, how often they are asked, and for how many requests each time, at least."""


def too_much(profile: Profile, rules: RestRules, agents: int) -> Demand | None:
    """The limit that so many agents ask too much of, if there is one."""
    wanted: dict[Bucket, float] = {}
    for route, period in OF_EACH_AGENT:
        if route in profile.routes:
            bucket = profile.routes[route].bucket
            wanted[bucket] = wanted.get(bucket, 0.0) + agents * WINDOW / getattr(rules, period)
    for route, period, requests in OF_ALL:
        if route in profile.routes:
            bucket = profile.routes[route].bucket
            wanted[bucket] = wanted.get(bucket, 0.0) + requests * WINDOW / getattr(rules, period)
    even = rules.share * (1 - RESERVE - BURST)
    demands = (Demand(bucket, rate, profile.limits[bucket] * even) for bucket, rate in wanted.items())
    return next((one for one in demands if one.wanted > one.allowed), None)
