"""A lane: the commands of one vendor machine, one after the other.

    put -> [journal: accepted] -> waits its turn -> each item: [journal: sending] -> executor -> [journal: answered]
        -> confirmation on raw observations -> the next item, or the end
    a booking that cannot be sent -> [journal: queued] -> waits for its source (see `bridge.commands.bookings`)

Rules
1. First in, first out; a newer value for the same target replaces one that waits.
2. A safe command flushes what waits, and goes as soon as the request in flight is answered: a confirmation goes on
   beside it, and what a recipe has not sent yet is superseded.
3. While it is not known what became of a command before a crash, only a safe one is sent: the effect of another would
   be taken for that one's.
4. A recipe goes on after an item that is done, if only with another value; anything else stops it.
5. Bookings go in their order, past nothing but commands that are none; a safe command does not flush them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from bridge.commands.bookings import NOT_KEPT, SPREAD_S, BookingQueue
from bridge.commands.check import NotAccepted
from bridge.commands.confirm import Confirmation, Reading, Verdict
from bridge.commands.journal import State
from bridge.commands.recovery import sent_id, written
from bridge.errors import NotRecorded
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from bridge.commands.bookings import Booking
    from bridge.commands.desk import Desk
    from bridge.commands.job import Job
    from bridge.model.observation import Observation
    from bridge.model.value import Value
    from bridge.ports import Executor

logger = logging.getLogger(__name__)


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
        self._kept = BookingQueue(desk.clock)

    @property
    def length(self) -> int:
        """How many commands wait; kept bookings are not among them."""
        return self._intake.qsize() + len(self._waiting)

    @property
    def kept(self) -> int:
        """How many bookings are kept."""
        return len(self._kept)

    def put(self, job: Job) -> None:
        """Take a job in, in the order of submission."""
        self._intake.put_nowait(job)

    def observe(self, observation: Observation) -> None:
        """An observation of this machine."""
        for confirmation in self._watching:
            confirmation.see(observation)

    # -- in -----------------------------------------------------------------------------------------------------------

    async def take_in(self) -> None:
        """Journal what comes in, then let it wait its turn."""
        while True:
            job = await self._intake.get()
            old = None if job.is_recipe else job.olds[0]
            try:
                await self._desk.journal.begin(job.command, job.target.machine, self._key, old, written(job))
            except (NotRecorded, ValueError, TypeError) as error:
                self._desk.refuse(job, _not_recorded(error))
                continue
            job.ticket.accept()
            await self._line_up(job)

    async def _line_up(self, job: Job) -> None:
        if job.is_safe:
            gone = [waiting for waiting in self._waiting if waiting.booking is None]
            self._waiting = deque([job, *(waiting for waiting in self._waiting if waiting.booking is not None)])
            self._urgent.set()
        else:
            gone = [w for w in self._waiting if job.is_replaceable and w.target.id == job.target.id]
            self._waiting = deque(w for w in self._waiting if w not in gone)
            self._waiting.append(job)
        self._wake.set()
        by = job.command.target if job.is_safe else "A newer value"
        for superseded in gone:
            await self._desk.finish(superseded, _superseded(by))

    # -- out ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry out what waits, for ever."""
        while True:
            await self._woken()
            while (job := await self._next()) is not None:
                self._urgent.clear()
                try:
                    await self._carry_out(job)
                except Exception as error:
                    if not job.is_over:
                        job.outcomes.append(_fault(job, error))
                    await self._close(job)

    async def _woken(self) -> None:
        """Wait until there is something to do, or a kept booking's time has come."""
        pause = self._kept.pause_s(may_go=self._may_deliver())
        if pause is None:
            await self._wake.wait()
        elif not self._wake.is_set():
            waits = [asyncio.create_task(one, name="desk: lane") for one in (self._wake.wait(), self._sleep(pause))]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()
        self._wake.clear()

    async def _sleep(self, seconds: float) -> bool:
        await self._desk.clock.sleep(seconds)
        return True

    async def _next(self) -> Job | None:
        """What is to be carried out now."""
        for booking in self._kept.pop_expired():
            await self._desk.end_booking(booking, booking.expired(self._desk.clock.now()), dead=True)
        if self._waiting and self._waiting[0].is_safe:
            return self._waiting.popleft()
        while self._may_deliver() and (due := self._kept.take()) is not None:
            job = await self._desk.made_anew(due)
            if job is not None:
                return job
        while self._waiting and self._may_go(self._waiting[0]):
            job = self._waiting.popleft()
            if job.booking is None or not self._must_queue():
                return job
            await self._keep(job, "An earlier booking of this machine goes first")
        return None

    def _may_go(self, job: Job) -> bool:
        return job.is_safe or not self._desk.is_recovering(self._key)

    def _may_deliver(self) -> bool:
        return self._desk.may_deliver(self._key)

    def _must_queue(self) -> bool:
        return bool(self._kept) or self._desk.is_settling(self._key)

    def go_on(self) -> None:
        """What waited for a recovery may go."""
        self._wake.set()

    # -- bookings -----------------------------------------------------------------------------------------------------

    def restore(self, booking: Booking) -> None:
        """Keep what is queued by the journal: oldest first."""
        self._kept.put(booking)
        self._wake.set()

    def requeue(self, booking: Booking) -> None:
        """What was sent first of all never arrived."""
        self._kept.put_back(booking)
        self._wake.set()

    def withdraw(self, command_id: str) -> Booking | None:
        """Keep it no longer; None where it is on its way."""
        return self._kept.remove(command_id)

    def hurry(self) -> None:
        """Try again now."""
        self._kept.hurry()
        self._wake.set()

    def returned(self) -> None:
        """Its source is served again."""
        self._kept.hurry(SPREAD_S)
        self._wake.set()

    async def _keep(self, job: Job, why: str) -> None:
        """A booking that was certainly not sent waits until it can be; what cannot be kept ends."""
        booking = job.booking
        assert booking is not None  # noqa: S101
        if not booking.can_be_kept:
            sentence = f"{why}. {NOT_KEPT}"
            await self._desk.finish(job, Outcome(Result.UNREACHED, StatusCode.BadNotConnected, sentence))
            return
        await self._desk.keep(job, booking, why)
        if job.outcomes:
            self._kept.put_back(booking.told())
        else:
            self._kept.put(booking.told())

    async def _close(self, job: Job) -> None:
        """All of it is over, or of a booking: it is kept, or looked for."""
        outcome = job.outcome
        if job.booking is None or outcome.result not in (Result.UNREACHED, Result.UNKNOWN):
            if job.booking is not None:
                self._kept.delivered()
            await self._desk.finish(job, outcome)
        elif outcome.result is Result.UNREACHED:
            await self._keep(job, outcome.sentence)
        else:
            await self._desk.settle(job, outcome)

    async def _carry_out(self, job: Job) -> None:
        while not job.is_over:
            outcome = self._obstacle(job) or await self._sent(job)
            if isinstance(outcome, asyncio.Task):
                if await self._is_overtaken(outcome):
                    self._desk.spawn(self._end(job, outcome, self._waiting[0].command.target), "confirm")
                    return
                outcome = outcome.result()
            job.outcomes.append(outcome)
        await self._close(job)

    def _obstacle(self, job: Job) -> Outcome | None:
        """Why the next item is not sent any more."""
        if job.outcomes and self._urgent.is_set():
            return _superseded(self._waiting[0].command.target)
        if job.booking is not None:
            return self._desk.unreachable(self._key)
        if job.command.expires <= self._desk.clock.now():
            return Outcome(Result.EXPIRED, StatusCode.BadTimeout, "It waited too long and was not sent")
        try:
            self._desk.check_requirements(job.item.action)
        except NotAccepted as refusal:
            return refusal.outcome
        return None

    async def _sent(self, job: Job) -> Outcome | asyncio.Task[Outcome]:
        """Send the next item: how it ended, or who finds out how it ends."""
        item, executor = job.item, self._desk.executor(self._key[0])
        if executor is None:
            return Outcome(Result.UNREACHED, StatusCode.BadNotConnected, "Its source is gone")
        old = self._desk.old(item)  # only now: while it waited, an earlier command may have changed it
        confirmation = Confirmation(item.action, self._desk.before, is_set_point=item.set_point is not None)
        self._watching.append(confirmation)
        answer: Outcome | None = None
        try:
            answer = await self._answered(job, executor, confirmation, old)
        except NotRecorded as error:
            if job.booking is not None:  # the journal has that it was taken: it waits for the disk too
                return Outcome(Result.UNREACHED, StatusCode.BadInvalidState, _not_recorded(error))
            return Outcome(Result.REJECTED, StatusCode.BadInvalidState, _not_recorded(error))
        finally:
            if answer is None or not _is_confirmable(job, answer):
                self._watching.remove(confirmation)
        if not _is_confirmable(job, answer):
            return answer
        return asyncio.create_task(self._confirmed(job, confirmation, executor, answer), name="desk: confirm")

    async def _answered(self, job: Job, executor: Executor, confirmation: Confirmation, old: Value) -> Outcome:
        """What the vendor answered. Raises NotRecorded: then it was not sent."""
        journal, clock = self._desk.journal, self._desk.clock
        await journal.mark(job.command.id, State.SENDING, job.place, job.told, old)
        confirmation.sent(clock.monotonic())
        action = replace(job.item.action, command=sent_id(job.command.id, len(job.outcomes)))
        answer = await executor.execute(action, clock.monotonic() + self._desk.rules.execute_timeout_s)
        if answer.result is Result.ACCEPTED and _is_confirmable(job, answer):  # no answer is none, also after a crash
            detail = f"{job.place}: {answer.sentence}" if job.is_recipe else answer.sentence
            with suppress(NotRecorded):  # what was sent is to be confirmed all the same
                await journal.mark(job.command.id, State.ANSWERED, detail, job.told)
        return answer

    async def _is_overtaken(self, confirming: asyncio.Task[Outcome]) -> bool:
        """Wait for it; true where a safe command cannot wait so long."""
        urgent = asyncio.create_task(self._urgent.wait(), name="desk: urgent")
        try:
            await asyncio.wait([confirming, urgent], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            confirming.cancel()
            raise
        finally:
            urgent.cancel()
        return not confirming.done()

    async def _end(self, job: Job, confirming: asyncio.Task[Outcome], by: str) -> None:
        """A safe command overtook it: its confirmation goes on beside that, and the rest is not sent."""
        job.outcomes.append(await confirming)
        if not job.is_over:
            job.outcomes.append(_superseded(by))
        await self._close(job)

    async def _confirmed(self, job: Job, confirmation: Confirmation, executor: Executor, answer: Outcome) -> Outcome:
        clock, rules = self._desk.clock, self._desk.rules
        window = job.item.action.confirm_within or rules.confirm_window_s
        deadline = clock.monotonic() + window
        verdict = None
        try:
            while verdict is None and clock.monotonic() < deadline:
                verdict = await confirmation.during(executor.refresh(self._key[1]), rules.refresh_timeout_s)
                verdict = verdict or await confirmation.wait(min(0.25, max(0.0, deadline - clock.monotonic())))
            return _outcome(verdict or confirmation.at_the_end(), answer, window)
        except Exception as error:
            return _fault(job, error)
        finally:
            self._watching.remove(confirmation)


def _is_confirmable(job: Job, answer: Outcome) -> bool:
    """It may have taken effect, and a readback exists."""
    return answer.result in (Result.ACCEPTED, Result.UNKNOWN) and bool(job.item.action.confirm)


def _superseded(by: str) -> Outcome:
    sentence = f"{by} took its place before it was sent"
    return Outcome(Result.SUPERSEDED, StatusCode.BadRequestCancelledByClient, sentence)


def _not_recorded(error: Exception) -> str:
    return f"It could not be written down, so it is not sent: {error}"


def _fault(job: Job, error: Exception) -> Outcome:
    logger.error("The command %s failed because of a fault in the bridge", job.command.id, exc_info=error)
    return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, f"A fault in the bridge: {type(error).__name__}")


