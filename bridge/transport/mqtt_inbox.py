"""What was received and nobody has taken yet. Bounded: the oldest goes first, and is counted."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from bridge.transport import mqtt_properties
from bridge.transport.mqtt_message import Message

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

_log = logging.getLogger(__name__)

INBOX_LIMIT = 1000
"""Messages."""
INBOX_BYTES = 1 << 26
"""Bytes of them."""
PAYLOAD_LIMIT = 1 << 20
"""Bytes of a payload, where the reader names no other limit; larger ones are dropped, with a word. Not said to the
broker in CONNECT: those of MQTT 3.1.1 stumble over properties instead of refusing the version (amqtt 0.12)."""


class Inbox:
    """For one reader, who takes payloads of up to `largest` bytes."""

    def __init__(self, largest: int | None = None) -> None:
        self._largest = PAYLOAD_LIMIT if largest is None else largest
        self._has_told = False
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._came = asyncio.Event()
        self.dropped = 0
        """Messages that were dropped: nobody took them in time, or they were too large."""

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, received: MQTTMessage) -> None:
        """As paho gives it."""
        try:
            topic = received.topic
        except UnicodeDecodeError:
            self.dropped += 1
            return
        if len(received.payload) > self._largest:
            self.dropped += 1
            self._tell(topic, len(received.payload))
            return
        properties = mqtt_properties.incoming(received.properties)
        message = Message(topic, bytes(received.payload), received.qos, received.retain, **properties)
        self._messages.append(message)
        self._bytes += _size(message)
        while len(self._messages) > INBOX_LIMIT or self._bytes > INBOX_BYTES:
            self.take()
            self.dropped += 1
        self._came.set()

    def _tell(self, topic: str, size: int) -> None:
        """Once a session: the others are counted."""
        if not self._has_told:
            self._has_told = True
            _log.warning(
                "A message on %s is dropped: it has %d bytes, and no more than %d are taken",
                topic[:200],
                size,
                self._largest,
            )

    def take(self) -> Message:
        """The oldest one, if there is one."""
        message = self._messages.popleft()
        self._bytes -= _size(message)
        return message

    def wake(self) -> None:
        """Whoever waits is to look at something else."""
        self._came.set()

    async def came(self) -> None:
        """Wait for the next message, or to be woken up."""
        self._came.clear()
        await self._came.wait()


def _size(message: Message) -> int:
    words = sum(len(name) + len(content) for name, content in message.user_properties)
    return len(message.topic) + len(message.payload) + len(message.correlation_data or b"") + words
