"""RestExecutor: jobs, incidents, readings and target states by REST, each sent once.

    validate    a request the server has? fields that it takes? a target state that is allowed?      (pure)
    execute     one request -> its answer: accepted (jobs go on for themselves), confirmed, refused
    no answer   it is read what became of it: the job of this name, the incident, the job's status
    reconcile   after a crash: the same reading, and nothing is ever sent

Rules (facts 1.8, 1.9)
1. Not sent (no connection, no login, asked too often) and answered (4xx) are ends. A 5xx or no answer is read about;
   only what the server itself has answered is over where nothing shows it.
2. A job has no key of its own that would make it once, so the command's id is in its name, and it is looked for by that
   before anybody may send it again. What is not found is not sent again by us.
3. A job that was taken is told by its own events; the command says only that it was taken.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from bridge.errors import SourceError
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.sources._budget import Priority
from bridge.sources.iotistica.rest.jobs import listed_of
from bridge.sources.iotistica.rest.orders import KINDS, Forbidden, is_marked, order_of
from bridge.sources.iotistica.rest.rows import text
from bridge.sources.iotistica.rest.wire import VENDOR, Missing, NotSent, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.model.action import Action
    from bridge.ports import Clock
    from bridge.sources.iotistica.rest.client import RestClient, Written
    from bridge.sources.iotistica.rest.config import RestRules
    from bridge.sources.iotistica.rest.orders import Order

log = logging.getLogger(__name__)

READS: Final = 3
READ_GAP: Final = 3.0
"""Times it is looked for, and seconds between: a server that did not answer in time may still be at it."""

PAGE: Final = 100
PAGES: Final = 5
"""Newest jobs that are looked through."""

REFUSALS: Final = {
    400: StatusCode.BadInvalidArgument,
    401: StatusCode.BadUserAccessDenied,
    403: StatusCode.BadUserAccessDenied,
    404: StatusCode.BadNotFound,
    409: StatusCode.BadInvalidState,
}
BY_A_PROXY: Final = (502, 503, 504)
"""Said by what stands before the server (RFC 9110, 15.6): it may still be at it, or have done it."""
CANCELED: Final = ("CANCELED", "CANCELLED")
READABLE: Final = ("job_execute", "job_cancel", "incident_resolve")
"""Kinds of which it can be read what became of them."""


class RestExecutor:
    """The REST part of a source's executor (see `bridge.ports.Executor`)."""

    def __init__(
        self, client: RestClient, rules: RestRules, clock: Clock, look_again: Callable[[str], None], *, writes: bool
    ) -> None:
        self._client = client
        self._rules = rules
        self._clock = clock
        self._look_again = look_again
        self._writes = writes

    @property
    def kinds(self) -> tuple[str, ...]:
        """Payloads that are carried out here."""
        return tuple(KINDS)

    def validate(self, action: Action) -> str | None:
        """Why this action must not be sent, or None. Pure."""
        try:
            order_of(action, self._client.profile, self._rules)
        except Forbidden as error:
            return str(error)
        return None

    async def execute(self, action: Action, deadline: float) -> Outcome:
        """Do it once."""
        if not self._writes:
            return _rejected("This source takes no commands: writes is not true", StatusCode.BadNotWritable)
        try:
            order = order_of(action, self._client.profile, self._rules)
        except Forbidden as error:
            return _rejected(str(error), StatusCode.BadInvalidArgument)
        try:
            written = await self._client.write(order.route, order.values, deadline)
        except NotSent as error:
            return _unreached(str(error))
        except SourceError as error:
            return await self._looked_for(action, order, f"No answer came ({error})", is_answered=False)
        outcome = _answered(order, written)
        if outcome is not None:
            return outcome
        why = f"{VENDOR} answered {written.answer.status}: {words_of(written.answer) or 'without a word'}"
        return await self._looked_for(action, order, why, is_answered=written.answer.status not in BY_A_PROXY)

    async def refresh(self, machine: str) -> None:
        """Have the agent's versions read soon."""
        self._look_again(machine)

    def can_reconcile(self, action: Action) -> bool:
        """Whether reading tells what became of it. Pure."""
        kind = next(iter(action.payload), "") if isinstance(action.payload, dict) else ""
        return kind in READABLE and (kind != "job_execute" or bool(action.command))

    async def reconcile(self, action: Action) -> Outcome:
        """Find out by reading what became of it. Sends nothing."""
        try:
            order = order_of(action, self._client.profile, self._rules)
        except Forbidden as error:
            return _unknown(f"What became of it cannot be found out: {error}")
        if order.kind not in READABLE:
            return _unknown("What became of it cannot be found out: nothing tells")
        try:
            found = await self._found(action, order)
        except SourceError as error:
            return _unknown(f"What became of it cannot be found out: {error}")
        return found or _unreached(f"{VENDOR} does not show it: it never arrived")

    # -- reading

    async def _looked_for(self, action: Action, order: Order, why: str, *, is_answered: bool) -> Outcome:
        """What became of what was sent, where its answer does not tell."""
        if order.kind not in READABLE:
            return _unknown(why)
        for read in range(READS):
            if read:
                await self._clock.sleep(READ_GAP)
            try:
                found = await self._found(action, order)
            except SourceError as error:
                log.info("What became of a command could not be read: %s", error)
                continue
            if found is not None:
                return found
            if is_answered:  # it is over there: what is not there now was not done
                return Outcome(Result.REFUSED, StatusCode.BadInvalidState, f"{why}; it was not done")
        return _unknown(f"{why}, and nothing shows that it was done")

    async def _found(self, action: Action, order: Order) -> Outcome | None:
        """That it was done, by reading; None where it was not."""
        if order.kind == "job_execute":
            return await self._found_job(action, order)
        try:
            name, read = ("job", "job") if order.kind == "job_cancel" else ("incident", "incident")
            reply = await self._client.read(read, order.values, Priority.COMMAND)
        except Missing:
            return None
        row = reply.find(name)
        status = (text(row.get("status")) or "").upper() if isinstance(row, dict) else ""
        if order.kind == "job_cancel":
            return _confirmed(f"The job is canceled, by {VENDOR}'s list") if status in CANCELED else None
        return _confirmed(f"The incident is resolved, by {VENDOR}'s list") if status == "RESOLVED" else None

    async def _found_job(self, action: Action, order: Order) -> Outcome | None:
        for page in range(PAGES):
            values = {**order.values, "limit": PAGE, "offset": page * PAGE}
            rows = (await self._client.read("jobs", values, Priority.COMMAND)).rows()
            listed = [job for row in rows if (job := listed_of(row, action.machine)) is not None]
            mine = next((job for job in listed if is_marked(job.name, action.command)), None)
            if mine is not None:
                return _accepted(f"The job is there: {mine.id}, {mine.status.lower()}", mine.id)
            if len(rows) < PAGE:
                return None
        raise SourceError(f"it is not among the newest {PAGE * PAGES} jobs")


