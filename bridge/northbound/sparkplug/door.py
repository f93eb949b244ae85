"""The door for DCMDs: hands in what a message asks for, and passes on how each ended.

Whatever waits here outlives MQTT sessions: an answer that comes while the broker is away is in the next births.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.northbound.sparkplug import dcmd
from bridge.northbound.sparkplug.command_metric import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.model.plant import Machine
    from bridge.northbound.sparkplug.codec import Payload
    from bridge.northbound.sparkplug.command_metric import CommandMetrics
    from bridge.northbound.sparkplug.config import SparkplugCommands
    from bridge.ports import Clock, Submit, Ticket

WAITING = 200
"""Commands of this door that may wait for their answer."""

FULL = Outcome(
    Result.REJECTED,
    StatusCode.BadTooManyOperations,
    f"{WAITING} commands from Sparkplug wait for their answers already",
)


class CommandDoor:
    """Takes DCMDs. `answered` is told the device and how something asked of it ended."""

    def __init__(
        self, config: SparkplugCommands, clock: Clock, submit: Submit, answered: Callable[[str, Answer], None]
    ) -> None:
        self._config = config
        self._clock = clock
        self._submit = submit
        self._answered = answered
        self._waiting: set[asyncio.Task[None]] = set()

    def take(self, machine: Machine, metrics: CommandMetrics, payload: Payload, retained: bool) -> None:
        """Hand in everything this DCMD asks for, in order. Does not wait."""
        envelope = dcmd.Envelope(self._config.role, self._clock.now(), uuid.uuid4().hex, retained)
        reading = dcmd.read(machine, metrics, payload, envelope)
        for answer in reading.refused:
            self._answered(machine.id, answer)
        for request in reading.requests:
            if len(self._waiting) >= WAITING:
                self._answered(machine.id, _answer(request, FULL))
            else:
                self._await(machine.id, request, self._submit(request.command))

    async def close(self) -> None:
        """Wait for nothing any more; what was handed in goes on without us."""
        for task in self._waiting:
            task.cancel()
        if self._waiting:
            await asyncio.wait([*self._waiting])

    def _await(self, device_id: str, request: dcmd.Request, ticket: Ticket) -> None:
        task = asyncio.create_task(self._pass_on(device_id, request, ticket), name=f"sparkplug command {device_id}")
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _pass_on(self, device_id: str, request: dcmd.Request, ticket: Ticket) -> None:
        self._answered(device_id, _answer(request, await ticket.result))


def _answer(request: dcmd.Request, outcome: Outcome) -> Answer:
    """Set points share their answers: the sentence says which it was."""
    if request.point:
        outcome = replace(outcome, sentence=f"{request.point}: {outcome.sentence}")
    return Answer(request.subject, outcome)
