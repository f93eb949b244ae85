"""What a broker acknowledged with a refusal (MQTT 5, 3.4.2.1): how much, and of which topics. Pure."""

from __future__ import annotations

KEPT = 1000
"""Topics that are known by name; of more, the newest."""


class Refusals:
    """Of one session."""

    def __init__(self) -> None:
        self.total = 0
        self._topics: dict[str, tuple[int, str]] = {}

    def note(self, topic: str, reason: str) -> None:
        """The broker did not take a message."""
        self.total += 1
        self._topics.pop(topic, None)
        self._topics[topic] = self.total, reason
        if len(self._topics) > KEPT:
            del self._topics[next(iter(self._topics))]

    def since(self, total: int) -> dict[str, str]:
        """Topics refused since there were so many, with the reason; the newest KEPT of them."""
        return {topic: reason for topic, (number, reason) in self._topics.items() if number > total}
