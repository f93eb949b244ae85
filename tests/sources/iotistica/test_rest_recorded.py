"""What the vendor's own server answered (tests/recorded/iotistica/rest), read by the profile `actual`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.config.vendor_profile import load_profile
from bridge.sources.iotistica.profile import Throttle
from bridge.sources.iotistica.rest.incidents import Alerts, Incidents, incident_of
from bridge.sources.iotistica.rest.jobs import listed_of, progress_of
from bridge.sources.iotistica.rest.rows import (
    agent_row,
    detail_row,
    device_row,
    figures,
    health_row,
    pipeline_row,
    reading_rows,
    sums_row,
)
from bridge.sources.iotistica.rest.series import Series
from bridge.sources.iotistica.rest.wire import is_absent, words_of
from bridge.transport.http import Answer
from tests.sources.iotistica.cloud import START

FOLDER = Path(__file__).parents[2] / "recorded/iotistica/rest"
AGENT = "7c2f1a90-4b7e-4d53-9a0e-2f8f6f1d3c55"
ROUTES = load_profile("actual").routes


def answer(name: str) -> Answer:
    told = json.loads((FOLDER / f"{name}.json").read_text())
    headers = {key.lower(): value for key, value in told["headers"].items()}
    return Answer("cloud", told["status"], headers, json.dumps(told["body"]).encode())


def body(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())["body"]


def rows(route: str, name: str) -> list[dict[str, Any]]:
    found = ROUTES[route].find("rows", body(name))
    assert isinstance(found, list)
    return found


def test_agents_and_their_versions() -> None:
    (row,) = rows("agents", "agents")
    told = agent_row(row)
    assert (told["uuid"], told["name"], told["online"], told["status"]) == (AGENT, "hall-1-gateway", True, "online")
    assert ROUTES["agents"].find("pages", body("agents")) == 1
    one = ROUTES["agent"]
    whole = body("agent")
    detail = detail_row(*(one.find(part, whole) for part in ("device", "target", "current")))
    assert {"target_version", "needs_deployment", "reported_at"} <= detail.keys()


def test_figures_in_bytes() -> None:
    told = figures(rows("agent_metrics", "agent_metrics")[0])
    assert told["memory_total"] == 24103 << 20
    assert told["memory_usage"] == 1978 << 20
    assert told["cpu_usage"] == 20


def test_endpoints_and_devices() -> None:
    dryer = next(row for row in map(health_row, rows("device_health", "device_health")) if row["name"] == "dryer-3")
    assert (dryer["connected"], dryer["error_count"]) == (False, 199)
    assert "connection" not in dryer
    assert [row["name"] for row in map(device_row, rows("reported_devices", "reported_devices"))] == [
        "dryer-3", "extruder-1", "extruder-2",
    ]  # fmt: skip


def test_readings_without_repeated_anomalies() -> None:
    for name in ("readings_latest", "readings_timeseries"):
        route = "readings_latest" if name == "readings_latest" else "readings_series"
        told = reading_rows(rows(route, name))
        assert told
        assert all(row["metric"] and row["time"].endswith("Z") for row in told)
    before = rows("readings_latest", "readings_latest_after_anomaly")
    mirrored = [row for row in before if row["extra"].get("source") == "anomaly_event"]
    assert len(reading_rows(before)) == len(before) - len(mirrored)


def test_values_of_two_devices_by_query() -> None:
    series = Series()
    series.learn(AGENT, reading_rows(rows("readings_latest", "readings_latest")))
    series.learn_more(AGENT, reading_rows(rows("readings_series", "readings_timeseries")))
    ask = next(iter(series.asks([AGENT], "1m-avg")))
    metrics = [inner[0]["metric"] for inner in body("readings_query")["results"] if inner]
    found = series.rows(
        ask._replace(metrics=tuple(metrics)), ROUTES["readings_query"].find("results", body("readings_query"))
    )
    pairs = {(row["metric"], row["device_uuid"]) for row in found[AGENT]}
    assert len(pairs) == len(found[AGENT]) >= 3


def test_hours() -> None:
    told = [sums_row(row, "barrel_temp") for row in rows("readings_hourly", "readings_hourly")]
    assert {row["device"]: row["samples"] for row in told if row is not None} == {
        "extruder-2-1f0c9f5e": 9, "dryer-3-1f0c9f5e": 15, "extruder-1-1f0c9f5e": 137,
    }  # fmt: skip
    assert rows("readings_daily", "readings_daily") == []


def test_incidents_and_alerts() -> None:
    listed = rows("incidents", "incidents_all")
    incidents = Incidents("i")
    events, missing = incidents.read(listed, START)
    assert not missing
    resolved = incident_of(ROUTES["incident_resolve"].find("incident", body("incident_resolve")))
    assert resolved is not None
    assert (resolved.agent, resolved.status, resolved.first_seen) == (AGENT, "resolved", 1795297414816)
    live = incident_of(ROUTES["incident"].find("incident", body("incident")))
    assert live is not None
    alerts = Alerts("i", incidents.agent_of)
    alerts.since(0)
    told = alerts.read(rows("alerts", "alerts"))
    assert [event.machine for event in told][-1] == AGENT
    assert {event.kind for event in told} == {"alert_fired"}
    assert len(events) == sum(row["status"] != "resolved" for row in listed)


def test_jobs() -> None:
    (listed,) = (listed_of(row) for row in rows("jobs", "jobs"))
    assert listed is not None
    assert (listed.name, listed.agents, listed.status) == ("bridge:01J", (AGENT,), "QUEUED")
    (status,) = ROUTES["job"].find("statuses", body("job"))
    progress = progress_of(listed, status)
    assert progress is not None
    assert (progress.agent, progress.status) == (AGENT, "QUEUED")
    cancelled = progress_of(listed, ROUTES["job"].find("statuses", body("job_cancelled"))[0])
    assert cancelled is not None
    assert cancelled.is_over


def test_the_pipeline() -> None:
    route, said = ROUTES["ingestion"], body("metrics_ingestion_health")
    row = pipeline_row(*(route.find(name, said) for name in ("healthy", "last", "spooling", "backlog")))
    assert row.keys() >= {"healthy", "spooling"}


@pytest.mark.parametrize("name", ["login", "refresh", "login_must_change"])
def test_tokens(name: str) -> None:
    route = ROUTES["refresh" if name == "refresh" else "login"]
    said = body(name)
    assert route.find("access", said)
    assert bool(route.find("refresh", said)) is (name == "login")
    assert bool(route.find("must_change", said)) is (name == "login_must_change")


def test_what_fails_is_told_apart() -> None:
    assert is_absent(answer("unknown_route"))
    assert is_absent(answer("unknown_route_documented_aggregate"))
    assert is_absent(answer("readings_insert_manual"))
    assert not is_absent(answer("agent_unknown"))
    assert not is_absent(answer("incident_unknown"))
    throttle: Throttle = load_profile("actual").throttle
    limited = answer("login_throttled")
    assert throttle.is_meant(limited.status, "retry-after" in limited.headers, limited.words)
    assert throttle.is_meant(limited.status, False, limited.words)
    broken = answer("jobs_execute_shipped_schema")
    assert not throttle.is_meant(broken.status, "retry-after" in broken.headers, broken.words)
    assert "admin" in words_of(answer("events_recent_as_viewer"))
