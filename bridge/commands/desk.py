"""The desk: where every command is checked, put in order, carried out and answered with the truth.

    door -> submit -> check -> [journal: accepted] -> lane of the machine -> [journal: sending] -> executor
         -> [journal: answered] -> confirmation on raw observations -> [journal: finished] -> ticket

Rules (design.md section 6)
1. A command's task belongs to the desk: a caller that vanishes cancels nothing.
2. One lane per source and vendor machine, first in, first out; a newer set point replaces an unsent one; a safe command
   flushes what waits and goes as soon as the request in flight is answered.
3. Before anything is sent the journal says so, durably; whatever it says "sending" of after a crash is reconciled by
   reading, never sent again.
4. Refusals are outcomes. A vendor's yes is not a confirmation where a readback exists.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bridge.commands.check import NotAccepted, checked
from bridge.commands.confirm import Confirmation, Reading, same
from bridge.commands.journal import State, without_secrets
from bridge.commands.masking import impersonal
from bridge.commands.people import People
from bridge.errors import NotRecorded
from bridge.model.action import Action, Expectation
from bridge.model.command import ENGINEERS_HAZARDS, Command, Outcome, Result, Role
from bridge.model.status import StatusCode
from bridge.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from bridge.commands.journal import Entry, Journal
    from bridge.model.observation import Observation
    from bridge.ports import Clock, Executor, TagView, Target, Targets

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
    execute_timeout_s: float = 5.0
    reconcile_within_s: float = 60.0
    """How long, after a crash, a machine is asked what became of a command."""
    repeat_failed_after_s: float = 5.0
    """A cyclic writer whose write failed is answered from the last result for so long."""
    people: People = field(default_factory=People)
    """Whose e-mail address a vendor is told for a badge number or a user name."""


class CommandTicket:
    """A command on its way (see `bridge.ports.Ticket`)."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._accepted: asyncio.Future[Outcome | None] = loop.create_future()
        self._result: asyncio.Future[Outcome] = loop.create_future()

    @property
    def accepted(self) -> Awaitable[Outcome | None]:
        """None once it is in its lane, or the outcome that refused it."""
        return asyncio.shield(self._accepted)

    @property
    def result(self) -> Awaitable[Outcome]:
        """How it ended."""
        return asyncio.shield(self._result)

    def accept(self) -> None:
        """It is in its lane."""
        if not self._accepted.done():
            self._accepted.set_result(None)

    def end(self, outcome: Outcome) -> None:
        """It is over."""
        if not self._accepted.done():
            self._accepted.set_result(outcome)
        if not self._result.done():
            self._result.set_result(outcome)


@dataclass(slots=True)
class Job:
    """A command that passed the checks."""

    command: Command
    target: Target
    arguments: dict[str, Value]
    action: Action
    old: Value
    ticket: CommandTicket


@dataclass(frozen=True, slots=True)
class _Last:
    """A writer's last write of a set point."""

    requester: str
    value: Value
    outcome: Outcome
    at: float


