"""JournalFile: `journal.db`, as the journal's own thread sees it."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from bridge.commands.entry import Entry, State, decode
from bridge.commands.known import MAX_KNOWN, MAX_REJECTIONS_KNOWN
from bridge.model.value import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

_log = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024 * 1024
"""Size of the file's content, beyond which the oldest tenth goes; the file may grow a little beyond it first."""

_VERSION = 1

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS command (
    position INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, also when everything was pruned
    id TEXT NOT NULL,                            -- not unique: after its time an id may come again
    machine TEXT NOT NULL,
    door TEXT NOT NULL,
    state TEXT NOT NULL,
    rejected INTEGER NOT NULL,
    changed INTEGER NOT NULL,                    -- when it came to its state, ms since 1970
    request TEXT NOT NULL,
    progress TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS command_id ON command (id);
CREATE INDEX IF NOT EXISTS command_machine ON command (machine);
CREATE INDEX IF NOT EXISTS command_open ON command (position) WHERE state <> 'finished';
CREATE INDEX IF NOT EXISTS command_finished ON command (rejected, changed) WHERE state = 'finished';
PRAGMA user_version = {_VERSION};
"""

_SELECT = "SELECT position, request, progress FROM command"
_FINISHED = "FROM command WHERE state = 'finished' AND rejected = ?"


class Row(NamedTuple):
    """One entry as the file has it. `request` is empty where the file has it already."""

    position: int
    id: str
    machine: str
    door: str
    state: str
    rejected: bool
    changed: int
    request: str
    progress: str


class Found(NamedTuple):
    """What a file holds when it is opened: the last position given, what is not finished, what finished lately."""

    position: int
    open: list[Entry]
    finished: list[Entry]


class JournalFile:
    """The SQLite file. Every method but the constructor runs in the journal's own thread."""

    def __init__(self, path: Path, max_rows: int, max_age: timedelta) -> None:
        self._path = path
        self._max_age = max_age
        rejected = max(1, max_rows // 4)
        self._shares = {False: max(1, max_rows - rejected), True: rejected}
        self._uncounted = 0
        self._slack = max_rows // 100  # counting rows costs milliseconds: once per so many
        self._synchronous = "FULL"
        self.pruned_total = 0
        self.set_aside_total = 0

    def open(self, since: datetime) -> Found:
        """Open or create the file; what is in it, of the finished what finished since then, oldest first."""
        try:
            return self._open(since)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, unreadable, disk full: not damage
                raise
            _log.error(
                "The journal %s is damaged and was set aside; what became of commands in flight is not known: %s",
                self._path.name,
                error,
            )
            self._set_aside()
            return self._open(since)

    def _open(self, since: datetime) -> Found:
        database = sqlite3.connect(self._path, isolation_level=None)
        try:
            self._set_up(database)
            found = self._load(database, since)
        except BaseException:
            database.close()
            raise
        self._database = database
        self._uncounted = self._slack + 1
        return found

    def _set_up(self, database: sqlite3.Connection) -> None:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"its version is {version}, not {_VERSION}")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(f"PRAGMA synchronous={self._synchronous}")
        database.execute("PRAGMA journal_size_limit=4194304")
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("quick_check found it inconsistent")
        database.executescript(_SCHEMA)

    def _load(self, database: sqlite3.Connection, since: datetime) -> Found:
        position = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'command'").fetchone()
        unfinished = database.execute(f"{_SELECT} WHERE state <> 'finished' ORDER BY position")
        try:
            return Found(
                position=position[0] if position else 0,
                open=[decode(*row) for row in unfinished],
                finished=[entry for kind in (True, False) for entry in _lately(database, kind, to_milliseconds(since))],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise sqlite3.DatabaseError(f"an entry cannot be read: {error!r}") from error

    def _set_aside(self) -> None:
        for suffix in ("", "-wal"):
            file = self._path.with_name(self._path.name + suffix)
            if file.exists():
                file.replace(self._path.with_name(f"{self._path.name}.damaged{suffix}"))
        self._path.with_name(self._path.name + "-shm").unlink(missing_ok=True)
        self.set_aside_total += 1

    def close(self) -> None:
        """Close it; the WAL is folded in."""
        self._database.close()

    def write(self, rows: Sequence[Row], durable: bool, now: datetime) -> None:
        """One transaction: these rows, and what has to go."""
        self._synchronize("FULL" if durable else "NORMAL")
        with closing(self._database.cursor()) as work:
            work.execute("BEGIN IMMEDIATE")
            try:
                self._put(work, rows)
                gone = self._prune(work, now, len(rows))
                work.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite ends it itself where the disk is full
                    work.execute("ROLLBACK")
                raise
        self.pruned_total += gone

    def _synchronize(self, how: str) -> None:
        """FULL fsyncs the WAL with each commit, and so also what NORMAL left to the operating system before."""
        if self._synchronous != how:
            self._database.execute(f"PRAGMA synchronous={how}")
            self._synchronous = how

    @staticmethod
    def _put(work: sqlite3.Cursor, rows: Sequence[Row]) -> None:
        work.executemany("INSERT INTO command VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [row for row in rows if row.request])
        work.executemany(
            "UPDATE command SET state = ?, changed = ?, progress = ? WHERE position = ?",
            [(row.state, row.changed, row.progress, row.position) for row in rows if not row.request],
        )

    def _prune(self, work: sqlite3.Cursor, now: datetime, written: int) -> int:
        self._uncounted += written
        counting = self._uncounted > self._slack
        if counting:
            self._uncounted = 0
        oldest = to_milliseconds(now - self._max_age)
        return sum(self._prune_kind(work, rejected, oldest, counting) for rejected in self._shares)

    def _prune_kind(self, work: sqlite3.Cursor, rejected: bool, oldest: int, counting: bool) -> int:
        gone = work.execute(f"DELETE {_FINISHED} AND changed < ?", (rejected, oldest)).rowcount
        if counting:
            share = self._shares[rejected]
            gone += _keep(work, rejected, max(1, share - self._slack))
            if self._is_too_big(work):
                count = work.execute(f"SELECT count(*) {_FINISHED}", (rejected,)).fetchone()[0]
                gone += _keep(work, rejected, count * 9 // 10)
        return gone

    @staticmethod
    def _is_too_big(work: sqlite3.Cursor) -> bool:
        pages, free, size = (
            work.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return bool((pages - free) * size > MAX_BYTES)

    def find(self, command_id: str) -> Entry | None:
        """The newest entry of an id; a rejected one where there is no other."""
        rows = self._database.execute(
            f"{_SELECT} WHERE id = ? ORDER BY rejected, position DESC LIMIT 1", (key(command_id),)
        )
        return next((decode(*row) for row in rows), None)

    def newest(self, limit: int, machine: str, state: State | None) -> list[Entry]:
        """The entries written last, newest first."""
        wanted = {"machine": key(machine), "state": state.value if state else ""}
        conditions = " AND ".join([f"{column} = :{column}" for column, value in wanted.items() if value] or ["true"])
        rows = self._database.execute(
            f"{_SELECT} WHERE {conditions} ORDER BY position DESC LIMIT :limit",
            {**wanted, "limit": limit},
        )
        return [decode(*row) for row in rows]


def _lately(database: sqlite3.Connection, rejected: bool, since: int) -> list[Entry]:
    """The commands of a kind that finished since then, as many of each door as are known by heart, oldest first."""
    room = MAX_REJECTIONS_KNOWN if rejected else MAX_KNOWN
    doors: Counter[str] = Counter()
    found = []
    columns = "SELECT door, position, request, progress"
    for door, *row in database.execute(
        f"{columns} {_FINISHED} AND changed >= ? ORDER BY changed DESC, position DESC", (rejected, since)
    ):
        doors[door] += 1
        if doors[door] <= room:
            found.append(decode(*row))
    return found[::-1]


def _keep(work: sqlite3.Cursor, rejected: bool, rows: int) -> int:
    """Remove all of a kind but what finished last."""
    bound = f"SELECT changed, position {_FINISHED} ORDER BY changed DESC, position DESC LIMIT 1 OFFSET ?"
    delete = f"DELETE {_FINISHED} AND (changed, position) <= ({bound})"
    return work.execute(delete, (rejected, rejected, rows)).rowcount


def key(text: str) -> str:
    """A text that SQLite can hold: a lone surrogate is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
