"""The agents that are read: each told once, and again when more is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.model.observation import FoundMachine, Inventory

if TYPE_CHECKING:
    from collections.abc import Collection

    from bridge.ports import Publish
    from bridge.sources.iotistica.config import IotisticaConfig

MOST: Final = 2000
"""Agents of one source: what anybody may publish to must not fill the memory."""


class Roster:
    """Who is read, and what is known of whom.

    Args:
        source: the source's name.
        config: which agents are read.
        wanted: keys of the machines that the house wants; None for all. It may change (a reload).
    """

    def __init__(self, source: str, config: IotisticaConfig, wanted: Collection[str] | None) -> None:
        self._source = source
        self._config = config
        self._wanted = wanted
        self._known: dict[str, dict[str, str | int]] = {}
        self._told: set[str] = set()
        self.refused = 0
        """Messages of agents beyond the bound."""

    @property
    def agents(self) -> Collection[str]:
        """UUIDs of the agents that were met and are read."""
        return self._told

    def is_read(self, agent: str) -> bool:
        """This agent's values go on; whoever else publishes is only told of."""
        return self._config.is_read(agent) and (self._wanted is None or agent in self._wanted)

    def begin(self) -> None:
        """Another connection: everybody is told again when met."""
        self._told.clear()

    def meet(self, agent: str, publish: Publish, **facts: str) -> bool:
        """An agent was seen, and this is so of it; says whether it is read."""
        if not self._config.is_read(agent):
            return False
        known = self._known.get(agent)
        if known is None:
            if len(self._known) >= MOST:
                self.refused += 1
                return False
            known = self._known[agent] = {**self._config.hints(), "agent": agent, "serial": agent}
        news = {name: fact for name, fact in facts.items() if fact and known.get(name) != fact}
        if news or agent not in self._told:
            known.update(news)
            self._told.add(agent)
            publish(Inventory(self._source, appeared=(FoundMachine(agent, dict(known)),)))
        return self.is_read(agent)

    def leave(self, agent: str, publish: Publish) -> None:
        """An agent is no longer there."""
        if agent in self._told:
            self._told.discard(agent)
            self._known.pop(agent, None)
            publish(Inventory(self._source, vanished=(agent,)))
