"""One tenant of the cloud: its agents and what the cloud knows of them. The REST half and the MQTT half share it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bridge.sim.clock import VirtualClock
from bridge.sim.iotistica.audit import Audit
from bridge.sim.iotistica.behaviour import Behaviour
from bridge.sim.iotistica.incidents import Incidents
from bridge.sim.iotistica.jobs import Jobs
from bridge.sim.iotistica.plant import Agent

MAX_AGENTS, MAX_DEVICES, MAX_INSERTED = 500, 2000, 1000
OFFLINE_AFTER_S, OFFLINE_CHECK_S = 300, 60
"""The cloud says offline when nothing was reported for five minutes, and looks every minute (facts 1.6)."""
REPORT_S = 60


@dataclass(slots=True)
class Tenant:
    """What there is. `id` is the tenant as the broker's topics have it: a word, 12 hexadecimal digits or a uuid."""

    clock: VirtualClock
    agents: list[Agent]
    behaviour: Behaviour = field(default_factory=Behaviour)
    id: str = "self-hosted"
    audit: Audit = field(default_factory=Audit)
    incidents: Incidents = field(default_factory=Incidents)
    jobs: Jobs = field(default_factory=Jobs)
    inserted: list[dict[str, Any]] = field(default_factory=list)
    """What POST /readings put in."""
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.now
        for agent in self.agents:
            agent.last_report = self.clock.now()

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.clock.now().timestamp()

    def agent(self, uuid: str) -> Agent | None:
        """The agent of that uuid."""
        return next((agent for agent in self.agents if agent.uuid == uuid.lower()), None)

    def report(self, agent: Agent) -> None:
        """The agent's report has come in."""
        was = self.is_online(agent)
        agent.last_report = self.clock.now()
        if not was:
            self.audit.write("device.online", agent.uuid, self.clock.now(), {"reason": "State report received"})

    def is_online(self, agent: Agent) -> bool:
        """What the cloud believes, up to six minutes late."""
        if agent.last_report is None:
            return False
        checked = self.now - self.now % OFFLINE_CHECK_S
        return checked - agent.last_report.timestamp() < OFFLINE_AFTER_S

    def tick(self) -> None:
        """Let happen what happens by itself: reports of connected agents, lost ones, jobs."""
        for agent in self.agents:
            last = agent.last_report
            if agent.connected and agent.is_active and (last is None or self.now - last.timestamp() >= REPORT_S):
                self.report(agent)
        self._notice_lost()
        for word, job, agent_uuid in self.jobs.advance(self.clock.now(), self.agents):
            data = {"job_id": job.id, "job_name": job.name}
            self.audit.write(f"job.{word}", agent_uuid, self.clock.now(), data)

    def _notice_lost(self) -> None:
        for agent in self.agents:
            known = self.audit.last_of(agent.uuid, ("device.online", "device.offline"))
            if not self.is_online(agent) and (known is None or known.kind != "device.offline"):
                self.audit.write("device.offline", agent.uuid, self.clock.now(), {"reason": "No reports"})
