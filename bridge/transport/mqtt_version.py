"""Which MQTT version a connection speaks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)

Protocol: TypeAlias = Literal["auto", "3.1.1", "5"]

UNSUPPORTED = 0x84
"""CONNACK: Unsupported Protocol Version (MQTT 5, 3.2.2.2); paho reads the 0x01 of MQTT 3.1.1, 3.2.2.3, as this."""


def in_turn(protocol: Protocol) -> Sequence[Protocol]:
    """The versions to try. MQTT 5 first at every connection: a broker may have been mistaken, or replaced, before."""
    return ("5", "3.1.1") if protocol == "auto" else (protocol,)


class Spoken:
    """What a broker was last spoken to in, and done without, over connections: said when found, and when it changes."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._version: Protocol | None = None
        self._lacks: Sequence[str] = ()
        self._told: dict[str, tuple[object, ...]] = {}

    def now(self, where: str, version: Protocol) -> None:
        """A connection was made in this version."""
        if version != self._version:
            self._version = version
            less = "" if version == "5" else ", for it refuses 5: without response topics and message expiry"
            _log.info("%s speaks MQTT %s with the broker %s%s", self._who, version, where, less)

    def without(self, where: str, lacks: Sequence[str]) -> None:
        """What the broker cannot do, and is done without."""
        if lacks != self._lacks:
            self._lacks = lacks
            if lacks:
                _log.warning("%s does without what the broker %s cannot: %s", self._who, where, "; ".join(lacks))

    def is_news(self, what: str, *about: object) -> bool:
        """This fault was not the last of its kind: sessions that end by it, one after another, say it once."""
        is_news = self._told.get(what) != about
        self._told[what] = about
        return is_news
