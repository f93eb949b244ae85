"""What can go wrong with Iotistica, as switches: the wire (HttpFaults), tokens, agents and devices, anomalies, MQTT.

Arguments are what JSON has. An agent is named by uuid or name, a device by uuid or name.
"""

from __future__ import annotations

import base64
import hashlib
import math
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from bridge.sim.faults import faults_of
from bridge.sim.http_faults import FaultPlan, HttpFaults
from bridge.sim.iotistica.agent_link import AgentLink, Message
from bridge.sim.iotistica.incidents import SEVERITIES, AnomalyEvent
from bridge.sim.iotistica.plant import Agent, Device, Point, default_agent, default_device
from bridge.sim.iotistica.tenant import MAX_AGENTS, MAX_DEVICES

if TYPE_CHECKING:
    from bridge.sim.iotistica.server import Iotistica
    from bridge.sim.iotistica.uplink import Uplink


class Faults(HttpFaults):
    """The switches of one simulator."""

    def __init__(self, plan: FaultPlan, server: Iotistica) -> None:
        super().__init__(plan)
        self._server = server

    # -- the vendor

    def behave(self, name: str, value: Any) -> None:
        """Set a switch of how the vendor is deployed, such as alerts to fails; profile only at the start."""
        self._server.behave({name: value})

    async def refuse(self) -> None:
        """Refuse HTTP connections until `accept`."""
        await self._server.refuse()

    async def accept(self) -> None:
        """Accept HTTP connections again."""
        await self._server.accept()

    async def drop_websockets(self) -> None:
        """Every WebSocket is gone, without a word."""
        await self._server.websockets.drop()

    def silence_websockets(self, silent: bool = True) -> None:
        """Live messages stay away although the connection is there."""
        self._server.websockets.silent = bool(silent)

    # -- users

    def end_tokens(self) -> None:
        """Every token there is gets 401 from now on."""
        for user in self._server.accounts.users:
            user.ended = user.revoked = user.issued

    def set_password(self, password: str, username: str = "") -> None:
        """Somebody has changed a password; tokens stay good."""
        for user in self._server.accounts.users:
            if username in ("", user.username):
                user.password = str(password)

    def must_change_password(self, wanted: bool = True) -> None:
        """Logins tell that the password is to be changed first, and give no refresh token."""
        for user in self._server.accounts.users:
            user.must_change_password = bool(wanted)

    def set_role(self, role: str, username: str = "") -> None:
        """A user's role is another one, at once."""
        for user in self._server.accounts.users:
            if username in ("", user.username):
                user.role = str(role)

    def spend(self, requests: int = 300, scope: str = "global") -> None:
        """Somebody else at the same address sends so many requests now."""
        self._server.api.spend(int(requests), str(scope))

    # -- agents and devices

    def add_agent(self, name: str = "", devices: int = 2) -> str:
        """One more agent. Gives its uuid."""
        tenant = self._server.tenant
        if len(tenant.agents) >= MAX_AGENTS:
            raise ValueError(f"there are {MAX_AGENTS} agents already")
        agent = default_agent(len(tenant.agents), int(devices), self._server.seed, self._server.clock.now())
        agent.name = name or agent.name
        agent.last_report = self._server.clock.now()
        tenant.agents.append(agent)
        return agent.uuid

    def remove_agent(self, agent: str) -> None:
        """The agent is gone from the cloud."""
        self._server.tenant.agents.remove(self._agent(agent))

    def disconnect(self, agent: str) -> None:
        """The agent's uplink is down: it buffers, and the cloud notices minutes later."""
        self._agent(agent).connected = False

    def connect(self, agent: str) -> None:
        """The uplink is back: what was buffered comes now, with its old time stamps."""
        self._agent(agent).connected = True

    def add_device(self, agent: str, name: str) -> str:
        """One more device behind an agent. Gives its endpoint's uuid."""
        found = self._agent(agent)
        if len(found.devices) >= MAX_DEVICES:
            raise ValueError(f"the agent has {MAX_DEVICES} devices already")
        number = len(found.devices) + 1
        made = default_device(found.uuid, name, self._server.seed, number)
        if any(device.endpoint_uuid == made.endpoint_uuid for device in found.devices):  # one that was renamed since
            made = default_device(found.uuid, f"{name} {number}", self._server.seed, number)
            made.name = name
        found.devices.append(made)
        return made.endpoint_uuid

    def rename_device(self, agent: str, device: str, name: str) -> None:
        """The device's display name is another one; its uuids stay."""
        self._device(agent, device).name = str(name)

    def add_point(self, agent: str, device: str, name: str, kind: str = "float", unit: str = "") -> None:
        """One more value of a device; any name is taken."""
        if kind not in ("float", "int", "bool", "string"):
            raise ValueError(f"{kind!r} is no kind of value: expected float, int, bool or string")
        self._device(agent, device).points.append(Point(str(name), kind, str(unit)))

    def lose_device(self, agent: str, device: str) -> None:
        """The device does not answer any more: its values are BAD with DEVICE_OFFLINE."""
        self._device(agent, device).lost.append((self._server.tenant.now, math.inf))

    def find_device(self, agent: str, device: str) -> None:
        """The device answers again."""
        found, now = self._device(agent, device), self._server.tenant.now
        found.lost = [(start, min(end, now)) for start, end in found.lost]

    def write(self, agent: str, device: str, point: str, value: Any) -> None:
        """Somebody at the machine sets a value."""
        found = self._device(agent, device).point(str(point))
        if found is None:
            raise ValueError(f"there is no point {point!r}")
        found.written.append((self._server.tenant.now, value))

    def write_mode(self, agent: str, device: str, mode: str) -> None:
        """What becomes of writes: accept, reject, hang (WRITE_TIMEOUT), driver-timeout (taken, but WRITE_REJECTED)."""
        if mode not in ("accept", "reject", "hang", "driver-timeout"):
            raise ValueError(f"{mode!r} is no mode: expected accept, reject, hang or driver-timeout")
        self._device(agent, device).write_mode = mode

    # -- MQTT

    def duplicate(self, agent: str, count: int = 1) -> None:
        """The next telemetry messages come twice, with one msgId: QoS 1, or two brokers."""
        self._link(agent).duplicate += int(count)

    def destroy(self, agent: str, count: int = 1) -> None:
        """The next telemetry messages went through the agent's buffer: of binary ones nothing is left (recorded)."""
        self._link(agent).garble += int(count)

    def publish(self, agent: str, tail: str, payload: str, retain: bool = False) -> None:
        """Anything on a topic of the agent, such as endpoints/modbus; the payload is base64."""
        link = self._link(agent)
        content = base64.b64decode(payload, validate=True)
        self._uplink.publish(Message(link.topic(*str(tail).split("/")), content, retain=bool(retain)))

    def zip_bomb(self, agent: str, mebibytes: int = 256) -> int:
        """A small telemetry message that inflates to so much. Gives its size in bytes."""
        if not 1 <= int(mebibytes) <= 1024:
            raise ValueError(f"{mebibytes} MiB: expected 1 to 1024")
        squeezer = zlib.compressobj(9)
        blocks = [squeezer.compress(bytes(1 << 20)) for _ in range(int(mebibytes))]
        content = b"".join([*blocks, squeezer.flush()])
        self._uplink.publish(Message(self._link(agent).topic("endpoints", "modbus"), content))
        return len(content)

    def dictionary_version(self, agent: str, version: int) -> None:
        """Messages come with another version than the dictionary that was published; `sync_dictionary` mends it."""
        self._link(agent).dictionary.version = int(version)

    def sync_dictionary(self, agent: str) -> None:
        """The agent publishes its whole dictionary, retained."""
        self._uplink.publish(self._link(agent).whole_dictionary())

    def update_progress(self, agent: str, kind: str = "update_started") -> None:
        """The agent tells of its own update, retained, as update_started or update_succeeded."""
        link = self._link(agent)
        body = {"type": kind, "timestamp": self._server.clock.now()}
        self._uplink.publish(Message(link.topic("agent", "status"), orjson.dumps(body), retain=True))

    # -- anomalies and jobs

    def anomaly(self, agent: str, device: str, point: str, severity: str = "critical", events: int = 1) -> str:
        """The agent's detector speaks, so many times. Gives the incident's id."""
        if severity not in SEVERITIES:
            raise ValueError(f"{severity!r} is no severity: expected {', '.join(SEVERITIES)}")
        found, source = self._agent(agent), self._device(agent, device)
        now = self._server.clock.now()
        fingerprint = hashlib.sha256(f"{found.uuid} {source.endpoint_uuid} {point}".encode()).hexdigest()[:32]
        incident = ""
        for index in range(max(1, int(events))):
            at = now.timestamp() + index / 1000
            event = AnomalyEvent(
                found.uuid, source.endpoint_uuid, source.name, source.protocol, str(point), at, 240.5, 0.93, 0.88,
                severity, fingerprint,
            )  # fmt: skip
            incident = self._server.tenant.incidents.take(event, now).id
            self._server.announce(event)
        return incident

    def job_outcome(self, outcome: str = "SUCCEEDED", seconds: float = 5.0) -> None:
        """How jobs to come end, and how long they take once an agent has picked them up."""
        if outcome not in ("SUCCEEDED", "FAILED", "TIMED_OUT", "REJECTED"):
            raise ValueError(f"{outcome!r} is no end of a job: expected SUCCEEDED, FAILED, TIMED_OUT or REJECTED")
        self._server.tenant.jobs.outcome, self._server.tenant.jobs.duration_s = outcome, float(seconds)

    # -- time

    def advance(self, seconds: float) -> None:
        """Let virtual time pass at once."""
        self._server.clock.advance(float(seconds))

    def set_time(self, moment: str) -> None:
        """Set the virtual clock."""
        parsed = datetime.fromisoformat(moment)
        self._server.clock.set(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC))

    def speed(self, factor: float) -> None:
        """Run the virtual clock at so many times real time; 0 stops it."""
        self._server.clock.run_at(float(factor))

    @property
    def _uplink(self) -> Uplink:
        if self._server.uplink is None:
            raise ValueError("the simulator was started without a broker: its agents publish nothing")
        return self._server.uplink

    def _link(self, name: str) -> AgentLink:
        return self._uplink.link(self._agent(name).uuid)

    def _agent(self, name: str) -> Agent:
        for agent in self._server.tenant.agents:
            if name in (agent.uuid, agent.name):
                return agent
        raise ValueError(f"there is no agent {name!r}")

    def _device(self, agent: str, name: str) -> Device:
        for device in self._agent(agent).devices:
            if name in (device.uuid, device.endpoint_uuid, device.name):
                return device
        raise ValueError(f"there is no device {name!r} behind {agent!r}")


FAULTS = faults_of(Faults)
"""Every fault by name."""
