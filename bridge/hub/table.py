"""The table in the hall: the current value of every tag. The only shared mutable state.

    source -> observation -> projection -> Table.update -> each Feed's pending dict -> northbound batch
                                                        -> history (tags that have one)

Rules:
1. Everything here runs on the event loop's thread, and nothing awaits while it changes the table.
2. A value is stored by reference and never changed.
3. A feed holds at most one value per tag: a slow reader merges, it never queues.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bridge.model.plant import Batch
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, bad

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.hub.history import HistoryStore
    from bridge.hub.history_reader import Reader
    from bridge.model.plant import Machine, Plant
    from bridge.model.tag import Tag
    from bridge.ports import Clock, EventLog

WAITING = "No value has been received yet"


class Feed:
    """A reader's view: the whole plant first, then what changed (see `bridge.ports.Feed`)."""

    def __init__(self, table: Table, name: str, reader: Reader | None = None) -> None:
        self.name = name
        self._reader = reader
        self._table = table
        self._pending: dict[int, DataValue] = table.snapshot()
        self._seen: Plant | None = None
        self._wake = asyncio.Event()
        self._wake.set()

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Batch:
        """The next batch; waits until there is something to tell."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            plant, seen = self._table.plant, self._seen
            change = plant.changes_since(seen)
            values, self._pending, self._seen = self._pending, {}, plant
            if self._reader is not None:
                self._reader.hand_all()
            if values or change is not None:  # else it was all taken by `newer`
                return Batch(plant, change, values)

    @property
    def has_news(self) -> bool:
        """Whether values have come since the last batch."""
        return bool(self._pending)

    def newer(self, slot: int) -> DataValue | None:
        """What has come for this tag since the last batch, if anything; it will not be in the next one."""
        value = self._pending.pop(slot, None)
        if value is not None and self._reader is not None:
            self._reader.hand_newer(slot)
        return value

    def push(self, values: Mapping[int, DataValue]) -> None:
        """New values. Called by the table only."""
        self._pending.update(values)
        self._wake.set()

    def forget(self, slots: Sequence[int]) -> None:
        """These tags are gone. Called by the table only."""
        for slot in slots:
            self._pending.pop(slot, None)
        self._wake.set()


class Table:
    """Current values by slot, and who reads them."""

    def __init__(self, plant: Plant, clock: Clock, log: EventLog, history: HistoryStore | None = None) -> None:
        self._clock = clock
        self._log = log
        self._history = history
        self._plant = plant
        self._values: dict[int, DataValue] = {}
        self._feeds: list[Feed] = []
        self.updates_total = 0
        self._welcome(list(plant.everything()))
        if history is not None:
            history.follow(plant)

    @property
    def plant(self) -> Plant:
        """The plant now."""
        return self._plant

    @property
    def log(self) -> EventLog:
        """Events, by the reader's own cursor."""
        return self._log

    @property
    def history(self) -> HistoryStore | None:
        """What tags have been; None where nothing is kept."""
        return self._history

    @property
    def readers(self) -> tuple[str, ...]:
        """Names of those who read."""
        return tuple(feed.name for feed in self._feeds)

    def read(self, tag: Tag) -> DataValue:
        """The current value of a tag of the plant."""
        return self._values[tag.slot]

    def get(self, slot: int) -> DataValue | None:
        """The current value in a slot; None where no tag is."""
        return self._values.get(slot)

    def snapshot(self) -> dict[int, DataValue]:
        """Every current value by slot; a copy."""
        return dict(self._values)

    def values(self) -> Mapping[int, DataValue]:
        """Every current value by slot, as it is: do not keep it over an await."""
        return self._values

    def update(self, pairs: Sequence[tuple[int, DataValue]]) -> None:
        """Put new values on the table; slots of tags that are no longer in the plant are passed over."""
        if not pairs:
            return
        values, news = self._values, dict(pairs)
        if not news.keys() <= values.keys():
            pairs = [pair for pair in pairs if pair[0] in values]
            news = dict(pairs)
        self.updates_total += len(pairs)
        values.update(news)
        if self._history is not None:
            self._history.record(pairs)
        for feed in self._feeds:
            feed.push(news)

    def replace_plant(self, plant: Plant) -> None:
        """Show another plant; tags that stay keep their values, new ones wait for their first."""
        change = plant.changes_since(self._plant)
        self._plant = plant
        if change is None:
            return
        before = {
            tag.slot for machine in (*change.removed, *(c.before for c in change.changed)) for tag in machine.tags
        }
        after = {tag.slot for machine in (*change.added, *(c.after for c in change.changed)) for tag in machine.tags}
        gone = list(before - after)
        for slot in gone:
            self._values.pop(slot, None)
        if self._history is not None:
            self._history.follow(plant)
        for feed in self._feeds:
            feed.forget(gone)
        self._welcome([*change.added, *(c.after for c in change.changed)])

    def _welcome(self, machines: list[Machine]) -> None:
        waiting = bad(StatusCode.BadWaitingForInitialData, WAITING, self._clock.now())
        news = {tag.slot: waiting for machine in machines for tag in machine.tags if tag.slot not in self._values}
        self._values.update(news)
        for feed in self._feeds:
            feed.push(news)

    @contextmanager
    def subscribe(self, name: str) -> Iterator[Feed]:
        """Begin reading; leaving the context ends it."""
        reader = self._history.reader_of(name) if self._history is not None else None
        feed = Feed(self, name, reader)
        self._feeds.append(feed)
        if reader is not None:
            reader.open()
        try:
            yield feed
        finally:
            self._feeds.remove(feed)
            if reader is not None:
                reader.close()
