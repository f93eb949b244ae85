"""TrackMyMachinesExecutor: steps started and finished, each once, though the vendor has no idempotency key.

    validate    a machine we can name? a part, recipe and step that are allowed? somebody to book it for?   (pure)
    execute     timeline read -> another step runs? is it the one that is meant? -> one request -> what its answer means
    no answer   the timeline is read three times within `reconcile_within`: it is there: done; another step is open:
                refused; it is not there, and nothing else is: once more, with the same times; else a person
    reconcile   after a crash: the same reading, and nothing is ever sent

Rules (facts 2.5)
1. Not sent (no connection, 401, 429) and answered (4xx) are ends. Everything else is ambiguous, and read about.
2. A start is found again by its machine, its start and its part; so its start is fixed before it is journaled, and
   sent in whole seconds as the timeline has them.
3. A finish goes by machine only, at the vendor. So it is sent only while the step that is meant is the only one open,
   and with an end of its own by which it is known again.
4. The vendor's feed is up to 5 s late: what we started or finished ourselves is known before the timeline shows it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bridge.errors import AuthFailed, NotConnected, ProtocolError, SourceError
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.sources._budget import Priority
from bridge.sources._waiting import within
from bridge.sources.trackmymachines.bookings import Booking, has_part, is_same
from bridge.sources.trackmymachines.client import FINISH, LONGEST, STEP_EVENTS, NotSent, TooMuch
from bridge.sources.trackmymachines.orders import FinishOrder, Forbidden, StartOrder, order_of
from bridge.sources.trackmymachines.outcomes import refusal, rejected, unknown, unreached
from bridge.sources.trackmymachines.payloads import STEP, Written, iso, parse_written
from bridge.sources.trackmymachines.timeline import DAY, MINUTE, SECOND, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.model.action import Action
    from bridge.ports import Clock
    from bridge.sources.trackmymachines.config import TrackMyMachinesConfig
    from bridge.sources.trackmymachines.payloads import Entry
    from bridge.sources.trackmymachines.source import TrackMyMachinesSource
    from bridge.transport.http import Answer

log = logging.getLogger(__name__)

READS: Final = 3
FUTURE: Final = MINUTE
"""Milliseconds by which a time may be ahead of the vendor's clock."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A step that runs, by the timeline or by our own booking of it."""

    start: int
    label: str
    event: str
    booking: Booking | None

    def is_meant(self, order: FinishOrder) -> bool:
        """It is what a finish expects."""
        number = str(self.booking.number) if self.booking and self.booking.number is not None else ""
        is_part = not order.part or has_part(self.label, order.part)
        return is_part and (not order.event or order.event in (self.event, number))

    def __str__(self) -> str:
        return f"{self.label} (since {iso(self.start)})"


