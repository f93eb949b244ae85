"""QitechExecutor: commands to a panel's machines, each sent once or not at all, and never believed.

    validate   JSON? a machine we know? not on the deny-list?                     (pure; done again before sending)
    execute    session? earlier one answered? still the same panel? still listed? -> one POST -> what the answer means
    refresh    2.x: the machine's poll reads now; 3.x: the mutation itself makes the machine tell its state
    reconcile  what does the machine read now? 2.x: by its poll; 3.x: by joining its stream anew

A panel's 200 says that a message was queued, not that it was understood (facts 1, item 4): the outcome of `execute` is
at best "accepted". Each of its other outcomes says exactly whether the command may have reached the panel.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from bridge.errors import AuthFailed, SourceError
from bridge.model.command import Outcome, Result
from bridge.model.observation import Observation
from bridge.model.status import StatusCode
from bridge.sources._waiting import within
from bridge.sources.qitech.catalogue import MACHINE_TYPES, VENDOR
from bridge.sources.qitech.client import MUTATE_TIMEOUT, NotSent
from bridge.sources.qitech.denied import denial, encoded
from bridge.sources.qitech.identity import Identity
from bridge.sources.qitech.outcomes import outcome_of, rejected, unknown, unreached
from bridge.sources.qitech.readback import Readback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.model.action import Action
    from bridge.model.event import Event
    from bridge.model.observation import Condition, Inventory, Reading
    from bridge.ports import Clock, Publish
    from bridge.sources.qitech.session import Session

READBACK_TIMEOUT: Final = 10.0
"""Seconds for reading back; joining a stream anew after a lost state takes five."""

_KEY: Final = re.compile(r"(\d{1,5})/(\d{1,5})/(\d{1,5})", re.ASCII)


class Order(NamedTuple):
    """An action that may be sent: to whom, and the mutation as it will be on the wire."""

    identity: Identity
    mutation: bytes


class Forbidden(ValueError):
    """An action that must not be sent, and why."""


class QitechExecutor:
    """Commands to one panel. Answers at any time; sends only while a session is connected and `writes` is true."""

    def __init__(self, source: str, clock: Clock, *, writes: bool) -> None:
        self._source = source
        self._clock = clock
        self._writes = writes
        self._session: Session | None = None
        self._readbacks: set[Readback] = set()

    @contextmanager
    def connected(self, session: Session) -> Iterator[None]:
        """A session is at work; whoever waits for it is let go at its end."""
        self._session = session
        try:
            yield
        finally:
            self._session = None
            for readback in self._readbacks:
                readback.settled.set()

    def overhearing(self, publish: Publish) -> Publish:
        """`publish`, with an ear for what machines read while somebody waits for it."""

        def told(said: Observation | Condition | Inventory | Event | Reading) -> None:
            publish(said)
            if self._readbacks and isinstance(said, Observation):
                for readback in self._readbacks:
                    readback.see(said)

        return told

    def validate(self, action: Action) -> str | None:
        """Why this action must not be sent, or None. Pure."""
        try:
            self._order(action)
        except Forbidden as error:
            return str(error)
        return None

    def _order(self, action: Action) -> Order:
        """Raises Forbidden."""
        if action.source != self._source:
            raise Forbidden(f"The command is for {action.source}, not for {self._source}")
        identity = _identity(action.machine)
        try:
            mutation = encoded(action.payload)
        except ValueError as error:
            raise Forbidden(f"The command cannot be sent: {error}") from error
        reason = denial(identity.machine, mutation)
        if reason:
            raise Forbidden(f"The command must never be sent: {reason}")
        return Order(identity, mutation)

    async def execute(self, action: Action, deadline: float) -> Outcome:
        """Send it, once. The answer comes by `deadline` (monotonic), and 5 s after sending at the latest."""
        if not self._writes:
            return rejected(StatusCode.BadNotWritable, f"{self._source} takes no commands: writes is not true")
        try:
            order = self._order(action)
        except Forbidden as error:
            return rejected(StatusCode.BadInvalidArgument, str(error))
        if self._left(deadline) <= 0:
            return Outcome(Result.EXPIRED, StatusCode.BadTimeout, "There was no time left to send it")
        session = self._session
        if session is None:
            return unreached("The panel is not connected")
        return await self._ready(session, order.identity, deadline) or await self._sent(session, order, deadline)

    def _left(self, deadline: float) -> float:
        """Seconds."""
        return deadline - self._clock.monotonic()

    async def _ready(self, session: Session, identity: Identity, deadline: float) -> Outcome | None:
        """Why it cannot be sent, or None: then it may be, at once."""
        while True:
            obstacle = await self._prepared(session, identity, deadline) or self._obstacle(session, identity)
            if obstacle is not None or not session.client.is_mutating(identity):
                return obstacle

    async def _prepared(self, session: Session, identity: Identity, deadline: float) -> Outcome | None:
        """Wait for the machine's earlier command, and see that the panel is there and still the one we know.

        Its release was probed when the session began; it is probed again where the panel gave no sign of life since.
        """
        task = asyncio.create_task(_prepare(session, identity), name=f"qitech before POST {identity.key}")
        try:
            if not await within(self._clock, min(MUTATE_TIMEOUT, self._left(deadline)), task):
                return unreached("The panel does not answer; the command was not sent")
            task.result()
        except AuthFailed as error:
            return Outcome(Result.REFUSED, StatusCode.BadConfigurationError, str(error))
        except SourceError as error:
            return unreached(str(error))
        finally:
            task.cancel()
        return None

    def _obstacle(self, session: Session, identity: Identity) -> Outcome | None:
        """Why the machine may not be commanded now: before EtherCAT is up, a mutation hangs it (facts 6.4)."""
        if session is not self._session:
            return unreached("The panel is not connected any more")
        machine = session.machine(identity.key)
        if machine is None:
            return unreached("The machine is not listed by the panel now")
        if machine.error is not None:
            sentence = f"The panel says of this machine: {machine.error}"
            return Outcome(Result.REFUSED, StatusCode.BadInvalidState, sentence, vendor_text=machine.error[:120])
        return None

    async def _sent(self, session: Session, order: Order, deadline: float) -> Outcome:
        timeout, began = min(MUTATE_TIMEOUT, self._left(deadline)), self._clock.monotonic()
        if timeout <= 0:
            return Outcome(Result.EXPIRED, StatusCode.BadTimeout, "There was no time left to send it")
        try:
            answer = await session.client.mutate(order.identity, orjson.Fragment(order.mutation), timeout)
        except NotSent as error:
            return unreached(str(error))
        except SourceError as error:
            return unknown(f"The command was sent, and what became of it is not known: {error}")
        return outcome_of(answer, self._clock.monotonic() - began)

    async def refresh(self, machine: str) -> None:
        """Have the machine read now; returns once that is published, or at once where nothing can be asked for."""
        if self._session is not None:
            await self._session.refresh(machine)

    def can_reconcile(self, action: Action) -> bool:
        """The machine shows what the action sets."""
        return bool(action.confirm)

    async def reconcile(self, action: Action) -> Outcome:
        """Find out by reading, within 10 s, whether the machine reads as the action wanted. Sends nothing."""
        session = self._session
        if not action.confirm:
            return unknown("What became of it cannot be found out: the machine does not show it")
        if session is None or session.machine(action.machine) is None:
            return unknown("What became of it cannot be found out: the machine is not connected")
        readback = Readback(action.machine, action.confirm)
        self._readbacks.add(readback)
        renewal = asyncio.create_task(session.renew(action.machine, readback.forget), name="qitech readback")
        settled = asyncio.create_task(readback.settled.wait(), name="qitech readback settled")
        try:
            await within(self._clock, READBACK_TIMEOUT, settled)
        finally:
            self._readbacks.discard(readback)
            renewal.cancel()
            settled.cancel()
        return _found(readback, action)


async def _prepare(session: Session, identity: Identity) -> None:
    await session.client.mutated(identity)
    await session.client.confirm()


def _identity(key: str) -> Identity:
    """The machine of a key such as "1/4/57922". Raises Forbidden for one whose type we do not know."""
    match = _KEY.fullmatch(key)
    identity = Identity(*map(int, match.groups())) if match else None
    if identity is None or max(identity) > 0xFFFF or identity.key != key:
        raise Forbidden(f"{key!r} is no machine of a panel")
    if identity.vendor != VENDOR or identity.machine not in MACHINE_TYPES:
        raise Forbidden(f"{key} is of a type we do not know: nor what would harm it")
    return identity


def _found(readback: Readback, action: Action) -> Outcome:
    if readback.is_confirmed and not action.absolute:  # homed, zeroed, tuning: so it may have been before
        status = StatusCode.GoodCompletesAsynchronously
        return Outcome(Result.ACCEPTED, status, "The machine reads as asked, which need not be this command's doing")
    if readback.is_confirmed:
        return Outcome(Result.CONFIRMED, StatusCode.Good, "The machine reads as asked")
    if readback.is_refuted:
        actual = readback.actual
        sentence = "The machine reads otherwise" + ("" if actual is None else f": {actual}")
        return Outcome(Result.CHANGED, StatusCode.GoodClamped, sentence, actual)
    return unknown("The machine does not tell what became of it")
