"""A desk that is told how commands end, as doors see it: a `Submit` that remembers what came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.model.command import Command, Outcome, Result
from bridge.model.status import StatusCode
from bridge.transport.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.ports import Clock

CONFIRMED = Outcome(Result.CONFIRMED, StatusCode.Good, "The machine reads back what was asked")
CHANGED = Outcome(Result.CHANGED, StatusCode.GoodClamped, "The machine took 25", actual=25.0)
REFUSED = Outcome(Result.REFUSED, StatusCode.BadInvalidState, "The panel said no", None, 400, "not in this mode")
UNKNOWN = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "Sent, but nothing was read back in time")
UNREACHED = Outcome(Result.UNREACHED, StatusCode.BadNotConnected, "The panel cannot be reached; nothing was sent")
RETAINED = Outcome(Result.REJECTED, StatusCode.BadInvalidState, "A retained command comes from the past")
EXPIRED = Outcome(Result.EXPIRED, StatusCode.BadTimeout, "The command is too old")


class FakeTicket:
    def __init__(self) -> None:
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def accepted(self) -> Awaitable[Outcome | None]:
        raise AssertionError("these doors wait for the result")

    @property
    def result(self) -> Awaitable[Outcome]:
        return asyncio.shield(self.future)  # a caller that vanishes cancels nothing


class FakeDesk:
    """`answer` says how a command ends; None: it waits until the test sets `tickets[n].future`."""

    def __init__(
        self, answer: Callable[[Command], Outcome | None] = lambda command: CONFIRMED, clock: Clock | None = None
    ) -> None:
        self.commands: list[Command] = []
        self.tickets: list[FakeTicket] = []
        self.carried_out: list[Command] = []
        self._answer = answer
        self._clock = clock or SystemClock()

    def __call__(self, command: Command) -> FakeTicket:
        ticket = FakeTicket()
        self.commands.append(command)
        self.tickets.append(ticket)
        outcome = self._refusal(command)
        if outcome is None:
            self.carried_out.append(command)
            outcome = self._answer(command)
        if outcome is not None:
            ticket.future.set_result(outcome)
        return ticket

    def _refusal(self, command: Command) -> Outcome | None:
        if command.retained:
            return RETAINED
        return EXPIRED if command.expires < self._clock.now() else None

    @property
    def asked(self) -> list[tuple[str, dict[str, object]]]:
        return [(command.target, dict(command.arguments)) for command in self.commands]