LAST_LIMIT = 10_000
"""Set points whose last writer is remembered."""


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
        """Called once for each command that ended, after its ticket."""
        self._view = view
        self._targets = targets
        self._executors = executors
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._open: dict[str, Job] = {}
        self._last: OrderedDict[str, _Last] = OrderedDict()
        self._group: asyncio.TaskGroup | None = None
        self._stopping = False

    async def run(self) -> None:
        """Carry out commands until cancelled; what was left by a crash comes first."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._recover(), name="desk: recover")
            try:
                await asyncio.Event().wait()
            finally:
                self._group = None

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
            ticket.end(refusal.outcome)
            self.spawn(self.journal.record(command, command.target.partition(".")[0], refusal.outcome), "record")
            self.finished(command, self._targets(command.target), refusal.outcome)
        return ticket

    def _take(self, command: Command, ticket: CommandTicket) -> None:
        if self._stopping or self._group is None:
            raise NotAccepted(StatusCode.BadInvalidState, "The bridge is stopping")
        if self._is_known(command, ticket):
            return
        target = self._target(command)
        arguments = checked(target.arguments, command.arguments)
        action = target.action(self.rules.people.resolved(target.arguments, arguments, command.user))
        if self._is_repeated(command, target, arguments, ticket):
            return
        self._check(command, target, action)
        job = Job(command, target, arguments, action, self._old(target), ticket)
        lane = self._lane(target.lane)
        if lane.length >= self.rules.lane_limit:
            raise NotAccepted(StatusCode.BadTooManyOperations, f"{lane.length} commands already wait for this machine")
        self._open[command.id] = job
        lane.put(job)

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
            known = self._view.plant.find(command.target)
            status = StatusCode.BadNotFound if known is None else StatusCode.BadNotWritable
            words = "There is no" if known is None else "Nothing may be written to"
            raise NotAccepted(status, f"{words} {command.target}")
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
            raise NotAccepted(
                StatusCode.BadInvalidArgument,
                f"The id {command.id} was used before, for {earlier.target} with other values",
            )
        if job is not None:
            self.spawn(_follow(job.ticket, ticket), "follow")
        elif entry is not None and entry.outcome is not None:
            ticket.end(entry.outcome)
        else:
            raise NotAccepted(StatusCode.BadInvalidState, "What became of this command is not known yet")
        return True

    def _is_repeated(
        self, command: Command, target: Target, arguments: Mapping[str, Value], ticket: CommandTicket
    ) -> bool:
        """A cyclic writer does no harm: the same value again is answered from the last result."""
        last = self._last.get(target.id)
        if target.set_point is None or last is None or last.requester != command.requester:
            return False
        if not same(arguments["value"], last.value):
            return False
        if not last.outcome.status.is_good:
            if self.clock.monotonic() - last.at > self.rules.repeat_failed_after_s:
                return False
            ticket.end(last.outcome)
            return True
        current = self._view.read(target.set_point)
        shown = _shown(target, current.value)
        if current.status.is_good and not same(shown, last.value) and last.outcome.result is not Result.CHANGED:
            if self.rules.reassert:
                return False
            when = current.source_timestamp.strftime("%H:%M:%S")
            sentence = f"It was changed at the machine to {shown} at {when}; write another value to set it again"
            ticket.end(Outcome(Result.REJECTED, StatusCode.BadInvalidState, sentence, shown))
            return True
        ticket.end(last.outcome)
        return True

    def _check(self, command: Command, target: Target, action: Action) -> None:
        if command.role is Role.OBSERVER:
            raise NotAccepted(StatusCode.BadUserAccessDenied, f"{command.requester} may only look (role Observer)")
        special = action.hazards & ENGINEERS_HAZARDS
        if special and command.role is not Role.ENGINEER:
            hazards = ", ".join(sorted(special))
            raise NotAccepted(StatusCode.BadUserAccessDenied, f"The hazard {hazards} wants the role Engineer")
        refused = action.hazards - self.rules.hazards.get(action.source, frozenset())
        if refused and not action.safe:
            hazards = ", ".join(sorted(refused))
            sentence = f"The hazard {hazards} is not allowed: name it in allow_hazards of the source {action.source}"
            raise NotAccepted(StatusCode.BadUserAccessDenied, sentence)
        executor = self._executors(action.source)
        why = "its source takes no commands" if executor is None else executor.validate(action)
        if why is not None:
            raise NotAccepted(StatusCode.BadInvalidArgument, f"It must not be sent: {why}")
        self.check_requirements(action)

    def check_requirements(self, action: Action) -> None:
        """The tags that must read so before. Raises NotAccepted."""
        for identifier, wanted in action.requires.items():
            tag = self._view.plant.find(identifier)
            current = None if tag is None else self._view.read(tag)
            if current is None or not current.status.is_good or not same(current.value, wanted):
                actual = "not known" if current is None or not current.status.is_good else current.value
                raise NotAccepted(StatusCode.BadInvalidState, f"{identifier} must be {wanted} and is {actual}")

    def _old(self, target: Target) -> Value:
        if target.set_point is None:
            return None
        return _shown(target, self._view.read(target.set_point).value)

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
        outcome = impersonal(outcome)
        try:
            await self.journal.finish(job.command.id, outcome, dead=_needs_a_person(job.action, outcome))
        except NotRecorded as error:  # the journal writes it later by itself; the caller must not wait for a disk
            logger.error("The end of %s is not on disk yet: %s", job.command.id, error)
        self._open.pop(job.command.id, None)
        if job.target.set_point is not None and outcome.result is not Result.SUPERSEDED:
            last = _Last(job.command.requester, job.arguments["value"], outcome, self.clock.monotonic())
            self._last[job.target.id] = last
            self._last.move_to_end(job.target.id)
            if len(self._last) > LAST_LIMIT:
                self._last.popitem(last=False)
        job.ticket.end(outcome)
        self.finished(job.command, job.target, outcome)

    def refuse(self, job: Job, sentence: str) -> None:
        """Answer a job that will not be sent, without the journal."""
        self._open.pop(job.command.id, None)
        outcome = Outcome(Result.REJECTED, StatusCode.BadInvalidState, sentence)
        job.ticket.end(outcome)
        self.finished(job.command, job.target, outcome)

    def is_own(self, target: str, value: Value) -> bool:
        """This value of a set point is what a command of ours asked for, or asks for now."""
        if any(job.target.id == target for job in self._open.values()):
            return True
        last = self._last.get(target)
        return last is not None and (same(last.value, value) or same(last.outcome.actual, value))

    async def _recover(self) -> None:
        for entry in await self.journal.unfinished():
            if entry.state is State.ACCEPTED:
                sentence = "The bridge stopped before it was sent"
                await self.journal.finish(
                    entry.command.id, Outcome(Result.UNREACHED, StatusCode.BadNotConnected, sentence)
                )
            else:
                self.spawn(self._reconcile(entry), f"reconcile {entry.command.id}")

    async def _reconcile(self, entry: Entry) -> None:
        """It may have been sent before the crash: find out by reading, else leave it to a person.

        The source connects only now, so this asks until it tells, or for `reconcile_within_s`.
        """
        action = action_of(entry)
        outcome = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "The bridge stopped while it was being sent")
        deadline = self.clock.monotonic() + self.rules.reconcile_within_s
        readable = action is not None and bool(action.confirm) and entry.is_action_whole
        while readable and action is not None and outcome.result is Result.UNKNOWN:
            outcome = await self._read_back(entry, action) or outcome
            if outcome.result is not Result.UNKNOWN or self.clock.monotonic() >= deadline:
                break
            await self.clock.sleep(min(1.0, self.rules.reconcile_within_s))
        await self.journal.finish(entry.command.id, outcome, dead=outcome.result is Result.UNKNOWN)

    async def _read_back(self, entry: Entry, action: Action) -> Outcome | None:
        """What the machine reads now says of the command; None while nobody can be asked."""
        executor = self._executors(entry.lane[0])
        if executor is None:
            return None
        try:
            outcome = await executor.reconcile(action)
        except Exception:
            logger.exception("Reconciling %s failed", entry.command.id)
            return None
        if outcome.result is Result.CHANGED and same(outcome.actual, entry.old):
            sentence = f"It had no effect: the machine still reads {outcome.actual}"
            return Outcome(Result.REFUSED, StatusCode.BadInvalidState, sentence, outcome.actual)
        return outcome


class Lane:
    """The commands of one vendor machine, one after the other."""

    def __init__(self, desk: Desk, key: tuple[str, str]) -> None:
        self._desk = desk
        self._key = key
        self._intake: asyncio.Queue[Job] = asyncio.Queue()
        self._waiting: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._watching: list[Confirmation] = []

    @property
    def length(self) -> int:
        """How many commands wait."""
        return self._intake.qsize() + len(self._waiting)

    def put(self, job: Job) -> None:
        """Take a job in, in the order of submission."""
        self._intake.put_nowait(job)

    def observe(self, observation: Observation) -> None:
        """An observation of this machine."""
        for confirmation in self._watching:
            confirmation.see(observation)

    async def take_in(self) -> None:
        """Journal what comes in, then let it wait its turn."""
        while True:
            job = await self._intake.get()
            command = job.command
            try:
                await self._desk.journal.begin(command, job.target.machine, self._key, job.old, written(job.action))
            except (NotRecorded, ValueError, TypeError) as error:
                self._desk.refuse(job, f"It could not be written down, so it is not sent: {error}")
                continue
            job.ticket.accept()
            await self._line_up(job)

    async def _line_up(self, job: Job) -> None:
        if job.action.safe:
            gone, self._waiting = list(self._waiting), deque([job])
            sentence = f"{job.command.target} took its place before it was sent"
            self._urgent.set()
        else:
            gone = [w for w in self._waiting if job.target.set_point is not None and w.target.id == job.target.id]
            self._waiting = deque(w for w in self._waiting if w not in gone)
            self._waiting.append(job)
            sentence = "A newer value took its place before it was sent"
        self._wake.set()
        for superseded in gone:
            outcome = Outcome(Result.SUPERSEDED, StatusCode.BadRequestCancelledByClient, sentence)
            await self._desk.finish(superseded, outcome)

    async def run(self) -> None:
        """Carry out what waits, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                job = self._waiting.popleft()
                self._urgent.clear()
                try:
                    await self._carry_out(job)
                except Exception as error:
                    logger.exception("The command %s failed because of a fault in the bridge", job.command.id)
                    sentence = f"A fault in the bridge: {type(error).__name__}"
                    await self._desk.finish(job, Outcome(Result.UNKNOWN, StatusCode.BadTimeout, sentence))

    async def _carry_out(self, job: Job) -> None:
        desk, clock = self._desk, self._desk.clock
        executor = desk.executor(self._key[0])
        refusal = self._too_late(job)
        if refusal is not None or executor is None:
            gone = Outcome(Result.UNREACHED, StatusCode.BadNotConnected, "Its source is gone")
            await desk.finish(job, refusal or gone)
            return
        confirmation = Confirmation(job.action, job.old, is_set_point=job.target.set_point is not None)
        self._watching.append(confirmation)
        try:
            await desk.journal.mark(job.command.id, State.SENDING)
        except NotRecorded as error:
            self._watching.remove(confirmation)
            desk.refuse(job, f"It could not be written down, so it is not sent: {error}")
            return
        confirmation.sent(clock.monotonic())
        outcome = await executor.execute(job.action, clock.monotonic() + desk.rules.execute_timeout_s)
        if outcome.result not in (Result.ACCEPTED, Result.UNKNOWN) or not job.action.confirm:
            self._watching.remove(confirmation)
            await desk.finish(job, outcome)
            return
        with suppress(NotRecorded):  # what was sent is to be confirmed all the same
            await desk.journal.mark(job.command.id, State.ANSWERED, outcome.sentence)
        confirming = asyncio.create_task(self._confirm(job, confirmation, executor, outcome), name="desk: confirm")
        urgent = asyncio.create_task(self._urgent.wait(), name="desk: urgent")
        try:
            await asyncio.wait([confirming, urgent], return_when=asyncio.FIRST_COMPLETED)
        finally:
            urgent.cancel()
            if not confirming.done():
                self._keep(confirming)
        if confirming.done():
            confirming.result()

    def _keep(self, confirming: asyncio.Task[None]) -> None:
        """A safe command overtook the confirmation: it goes on beside it, as a child of the desk."""
        self._desk.spawn(_joined(confirming), "confirm")

    def _too_late(self, job: Job) -> Outcome | None:
        now = self._desk.clock.now()
        if job.command.expires <= now:
            return Outcome(Result.EXPIRED, StatusCode.BadTimeout, "It waited too long and was not sent")
        try:
            self._desk.check_requirements(job.action)
        except NotAccepted as refusal:
            return refusal.outcome
        return None

    async def _confirm(self, job: Job, confirmation: Confirmation, executor: Executor, answer: Outcome) -> None:
        clock, window = self._desk.clock, self._desk.rules.confirm_window_s
        deadline = clock.monotonic() + window
        verdict = None
        try:
            while verdict is None and clock.monotonic() < deadline:
                await executor.refresh(self._key[1])
                verdict = await confirmation.wait(min(0.25, max(0.0, deadline - clock.monotonic())))
            verdict = verdict or confirmation.at_the_end()
        finally:
            self._watching.remove(confirmation)
        await self._desk.finish(job, _outcome(verdict.reading, verdict.actual, answer, window))


