"""A small cloud that answers as Iotistica's code does (facts 1.2 to 1.9), and a source at it, on one virtual clock."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from bridge.config.vendor_profile import load_profile
from bridge.model.event import Event
from bridge.model.observation import Condition, Inventory, Observation, Reading
from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.iotistica.notebook import Notebook
from bridge.sources.iotistica.presence import Presence
from bridge.sources.iotistica.rest.client import RestClient
from bridge.sources.iotistica.rest.config import RestRules
from bridge.sources.iotistica.rest.rest import Rest
from bridge.sources.iotistica.roster import Roster
from bridge.transport.clock import VirtualClock
from bridge.transport.http import SENDING, http_client

START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
AGENT = "d9069bba-f80e-424a-9c4c-583ea4deb9a4"
OTHER = "00000000-0000-4000-8000-000000000001"
USER, PASSWORD = "viewer@plant.example", "tell-nobody"
URL = "http://127.0.0.1:3002/api/v1"
NOT_FOUND = {"error": "Not found", "message": "Route not found", "hint": "See /api/docs for available endpoints"}
LIMITED = {"error": "Too many requests", "message": "Rate limit exceeded", "retryAfter": "59 seconds"}


class Crash(Exception):
    """The bridge's process is gone."""


class Heap:
    """A memory for tests; where `crash` says so, the process is gone before it has kept."""

    def __init__(self) -> None:
        self.document: Mapping[str, Any] = {}
        self.crash: Callable[[], bool] = lambda: False

    async def recall(self) -> Mapping[str, Any]:
        return self.document

    async def keep(self, document: Mapping[str, Any]) -> None:
        if self.crash():
            raise Crash
        self.document = orjson.loads(orjson.dumps(document))


