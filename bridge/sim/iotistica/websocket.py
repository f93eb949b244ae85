"""`/ws`: figures, network and logs of one agent. No readings come this way.

    upgrade refused: 401 without a good access token, 400 without deviceUuid unless type=global
    subscribe -> subscribed, and later the channel's snapshot twice
    history: live batches every 10 s, each report in them twice; snapshots divide memory by 1024 twice, live ones do not
    closed with 1008: "Token expired" at the token's end, "Rate limit exceeded" after 1000 messages in 60 s

Source: facts 1.10; tests/recorded/iotistica/rest/websocket.json.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from bridge.sim.iotistica.accounts import Accounts, BadToken
from bridge.sim.iotistica.answers import iso
from bridge.sim.iotistica.plant import Agent
from bridge.sim.iotistica.state import State
from bridge.sim.iotistica.tenant import REPORT_S, Tenant

DEVICE_CHANNELS = ("system-info", "history", "network-interfaces", "logs", "shell", "mqtt-stats", "mqtt-topics")
GLOBAL_CHANNELS = ("mqtt-stats", "mqtt-topics")
BATCH_S, INFO_S = 10, 30
MESSAGES, WINDOW_S = 1000, 60.0
MAX_PAYLOAD = 1 << 20
MEBI = 1 << 20


@dataclass(slots=True, eq=False)
class Session:
    """One connection."""

    request: web.Request
    socket: web.WebSocketResponse
    agent_uuid: str | None
    channels: set[str] = field(default_factory=set)
    times: deque[float] = field(default_factory=deque)
    since: float = 0.0
    """Reports up to this moment were sent."""


class WebSockets:
    """Every connection there is."""

    def __init__(self, tenant: Tenant, accounts: Accounts, state: State) -> None:
        self._tenant = tenant
        self._accounts = accounts
        self._state = state
        self.sessions: set[Session] = set()
        self.silent = False
        """Live messages are kept back."""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer an upgrade, then the connection until it ends."""
        token = request.query.get("token", "")
        try:
            self._accounts.user_of(token, "access", self._tenant.now)
        except BadToken:
            return web.Response(status=401)
        agent_uuid = request.query.get("deviceUuid")
        is_global = request.query.get("type") == "global"
        if not agent_uuid and not is_global:
            return web.Response(status=400)
        socket = web.WebSocketResponse(max_msg_size=MAX_PAYLOAD, autoping=True)
        await socket.prepare(request)
        session = Session(request, socket, None if is_global else agent_uuid, since=self._tenant.now)
        self.sessions.add(session)
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(self._expire(session, self._accounts.expires(token)), name="token"),
                    group.create_task(self._tell(session), name="live"),
                ]
                await self._listen(session)
                for helper in helpers:
                    helper.cancel()
        finally:
            self.sessions.discard(session)
        return socket

    async def drop(self) -> None:
        """Every connection is gone."""
        for session in list(self.sessions):
            if session.request.transport is not None:
                session.request.transport.abort()

    # -- what the client says

    async def _listen(self, session: Session) -> None:
        welcome = {"type": "connected", "deviceUuid": session.agent_uuid}
        if session.agent_uuid is None:
            welcome = {"type": "connected", "message": "Global WebSocket connection established (MQTT stats)"}
        else:
            welcome["message"] = "WebSocket connection established"
        await _send(session, welcome)
        async for message in session.socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if not await self._heard(session, message.data):
                break

    async def _heard(self, session: Session, text: str) -> bool:
        try:
            said = orjson.loads(text)
        except orjson.JSONDecodeError:
            await _send(session, {"type": "error", "message": "Failed to parse message"})
            return True
        channels = DEVICE_CHANNELS if session.agent_uuid is not None else GLOBAL_CHANNELS
        kind = said.get("type") if isinstance(said, dict) else None
        if kind != "ping" and (kind not in ("subscribe", "unsubscribe") or said.get("channel") not in channels):
            await _send(session, {"type": "error", "message": "Invalid message format: Invalid input"})
            return True
        if not self._within_limit(session):
            await session.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Rate limit exceeded")
            return False
        if kind == "ping":
            await _send(session, {"type": "pong"})
        else:
            await self._subscribe(session, kind, said["channel"])
        return True

    def _within_limit(self, session: Session) -> bool:
        now = self._tenant.clock.monotonic()
        while session.times and session.times[0] < now - WINDOW_S:
            session.times.popleft()
        if len(session.times) >= MESSAGES:
            return False
        session.times.append(now)
        return True

    async def _subscribe(self, session: Session, kind: str, channel: str) -> None:
        (session.channels.add if kind == "subscribe" else session.channels.discard)(channel)
        await _send(session, {"type": kind + "d", "channel": channel, "deviceUuid": session.agent_uuid})
        if kind == "subscribe" and session.agent_uuid is not None:
            snapshot = self._snapshot(session, channel)
            for _ in range(2 if snapshot is not None and channel != "system-info" else 1):
                if snapshot is not None:
                    await _send(session, snapshot)

    # -- what the server says

    async def _expire(self, session: Session, expires: float) -> None:
        while (left := expires - self._tenant.now) > 0:
            await self._tenant.clock.sleep(left)
        await session.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Token expired")

    async def _tell(self, session: Session) -> None:
        rounds, clock = 0, self._tenant.clock
        due = clock.monotonic()
        while True:
            due = max(due + BATCH_S, clock.monotonic())  # of ten minutes that passed at once one batch is told
            while (left := due - clock.monotonic()) > 0:
                await clock.sleep(left)
            rounds += 1
            self._tenant.tick()
            if self.silent or session.socket.closed:
                continue
            agent = self._agent(session)
            if agent is not None and "history" in session.channels:
                batch = self._batch(session, agent)
                if batch is not None:
                    await _send(session, batch)
            if rounds % (INFO_S // BATCH_S) == 0:
                for channel in sorted(session.channels & {"system-info", "network-interfaces"}):
                    snapshot = self._snapshot(session, channel)
                    if snapshot is not None:
                        await _send(session, snapshot)

    def _agent(self, session: Session) -> Agent | None:
        return self._tenant.agent(session.agent_uuid) if session.agent_uuid else None

    def _snapshot(self, session: Session, channel: str) -> dict[str, Any] | None:
        agent = self._agent(session)
        if agent is None:
            return None
        data: Any = None
        if channel == "system-info":
            data = {
                "os": "Debian GNU/Linux 12 (bookworm)", "architecture": "Unknown", "uptime": 0, "hostname": agent.name,
                "ipAddress": "192.0.2.2", "macAddress": "02:fc:00:00:00:01",
            }  # fmt: skip
        elif channel == "network-interfaces":
            data = {"interfaces": [_INTERFACE]}
        elif channel == "history":
            last = agent.last_report.timestamp() if agent.last_report is not None else self._tenant.now
            moments = [last - index * REPORT_S for index in reversed(range(30))]
            data = self._history(agent, moments, MEBI)
        elif channel == "logs":
            data = {"logs": [_log(agent, self._tenant.now)]}
        return None if data is None else self._message(channel, agent, data)

    def _batch(self, session: Session, agent: Agent) -> dict[str, Any] | None:
        """Reports since the last batch, each by both of the vendor's ways."""
        last = agent.last_report.timestamp() if agent.last_report is not None else 0.0
        if last <= session.since:
            return None
        session.since = last
        return {**self._message("history", agent, self._history(agent, [last, last + 0.006], 1)), "source": "redis"}

    def _history(self, agent: Agent, moments: list[float], divisor: int) -> dict[str, Any]:
        cpu, memory, network = [], [], []
        for at in moments:
            figures, time = self._state.figures(agent, at), iso(at)
            used, total = figures["memory_usage"], figures["memory_total"]
            cpu.append({"time": time, "value": figures["cpu_usage"]})
            memory.append({"time": time, "used": round(used / divisor), "available": round((total - used) / divisor)})
            network.append({"time": time, "download": 0, "upload": 0})
        return {"cpu": cpu, "memory": memory, "network": network}

    def _message(self, kind: str, agent: Agent, data: Any) -> dict[str, Any]:
        return {"type": kind, "deviceUuid": agent.uuid, "data": data, "timestamp": iso(self._tenant.now)}


_INTERFACE = {
    "id": "eth0", "name": "eth0", "type": "wired", "ipAddress": "192.0.2.2", "ip4": "192.0.2.2", "ip6": "fd00::2",
    "mac": "02:fc:00:00:00:01", "status": "connected", "operstate": "up", "default": True, "virtual": False,
}  # fmt: skip


def _log(agent: Agent, now: float) -> dict[str, Any]:
    return {
        "id": "1", "agent_uuid": agent.uuid, "service_name": "Sync", "message": "Reported current state",
        "timestamp": iso(now), "is_system": True, "is_stderr": False, "level": "info",
    }  # fmt: skip


async def _send(session: Session, message: dict[str, Any]) -> None:
    if not session.socket.closed:
        await session.socket.send_str(orjson.dumps(message).decode())
