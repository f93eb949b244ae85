"""The stream: the plant and what changes in it, as server-sent events.

    event: plant    {"machines": [machine, …], "gone": [id, …]}   first, and whenever machines came, went or changed
    event: tags     {"tags": [tag with value, …]}                 every tag of new or changed machines, in portions
    event: ready    {}                                            the first whole plant has been sent
    event: values   {"<tag id>": value, …}                        what changed, at most every 200 ms, in portions
    : heart-beat                                                  a comment when nothing happened for 15 s

`gone` are machines whose tags a reader must forget (a changed one comes again with `tags`).
Source: WHATWG HTML, 9.2 Server-sent events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from bridge.northbound.status.payload import machine_payload, tag_payload, value_payload

if TYPE_CHECKING:
    from bridge.model.plant import Batch, Machine, PlantChange
    from bridge.model.tag import Tag
    from bridge.northbound.status.filter import TagFilter
    from bridge.ports import Clock, Feed, TagView

COALESCE_S = 0.2
HEARTBEAT_S = 15.0
PORTION = 500
"""Tags in one event: what the loop does without a pause (about 2 ms)."""

HEARTBEAT = b": heart-beat\n\n"

_Item = TypeVar("_Item")


class TagStream:
    """One reader's stream; its feed lives as long as the iteration of `events`.

    Args:
        view: where the tags are.
        name: the reader's name, unique.
        wanted: which tags.
        stopping: done when the server stops; ends the stream.
    """

    def __init__(
        self, view: TagView, clock: Clock, name: str, wanted: TagFilter, stopping: asyncio.Future[None]
    ) -> None:
        self._view = view
        self._clock = clock
        self._name = name
        self._wanted = wanted
        self._stopping = stopping
        self._tags: dict[int, Tag] = {}

    async def events(self) -> AsyncIterator[bytes]:
        """The events, encoded; ends when the server stops."""
        with self._view.subscribe(self._name) as feed:
            async for event in self._following(feed):
                yield event

    async def _following(self, feed: Feed) -> AsyncIterator[bytes]:
        is_first = True
        async for batch in _raced(feed, self._stopping):
            if batch is None:
                yield HEARTBEAT
                continue
            for event in self._encoded(batch):
                yield event
                await asyncio.sleep(0)  # writing to a reader that keeps up never waits by itself
            if is_first:
                is_first = False
                yield encoded("ready", {})
            await self._clock.sleep(COALESCE_S)

    def _encoded(self, batch: Batch) -> Iterator[bytes]:
        shown: set[int] = set()
        if batch.change:
            yield encoded("plant", self._plant(batch))
            self._tags = {tag.slot: tag for tag in _tags_of(batch.plant.everything()) if self._wanted(tag)}
            fresh = [tag for tag in _tags_of(_new(batch.change)) if tag.slot in self._tags]
            shown = {tag.slot for tag in fresh}
            yield from self._portions_of(fresh)
        changed = [slot for slot in batch.values if slot in self._tags and slot not in shown]
        now = self._clock.now()
        for portion in portions(changed, PORTION):
            values = {self._tags[slot].id: value_payload(batch.values[slot], now) for slot in portion}
            yield encoded("values", values)

    def _portions_of(self, tags: Sequence[Tag]) -> Iterator[bytes]:
        values, now = self._view.snapshot(), self._clock.now()
        known = [(tag, values[tag.slot]) for tag in tags if tag.slot in values]
        for portion in portions(known, PORTION):
            yield encoded("tags", {"tags": [tag_payload(tag, value, now) for tag, value in portion]})

    def _plant(self, batch: Batch) -> dict[str, Any]:
        change = batch.change
        gone = [*change.removed, *(machine.before for machine in change.changed)] if change else []
        return {
            "machines": [machine_payload(machine) for machine in batch.plant.everything()],
            "gone": [machine.id for machine in gone],
        }


def encoded(event: str, data: Any) -> bytes:
    """One server-sent event; JSON has no line ends of its own."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), orjson.dumps(data))


def portions(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """`items` in lists of at most `size`."""
    iterator = iter(items)
    while portion := list(islice(iterator, size)):
        yield portion


async def _raced(feed: Feed, stopping: asyncio.Future[None]) -> AsyncIterator[Batch | None]:
    """The feed's batches, None after each silent HEARTBEAT_S; ends with `stopping`."""
    waiting: asyncio.Task[Batch] | None = None
    try:
        while not stopping.done():
            waiting = waiting or asyncio.create_task(_next(feed), name="status stream")
            either: set[asyncio.Future[Any]] = {waiting, stopping}
            await asyncio.wait(either, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return
            if waiting.done():
                batch, waiting = waiting.result(), None
                yield batch
            else:
                yield None
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait({waiting})


async def _next(feed: Feed) -> Batch:
    return await anext(feed)


def _tags_of(machines: Iterable[Machine]) -> Iterator[Tag]:
    for machine in machines:
        yield from machine.tags


def _new(change: PlantChange) -> list[Machine]:
    return [*change.added, *(machine.after for machine in change.changed)]