class Heard:
    """Everything that was published."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.crash: Callable[[object], bool] = lambda item: False

    def __call__(self, item: Observation | Condition | Inventory | Event | Reading) -> None:
        if self.crash(item):
            raise Crash
        self.items.append(item)

    def of(self, kind: type) -> list[Any]:
        return [item for item in self.items if isinstance(item, kind)]

    def channel(self, channel: str, agent: str = AGENT) -> list[Any]:
        """Payloads of a channel, oldest first."""
        return [one.payload for one in self.of(Observation) if (one.machine, one.channel) == (agent, channel)]

    def events(self, kind: str = "") -> list[Event]:
        """Events by id: what comes again with the same id is the same event."""
        return list({event.id: event for event in self.of(Event) if kind in ("", event.kind)}.values())

    def readings(self) -> dict[str, Any]:
        return {reading.name: reading.value for reading in self.of(Reading)}


Handler = Callable[[httpx.Request, "Cloud"], httpx.Response | None]


class Cloud:
    """The server. What is in `agents`, `incidents`, … is what it tells; `requests` are those that came."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []
        self.life = 900
        self.answer_shape = "data"
        self.gives_refresh = True
        self.must_change = False
        self.is_admin = False
        self.tokens: dict[str, float] = {}
        self.refreshes: set[str] = set()
        self.minted = 0
        self.agents: list[dict[str, Any]] = [agent_row(AGENT, "press")]
        self.detail: dict[str, Any] = {"target": 3, "current": 3}
        self.incidents: dict[str, dict[str, Any]] = {}
        self.alerts: list[dict[str, Any]] = []
        self.jobs: list[dict[str, Any]] = []
        self.statuses: dict[str, list[dict[str, Any]]] = {}
        self.audit: list[dict[str, Any]] = []
        self.readings: list[dict[str, Any]] = []
        self.hooks: list[Handler] = []
        """Asked first; whoever answers is the answer."""
        self.remaining = "299"

    # -- what tests look at

    def asked(self, pattern: str) -> list[httpx.Request]:
        return [
            request
            for request in self.requests
            if re.search(pattern, f"{request.method} {request.url.raw_path.decode()}")
        ]

    def now_ms(self) -> int:
        return round(self.clock.now().timestamp() * 1000)

    # -- the server

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(self.clock.monotonic())
        if (trace := request.extensions.get("trace")) is not None:
            await trace(SENDING, {})
        for hook in self.hooks:
            if (answer := hook(request, self)) is not None:
                return answer
        return self._route(request)

    def reply(self, status: int, body: Any, **headers: str) -> httpx.Response:
        limits = {"x-ratelimit-limit": "300", "x-ratelimit-remaining": self.remaining, "x-ratelimit-reset": "30"}
        return httpx.Response(status, json=body, headers={**limits, **headers})

    def throttled(self, after: str = "59") -> httpx.Response:
        return self.reply(500, LIMITED, **{"retry-after": after, "x-ratelimit-remaining": "0"})

    def _route(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1/")
        if request.url.path == "/health":
            return httpx.Response(200, json={"status": "healthy", "uptime": 5})
        if path == "auth/login":
            return self._login(orjson.loads(request.content))
        if path == "auth/refresh":
            return self._renew(orjson.loads(request.content))
        open_to_all = re.fullmatch(r"agents/[^/]+(/metrics)?", path)
        if not open_to_all and not self._is_known(request):
            return self.reply(401, {"error": "Unauthorized", "message": "Invalid or expired token"})
        for pattern, answer in ROUTES.items():
            if match := re.fullmatch(pattern, f"{request.method} {path}"):
                return answer(self, request, *match.groups())
        return httpx.Response(404, json=NOT_FOUND)

    def _is_known(self, request: httpx.Request) -> bool:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self.tokens.get(token, -1.0) > self.clock.monotonic()

    def _login(self, said: dict[str, Any]) -> httpx.Response:
        if "username" not in said:
            return self.reply(400, {"error": "Username and password are required"})
        if said["username"] != USER or said["password"] != PASSWORD:
            return self.reply(401, {"error": "Unauthorized", "message": "Invalid username or password"})
        return self.reply(200, self._tokens(with_refresh=self.gives_refresh and not self.must_change))

    def _renew(self, said: dict[str, Any]) -> httpx.Response:
        if said.get("refreshToken") not in self.refreshes:
            return self.reply(401, {"error": "Unauthorized", "message": "Invalid refresh token"})
        return self.reply(200, self._tokens(with_refresh=False))

    def _tokens(self, *, with_refresh: bool) -> dict[str, Any]:
        self.minted += 1
        issued = round(self.clock.now().timestamp())
        claims = {"userId": 1, "type": "access", "iat": issued, "exp": issued + self.life, "n": self.minted}
        text = f"head.{base64.urlsafe_b64encode(orjson.dumps(claims)).decode().rstrip('=')}.sign"
        if self.answer_shape == "flat":
            text = f"opaque-{self.minted}"
        self.tokens[text] = self.clock.monotonic() + self.life
        told: dict[str, Any] = {"accessToken": text}
        if with_refresh:
            self.refreshes.add(f"refresh-{self.minted}")
            told["refreshToken"] = f"refresh-{self.minted}"
        if self.must_change:
            told["mustChangePassword"] = True
        if self.answer_shape == "flat":
            return {**told, "expiresIn": self.life}
        return {"message": "ok", "data": told} if self.answer_shape == "data" else told

    # -- routes

    def list_agents(self, request: httpx.Request) -> httpx.Response:
        page, limit = int(request.url.params["page"]), int(request.url.params["limit"])
        rows = self.agents[(page - 1) * limit : page * limit]
        pages = -(-len(self.agents) // limit)
        total = {"page": page, "limit": limit, "totalDevices": len(self.agents), "totalPages": pages}
        return self.reply(200, {"count": len(rows), "agents": rows, "pagination": total})

    def one_agent(self, request: httpx.Request, agent: str) -> httpx.Response:
        device = {"uuid": agent, "device_api_key_hash": "$2b$10$tell-nobody", "provisioning_state": "registered"}
        target = {
            "apps": {},
            "config": {"password": "tell-nobody"},
            "version": self.detail["target"],
            "needs_deployment": False,
        }
        current = {"apps": {}, "version": self.detail["current"], "reported_at": "2026-03-10T08:59:00.000Z"}
        return self.reply(200, {"device": device, "target_state": target, "current_state": current})

    def metrics(self, request: httpx.Request, agent: str) -> httpx.Response:
        row = {
            "recorded_at": "2026-03-10T08:59:30Z",
            "cpu_usage": "12.50",
            "memory_usage": "1978",
            "memory_total": "24103",
        }
        return self.reply(200, {"count": 1, "metrics": [row]})

    def health(self, request: httpx.Request, agent: str) -> httpx.Response:
        row = {
            "name": "plc1", "protocol": "modbus", "status": "healthy", "enabled": True, "connected": True,
            "connection": {"host": "10.0.0.9", "password": "tell-nobody"}, "errorCount": "0", "pollInterval": 5000,
        }  # fmt: skip
        return self.reply(200, {"deviceUuid": agent, "summary": {"total": 1}, "devices": [row], "agents": [row]})

    def reported(self, request: httpx.Request, agent: str) -> httpx.Response:
        row = {"uuid": "dev-1", "endpoint_uuid": "ep-1", "name": "Press 1", "protocol": "modbus", "enabled": True}
        return self.reply(200, {"agent_uuid": agent, "count": 1, "devices": [row]})

    def list_incidents(self, request: httpx.Request) -> httpx.Response:
        status = request.url.params.get("status")
        rows = [row for row in self.incidents.values() if row["status"] == status]
        return self.reply(200, {"success": True, "incidents": rows, "total": len(rows), "hasMore": False})

    def one_incident(self, request: httpx.Request, identifier: str) -> httpx.Response:
        row = self.incidents.get(identifier)
        if row is None:
            return self.reply(404, {"success": False, "error": "Incident not found"})
        return self.reply(200, {"success": True, "incident": row, "alerts": []})

    def resolve(self, request: httpx.Request, identifier: str) -> httpx.Response:
        row, said = self.incidents.get(identifier), orjson.loads(request.content)
        if "resolvedBy" not in said:
            return self.reply(400, {"success": False, "error": "resolvedBy is required"})
        if row is None:
            return self.reply(404, {"success": False, "error": "Incident not found"})
        row |= {"status": "resolved", "acknowledged_by": said["resolvedBy"], "resolution_notes": said.get("notes")}
        row["first_seen"] = str(row["first_seen"])
        return self.reply(200, {"success": True, "incident": row})

    def list_alerts(self, request: httpx.Request) -> httpx.Response:
        since = int(request.url.params["startTime"])
        rows = [row for row in self.alerts if _ms(row["created_at"]) >= since]
        return self.reply(200, {"success": True, "alerts": rows[::-1], "total": len(rows)})

    def list_jobs(self, request: httpx.Request) -> httpx.Response:
        limit, offset = int(request.url.params["limit"]), int(request.url.params["offset"])
        rows = self.jobs[::-1][offset : offset + limit]
        return self.reply(200, {"executions": rows, "total": len(rows), "limit": limit, "offset": offset})

    def one_job(self, request: httpx.Request, job: str) -> httpx.Response:
        row = next((one for one in self.jobs if one["job_id"] == job), None)
        if row is None:
            return self.reply(404, {"error": "Job execution not found"})
        return self.reply(200, {"job": row, "device_statuses": self.statuses[job]})

    def execute(self, request: httpx.Request) -> httpx.Response:
        said = orjson.loads(request.content)
        if not said.get("job_name"):
            return self.reply(400, {"error": "job_name is required"})
        known = {agent["uuid"] for agent in self.agents}
        targets = [one for one in said["target_agents"] if one in known]
        if not targets:
            return self.reply(400, {"error": "No target agents found"})
        return self.reply(201, {"job": self.add_job(said["job_name"], targets), "message": "Job created"})

    def cancel(self, request: httpx.Request, job: str) -> httpx.Response:
        row = next(
            (one for one in self.jobs if one["job_id"] == job and one["status"] in ("QUEUED", "IN_PROGRESS")), None
        )
        if row is None:
            return self.reply(404, {"error": "Job not found or already completed"})
        row["status"] = "CANCELED"
        for status in self.statuses[job]:
            status["status"] = "CANCELED"
        return self.reply(200, {"message": "Job canceled successfully", "job": row})

    def add_job(self, name: str, agents: list[str]) -> dict[str, Any]:
        created = self.clock.now().isoformat()
        row = {
            "id": str(len(self.jobs) + 1), "job_id": f"job-{len(self.jobs) + 1}", "job_name": name, "status": "QUEUED",
            "queued_at": created, "target_agents": agents,
        }  # fmt: skip
        self.jobs.append(row)
        self.statuses[str(row["job_id"])] = [{"agent_uuid": agent, "status": "QUEUED"} for agent in agents]
        return row

    def list_fleets(self, request: httpx.Request) -> httpx.Response:
        return self.reply(200, {"fleets": [{"fleet_uuid": "fleet-1", "fleet_name": "Hall 1"}]})

    def list_audit(self, request: httpx.Request) -> httpx.Response:
        if not self.is_admin:
            return self.reply(403, {"error": "Forbidden", "message": "Insufficient permissions. Required role: admin"})
        return self.reply(200, {"success": True, "count": len(self.audit), "events": self.audit[::-1]})

    def ingestion(self, request: httpx.Request) -> httpx.Response:
        said = {
            "lastProcessedTimestamp": self.now_ms(),
            "ingestionHealthy": True,
            "spoolingActive": False,
            "backlogSize": "0",
        }
        return self.reply(200, said)

    def latest(self, request: httpx.Request, agent: str) -> httpx.Response:
        newest: dict[str, dict[str, Any]] = {}
        for row in self.readings:
            if row["agent_uuid"] == agent:
                newest[row["metric_name"]] = row
        return self.reply(200, {"agent_uuid": agent, "count": len(newest), "readings": list(newest.values())})

    def series(self, request: httpx.Request, agent: str) -> httpx.Response:
        asked = request.url.params
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", asked["metric"]):
            return self.reply(400, {"error": "Invalid parameters"})
        start, end = _ms(asked["start"]), _ms(asked["end"])
        rows = [
            row for row in self.readings
            if row["agent_uuid"] == agent and row["metric_name"] == asked["metric"] and start <= _ms(row["time"]) <= end
        ]  # fmt: skip
        rows.sort(key=lambda row: row["time"], reverse=True)
        rows = rows[: int(asked["limit"])]
        return self.reply(200, {"agent_uuid": agent, "count": len(rows), "readings": rows})

    def query(self, request: httpx.Request) -> httpx.Response:
        said = orjson.loads(request.content)
        if not 1 <= len(said["queries"]) <= 20:
            return self.reply(400, {"error": "Invalid request body", "details": []})
        results = []
        for one in said["queries"]:
            series: dict[tuple[str, str], dict[str, Any]] = {}
            for row in self.readings:
                device = row["extra"].get("device_uuid", "")
                if (
                    row["metric_name"] == one["metric"]
                    and row["agent_uuid"] in one["agent_uuids"]
                    and row["value"] is not None
                ):
                    key = (row["agent_uuid"], device)
                    tags = {"device_uuid": device} if one.get("filters") else {}
                    found = series.setdefault(
                        key, {"metric": one["metric"], "agent_uuid": key[0], "tags": tags, "dps": []}
                    )
                    found["dps"].append({"time": row["time"], "value": row["value"]})
            results.append(list(series.values()))
        return self.reply(200, {"query_count": len(results), "results": results})

    def hourly(self, request: httpx.Request, agent: str, metric: str, kind: str) -> httpx.Response:
        row = {
            "bucket": "2026-03-10T08:00:00.000Z",
            "device_name": "Press 1",
            "avg_value": 4.5,
            "min_value": 1,
            "max_value": 9,
            "stddev_value": None,
            "sample_count": "5",
        }
        old = {**row, "bucket": "2026-03-10T07:00:00.000Z"}
        return self.reply(200, {"agent_uuid": agent, "metric": metric, "count": 2, "aggregates": [row, old]})


ROUTES: dict[str, Callable[..., httpx.Response]] = {
    r"GET agents": Cloud.list_agents,
    r"GET agents/([^/]+)": Cloud.one_agent,
    r"GET agents/([^/]+)/metrics": Cloud.metrics,
    r"GET agents/([^/]+)/device-health": Cloud.health,
    r"GET agents/([^/]+)/reported-devices": Cloud.reported,
    r"GET anomaly-incidents": Cloud.list_incidents,
    r"GET anomaly-incidents/([^/]+)": Cloud.one_incident,
    r"PATCH anomaly-incidents/([^/]+)/resolve": Cloud.resolve,
    r"GET anomaly-alerts": Cloud.list_alerts,
    r"GET jobs/executions": Cloud.list_jobs,
    r"GET jobs/executions/([^/]+)": Cloud.one_job,
    r"POST jobs/execute": Cloud.execute,
    r"POST jobs/executions/([^/]+)/cancel": Cloud.cancel,
    r"GET fleets": Cloud.list_fleets,
    r"GET events/recent": Cloud.list_audit,
    r"GET metrics/ingestion-health": Cloud.ingestion,
    r"GET readings/([^/]+)/latest": Cloud.latest,
    r"GET readings/([^/]+)/timeseries": Cloud.series,
    r"POST readings/query": Cloud.query,
    r"GET readings/([^/]+)/([^/]+)/(hourly|daily)": Cloud.hourly,
}


def agent_row(uuid: str, name: str, *, online: bool = True) -> dict[str, Any]:
    return {
        "id": uuid, "uuid": uuid, "name": name, "device_type": "gateway", "is_online": online, "fleet_uuid": "fleet-1",
        "lastSeen": "2026-03-10T08:59:00.000Z", "agent_version": "1.2.3",
        "cpu_usage": "12.50", "memory_usage": "1978",
        "target_apps_count": 0, "metrics": {"cpu": "12.50", "io": 55, "pw": 42}, "vpn_bytes_sent": "0",
    }  # fmt: skip


def incident_row(identifier: str, now_ms: int, status: str = "open", **more: Any) -> dict[str, Any]:
    return {
        "incident_id": identifier, "device_name": "Press 1", "agent_uuid": "ep-1", "metric": "pressure",
        "severity": "warning", "affected_agents": [AGENT], "first_seen": now_ms, "last_seen": now_ms,
        "max_anomaly_score": "0.9", "event_count": "3", "status": status, **more,
    }  # fmt: skip


def reading(metric: str, value: float | None, time: str, device: str = "dev-1", **more: Any) -> dict[str, Any]:
    extra = {"device_uuid": device, "device_name": f"name of {device}", "endpoint_uuid": "ep-1"}
    return {
        "time": time, "agent_uuid": AGENT, "metric_name": metric, "value": value, "quality": "good", "unit": "bar",
        "protocol": "modbus", "extra": extra, **more,
    }  # fmt: skip


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class At:
    """The cloud, what a REST half needs, and runs of it."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START)
        self.cloud = Cloud(self.clock)
        self.heap = Heap()
        self.heard = Heard()

    def config(self, **rest: Any) -> IotisticaConfig:
        account = {"url": URL, "username": USER, "password": PASSWORD, "share": 1.0, **rest}
        return IotisticaConfig.model_validate({"type": "iotistica", "rest": account, "writes": True})

    def rest(self, *, has_mqtt: bool = True, profile: str = "actual", websocket: bool = False, **rules: Any) -> Rest:
        config = self.config(**rules)
        assert config.rest is not None
        loaded = load_profile(profile, config.rest.profile_changes)
        return Rest(
            "i", config.rest, loaded, self.clock, Roster("i", config, None), Presence("i"),
            Notebook(self.heap), has_mqtt=has_mqtt, writes=True, websocket=websocket,
            transport=httpx.MockTransport(self.cloud),
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def client(self, profile: str = "actual", **rules: Any) -> AsyncIterator[RestClient]:
        config = self.config(**rules)
        rest: RestRules | None = config.rest
        assert rest is not None
        client = RestClient(rest, load_profile(profile), self.clock)
        async with http_client(rest.url + "/", transport=httpx.MockTransport(self.cloud)) as http:
            with client.wire.connected(http):
                yield client

    @contextlib.asynccontextmanager
    async def running(self, rest: Rest) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(rest.run(self.heard))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def until(self, condition: Callable[[], object], step: float = 1.0, limit: float = 7200.0) -> None:
        """Let virtual time pass until something is so."""
        ends = self.clock.monotonic() + limit
        while not condition():
            assert self.clock.monotonic() < ends, "it never became so"
            await self.clock.advance(step)

    async def passing(self, work: Any, step: float = 1.0) -> Any:
        """What comes of a work, while time passes."""
        task = asyncio.ensure_future(work)
        await self.until(task.done, step)
        return await task
