"""How an agent puts a message into bytes: JSON or msgpack, plain or through the dictionary, deflated above 4 KiB.

The first publish of a run and every 1000th is plain JSON whatever is set. Source: facts 1.11; recorded.
"""

from __future__ import annotations

import random
import zlib
from typing import Any

import msgpack
import orjson

from bridge.sim.iotistica.dictionary import Dictionary

DEFLATE_ABOVE = 4 * 1024
BASELINE_EVERY = 1000
ENCODINGS = ("json", "msgpack", "msgpack-map16", "dictionary", "dictionary+msgpack", "dictionary-legacy")


class Encoder:
    """One endpoint's.

    Args:
        encoding: One of ENCODINGS, or "mixed" for another one each time.
        deflate: Deflate what is above 4 KiB.
        dictionary: The agent's, shared by its endpoints.
        rng: Of "mixed".
    """

    def __init__(self, encoding: str, deflate: bool, dictionary: Dictionary, rng: random.Random) -> None:
        self._encoding = encoding
        self._deflate = deflate
        self._dictionary = dictionary
        self._rng = rng
        self._published = 0

    def encode(self, message: dict[str, Any], protocol: str) -> bytes:
        """The next publish."""
        number, self._published = self._published, self._published + 1
        if number % BASELINE_EVERY == 0:
            return orjson.dumps(message)
        encoding, deflates = self._encoding, self._deflate
        if encoding == "mixed":
            # The older form is of agents that count all fields once; with five counts nobody could read it.
            forms = ENCODINGS if self._dictionary.is_flat else ENCODINGS[:-1]
            encoding, deflates = self._rng.choice(forms), self._rng.random() < 0.5
        payload = self._plain(encoding, message, protocol)
        return zlib.compress(payload) if deflates and len(payload) > DEFLATE_ABOVE else payload

    def _plain(self, encoding: str, message: dict[str, Any], protocol: str) -> bytes:
        match encoding:
            case "json":
                return orjson.dumps(message)
            case "msgpack":
                return packed(message)
            case "msgpack-map16":
                return map16(message)
            case "dictionary":
                return orjson.dumps(self._dictionary.compact(message, protocol))
            case "dictionary+msgpack":
                return packed(self._dictionary.compact(message, protocol))
            case "dictionary-legacy":
                return orjson.dumps(self._dictionary.legacy(message, protocol))
        raise ValueError(f"{encoding!r} is no encoding: expected {', '.join(ENCODINGS)} or mixed")


def packed(message: Any) -> bytes:
    """As msgpack-lite has it, which the agent uses."""
    content = msgpack.packb(message)
    assert isinstance(content, bytes)  # noqa: S101 - the library says bytes or None
    return content


def map16(message: dict[str, Any]) -> bytes:
    """As msgpackr has it: the outermost map with a count of 16 bits, however small it is."""
    return b"\xde" + len(message).to_bytes(2, "big") + b"".join(packed(k) + packed(v) for k, v in message.items())


def destroyed(payload: bytes) -> bytes:
    """What the agent's buffer makes of a binary message: every byte that is no UTF-8 is lost (recorded)."""
    return payload.decode("utf-8", "replace").encode()
