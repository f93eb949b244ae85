"""A topic that is published to again and again: what does not change is encoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.transport import mqtt_properties
from bridge.transport.mqtt_packet import topic_name

if TYPE_CHECKING:
    from bridge.transport.mqtt_message import Message

NO_NAME = b"\0\0"
"""Instead of the name, where the alias says it (MQTT 5, 3.3.2.1)."""


class Outlet:
    """Belongs to the link that made it (`Link.outlet`), and ends with it: aliases are a connection's.

    Args:
        like: every message, but for its payload.
        first: first byte of the packet.
        has_properties: the session speaks MQTT 5.
        alias: the topic's alias, or None.
    """

    __slots__ = ("first", "is_new", "name", "properties", "topic")

    def __init__(self, like: Message, first: int, has_properties: bool, alias: int | None) -> None:
        self.topic = like.topic
        self.first = first
        self.name = topic_name(like.topic)
        self.properties = mqtt_properties.outgoing(like, alias) if has_properties else b""
        self.is_new = alias is not None
        """The broker does not know the alias yet."""

    def was_sent(self) -> None:
        """The broker will know the alias before the next message comes."""
        self.name, self.is_new = NO_NAME, False