def _outcome(verdict: Verdict, answer: Outcome, window: float) -> Outcome:
    code, text, actual = answer.vendor_code, answer.vendor_text, verdict.actual
    if verdict.reading is Reading.CONFIRMED:
        return Outcome(Result.CONFIRMED, StatusCode.Good, "The machine reads back what was asked", None, code, text)
    if verdict.reading is Reading.CHANGED:
        sentence = f"The machine took {actual} instead"
        return Outcome(Result.CHANGED, StatusCode.GoodClamped, sentence, actual, code, text)
    if verdict.reading is Reading.REFUSED:
        sentence = f"The machine answered and still reads {actual}: it refused"
        return Outcome(Result.REFUSED, StatusCode.BadInvalidState, sentence, actual, code, text)
    if verdict.reading is Reading.AS_BEFORE and answer.result is Result.ACCEPTED:
        sentence = "The vendor took it; the machine reads as asked, as it did before, so nothing shows that it was done"
        return replace(answer, sentence=sentence)
    taken = "took it, but" if answer.result is Result.ACCEPTED else "may have it:"
    read = "nothing was read back" if actual is None else f"it was not read back, and reads {actual},"
    sentence = f"The vendor {taken} {read} within {window:g} s: outcome unknown"
    return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, sentence, actual, code, text)
