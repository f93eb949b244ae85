"""Shelf: the dictionaries of all agents, as they are kept over a restart of the bridge. Pure; bounded.

What a broker keeps is an agent's dictionary as it was when the agent's run began; additions are told once, and only to
who listens then (recorded/iotistica). Without this, what was added is not known any more after a restart.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

from bridge.errors import ProtocolError
from bridge.sources.iotistica.mqtt.dictionary import Dictionary

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

MOST: Final = 4 << 20
"""Characters of all dictionaries as they are kept; a recorded one has some 4000."""


class Shelf:
    """Dictionaries by agent. Those of agents that were not heard in this run stay where they are."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._heard: dict[str, Dictionary] = {}
        self._kept: dict[str, Any] = {}
        self._has_changed = False
        self._has_warned = False

    def recall(self, page: Mapping[str, Any]) -> None:
        """What was kept, before anything is heard."""
        self._kept = dict(page)

    def dictionary(self, agent: str) -> Dictionary:
        """An agent's, for the first time in this run: what is kept of it, else an empty one."""
        dictionary = self._heard[agent] = Dictionary()
        document = self._kept.get(agent)
        if isinstance(document, dict):
            try:
                dictionary.replace(document)
            except ProtocolError as error:
                log.warning("Source %s: the kept dictionary of %s cannot be read: %s", self._source, agent, error)
        return dictionary

    def change(self) -> None:
        """A dictionary may say something else than before."""
        self._has_changed = True

    def news(self) -> dict[str, Any] | None:
        """What to keep; None where it is what was given last."""
        if not self._has_changed:
            return None
        self._has_changed = False
        told = {agent: dictionary.document() for agent, dictionary in self._heard.items()}
        self._kept = self._bounded({**told, **{agent: kept for agent, kept in self._kept.items() if agent not in told}})
        return self._kept

    def _bounded(self, documents: dict[str, Any]) -> dict[str, Any]:
        page: dict[str, Any] = {}
        room = MOST
        for agent, document in documents.items():
            size = len(json.dumps(document))
            if document and size <= room:
                room -= size
                page[agent] = document
            elif document and not self._has_warned:
                self._has_warned = True
                log.warning("Source %s: dictionaries are too large to keep them all, %s's is not", self._source, agent)
        return page
