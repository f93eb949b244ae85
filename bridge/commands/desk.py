"""The desk: where every command is checked, put in order, carried out and answered with the truth.

    door -> submit -> check -> lane of the machine -> [journal: finished] -> ticket

Rules (design.md section 6)
1. A command's task belongs to the desk: a caller that vanishes cancels nothing.
2. One lane per source and vendor machine (see `bridge.commands.lane`). A recipe is one job in it.
3. Before anything is sent the journal says so, durably; whatever it says "sending" of after a crash is reconciled by
   reading, never sent again.
4. Refusals are outcomes. A vendor's yes is not a confirmation where a readback exists.
5. A booking that its vendor does not get is kept (see `bridge.commands.bookings`): its caller is answered "queued", and
   an event tells how it ended.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bridge.commands import recipe
from bridge.commands.bookings import IN_ALL, PER_LANE, Booking, Register, event_of
from bridge.commands.check import NotAccepted, checked
from bridge.commands.confirm import same
from bridge.commands.job import CommandTicket, Job
from bridge.commands.journal import MAX_LISTED, State, without_secrets
from bridge.commands.lane import Lane
from bridge.commands.last_writes import READ_BACK, LastWrite, LastWrites
from bridge.commands.masking import discreet, impersonal
from bridge.commands.people import People
from bridge.commands.recovery import Recovery
from bridge.commands.unknown import no_target
from bridge.errors import NotRecorded
from bridge.model.command import ENGINEERS_HAZARDS, Command, Door, Outcome, Result, Role
from bridge.model.status import StatusCode
from bridge.model.value import DataType, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from datetime import datetime

    from bridge.commands.journal import Entry, Journal
    from bridge.model.action import Action, Expectation
    from bridge.model.event import Event
    from bridge.model.observation import Observation
    from bridge.model.tag import Tag
    from bridge.ports import Clock, Executor, Item, TagView, Target, Targets

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeskRules:
    """What the configuration says about commands.

    `hazards` gives the hazards a source allows, by the source's name.
    """

    hazards: Mapping[str, frozenset[str]] = field(default_factory=dict)
    reassert: bool = False
    """`repeat: reassert`: the same value from the same writer is sent again when somebody else changed it."""
    lane_limit: int = 50
    confirm_window_s: float = 2.0
    refresh_timeout_s: float = 5.0
    """A read that was begun within the window is waited for so long at most."""
    execute_timeout_s: float = 5.0
    reconcile_within_s: float = 60.0
    """How long, after a crash, a machine is asked what became of a command."""
    repeat_failed_after_s: float = 5.0
    """A cyclic writer whose write failed is answered from the last result for so long."""
    people: People = field(default_factory=People)
    """Whose e-mail address a vendor is told for a badge number or a user name."""


class Desk:
    """Takes commands for every machine. `run` must be running while commands are taken."""

    def __init__(
        self,
        view: TagView,
        targets: Targets,
        executors: Callable[[str], Executor | None],
        journal: Journal,
        rules: DeskRules,
        clock: Clock,
    ) -> None:
        self.rules = rules
        self.journal = journal
        self.clock = clock
        self.finished: Callable[[Command, Target | None, Outcome], None] = lambda command, target, outcome: None
        """Called for each command that ended, after its ticket; of a kept booking also when it is queued."""
        self.tell: Callable[[Event], None] = lambda event: None
        """Told how a kept booking ended."""
        self.is_connected: Callable[[str], bool] = lambda source: True
        """Whether a source is served; bookings wait until then (see `returned`)."""
        self.opened = asyncio.Event()
        """Set once what a crash left was taken over: from then on commands are taken."""
        self.bookings = Register()
        self._view = view
        self._targets = targets
        self._executors = executors
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._open: dict[str, Job] = {}
        self._writes = LastWrites()
        self._group: asyncio.TaskGroup | None = None
        self._stopping = False
        self._recovery = Recovery(
            journal,
            executors,
            clock,
            within_s=rules.reconcile_within_s,
            late_s=rules.execute_timeout_s,
            is_set_point=self._is_set_point,
            is_connected=lambda source: self.is_connected(source),
        )

    async def run(self) -> None:
        """Carry out commands until cancelled; what was left by a crash comes first."""
        left = await self.journal.unfinished()
        await self._recall_writes()
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._take_over(left)  # before anything is taken, so that nothing overtakes a booking
            self.opened.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.opened.clear()
                self._group = None

    async def _recall_writes(self) -> None:
        """What writers last wrote: one that cycles must not take a start of ours for leave to write it again."""
        for entry in reversed(await self.journal.newest(MAX_LISTED, state=State.FINISHED)):
            point = self._set_point(entry.command.target)
            if point is None or entry.outcome is None or entry.outcome.result not in READ_BACK:
                continue
            value = entry.command.arguments.get("value")
            if point.definition.enumeration:
                value = _shown(point, value)
            self._writes.put(point.id, entry.command.requester, LastWrite(value, entry.outcome, self.clock.monotonic()))

    def _set_point(self, identifier: str) -> Tag | None:
        target = self._targets(identifier)
        return None if target is None else target.set_point

    def close(self) -> None:
        """Take no more commands; those in flight go on."""
        self._stopping = True

    async def drain(self, seconds: float) -> None:
        """Wait until nothing is in flight, or the time is over."""
        deadline = self.clock.monotonic() + seconds
        while self._open and self.clock.monotonic() < deadline:
            await self.clock.sleep(0.02)

    # -- in -----------------------------------------------------------------------------------------------------------

    def submit(self, command: Command) -> CommandTicket:
        """Take a command (see `bridge.ports.Submit`)."""
        ticket = CommandTicket()
        try:
            self._take(command, ticket)
        except NotAccepted as refusal:
            outcome = discreet(command, refusal.outcome)
            ticket.end(outcome)
            self.spawn(self.journal.record(command, command.target.partition(".")[0], outcome), "record")
            self.finished(command, self._targets(command.target), outcome)
        return ticket

    def _take(self, command: Command, ticket: CommandTicket) -> None:
        if self._stopping:
            raise NotAccepted(StatusCode.BadInvalidState, "The bridge is stopping")
        if not self.opened.is_set():
            sentence = "The bridge is starting: it still reads its journal; send it again in a moment"
            raise _Ended(Outcome(Result.UNREACHED, StatusCode.BadInvalidState, sentence))
        if self._is_known(command, ticket):
            return
        target, edge = self._target(command), self.clock.now()
        arguments = checked(target.arguments, command.arguments, edge)
        if self._is_repeated(command, target, arguments, ticket):
            return
        job = self._job(command, target, arguments, ticket, edge)
        if target.max_delay is not None:
            job.booking = Booking(command, edge, edge + timedelta(seconds=target.max_delay))
        self._check(job)
        self._check_room(job)
        self._open[command.id] = job
        self._lane(target.lane).put(job)

    def _job(
        self, command: Command, target: Target, arguments: Mapping[str, Value], ticket: CommandTicket, edge: datetime
    ) -> Job:
        items = target.items(self.rules.people.resolved(target.arguments, arguments, command.user))
        return Job(command, target, items, [self.old(item) for item in items], ticket, edge)

    def _check_room(self, job: Job) -> None:
        lane = self._lane(job.target.lane)
        if lane.length >= self.rules.lane_limit:
            raise NotAccepted(StatusCode.BadTooManyOperations, f"{lane.length} commands already wait for this machine")
        if job.booking is not None and (lane.kept >= PER_LANE or len(self.bookings) >= IN_ALL):
            many = f"{lane.kept} bookings of this machine and {len(self.bookings)} in all are kept already"
            raise NotAccepted(StatusCode.BadTooManyOperations, many)

    def _target(self, command: Command) -> Target:
        now = self.clock.now()
        if command.retained:
            raise NotAccepted(StatusCode.BadInvalidState, "The broker kept this command from the past: it is refused")
        if command.expires <= now:
            late = (now - command.expires).total_seconds()
            raise _Ended(
                Outcome(Result.EXPIRED, StatusCode.BadTimeout, f"It expired {late:.0f} s ago and was not sent")
            )
        target = self._targets(command.target)
        if target is None:
            raise no_target(self._view.plant, command.target)
        return target

    def _is_known(self, command: Command, ticket: CommandTicket) -> bool:
        """The same id again is the same command; with other arguments it is somebody's mistake."""
        job = self._open.get(command.id)
        entry = self.journal.known(command.id)
        earlier = job.command if job else entry.command if entry else None
        if earlier is None:
            return False
        given = without_secrets(command).arguments if job is None else command.arguments
        if earlier.target != command.target or dict(earlier.arguments) != dict(given):
            how = f". {entry.outcome.sentence}" if entry is not None and entry.outcome is not None else ""
            raise NotAccepted(
                StatusCode.BadInvalidArgument,
                f"The id {command.id} was used before, for {earlier.target} with other values{how}",
            )
        if job is not None:
            self.spawn(_follow(job.ticket, ticket), "follow")
        elif entry is not None and entry.outcome is not None:
            ticket.end(entry.outcome)
        elif (queued := self.bookings.answer(command.id)) is not None and not self._recovery.is_ending(command.id):
            ticket.end(queued)
        elif not self._recovery.follow(command.id, ticket):
            raise NotAccepted(StatusCode.BadInvalidState, "What became of this command is not known yet")
        return True

    def _is_repeated(
        self, command: Command, target: Target, arguments: Mapping[str, Value], ticket: CommandTicket
    ) -> bool:
        """A cyclic writer does no harm: the same value again is answered from the last result.

        Who typed it writes no cycles: it is sent again where it is not so any more.
        """
        point, by_hand = target.set_point, command.door is Door.ADMIN
        if point is None:
            return False
        last = self._writes.repeated(point.id, command.requester, arguments["value"])
        if last is None:
            return False
        failed = not last.outcome.status.is_good
        if failed and (by_hand or self.clock.monotonic() - last.at > self.rules.repeat_failed_after_s):
            return False
        current = self._view.read(point)
        answer = last.answer(current, _shown(point, current.value))
        if answer is not last.outcome and (by_hand or (self.rules.reassert and answer.result is Result.REJECTED)):
            return False
        ticket.end(answer)
        return True

    def _check(self, job: Job) -> None:
        """All of a recipe is checked before any of it is sent; what it requires, before each item."""
        for index, item in enumerate(job.items):
            try:
                self._check_action(job.command, item.action, is_booking=job.booking is not None)
            except NotAccepted as refusal:
                if not job.is_recipe:
                    raise
                raise _Ended(recipe.refused(job.parts, index, refusal.outcome)) from None
        self.check_requirements(job.item.action)

    def _check_action(self, command: Command, action: Action, *, is_booking: bool) -> None:
        if command.role is Role.OBSERVER:
            raise NotAccepted(StatusCode.BadUserAccessDenied, f"{command.requester} may only look (role Observer)")
        special = action.hazards & ENGINEERS_HAZARDS
        if special and command.role is not Role.ENGINEER:
            hazards = ", ".join(sorted(special))
            sentence = f"The hazard {hazards} wants the role Engineer; {command.requester} has {command.role.value}"
            raise NotAccepted(StatusCode.BadUserAccessDenied, sentence)
        refused = action.hazards - self.rules.hazards.get(action.source, frozenset())
        if refused and not action.safe:
            hazards = ", ".join(sorted(refused))
            sentence = f"The hazard {hazards} is not allowed: name it in allow_hazards of the source {action.source}"
            raise NotAccepted(StatusCode.BadUserAccessDenied, sentence)
        executor = self._executors(action.source)
        if executor is None and is_booking:
            return
        if executor is None:
            sentence = f"The source {action.source} does not run yet, or takes no commands any more"
            raise _Ended(Outcome(Result.UNREACHED, StatusCode.BadNotConnected, sentence))
        if (why := executor.validate(action)) is not None:
            raise NotAccepted(StatusCode.BadInvalidArgument, f"It must not be sent: {why}")

    def check_requirements(self, action: Action) -> None:
        """The tags that must read so before. Raises NotAccepted."""
        for identifier, wanted in action.requires.items():
            tag = self._view.plant.find(identifier)
            current = None if tag is None else self._view.read(tag)
            if tag is None or current is None or not current.status.is_good:
                raise NotAccepted(StatusCode.BadInvalidState, f"{identifier} must be {_word(wanted)} and is not known")
            if not same(actual := _shown(tag, current.value), wanted):
                words = f"{identifier} must be {_word(wanted)} and is {_word(actual)}"
                raise NotAccepted(StatusCode.BadInvalidState, words)

    def old(self, item: Item) -> Value:
        """What the item's set point is now, as a command would say it."""
        return None if item.set_point is None else _shown(item.set_point, self._view.read(item.set_point).value)

    def before(self, expectation: Expectation) -> Value:
        """What is expected to change reads now, as the vendor would say it; None where nobody knows."""
        tag = self._view.plant.find(expectation.tag)
        return None if tag is None else _shown(tag, self._view.read(tag).value)

    def _lane(self, key: tuple[str, str]) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(self, key)
            self.spawn(lane.take_in(), f"lane {'/'.join(key)}: intake")
            self.spawn(lane.run(), f"lane {'/'.join(key)}")
        return lane

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Run something as a child of the desk."""
        if self._group is None:
            work.close()
            return
        self._group.create_task(work, name=f"desk: {name}")

    # -- out ----------------------------------------------------------------------------------------------------------

    def observe(self, observation: Observation) -> None:
        """A raw observation, before projection: confirmations are decided on these."""
        lane = self._lanes.get((observation.source, observation.machine))
        if lane is not None:
            lane.observe(observation)

    def executor(self, source: str) -> Executor | None:
        """Who carries out commands of a source."""
        return self._executors(source)

    async def finish(self, job: Job, outcome: Outcome) -> None:
        """Journal the outcome, then answer: a vendor may repeat in its words whom it was told."""
        outcome = discreet(job.command, outcome)
        self._say_end(job.command, job.edge, outcome)
        try:
            await self.journal.finish(job.command.id, outcome, dead=_needs_a_person(job, outcome))
        except NotRecorded as error:  # the journal writes it later by itself; the caller must not wait for a disk
            logger.error("The end of %s is not on disk yet: %s", job.command.id, error)
        self._open.pop(job.command.id, None)
        for item, ended in zip(job.items, job.outcomes, strict=False):
            self._remember(job.command.requester, item, impersonal(ended))
        job.ticket.end(outcome)
        self.finished(job.command, job.target, outcome)

    def _remember(self, requester: str, item: Item, outcome: Outcome) -> None:
        if item.set_point is None or outcome.result is Result.SUPERSEDED:
            return
        write = LastWrite(item.value, outcome, self.clock.monotonic())
        self._writes.put(item.set_point.id, requester, write)

    # -- bookings -----------------------------------------------------------------------------------------------------

    def _take_over(self, left: Sequence[Entry]) -> None:
        """What a crash left."""
        for entry in left:
            if entry.until is not None and entry.state in (State.ACCEPTED, State.QUEUED):
                booking = Booking.of(entry)
                self.bookings.put(booking, booking.queued("The bridge was started anew"))
                self._lane(entry.lane).restore(booking)
            else:
                if entry.until is not None:
                    booking = Booking.of(entry)
                    self.bookings.put(booking, booking.queued("It is being looked for"))
                self._reconcile(entry)

    def unreachable(self, lane: tuple[str, str]) -> Outcome | None:
        """A booking is not sent now: this is certain before anything is written or sent."""
        if self._executors(lane[0]) is not None and self.is_connected(lane[0]):
            return None
        return Outcome(Result.UNREACHED, StatusCode.BadNotConnected, f"The source {lane[0]} is not connected")

    def may_deliver(self, lane: tuple[str, str]) -> bool:
        """Kept bookings may go."""
        is_known = not self.is_recovering(lane) and not self.is_settling(lane)
        return is_known and not self._stopping and self.unreachable(lane) is None

    def is_settling(self, lane: tuple[str, str]) -> bool:
        """It is not known yet what became of a booking: those after it wait."""
        return self._recovery.is_settling(lane)

    def returned(self, source: str) -> None:
        """A source is served again."""
        for (name, _), lane in self._lanes.items():
            if name == source:
                lane.returned()

    async def keep(self, job: Job, booking: Booking, why: str) -> None:
        """Journal that it is kept, then answer."""
        outcome = impersonal(booking.queued(why))
        try:
            await self.journal.mark(job.command.id, State.QUEUED, why)
        except NotRecorded as error:  # after a crash it would be looked for, or sent: never twice
            logger.error("That %s is kept is not on disk: %s", job.command.id, error)
        self._open.pop(job.command.id, None)
        self.bookings.put(booking, outcome)
        job.ticket.end(outcome)
        if not booking.is_told:
            self.finished(job.command, job.target, outcome)

    async def settle(self, job: Job, outcome: Outcome) -> None:
        """A booking may have arrived: find out by reading, and keep those after it meanwhile."""
        entry, booking = self.journal.known(job.command.id), job.booking
        if entry is None or booking is None or entry.state is State.FINISHED:
            await self.finish(job, outcome)
            return
        words = f"{outcome.sentence}. It is being looked for; an event tells how it ended"
        told = discreet(job.command, replace(outcome, sentence=words))
        self._open.pop(job.command.id, None)
        self.bookings.put(booking, told)
        self._reconcile(entry)
        job.ticket.end(told)
        if not booking.is_told:
            self.finished(job.command, job.target, told)

    async def made_anew(self, booking: Booking) -> Job | None:
        """The job of a kept booking, by the mapping and the people of now; None where it has come to its end."""
        command = booking.command
        try:
            target = self._targets(command.target)
            if target is None:
                raise NotAccepted(StatusCode.BadNotFound, f"There is no {command.target} any more")
            arguments = checked(target.arguments, command.arguments, booking.edge)
            job = self._job(command, target, arguments, CommandTicket(), booking.edge)
            job.booking = booking
            self._check(job)
        except NotAccepted as refusal:
            await self.end_booking(booking, refusal.outcome, dead=True)
            return None
        self._open[command.id] = job
        return job

    async def end_booking(self, booking: Booking, outcome: Outcome, *, dead: bool = False) -> None:
        """A kept booking ends without being sent."""
        command = booking.command
        self._say_end(command, booking.edge, outcome)
        try:
            await self.journal.finish(command.id, outcome, dead=dead)
        except NotRecorded as error:
            logger.error("The end of %s is not on disk yet: %s", command.id, error)
        self.finished(command, self._targets(command.target), outcome)

    def _say_end(self, command: Command, edge: datetime, outcome: Outcome) -> None:
        """Before the journal: what is told again after a crash has the same id."""
        if self.bookings.end(command.id, outcome):
            source = self._source_of(command)
            self.tell(event_of(command, edge, source, outcome, self.clock.now()))

    def _source_of(self, command: Command) -> str:
        target = self._targets(command.target)
        return target.lane[0] if target is not None else ""

    async def withdraw(self, command_id: str, by: str, reason: str) -> None:
        """A person puts a kept booking aside. Raises KeyError where none is kept, or it is on its way."""
        entry = self.journal.known(command_id)
        booking = self._lane(entry.lane).withdraw(command_id) if entry and self.bookings.answer(command_id) else None
        if booking is None:
            raise KeyError(command_id)
        sentence = f"Discarded by {by}: {reason}" if reason else f"Discarded by {by}"
        outcome = Outcome(Result.SUPERSEDED, StatusCode.BadRequestCancelledByClient, sentence)
        await self.end_booking(booking, impersonal(outcome))

    def as_taken(self, entry: Entry) -> Mapping[str, Value]:
        """A command's arguments with the time it was taken at, for somebody who sends it again."""
        target = self._targets(entry.command.target)
        if target is None or entry.edge is None:
            return entry.command.arguments
        given = entry.command.arguments
        try:
            then = checked(target.arguments, given, entry.edge)
        except NotAccepted:
            return given
        times = {one.name: then[one.name] for one in target.arguments if one.data_type is DataType.DateTime}
        return {**given, **times}

    def hurry(self, command_id: str) -> Outcome:
        """A person wants it tried now. Raises KeyError where it is not kept."""
        entry, queued = self.journal.known(command_id), self.bookings.answer(command_id)
        if entry is None or queued is None:
            raise KeyError(command_id)
        self._lane(entry.lane).hurry()
        return queued

    # -- the end of what never was in a lane --------------------------------------------------------------------------

    def refuse(self, job: Job, sentence: str) -> None:
        """Answer a job that will not be sent, without the journal."""
        self._open.pop(job.command.id, None)
        outcome = Outcome(Result.REJECTED, StatusCode.BadInvalidState, sentence)
        job.ticket.end(outcome)
        self.finished(job.command, job.target, outcome)

    def is_own(self, target: str, value: Value) -> bool:
        """This value of a set point is what a command of ours asked for, or asks for now."""
        if any(job.sets(target) for job in self._open.values()):
            return True
        last = self._writes.newest(target)
        return last is not None and (same(last.value, value) or same(last.outcome.actual, value))

    def is_recovering(self, lane: tuple[str, str]) -> bool:
        """It is not known yet what became of a command to this machine before a crash."""
        return self._recovery.is_asking(lane)

    def _is_set_point(self, target: str) -> bool:
        return self._set_point(target) is not None

    def _reconcile(self, entry: Entry) -> None:
        self._recovery.begin(entry)
        self.spawn(self._reconciled(entry), f"reconcile {entry.command.id}")

    async def _reconciled(self, entry: Entry) -> None:
        outcome = await self._recovery.outcome(entry)
        may_go_again = entry.until is not None and Booking.of(entry).can_be_kept
        if may_go_again and outcome.result is Result.UNREACHED:
            outcome = await self._requeue(entry)
        else:
            await self._recovered(entry, outcome)
        self._recovery.over(entry, outcome)
        if entry.lane in self._lanes:
            self._lanes[entry.lane].go_on()

    async def _recovered(self, entry: Entry, outcome: Outcome) -> None:
        """It was read what became of a command: who asked is gone, the machine shows it."""
        self._say_end(entry.command, entry.edge or entry.changed, outcome)
        try:
            await self.journal.finish(entry.command.id, outcome, dead=outcome.result is Result.UNKNOWN)
        except NotRecorded as error:  # the journal writes it later by itself
            logger.error("The end of %s is not on disk yet: %s", entry.command.id, error)
        self.finished(entry.command, self._targets(entry.command.target), outcome)

    async def _requeue(self, entry: Entry) -> Outcome:
        """A booking that may have been sent never arrived: it is the first of its lane again."""
        booking = Booking.of(entry)
        try:
            await self.journal.mark(entry.command.id, State.QUEUED, "It never arrived")
        except NotRecorded as error:
            logger.error("That %s is kept is not on disk: %s", entry.command.id, error)
        queued = booking.queued("It has not arrived yet")
        self.bookings.put(booking, queued)
        self._lane(entry.lane).requeue(booking)
        return queued


def _needs_a_person(job: Job, outcome: Outcome) -> bool:
    """An unknown outcome of what must not be done twice is left to a person."""
    stopped = job.items[max(0, len(job.outcomes) - 1)]
    return outcome.result is Result.UNKNOWN and not stopped.action.absolute


def _shown(tag: Tag, value: Value) -> Value:
    """A tag's value as a command would say it: an enum's text for its number."""
    enumeration = tag.definition.enumeration
    if enumeration and value is not None:
        return next((text for text, number in enumeration.items() if number == value), value)
    return value


def _word(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _follow(first: CommandTicket, second: CommandTicket) -> None:
    accepted = await first.accepted
    if accepted is None:
        second.accept()
    second.end(await first.result)


class _Ended(NotAccepted):
    """A refusal whose result is another than rejected."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.status, outcome.sentence)
        self.outcome = outcome
