"""MQTT 5 properties of a message: as bytes when we publish, from and to paho's form elsewhere."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypedDict

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.transport.mqtt_packet import fixed_header

if TYPE_CHECKING:
    from bridge.transport.mqtt_message import Message

PAYLOAD_FORMAT, EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA = 0x01, 0x02, 0x03, 0x08, 0x09
TOPIC_ALIAS, USER_PROPERTY = 0x23, 0x26
"""MQTT 5, 2.2.2.2."""
UTF_8 = 1
"""Payload Format Indicator: text (3.3.2.3.2)."""


class Received(TypedDict):
    """The fields of a Message that travel as properties."""

    expiry_s: int | None
    content_type: str | None
    response_topic: str | None
    correlation_data: bytes | None
    user_properties: tuple[tuple[str, str], ...]


def outgoing(message: Message, alias: int | None = None) -> bytes:
    """The properties of a PUBLISH, with their length; `alias` is the Topic Alias (3.3.2.3.4)."""
    if message.response_topic is None and message.correlation_data is None and alias is None:
        return _usual(message.expiry_s, message.content_type, message.user_properties)
    body = _unchanging(message.expiry_s, message.content_type, message.user_properties)
    if message.response_topic is not None:
        body += bytes((RESPONSE_TOPIC,)) + _sized(message.response_topic.encode())
    if message.correlation_data is not None:
        body += bytes((CORRELATION_DATA,)) + _sized(message.correlation_data)
    if alias is not None:
        body += bytes((TOPIC_ALIAS,)) + alias.to_bytes(2, "big")
    return _with_length(body)


@lru_cache(maxsize=256)
def _usual(expiry_s: int | None, content_type: str | None, user_properties: tuple[tuple[str, str], ...]) -> bytes:
    """The same for what most messages of a link share, made once."""
    return _with_length(_unchanging(expiry_s, content_type, user_properties))


def _with_length(body: bytes) -> bytes:
    return fixed_header(0, len(body))[1:] + body


def _unchanging(expiry_s: int | None, content_type: str | None, user_properties: tuple[tuple[str, str], ...]) -> bytes:
    body = b"" if expiry_s is None else bytes((EXPIRY,)) + expiry_s.to_bytes(4, "big")
    if content_type is not None:  # whatever type we name is text
        body += bytes((PAYLOAD_FORMAT, UTF_8, CONTENT_TYPE)) + _sized(content_type.encode())
    for name, value in user_properties:
        body += bytes((USER_PROPERTY,)) + _sized(name.encode()) + _sized(value.encode())
    return body


def _sized(content: bytes) -> bytes:
    """Raises ValueError where two bytes cannot say how long it is (1.5.4, 1.5.6)."""
    if len(content) > 65_535:
        raise ValueError(f"a property of {len(content)} bytes; MQTT allows 65535")
    return len(content).to_bytes(2, "big") + content


def of_will(message: Message) -> Properties | None:
    """The properties of a will: expiry, content type and user properties, or None where it has none."""
    given = {
        "PayloadFormatIndicator": None if message.content_type is None else UTF_8,
        "MessageExpiryInterval": message.expiry_s,
        "ContentType": message.content_type,
        "UserProperty": list(message.user_properties) or None,
    }
    present = {name: value for name, value in given.items() if value is not None}
    if not present:
        return None
    properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
    for name, value in present.items():
        setattr(properties, name, value)
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
