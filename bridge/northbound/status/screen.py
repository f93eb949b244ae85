"""The stream of one screen: the overview, and the tags that are on the screen; nothing is sent that nobody sees.

    event: overview {…}                                          at first, and every 2 s (see overview.py)
    event: window   {"now", "total", "all", "offset", "tags": […]}   at first, and when other tags are on the screen
    event: values   {"now", "values": {"<tag id>": value, …}}     what changed of them, at most every 200 ms
    event: dropped  {"sentence"}                                 at first, where this view was too slow before

`total` tags are found by the search, of `all` there are; `tags` are those from `offset` on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import StreamingResponse

from bridge.northbound.status.overview import severity
from bridge.northbound.status.payload import instant, tag_payload, value_payload
from bridge.northbound.status.stream import COALESCE_S, encoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from starlette.types import Send

    from bridge.model.tag import Tag
    from bridge.model.value import DataValue
    from bridge.northbound.status.overview import Overview
    from bridge.northbound.status.search import Search
    from bridge.ports import Clock, Feed, Operations, TagView

_log = logging.getLogger(__name__)

OVERVIEW_S: Final = 2.0
LOOK_AGAIN_S: Final = 1.0
"""How often a list that depends on qualities is made anew."""

WIDEST: Final = 300
"""Tags on one screen, with some above and below."""

PATIENCE_S: Final = 30.0
"""So long a browser may take nothing of what is sent to it. Its system has taken some 100 kB by then."""

TOO_SLOW: Final = "This view took nothing for 30 s and was closed by the bridge; it is up to date again"


@dataclass(frozen=True, slots=True)
class Shown:
    """What is on the screen."""

    search: Search
    only: frozenset[str] = frozenset()
    """Severities to show; all where there is none."""
    offset: int = 0
    limit: int = 0
    pinned: str = ""
    """Id of a tag that is looked at closely, wherever the list stands."""


class Screen:
    """One reader's stream; its feed lives as long as the iteration of `events`."""

    def __init__(
        self,
        view: TagView,
        operations: Operations,
        overview: Overview,
        clock: Clock,
        shown: Shown,
        stopping: asyncio.Future[None],
    ) -> None:
        self._view = view
        self._operations = operations
        self._overview = overview
        self._clock = clock
        self._shown = shown
        self._stopping = stopping
        self._found: list[Tag] = []
        self._listed: list[Tag] = []
        self._total = -1
        self._slots: dict[int, Tag] = {}

    async def events(self, name: str, first: bytes = b"") -> AsyncIterator[bytes]:
        """The events, encoded; ends when the server stops. `name` is the reader's, unique."""
        if first:
            yield first
        if not self._shown.limit:
            async for event in self._overviews():
                yield event
            return
        with self._view.subscribe(name) as feed:
            async for event in self._following(feed):
                yield event

    async def _overviews(self) -> AsyncIterator[bytes]:
        while not self._stopping.done():
            yield encoded("overview", self._overview.payload())
            await asyncio.wait({self._stopping}, timeout=OVERVIEW_S)

    async def _following(self, feed: Feed) -> AsyncIterator[bytes]:
        """Batches as they come, and the overview in between."""
        next_overview = float("-inf")
        waiting: asyncio.Task[Any] | None = None
        pause = LOOK_AGAIN_S if self._shown.only else COALESCE_S
        try:
            while not self._stopping.done():
                if self._clock.monotonic() >= next_overview:
                    next_overview = self._clock.monotonic() + OVERVIEW_S
                    yield encoded("overview", self._overview.payload())
                waiting = waiting or asyncio.create_task(_next(feed), name="status screen")
                either: set[asyncio.Future[Any]] = {waiting, self._stopping}
                await asyncio.wait(either, timeout=OVERVIEW_S, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done() and not self._stopping.done():
                    batch, waiting = waiting.result(), None
                    for event in self._encoded(batch.values, is_other_plant=batch.change is not None):
                        yield event
                    await asyncio.wait({self._stopping}, timeout=pause)
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.wait({waiting})

    def _encoded(self, values: Mapping[int, DataValue], *, is_other_plant: bool) -> Iterator[bytes]:
        if is_other_plant:
            self._found = self._shown.search.found(self._view.plant)
            self._total = -1
        if self._look_again(is_other_plant):
            yield encoded("window", self._window())
            return
        now = self._clock.now()
        changed = {self._slots[slot].id: value_payload(values[slot], now) for slot in values if slot in self._slots}
        if changed:
            yield encoded("values", {"now": instant(now), "values": changed})

    def _look_again(self, is_other_plant: bool) -> bool:
        """Make the list anew where it may be another; whether it is."""
        if not is_other_plant and not self._shown.only:
            return False
        wanted = list(self._wanted())
        start = self._shown.offset
        listed, before = wanted[start : start + self._shown.limit], (self._total, self._listed)
        self._total, self._listed = len(wanted), listed
        if (self._total, listed) == before:
            return False
        pinned = self._view.plant.find(self._shown.pinned)
        self._slots = {tag.slot: tag for tag in (*listed, *([pinned] if pinned else ()))}
        return True

    def _wanted(self) -> Iterator[Tag]:
        values, only = self._view.snapshot(), self._shown.only
        for tag in self._found:
            value = values.get(tag.slot)
            if value is not None and (not only or severity(value.status) in only):
                yield tag

    def _window(self) -> dict[str, Any]:
        now = self._clock.now()
        tags = (*self._listed, *(tag for tag in self._slots.values() if tag.id == self._shown.pinned))
        return {
            "now": instant(now),
            "total": self._total,
            "all": sum(len(machine.tags) for machine in self._view.plant.everything()),
            "offset": self._shown.offset,
            "tags": [tag_payload(tag, self._view.read(tag), now) for tag in tags[: len(self._listed)]],
            "pinned": {tag.id: value_payload(self._view.read(tag), now) for tag in tags[len(self._listed) :]},
        }


class PatientStream(StreamingResponse):
    """A stream that is given up where the reader takes nothing for PATIENCE_S; `dropped` is told the reader's name."""

    def __init__(self, content: AsyncIterator[bytes], headers: Mapping[str, str], dropped: Dropped, name: str) -> None:
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._dropped = dropped
        self._name = name

    async def stream_response(self, send: Send) -> None:
        """As Starlette's, with a limit to each send."""

        async def patient(message: Any) -> None:
            async with asyncio.timeout(PATIENCE_S):
                await send(message)

        try:
            await super().stream_response(patient)
        except TimeoutError:
            self._dropped.add(self._name)


class Dropped:
    """Views that were too slow, until they have been told. Bounded."""

    def __init__(self) -> None:
        self._names: deque[str] = deque(maxlen=64)
        self.total = 0

    def add(self, name: str) -> None:
        """This view was closed."""
        _log.warning("A view of the status page took nothing for %.0f s and was closed", PATIENCE_S)
        self.total += 1
        if name:
            self._names.append(name)

    def word_for(self, name: str) -> bytes:
        """The event that tells a view of it, once; b"" where there is nothing to tell."""
        if not name or name not in self._names:
            return b""
        self._names.remove(name)
        return encoded("dropped", {"sentence": TOO_SLOW})


async def _next(feed: Feed) -> Any:
    return await anext(feed)
