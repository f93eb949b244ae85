"""MQTT 5 properties of a message, to and from paho's form."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypedDict

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

if TYPE_CHECKING:
    from bridge.transport.mqtt import Message


class Received(TypedDict):
    """The fields of a Message that travel as properties."""

    expiry_s: int | None
    content_type: str | None
    response_topic: str | None
    correlation_data: bytes | None
    user_properties: tuple[tuple[str, str], ...]


class _Packed(Properties):
    """Properties that are encoded once: most messages of a link carry the same ones."""

    def pack(self) -> bytes:
        packed: bytes | None = self.__dict__.get("_packed")
        if packed is None:
            packed = self.__dict__["_packed"] = bytes(super().pack())  # type: ignore[no-untyped-call]
        return packed


def outgoing(message: Message) -> Properties | None:
    """The properties to publish this message with, or None where it has none."""
    return _made(
        PacketTypes.PUBLISH,
        message.expiry_s,
        message.content_type,
        message.response_topic,
        message.correlation_data,
        message.user_properties,
    )


def of_will(message: Message) -> Properties | None:
    """The properties of a will: expiry and content type only."""
    return _made(PacketTypes.WILLMESSAGE, message.expiry_s, message.content_type, None, None, message.user_properties)


@lru_cache(maxsize=256)
def _made(
    packet: int,
    expiry_s: int | None,
    content_type: str | None,
    response_topic: str | None,
    correlation_data: bytes | None,
    user_properties: tuple[tuple[str, str], ...],
) -> Properties | None:
    given = {
        "MessageExpiryInterval": expiry_s,
        "ContentType": content_type,
        "ResponseTopic": response_topic,
        "CorrelationData": correlation_data,
        "UserProperty": list(user_properties) or None,
    }
    present = {name: value for name, value in given.items() if value is not None}
    if not present:
        return None
    properties = _Packed(packet)  # type: ignore[no-untyped-call]
    for name, value in present.items():
        setattr(properties, name, value)
    return properties


def of_session(expiry_s: int) -> Properties:
    """CONNECT properties of a session that the broker keeps for a while."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = expiry_s
    return properties


def live(qos: int) -> SubscribeOptions:
    """Subscription options: only what others publish from now on, with their retain flag (MQTT 5, 3.8.3.1)."""
    return SubscribeOptions(
        qos, noLocal=True, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
    )


def incoming(properties: Properties | None) -> Received:
    """What a received message's properties say."""
    return {
        "expiry_s": getattr(properties, "MessageExpiryInterval", None),
        "content_type": getattr(properties, "ContentType", None),
        "response_topic": getattr(properties, "ResponseTopic", None),
        "correlation_data": getattr(properties, "CorrelationData", None),
        "user_properties": tuple(getattr(properties, "UserProperty", ())),
    }
