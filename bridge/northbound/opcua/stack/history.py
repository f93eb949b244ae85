"""The HistoryRead service, as the stack hands it to the room."""

from __future__ import annotations

from typing import Protocol

from asyncua import ua

MAX_NODES = 100
"""Of one request: each is a question to the disk."""
MAX_VALUES = 1000
"""Of one answer, all nodes together: encoding them takes 20 ms, and the loop stands still meanwhile."""


class Refused(Exception):
    """A node cannot be answered; `code` says why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class HistoryRoom(Protocol):
    """Where HistoryRead is answered."""

    async def read(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """One result per node, in order."""
