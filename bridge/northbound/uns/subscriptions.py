"""What this face listens to, and what the broker does not let it hear."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from bridge.errors import SubscribeRefused
from bridge.northbound.uns.topic import SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from bridge.transport.mqtt import BrokerConfig, Link

_log = logging.getLogger(__name__)

AT_ONCE = 100
"""Subscriptions in one step."""
NAMED = 3
"""Lines of the ACL that are told."""


class Subscriptions:
    """The topic filters of a session. What was refused is asked for again in the next one: an ACL may have changed."""

    def __init__(self, broker: BrokerConfig) -> None:
        self._broker = broker
        self._held: set[str] = set()
        self._refused: dict[str, str] = {}
        self._is_told = False

    @property
    def trouble(self) -> str:
        """One sentence on what is refused, with the line that is missing from the broker's ACL; "" where nothing is.

        mosquitto's acl_file refuses no subscription, it only delivers nothing; its dynamic security plugin does.
        """
        if not self._refused:
            return ""
        refused = sorted(self._refused, key=lambda topic: (topic.endswith(SNAPSHOT), topic))
        lines = "; ".join(f"topic read {topic}" for topic in refused[:NAMED])
        more = f"; and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
        return (
            f"The broker {self._broker.where} refuses {len(self._refused)} of {len(self._refused) + len(self._held)} "
            f"subscriptions ({self._refused[refused[0]]}): what is sent there is not heard. "
            f"Its ACL lacks, {account(self._broker)}: {lines}{more}. Or switch off uns.commands and uns.snapshots"
        )

    def begin_session(self) -> None:
        """The broker has no subscription of ours."""
        self._held.clear()
        self._refused.clear()

    async def follow(self, link: Link, wanted: AbstractSet[str]) -> None:
        """Subscribe to these filters and to nothing else. Raises LinkLost."""
        for topic in self._held - wanted:
            link.unsubscribe(topic)
        self._held &= wanted
        self._refused = {topic: why for topic, why in self._refused.items() if topic in wanted}
        new = sorted(wanted - self._held - self._refused.keys())
        for start in range(0, len(new), AT_ONCE):
            await asyncio.gather(*(self._subscribe(link, topic) for topic in new[start : start + AT_ONCE]))
        self._tell()

    async def _subscribe(self, link: Link, topic: str) -> None:
        try:
            await link.subscribe(topic, live=True)
        except SubscribeRefused as error:
            self._refused[topic] = str(error).removeprefix(f"{topic}: ")
        else:
            self._held.add(topic)

    def _tell(self) -> None:
        """Once while it lasts, over sessions."""
        if self._refused and not self._is_told:
            _log.warning("%s", self.trouble)
        self._is_told = bool(self._refused)


def account(broker: BrokerConfig) -> str:
    """Whom the broker's ACL knows us as."""
    return f'for user "{broker.username}"' if broker.username else "for clients without a name"
