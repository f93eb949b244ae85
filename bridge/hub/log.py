"""The log: what happened, on disk, bounded, with a cursor per reader.

    append -> pending (memory, bounded) -> writer task -> one thread -> log.db -> readers, each from its own cursor

Rules:
1. Everything SQLite runs in one thread of our own: neither fsync nor a slow disk stalls the event loop.
2. A position is given once and only grows. An event that comes again unchanged is nothing, whenever it was read; one
   that comes again completed moves to the end, so that every reader sees it once more and there is still one row.
3. A cursor is written after the events it passes: a crash shows an event again, never loses one that was written.
4. kill -9 loses at most what was still pending (WAL; `synchronous=NORMAL` does not fsync each commit).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from bridge.errors import HistoryUnreadable
from bridge.model.event import OF_THE_READING, Event
from bridge.model.history import Continuation, EventPage, RecordedEvent
from bridge.model.value import from_milliseconds, to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bridge.ports import Clock

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

MAX_PENDING = 10_000
"""Events waiting for the disk; more are dropped and counted."""

MAX_BATCH = 1_000
"""Events in one transaction: what a crash may cost."""

MAX_READERS = 64
"""Cursors kept; readers are faces, not people."""

MAX_BODY = 16 * 1024
"""Characters of one event as JSON; a longer one is shortened."""

MAX_PAGE = 10_000
"""Events of one answer to a query."""

RETRY_S = 1.0
FLUSH_S = 30.0
"""Seconds before a failed write is tried again."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    position INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, also when everything was pruned
    id TEXT NOT NULL UNIQUE,
    recorded INTEGER NOT NULL,                   -- when we wrote it, ms since 1970
    body TEXT NOT NULL,
    time INTEGER NOT NULL DEFAULT 0,             -- the event's own, ms since 1970
    machine TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS event_recorded ON event (recorded);
