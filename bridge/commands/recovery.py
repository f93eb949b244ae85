"""Recovery: what the journal keeps of an action, so that after a crash its fate can be read from the machine.

What may have been sent before the crash is never sent again, and what a recipe had not sent yet is not sent any more.
A request that left may reach the machine after the bridge is back; what a reading says is in
`bridge.commands.aftermath`. A booking is looked for also without a crash, as long as its vendor is away, and is sent
again only where the vendor says that it never arrived.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bridge.commands import recipe
from bridge.commands.aftermath import aftermath
from bridge.commands.earlier import left_by_earlier
from bridge.commands.journal import MAX_LISTED, State
from bridge.commands.masking import MASK, is_masked
from bridge.commands.recipe import Part
from bridge.model.action import Action, Expectation
from bridge.model.command import Outcome, Result
from bridge.model.secret import is_secret
from bridge.model.status import StatusCode
from bridge.model.value import DataType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.commands.entry import Entry
    from bridge.commands.job import CommandTicket, Job
    from bridge.commands.journal import Journal
    from bridge.model.value import Value
    from bridge.ports import Clock, Executor

logger = logging.getLogger(__name__)


def written(job: Job) -> dict[str, Any]:
    """What is to be sent, as the journal keeps it; a recipe's items each with its set point."""
    if not job.is_recipe:
        return {**_written(job.items[0].action), **_times(job)}
    items = zip(job.parts, job.items, job.olds, strict=True)
    return {"items": [_item(part, _written(item.action), old) for part, item, old in items]}


def sent_id(command: str, place: int) -> str:
    """By which a vendor knows one thing that is sent for a command: a recipe's others than the first are numbered."""
    return f"{command}#{place + 1}" if place else command


def _times(job: Job) -> dict[str, Any]:
    """What a later delivery must still know."""
    if job.booking is not None:
        return {"edge": job.edge, "until": job.booking.until}
    return {"edge": job.edge} if any(one.data_type is DataType.DateTime for one in job.target.arguments) else {}


def _written(action: Action) -> dict[str, Any]:
    confirm = [[[e.path, e.value] for e in alternative] for alternative in action.confirm]
    return {
        "source": action.source,
        "machine": action.machine,
        "payload": action.payload,
        "confirm": confirm,
        "absolute": action.absolute,
    }


def _item(part: Part, action: dict[str, Any], old: Value) -> dict[str, Any]:
    if is_secret(part.name.rpartition("/")[2]):  # the journal masks by the command's own names, which are others
        return {**part._asdict(), **action, "value": MASK, "payload": MASK, "confirm": [], "old": MASK}
    return {**part._asdict(), **action, "old": old}


@dataclass(frozen=True, slots=True)
class _InFlight:
    """What may have been sent: the whole command, or one item of it."""

    action: Action
    old: Value
    is_set_point: bool
    is_readable: bool

    @classmethod
    def of(cls, kept: Mapping[str, Any], old: Value, *, is_set_point: bool, is_masked: bool) -> _InFlight:
        """What the journal keeps."""
        confirm = tuple(tuple(Expectation(path, value) for path, value in one) for one in kept["confirm"])
        action = Action(kept["source"], kept["machine"], kept["payload"], confirm, absolute=bool(kept["absolute"]))
        return cls(action, old, is_set_point, not is_masked)

    def known_as(self, identifier: str) -> _InFlight:
        """With the id under which it was sent."""
        return replace(self, action=replace(self.action, command=identifier))


NOT_SENT = Outcome(Result.UNREACHED, StatusCode.BadNotConnected, "The bridge stopped before it was sent")
UNTOLD = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "The bridge stopped while it was being sent")

AGAIN_S = 1.0
"""Between two questions to a machine that does not tell."""


