"""The simulator answers as the vendor's own server did: status, and every key with its type that a bridge reads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.iotistica.vendor import Client, iotistica, recording

AGENT = "7c2f1a90-4b7e-4d53-9a0e-2f8f6f1d3c55"

# What the simulator leaves out of an answer: figures of virtual machines, VPN, provisioning and the like.
LEFT_OUT: dict[str, set[str]] = {
    "agent": {"*"},
    "current_state": {"*"},
    "devices": {"*"},
    "metrics_catalog": {"*"},
    "incident": {"events", "alerts"},
}

ALIKE = [
    "root", "health", "unknown_route", "unknown_route_documented_aggregate", "agents_no_token", "agents_garbage_token",
    "agents_refresh_token", "agents", "agent", "agent_unknown", "agent_malformed", "target_state_with_jwt",
    "current_state", "current_state_unknown", "devices", "reported_devices", "device_health", "adapter_history",
    "readings_latest", "readings_latest_metrics", "readings_latest_malformed", "readings_timeseries",
    "readings_timeseries_interval", "readings_timeseries_dot", "readings_timeseries_limit",
    "readings_timeseries_limit_zero", "readings_timeseries_bad_start", "readings_hourly_no_window",
    "readings_insert_manual", "readings_query", "readings_query_unscoped", "readings_query_21",
    "metrics_ingestion_health", "fleets", "incidents_stats", "incident_unknown", "jobs_execute_no_name", "job_unknown",
    "events_recent", "events_search", "users_as_viewer_absent", "login", "login_wrong", "login_by_email_field",
    "refresh_garbage", "incident_resolve_unknown", "jobs_execute_no_agents", "jobs_execute_target_type",
    "jobs_execute_template", "target_state_put_bad",
]  # fmt: skip


def body_of(told: dict[str, Any]) -> Any:
    """What was sent, where it is no secret."""
    name = told["request"].split()[1]
    if "auth/refresh" in name:
        return {"refreshToken": "a.b.c"}
    return told.get("request_body")


async def same_request(client: Client, told: dict[str, Any]) -> Any:
    method, path = told["request"].split(maxsplit=1)
    agent = client.agent
    path = path.replace(AGENT, agent.uuid).replace("barrel_temp%2Crunning", "barrel_temp,running")
    body = body_of(told)
    if isinstance(body, dict):
        body = _translated(body, agent.uuid)
    headers = {} if told["caller"] == "none" else {"Authorization": f"Bearer {client.token}"}
    return await client.http.request(method, path, json=body, headers=headers)


def _translated(value: Any, uuid: str) -> Any:
    if isinstance(value, dict):
        return {key: _translated(inner, uuid) for key, inner in value.items()}
    if isinstance(value, list):
        return [_translated(inner, uuid) for inner in value]
    return uuid if value == AGENT else value


def assert_alike(ours: Any, theirs: Any, left_out: set[str], where: str = "$") -> None:
    """Every key of theirs is in ours with the same type; null may stand for anything; lists by their first member."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), where
        for key, inner in theirs.items():
            if key in left_out or (key not in ours and "*" in left_out):
                continue
            assert key in ours, f"{where}.{key} is missing"
            assert_alike(ours[key], inner, left_out, f"{where}.{key}")
    elif isinstance(theirs, list):
        assert isinstance(ours, list), where
        if theirs and ours:
            assert_alike(ours[0], theirs[0], left_out, f"{where}[0]")
    elif theirs is not None and ours is not None:
        numbers = (int, float)
        if isinstance(theirs, numbers) and not isinstance(theirs, bool):
            assert isinstance(ours, numbers), f"{where}: {ours!r} for {theirs!r}"
        else:
            assert type(ours) is type(theirs), f"{where}: {ours!r} for {theirs!r}"