class TrackMyMachinesExecutor:
    """Commands to one organisation (see `bridge.ports.Executor`). Sends only while its source is connected."""

    def __init__(
        self,
        source: TrackMyMachinesSource,
        config: TrackMyMachinesConfig,
        machines: Mapping[str, Mapping[str, str | int]],
        clock: Clock,
    ) -> None:
        self._source = source
        self._config = config
        self._machines = machines
        self._clock = clock
        self._is_connected = False

    @contextmanager
    def connected(self) -> Iterator[None]:
        """The source is at work."""
        self._is_connected = True
        try:
            yield
        finally:
            self._is_connected = False

    def validate(self, action: Action) -> str | None:
        """Why this action must not be sent, or None. Pure."""
        try:
            self._order(action)
        except Forbidden as error:
            return str(error)
        return None

    def _order(self, action: Action) -> StartOrder | FinishOrder:
        return order_of(action, self._config, self._machines)

    async def refresh(self, machine: str) -> None:
        """Have the timeline read soon."""
        self._source.hasten()

    async def execute(self, action: Action, deadline: float) -> Outcome:
        """Do it once. Without an answer it takes `reconcile_within` longer, twice at most."""
        if not self._config.writes:
            return rejected("This source takes no commands: writes is not true", StatusCode.BadNotWritable)
        try:
            order = self._order(action)
        except Forbidden as error:
            return rejected(str(error), StatusCode.BadInvalidArgument)
        if not self._is_connected:
            return unreached("TrackMyMachines is not connected")
        try:
            await self._read_first()
        except (SourceError, TooMuch) as error:
            return unreached(f"What runs on the machine could not be read, so nothing was sent: {error}")
        outcome = await (self._start(order) if isinstance(order, StartOrder) else self._finish(order))
        self._source.hasten()
        return outcome

    async def _read_first(self) -> None:
        """Read what runs now, in time: nobody waits for a start until an account is no longer throttled."""
        reading = asyncio.ensure_future(self._source.poll())
        try:
            if not await within(self._clock, self._config.reconcile_within, reading):
                raise NotConnected("TrackMyMachines did not answer in time")
        finally:
            reading.cancel()
            await asyncio.wait({reading})
        reading.result()

    # -- starting

    async def _start(self, order: StartOrder) -> Outcome:
        if order.start > self._source.client.now() + FUTURE:
            return rejected(f"Its start {iso(order.start)} is in the future", StatusCode.BadOutOfRange)
        if order.start < self._source.client.now() - 7 * DAY:
            return rejected(f"Its start {iso(order.start)} is more than 7 days ago", StatusCode.BadOutOfRange)
        there = self._there(order)
        if there is not None:
            return await self._found(order, there, "It was there already, by the timeline")
        running = self._running(order.machine)
        if running is not None and is_same(running.start, order.start) and has_part(running.label, order.part):
            return _again(order, running.booking, f"It runs already: {running}")
        if running is not None and self._config.when_running == "refuse":
            return rejected(f"{running} runs on the machine: finish it first, or set when_running of the source")
        if running is not None and self._config.when_running == "finish_first":
            finished = await self._finish_before(order, running)
            if not finished.status.is_good:
                return replace(
                    finished, sentence=f"Not started, for {running} could not be finished: {finished.sentence}"
                )
        return await self._started(order, may_repeat=True)

    def _there(self, order: StartOrder) -> Entry | None:
        """The very step on the timeline: a request of an earlier attempt may have landed long after it was given up."""
        found = (e for e in self._source.timeline.of(order.machine) if e.type == STEP and _is_of(e, order))
        return next(found, None)

    async def _finish_before(self, order: StartOrder, running: _Open) -> Outcome:
        others = [e for e in self._open_steps(order.machine) if not is_same(e.start, running.start)]
        if others:
            return rejected(f"{len(others) + 1} steps run: nobody tells which of them TrackMyMachines finishes")
        if order.start < running.start:
            return rejected("it began after this start", StatusCode.BadOutOfRange)
        if self._config.edition == "2025-07" and self._config.finish_parameter is None:
            return rejected("edition 2025-07 needs finish_parameter for that", StatusCode.BadNotSupported)
        finish = FinishOrder(order.machine, order.display_name, order.start, None, None, "", "")
        return await self._finished(finish, running, may_repeat=True)

    async def _started(self, order: StartOrder, *, may_repeat: bool) -> Outcome:
        answer = await self._write("POST", STEP_EVENTS, order.fields())
        if isinstance(answer, Outcome):
            return answer
        if not isinstance(answer, str):
            refused = refusal(answer)
            if refused is not None:
                again = await self._look_for_start(order) if not may_repeat else None
                return again if isinstance(again, Outcome) else refused
            made = _written(answer)
            if answer.status in (200, 201) and made is not None and made.start is not None:
                return await self._told_started(order, made, answer)
        found = await self._look_for_start(order)
        if isinstance(found, Outcome):
            return found
        if not found and may_repeat:
            log.info("Source %s: a step event was not made; it is sent once more", self._source.name)
            return await self._started(order, may_repeat=False)
        return unknown(f"{_why(answer)}; no step of {order.part} that began at {iso(order.start)} is on the timeline")

    async def _told_started(self, order: StartOrder, made: Written, answer: Answer) -> Outcome:
        await self._remember_start(order, made.id)
        told = _told(made)
        if made.start is not None and is_same(made.start, order.start) and made.part in ("", order.part):
            sentence = f"TrackMyMachines made the step event {told}"
            return Outcome(Result.CONFIRMED, StatusCode.Good, sentence, made.id, answer.status, told)
        sentence = f"TrackMyMachines made the step event {told}, which is another than was asked for"
        return Outcome(Result.CHANGED, StatusCode.GoodClamped, sentence, made.id, answer.status, told)

    async def _look_for_start(self, order: StartOrder) -> Outcome | bool:
        """How it went by the timeline; False where nothing is there, True where that could not be read."""
        could_read = 0
        for _ in range(READS):
            await self._clock.sleep(self._config.reconcile_within / READS)
            steps = await self._steps(order.machine, order.start)
            if steps is None:
                continue
            could_read += 1
            found = [e for e in steps if _is_of(e, order)]
            if len(found) > 1:
                ids = ", ".join(entry.id for entry in found)
                return unknown(f"The timeline has it {len(found)} times: {ids}; delete all but one")
            if found:
                return await self._found(order, found[0], "No answer came, but the timeline has it")
            newer = [e for e in steps if e.start > order.start + SECOND]
            if newer:
                return unknown(f"No answer came, and {newer[-1].label} began since: it is not tried again")
        return could_read < READS

    async def _found(self, order: StartOrder, entry: Entry, how: str) -> Outcome:
        told, known = f"{entry.id} {entry.label}", self._source.bookings.find(order.machine, entry)
        if known is None:
            await self._remember_start(order, None)
        return replace(_again(order, known, f"{how}: {told}"), actual=entry.id, vendor_text=told)

    async def _remember_start(self, order: StartOrder, number: int | None) -> None:
        booking = Booking(
            order.start, order.part, number, None, order.step, order.recipe_version, order.work_order,
            order.qty_expected, order.cycle_time, order.setup_time,
        )  # fmt: skip
        self._source.bookings.add(order.machine, booking)
        await self._source.remember()

    # -- finishing

    async def _finish(self, order: FinishOrder) -> Outcome:
        if order.end > self._source.client.now() + FUTURE:
            return rejected(f"Its end {iso(order.end)} is in the future", StatusCode.BadOutOfRange)
        running = self._running(order.machine)
        if running is None:
            return rejected("No step runs on the machine, by TrackMyMachines' timeline")
        if not running.is_meant(order):
            return rejected(f"Another step runs on the machine than the one that is to be finished: {running}")
        others = [e for e in self._open_steps(order.machine) if not is_same(e.start, running.start)]
        if others:
            return rejected(f"{len(others) + 1} steps run: nobody tells which of them TrackMyMachines finishes")
        if order.end < running.start:
            return rejected(f"It cannot end before it began, at {iso(running.start)}", StatusCode.BadOutOfRange)
        return await self._finished(order, running, may_repeat=True)

    async def _finished(self, order: FinishOrder, running: _Open, *, may_repeat: bool) -> Outcome:
        answer = await self._send_finish(order, running)
        if isinstance(answer, Outcome):
            return answer
        if not isinstance(answer, str):
            refused = refusal(answer)
            if refused is not None:
                again = await self._look_for_end(order, running) if not may_repeat else None
                return again if isinstance(again, Outcome) else refused
            done = _written(answer)
            if answer.status in (200, 201) and done is not None:
                return await self._told_finished(order, running, done, answer)
        found = await self._look_for_end(order, running)
        if isinstance(found, Outcome):
            return found
        if found and may_repeat:
            log.info("Source %s: a step was not finished; it is sent once more", self._source.name)
            return await self._finished(order, running, may_repeat=False)
        return unknown(f"{_why(answer)}; the timeline does not tell that {running} ended at {iso(order.end)}")

    async def _send_finish(self, order: FinishOrder, running: _Open) -> Answer | Outcome | str:
        if self._config.edition == "2025-05":
            return await self._write("PATCH", FINISH, order.fields())
        booking = running.booking
        if booking is None or not booking.recipe_version or self._config.finish_parameter is None:
            return rejected(
                f"{running} was not started here: edition 2025-07 finishes a step by all that it was started with",
                StatusCode.BadNotSupported,
            )
        start = StartOrder(
            order.machine, order.display_name, booking.start, booking.part, booking.recipe_version, booking.operation,
            self._config.user_email or "", booking.work_order, booking.qty_expected, booking.cycle_time,
            booking.setup_time,
        )  # fmt: skip
        fields = {**start.fields(), **order.fields()}
        fields[self._config.finish_parameter] = fields.pop("end")
        return await self._write("POST", STEP_EVENTS, fields)

    async def _told_finished(self, order: FinishOrder, running: _Open, done: Written, answer: Answer) -> Outcome:
        told = f"{done.id} {running.label}" if done.id is not None else running.label
        if done.start is not None and not is_same(done.start, running.start):
            sentence = f"TrackMyMachines finished another step than {running}: {told} of {iso(done.start)}"
            return Outcome(Result.CHANGED, StatusCode.GoodClamped, sentence, done.id, answer.status, told)
        await self._remember_finish(order, running)
        sentence = f"TrackMyMachines finished the step event {told}"
        return Outcome(Result.CONFIRMED, StatusCode.Good, sentence, done.id, answer.status, told)

    async def _look_for_end(self, order: FinishOrder, running: _Open) -> Outcome | bool:
        """How it went by the timeline; True where the step is still open and alone, False where nobody tells."""
        is_alone = False
        for _ in range(READS):
            await self._clock.sleep(self._config.reconcile_within / READS)
            steps = await self._steps_since(order.machine, running.start)
            if steps is None:
                is_alone = False
                continue
            meant = next((e for e in steps if is_same(e.start, running.start) and e.label == running.label), None)
            if meant is not None and meant.end is not None:
                return await self._ended(order, running, meant)
            others = [e for e in steps if not is_same(e.start, running.start)]
            if (told := _in_the_way(order, [e for e in others if self._is_open(e)], others)) is not None:
                return told
            is_alone = meant is not None
        return is_alone

    async def _ended(self, order: FinishOrder, running: _Open, meant: Entry) -> Outcome:
        told = f"{meant.id} {meant.label}"
        if meant.end is not None and is_same(meant.end, order.end):
            await self._remember_finish(order, running)
            sentence = f"No answer came, but the timeline has its end: {told}"
            return Outcome(Result.CONFIRMED, StatusCode.Good, sentence, meant.id, 0, told)
        sentence = (
            f"No answer came, and {told} ended at {iso(meant.end or 0)}, not by this: its quantities are not booked"
        )
        return Outcome(Result.REFUSED, StatusCode.BadInvalidState, sentence, meant.id, 0, told)

    async def _remember_finish(self, order: FinishOrder, running: _Open) -> None:
        known = running.booking or Booking(running.start, running.label)
        made = replace(known, end=order.end, qty_made=order.qty_made, qty_scrapped=order.qty_scrapped)
        self._source.bookings.add(order.machine, made)
        await self._source.remember()

    # -- after a crash

    def can_reconcile(self, action: Action) -> bool:
        """The timeline shows what was started and finished."""
        return isinstance(action.payload, dict)

    async def reconcile(self, action: Action) -> Outcome:
        """Find out by reading what became of a start or finish. Sends nothing."""
        if not self._is_connected:
            return unknown("What became of it cannot be found out: TrackMyMachines is not connected")
        try:
            order = order_of(_for_somebody(action), self._config, self._machines)
        except Forbidden as error:
            return unknown(f"What became of it cannot be found out: {error}")
        if isinstance(order, StartOrder):
            found = await self._look_for_start(order)
            if isinstance(found, Outcome):
                return found
            sentence = f"No step of {order.part} that began at {iso(order.start)} is on the timeline"
            return unknown(sentence) if found else unreached(sentence)
        return await self._reconciled_finish(order)

    async def _reconciled_finish(self, order: FinishOrder) -> Outcome:
        """Which step was meant is not known any more: the one that ended at this very end, if there is one."""
        for _ in range(READS):
            await self._clock.sleep(self._config.reconcile_within / READS)
            steps = await self._steps(order.machine, order.end)
            found = [e for e in steps or () if e.end is not None and is_same(e.end, order.end)]
            ended = [_Open(e.start, e.label, e.id, None) for e in found]
            if len(ended) == 1 and ended[0].is_meant(replace(order, event="")):
                return await self._ended(order, ended[0], found[0])
        return unknown(f"No step that ended at {iso(order.end)} is on the timeline")

    # -- both

    def _running(self, machine: str) -> _Open | None:
        """The step that runs: the latest begun of the timeline, or one of ours that is not on it yet."""
        steps = self._open_steps(machine)
        newest = max(steps, key=lambda entry: entry.start, default=None)
        booked = self._source.bookings.running(machine)
        if booked is not None and (newest is None or booked.start > newest.start + SECOND):
            known = any(map(booked.is_of, self._source.timeline.steps(machine)))
            if not known and self._source.client.now() - booked.start < DAY:
                return _Open(booked.start, booked.part, "", booked)
        if newest is None:
            return None
        return _Open(newest.start, newest.label, newest.id, self._source.bookings.find(machine, newest))

    def _open_steps(self, machine: str) -> list[Entry]:
        return [entry for entry in self._source.timeline.open_steps(machine) if self._is_open(entry)]

    def _is_open(self, entry: Entry) -> bool:
        """It runs now: a window ends before now, so what just ended is still open in what was read."""
        now, booking = self._source.client.now(), self._source.bookings.find(entry.machine, entry)
        if booking is not None and booking.end is not None and now - booking.end < DAY:
            return False
        return entry.end is None or entry.end > now + SECOND

    async def _steps(self, machine: str, around: int) -> list[Entry] | None:
        """The machine's steps around a moment and since, by start; None where they cannot be read now."""
        latest = self._source.client.latest()
        start = min(around, latest) - MINUTE
        return await self._steps_of(
            machine, Window(start, min(start + LONGEST, max(around + MINUTE, start + 2 * MINUTE)))
        )

    async def _steps_since(self, machine: str, start: int) -> list[Entry] | None:
        """The machine's steps around a moment, and since then, of the last day; None where they cannot be read now."""
        latest = self._source.client.latest()
        if latest - start <= MINUTE:
            return await self._steps(machine, start)
        recent = await self._steps_of(machine, Window(max(start - MINUTE, latest - LONGEST), latest))
        if recent is None or start - MINUTE >= latest - LONGEST:
            return recent
        around = await self._steps(machine, start)
        return None if around is None else [*around, *(e for e in recent if e.id not in {one.id for one in around})]

    async def _steps_of(self, machine: str, window: Window) -> list[Entry] | None:
        try:
            entries = await self._source.client.events(window, Priority.COMMAND)
        except (SourceError, TooMuch) as error:
            log.info("Source %s: what became of a command could not be read: %s", self._source.name, error)
            return None
        return sorted((e for e in entries if e.type == STEP and e.machine == machine), key=lambda e: e.start)

    async def _write(self, method: str, path: str, fields: dict[str, Any]) -> Answer | Outcome | str:
        """The answer, or the outcome where it certainly was not sent, or why there is no answer."""
        try:
            answer = await self._source.client.write(method, path, fields, self._config.request_timeout)
        except NotSent as error:
            return unreached(str(error))
        except AuthFailed as error:
            return unreached(str(error))
        except SourceError as error:
            return str(error)
        if answer.status == 403:
            self._source.write_allowed = False
        elif answer.status < 300:
            self._source.write_allowed = True
        return answer


