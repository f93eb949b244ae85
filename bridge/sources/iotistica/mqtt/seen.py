"""Seen: messages that came before, by their own ids. Pure; bounded."""

from __future__ import annotations

from typing import Final

WINDOW: Final = 20_000
"""Messages. A broker repeats what it is not sure of within seconds: at 100 messages a second this is three minutes."""


class Seen:
    """The last ids."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._ids: dict[str, None] = {}

    def is_new(self, identifier: str) -> bool:
        """Whether it comes for the first time; remembers it."""
        if identifier in self._ids:
            return False
        self._ids[identifier] = None
        if len(self._ids) > self._window:
            del self._ids[next(iter(self._ids))]
        return True
