"""The SQLite file of the history. Everything here runs in the history's own thread.

value    one row a stored value, in the order in which they came; pruned from the oldest, by size and by age
tag      its numbers stand for tag ids
cursor   what each reader has had
gap      what each reader will never get
"""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.hub.delivered import Delivered
from bridge.model.history import Continuation, Gap, HistoricValue, Page
from bridge.model.status import StatusCode
from bridge.model.value import DataType, DataValue, Value, to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from bridge.model.tag import Tag

_log = logging.getLogger(__name__)

Row = tuple[int, "Tag", DataValue]
Ranges = list[tuple[int, int]]
GapKey = tuple[str, str, str]
"""Reader, tag id, why."""

TOO_MUCH = "It was older than what may be kept"
PRUNE_SHARE = 50
"""When the file is full, the oldest 1/50 goes: rarely, and little at a time."""
OLD_AT_ONCE = 20_000
"""Rows that may leave by age in one transaction."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tag (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, machine TEXT NOT NULL, type TEXT NOT NULL, UNIQUE (name, type)
);
CREATE TABLE IF NOT EXISTS value (
    position INTEGER PRIMARY KEY,
    tag INTEGER NOT NULL,
    time INTEGER NOT NULL,      -- source time, ms since 1970
    received INTEGER NOT NULL,  -- likewise
    since INTEGER,              -- likewise
    status INTEGER NOT NULL,
    value,                      -- NULL, INTEGER (also Boolean, DateTime), REAL, TEXT
    reason TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS value_time ON value (tag, time, position);
CREATE TABLE IF NOT EXISTS cursor (reader TEXT PRIMARY KEY, delivered TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gap (
    reader TEXT NOT NULL, tag TEXT NOT NULL, why TEXT NOT NULL,
    position INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (reader, tag, why)
) WITHOUT ROWID;
"""

_COLUMNS = "position, tag.name, tag.type, time, received, since, status, value, reason"
_OWED = f"""
SELECT {_COLUMNS} FROM value JOIN tag ON tag.id = value.tag
WHERE position BETWEEN :low AND :high AND (:all OR machine IN (SELECT value FROM json_each(:machines)))
ORDER BY position LIMIT :limit
"""  # noqa: S608 - the columns are ours
_FORWARD = f"""
SELECT {_COLUMNS} FROM value JOIN tag ON tag.id = value.tag
WHERE tag.name = :tag AND time BETWEEN :start AND :end AND (time, position) > (:time, :position)
ORDER BY time, position LIMIT :limit
"""  # noqa: S608 - likewise
_BACKWARD = f"""
SELECT {_COLUMNS} FROM value JOIN tag ON tag.id = value.tag
WHERE tag.name = :tag AND time BETWEEN :start AND :end AND (time, position) < (:time, :position)
ORDER BY time DESC, position DESC LIMIT :limit
"""  # noqa: S608 - likewise
_MISSED = """
SELECT tag.name, max(position), min(time), max(time), count(*)
FROM value JOIN tag ON tag.id = value.tag WHERE position BETWEEN ? AND ? GROUP BY tag
"""
_ADD_GAP = """
INSERT INTO gap (reader, tag, why, position, first, last, count) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET position = max(position, excluded.position), first = min(first, excluded.first),
last = max(last, excluded.last), count = count + excluded.count
"""
_FIRST, _LAST = -(2**63), 2**63 - 1


class Bounds(NamedTuple):
    """What may be kept."""

    size: int
    """Bytes of the file, but for the WAL."""
    age: timedelta


class Query(NamedTuple):
    """What is asked for: values of a tag whose source time is between two, both included."""

    tag: str
    start: datetime | None
    end: datetime | None
    newest_first: bool
    limit: int
    after: Continuation | None


class Known(NamedTuple):
    """What was in the file."""

    end: int
    """No position greater than this was ever given."""
    cursors: dict[str, Delivered]
    gaps: dict[GapKey, Gap]


class Pruned(NamedTuple):
    """What came of removing values."""

    missed: dict[GapKey, Gap]
    rows: int
    excess: int
    """Up to which position values must still go, or 0."""


