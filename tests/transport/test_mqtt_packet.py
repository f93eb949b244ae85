"""MQTT packets as bytes: headers and properties are held to paho's reading of them, PUBACKs to any way of cutting."""

from __future__ import annotations

import random

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.transport import mqtt_properties
from bridge.transport.mqtt_message import Message
from bridge.transport.mqtt_packet import LARGEST_REMAINING, PUBACK, PUBACK_LIMIT, Splitter, fixed_header, topic_name

PING = b"\xd0\x00"
RECEIVED = b"\x30\x0c\x00\x05plant\x40\x02\x00\x01\x40"
"""A PUBLISH whose payload looks like acknowledgements."""


def puback(identifier: int, reason: int | None = None, more: bytes = b"") -> bytes:
    body = identifier.to_bytes(2, "big") + (b"" if reason is None else bytes((reason,))) + more
    return fixed_header(PUBACK, len(body)) + body


LONG = puback(0xC123, 0x97, b"\x83\x01\x1f\x00\x80" + b"x" * 128)
"""With a reason string: its length takes two bytes."""
STREAM = b"".join(
    (PING, puback(0xC001), puback(0xC002), RECEIVED, puback(0xC003, 0x10), puback(0xC004, 0x87), LONG, PING, puback(9))
)
ACKNOWLEDGED = [0xC001, 0xC002, 0xC003, 0xC004, 0xC123, 9]
REFUSED = [(0xC004, 0x87), (0xC123, 0x97)]


def taken(pieces: list[bytes]) -> tuple[list[int], list[tuple[int, int]], bytes]:
    splitter, acknowledged, refused, others = Splitter(), [], [], b""  # type: ignore[var-annotated]
    for piece in pieces:
        some = splitter.feed(piece)
        acknowledged += some.acknowledged
        refused += some.refused
        others += some.others
    return acknowledged, refused, others


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_acknowledgements_are_found_wherever_the_stream_is_cut(cut: int) -> None:
    assert taken([STREAM[:cut], STREAM[cut:]]) == (ACKNOWLEDGED, REFUSED, PING + RECEIVED + PING)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_acknowledgements_are_found_in_pieces_of_any_size(size: int) -> None:
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert taken(pieces) == (ACKNOWLEDGED, REFUSED, PING + RECEIVED + PING)


def test_long_packet_of_others_passes_as_it_comes() -> None:
    splitter = Splitter()
    head = fixed_header(0x30, 1 << 20)
    assert splitter.feed(head + b"\x00").others == head + b"\x00"
    assert splitter.feed(b"\x40\x02\xc0\x01" * 1000) == ([], [], b"\x40\x02\xc0\x01" * 1000)


@pytest.mark.parametrize("reasons", [(), (0x10,), (0x00, 0x10, 0x87), (0x80,)])
def test_batches_are_read_as_one_by_one(reasons: tuple[int, ...]) -> None:
    """Batches of one length have a way of their own."""
    rng = random.Random(1)
    for count in range(2, 40):
        packets = [
            (identifier, rng.choice(reasons) if reasons else None)
            for identifier in rng.choices(range(1, 0x10000), k=count)
        ]
        stream = b"".join(puback(*packet) for packet in packets)
        identifiers = [identifier for identifier, _ in packets]
        refused = [(identifier, reason) for identifier, reason in packets if reason and reason >= 0x80]
        for tail in (b"", puback(7), puback(7, 0x97), PING, stream[:3]):
            acknowledged, no, others = taken([stream + tail])
            assert acknowledged[:count] == identifiers
            assert no[: len(refused)] == refused
            assert others == (PING if tail == PING else b"")
            assert len(acknowledged) == count + (tail[:1] == b"\x40" and tail != stream[:3])


@pytest.mark.parametrize(
    "stream",
    [
        b"\x30\xff\xff\xff\xff\x01",
        b"\x40\xff\xff\xff\xff\x01",
        b"\x40\x00",
        b"\x40\x01\x00",
        fixed_header(PUBACK, PUBACK_LIMIT + 1),
    ],
)
def test_what_cannot_be_mqtt_is_an_error_and_not_kept(stream: bytes) -> None:
    for size in (1, len(stream)):
        with pytest.raises(ValueError, match=r"PUBACK of|packet length"):
            taken([stream[at : at + size] for at in range(0, len(stream), size)])


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, LARGEST_REMAINING])
def test_fixed_header_is_read_back(size: int) -> None:
    """MQTT 5, 1.5.5: seven bits a byte, the least first."""
    header = fixed_header(0x32, size)
    assert header[0] == 0x32
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(header[1:])) == size
    assert len(header) == 2 + sum(size >= limit for limit in (128, 16_384, 2_097_152))


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "x" * 65_536])
def test_topic_nobody_can_publish_to_is_an_error(topic: str) -> None:
    with pytest.raises(ValueError, match="no topic to publish to"):
        topic_name(topic)


def test_topic_name_counts_bytes() -> None:
    assert topic_name("Straße") == b"\x00\x07" + "Straße".encode()


MESSAGES = [
    Message("a", b"", expiry_s=300, content_type="application/json"),
    Message("a", b"", response_topic="b/c", correlation_data=b"\x00\xff"),
    Message("a", b"", user_properties=(("unit", "°C"), ("unit", "K"))),
    Message("a", b"", 1, True, 0, "text/plain", "r", b"", (("k", "v" * 200),)),
]


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("alias", [None, 7])
def test_properties_are_what_paho_reads(message: Message, alias: int | None) -> None:
    encoded = mqtt_properties.outgoing(message, alias)
    read = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    _, size = read.unpack(encoded)  # type: ignore[no-untyped-call]
    assert size == len(encoded)
    assert mqtt_properties.incoming(read) == {
        "expiry_s": message.expiry_s,
        "content_type": message.content_type,
        "response_topic": message.response_topic,
        "correlation_data": message.correlation_data,
        "user_properties": message.user_properties,
    }
    assert getattr(read, "TopicAlias", None) == alias


def test_no_properties_are_one_byte() -> None:
    assert mqtt_properties.outgoing(Message("a", b"")) == b"\0"


def test_property_that_is_too_long_is_an_error() -> None:
    with pytest.raises(ValueError, match="65535"):
        mqtt_properties.outgoing(Message("a", b"", correlation_data=b"x" * 65_536))
