"""The timeline as far as it was read: each answer of GET /events in, what changed out. Pure.

    window + entries -> upsert by id -> opened · closed · corrected · retracted · backfilled

Rules (facts 2.4)
1. An event of the vendor is known by its id. Unseen: opened, and closed where it is over. An end that comes: closed.
   Anything else that differs from what was known: corrected, with what it was before.
2. What was over before we first listened is known, and not told of.
3. Backfilled instead of opened and closed: it was written late, into a time that had been read before.
4. What began inside a window that was read whole belongs into the answer, whether the vendor chooses by overlap or by
   start (its page does not say). What is missing there twice in a row was taken back: retracted.
5. A part count is an instant: told once, closed, however its end is written.
6. The same reading twice says nothing twice; ids of what is said follow from the vendor's id, and from how often it
   was changed, never from when it was read. So a crash before `document` was kept says the same again.
7. People change what people wrote: steps, reasons, shifts and work orders are known for 8 days. Cycles and part counts
   are known for 26 h, or as long as a step that they belong to is open. What is older is neither told nor missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from bridge.sources.trackmymachines.payloads import CYCLE, PART_COUNT, STEP, TYPES, Entry

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

COUNTS: Final = (CYCLE, PART_COUNT)
KNOWN_COUNTS: Final = 26 * HOUR
KNOWN: Final = 8 * DAY
"""How long after it began an event is known."""

LIMIT: Final = 50_000
"""Events that are known at a time; the oldest that are over go first."""

MISSES: Final = 2
"""Readings in a row that must lack an event before it counts as taken back."""


class Kind(StrEnum):
    """What happened to an event of the vendor."""

    OPENED = "opened"
    CLOSED = "closed"
    CORRECTED = "corrected"
    RETRACTED = "retracted"
    BACKFILLED = "backfilled"


class Change(NamedTuple):
    """Something that is news. `number` counts the changes of this event of the vendor; 0 is its first."""

    kind: Kind
    entry: Entry
    number: int
    before: Entry | None = None


@dataclass(slots=True)
class _Known:
    entry: Entry
    changes: int = 0
    is_closed: bool = False
    """Its end is told, or was before we listened."""
    is_gone: bool = False
    misses: int = 0


class Window(NamedTuple):
    """A window that was asked for whole, [start, end] ms."""

    start: int
    end: int


class Timeline:
    """What is known. `since` is when we first listened; what was over before is not news."""

    def __init__(self, since: int, kept: Mapping[str, Any] | None = None) -> None:
        self.since = since
        self.newest: int | None = None
        """The newest start or end that is not in the future."""
        self.reaches_back = False
        """An answer had an event that began before its window: the vendor chooses by overlap."""
        self.evicted_total = 0
        self._known: dict[str, _Known] = {}
        self._open: dict[str, Entry] = {}
        self._floors: dict[str, int] = {}
        if kept:
            self._recall(kept)

    # -- over a restart

    def document(self) -> dict[str, Any]:
        """What must be known after a restart."""
        rows = [
            (k.entry.id, TYPES.index(k.entry.type), *k.entry[2:], k.changes, k.is_closed, k.is_gone)
            for k in self._known.values()
        ]
        return {"since": self.since, "newest": self.newest, "floors": self._floors, "events": rows}

    def _recall(self, kept: Mapping[str, Any]) -> None:
        """Raises TypeError, ValueError, KeyError or IndexError for what `document` did not give."""
        self.since = int(kept["since"])
        self.newest = kept["newest"]
        self._floors = {str(kind): int(floor) for kind, floor in kept["floors"].items()}
        for identifier, kind, machine, start, end, label, changes, is_closed, is_gone in kept["events"]:
            entry = Entry(identifier, TYPES[kind], machine, start, end, label)
            self._put(_Known(entry, changes, is_closed, is_gone))

    # -- looking

    def of(self, machine: str) -> list[Entry]:
        """What is known of a machine, by start."""
        found = [k.entry for k in self._known.values() if k.entry.machine == machine and not k.is_gone]
        return sorted(found, key=lambda entry: (entry.start, entry.id))

    def by_machine(self) -> dict[str, list[Entry]]:
        """What is known of every machine, by start."""
        found: dict[str, list[Entry]] = {}
        for known in self._known.values():
            if not known.is_gone:
                found.setdefault(known.entry.machine, []).append(known.entry)
        for entries in found.values():
            entries.sort(key=lambda entry: (entry.start, entry.id))
        return found

    def open_steps(self, machine: str) -> list[Entry]:
        """The steps that run on a machine, by start."""
        return sorted(e for e in self._open.values() if e.type == STEP and e.machine == machine)

    def steps(self, machine: str) -> list[Entry]:
        """The steps that were ever seen on a machine and are still known, also those that were taken back."""
        known = [k.entry for k in self._known.values()]
        return [entry for entry in known if entry.type == STEP and entry.machine == machine]

    @property
    def open_starts(self) -> list[int]:
        """When what is in flight began, oldest first."""
        return sorted({entry.start for entry in self._open.values()})

    @property
    def unmapped(self) -> int:
        """Events known now that belong to no machine."""
        return sum(not known.entry.machine for known in self._known.values())

    def __len__(self) -> int:
        return len(self._known)

    # -- reading

    def read(self, window: Window, entries: Iterable[Entry], now: int, told: int | None = None) -> list[Change]:
        """A window's whole answer, at the vendor's time `now`.

        `told` is up to where everything had been read before, and may be taken for complete: what is unseen and ended
        earlier was written late. None: nothing was.
        """
        found = {entry.id: entry for entry in entries if self._is_of_interest(entry)}
        if any(entry.start < window.start - SECOND for entry in found.values()):
            self.reaches_back = True
        changes = [change for entry in sorted(found.values(), key=_order) for change in self._see(entry, now, told)]
        changes += self._missed(window, found.keys(), now)
        self._forget(now)
        return changes

    def settle(self, now: int) -> list[Change]:
        """What ends by itself: an event whose end was planned, when its time has come."""
        due = [entry for entry in self._open.values() if entry.end is not None and entry.end <= now]
        return [change for entry in sorted(due, key=_order) for change in self._see(entry, now, None)]

    def _see(self, entry: Entry, now: int, told: int | None) -> Iterator[Change]:
        self._note_newest(entry, now)
        is_over = _is_over(entry, now)
        known = self._known.get(entry.id)
        if known is None:
            yield from self._first_seen(entry, is_over, told)
            return
        before, known.misses = known.entry, 0
        if known.is_gone:
            known.is_gone, known.is_closed = False, False
            known.changes += 1
            if entry.type != PART_COUNT:
                yield Change(Kind.OPENED, _in_flight(entry), known.changes)
        elif _is_corrected(before, entry, known):
            known.changes += 1
            known.is_closed = known.is_closed and is_over
            yield Change(Kind.CORRECTED, entry, known.changes, before)
        known.entry = entry
        if is_over and not known.is_closed:
            known.changes += 1
            known.is_closed = True
            yield Change(Kind.CLOSED, entry, known.changes)
        self._put(known)

    def _first_seen(self, entry: Entry, is_over: bool, told: int | None) -> Iterator[Change]:
        end = _end(entry)
        known = _Known(entry, is_closed=is_over)
        self._put(known)
        if is_over and end is not None and end <= self.since:
            return
        if is_over and end is not None and told is not None and end <= told:
            yield Change(Kind.BACKFILLED, entry, 0)
            return
        if entry.type != PART_COUNT:
            yield Change(Kind.OPENED, _in_flight(entry), 0)
        if is_over:
            known.changes = 1
            yield Change(Kind.CLOSED, entry, 1)

    def _missed(self, window: Window, found: Iterable[str], now: int) -> Iterator[Change]:
        """What began well inside the window and is not in the answer; the edges may be open or closed."""
        present = set(found)
        for known in list(self._known.values()):
            entry = known.entry
            if known.is_gone or entry.id in present:
                continue
            if window.start + SECOND <= entry.start <= window.end - SECOND:
                known.misses += 1
                if known.misses >= MISSES:
                    known.changes += 1
                    known.is_gone, known.misses = True, 0
                    self._open.pop(entry.id, None)
                    yield Change(Kind.RETRACTED, entry, known.changes)

    # -- the table

    def _put(self, known: _Known) -> None:
        entry = known.entry
        self._known[entry.id] = known
        if known.is_closed or known.is_gone or entry.type == PART_COUNT:
            self._open.pop(entry.id, None)
        else:
            self._open[entry.id] = entry

    def _note_newest(self, entry: Entry, now: int) -> None:
        for at in (entry.start, entry.end):
            if at is not None and at <= now and (self.newest is None or at > self.newest):
                self.newest = at

    def _floor(self, kind: str) -> int:
        """What began earlier and is over is forgotten, and not looked at again."""
        return self._floors.get(kind, 0)

    def _is_of_interest(self, entry: Entry) -> bool:
        is_old = entry.start < self._floor(entry.type)
        return not is_old or entry.id in self._known or (entry.end is None and entry.type not in COUNTS)

    def _forget(self, now: int) -> None:
        """What began before its floor goes, unless it is in flight; so it is never taken for new."""
        oldest = min((entry.start for entry in self._open.values() if entry.type == STEP), default=now)
        counts = max(now - KNOWN, min(now - KNOWN_COUNTS, oldest))
        for kind in TYPES:
            self._floors[kind] = max(self._floor(kind), counts if kind in COUNTS else now - KNOWN)
        for known in list(self._known.values()):
            if known.entry.start < self._floors[known.entry.type] and known.entry.id not in self._open:
                del self._known[known.entry.id]
        if len(self._known) > LIMIT:
            self._evict()

    def _evict(self) -> None:
        """Too many: the oldest tenth of those that are over go, and nothing as old is looked at again."""
        over = sorted((k.entry for k in self._known.values() if k.entry.id not in self._open), key=_order)
        for entry in over[: LIMIT // 10]:
            del self._known[entry.id]
            self._floors[entry.type] = max(self._floors.get(entry.type, 0), entry.start + 1)
            self.evicted_total += 1


def _order(entry: Entry) -> tuple[int, str]:
    return entry.start, entry.id


def _end(entry: Entry) -> int | None:
    """A part count is an instant."""
    return entry.start if entry.type == PART_COUNT and entry.end is None else entry.end


def _is_over(entry: Entry, now: int) -> bool:
    end = _end(entry)
    return end is not None and end <= now


def _in_flight(entry: Entry) -> Entry:
    """What its opening says: not yet when it ends, so that it says the same however late it is read."""
    return entry._replace(end=None)


def _is_corrected(before: Entry, after: Entry, known: _Known) -> bool:
    """Something differs, other than that an end has come."""
    if before._replace(end=None) != after._replace(end=None):
        return True
    return before.end != after.end and before.end is not None and (known.is_closed or after.end is not None)
