"""The history: values that a face may owe somebody, or that somebody asks for later; on disk, bounded.

    table.update, late values -> pending (memory, bounded) -> writer, every INTERVAL_S -> one thread -> history.db
    readers: see `bridge.hub.history_reader`

Rules:
1. `record` is called on the hot path: it numbers values and keeps references. Where no tag has `history: true` it does
   nothing, there is no file, no thread and no timer.
2. Everything SQLite runs in one thread of our own: neither fsync nor a slow disk stalls the event loop.
3. A position is given once and only grows. It is the order in which values came; late ones have older times.
4. What cannot be kept (a disk that does not keep up, the bounds) goes from the oldest on, is counted, and becomes a gap
   for every reader that has not had it; what was on its way to one at that moment counts as not had.
5. A cursor is written with, or after, the values it passes. kill -9 loses at most what came in the last INTERVAL_S
   (WAL; `synchronous=NORMAL` does not fsync each commit), and shows again what was said in that time.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, TypeVar

from bridge.errors import HistoryUnreadable
from bridge.hub.delivered import Delivered
from bridge.hub.history_file import Bounds, HistoryFile, Query, Row, is_damage
from bridge.hub.history_reader import Reader
from bridge.model.history import Gap, HistoricValue, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from bridge.hub.history_file import GapKey, Known
    from bridge.model.history import Continuation
    from bridge.model.plant import Plant
    from bridge.model.tag import Tag
    from bridge.model.value import DataValue
    from bridge.ports import Clock

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

INTERVAL_S = 0.25
"""Values are written together, once in this time: what a crash may cost."""

MAX_PENDING = 20_000
"""Values waiting for the disk; beyond it the oldest is lost."""

MAX_BATCH = 5_000
"""Values in one transaction."""

MAX_READERS = 16
"""Readers are faces, not people."""

MAX_PAGE = 10_000
"""Values of one answer to a query."""

FLUSH_S = 5.0
"""Seconds a question waits for what was recorded just before it."""

RETRY_S = 1.0
"""Seconds before a failed write is tried again."""

DISK = "The disk did not take it"


class HistoryStore:
    """Values in `history.db` (see `bridge.ports.History`).

    Entered with `async with`: starts its writer, and opens the file if there is one; leaving writes what is pending.
    A damaged file is set aside (as `<name>.damaged`) and a new one begun: a history must not keep a plant from running.

    Args:
        path: the SQLite file; its directory exists.
        clock: time.
        bounds: what may be kept; may be changed at any time.
    """

    def __init__(self, path: Path, clock: Clock, bounds: Bounds) -> None:
        self.bounds = bounds
        self.latest: dict[int, int] = {}
        """Position of the current value, by slot."""
        self._clock = clock
        self._file = HistoryFile(path)
        self._tags: dict[int, Tag] = {}
        self._end = 0
        self._written = 0
        self._excess = 0
        self._pending: deque[Row] = deque()
        self._readers: dict[str, Reader] = {}
        self._unwritten_cursors: set[str] = set()
        self._unwritten_gaps: set[GapKey] = set()
        self._is_failing = False
        self._hurry = asyncio.Event()
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._stack = AsyncExitStack()
        self.recorded_total = 0
        self.lost_total = 0
        """Values that found no room in memory because the disk did not take them."""
        self.pruned_total = 0
        """Values that left by size or age."""
        self.write_failures_total = 0

    def metrics(self) -> dict[str, float]:
        """Counters for the status page."""
        return {
            "history_recorded_total": self.recorded_total,
            "history_lost_total": self.lost_total,
            "history_pruned_total": self.pruned_total,
            "history_write_failures_total": self.write_failures_total,
            "history_pending": len(self._pending),
            "history_bytes": self._file.size,
            **{f"history_owed_{name}": self._owed_count(reader) for name, reader in self._readers.items()},
        }

    def _owed_count(self, reader: Reader) -> int:
        return sum(high - low + 1 for low, high in reader.delivered.holes(self._end))

    async def __aenter__(self) -> HistoryStore:
        async with AsyncExitStack() as stack:
            self._thread = stack.enter_context(ThreadPoolExecutor(1, "history"))
            if self._file.is_there:
                self._remember(await self._in_thread(self._file.open))
            stack.push_async_callback(self._close)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            writer = group.create_task(self._write_forever(), name="history writer")
            stack.callback(writer.cancel)
            self._stack = stack.pop_all()
        return self

    def _remember(self, known: Known) -> None:
        self._end = self._written = known.end
        for name, delivered in known.cursors.items():  # also of faces that are off now: they may come back
            gaps = {(tag, why): gap for (reader, tag, why), gap in known.gaps.items() if reader == name}
            self._readers[name] = Reader(self, name, delivered, gaps)

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def _close(self) -> None:
        try:
            while self._has_work:
                await self._write()
                await self._prune()
        except sqlite3.Error as error:
            _log.error("The last %d values could not be written to the history: %s", len(self._pending), error)
        finally:
            await self._in_thread(self._file.close)

    # -- values come in -----------------------------------------------------------------------------------------------

    def follow(self, plant: Plant) -> None:
        """Keep the tags of this plant that are to have a history."""
        self._tags = {tag.slot: tag for machine in plant.everything() for tag in machine.tags if tag.definition.history}
        gone = [slot for slot in self.latest if slot not in self._tags]
        for slot in gone:
            del self.latest[slot]
        for reader in self._readers.values():
            reader.forget(gone)

    def record(self, pairs: Sequence[tuple[int, DataValue]]) -> None:
        """New current values; those of tags without a history are passed over. Never waits."""
        tags = self._tags
        if not tags:
            return
        rows: dict[int, int] = {}
        for slot, value in pairs:
            tag = tags.get(slot)
            if tag is not None:
                rows[slot] = self._append(tag, value)
        if rows:
            self.latest.update(rows)
            for reader in self._readers.values():
                if reader.is_live:
                    reader.came(rows)
            self._wake.set()

    def record_late(self, tag: Tag, value: DataValue) -> None:
        """A value that comes late, of any tag; never a current one."""
        self._append(tag, value)
        self._wake.set()

    def _append(self, tag: Tag, value: DataValue) -> int:
        self._end += 1
        self._pending.append((self._end, tag, value))
        if len(self._pending) > MAX_PENDING:
            self._lose(*self._pending.popleft())
        self.recorded_total += 1
        return self._end

    def _lose(self, position: int, tag: Tag, value: DataValue) -> None:
        if not self.lost_total:
            _log.error("Values are lost for the history: %d wait for the disk", MAX_PENDING)
        self.lost_total += 1
        gap = Gap(position, tag.id, value.source_timestamp, value.source_timestamp, 1, DISK)
        for reader in self._readers.values():
            if position not in reader.delivered:
                reader.miss(gap)
                reader.delivered.add(position, position)
                self.note_gap(reader, gap)

    # -- readers ------------------------------------------------------------------------------------------------------

    def reader(self, name: str) -> Reader:
        """The reader of this name; one that was never seen begins at the present. Raises ValueError: too many."""
        reader = self._readers.get(name)
        if reader is None:
            if len(self._readers) >= MAX_READERS:
                raise ValueError(f"{name} cannot read the history: there are {MAX_READERS} readers already")
            reader = self._readers[name] = Reader(self, name, Delivered(self._end), {})
            self._unwritten_cursors.add(name)  # with the first values, not before: there may never be any
        return reader

    def reader_of(self, name: str) -> Reader | None:
        """The reader of this name, if there is one."""
        return self._readers.get(name)

    def note(self, reader: Reader) -> None:
        """Its cursor moved."""
        self._unwritten_cursors.add(reader.name)
        self._wake.set()
        self.announce()

    def note_gap(self, reader: Reader, gap: Gap) -> None:
        """A gap of this tag and reason changed, or is told."""
        self._unwritten_gaps.add((reader.name, gap.tag, gap.why))

    def announce(self) -> None:
        """Something may be owed now that was not before."""
        self._news.set()
        self._news = asyncio.Event()

    async def owed_to(
        self, reader: Reader, limit: int, machines: Collection[str] | None
    ) -> Sequence[HistoricValue | Gap]:
        """What a reader is owed, oldest first; waits until there is something."""
        while True:
            news = self._news
            items = await self._owed(reader, limit, machines) if reader.is_live else []
            if items:
                return items
            if news is self._news:
                await news.wait()

    async def _owed(
        self, reader: Reader, limit: int, machines: Collection[str] | None
    ) -> Sequence[HistoricValue | Gap]:
        values: list[HistoricValue] = []
        up_to = self._written if (horizon := reader.horizon) is None else min(self._written, horizon)
        if reader.delivered.lacks(up_to):
            values = await self._read_holes(reader, list(reader.delivered.holes(up_to)), machines, limit)
        if not reader.gaps:
            return values
        gaps = reader.gaps_of(machines)
        if len(values) == limit:
            gaps = [gap for gap in gaps if gap.position < values[-1].position]
        return sorted([*gaps[:limit], *values], key=lambda item: item.position)

    async def _read_holes(
        self, reader: Reader, holes: list[tuple[int, int]], machines: Collection[str] | None, limit: int
    ) -> list[HistoricValue]:
        try:
            values, void = await self._in_thread(self._file.owed, holes, machines, limit)
        except sqlite3.Error as error:
            self._tell_failure("read", error)
            return []
        for low, high in void:
            reader.delivered.add(low, high)
        return values

    # -- questions ----------------------------------------------------------------------------------------------------

    async def query(
        self,
        tag: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        newest_first: bool = False,
        limit: int = 1000,
        after: Continuation | None = None,
    ) -> Page:
        """Values of a tag by source time (see `bridge.ports.History`)."""
        await self.flush()
        if not self._end:
            return Page((), None)
        asked = Query(tag, start, end, newest_first, max(1, min(limit, MAX_PAGE)), after)
        try:
            return await self._in_thread(self._file.query, asked)
        except sqlite3.Error as error:
            raise HistoryUnreadable(f"the history cannot be read: {error}") from error

    async def flush(self) -> None:
        """Wait until what was recorded before can be read; not longer than `FLUSH_S`: the disk may not take it."""
        end = self._end
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                while self._written < end:
                    news = self._news
                    self._hurry.set()
                    await news.wait()

    # -- the writer ---------------------------------------------------------------------------------------------------

    @property
    def _has_work(self) -> bool:
        return bool(self._pending or (self._end and (self._unwritten_cursors or self._unwritten_gaps)))

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_S):
                    await self._hurry.wait()
            self._wake.clear()
            self._hurry.clear()
            await self._write_patiently()

    async def _write_patiently(self) -> None:
        while self._has_work:
            try:
                await self._write()
                await self._prune()
            except sqlite3.Error as error:
                self.write_failures_total += 1
                self._tell_failure("written", error)
                await self._clock.sleep(RETRY_S)
            else:
                if self._is_failing:
                    _log.info("The history can be written again")
                self._is_failing = False

    def _tell_failure(self, done: str, error: sqlite3.Error) -> None:
        if not self._is_failing:
            _log.error("The history cannot be %s: %s", done, error)
        self._is_failing = True

    async def _write(self) -> None:
        """Write one batch; what could not be written waits on, as far as there is room."""
        pending = self._pending
        rows = [pending.popleft() for _ in range(min(len(pending), MAX_BATCH))]
        names, keys = self._unwritten_cursors, self._unwritten_gaps
        self._unwritten_cursors, self._unwritten_gaps = set(), set()
        cursors = {name: self._readers[name].delivered.as_text() for name in names}
        gaps = {(name, tag, why): self._readers[name].gaps.get((tag, why)) for name, tag, why in keys}
        try:
            self._excess = await self._in_thread(self._file.write, rows, cursors, gaps, self.bounds, self._clock.now())
        except BaseException:
            self._unwritten_cursors |= names
            self._unwritten_gaps |= keys
            pending.extendleft(reversed(rows))
            while len(pending) > MAX_PENDING:
                self._lose(*pending.popleft())
            raise
        if rows:
            self._written = rows[-1][0]
            self.announce()

    async def _prune(self) -> None:
        """Let the oldest go; who has not had it gets a gap instead."""
        while self._excess:
            up_to = self._excess
            holes = {name: self._unsaid(reader, up_to) for name, reader in self._readers.items()}
            pruned = await self._in_thread(self._file.prune, up_to, holes, self.bounds, self._clock.now())
            self._excess = pruned.excess
            self.pruned_total += pruned.rows
            for (name, _, _), gap in pruned.missed.items():
                self._readers[name].miss(gap)
                self.note_gap(self._readers[name], gap)
            for name, reader in self._readers.items():
                if reader.delivered.lacks(up_to):
                    reader.delivered.add(0, up_to)
                    self._unwritten_cursors.add(name)
            self.announce()

    def _unsaid(self, reader: Reader, up_to: int) -> list[tuple[int, int]]:
        """What a reader has not had, but for current values: it will say those live."""
        if not reader.delivered.lacks(up_to):
            return []
        had = Delivered.from_text(reader.delivered.as_text())
        for position in sorted(self.latest.values()):
            if position <= up_to:
                had.add(position, position)
        return list(had.holes(up_to))

    async def _in_thread(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work, arguments)

    def _guarded(self, work: Callable[..., _Result], arguments: tuple[object, ...]) -> _Result:
        """In the thread: a file that turns out to be damaged is set aside; the next one who needs it begins anew."""
        try:
            return work(*arguments)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._file.set_aside(error)
            raise