def _outcome(reading: Reading, actual: Value, answer: Outcome, window: float) -> Outcome:
    code, text = answer.vendor_code, answer.vendor_text
    if reading is Reading.CONFIRMED:
        return Outcome(Result.CONFIRMED, StatusCode.Good, "The machine reads back what was asked", None, code, text)
    if reading is Reading.CHANGED:
        sentence = f"The machine took {actual} instead"
        return Outcome(Result.CHANGED, StatusCode.GoodClamped, sentence, actual, code, text)
    if reading is Reading.REFUSED:
        sentence = f"The machine answered and still reads {actual}: it refused"
        return Outcome(Result.REFUSED, StatusCode.BadInvalidState, sentence, actual, code, text)
    taken = "took it, but" if answer.result is Result.ACCEPTED else "may have it:"
    sentence = f"The vendor {taken} nothing was read back within {window:g} s: outcome unknown"
    return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, sentence, actual, code, text)


def _needs_a_person(action: Action, outcome: Outcome) -> bool:
    """An unknown outcome of what must not be done twice is left to a person."""
    return outcome.result is Result.UNKNOWN and not action.absolute


def _shown(target: Target, value: Value) -> Value:
    """A set point's value as a command would say it: an enum's text for its number."""
    enumeration = target.set_point.definition.enumeration if target.set_point else None
    if enumeration and value is not None:
        return next((text for text, number in enumeration.items() if number == value), value)
    return value


async def _follow(first: CommandTicket, second: CommandTicket) -> None:
    accepted = await first.accepted
    if accepted is None:
        second.accept()
    second.end(await first.result)


async def _joined(task: asyncio.Task[None]) -> None:
    await task


class _Ended(NotAccepted):
    """A refusal whose result is another than rejected."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.status, outcome.sentence)
        self.outcome = outcome


def written(action: Action) -> dict[str, object]:
    """An action as the journal keeps it."""
    confirm = [[[e.path, e.value] for e in alternative] for alternative in action.confirm]
    return {
        "source": action.source,
        "machine": action.machine,
        "payload": action.payload,
        "confirm": confirm,
        "absolute": action.absolute,
    }


def action_of(entry: Entry) -> Action | None:
    """The action a journal entry keeps."""
    kept = entry.action
    if kept is None:
        return None
    confirm = tuple(tuple(Expectation(path, value) for path, value in alternative) for alternative in kept["confirm"])
    return Action(kept["source"], kept["machine"], kept["payload"], confirm, absolute=bool(kept["absolute"]))