@pytest.mark.parametrize("name", [name for name in ALIKE if not name.endswith("_absent")])
async def test_answer_is_alike(name: str) -> None:
    told = recording(name)
    async with iotistica() as client:
        if name.startswith("login") or told["caller"].endswith("refresh"):
            client.token = client.refresh
        if name in ("login", "login_wrong", "login_by_email_field"):
            answer = await client.http.post("/api/v1/auth/login", json=told["request_body"])
        elif name == "agents_garbage_token":
            answer = await client.get("/agents", Authorization="Bearer a.b.c")
        else:
            answer = await same_request(client, told)
        assert answer.status_code == told["status"], answer.text
        assert answer.headers["content-type"] == told["headers"]["content-type"]
        limits = {key for key in told["headers"] if key.startswith("x-ratelimit")}
        assert {key for key in answer.headers if key.startswith("x-ratelimit")} == limits
        if "x-ratelimit-limit" in told["headers"]:
            assert answer.headers["x-ratelimit-limit"] == told["headers"]["x-ratelimit-limit"]
        assert_alike(answer.json(), told["body"], LEFT_OUT.get(name, set()))
        if answer.status_code >= 400 and "requestId" not in told["body"] and "hint" not in told["body"]:
            ours = {k: v for k, v in answer.json().items() if k not in ("details",)}
            theirs = {k: v for k, v in told["body"].items() if k not in ("details",)}
            if "Failed to refresh" not in str(theirs):
                assert ours == theirs


async def test_throttling_is_500_in_the_vendors_words() -> None:
    told = recording("login_throttled")
    async with iotistica(logged_in=False) as client:
        for _ in range(10):
            assert (await client.log_in(username="bridge", password="x")).status_code == 401
        answer = await client.log_in()
        assert (answer.status_code, answer.json()) == (told["status"], told["body"])
        for name in ("retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"):
            assert answer.headers[name] == told["headers"][name]


async def test_incident_resolve_and_alert_are_alike() -> None:
    async with iotistica() as client:
        device = client.agent.devices[0].name
        incident = client.vendor.faults.anomaly(client.agent.uuid, device, "barrel_temp", events=6)
        listed = (await client.get("/anomaly-incidents")).json()
        assert_alike(listed["incidents"][0], recording("incident")["body"]["incident"], set())
        assert listed["incidents"][0]["status"] == "active"
        assert_alike((await client.get("/anomaly-alerts")).json(), recording("alerts")["body"], set())
        path = f"/api/v1/anomaly-incidents/{incident}/resolve"
        refused = await client.call("PATCH", path, {})
        assert (refused.status_code, refused.json()) == (400, recording("incident_resolve_no_body")["body"])
        resolved = await client.call("PATCH", path, {"resolvedBy": "plantbridge", "notes": "seen"})
        assert_alike(resolved.json(), recording("incident_resolve")["body"], set())
        assert isinstance(resolved.json()["incident"]["first_seen"], str)


async def test_job_is_alike_from_submission_to_cancellation() -> None:
    async with iotistica() as client:
        body = {**recording("jobs_execute")["request_body"], "target_agents": [client.agent.uuid]}
        answer = await client.call("POST", "/api/v1/jobs/execute", body)
        assert answer.status_code == 201
        assert_alike(answer.json(), recording("jobs_execute")["body"], set())
        job = answer.json()["job"]["job_id"]
        assert_alike((await client.get(f"/jobs/executions/{job}")).json(), recording("job")["body"], set())
        assert_alike((await client.get("/jobs/executions?limit=2")).json(), recording("jobs")["body"], set())
        of_agent = (await client.get(f"/agents/{client.agent.uuid}/jobs")).json()
        assert_alike(of_agent, recording("jobs_of_agent")["body"], set())
        cancel = f"/api/v1/jobs/executions/{job}/cancel"
        assert_alike((await client.call("POST", cancel)).json(), recording("job_cancel")["body"], set())
        again = await client.call("POST", cancel)
        assert (again.status_code, again.json()) == (404, recording("job_cancel_again")["body"])
