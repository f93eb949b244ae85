"""The QoS 1 messages that were sent and are not acknowledged. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIRST_ID, LAST_ID = 0xC000, 0xFFFF
"""Our packet identifiers. Those below are paho's, for SUBSCRIBE and UNSUBSCRIBE, which it counts from 1: one identifier
may not stand for two packets at a time (MQTT 5, 2.2.1)."""
IN_FLIGHT = 2000
"""At most; an MQTT 5 broker may allow fewer (Receive Maximum). At 120 000 messages/s this is 16 ms of a broker."""


class Window:
    """Who of them is still on its way, by packet identifier; acknowledgements may come in any order.

    An acknowledgement that is late, doubled or of nobody's packet changes nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = min(limit, IN_FLIGHT)
        self._topics: dict[int, str] = {}
        self._last = LAST_ID

    @property
    def limit(self) -> int:
        """How many may be on their way."""
        return self._limit

    @property
    def is_full(self) -> bool:
        """No other one may be sent now."""
        return len(self._topics) >= self._limit

    @property
    def topics(self) -> tuple[str, ...]:
        """Of the messages on their way, the oldest first."""
        return tuple(self._topics.values())

    def __len__(self) -> int:
        return len(self._topics)

    def take(self, topic: str) -> int:
        """The packet identifier for one more message; only where it is not full."""
        identifier = self._last
        while True:
            identifier = identifier + 1 if identifier < LAST_ID else FIRST_ID
            if identifier not in self._topics:
                break
        self._last = identifier
        self._topics[identifier] = topic
        return identifier

    def topic(self, identifier: int) -> str | None:
        """Of a message on its way."""
        return self._topics.get(identifier)

    def remaining(self, identifiers: Iterable[int]) -> list[int]:
        """Which of these are still on their way."""
        return [identifier for identifier in identifiers if identifier in self._topics]

    def __iter__(self) -> Iterator[int]:
        """Packet identifiers of the messages on their way."""
        return iter(self._topics)

    def settle(self, identifiers: Iterable[int]) -> None:
        """Forget what was acknowledged."""
        forget = self._topics.pop
        for identifier in identifiers:
            forget(identifier, None)