def _answered(order: Order, written: Written) -> Outcome | None:
    """What an answer means; None where it does not tell."""
    answer, words = written.answer, words_of(written.answer)
    if written.is_throttled:
        sentence = f"{VENDOR} asks us to slow down; it was not done"
        return Outcome(Result.UNREACHED, StatusCode.BadTooManyOperations, sentence, None, answer.status, words)
    if 200 <= answer.status < 300:
        return _done(order, written)
    if answer.status >= 500 or answer.status == 408 or answer.status < 400:
        return None
    status = REFUSALS.get(answer.status, StatusCode.BadInvalidArgument)
    if order.kind == "job_cancel" and answer.status == 404:
        status = StatusCode.BadInvalidState  # unknown or over: the vendor says the same of both
    sentence = f"{VENDOR} refuses it: {words or f'status {answer.status}'}"
    return Outcome(Result.REFUSED, status, sentence, None, answer.status, words)


def _done(order: Order, written: Written) -> Outcome:
    said: Any = None
    try:
        said = written.json()
    except SourceError:
        log.debug("The answer to a %s is no JSON", order.kind)
    if order.kind == "job_execute":
        row = written.route.find("job", said)
        job = listed_of(row) if isinstance(row, dict) else None
        return _accepted(f"{VENDOR} took the job{f' as {job.id}' if job else ''}", job.id if job else None)
    if order.kind == "job_cancel":
        return _confirmed(f"{VENDOR} canceled the job")
    if order.kind == "incident_resolve":
        return _confirmed(f"{VENDOR} says that the incident is resolved")
    if order.kind == "target_state":
        return _accepted(f"{VENDOR} took the target state; the agent follows by itself")
    return _accepted(f"{VENDOR} took it")


def _accepted(sentence: str, actual: str | None = None) -> Outcome:
    return Outcome(Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously, sentence, actual)


def _confirmed(sentence: str) -> Outcome:
    return Outcome(Result.CONFIRMED, StatusCode.Good, sentence)


def _rejected(sentence: str, status: StatusCode) -> Outcome:
    return Outcome(Result.REJECTED, status, sentence)


def _unreached(sentence: str) -> Outcome:
    return Outcome(Result.UNREACHED, StatusCode.BadNotConnected, sentence)


def _unknown(sentence: str) -> Outcome:
    return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, sentence)
