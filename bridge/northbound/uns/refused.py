"""What the broker does not take from this face, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.northbound.uns.subscriptions import account
from bridge.transport.mqtt_refusals import Refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bridge.northbound.uns.branches import Branch
    from bridge.ports import Clock
    from bridge.transport.mqtt import BrokerConfig, Link

NAMED = 3
"""Lines of the ACL that are told."""
UNAUTHORIZED = "Not authorized"


class Refused:
    """Said while it lasts: whatever is refused is published again within `lasts_s`.

    MQTT 5 only, and QoS 1: else brokers say nothing. mosquitto 2.0 hangs up after some.
    `branches` gives that of every machine: whoever lacks more of one lacks the line for all of it.
    """

    def __init__(
        self, broker: BrokerConfig, clock: Clock, lasts_s: float, branches: Callable[[], Iterable[Branch]]
    ) -> None:
        self._broker = broker
        self._branches = branches
        self._clock = clock
        self._lasts_s = lasts_s
        self._refusals = Refusals()
        self._link: Link | None = None
        self._marks = (0, 0)
        self._marked = clock.monotonic()

    @property
    def total(self) -> int:
        """Messages the broker refused in this session."""
        return self._refusals.total

    def begin_session(self, link: Link) -> None:
        """What was refused in an earlier one may be allowed now."""
        self._link, self._refusals = link, link.refusals
        self._marks, self._marked = (0, 0), self._clock.monotonic()

    def look(self) -> None:
        """To be called every second or so: forgets what was refused two such times ago, and not since."""
        now = self._clock.monotonic()
        if now - self._marked >= self._lasts_s:
            self._marks, self._marked = (self._marks[1], self._refusals.total), now

    def of(self, topic: str) -> str:
        """Why the broker does not take this topic; "" where it does."""
        reason = self._refusals.since(self._marks[0]).get(topic)
        return f"the broker refuses what is published on its topic ({reason})" if reason else ""

    @property
    def trouble(self) -> str:
        """What is refused, and what is too large; "" where nothing is."""
        return ". ".join(filter(None, (self._refused, self._too_large)))

    @property
    def _too_large(self) -> str:
        if self._link is None or not self._link.oversized:
            return ""
        count, room = self._link.oversized, self._link.maximum_packet_size
        said = f"{count} messages since it was connected were larger than the {room} bytes that the broker"
        return f"{said} {self._broker.where} takes, and are not published: raise its maximum packet size"

    @property
    def _refused(self) -> str:
        """One sentence with the lines that are missing from the broker's ACL; "" where nothing is refused."""
        topics = self._refusals.since(self._marks[0])
        if not topics:
            return ""
        first, reason = min(topics.items())
        said = f"The broker {self._broker.where} refuses what is published on {len(topics)} topics"
        lines = self._lines([topic for topic, why in topics.items() if why == UNAUTHORIZED])
        if not lines:
            return f"{said}, such as {first} ({reason}): subscribers do not get it"
        more = f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
        lacks = f"Its ACL lacks, {account(self._broker)}: {'; '.join(lines[:NAMED])}{more}"
        return f"{said}: subscribers do not get it. {lacks}"

    def _lines(self, topics: Iterable[str]) -> list[str]:
        """Of the ACL, for these topics."""
        roots, of = {branch.root for branch in self._branches()}, dict[str, list[str]]()
        for topic in topics:
            root = next((above for above in _above(topic) if above in roots), topic)
            of.setdefault(root, []).append(topic)
        return sorted(
            f"topic write {root}/#" if len(below) > 1 else f"topic write {below[0]}" for root, below in of.items()
        )


def _above(topic: str) -> Iterator[str]:
    while "/" in topic:
        topic = topic.rpartition("/")[0]
        yield topic