def _is_of(entry: Entry, order: StartOrder) -> bool:
    """It is the step that was ordered."""
    return is_same(entry.start, order.start) and has_part(entry.label, order.part)


def _again(order: StartOrder, known: Booking | None, sentence: str) -> Outcome:
    """A start of a step that is there: of the timeline, or by our own booking."""
    if known is not None and known.operation not in ("", order.step):
        return rejected(f"{sentence}; it is operation {known.operation}, not {order.step}")
    return Outcome(Result.CONFIRMED, StatusCode.Good, sentence, known.number if known else None)


def _in_the_way(order: FinishOrder, running: Sequence[Entry], others: Sequence[Entry]) -> Outcome | None:
    """Why a finish that nobody answered is not sent again, though the step that is meant still runs."""
    finished = next((e for e in others if e.end is not None and is_same(e.end, order.end)), None)
    if finished is not None:  # it began so late that nobody knew of it, and the vendor took it for the one (rule 3)
        told = f"{finished.id} {finished.label}"
        sentence = f"No answer came, and the timeline has its end at another step, {told} of {iso(finished.start)}"
        return Outcome(Result.CHANGED, StatusCode.GoodClamped, sentence, finished.id, 0, told)
    if running:
        sentence = f"{running[-1].label} of {iso(running[-1].start)} runs now: it is not tried again"
        return Outcome(Result.REFUSED, StatusCode.BadInvalidState, f"No answer came, and {sentence}")
    return None


def _for_somebody(action: Action) -> Action:
    """The journal does not keep who was booked; for reading it does not matter."""
    payload = {
        name: {**told, "user": "somebody@example.com"} if isinstance(told, dict) and "user" in told else told
        for name, told in action.payload.items()
    }
    return replace(action, payload=payload)


def _written(answer: Answer) -> Written | None:
    try:
        return parse_written(answer.body)
    except ProtocolError:
        return None


def _told(made: Written) -> str:
    return f"{made.id} {made.display_name or made.part}" if made.id is not None else made.display_name or made.part


def _why(answer: Answer | str) -> str:
    if isinstance(answer, str):
        return f"No answer came ({answer})"
    words = answer.words
    return f"TrackMyMachines answered {answer.status}{': ' if words else ''}{words}, which does not tell"
