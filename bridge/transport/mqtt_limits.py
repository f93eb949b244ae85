"""What a broker can take, as it says in CONNACK (MQTT 5, 3.2.2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.transport.mqtt_packet import LARGEST_PACKET

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one session; as they stand for MQTT 3.1.1, whose brokers say nothing."""

    receive_maximum: int = 65_535
    """QoS 1 messages on their way to the broker at one time."""
    packet: int = LARGEST_PACKET
    """Bytes of a packet."""
    qos: int = 2
    retain: bool = True
    topic_aliases: int = 0

    @classmethod
    def said(cls, properties: Properties | None) -> Limits:
        """What the properties of CONNACK say; what is absent is as in the standard."""
        return cls(
            receive_maximum=getattr(properties, "ReceiveMaximum", cls().receive_maximum),
            packet=getattr(properties, "MaximumPacketSize", LARGEST_PACKET),
            qos=getattr(properties, "MaximumQoS", cls().qos),
            retain=bool(getattr(properties, "RetainAvailable", True)),
            topic_aliases=getattr(properties, "TopicAliasMaximum", 0),
        )

    @property
    def lacks(self) -> tuple[str, ...]:
        """What we do without, for a person."""
        without_qos = () if self.qos else ("it takes QoS 0 only, so that nothing is acknowledged",)
        return without_qos + (() if self.retain else ("it keeps no retained messages",))
