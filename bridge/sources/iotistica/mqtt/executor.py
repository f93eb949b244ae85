"""Writes to devices' points by MQTT: each once, and answered with what became of it.

    validate    a device, a point and a value that an agent takes? a point that is allowed?            (pure)
    execute     <agent>/cmd/write -> at most `answer_within` -> <agent>/cmd/result -> what it means (outcomes)
    no answer   the agent is asked once more: the same commandId, expired already
    reconcile   after a crash: that question again

Rules (facts 1.13; the agent's code: ids first, then the times)
1. The commandId is the command's own id for ever. An agent that has it answers with what it kept, for 300 s, and writes
   nothing; one that does not have it takes no expired command. So the question changes nothing, whoever hears it.
2. A command expires at the agent soon after nobody waits for it any more: what is unknown does not happen later.
3. Not published is unreached; published and not answered is unknown. A late answer finds nobody, and is counted.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from bridge.errors import LinkError, ProtocolError
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.sources._waiting import within
from bridge.sources.iotistica.mqtt.encoding import decode
from bridge.sources.iotistica.mqtt.outcomes import outcome_of, rejected, unknown, unreached
from bridge.sources.iotistica.mqtt.topic import RESULT, command_topic, result_agent
from bridge.sources.iotistica.mqtt.write import NotWritable, Write, command_id, device_of, iso
from bridge.transport.mqtt import Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from bridge.model.action import Action
    from bridge.ports import Clock
    from bridge.sources.iotistica.config import IotisticaConfig
    from bridge.sources.iotistica.mqtt.config import MqttRules
    from bridge.sources.iotistica.mqtt.intake import Intake
    from bridge.transport.mqtt import Link

RESULTS: Final = f"+/{RESULT}"
"""The topic filter of all agents' answers."""
QUESTION: Final = 2.0
"""Seconds for the answer to a question: the agent has it ready."""
GRACE: Final = timedelta(seconds=4)
"""After the end of our waiting a command is still valid for so long: an agent's clock may be ahead of ours."""
PAST: Final = timedelta(minutes=10)
"""How long ago a question has expired: more than any clock is behind."""


