"""Iotistica on a socket: REST and WebSocket on one port, agents at a broker where one is named.

HttpDoor -> Api, /ws -> WebSockets; Tenant -> Publisher -> broker
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from bridge.sim.clock import VirtualClock
from bridge.sim.control import Control
from bridge.sim.http_door import HttpDoor
from bridge.sim.http_faults import FaultPlan
from bridge.sim.iotistica.accounts import ACCESS_S, DOCUMENTED_ACCESS_S, Accounts, User
from bridge.sim.iotistica.api import Api
from bridge.sim.iotistica.behaviour import Behaviour
from bridge.sim.iotistica.faults import Faults
from bridge.sim.iotistica.incidents import AnomalyEvent
from bridge.sim.iotistica.plant import Agent, default_agent
from bridge.sim.iotistica.tenant import MAX_AGENTS, Tenant
from bridge.sim.iotistica.uplink import MqttAccess, Uplink
from bridge.sim.iotistica.websocket import WebSockets
from bridge.sim.request_journal import RequestJournal

USERNAME, PASSWORD = "bridge", "Simulated-1"
SECRETS = ("/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/auth/logout")


class Iotistica:
    """The simulator, to be entered with `async with`.

    Args:
        agents: Of the tenant; one with two devices if None.
        tenant: As the broker's topics have it.
        username: Of a user who may read and write; `email` and `password` likewise.
        role: The user's; audit events want admin.
        device_key: Of every agent, for the routes that want one.
        limits: Requests a minute, by scope (global, auth, device), where they are not the profile's.
        behaviour: Which truth, and what differs between deployments.
        broker: Where the agents publish and take commands; they are silent if None.
        agents_after_s: The agents come up so much later: what they say first is said once.
        incidents_every_s: An agent's detector speaks so often; never if None.
        clock: Of the vendor; the machine's time if None.
        seed: Of what is random.
        host: Address to listen on.
        port: 0 takes a free one.
        control_port: Loopback port of the switches (`/_sim/...`); 0 takes a free one, None means none.

    Raises:
        ValueError: There are too many agents.
        AddressTaken: On entering, when a port is in use.
    """

    def __init__(
        self,
        agents: Iterable[Agent] | None = None,
        *,
        tenant: str = "self-hosted",
        username: str = USERNAME,
        email: str = "bridge@plant.example",
        password: str = PASSWORD,
        role: str = "admin",
        device_key: str = "",
        limits: Mapping[str, int] | None = None,
        behaviour: Behaviour | None = None,
        broker: MqttAccess | None = None,
        agents_after_s: float = 0.0,
        incidents_every_s: float | None = None,
        clock: VirtualClock | None = None,
        seed: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int | None = None,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.seed = seed
        behaviour = behaviour or Behaviour()
        members = [default_agent(0, 2, seed, self.clock.now())] if agents is None else list(agents)
        if len(members) > MAX_AGENTS:
            raise ValueError(f"a tenant has at most {MAX_AGENTS} agents here, not {len(members)}")
        for agent in members:
            agent.device_key = device_key
        self.tenant = Tenant(self.clock, members, behaviour, tenant)
        user = User(1, username, email, role, password, "Bridge")
        self.accounts = Accounts([user], DOCUMENTED_ACCESS_S if behaviour.documented else ACCESS_S)
        self.api = Api(self.tenant, self.accounts, seed, dict(limits or {}))
        self.websockets = WebSockets(self.tenant, self.accounts, self.api.state)
        self.uplink = None if broker is None else Uplink(broker, self.tenant, self.api.state, seed)
        self._agents_after_s = agents_after_s
        self._incidents_every_s = incidents_every_s
        self._playing: list[asyncio.Task[None]] = []
        self.journal = RequestJournal()
        self._plan = FaultPlan()
        self.faults = Faults(self._plan, self)
        self._door = HttpDoor(
            "Iotistica simulator", host, port, self.api.serve,
            account=self.api.account, clock=self.clock, plan=self._plan, journal=self.journal, secret=SECRETS,
            streams={"/ws": self.websockets.serve},
        )  # fmt: skip
        views = {"status": self._status, "journal": self.journal.as_json}
        name = "Iotistica simulator's control port"
        self.control = None if control_port is None else Control(name, self.faults, views, control_port)

    @property
    def url(self) -> str:
        """Where it listens, without a path: the API is below /api/v1."""
        return self._door.url

    @property
    def behaviour(self) -> Behaviour:
        """The switches as they are."""
        return self.tenant.behaviour

    def behave(self, switches: Mapping[str, Any]) -> None:
        """Set switches. Raises ValueError, also for the profile: that is another server."""
        changed = self.tenant.behaviour.with_switches(switches)
        if changed.profile != self.tenant.behaviour.profile:
            raise ValueError("the profile is that of the whole server: start another one")
        self.tenant.behaviour = changed

    def announce(self, event: AnomalyEvent) -> None:
        """The agent publishes an anomaly event."""
        if self.uplink is not None:
            self.uplink.publish(self.uplink.link(event.agent).anomaly(event))

    async def refuse(self) -> None:
        """Drop every connection and refuse new ones."""
        await self._door.refuse()

    async def accept(self) -> None:
        """Accept connections again."""
        await self._door.accept()

    async def __aenter__(self) -> Iotistica:
        try:
            await self._door.start()
            if self.control is not None:
                await self.control.start()
            if self.uplink is not None:
                self._playing.append(asyncio.create_task(self._agents(self.uplink), name="iotistica agents"))
            if self._incidents_every_s is not None:
                trouble = self._trouble(self._incidents_every_s)
                self._playing.append(asyncio.create_task(trouble, name="iotistica incidents"))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    async def _agents(self, uplink: Uplink) -> None:
        await self.clock.sleep(self._agents_after_s)
        await uplink.run()

    async def _trouble(self, period_s: float) -> None:
        """Now and then a barrel is too hot; the incident before is resolved by then."""
        rng = random.Random(self.seed)
        while True:
            await self.clock.sleep(period_s)
            for incident in self.tenant.incidents.incidents:
                incident.status = "resolved"
            agents = [agent for agent in self.tenant.agents if agent.devices and agent.connected]
            if agents:
                agent = rng.choice(agents)
                severity = rng.choice(("warning", "critical"))
                self.faults.anomaly(agent.uuid, rng.choice(agent.devices).name, "barrel_temp", severity)

    async def _stop(self) -> None:
        for task in self._playing:
            task.cancel()
        await asyncio.gather(*self._playing, return_exceptions=True)
        self._playing.clear()
        await self.websockets.drop()
        await self._door.stop()
        if self.control is not None:
            await self.control.stop()

    def _status(self) -> Any:
        return {
            "url": self.url,
            "now": self.clock.now(),
            "speed": self.clock.speed,
            "behaviour": {name: getattr(self.behaviour, name) for name in Behaviour.__dataclass_fields__},
            "agents": [
                {"uuid": agent.uuid, "name": agent.name, "devices": [device.name for device in agent.devices]}
                for agent in self.tenant.agents
            ],
            "websockets": len(self.websockets.sessions),
        }
