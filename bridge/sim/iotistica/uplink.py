"""The agents at a broker: one connection that plays them all. The product has no last will there (facts 1.11)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field

import aiomqtt
import orjson

from bridge.sim.iotistica.agent_link import AgentLink, Message
from bridge.sim.iotistica.state import State
from bridge.sim.iotistica.tenant import Tenant
from bridge.sim.iotistica.write_commands import WriteCommands

TICK_S = 0.25
RETRY_S = 1.0
MAX_WAITING = 20_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MqttAccess:
    """The broker that agents publish to and take commands from."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)


class Uplink:
    """Publishes what is due and takes commands, until cancelled; connects again after a loss.

    Args:
        access: Of the broker.
        tenant: Whose agents.
        state: What reports say.
        seed: Of what is random.
    """

    def __init__(self, access: MqttAccess, tenant: Tenant, state: State, seed: int) -> None:
        self.connected = asyncio.Event()
        self._access = access
        self._tenant = tenant
        self._state = state
        self._seed = seed
        self._links: dict[str, AgentLink] = {}
        self._commands: dict[str, WriteCommands] = {}
        self._waiting: deque[Message] = deque(maxlen=MAX_WAITING)
        self._listened: set[str] = set()
        self._woken = asyncio.Event()
        self._is_told = False

    def link(self, agent: str) -> AgentLink:
        """One agent's link. Raises KeyError."""
        self._adopt()
        return self._links[agent]

    def publish(self, message: Message) -> None:
        """Let a message go out, whatever it is."""
        self._waiting.append(message)
        self._woken.set()

    async def run(self) -> None:
        """Play the agents."""
        while True:
            session = asyncio.create_task(self._session(), name="iotistica session")
            try:
                await asyncio.wait({session})
            finally:  # a task of its own: a TaskGroup whose child fails as well forgets a cancellation (before 3.13)
                session.cancel()
                await asyncio.wait({session})
                self.connected.clear()
                if not session.cancelled():
                    session.exception()  # looked at also where we are cancelled, else asyncio complains of it later
            session.result()
            await asyncio.sleep(RETRY_S)  # real time: the broker is real

    async def _session(self) -> None:
        """At the broker until the connection is lost, which is told once."""
        try:
            async with aiomqtt.Client(
                self._access.host, self._access.port, username=self._access.username,
                password=self._access.password, identifier=f"iotistica-agents-{self._seed}",
                max_queued_outgoing_messages=MAX_WAITING,
            ) as client:  # fmt: skip
                _end_if_cancelled()
                self._listened.clear()
                self._is_told = False
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._listen(client), name="iotistica commands")
                    group.create_task(self._tick(), name="iotistica tick")
                    group.create_task(self._push(client), name="iotistica push")
        except* aiomqtt.MqttError as errors:
            if not self._is_told:
                _log.info("The simulated agents have no broker: %s", errors.exceptions[0])
                self._is_told = True

    async def _push(self, client: aiomqtt.Client) -> None:
        while True:
            self._woken.clear()
            await self._flush(client)
            self.connected.set()
            await self._woken.wait()

    async def _tick(self) -> None:
        """Wake whenever time has passed, also where it passes in leaps."""
        clock = self._tenant.clock
        due = clock.monotonic()
        while True:
            due = max(due + TICK_S, clock.monotonic())
            while (left := due - clock.monotonic()) > 0:
                await clock.sleep(left)
            self._woken.set()

    async def _flush(self, client: aiomqtt.Client) -> None:
        self._adopt()
        for agent in set(self._commands) - self._listened:
            await client.subscribe(f"{agent}/cmd/write", qos=1)
            _end_if_cancelled()
            self._listened.add(agent)
        for link in self._links.values():
            self._waiting.extend(link.due())
        for agent, commands in self._commands.items():
            self._waiting.extend(_answer(agent, result) for result in commands.due(self._tenant.now))
        while self._waiting:
            message = self._waiting[0]
            await client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
            self._waiting.popleft()
            _end_if_cancelled()

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            agent = str(message.topic).partition("/")[0]
            commands = self._commands.get(agent)
            if commands is None or not commands.agent.connected:
                continue
            for result in commands.take(bytes(message.payload), bool(message.retain), self._tenant.now):
                self._waiting.append(_answer(agent, result))
            self._woken.set()

    def _adopt(self) -> None:
        """Links for new agents, none for those that are gone."""
        present = {agent.uuid: agent for agent in self._tenant.agents}
        for uuid in set(self._links) - set(present):
            del self._links[uuid], self._commands[uuid]
        for uuid, agent in present.items():
            if uuid not in self._links:
                self._links[uuid] = AgentLink(self._tenant, agent, self._state, self._seed)
                self._commands[uuid] = WriteCommands(agent)


def _answer(agent: str, result: dict[str, object]) -> Message:
    return Message(f"{agent}/cmd/result", orjson.dumps(result))


def _end_if_cancelled() -> None:
    """End this task where aiomqtt has swallowed its cancellation.

    It waits in `asyncio.wait_for`, which before Python 3.12 gives the answer, and forgets that it was cancelled, where
    both come in one turn of the loop (python/cpython#86296). The task knows. To go with Python 3.11.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
