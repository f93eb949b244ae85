"""The journal: what became of every command, on disk before anything is done about it.

    begin, mark, finish, record -> pending -> writer task -> one thread -> one transaction, one fsync -> journal.db
         ^                                                                                             |
         +---------------------------- what waited for that transaction goes on ----------------------+

Rules:
1. Everything SQLite runs in one thread of our own; who waits for the disk awaits it. What comes while the disk is busy
   shares the next transaction, and so its fsync.
2. Memory shows what is on disk, never more (but a command is known from the moment it begins, lest it begin twice). A
   step that could not be written did not happen: NotRecorded, and nothing may be sent. After a crash it may be found
   all the same, one step further than was answered: on the safe side.
3. An outcome is written sooner or later: one the disk did not take is tried again, though `finish` has said so.
4. What was only rejected is written without an fsync of its own (kill -9 does not lose it, a power cut may), and has a
   share of its own in file and memory: a writer that is rejected ten times a second drives nothing else out.
5. What is not finished is never pruned. There is a bound to it, and beyond it nothing begins.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, TypeVar

from bridge.commands.entry import Entry, State, encode_progress, encode_request
from bridge.commands.journal_file import JournalFile, Row, key
from bridge.commands.known import Known
from bridge.commands.masking import MASK, Secrets, impersonal, without_secrets
from bridge.errors import NotRecorded
from bridge.model.command import Door
from bridge.model.email import without_emails
from bridge.model.secret import is_secret
from bridge.model.value import to_milliseconds
from bridge.ports import Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import EllipsisType
    from typing import Any

    from bridge.commands.journal_file import Found
    from bridge.model.command import Command, ItemOutcome, Outcome
    from bridge.model.value import Value
    from bridge.ports import Clock

__all__ = ["Entry", "Journal", "State", "without_secrets"]

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

MAX_OPEN = 10_000
"""Commands that are not finished, dead letters among them."""

MAX_REJECTIONS_WAITING = 1_000
"""Rejected commands waiting for the disk; more are dropped and counted."""

MAX_BATCH = 1_000
"""Steps in one transaction."""

MAX_REQUEST = 32 * 1024
"""Characters of one command as JSON; a longer one is not begun."""

MAX_TEXT = 1_000
"""Characters of what anybody said; the rest is cut off."""

MAX_TAKEN = 10_000
"""Targets of a door whose newest command is known."""

MAX_LISTED = 1_000
"""Entries in one answer."""

RETRY_S = 1.0
"""Seconds before an outcome that could not be written is tried again."""


class Journal:
    """Commands in `journal.db`.

    Entered with `async with`: opens the file and starts its writer; leaving writes what waits and closes it.
    A damaged file is set aside (as `<name>.damaged`) and a new one begun.

    Every method that writes raises NotRecorded where the disk does not take it, and RuntimeError when closed.

    Args:
        path: the SQLite file; its directory exists.
        clock: time.
        max_rows: finished commands kept, a quarter of them for rejected ones; the oldest go first.
        max_age: how long a finished command is kept.
        idempotency: how long a finished command is known by its id.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        max_rows: int = 100_000,
        max_age: timedelta = timedelta(days=90),
        idempotency: timedelta = timedelta(hours=24),
    ) -> None:
        self._clock = clock
        self._file = JournalFile(path, max_rows, max_age)
        self._idempotency = idempotency
        self._known = Known(idempotency)
        self._taken: dict[Door, OrderedDict[str, Taken]] = {door: OrderedDict() for door in Door}
        self._open: dict[str, Entry] = {}
        self._beginning: dict[str, Entry] = {}
        self._secrets: dict[str, Secrets] = {}
        self._position = 0
        self._pending: list[_Step] = []
        self._rejections_waiting = 0
        self._wake = asyncio.Event()
        self._leaving = asyncio.Event()
        self._running = False
        self._failing = False
        self._stack = AsyncExitStack()
        self.begun_total = 0
        self.finished_total = 0
        self.rejected_total = 0
        self.dropped_total = 0
        """Rejected commands that were not recorded because the disk did not keep up, or failed."""
        self.commits_total = 0
        self.write_failures_total = 0

    def metrics(self) -> dict[str, float]:
        """Counters for the status page."""
        return {
            "journal_begun_total": self.begun_total,
            "journal_finished_total": self.finished_total,
            "journal_rejected_total": self.rejected_total,
            "journal_dropped_total": self.dropped_total,
            "journal_commits_total": self.commits_total,
            "journal_write_failures_total": self.write_failures_total,
            "journal_pruned_total": self._file.pruned_total,
            "journal_set_aside_total": self._file.set_aside_total,
            "journal_forgotten_total": self._known.forgotten_total,
            "journal_known": len(self._known),
            "journal_pending": len(self._pending),
            "journal_unfinished": sum(entry.state is not State.DEAD for entry in self._open.values()),
            "journal_dead": sum(entry.state is State.DEAD for entry in self._open.values()),
        }

    # -- life ---------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Journal:
        async with AsyncExitStack() as stack:
            self._thread = stack.enter_context(ThreadPoolExecutor(1, "journal"))
            self._remember(await self._in_thread(self._file.open, self._clock.now() - self._idempotency))
            stack.push_async_callback(self._in_thread, self._file.close)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            group.create_task(self._write_forever(), name="journal writer")
            stack.callback(self._leaving.set)
            stack.callback(self._wake.set)
            self._stack = stack.pop_all()
        self._running = True
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._running = False
        await self._stack.aclose()

    def _remember(self, found: Found) -> None:
        self._position = found.position
        self._open = {entry.command.id: entry for entry in found.open}
        for entry in found.finished:
            self._known.put(replace(entry, action=None))

        for entry in sorted((*found.open, *found.finished), key=_position):
            if not entry.is_rejected:
                self._note(entry)

    def _note(self, entry: Entry) -> None:
        """It is the newest of its door and target."""
        taken, target = self._taken[entry.command.door], entry.command.target
        taken[target] = Taken(entry.command.id, entry.history[0][1])
        taken.move_to_end(target)
        if len(taken) > MAX_TAKEN:
            taken.popitem(last=False)

    # -- writing ------------------------------------------------------------------------------------------------------

    async def begin(
        self, command: Command, machine: str, lane: tuple[str, str], old: Value, action: dict[str, Any] | None
    ) -> None:
        """Accept a command. It is on disk when this returns; nothing may be sent before.

        Raises NotRecorded also where too many commands are not finished or this one is too long, ValueError for an id
        that is known, and TypeError or ValueError for an action that JSON cannot carry.
        """
        known = self.known(command.id)
        if known is not None and not known.is_rejected:
            raise ValueError(f"the command {command.id} began before")
        if len(self._open) + len(self._beginning) >= MAX_OPEN:
            raise NotRecorded(f"{MAX_OPEN} commands are not finished or wait for a person's decision; discard some")
        secrets = Secrets(command)
        entry = self._entry(command, secrets, machine, lane, secrets.value(old), secrets.tree(action), State.ACCEPTED)
        request = encode_request(entry)
        if len(request) > MAX_REQUEST:
            raise NotRecorded(f"The command is too long: {len(request)} characters, {MAX_REQUEST} at most")
        self._beginning[command.id] = entry
        if secrets:
            self._secrets[command.id] = secrets
        await self._written(_Step(command.id, lambda _: entry, request))

    async def mark(
        self,
        command_id: str,
        state: State,
        detail: str = "",
        items: tuple[ItemOutcome, ...] = (),
        old: Value | EllipsisType = ...,
    ) -> None:
        """Note how far a command is, and which of a recipe's items ended. On disk when this returns.

        `old` is what the set point that is sent next is by now, where it is one.
        A dead letter that is marked is under way again. Raises KeyError where no such command is open, ValueError
        for the states that `finish` gives.
        """
        if state in (State.FINISHED, State.DEAD):
            raise ValueError(f"mark does not end a command; finish makes it {state.value}")
        at, text, ended = self._clock.now(), self._words(command_id, detail), self._ended(command_id, items)
        secrets = self._secrets.get(command_id)
        was = secrets.value(old) if secrets and old is not ... else old

        def further(entry: Entry | None) -> Entry:
            return _existing(entry, command_id).then(state, at, text, items=ended, old=was)

        await self._written(_Step(command_id, further))

    async def finish(self, command_id: str, outcome: Outcome, *, dead: bool = False) -> None:
        """Note a command's outcome; `dead` leaves it to a person. On disk when this returns.

        Raises KeyError where no such command is open. After NotRecorded it is tried again: the caller may go on.
        """
        at, told = self._clock.now(), self._told(command_id, outcome)
        state = State.DEAD if dead else State.FINISHED
        detail = outcome.result.value
        step = _Step(command_id, lambda entry: _existing(entry, command_id).then(state, at, detail, told), patient=True)
        await self._written(step)

    async def discard(self, command_id: str, by: str, reason: str) -> None:
        """A person decided: the dead letter is finished, with the outcome it has. Raises KeyError where none is."""
        at, text = self._clock.now(), self._words(command_id, f"discarded by {by}: {reason}")
        await self._written(_Step(command_id, lambda entry: _dead(entry, command_id).then(State.FINISHED, at, text)))

    async def record(self, command: Command, machine: str, outcome: Outcome) -> None:
        """Note a command that never got in. On disk when this returns, but for a power cut; never raises.

        The id of a command that did get in goes on meaning that one.
        """
        if not self._running or self._rejections_waiting >= MAX_REJECTIONS_WAITING:
            self.dropped_total += 1
            return
        self._rejections_waiting += 1
        try:
            await self._written(self._rejection(command, machine, outcome))
        except (NotRecorded, RuntimeError):
            self.dropped_total += 1
        finally:
            self._rejections_waiting -= 1

    def _rejection(self, command: Command, machine: str, outcome: Outcome) -> _Step:
        secrets = Secrets(command)
        entry = self._entry(command, secrets, machine, ("", ""), None, None, State.FINISHED)
        entry = replace(entry, outcome=_shortened(secrets.outcome(outcome)))
        try:
            request = encode_request(entry)
        except (TypeError, ValueError):
            request = ""
        if not 0 < len(request) <= MAX_REQUEST:
            entry = replace(entry, machine=_cut(machine), command=_outline(entry.command))
            request = encode_request(entry)
        return _Step(command.id, lambda _: entry, request, durable=False)

    def _entry(
        self,
        command: Command,
        secrets: Secrets,
        machine: str,
        lane: tuple[str, str],
        old: Value,
        action: dict[str, Any] | None,
        state: State,
    ) -> Entry:
        self._position += 1
        history = ((state, self._clock.now(), ""),)
        return Entry(secrets.command(command), machine, lane, old, state, history, action, None, self._position)

    def _words(self, command_id: str, text: str) -> str:
        secrets = self._secrets.get(command_id)
        return _cut(secrets.text(text) if secrets else without_emails(text))

    def _ended(self, command_id: str, items: tuple[ItemOutcome, ...]) -> tuple[ItemOutcome, ...]:
        secrets = self._secrets.get(command_id)
        return tuple(_shortened_item(secrets.item(item) if secrets else item) for item in items)

    def _told(self, command_id: str, outcome: Outcome) -> Outcome:
        secrets = self._secrets.get(command_id)
        told = _shortened(secrets.outcome(outcome) if secrets else impersonal(outcome))
        return replace(told, items=self._ended(command_id, outcome.items))

    # -- reading ------------------------------------------------------------------------------------------------------

    def known(self, command_id: str) -> Entry | None:
        """The command of this id, if it is not finished or not long finished; without its action once finished."""
        under_way = self._open.get(command_id) or self._beginning.get(command_id)
        return under_way or self._known.get(command_id, self._clock.now())

    def newest_taken(self, target: str, door: Door, since: datetime) -> Taken | None:
        """The command of this door and target that began last, if it began since then."""
        taken = self._taken[door].get(target)
        return taken if taken is not None and taken.at >= since else None

    async def unfinished(self) -> list[Entry]:
        """What is under way, oldest first; at the start, what a crash left so."""
        return sorted((e for e in self._open.values() if e.state is not State.DEAD), key=_position)

    async def dead(self) -> list[Entry]:
        """What waits for a person's decision, oldest first."""
        return sorted((e for e in self._open.values() if e.state is State.DEAD), key=_position)

    async def get(self, command_id: str) -> Entry | None:
        """The newest command of this id; one that was only rejected where there is no other."""
        return self._open.get(command_id) or await self._in_thread(self._file.find, command_id)

    async def newest(self, limit: int, machine: str = "", state: State | None = None) -> list[Entry]:
        """The commands that began last, newest first; `MAX_LISTED` at most."""
        limit = max(0, min(limit, MAX_LISTED))
        if state in (None, State.FINISHED):
            return await self._in_thread(self._file.newest, limit, machine, state)
        found = (e for e in self._open.values() if e.state is state and machine in ("", e.machine))
        return sorted(found, key=_position, reverse=True)[:limit]

    # -- the writer ---------------------------------------------------------------------------------------------------

    async def _written(self, step: _Step) -> None:
        if not self._running:
            self._beginning.pop(step.command_id, None)
            raise RuntimeError("the journal is closed")
        self._pending.append(step)
        self._wake.set()
        await step.done

    async def _write_forever(self) -> None:
        try:
            while self._pending or not self._leaving.is_set():
                await self._wake.wait()
                self._wake.clear()
                if not await self._write_pending():
                    return
        finally:
            for step in self._pending:
                step.fail(RuntimeError("the journal is closed"))

    async def _write_pending(self) -> bool:
        """Write until nothing waits; False where the disk fails and nobody can wait for it any longer."""
        while self._pending:
            if await self._write():
                continue
            if self._leaving.is_set():
                _log.error("The outcomes of %d commands could not be written to the journal", len(self._pending))
                return False
            if any(step.patient for step in self._pending):
                await self._rest()
        return True

    async def _rest(self) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(RETRY_S))
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            await asyncio.wait((sleeping, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            leaving.cancel()

    async def _write(self) -> bool:
        """One transaction with what waits. Memory follows the disk; False where the disk failed."""
        steps, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
        batch = _Batch(self._open)
        taken = [step for step in steps if batch.take(step)]
        durable = any(step.durable for step in taken)
        try:
            await self._in_thread(self._file.write, list(batch.rows.values()), durable, self._clock.now())
        except sqlite3.Error as error:
            self._failed(taken, error)
            return False
        except BaseException:
            for step in taken:
                step.fail(RuntimeError("the journal is closed"))
            raise
        self._succeeded(taken, batch.entries.values())
        return True

    def _succeeded(self, taken: Sequence[_Step], entries: Iterable[Entry]) -> None:
        self.commits_total += 1
        if self._failing:
            _log.info("The journal can be written again")
        self._failing = False
        for entry in entries:
            self._follow(entry)
        for step in taken:
            step.succeed()

    def _follow(self, entry: Entry) -> None:
        """Memory as the disk now is."""
        if entry.is_rejected:
            self.rejected_total += 1
            self._known.put(entry)
            return
        command_id = entry.command.id
        if self._beginning.pop(command_id, None):
            self.begun_total += 1
            self._note(entry)
        if entry.state is not State.FINISHED:
            self._open[command_id] = entry
            return
        self.finished_total += 1
        self._open.pop(command_id, None)
        self._secrets.pop(command_id, None)
        self._known.put(replace(entry, action=None))

    def _failed(self, steps: Sequence[_Step], error: sqlite3.Error) -> None:
        self.write_failures_total += 1
        if not self._failing:
            _log.error("The journal cannot be written, so no command is taken: %s", error)
        self._failing = True
        for step in steps:
            if step.request and step.durable:
                del self._beginning[step.command_id]
                self._secrets.pop(step.command_id, None)
            step.fail(NotRecorded(f"The journal cannot be written: {error}"))
        self._pending[:0] = [step for step in steps if step.patient]

    async def _in_thread(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


@dataclass(slots=True, eq=False)
class _Step:
    """Something to write, and who waits for it."""

    command_id: str
    change: Callable[[Entry | None], Entry]
    """The entry after this step, from the open one of this id. Raises KeyError."""
    request: str = ""
    """The command as JSON, of a new entry."""
    durable: bool = True
    patient: bool = False
    """Tried again where the disk fails."""
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def succeed(self) -> None:
        """Who waits goes on."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """Who waits is told."""
        if not self.done.done():
            self.done.set_exception(error)


class _Batch:
    """Steps that share a transaction; several may be of one command."""

    def __init__(self, open_entries: dict[str, Entry]) -> None:
        self._open = open_entries
        self._newest: dict[str, Entry] = {}
        self.entries: dict[int, Entry] = {}
        self.rows: dict[int, Row] = {}

    def take(self, step: _Step) -> bool:
        """Add a step; False (and who waits is told) where it does not fit the command."""
        try:
            entry = step.change(self._newest.get(step.command_id) or self._open.get(step.command_id))
            self._add(entry, step.request)
        except (KeyError, TypeError, ValueError) as error:
            step.fail(error)
            return False
        return True

    def _add(self, entry: Entry, request: str) -> None:
        position = entry.position
        earlier = self.rows.get(position)
        self.rows[position] = Row(
            position,
            key(entry.command.id),
            key(entry.machine),
            entry.command.door.value,
            entry.state.value,
            entry.is_rejected,
            to_milliseconds(entry.changed),
            earlier.request if earlier else request,
            encode_progress(entry),
        )
        self.entries[position] = entry
        if not entry.is_rejected:
            self._newest[entry.command.id] = entry


def _existing(entry: Entry | None, command_id: str) -> Entry:
    if entry is None or entry.state is State.FINISHED:
        raise KeyError(command_id)
    return entry


def _dead(entry: Entry | None, command_id: str) -> Entry:
    if entry is None or entry.state is not State.DEAD:
        raise KeyError(command_id)
    return entry


def _position(entry: Entry) -> int:
    return entry.position


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " …"


def _shortened(outcome: Outcome) -> Outcome:
    actual = outcome.actual
    return replace(
        outcome,
        sentence=_cut(outcome.sentence),
        actual=_cut(actual) if isinstance(actual, str) else actual,
        vendor_text=_cut(outcome.vendor_text),
    )


def _shortened_item(item: ItemOutcome) -> ItemOutcome:
    if is_secret(item.target.rpartition(".")[2]):
        return replace(item, value=MASK, sentence="", actual=None)
    actual = item.actual
    sentence = _cut(without_emails(item.sentence))
    return replace(item, sentence=sentence, actual=_cut(actual) if isinstance(actual, str) else actual)


def _outline(command: Command) -> Command:
    """What can be told of a command that is too long, or that JSON cannot carry."""
    return replace(
        command,
        id=_cut(command.id),
        target=_cut(command.target),
        requester=_cut(command.requester),
        arguments={},
        issued=command.issued.astimezone(UTC),
        expires=command.expires.astimezone(UTC),
    )
