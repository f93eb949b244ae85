"""Topics of agents: i/<tenant>/a/<agent>/…, ids shortened. Pure.

Source: facts 1.11. A level is 16 (or, of a tenant, 6) bytes in base64url without padding where the id is a UUID (or 12
hexadecimal digits); any other tenant stands there as it is. A tenant of 8 characters could be either, so it is told by
the configuration and never guessed.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple
from uuid import UUID

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_HEX: Final = re.compile(r"[0-9a-f]{12}\Z", re.IGNORECASE)
_SHORT: Final = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]\Z")
"""The last of 22 characters holds two bits only: any other would be a second name of the same agent."""

ENDPOINTS: Final = "endpoints"
STATE: Final = "state"
STATUS: Final = "agent/status"
BROKER: Final = "agent/broker"
ANOMALY: Final = "events/anomaly"
DICTIONARY: Final = "meta/dictionary"
DELTA: Final = "meta/dictionary/delta"

SUBSCRIBED: Final = (f"{ENDPOINTS}/#", STATE, STATUS, BROKER, ANOMALY, f"{DICTIONARY}/#")
"""What is listened to of every agent; meta/dictionary/# is the dictionary and its deltas (MQTT 3.1.1, 4.7.1.2)."""

COMMAND: Final = "cmd/write"
RESULT: Final = "cmd/result"
"""Below the agent's whole UUID, without tenant: the code's form, not the document's (facts 1.13)."""


class Place(NamedTuple):
    """Who publishes, and what."""

    agent: str
    """UUID in lower case."""
    tail: str
    """What is behind it: "state", "endpoints/line1"."""


def tenant_level(tenant: str) -> str:
    """The level that stands for a tenant."""
    if _HEX.match(tenant):
        return _short(bytes.fromhex(tenant))
    return agent_level(tenant) if _UUID.match(tenant) else tenant


def agent_level(agent: str) -> str:
    """The level that stands for an agent, by its UUID."""
    return _short(UUID(agent).bytes)


def agent_of(level: str) -> str | None:
    """The agent's UUID in lower case, from its level: shortened, or whole as older agents have it; None: neither."""
    if _SHORT.match(level):
        return str(UUID(bytes=urlsafe_b64decode(f"{level}==")))
    return level.lower() if _UUID.match(level) else None


def _short(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


class Topics:
    """The topics of one tenant's agents."""

    def __init__(self, tenant: str) -> None:
        self._root = f"i/{tenant_level(tenant)}/a/"

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return tuple(f"{self._root}+/{tail}" for tail in SUBSCRIBED)

    @property
    def acl(self) -> str:
        """The subtree, as an access list names it."""
        return f"{self._root}+/#"

    def filter(self, tail: str) -> str:
        """The topic filter of one kind."""
        return f"{self._root}+/{tail}"

    def place(self, topic: str) -> Place | None:
        """Whose topic it is; None for one that is not of this tenant's agents."""
        if not topic.startswith(self._root):
            return None
        level, _, tail = topic[len(self._root) :].partition("/")
        agent = agent_of(level)
        return Place(agent, tail) if agent is not None and tail else None


def matches(topic_filter: str, topic: str) -> bool:
    """The topic is one of the filter's (MQTT 3.1.1, 4.7)."""
    levels = topic.split("/")
    for place, level in enumerate(topic_filter.split("/")):
        if level == "#":
            return not topic.startswith("$")
        if place >= len(levels) or level not in ("+", levels[place]):
            return False
    return topic_filter.count("/") == len(levels) - 1


def command_topic(agent: str) -> str:
    """Where an agent takes writes to its devices' points."""
    return f"{agent}/{COMMAND}"


def result_agent(topic: str) -> str | None:
    """The agent whose answers come on this topic; None where it is none of them."""
    head, _, tail = topic.partition("/")
    return head.lower() if tail == RESULT and _UUID.match(head) else None
