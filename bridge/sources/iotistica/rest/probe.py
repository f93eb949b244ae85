"""Probe: which profile a server speaks, by requests that need no login and change nothing.

An unknown route is answered 404 without rate-limit headers, a known one has them whatever it answers (facts 1.2). So a
few routes that only one of the two published kinds has tell which it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.errors import ProtocolError
from bridge.ports import Spoken
from bridge.sources.iotistica.rest.wire import VENDOR, is_absent
from bridge.transport.http import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "actual": ("anomaly-incidents", "jobs/executions", "events/recent"),
    "documented": ("anomaly/incidents", "audit/events"),
}
"""Routes that one profile has and the other does not."""

LOGIN: Final = "agents"
"""A route that both have."""

OWN: Final = "Write a profile of this server's own: profile: ours.yaml, with extends: actual and what is otherwise"


class Verdict(NamedTuple):
    """What a server speaks; "" where it is neither."""

    profile: str
    reason: str

    def told(self, configured: str) -> Spoken:
        """For a person, who has configured one of the two, or a file of their own."""
        is_shipped = configured in ONLY
        if not self.profile:
            return Spoken(self.reason, OWN if is_shipped else "")
        if configured == self.profile:
            return Spoken(f"the server speaks the profile {self.profile}, as configured: {self.reason}")
        sentence = (
            f"the server speaks the profile {self.profile}, and profile: {configured} is configured: {self.reason}"
        )
        return Spoken(sentence, f"Write profile: {self.profile}" if is_shipped else "")


async def probe(http: httpx.AsyncClient) -> Verdict:
    """Ask for what tells the profiles apart: six GETs without a login. Raises NotConnected, ProtocolError."""
    if not await _is_there(http, LOGIN):
        raise ProtocolError(f"this is no API of {VENDOR}: it has no {LOGIN}")
    found = {profile: [path for path in paths if await _is_there(http, path)] for profile, paths in ONLY.items()}
    counts = {profile: len(paths) / len(ONLY[profile]) for profile, paths in found.items()}
    best = max(counts, key=lambda profile: counts[profile])
    has = ", ".join(path for paths in found.values() for path in paths)
    if counts[best] == 0 or len(set(counts.values())) == 1:
        return Verdict("", f"the server speaks neither profile: it has {has or 'none of their routes'}")
    lacks = ", ".join(path for paths in ONLY.values() for path in paths if path not in has.split(", "))
    return Verdict(best, f"it has {has}" + (f", and not {lacks}" if lacks else ""))


async def _is_there(http: httpx.AsyncClient, path: str) -> bool:
    answer = await fetch(http, "GET", path)
    return not is_absent(answer)
