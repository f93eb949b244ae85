"""MQTT packets as bytes: PUBLISH made, PUBACK taken out of a stream. Pure. Section numbers are MQTT 5's."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLISH, PUBACK = 0x30, 0x40
QOS_1, RETAIN = 0x02, 0x01
"""Flags of PUBLISH (3.3.1)."""
LARGEST_REMAINING = 268_435_455
"""2.1.4: four bytes of seven bits."""
PACKET_OVERHEAD = 7
"""At most, of a PUBLISH: first byte, remaining length, packet identifier."""
LARGEST_PACKET = LARGEST_REMAINING + 5
REFUSAL = 0x80
"""Reason codes from here on are failures (2.4)."""
PUBACK_LIMIT = 1 << 17
"""Bytes of a PUBACK: a reason string and a few user properties of 64 KiB each at most are believed."""


@lru_cache(maxsize=4096)
def fixed_header(first: int, remaining: int) -> bytes:
    """First byte and remaining length of a packet."""
    encoded = bytearray((first,))
    while remaining > 127:
        encoded.append(remaining & 127 | 128)
        remaining >>= 7
    encoded.append(remaining)
    return bytes(encoded)


@lru_cache(maxsize=16_384)
def topic_name(topic: str) -> bytes:
    """A topic to publish to, with its length. Raises ValueError where nobody may publish to it (4.7.3)."""
    encoded = topic.encode()
    if not encoded or len(encoded) > 65_535 or "+" in topic or "#" in topic or "\0" in topic:
        raise ValueError(
            f"no topic to publish to: {topic[:100]!r} (empty, longer than 65535 bytes, or with +, # or NUL)"
        )
    return len(encoded).to_bytes(2, "big") + encoded


class Taken(NamedTuple):
    """What was in a piece of the stream."""

    acknowledged: Sequence[int]
    """Packet identifiers of all PUBACKs."""
    refused: Sequence[tuple[int, int]]
    """Identifier and reason code of those that are failures; they are among the acknowledged."""
    others: bytes
    """All other packets as they came, whole or not."""


class Splitter:
    """Takes PUBACKs out of what a broker sends, in whatever pieces it comes.

    Only the beginning of a packet, or of a PUBACK, is kept between two pieces: other packets pass as they come.
    """

    def __init__(self) -> None:
        self._kept = b""
        self._passing = 0

    def feed(self, data: bytes) -> Taken:
        """The next piece. Raises ValueError where it cannot be MQTT."""
        if self._kept:
            data, self._kept = self._kept + data, b""
        acknowledged: list[int] = []
        refused: list[tuple[int, int]] = []
        others: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if self._passing:
                part = data[at : at + self._passing]
                others.append(part)
                self._passing -= len(part)
                at += len(part)
                continue
            if data[at] == PUBACK and not acknowledged and (alike := _alike(data, at)):
                acknowledged += alike.identifiers
                at += alike.size
                continue
            body, size = _remaining(data, at)
            if body == 0:
                break
            if data[at] != PUBACK:
                self._passing = body - at + size
                continue
            if body + size > end:
                break
            acknowledged.append(data[body] << 8 | data[body + 1])
            if size > 2 and data[body + 2] >= REFUSAL:
                refused.append((acknowledged[-1], data[body + 2]))
            at = body + size
        self._kept = data[at:]
        return Taken(acknowledged, refused, b"".join(others))


class _Alike(NamedTuple):
    identifiers: Sequence[int]
    size: int


def _alike(data: bytes, at: int) -> _Alike | None:
    """The PUBACKs of one length without refusal that fill all of the rest but an unfinished one, which most pieces are.

    Looked at as columns: 50 ns an acknowledgement instead of 400. None where they are not alike, or there is just one.
    """
    size = 2 + data[at + 1] if at + 1 < len(data) else 0
    count = (len(data) - at) // size if 4 <= size <= 5 else 0
    end = at + count * size
    if count < 2 or data[at:end:size].count(PUBACK) != count or data[at + 1 : end : size].count(size - 2) != count:
        return None
    if size == 5 and max(data[at + 4 : end : size]) >= REFUSAL:
        return None
    high, low = data[at + 2 : end : size], data[at + 3 : end : size]
    return _Alike([most << 8 | least for most, least in zip(high, low, strict=True)], end - at)


def _remaining(data: bytes, at: int) -> tuple[int, int]:
    """Where the body of the packet at a position begins, and its length; (0, 0) where that has not all come."""
    size, shift = 0, 0
    for body in range(at + 1, len(data)):
        size |= (data[body] & 127) << shift
        if data[body] < 128:
            if data[at] == PUBACK and not 2 <= size <= PUBACK_LIMIT:
                raise ValueError(f"a PUBACK of {size} bytes")
            return body + 1, size
        shift += 7
        if shift > 21:
            raise ValueError("a packet length of more than four bytes")
    return 0, 0
