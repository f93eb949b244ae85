"""EmbeddedBroker: a small MQTT 3.1.1 broker inside the bridge, on amqtt.

For a demo, a test and a small site without a broker of its own; facts on performance say ten times slower than
mosquitto. Retained messages live in memory: the bridge publishes them again when it starts.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from bridge.errors import AddressTaken
from bridge.runtime.amqtt_rim import RimBroker

if TYPE_CHECKING:
    from bridge.config.broker import EmbeddedBrokerConfig

WHAT = "the embedded MQTT broker"


class EmbeddedBroker:
    """Entered with `async with`: listens when entered; leaving delivers what is under way and closes everything.

    Entering raises AddressTaken.
    """

    def __init__(self, config: EmbeddedBrokerConfig) -> None:
        self._config = config
        self._broker: RimBroker
        self.port = config.port
        """The port it listens on; the one that was found where the configuration says 0."""

    async def __aenter__(self) -> EmbeddedBroker:
        listening = self._bind()
        self.port = listening.getsockname()[1]
        _quieten()
        try:
            self._broker = RimBroker(listening, self._config.users)
            await self._broker.start()
        except BaseException:
            listening.close()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._broker.end()

    def metrics(self) -> dict[str, float]:
        """Counters for the status page."""
        return {
            "broker_connections": self._broker.connections,
            "broker_retained": self._broker.retained,
            "broker_messages_total": self._broker.messages_total,
            "broker_slow_subscribers_total": self._broker.cut_total,
            "broker_refused_retained_total": self._broker.refused_retained_total,
        }

    def _bind(self) -> socket.socket:
        host, port = self._config.host, self._config.port
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=100)
        except OSError as error:
            raise AddressTaken(
                WHAT, f"{host}:{port}", os.strerror(error.errno) if error.errno else str(error)
            ) from None


def _quieten() -> None:
    """What amqtt warns of (a client that left, a packet that was late) is the client's business or ours to say."""
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
