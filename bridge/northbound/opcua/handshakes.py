"""The handshake objects at work: an edge becomes a command, its answer becomes what the object shows.

    write of Execute -> Handshake.execute -> submit -> [desk: accepted] -> answer to the client
                                                    -> [desk: result]   -> Done | Error -> Idle

What was started belongs to this room, not to the request that started it: a client may vanish at any point.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from bridge.model.command import Door, Outcome, Result
from bridge.model.status import StatusCode
from bridge.northbound.opcua.arguments import given
from bridge.northbound.opcua.handshake import SAME_REQUEST_S
from bridge.northbound.opcua.orders import handshake_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from bridge.northbound.opcua.handshake import Run
    from bridge.northbound.opcua.offers import CommandObject
    from bridge.northbound.opcua.orders import Orders
    from bridge.northbound.opcua.stack.access import Visitor
    from bridge.ports import Ticket

_log = logging.getLogger(__name__)


class Handshakes:
    """Carries out what handshake objects were told. Takes edges only while `run` runs."""

    def __init__(self, orders: Orders, timeout_s: float) -> None:
        self._orders = orders
        self._timeout_s = timeout_s
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def execute(self, visitor: Visitor, one: CommandObject, level: bool) -> StatusCode | Awaitable[StatusCode]:
        """Write Execute; what the client is answered, once the desk has taken or refused what this starts."""
        if self._tasks is None:
            return StatusCode.BadOutOfService
        answer = one.handshake.execute(level, visitor.requester)
        one.show()
        if answer.run is None:
            self._rest_later(one)
            return answer.status
        return self._start(visitor, one, answer.run)

    def _start(self, visitor: Visitor, one: CommandObject, run: Run) -> Awaitable[StatusCode]:
        if run.others:
            _log.info("%s: executed by %s, arguments by %s", one.target, run.requester, ", ".join(sorted(run.others)))
        ticket = self._orders.place(
            visitor,
            one.target,
            given(one.command.arguments, run.arguments),
            Door.OPCUA_HANDSHAKE,
            expires_s=self._timeout_s,
            identifier=run.command_id or handshake_id(run.request_id),
        )
        told: asyncio.Future[StatusCode] = asyncio.get_running_loop().create_future()
        self._go(self._see_through(one, run, ticket, told), f"opcua: {one.target}")
        return told

    def _go(self, work: Coroutine[None, None, None], name: str) -> None:
        if self._tasks is None:
            work.close()
        else:
            self._tasks.create_task(work, name=name)

    async def _see_through(
        self, one: CommandObject, run: Run, ticket: Ticket, told: asyncio.Future[StatusCode]
    ) -> None:
        outcome = await self._outcome(one, run, ticket, told)
        one.handshake.finish(run, outcome or _unknown(self._timeout_s))
        _tell(told, StatusCode.BadTimeout)
        one.show()
        self._rest_later(one)
        if outcome is None:
            await self._hear_late(one, run, ticket)

    async def _outcome(
        self, one: CommandObject, run: Run, ticket: Ticket, told: asyncio.Future[StatusCode]
    ) -> Outcome | None:
        """How it ended; None when that is not known in time. Tells the client on the way."""
        deadline = self._orders.clock.monotonic() + self._timeout_s
        try:
            refused = await self._orders.within(ticket.accepted, self._timeout_s)
            if refused is not None and _is_refusal(run, refused):
                _tell(told, refused.status)
                return refused
            one.handshake.accept(run)
            one.show()
            _tell(told, StatusCode.Good)
            ended = refused
            if ended is None:
                ended = await self._orders.within(ticket.result, deadline - self._orders.clock.monotonic())
        except TimeoutError:
            return None
        if ended.status.is_good:
            await self._orders.shown(deadline)  # Done comes after the values it speaks of
        return ended

    async def _hear_late(self, one: CommandObject, run: Run, ticket: Ticket) -> None:
        """For a client that asks again with the same RequestId."""
        try:
            outcome = await self._orders.within(ticket.result, SAME_REQUEST_S)
        except TimeoutError:
            return
        one.handshake.finish(run, outcome)
        _log.info("%s: answered after its time: %s", one.target, outcome.sentence or outcome.result.value)

    def _rest_later(self, one: CommandObject) -> None:
        if not one.is_resting and one.handshake.rest_s() is not None:
            one.is_resting = True
            self._go(self._rest(one), f"opcua: rest of {one.target}")

    async def _rest(self, one: CommandObject) -> None:
        """Bring it back to Idle when its result was shown long enough."""
        while (seconds := one.handshake.rest_s()) is not None:
            await self._orders.clock.sleep(seconds)
            one.handshake.tick()
        one.is_resting = False
        one.show()


def _is_refusal(run: Run, outcome: Outcome) -> bool:
    """The desk took nothing; how an earlier one ended is told again, whatever it was."""
    return outcome.result is Result.REJECTED if run.command_id else not outcome.status.is_good


def _tell(told: asyncio.Future[StatusCode], status: StatusCode) -> None:
    if not told.done():
        told.set_result(status)


def _unknown(seconds: float) -> Outcome:
    sentence = f"No answer within {seconds:g} s; what became of it is not known yet"
    return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, sentence)