class WriteExecutor:
    """The MQTT part of a source's executor (see `bridge.ports.Executor`)."""

    def __init__(self, config: IotisticaConfig, rules: MqttRules, clock: Clock, intake: Intake) -> None:
        self._config = config
        self._rules = rules
        self._clock = clock
        self._intake = intake
        self._allowed = tuple(map(re.compile, config.allow))
        self._link: Link | None = None
        self._unheard = ""
        self._asked: dict[tuple[str, str], asyncio.Future[dict[str, Any] | None]] = {}
        self.late = 0
        """Answers that nobody waited for."""

    @contextmanager
    def connected(self, link: Link, unheard: str) -> Iterator[None]:
        """A session is up. `unheard`: why no answer can be heard in it, "" where it can."""
        self._link, self._unheard = link, unheard
        try:
            yield
        finally:
            self._link = None
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_result(None)

    # -- answers

    def take(self, message: Message) -> bool:
        """Whether the message was an answer to a write, to whomever."""
        agent = result_agent(message.topic)
        if agent is None:
            return False
        try:
            answer = decode(message.payload)
        except ProtocolError:
            answer = None
        identifier = answer.get("commandId") if isinstance(answer, dict) else None
        waiting = self._asked.get((agent, identifier)) if isinstance(identifier, str) else None
        if waiting is None or waiting.done() or message.retain:
            self.late += 1
        else:
            waiting.set_result(answer)
        return True

    # -- the executor

    def validate(self, action: Action) -> str | None:
        """Why this action must not be sent, or None. Pure."""
        try:
            self._write(action)
        except NotWritable as error:
            return str(error)
        return None

    def _write(self, action: Action) -> Write:
        write = Write.of(action)
        whole = f"{write.device}/{write.point}"
        if self._allowed and not any(pattern.fullmatch(whole) for pattern in self._allowed):
            raise NotWritable(f"{whole} is not among what may be written: see allow of this source")
        return write

    async def execute(self, action: Action, deadline: float) -> Outcome:
        """Write once. The agent itself gives up after 5 s, so this may take longer than `deadline` says."""
        if not self._config.writes:
            return rejected("This source takes no commands: writes is not true", StatusCode.BadNotWritable)
        try:
            write = self._write(action)
        except NotWritable as error:
            return rejected(str(error))
        obstacle = self._obstacle(action)
        if obstacle is not None:
            return obstacle
        identifier, now = command_id(action.command), self._clock.now()
        device = device_of(write, self._intake.state(action.machine))
        expires = now + timedelta(seconds=self._rules.answer_within) + GRACE
        message = write.message(identifier, device, now, expires)
        answer = await self._answered(action.machine, identifier, message, self._rules.answer_within)
        if isinstance(answer, Outcome):
            return answer
        if answer is None:
            return await self._asked_again(action, write, device)
        return outcome_of(answer)

    def _obstacle(self, action: Action) -> Outcome | None:
        if not action.command:
            return rejected("It has no id, by which the agent could know it again", StatusCode.BadInvalidState)
        if self._link is None:
            return unreached("The MQTT broker of the agents is not connected")
        if self._unheard:
            return unreached(f"The agent's answer could not be heard: {self._unheard}")
        gone = self._intake.is_gone(action.machine)
        return unreached(f"The agent is gone: {gone}") if gone else None

    async def _answered(
        self, agent: str, identifier: str, message: bytes, seconds: float
    ) -> dict[str, Any] | Outcome | None:
        """The answer; None where there is none in time; or the outcome where it certainly was not sent."""
        link = self._link
        if link is None:
            return unreached("The MQTT broker of the agents is not connected")
        topic, refused = command_topic(agent), link.refusals.total
        key = agent, identifier
        waiting: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._asked[key] = waiting
        try:
            try:
                if not link.publish(Message(topic, message, qos=1)):
                    return unreached("The broker does not take so long a message")
            except LinkError as error:
                return unreached(f"The MQTT broker of the agents is not connected: {error}")
            await within(self._clock, seconds, waiting)
            if waiting.done():
                return waiting.result()
            why = link.refusals.since(refused).get(topic)
            return None if why is None else unreached(f"The broker does not let us publish on {topic}: {why}")
        finally:
            del self._asked[key]

    async def _asked_again(self, action: Action, write: Write, device: str) -> Outcome:
        """No answer came: what has the agent kept of it?"""
        asked = await self._question(action, write, device, QUESTION)
        if asked is None or asked.result is Result.UNREACHED:
            return unknown(f"The agent did not answer within {self._rules.answer_within + QUESTION:g} s")
        return asked

    async def _question(self, action: Action, write: Write, device: str, seconds: float) -> Outcome | None:
        """What the agent has kept of a command (rule 1); None where it says nothing."""
        expired = self._clock.now() - PAST
        message = write.message(command_id(action.command), device, expired, expired)
        answer = await self._answered(action.machine, command_id(action.command), message, seconds)
        if answer is None or isinstance(answer, Outcome):
            return answer
        if _is_about(answer, expired):
            return unknown("The agent does not know the command: it never came there, or the agent was restarted since")
        return outcome_of(answer)

    async def refresh(self, machine: str) -> None:
        """Nothing: agents publish by themselves."""

    def can_reconcile(self, action: Action) -> bool:
        """An agent keeps what became of a command by its id."""
        return bool(action.command) and self.validate(action) is None

    async def reconcile(self, action: Action) -> Outcome:
        """Ask the agent what became of it; nothing is written (rule 1)."""
        obstacle = self._obstacle(action)
        if obstacle is not None:
            return unknown(f"What became of it cannot be found out: {obstacle.sentence}")
        try:
            write = self._write(action)
        except NotWritable as error:
            return unknown(f"What became of it cannot be found out: {error}")
        device = device_of(write, self._intake.state(action.machine))
        asked = await self._question(action, write, device, self._rules.answer_within)
        if asked is None or (asked.result is Result.UNREACHED and not asked.vendor_text):
            return unknown("The agent did not say what became of it")
        if asked.result is Result.ACCEPTED:
            return replace(asked, result=Result.CONFIRMED, status=StatusCode.Good)
        return asked


def _is_about(answer: dict[str, Any], expired: datetime) -> bool:
    """The agent refuses the question itself as expired: it has kept nothing. It says which time it refuses."""
    error = answer.get("error")
    words = str(error.get("message", "")) if isinstance(error, dict) else ""
    return answer.get("status") == "expired" and iso(expired) in words