class HistoryFile:
    """Values, readers and gaps on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._tags: dict[str, int] = {}
        self.size = 0
        """Bytes in use."""

    @property
    def is_there(self) -> bool:
        """There is something from an earlier run."""
        return self._path.exists()

    def open(self) -> Known:
        """Open the file, or begin one; a damaged one is set aside."""
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.set_aside(error)
            return self._open()

    def _open(self) -> Known:
        database = self._database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute("PRAGMA journal_size_limit=4194304")
        database.executescript(_SCHEMA)
        database.execute("DELETE FROM tag WHERE NOT EXISTS (SELECT 1 FROM value WHERE value.tag = tag.id)")
        self._measure(database)
        rows = database.execute("SELECT reader, delivered FROM cursor").fetchall()
        cursors = {reader: Delivered.from_text(text) for reader, text in rows}
        gaps = {
            (reader, tag, why): Gap(position, tag, _moment(first), _moment(last), count, why)
            for reader, tag, why, position, first, last, count in database.execute("SELECT * FROM gap")
        }
        newest = database.execute("SELECT max(position) FROM value").fetchone()[0] or 0
        return Known(max(newest, *(known.end for known in cursors.values()), 0), cursors, gaps)

    def set_aside(self, error: sqlite3.Error) -> None:
        """Put a damaged file out of the way."""
        _log.error("The history %s is damaged and was set aside: %s", self._path.name, error)
        self.close()
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._path.replace(self._path.with_name(self._path.name + ".damaged"))

    def close(self) -> None:
        """Close it; the WAL is folded in."""
        database, self._database = self._database, None
        self._tags.clear()
        if database is not None:
            database.close()

    def write(
        self,
        rows: Sequence[Row],
        cursors: Mapping[str, str],
        gaps: Mapping[GapKey, Gap | None],
        bounds: Bounds,
        now: datetime,
    ) -> int:
        """One transaction: these values, cursors, gaps (None: no more). Up to which position values must go, or 0."""
        with self._transaction() as work:
            work.executemany("INSERT OR REPLACE INTO value VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._encoded(work, rows))
            work.executemany("INSERT OR REPLACE INTO cursor VALUES (?, ?)", cursors.items())
            for (reader, tag, why), gap in gaps.items():
                work.execute("DELETE FROM gap WHERE reader = ? AND tag = ? AND why = ?", (reader, tag, why))
                if gap is not None:
                    work.execute(_ADD_GAP, (reader, tag, why, *_numbers(gap)))
            return self._excess(work, bounds, now)

    def _encoded(self, work: sqlite3.Cursor, rows: Sequence[Row]) -> Iterator[tuple[object, ...]]:
        tags = self._tags
        for position, tag, value in rows:
            number = tags.get(tag.id) or self._number(work, tag)
            raw = value.value
            yield (
                position,
                number,
                to_milliseconds(value.source_timestamp),
                to_milliseconds(value.server_timestamp),
                None if value.since is None else to_milliseconds(value.since),
                value.status,
                raw if raw.__class__ is float else _stored(raw),
                value.reason,
            )

    def _number(self, work: sqlite3.Cursor, tag: Tag) -> int:
        key = (tag.id, tag.machine, tag.definition.data_type.value)
        database = work.connection  # not `work`: it is in the middle of its rows
        database.execute("INSERT OR IGNORE INTO tag (name, machine, type) VALUES (?, ?, ?)", key)
        found = database.execute("SELECT id FROM tag WHERE name = ? AND type = ?", (key[0], key[2])).fetchone()
        number = self._tags[tag.id] = int(found[0])
        return number

    def _excess(self, work: sqlite3.Cursor, bounds: Bounds, now: datetime) -> int:
        self._measure(work.connection)
        oldest, newest = work.execute("SELECT min(position), max(position) FROM value").fetchone()
        if oldest is None:
            return 0
        bound = to_milliseconds(now) - bounds.age // timedelta(milliseconds=1)
        if work.execute("SELECT received FROM value WHERE position = ?", (oldest,)).fetchone()[0] < bound:
            old = work.execute(
                "SELECT max(position) FROM (SELECT position, received FROM value ORDER BY position LIMIT ?) "
                "WHERE received < ?",
                (OLD_AT_ONCE, bound),
            ).fetchone()[0]
            return int(old)
        return oldest + (newest - oldest) // PRUNE_SHARE if self.size > bounds.size else 0

    def _measure(self, database: sqlite3.Connection) -> None:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        self.size = (pages - free) * size

    def prune(self, up_to: int, holes: Mapping[str, Ranges], bounds: Bounds, now: datetime) -> Pruned:
        """Remove values up to a position; by its holes it is known what each reader misses by that."""
        missed: dict[GapKey, Gap] = {}
        with self._transaction() as work:
            for reader, ranges in holes.items():
                for low, high in ranges:
                    for tag, position, first, last, count in work.execute(_MISSED, (low, high)).fetchall():
                        gap = Gap(position, tag, _moment(first), _moment(last), count, TOO_MUCH)
                        known = missed.get((reader, tag, TOO_MUCH))
                        missed[reader, tag, TOO_MUCH] = gap if known is None else known.and_also(gap)
            for (reader, tag, why), gap in missed.items():
                work.execute(_ADD_GAP, (reader, tag, why, *_numbers(gap)))
            gone = work.execute("DELETE FROM value WHERE position <= ?", (up_to,)).rowcount
            return Pruned(missed, gone, self._excess(work, bounds, now))

    def owed(self, holes: Ranges, machines: Collection[str] | None, limit: int) -> tuple[list[HistoricValue], Ranges]:
        """The oldest values in these holes, of these machines (None: of all); and those with nothing in them."""
        found: list[HistoricValue] = []
        void: Ranges = []
        wanted = {"all": machines is None, "machines": json.dumps(sorted(machines or ()))}
        for low, high in holes:
            rows = self._connection.execute(
                _OWED, {"low": low, "high": high, "limit": limit - len(found), **wanted}
            ).fetchall()
            found += map(_historic, rows)
            if len(found) >= limit:
                break
            if not rows and not self._has_values(low, high):
                void.append((low, high))
        return found, void

    def _has_values(self, low: int, high: int) -> bool:
        rows = self._connection.execute("SELECT 1 FROM value WHERE position BETWEEN ? AND ? LIMIT 1", (low, high))
        return rows.fetchone() is not None

    def query(self, query: Query) -> Page:
        """A page of one tag's values by time."""
        beyond = Continuation(_LAST, _LAST) if query.newest_first else Continuation(_FIRST, _FIRST)
        after = query.after or beyond
        rows = self._connection.execute(
            _BACKWARD if query.newest_first else _FORWARD,
            {
                "tag": query.tag,
                "start": _FIRST if query.start is None else to_milliseconds(query.start),
                "end": _LAST if query.end is None else to_milliseconds(query.end),
                "time": after.time_ms,
                "position": after.position,
                "limit": query.limit + 1,
            },
        ).fetchall()
        page = rows[: query.limit]
        more = Continuation(page[-1][3], page[-1][0]) if len(rows) > len(page) else None
        return Page([_historic(row) for row in page], more)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            self.open()
            assert self._database is not None  # noqa: S101
        return self._database

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with closing(self._connection.cursor()) as work:
            work.execute("BEGIN IMMEDIATE")
            try:
                yield work
                work.execute("COMMIT")
            except BaseException:
                self._tags.clear()  # some of them may not be there
                if work.connection.in_transaction:
                    work.execute("ROLLBACK")
                raise


def is_damage(error: sqlite3.Error) -> bool:
    """The file itself is bad: not locked, unreadable, or on a full disk."""
    return type(error) is sqlite3.DatabaseError


def _stored(value: Value) -> object:
    if isinstance(value, datetime):
        return to_milliseconds(value)
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _historic(row: Sequence[Any]) -> HistoricValue:
    position, tag, kind, time, received, since, status, raw, reason = row
    began = None if since is None else _moment(since)
    value = DataValue(_restored(raw, kind), StatusCode(status), _moment(time), _moment(received), reason, began)
    return HistoricValue(position, tag, value)


def _restored(raw: Any, kind: str) -> Value:
    if raw is None:
        return None
    if kind == DataType.Boolean.value:
        return bool(raw)
    plain: Value = raw
    return _moment(raw) if kind == DataType.DateTime.value else plain


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _numbers(gap: Gap) -> tuple[int, int, int, int]:
    return gap.position, to_milliseconds(gap.first), to_milliseconds(gap.last), gap.number
