"""Intake: one message of an agent after the other, to what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.ports import Clock, Publish
    from bridge.sources.iotistica.config import IotisticaConfig
    from bridge.sources.iotistica.mqtt.config import MqttRules
    from bridge.sources.iotistica.mqtt.topic import Topics
    from bridge.sources.iotistica.roster import Roster
    from bridge.transport.mqtt import Message


class Intake:
    """Takes messages. Never raises for what it is given."""

    def __init__(
        self, source: str, config: IotisticaConfig, rules: MqttRules, clock: Clock, roster: Roster, topics: Topics
    ) -> None:
        self._source = source
        self._config = config
        self._rules = rules
        self._clock = clock
        self._roster = roster
        self._topics = topics
        self.messages = 0

    def take(self, message: Message, publish: Publish) -> None:
        """A message on a topic that was subscribed to."""
        self.messages += 1
        place = self._topics.place(message.topic)
        if place is not None:
            self._roster.meet(place.agent, publish)

    def figures(self) -> Iterator[tuple[str, int]]:
        """What is counted."""
        yield "MqttMessages", self.messages
