"""From what a client did to a Command, and the wait for its answer."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from bridge.model.command import Command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bridge.model.command import Door
    from bridge.model.value import Value
    from bridge.northbound.opcua.stack.access import Visitor
    from bridge.ports import Clock, Submit, Ticket

EXPIRES_S = 30.0
T = TypeVar("T")


class Orders:
    """The way to the desk."""

    def __init__(self, submit: Submit, clock: Clock, caught_up: Callable[[], asyncio.Future[None]]) -> None:
        self._submit = submit
        self._caught_up = caught_up
        self.clock = clock

    def place(
        self,
        visitor: Visitor,
        target: str,
        arguments: Mapping[str, Value],
        door: Door,
        *,
        expires_s: float = EXPIRES_S,
        identifier: str = "",
    ) -> Ticket:
        """Hand a command in, under a new id or this one. What becomes of it does not depend on the client any more."""
        now = self.clock.now()
        return self._submit(
            Command(
                id=identifier or f"ua:{uuid.uuid4()}",
                target=target,
                arguments=arguments,
                door=door,
                requester=visitor.requester,
                issued=now,
                expires=now + timedelta(seconds=expires_s),
                role=visitor.rights,
                user=visitor.name or "",
            )
        )

    async def within(self, awaited: Awaitable[T], seconds: float) -> T:
        """Its result. Raises TimeoutError after `seconds`; whether or not, nothing but the waiting ends."""
        waiting = asyncio.ensure_future(awaited)
        alarm = asyncio.create_task(self.clock.sleep(seconds), name="opcua: patience")
        try:
            await asyncio.wait({waiting, alarm}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
        if not waiting.done():
            raise TimeoutError
        return waiting.result()

    async def shown(self, deadline: float) -> None:
        """Wait until clients can read what is on the table now, but not beyond the deadline (monotonic)."""
        caught_up = self._caught_up()
        if not caught_up.done():
            with suppress(TimeoutError):
                await self.within(caught_up, max(0.0, deadline - self.clock.monotonic()))


def handshake_id(request_id: int) -> str:
    """A new id of a handshake's command, from which its RequestId can be read after a start of the bridge."""
    return f"ua:{request_id}:{uuid.uuid4()}"


def request_id_of(command_id: str) -> int:
    """The RequestId in a handshake's command id; 0 where there is none."""
    _, _, rest = command_id.partition("ua:")
    number, _, tail = rest.partition(":")
    return int(number) if tail and number.isascii() and number.isdigit() else 0


__all__ = ["EXPIRES_S", "Orders", "handshake_id", "request_id_of"]