CREATE TABLE IF NOT EXISTS cursor (reader TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
"""

_LATER = {"time": "INTEGER NOT NULL DEFAULT 0", "machine": "TEXT NOT NULL DEFAULT ''"}
"""Columns that a file of an earlier version does not have."""

_BY_TIME = "CREATE INDEX IF NOT EXISTS event_time ON event (time, position)"

_FIRST, _LAST = -(2**63), 2**63 - 1

_CHOSEN = """
SELECT position, recorded, body, time FROM event
WHERE time BETWEEN :start AND :end AND (:machine IS NULL OR machine = :machine)
"""
_FORWARD = f"{_CHOSEN} AND (time, position) > (:time, :position) ORDER BY time, position LIMIT :limit"
_BACKWARD = f"{_CHOSEN} AND (time, position) < (:time, :position) ORDER BY time DESC, position DESC LIMIT :limit"

_SAME = ", ".join(f"'$.data.{key}'" for key in OF_THE_READING)
_PUT = f"""
INSERT OR REPLACE INTO event (id, recorded, body, time, machine)
SELECT :id, :recorded, :body, :time, :machine WHERE NOT EXISTS (
    SELECT 1 FROM event WHERE id = :id AND (body = :body OR json_remove(body, {_SAME}) = json_remove(:body, {_SAME}))
)
"""  # noqa: S608 - the keys are ours

# What goes by age and what goes by number, each with the count of what a reader had not seen of it.
_BY_AGE = (
    "SELECT count(*) FROM event WHERE recorded < :bound AND position > :cursor",
    "DELETE FROM event WHERE recorded < :bound",
)
_BY_ROWS = (
    "SELECT count(*) FROM event WHERE position <= :bound AND position > :cursor",
    "DELETE FROM event WHERE position <= :bound",
)


class EventLogStore:
    """Events in `log.db` (see `bridge.ports.EventLog`).

    Entered with `async with`: opens the file and starts its writer; leaving writes what is pending and closes it.
    A damaged file is set aside (as `<name>.damaged`) and a new one begun: a log must not keep a plant from running.

    Args:
        path: the SQLite file; its directory exists.
        clock: time.
        max_rows: events kept; the oldest go first.
        max_age: how long an event is kept after it was written.
    """

    def __init__(
        self, path: Path, clock: Clock, max_rows: int = 100_000, max_age: timedelta = timedelta(days=30)
    ) -> None:
        self._clock = clock
        self._file = _File(path, max_rows, max_age)
        self._pending: dict[str, Event] = {}
        self._cursors: dict[str, int] = {}
        self._unwritten_cursors: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._open = False
        self._stack = AsyncExitStack()
        self.appended_total = 0
        self.dropped_total = 0
        """Events that found no room in memory because the disk did not keep up."""
        self.write_failures_total = 0

    @property
    def pruned_total(self) -> int:
        """Events that left by age or number."""
        return self._file.pruned_total

    @property
    def missed(self) -> Mapping[str, int]:
        """Events that left before a reader had acknowledged them, by reader."""
        return self._file.missed

    def metrics(self) -> dict[str, float]:
        """Counters for the status page."""
        return {
            "log_appended_total": self.appended_total,
            "log_dropped_total": self.dropped_total,
            "log_pruned_total": self.pruned_total,
            "log_missed_total": sum(self.missed.values()),
            "log_write_failures_total": self.write_failures_total,
            "log_pending": len(self._pending),
        }

    async def __aenter__(self) -> EventLogStore:
        async with AsyncExitStack() as stack:
            self._thread = stack.enter_context(ThreadPoolExecutor(1, "event-log"))
            self._cursors = await self._in_thread(self._file.open)
            stack.push_async_callback(self._close)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            writer = group.create_task(self._write_forever(), name="event-log writer")
            stack.callback(writer.cancel)
            self._stack = stack.pop_all()
        self._open = True
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._open = False
        self._announce()
        await self._stack.aclose()

    async def _close(self) -> None:
        try:
            while self._pending or self._unwritten_cursors:
                await self._write()
        except sqlite3.Error as error:
            self.dropped_total += len(self._pending)
            _log.error("The last %d events could not be written to the log: %s", len(self._pending), error)
        finally:
            await self._in_thread(self._file.close)

    def append(self, event: Event) -> None:
        """Record an event; an id already there is the same event, perhaps completed. Never waits."""
        known = self._pending.pop(event.id, None)
        if known is None and len(self._pending) >= MAX_PENDING:
            self._drop()
            return
        self._pending[event.id] = event
        self.appended_total += 1
        self._wake.set()

    def _drop(self) -> None:
        if not self.dropped_total:
            _log.error("Events are being dropped: %d wait for the disk", MAX_PENDING)
        self.dropped_total += 1

    async def read(self, reader: str, limit: int = 100) -> Sequence[tuple[int, Event]]:
        """The oldest events this reader has not acknowledged, with their positions; waits until there is one.

        A reader never seen before begins at the present. Reading again without acknowledging gives the same again.
        Raises RuntimeError when the log is closed.
        """
        await self._know(reader)
        while True:
            if not self._open:
                raise RuntimeError("the event log is closed")
            news = self._news
            rows = await self._in_thread(self._file.after, self._cursors[reader], limit)
            if rows:
                return rows
            await news.wait()

    def acknowledge(self, reader: str, position: int) -> None:
        """The reader is done with everything up to `position`. A cursor never goes back."""
        if position > self._cursors.get(reader, -1):
            self._check_room(reader)
            self._cursors[reader] = self._unwritten_cursors[reader] = position
            self._wake.set()

    async def newest(self, limit: int) -> Sequence[Event]:
        """The events that were written last, newest first."""
        return await self._in_thread(self._file.newest, limit)

    async def query(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        machine: str | None = None,
        newest_first: bool = False,
        limit: int = 1000,
        after: Continuation | None = None,
    ) -> EventPage:
        """Events by their own time (see `bridge.ports.EventLog`)."""
        asked = _Query(start, end, machine, newest_first, max(1, min(limit, MAX_PAGE)), after)
        try:
            return await self._in_thread(self._file.query, asked)
        except sqlite3.Error as error:
            raise HistoryUnreadable(f"the event log cannot be read: {error}") from error

    async def flush(self) -> None:
        """Wait until what was appended before is on the disk, also for a power cut.

        Returns as well when the disk does not take it for `FLUSH_S`, or the log is closed: who waits must go on.
        """
        waiting = set(self._pending)
        deadline = self._clock.monotonic() + FLUSH_S
        while not waiting.isdisjoint(self._pending):
            news = self._news
            if not self._open or self._clock.monotonic() >= deadline:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await news.wait()
        await self._in_thread(self._file.sync)

    async def _know(self, reader: str) -> None:
        if reader not in self._cursors:
            self._check_room(reader)
            present = await self._in_thread(self._file.begin_reading, reader)
            self._cursors.setdefault(reader, present)

    def _check_room(self, reader: str) -> None:
        if reader not in self._cursors and len(self._cursors) >= MAX_READERS:
            raise ValueError(f"{reader} cannot read the event log: there are {MAX_READERS} readers already")

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._write_patiently()

    async def _write_patiently(self) -> None:
        failed = False
        while self._pending or self._unwritten_cursors:
            try:
                await self._write()
            except sqlite3.Error as error:
                self.write_failures_total += 1
                if not failed:
                    _log.error("The event log cannot be written: %s", error)
                failed = True
                await self._clock.sleep(RETRY_S)
            else:
                if failed:
                    _log.info("The event log can be written again")
                failed = False

    async def _write(self) -> None:
        """Write one batch. What was written leaves `_pending` only afterwards, and only if it is still the same."""
        events = list(self._pending.values())[:MAX_BATCH]
        cursors = dict(self._unwritten_cursors)
        await self._in_thread(self._file.write, events, cursors, self._clock.now())
        for event in events:
            if self._pending.get(event.id) is event:
                del self._pending[event.id]
        for reader, position in cursors.items():
            if self._unwritten_cursors.get(reader) == position:
                del self._unwritten_cursors[reader]
        if events:
            self._announce()

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _in_thread(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class _Query(NamedTuple):
    """What is asked for."""

    start: datetime | None
    end: datetime | None
    machine: str | None
    newest_first: bool
    limit: int
    after: Continuation | None


class _File:
    """The SQLite file. Every method but the constructor runs in the log's own thread."""

    def __init__(self, path: Path, max_rows: int, max_age: timedelta) -> None:
        self._path = path
        self._max_rows = max_rows
        self._max_age = max_age
        self._slack = max_rows // 100  # counting rows costs a millisecond: once per so many events
        self._uncounted = 0
        self.pruned_total = 0
        self.missed: dict[str, int] = {}

    def open(self) -> dict[str, int]:
        """Open or create the file; the cursors in it."""
        try:
            self._database = self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, unreadable, disk full: not damage
                raise
            _log.error("The event log %s is damaged and was set aside: %s", self._path.name, error)
            self._set_aside()
            self._database = self._connect()
        self._uncounted = self._slack + 1
        return dict(self._database.execute("SELECT reader, position FROM cursor"))

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute("PRAGMA journal_size_limit=4194304")
            if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("quick_check found it inconsistent")
            database.executescript(_SCHEMA)
            _bring_up_to_date(database)
            database.execute(_BY_TIME)
        except BaseException:
            database.close()
            raise
        return database

    def _set_aside(self) -> None:
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._path.replace(self._path.with_name(self._path.name + ".damaged"))

    def close(self) -> None:
        """Close it; the WAL is folded in."""
        self._database.close()

    def sync(self) -> None:
        """Bring what was committed onto the medium: with `synchronous=NORMAL` a WAL waits for its checkpoint."""
        with suppress(FileNotFoundError):  # everything is in the main file, where a checkpoint has synced it
            handle = os.open(self._path.with_name(f"{self._path.name}-wal"), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def write(self, events: Sequence[Event], cursors: Mapping[str, int], now: datetime) -> None:
        """One transaction: these events, these cursors, and what has to go."""
        recorded = to_milliseconds(now)
        rows = [_row(event, recorded) for event in events]
        with closing(self._database.cursor()) as work:
            work.execute("BEGIN IMMEDIATE")
            try:
                work.executemany(_PUT, rows)
                work.executemany("INSERT OR REPLACE INTO cursor (reader, position) VALUES (?, ?)", cursors.items())
                gone = self._prune(work, recorded, len(rows))
            except BaseException:
                work.execute("ROLLBACK")
                raise
            work.execute("COMMIT")
        self.pruned_total += gone

    def _prune(self, work: sqlite3.Cursor, now_ms: int, written: int) -> int:
        gone = self._remove(work, _BY_AGE, now_ms - self._max_age // timedelta(milliseconds=1))
        self._uncounted += written
        if self._uncounted > self._slack:
            keep = self._max_rows - self._slack
            work.execute("SELECT position FROM event ORDER BY position DESC LIMIT 1 OFFSET ?", (keep,))
            if row := work.fetchone():
                gone += self._remove(work, _BY_ROWS, row[0])
            self._uncounted = 0
        return gone

    def _remove(self, work: sqlite3.Cursor, statements: tuple[str, str], bound: int) -> int:
        count, delete = statements
        if not work.execute(count, {"bound": bound, "cursor": -1}).fetchone()[0]:
            return 0
        for reader, position in work.execute("SELECT reader, position FROM cursor").fetchall():
            unseen = work.execute(count, {"bound": bound, "cursor": position}).fetchone()[0]
            if unseen:
                self.missed[reader] = self.missed.get(reader, 0) + unseen
        return work.execute(delete, {"bound": bound}).rowcount

    def begin_reading(self, reader: str) -> int:
        """The present, kept as the cursor of a new reader."""
        present: int = self._database.execute(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)"
        ).fetchone()[0]
        self._database.execute("INSERT OR IGNORE INTO cursor (reader, position) VALUES (?, ?)", (reader, present))
        return present

    def after(self, position: int, limit: int) -> list[tuple[int, Event]]:
        """The events after a position, oldest first."""
        rows = self._database.execute(
            "SELECT position, body FROM event WHERE position > ? ORDER BY position LIMIT ?", (position, limit)
        )
        return [(found, _event(body)) for found, body in rows]

    def query(self, asked: _Query) -> EventPage:
        """A page of events by time."""
        after = asked.after or (Continuation(_LAST, _LAST) if asked.newest_first else Continuation(_FIRST, _FIRST))
        rows = self._database.execute(
            _BACKWARD if asked.newest_first else _FORWARD,
            {
                "start": _FIRST if asked.start is None else to_milliseconds(asked.start),
                "end": _LAST if asked.end is None else to_milliseconds(asked.end),
                "machine": asked.machine,
                "time": after.time_ms,
                "position": after.position,
                "limit": asked.limit + 1,
            },
        ).fetchall()
        page = rows[: asked.limit]
        more = Continuation(page[-1][3], page[-1][0]) if len(rows) > len(page) else None
        events = [RecordedEvent(position, from_milliseconds(at), _event(body)) for position, at, body, _ in page]
        return EventPage(events, more)

    def newest(self, limit: int) -> list[Event]:
        """The events written last, newest first."""
        rows = self._database.execute("SELECT body FROM event ORDER BY position DESC LIMIT ?", (limit,))
        return [_event(body) for (body,) in rows]


def _bring_up_to_date(database: sqlite3.Connection) -> None:
    """Give a file of an earlier version the columns it lacks."""
    there = {row[1] for row in database.execute("PRAGMA table_info(event)")}
    missing = {name: kind for name, kind in _LATER.items() if name not in there}
    if not missing:
        return
    with closing(database.cursor()) as work:
        work.execute("BEGIN IMMEDIATE")
        for name, kind in missing.items():
            work.execute(f"ALTER TABLE event ADD COLUMN {name} {kind}")
        known = work.execute("SELECT position, body FROM event").fetchall()
        events = ((position, _event(body)) for position, body in known)
        rows = [(to_milliseconds(event.time), event.machine, position) for position, event in events]
        work.executemany("UPDATE event SET time = ?, machine = ? WHERE position = ?", rows)
        work.execute("COMMIT")


def _row(event: Event, recorded: int) -> dict[str, str | int]:
    time = to_milliseconds(event.time.astimezone(UTC))
    return {"id": event.id, "recorded": recorded, "body": _body(event), "time": time, "machine": event.machine}


def _body(event: Event) -> str:
    text = _dump(event)
    if len(text) > MAX_BODY:
        text = _dump(replace(event, message=event.message[:1000] + " …", data={"shortened": True}))
    return text


def _dump(event: Event) -> str:
    return json.dumps(
        {
            "id": event.id,
            "kind": event.kind,
            "time": event.time.astimezone(UTC).isoformat(),
            "message": event.message,
            "severity": event.severity,
            "source": event.source,
            "machine": event.machine,
            "data": dict(event.data),
        },
        sort_keys=True,
        separators=(",", ":"),
        default=str,
    )


def _event(body: str) -> Event:
    fields = json.loads(body)
    return Event(**{**fields, "time": datetime.fromisoformat(fields["time"])})
