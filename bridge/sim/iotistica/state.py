"""Agents over REST: list, detail with the key's hash, current and target state, health, what they reported.

Source: facts 1.4, 1.6, 1.7; tests/recorded/iotistica/rest.
"""

from __future__ import annotations

import base64
import hashlib
import math
import random
from typing import Any

import orjson

from bridge.sim.iotistica.answers import Refused, iso, number, refused
from bridge.sim.iotistica.call import Call
from bridge.sim.iotistica.plant import Agent, Device, identity
from bridge.sim.iotistica.tenant import REPORT_S, Tenant

MEMORY_MB, STORAGE_MB = 3904, 29_184


class State:
    """The routes below /agents and /fleets."""

    def __init__(self, tenant: Tenant, seed: int) -> None:
        self._tenant = tenant
        self._random = random.Random(seed)

    # -- routes

    def list(self, call: Call) -> Any:
        """GET /agents. `metrics.io` and `.pw` are random, as at the vendor."""
        query = call.query
        online = {"true": True, "false": False}.get(query.get("online", ""))
        wanted = {"active": True, "inactive": False}.get(query.get("filter", ""), online)
        found = [a for a in self._tenant.agents if wanted is None or self._tenant.is_online(a) == wanted]
        page, limit = max(1, number(query.get("page"), 1)), max(1, number(query.get("limit"), 10))
        rows = [self._row(agent) for agent in found[(page - 1) * limit : page * limit]]
        total = {"page": page, "limit": limit, "totalDevices": len(found), "totalPages": -(-len(found) // limit)}
        return {"count": len(rows), "agents": rows, "pagination": total}

    def one(self, call: Call) -> Any:
        """GET /agents/:uuid, with everything the table holds. Raises Refused."""
        agent = self._agent(call)
        device = {
            "id": self._tenant.agents.index(agent) + 1, **_common(agent, self._tenant.is_online(agent)),
            "device_api_key_hash": "hmac-sha256:" + identity(agent.uuid, "hash"),
            "mqtt_username": f"agent_{agent.uuid}", "vpn_enabled": False, "vpn_bytes_sent": "0",
            "vpn_bytes_received": "0", "fleet_uuid": agent.fleet_uuid, **self.figures(agent),
        }  # fmt: skip
        target = {
            "apps": agent.apps, "config": agent.config, "version": agent.target_version,
            "needs_deployment": agent.needs_deployment, "updated_at": iso(agent.target_updated or agent.created),
        }  # fmt: skip
        return {"device": device, "target_state": target, "current_state": self._current(agent)}

    def metrics(self, call: Call) -> Any:
        """GET /agents/:uuid/metrics, newest first: figures as strings (recorded). Raises Refused."""
        agent = self._agent(call)
        count = min(number(call.query.get("limit"), 100), 1000)
        last = agent.last_report.timestamp() if agent.last_report else call.now
        rows = []
        for index in range(min(count, 60) if call.query.get("period") else count):
            at = last - index * REPORT_S
            figures = {key: str(value) for key, value in self.figures(agent, at).items() if key != "cpu_temp"}
            rows.append({"agent_uuid": agent.uuid, **figures, "cpu_temp": None, "recorded_at": iso(at)})
        return {"count": len(rows), "metrics": rows}

    def current_state(self, call: Call) -> Any:
        """GET /agents/:uuid/current-state. Raises Refused."""
        agent = self._tenant.agent(call.path["uuid"])
        if agent is None or agent.last_report is None:
            message = f"Device {call.path['uuid']} has not reported its state yet"
            raise refused(404, "No state reported yet", message)
        return self._current(agent)

    def target_state(self, call: Call) -> Any:
        """GET /agents/:uuid/target-state. Raises Refused."""
        agent = self._agent(call)
        return {"apps": agent.apps, "config": agent.config, "version": agent.target_version}

    def set_target(self, call: Call, deploys: bool) -> Any:
        """POST deploys at once, PUT leaves it to be deployed; only a deployment moves the version. Raises Refused."""
        agent, body = self._agent(call), call.json()
        apps = body.get("apps")
        if not isinstance(apps, dict | list):
            raise refused(400, "Invalid request", "Body must contain apps (array or object)")
        if isinstance(apps, list):
            if not all(isinstance(app, dict) and isinstance(app.get("appId"), int) for app in apps):
                raise refused(400, "Invalid request", "Every app needs a numeric appId")
            apps = {str(app["appId"]): app for app in apps}
        agent.apps, agent.config = apps, body.get("config") or {}
        agent.needs_deployment, agent.target_updated = not deploys, self._tenant.clock.now()
        data = {"apps": apps, "config": agent.config, "version": agent.target_version}
        self._tenant.audit.write("target_state.updated", agent.uuid, self._tenant.clock.now(), data)
        return {
            "status": "ok", "message": "Target state updated", "uuid": agent.uuid, "version": agent.target_version,
            "apps": agent.apps, "config": agent.config,
        }  # fmt: skip

    def clear_target(self, call: Call) -> Any:
        """DELETE /agents/:uuid/target-state. Raises Refused."""
        agent = self._agent(call)
        agent.apps, agent.config, agent.target_updated = {}, {}, self._tenant.clock.now()
        return {"status": "ok", "message": "Target state cleared"}

    def deploy(self, call: Call) -> Any:
        """POST /agents/:uuid/deploy. Raises Refused."""
        agent = self._agent(call)
        if not agent.needs_deployment:
            raise refused(400, "Nothing to deploy")
        agent.needs_deployment, agent.target_version = False, agent.target_version + 1
        agent.current_version = agent.target_version
        return {
            "status": "ok", "message": "Deployed", "deviceUuid": agent.uuid, "version": agent.target_version,
            "deployedBy": call.json().get("deployedBy"), "deployedAt": iso(call.now), "appsCount": len(agent.apps),
        }  # fmt: skip

    def device_state(self, call: Call) -> Any:
        """GET /device/:uuid/state as the agent polls it: a bare sha1 as ETag, 304 whatever while a deployment waits."""
        agent = self._agent(call)
        told = {"version": agent.target_version, "apps": agent.apps, "config": agent.config}
        tag = hashlib.sha1(orjson.dumps(told), usedforsecurity=False).hexdigest()
        if not agent.apps and not agent.config:
            tag = base64.b64encode(orjson.dumps({"apps": {}, "config": {}})).decode()[:32]
        body = {**told, "needs_deployment": agent.needs_deployment, "last_deployed_at": None}
        if agent.needs_deployment or call.request.headers.get("If-None-Match") == tag:
            raise Refused(304, None, {"X-Content-Length": str(len(orjson.dumps({agent.uuid: body})))})
        raise Refused(200, {agent.uuid: body}, {"ETag": tag})

    def devices(self, call: Call) -> Any:
        """GET /agents/:uuid/devices: configured endpoints. Raises Refused."""
        return {"devices": [self._endpoint(device) for device in self._agent(call).devices]}

    def reported(self, call: Call) -> Any:
        """GET /agents/:uuid/reported-devices. Raises Refused."""
        agent = self._agent(call)
        rows = [
            {
                "uuid": device.uuid, "agent_uuid": agent.uuid, "endpoint_uuid": device.endpoint_uuid,
                "name": device.name, "protocol": device.protocol, "identifier": str(index + 1),
                "enabled": device.enabled, "last_seen_at": iso(self._last_answer(device)),
                "created_at": iso(agent.created), "updated_at": iso(agent.last_report),
            }
            for index, device in enumerate(agent.devices)
        ]  # fmt: skip
        return {"agent_uuid": agent.uuid, "count": len(rows), "devices": rows}

    def health(self, call: Call) -> Any:
        """GET /agents/:uuid/device-health. Raises Refused."""
        agent, wanted = self._agent(call), call.query.get("protocolType")
        rows = [self._health(agent, device) for device in agent.devices if wanted in (None, "", device.protocol)]
        protocols = [row["protocol"] for row in rows]
        summary = {
            "total": len(rows), "enabled": sum(row["enabled"] for row in rows),
            "disabled": sum(not row["enabled"] for row in rows),
            "byProtocol": {name: protocols.count(name) for name in protocols},
        }  # fmt: skip
        return {"deviceUuid": agent.uuid, "summary": summary, "devices": rows, "agents": rows}

    def adapter_history(self, call: Call) -> Any:
        """The table is absent from the shipped migrations (recorded). Raises Refused."""
        message = 'relation "protocol_adapter_health_history" does not exist'
        raise refused(500, "Failed to fetch protocol adapter history", message)

    def fleets(self, call: Call) -> Any:
        """GET /fleets: counts are strings."""
        fleets = {agent.fleet_uuid: agent for agent in self._tenant.agents}
        return {"fleets": [self._fleet(uuid, agent) for uuid, agent in fleets.items()], "total": len(fleets)}

    def fleet(self, call: Call) -> Any:
        """GET /fleets/:id. Raises Refused."""
        for agent in self._tenant.agents:
            if agent.fleet_uuid == call.path["id"]:
                return self._fleet(agent.fleet_uuid, agent)
        raise refused(404, "Fleet not found")

    def figures(self, agent: Agent, at: float | None = None) -> dict[str, Any]:
        """The system's figures as the agent reports them: memory and storage in MB, an older one's in bytes."""
        at = self._tenant.now if at is None else at
        phase = math.sin(2 * math.pi * at / 900) * 0.5 + 0.5
        unit = 1 if self._tenant.behaviour.memory == "MB" else 1 << 20
        return {
            "cpu_usage": round(12 + 40 * phase), "cpu_temp": round(48 + 12 * phase),
            "memory_usage": round(1200 + 600 * phase) * unit, "memory_total": MEMORY_MB * unit,
            "storage_usage": 9120 * unit, "storage_total": STORAGE_MB * unit,
        }  # fmt: skip

    # -- rows

    def _agent(self, call: Call) -> Agent:
        uuid = call.path["uuid"]
        if len(uuid) != 36:
            raise refused(500, "Failed to get device")  # PostgreSQL will have no such uuid (recorded)
        agent = self._tenant.agent(uuid)
        if agent is None:
            raise refused(404, "Device not found", f"Device {uuid} not found")
        return agent

    def _row(self, agent: Agent) -> dict[str, Any]:
        online = self._tenant.is_online(agent)
        figures = {key: str(value) for key, value in self.figures(agent).items()}
        return {
            "id": agent.uuid, "device_name": agent.name, "device_type": "standalone", "location": None,
            "state": "active" if online else "inactive", **_common(agent, online), "lastSeen": iso(agent.last_report),
            "architecture": "x64", **figures, "target_apps_count": len(agent.apps),
            "current_apps_count": len(agent.apps), "last_reported": iso(agent.last_report),
            "fleet_uuid": agent.fleet_uuid,
            "metrics": {
                "cpu": figures["cpu_usage"], "memory": figures["memory_usage"],
                "io": self._random.randint(10, 79), "pw": self._random.randint(10, 79),
            },
        }  # fmt: skip

    def _current(self, agent: Agent) -> dict[str, Any]:
        return {
            "apps": agent.apps, "config": {"endpoints": [self._endpoint(device) for device in agent.devices]},
            "version": agent.current_version, "system_info": self.figures(agent), "reported_at": iso(agent.last_report),
        }  # fmt: skip

    def _endpoint(self, device: Device) -> dict[str, Any]:
        return {
            "uuid": device.endpoint_uuid, "name": device.name, "protocol": device.protocol, "enabled": device.enabled,
            "pollInterval": device.poll_ms,
            # a connection may hold the credentials of a PLC; these are nobody's
            "connection": {
                "type": "tcp", "host": "192.0.2.10", "port": 502, "slaveId": 1, "timeout": 2000, "retryDelay": 1000,
                "retryAttempts": 1, "password": "of-the-plc",
            },
            "dataPoints": [
                {
                    "name": point.name, "type": "holding", "unit": point.unit, "address": 2 * index,
                    "dataType": point.kind, "writable": point.writable,
                }
                for index, point in enumerate(device.points)
            ],
        }  # fmt: skip

    def _health(self, agent: Agent, device: Device) -> dict[str, Any]:
        lost = device.is_lost(self._tenant.now)
        fresh = iso(agent.last_report)
        row = {key: value for key, value in self._endpoint(device).items() if key != "uuid"}
        return {
            # online although nothing answers: only `connected` tells (recorded)
            **row, "status": "online" if device.enabled else "disabled", "lastUpdated": fresh, "synced": True,
            "connected": not lost, "lastPoll": fresh, "errorCount": 115 if lost else 0,
            "lastError": "connect ECONNREFUSED 192.0.2.10:502" if lost else None, "lastSeen": fresh,
            "lastTelemetryAt": fresh, "location": None,
        }  # fmt: skip

    def _last_answer(self, device: Device) -> float:
        now = self._tenant.now
        return next((start for start, end in device.lost if start <= now < end), now)

    def _fleet(self, uuid: str, agent: Agent) -> dict[str, Any]:
        members = [one for one in self._tenant.agents if one.fleet_uuid == uuid]
        online = sum(self._tenant.is_online(one) for one in members)
        return {
            "fleet_uuid": uuid, "fleet_name": "Extrusion", "customer_id": "00000000-0000-0000-0000-000000000001",
            "fleet_type": "physical", "status": "active",
            "environment": None, "location": None, "billing_enabled": False, "current_cost": "0.00",
            "budget_limit": None, "created_at": iso(agent.created), "updated_at": iso(agent.created),
            "device_count": str(len(members)), "online_count": str(online),
        }  # fmt: skip


def _common(agent: Agent, online: bool) -> dict[str, Any]:
    return {
        "uuid": agent.uuid, "name": agent.name, "type": "standalone", "is_online": online,
        "is_active": agent.is_active, "mac_address": "02:fc:00:00:00:01",
        "last_connectivity_event": iso(agent.last_report), "ip_address": "192.0.2.2",
        "os_version": "Debian GNU/Linux 12 (bookworm)", "agent_version": agent.version,
        "provisioning_state": "registered", "status": "online" if online else "offline",
        "created_at": iso(agent.created),
    }  # fmt: skip
