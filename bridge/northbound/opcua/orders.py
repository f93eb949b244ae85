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
    ) -> Ticket:
        """Hand a command in. What becomes of it does not depend on the client any more."""
        now = self.clock.now()
        return self._submit(
            Command(
                id=f"ua:{uuid.uuid4()}",
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


__all__ = ["EXPIRES_S", "Orders"]
