"""A browser's connection: uvicorn's, closed where no request comes on it.

uvicorn waits for the first request, and for the rest of one that has begun, as long as the other side likes. There are
MAX_CONNECTIONS places: a scanner that says nothing, or browsers that were cut off, would take them all, and with them
the health check that tells whether the bridge lives.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

SILENT_S: Final = 10.0
"""So long a connection may be without a whole request; it is looked at so often."""


class Connection(H11Protocol):
    """One connection; requests that are answered, however long that takes, are let be."""

    _watch: asyncio.TimerHandle
    _seen: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's, and watched from now on."""
        super().connection_made(transport)
        self._watch = self.loop.call_later(SILENT_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        is_waiting = self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # None at first
        if is_waiting and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle
        self._watch = self.loop.call_later(SILENT_S, self._look)