class Recovery:
    """Ends what a crash left unfinished: by reading, and what cannot be read is left to a person.

    Args:
        journal: where it was left.
        executors: who can ask the machines of a source; None while nobody can.
        clock: time.
        within_s: how long a machine is asked.
        late_s: how long after a request left it may still arrive.
        is_set_point: whether a command's target is one.
        is_connected: whether a source can be asked.
    """

    def __init__(
        self,
        journal: Journal,
        executors: Callable[[str], Executor | None],
        clock: Clock,
        *,
        within_s: float,
        late_s: float,
        is_set_point: Callable[[str], bool],
        is_connected: Callable[[str], bool],
    ) -> None:
        self._journal = journal
        self._executors = executors
        self._clock = clock
        self._within_s = within_s
        self._late_s = late_s
        self._is_set_point = is_set_point
        self._is_connected = is_connected
        self._asking: Counter[tuple[str, str]] = Counter()
        self._settling: Counter[tuple[str, str]] = Counter()
        self._followers: dict[str, list[CommandTicket]] = {}

    def is_asking(self, lane: tuple[str, str]) -> bool:
        """What may have been sent to this machine is not known yet."""
        return self._asking[lane] > 0

    def is_settling(self, lane: tuple[str, str]) -> bool:
        """What became of a booking of this machine is not known yet."""
        return self._settling[lane] > 0

    def is_ending(self, command_id: str) -> bool:
        """What became of this command is being found out."""
        return command_id in self._followers

    def follow(self, command_id: str, ticket: CommandTicket) -> bool:
        """Tell this one too how it ends; False where that is not being found out."""
        if command_id not in self._followers:
            return False
        ticket.accept()
        self._followers[command_id].append(ticket)
        return True

    def begin(self, entry: Entry) -> None:
        """It is to be found out how it ended: `outcome` does, and `over` says that all of it is done."""
        counter = self._counter(entry)
        if counter is not None:
            counter[entry.lane] += 1
        self._followers[entry.command.id] = []

    def over(self, entry: Entry, outcome: Outcome) -> None:
        """Who asked meanwhile is told, and the machine is free."""
        counter = self._counter(entry)
        if counter is not None:
            counter[entry.lane] -= 1
        for ticket in self._followers.pop(entry.command.id):
            ticket.end(outcome)

    def _counter(self, entry: Entry) -> Counter[tuple[str, str]] | None:
        if entry.until is not None:
            return self._settling
        return None if entry.state is State.ACCEPTED else self._asking

    async def outcome(self, entry: Entry) -> Outcome:
        """How it ended, by all that can be read; Unreached of a booking: send it again."""
        kept = entry.action
        if entry.state is State.ACCEPTED:
            return NOT_SENT
        if kept is None:
            return UNTOLD
        if "items" in kept:
            return await self._end_of_recipe(entry, kept["items"])
        is_set_point = self._is_set_point(entry.command.target)
        sent = _InFlight.of(kept, entry.old, is_set_point=is_set_point, is_masked=not entry.is_action_whole)
        return await self._fate(entry, sent.known_as(entry.command.id))

    async def _end_of_recipe(self, entry: Entry, items: list[dict[str, Any]]) -> Outcome:
        parts = [Part(item["target"], item["name"], item["value"]) for item in items]
        begun = list(entry.items)
        kept = items[len(begun)]
        sent = _InFlight.of(kept, entry.old, is_set_point=True, is_masked=is_masked(kept))
        last = await self._fate(entry, sent.known_as(sent_id(entry.command.id, len(begun))))
        begun.append(parts[len(begun)].ended(last))
        if last.status.is_good and len(begun) < len(parts):
            last = NOT_SENT
            begun.append(parts[len(begun)].ended(last))
        return recipe.whole(parts, begun, last)

    async def _fate(self, entry: Entry, sent: _InFlight) -> Outcome:
        """What became of what may have been sent.

        The source connects only now, so this asks until it tells, or for `within_s`.
        """
        began = self._clock.monotonic()
        age = (self._clock.now() - entry.changed).total_seconds()
        landed = began + min(max(self._late_s - age, 0.0), self._late_s)
        was_taken = entry.state is State.ANSWERED
        old = await self._old(entry, sent)
        while sent.is_readable:
            if not self._can_read(entry, sent):
                return UNTOLD
            if entry.until is not None and not self._is_connected(entry.lane[0]) and self._clock.now() < entry.until:
                began = self._clock.monotonic()
            has_landed = was_taken or self._clock.monotonic() >= landed
            read = await self._read(entry, sent)
            if read and read.result is Result.UNREACHED and has_landed and not was_taken:
                return read
            told = read and aftermath(
                read,
                old,
                is_set_point=sent.is_set_point,
                absolute=sent.action.absolute,
                was_taken=was_taken,
                has_landed=has_landed,
            )
            if told:
                return told
            if self._clock.monotonic() - began >= self._within_s:
                return read if read and read.result is Result.UNKNOWN else UNTOLD
            await self._clock.sleep(min(AGAIN_S, self._within_s))
        return UNTOLD

    async def _old(self, entry: Entry, sent: _InFlight) -> Value:
        """What the set point was before; it may have been sent before its machine was read."""
        if sent.old is not None or not sent.is_set_point or not sent.is_readable:
            return sent.old
        return left_by_earlier(entry, sent.action, await self._journal.newest(MAX_LISTED, entry.machine))

    def _can_read(self, entry: Entry, sent: _InFlight) -> bool:
        """Reading can tell; so it may turn out to where nobody can be asked yet."""
        executor = self._executors(entry.lane[0])
        if executor is None:
            return bool(sent.action.confirm) or not sent.action.absolute or entry.until is not None
        return executor.can_reconcile(sent.action)

    async def _read(self, entry: Entry, sent: _InFlight) -> Outcome | None:
        """What the machine reads now; None while nobody can be asked."""
        executor = self._executors(entry.lane[0])
        if executor is None:
            return None
        try:
            return await executor.reconcile(sent.action)
        except Exception:
            logger.exception("Reconciling %s failed", entry.command.id)
            return None
