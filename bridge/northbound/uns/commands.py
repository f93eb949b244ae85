"""The door for commands by topic.

    broker -> <machine>/cmd/<name> -> request -> submit -> ticket -> answer -> response topic, or <same topic>/result

Rules:
1. Nothing that ends in /result is a command, and no answer goes to a topic of ours that does not: no loops.
2. What waits here outlives MQTT sessions: an answer that comes while the broker is away is published in the next one.
   One that was on its way when the session broke may be lost: the same id asked again is answered again.
3. Every command costs at most one answer, not retained; WAITING bounds what is under way.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from bridge.errors import did_you_mean
from bridge.model.command import Command
from bridge.model.status import StatusCode
from bridge.northbound.uns import payload, request
from bridge.northbound.uns.answers import FORBIDDEN, answer, may_be_answered
from bridge.northbound.uns.commandable import commandables, described
from bridge.northbound.uns.topic import CMD, RESULT, command_name, is_valid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.model.command import Outcome
    from bridge.northbound.uns.branches import Branch
    from bridge.northbound.uns.commandable import Commandable
    from bridge.northbound.uns.config import UnsCommands
    from bridge.northbound.uns.payload import Labels
    from bridge.ports import Clock, Submit, Ticket
    from bridge.transport.mqtt import Link, Message

WAITING = 200
"""Commands that may wait for their answer, or their answer for the broker."""

FULL = request.refusal(StatusCode.BadTooManyOperations, f"{WAITING} commands wait for their answers already")


class Commands:
    """Hands in what comes on command topics, and answers it."""

    def __init__(self, config: UnsCommands, clock: Clock, submit: Submit, properties: Labels) -> None:
        self._config = config
        self._clock = clock
        self._submit = submit
        self._properties = properties
        self._offered: dict[str, tuple[Branch, dict[str, Commandable]]] = {}
        self._roots: frozenset[str] = frozenset()
        self._waiting: set[asyncio.Task[None]] = set()
        self._outbox: deque[Message] = deque()
        self._answered = asyncio.Event()
        self.commands_total = 0
        self.errors_total = 0

    @property
    def waiting(self) -> int:
        """Commands and answers under way."""
        return len(self._waiting) + len(self._outbox)

    @property
    def topics(self) -> frozenset[str]:
        """What to subscribe to."""
        return frozenset(f"{root}/{CMD}/#" for root, (_, offer) in self._offered.items() if offer)

    def learn(self, branches: Iterable[Branch]) -> None:
        """What can be commanded now, and which topics are ours."""
        known = [*branches]
        self._roots = frozenset(branch.root for branch in known)
        before, self._offered = self._offered, {}
        for branch in known:
            held = before.get(branch.root)
            self._offered[branch.root] = held if held and held[0] is branch else (branch, _offer(branch))

    def described(self, branch: Branch) -> dict[str, Any]:
        """The commands of a machine for its _meta."""
        return described(branch.root, self._offered[branch.root][1])

    def take(self, message: Message, link: Link) -> None:
        """A message on a topic we subscribed to. Does not wait. Raises LinkLost."""
        found = command_name(message.topic, self._roots)
        if found is None:
            return
        self.commands_total += 1
        if not may_be_answered(message, self._roots):
            outcome = request.refusal(StatusCode.BadInvalidArgument, FORBIDDEN)
            link.publish(self._answer(message, None, outcome, at_result=True))
            return
        identifier, content = self._read(message, *found)
        if isinstance(content, Command) and self.waiting >= WAITING:
            content = FULL
        if isinstance(content, Command):
            self._await(message, identifier, self._submit(content))
        else:
            link.publish(self._answer(message, identifier, content))

    async def publish_answers(self, link: Link) -> None:
        """Publish answers as they come. Raises LinkLost; what was not published waits for the next call."""
        while True:
            self._answered.clear()
            self.publish_waiting(link)
            await link.drain()
            await self._answered.wait()

    def publish_waiting(self, link: Link) -> None:
        """Publish what is there. Raises LinkLost."""
        while self._outbox:
            link.publish(self._outbox[0])
            self._outbox.popleft()

    async def close(self) -> None:
        """Wait for nothing any more; what was handed in goes on without us."""
        for task in self._waiting:
            task.cancel()
        if self._waiting:
            await asyncio.wait([*self._waiting])

    def _read(self, message: Message, root: str, name: str) -> request.Request:
        offer = self._offered[root][1]
        asked = offer.get(name)
        if asked is None:
            hint = did_you_mean(name, offer)
            said = f"Nothing here takes commands by the name {name[:100]!r}{'; ' if hint else ''}{hint}"
            return request.Request(None, request.refusal(StatusCode.BadNotFound, said))
        arrival = request.Arrival(
            self._config.role,
            self._clock.now(),
            uuid.uuid4().hex,
            message.retain,
            message.expiry_s,
            message.user_properties,
        )
        return request.read(message.payload, asked, arrival)

    def _await(self, message: Message, identifier: str | int | None, ticket: Ticket) -> None:
        task = asyncio.create_task(self._pass_on(message, identifier, ticket), name=f"uns command {message.topic}")
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _pass_on(self, message: Message, identifier: str | int | None, ticket: Ticket) -> None:
        self._outbox.append(self._answer(message, identifier, await ticket.result))
        self._answered.set()

    def _answer(
        self, message: Message, identifier: str | int | None, outcome: Outcome, *, at_result: bool = False
    ) -> Message:
        self.errors_total += outcome.status.is_bad
        content = payload.answer(identifier, outcome, self._clock.now())
        return answer(message, content, self._properties, at_result=at_result)


def _offer(branch: Branch) -> dict[str, Commandable]:
    """What of a machine has a topic that can be used."""
    found = commandables(branch.machine)
    return {
        name: one
        for name, one in found.items()
        if is_valid(f"{branch.root}/{CMD}/{name}/{RESULT}") and name.rpartition("/")[2] != RESULT
    }
