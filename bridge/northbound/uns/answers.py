"""What is answered to whoever asked by topic: where to, and how long it is worth reading. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.northbound.uns.payload import JSON
from bridge.northbound.uns.topic import RESULT, is_answer_topic
from bridge.transport.mqtt import Message

if TYPE_CHECKING:
    from collections.abc import Container

EXPIRY_S = 300
"""A broker that speaks MQTT 5 keeps an answer for a client that is away no longer than this."""
FORBIDDEN = "The response topic has forbidden characters, or is one on which this bridge says something else"


def may_be_answered(asked: Message, roots: Container[str]) -> bool:
    """No response topic is asked for, or one on which an answer does no harm."""
    return asked.response_topic is None or is_answer_topic(asked.response_topic, roots)


def answer(
    asked: Message, content: bytes, properties: tuple[tuple[str, str], ...] = (), *, at_result: bool = False
) -> Message:
    """To the response topic, correlation data unchanged; without one, or if `at_result`, to <same topic>/result."""
    return Message(
        f"{asked.topic}/{RESULT}" if at_result or not asked.response_topic else asked.response_topic,
        content,
        qos=1,
        expiry_s=EXPIRY_S,
        content_type=JSON,
        correlation_data=asked.correlation_data,
        user_properties=properties,
    )
