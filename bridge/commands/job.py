"""A job: a command that passed the checks, how far it is, and the ticket its caller holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.commands import recipe
from bridge.commands.recipe import Part

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from datetime import datetime

    from bridge.commands.bookings import Booking
    from bridge.model.command import Command, ItemOutcome, Outcome
    from bridge.model.value import Value
    from bridge.ports import Item, Target


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
    items: Sequence[Item]
    olds: Sequence[Value]
    """What each item's set point was when it was taken."""
    ticket: CommandTicket
    edge: datetime
    """What "now" means in it."""
    booking: Booking | None = None
    """It is kept while its vendor is offline."""
    outcomes: list[Outcome] = field(default_factory=list)
    """How the items ended, in order; one that is not Good is the last."""

    @property
    def is_recipe(self) -> bool:
        """It sets several set points."""
        return self.target.set_point is None and self.items[0].set_point is not None

    @property
    def is_safe(self) -> bool:
        """It flushes the lane and goes first."""
        return not self.is_recipe and self.items[0].action.safe

    @property
    def is_replaceable(self) -> bool:
        """A newer one of the same target makes it pointless."""
        return self.items[0].set_point is not None

    def sets(self, target: str) -> bool:
        """It sets this set point, or a command is confirmed by it (Standby by the mode)."""
        own = {item.set_point.id for item in self.items if item.set_point is not None}
        confirming = (expectation.tag for item in self.items for one in item.action.confirm for expectation in one)
        return target in own or target in confirming

    @property
    def item(self) -> Item:
        """What is sent next, or is being sent."""
        return self.items[len(self.outcomes)]

    @property
    def place(self) -> str:
        """Which of a recipe's items that is."""
        return recipe.place(self.parts, len(self.outcomes)) if self.is_recipe else ""

    @property
    def is_over(self) -> bool:
        """Everything was done, or something stopped it."""
        stopped = bool(self.outcomes) and not self.outcomes[-1].status.is_good
        return stopped or len(self.outcomes) == len(self.items)

    @property
    def outcome(self) -> Outcome:
        """How all of it ended; of what is over only."""
        return recipe.whole(self.parts, self.told, self.outcomes[-1]) if self.is_recipe else self.outcomes[-1]

    @property
    def parts(self) -> list[Part]:
        """A recipe's items as a person reads them."""
        return [Part.of(item.set_point, item.value) for item in self.items if item.set_point is not None]

    @property
    def told(self) -> tuple[ItemOutcome, ...]:
        """How a recipe's items ended, so far."""
        if not self.is_recipe:
            return ()
        return tuple(part.ended(outcome) for part, outcome in zip(self.parts, self.outcomes, strict=False))
