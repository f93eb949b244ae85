from __future__ import annotations

import asyncio
import itertools
from typing import Any

import httpx
import orjson
import pytest

from bridge.errors import AuthFailed, NotConnected
from bridge.model.event import Event
from bridge.model.observation import Condition, Inventory
from bridge.model.status import StatusCode
from tests.sources.iotistica.cloud import (
    AGENT,
    NOT_FOUND,
    OTHER,
    At,
    Cloud,
    Crash,
    agent_row,
    incident_row,
    reading,
)


async def test_agents_are_found_and_read_and_nothing_secret_or_random_is_told() -> None:
    at = At()
    async with at.running(at.rest(has_mqtt=False)):
        channels = ("agent", "detail", "health", "devices", "state", "incidents", "pipeline", "readings")
        await at.until(lambda: all(at.heard.channel(one) for one in channels))
        (found,) = at.heard.of(Inventory)[0].appeared
        assert (found.key, found.identity["name"]) == (AGENT, "press")
        assert at.heard.channel("detail")[-1] == {
            "target_version": 3, "current_version": 3, "needs_deployment": False, "in_sync": True,
            "reported_at": "2026-03-10T08:59:00.000Z", "provisioning_state": "registered",
        }  # fmt: skip
        assert at.heard.channel("health")[-1] == [
            {
                "name": "plc1", "protocol": "modbus", "status": "healthy", "enabled": True, "connected": True,
                "poll_interval": 5000, "error_count": 0,
            }
        ]  # fmt: skip
        await at.until(lambda: "memory_total" in at.heard.channel("state")[-1])
        assert at.heard.channel("state")[-1] == {
            "cpu_usage": 12.5, "memory_usage": 1978 << 20, "memory_total": 24103 << 20, "agent_version": "1.2.3",
            "is_online": True, "endpoints": {"total": 1, "enabled": 1, "lost": 0},
        }  # fmt: skip
        assert at.heard.channel("incidents")[-1] == {"open": 0, "active": 0, "info": 0, "warning": 0, "critical": 0}
        told = repr(at.heard.items)
        assert "tell-nobody" not in told
        assert "'io'" not in told
        assert "'pw'" not in told


async def test_all_pages_of_agents_are_read_and_who_leaves_twice_has_gone() -> None:
    at = At()
    at.cloud.agents = [agent_row(f"00000000-0000-4000-8000-{number:012d}", f"a{number}") for number in range(130)]
    async with at.running(at.rest()):
        await at.until(lambda: sum(len(one.appeared) for one in at.heard.of(Inventory)) == 130)
        assert [one.url.params["page"] for one in at.cloud.asked("GET /api/v1/agents[?]")][:2] == ["1", "2"]
        gone = at.cloud.agents.pop(100)
        at.heard.items.clear()
        await at.until(lambda: [one for one in at.heard.of(Inventory) if one.vanished], step=30)
        assert [one.vanished for one in at.heard.of(Inventory) if one.vanished] == [(gone["uuid"],)]


async def test_agents_go_offline_and_come_back_with_one_event_each() -> None:
    at = At()
    async with at.running(at.rest()):
        await at.until(lambda: at.heard.channel("agent"))
        for online, kind in ((False, "agent_offline"), (True, "agent_online"), (False, "agent_offline")):
            at.cloud.agents[0]["is_online"] = online
            before = len(at.heard.events(kind))
            await at.until(lambda kind=kind, before=before: len(at.heard.events(kind)) == before + 1, step=10)
    assert [event.kind for event in at.heard.events()] == ["agent_offline", "agent_online", "agent_offline"]
    async with at.running(at.rest()):
        at.cloud.agents[0]["is_online"] = True
        await at.until(lambda: len(at.heard.events("agent_online")) == 2)
    assert len({event.id for event in at.heard.of(Event)}) == 4


async def test_a_new_target_state_is_told_once_also_over_a_restart() -> None:
    at = At()
    async with at.running(at.rest()):
        await at.until(lambda: at.heard.channel("detail"))
    at.cloud.detail["target"] = 4
    async with at.running(at.rest()):
        await at.until(lambda: at.heard.events("target_state_changed"), step=10)
        assert at.heard.channel("detail")[-1]["in_sync"] is False
        await at.clock.advance(700)
    (event,) = at.heard.events("target_state_changed")
    assert dict(event.data) == {"version": 4, "before": 3}


async def test_incidents_open_change_and_end_with_an_event_for_each_step() -> None:
    at = At()
    async with at.running(at.rest()):
        await at.until(lambda: at.heard.channel("incidents"))
        row = at.cloud.incidents["i1"] = incident_row("i1", at.cloud.now_ms())
        await at.until(lambda: at.heard.events("incident_opened"), step=10)
        for status, count in (("open", "3"), ("active", "4"), ("active", "5"), ("active", "9")):
            row.update(status=status, event_count=count, last_seen=at.cloud.now_ms())
            await at.clock.advance(31)
        assert at.heard.channel("incidents")[-1]["active"] == 1
        row["status"], row["acknowledged_by"] = "resolved", "somebody"
        await at.until(lambda: at.heard.events("incident_resolved"), step=10)
    assert [event.kind for event in at.heard.events()] == [
        "incident_opened", "incident_updated", "incident_updated", "incident_resolved",
    ]  # fmt: skip
    resolved = at.heard.events("incident_resolved")[0]
    assert (resolved.machine, resolved.message) == (AGENT, "Anomaly at Press 1 pressure is resolved by somebody")
    assert at.heard.channel("incidents")[-1]["last"]["status"] == "resolved"


async def test_an_incident_that_is_deleted_is_over() -> None:
    at = At()
    async with at.running(at.rest()):
        at.cloud.incidents["i1"] = incident_row("i1", at.cloud.now_ms())
        await at.until(lambda: at.heard.events("incident_opened"), step=10)
        at.cloud.incidents.clear()
        await at.until(lambda: at.heard.events("incident_resolved"), step=10)


async def test_alerts_are_told_once_also_those_that_were_written_late() -> None:
    at = At()

    def alert(identifier: str, ago: float) -> dict[str, Any]:
        created = at.clock.now().timestamp() - ago
        return {"alert_id": identifier, "severity": "critical", "message": "Too high", "affected_agents": [AGENT],
                "created_at": _iso(created)}  # fmt: skip

    at.cloud.alerts.append(alert("before", 100))
    async with at.running(at.rest()):
        await at.until(lambda: at.heard.channel("incidents"))
        at.cloud.alerts.append(alert("a1", 0))
        await at.clock.advance(120)
        at.cloud.alerts.append(alert("late", 200))
        at.cloud.alerts.append(alert("a2", 1))
        await at.clock.advance(120)
    names = [event.id.rpartition(":")[2] for event in at.heard.events("alert_fired")]
    assert [name for name in names if name != "before"] == ["a1", "late", "a2"]
    assert len(at.heard.of(Event)) == len(names)


async def test_jobs_are_judged_by_each_agent_and_not_by_their_own_word() -> None:
    at = At()
    async with at.running(at.rest()):
        await at.until(lambda: "JobList" in at.heard.readings())
        job = at.cloud.add_job("update", [AGENT, OTHER])
        await at.until(lambda: len(at.heard.events("job_queued")) == 2, step=10)
        job["status"] = "SUCCEEDED"  # the vendor's early word (facts 1.8)
        at.cloud.statuses["job-1"][0].update(status="SUCCEEDED", exit_code=0, stdout="done")
        await at.until(lambda: at.heard.events("job_succeeded"), step=10)
        assert [event.machine for event in at.heard.events("job_succeeded")] == [AGENT]
        at.cloud.statuses["job-1"][1].update(status="TIMED_OUT")
        await at.until(lambda: at.heard.events("job_timed_out"), step=10)
        shown = at.heard.channel("jobs")[-1]
        assert (shown["status"], shown["exit_code"], shown["stdout"]) == ("SUCCEEDED", 0, "done")
        looked = len(at.cloud.asked("executions/job-1"))
        await at.clock.advance(300)
        assert len(at.cloud.asked("executions/job-1")) == looked


async def test_the_last_job_and_incident_are_shown_again_after_a_restart_though_they_are_over() -> None:
    at = At()
    async with at.running(at.rest()):
        await at.until(lambda: at.heard.channel("jobs") and at.heard.channel("incidents"))
        at.cloud.add_job("update", [AGENT])
        row = at.cloud.incidents["i1"] = incident_row("i1", at.cloud.now_ms())
        await at.until(lambda: at.heard.events("incident_opened") and at.heard.events("job_queued"), step=10)
        at.cloud.statuses["job-1"][0].update(status="SUCCEEDED", exit_code=0)
        row["status"] = "resolved"
        await at.until(lambda: at.heard.events("incident_resolved") and at.heard.events("job_succeeded"), step=10)
        await at.clock.advance(100)
    at.heard.items.clear()
    async with at.running(at.rest()):
        await at.until(lambda: at.heard.channel("jobs") and at.heard.channel("incidents"), step=10)
    assert at.heard.channel("jobs")[0]["status"] == "SUCCEEDED"
    assert at.heard.channel("incidents")[0]["last"]["status"] == "resolved"
    assert at.heard.events() == []


async def test_jobs_that_were_over_before_are_no_news() -> None:
    at = At()
    at.cloud.add_job("old", [AGENT])
    at.cloud.statuses["job-1"][0]["status"] = "FAILED"
    await at.clock.advance(60)
    async with at.running(at.rest()):
        await at.until(lambda: at.heard.channel("jobs"), step=10)
        assert at.heard.channel("jobs")[-1]["status"] == "FAILED"
    assert not at.heard.of(Event)


async def test_audit_events_are_the_administrator_s_and_their_data_is_nobody_s() -> None:
    at = At()
    at.cloud.audit.append(_audit(at, "e0", "agent.provisioned"))
    await at.clock.advance(60)
    async with at.running(at.rest(audit=True)):
        await at.until(lambda: at.heard.readings().get("AuditEvents") == "not allowed")
        at.cloud.is_admin = True
        at.cloud.audit.append(_audit(at, "e1", "agent.provisioned"))
        await at.until(lambda: at.heard.readings().get("AuditEvents") == "ok", step=60)
        at.cloud.audit += [_audit(at, "e2", "device.online"), _audit(at, "e3", "agent.provisioned")]
        await at.clock.advance(200)
    assert [event.id for event in at.heard.events("audit")] == ["i:audit:e3"]
    assert "tell-nobody" not in repr(at.heard.items)
    assert not at.heard.of(Condition)


async def test_readings_are_polled_twenty_metrics_a_call_and_two_devices_stay_two() -> None:
    at = At()
    at.cloud.readings = [reading(f"m{number:02d}", number, "2026-03-10T08:59:00.000Z") for number in range(45)]
    at.cloud.readings.append(reading("m00", 7, "2026-03-10T08:59:10.000Z", device="dev-2"))
    at.cloud.readings.append(reading("note", None, "2026-03-10T08:59:00.000Z"))
    anomaly = reading("m01", 99, "2026-03-10T08:59:30.000Z")
    anomaly["extra"] = {"source": "anomaly_event", "deviceUuid": "ep-1"}
    async with at.running(at.rest(has_mqtt=False)):
        await at.until(lambda: at.cloud.asked("readings/query"))
        await at.clock.advance(70)
        queries = [len(orjson.loads(one.content)["queries"]) for one in at.cloud.asked("readings/query")][:3]
        assert queries == [20, 20, 6]
        rows = {(row["metric"], row.get("device_uuid")): row for rows in at.heard.channel("readings") for row in rows}
        assert rows["m00", "dev-1"]["value"] == 0
        assert rows["m00", "dev-2"] == {
            "metric": "m00", "value": 7, "unit": "bar", "protocol": "modbus", "quality": "good",
            "time": "2026-03-10T08:59:10.000Z", "device_uuid": "dev-2", "device": "name of dev-2",
            "endpoint_uuid": "ep-1", "quality_code": None,
        }  # fmt: skip
        assert [one.url.params["metric"] for one in at.cloud.asked("timeseries")] == ["m00"]
        at.cloud.readings.append(anomaly)
        at.heard.items.clear()
        await at.clock.advance(700)
        latest = [rows for rows in at.heard.channel("readings") if any(row["metric"] == "note" for row in rows)][-1]
        assert all(row["metric"] != "m01" for row in latest)


async def _devices_of_first_poll(at: At, **more: Any) -> set[tuple[str, str]]:
    """Metrics and devices that were told before the second poll is due."""
    metrics, devices = [f"m{number:02d}" for number in range(12)], ("dev-1", "dev-2", "dev-3")
    at.cloud.readings = [
        reading(metric, 1.0, f"2026-03-10T08:59:0{number}.000Z", device=device)
        for number, device in enumerate(devices)
        for metric in metrics
    ]
    async with at.running(at.rest(has_mqtt=False, **more)):
        await at.until(lambda: at.heard.channel("readings"))
        await at.clock.advance(29)
        return {(row["metric"], row["device_uuid"]) for rows in at.heard.channel("readings") for row in rows}


async def test_every_device_of_a_metric_is_told_by_the_first_poll() -> None:
    at = At()
    assert len(await _devices_of_first_poll(at)) == 36
    assert len(at.cloud.asked("timeseries")) == 12


@pytest.mark.parametrize("is_in_profile", [True, False])
async def test_every_device_is_told_where_nothing_can_be_queried(is_in_profile: bool) -> None:
    at = At()
    at.cloud.hooks.append(
        lambda request, cloud: httpx.Response(404, json=NOT_FOUND) if "query" in request.url.path else None
    )
    changes = {} if is_in_profile else {"routes": {"readings_query": None}}
    assert len(await _devices_of_first_poll(at, profile_changes=changes)) == 36
    assert len(at.cloud.asked("readings/query")) == is_in_profile
    assert at.heard.readings()["Readings"] == "ok"


async def test_devices_are_told_on_when_what_there_is_is_looked_at_again() -> None:
    """Every ten minutes `latest` says one device of each metric only: the others are no less known for it."""
    at = At()
    async with at.running(at.rest(has_mqtt=False)):
        at.cloud.readings = [reading("m", 1.0, "2026-03-10T08:59:00.000Z", device=one) for one in ("dev-1", "dev-2")]
        await at.until(lambda: at.cloud.asked("timeseries"))
        for _ in range(25):
            at.heard.items.clear()
            await at.clock.advance(31)
            assert {row["device_uuid"] for rows in at.heard.channel("readings") for row in rows} == {"dev-1", "dev-2"}
        assert len(at.cloud.asked("latest")) == 2
        assert len(at.cloud.asked("timeseries")) == 2


async def test_with_mqtt_no_reading_and_no_state_is_polled() -> None:
    at = At()
    rest = at.rest()
    async with at.running(rest):
        await at.until(lambda: at.heard.channel("detail"))
        await at.clock.advance(120)
    assert not at.cloud.asked("readings|agents/[^/]+/metrics")
    assert {"readings", "state"}.isdisjoint(rest.channels)


async def test_hours_and_days_are_read_of_metrics_that_are_named() -> None:
    at = At()
    async with at.running(at.rest(hourly=["m01"])):
        await at.until(lambda: at.heard.channel("hourly") and at.heard.channel("daily"))
        assert at.heard.channel("hourly")[-1] == [
            {
                "metric": "m01", "device": "Press 1", "time": "2026-03-10T08:00:00.000Z", "average": 4.5, "minimum": 1,
                "maximum": 9, "samples": 5,
            }
        ]  # fmt: skip


async def test_what_the_server_does_not_have_or_cannot_takes_nothing_else_with_it() -> None:
    at = At()

    def broken(request: httpx.Request, cloud: Cloud) -> httpx.Response | None:
        if "anomaly-alerts" in request.url.path:
            return cloud.reply(500, {"success": False, "error": "Failed to retrieve anomaly alerts"})
        if "fleets" in request.url.path:
            return httpx.Response(404, json=NOT_FOUND)
        if "device-health" in request.url.path:
            return cloud.reply(500, {"error": "Failed"})
        return None

    at.cloud.hooks.append(broken)
    async with at.running(at.rest()) as run:
        await at.until(lambda: at.heard.readings().get("Alerts") == "failed")
        await at.until(lambda: at.heard.readings().get("Fleets") == "not offered")
        await at.clock.advance(200)
        assert not run.done()
        assert at.heard.readings()["Incidents"] == "ok"
        told = {(one.machine, one.channel, one.status) for one in at.heard.of(Condition)}
        assert (AGENT, "health", StatusCode.UncertainNoCommunicationLastUsableValue) in told
        at.cloud.hooks.clear()
        await at.until(lambda: at.heard.channel("health"), step=10)
        await at.until(lambda: at.heard.readings().get("Alerts") == "ok", step=10)


async def test_a_server_that_is_gone_ends_the_run_and_the_next_one_goes_on_with_its_token() -> None:
    at = At()
    rest = at.rest()
    async with at.running(rest) as run:
        await at.until(lambda: at.heard.channel("agent"))

        def gone(request: httpx.Request, cloud: Cloud) -> httpx.Response | None:
            raise httpx.ConnectError("refused")

        at.cloud.hooks.append(gone)
        await at.until(run.done, step=5)
        with pytest.raises(NotConnected):
            await run
        assert not rest.is_connected
    at.cloud.hooks.clear()
    logins = len(at.cloud.asked("auth/login"))
    async with at.running(rest):
        at.heard.items.clear()
        await at.until(lambda: at.heard.channel("agent"))
        assert rest.is_connected
    assert len(at.cloud.asked("auth/login")) == logins


async def test_a_password_that_was_changed_ends_the_run() -> None:
    at = At()
    async with at.running(at.rest()) as run:
        await at.until(lambda: at.heard.channel("agent"))
        at.cloud.refreshes.clear()
        at.cloud.tokens.clear()
        at.cloud.hooks.append(
            lambda r, cloud: cloud.reply(401, {"error": "Unauthorized"}) if "login" in r.url.path else None
        )
        assert at.heard.readings()["RestConnected"] is True
        await at.until(run.done, step=5)
        with pytest.raises(AuthFailed):
            await run
    assert at.heard.readings()["RestConnected"] is False


async def _life(at: At, crash_at: int | None) -> bool:
    """One scripted day of the cloud, with a crash of the bridge at the n-th thing it publishes; whether it crashed."""
    counter, is_dead = itertools.count(), False

    def crash(item: object) -> bool:
        nonlocal is_dead
        is_dead = is_dead or (isinstance(item, Event) and crash_at is not None and next(counter) == crash_at)
        return is_dead

    at.heard.crash, at.heap.crash = crash, lambda: is_dead  # what is dead keeps nothing
    job = at.cloud.add_job("update", [AGENT])
    at.cloud.incidents["i1"] = incident_row("i1", at.cloud.now_ms())
    steps: list[Any] = [
        lambda: at.cloud.agents[0].update(is_online=False),
        lambda: at.cloud.statuses[job["job_id"]][0].update(status="SUCCEEDED"),
        lambda: at.cloud.incidents["i1"].update(status="active", event_count="9"),
        lambda: at.cloud.alerts.append(
            {"alert_id": "a1", "severity": "info", "created_at": _iso(at.clock.now().timestamp())}
        ),
        lambda: at.cloud.detail.update(target=4),
        lambda: at.cloud.incidents["i1"].update(status="resolved"),
        lambda: at.cloud.agents[0].update(is_online=True),
    ]
    crashed = False
    run = asyncio.create_task(at.rest(detail_period=60).run(at.heard))
    try:
        for step in [lambda: None, *steps, lambda: None]:
            step()
            for _ in range(14):
                await at.clock.advance(10)
                if run.done():
                    with pytest.raises((Crash, BaseExceptionGroup)):
                        await run
                    crashed, is_dead = True, False
                    run = asyncio.create_task(at.rest(detail_period=60).run(at.heard))
    finally:
        run.cancel()
        await asyncio.wait({run})
    return crashed


EXPECTED = sorted(
    [
        "job_queued", "incident_opened", "agent_offline", "job_succeeded", "incident_updated", "alert_fired",
        "target_state_changed", "incident_resolved", "agent_online",
    ]
)  # fmt: skip


@pytest.mark.parametrize("crash_at", [None, *range(9)])
async def test_a_crash_at_any_event_loses_none_and_doubles_none(crash_at: int | None) -> None:
    at = At()
    async with at.running(at.rest()):
        await at.until(lambda: at.heap.document and at.heard.channel("detail") and at.heard.channel("incidents"))
        await at.clock.advance(60)
    assert await _life(at, crash_at) is (crash_at is not None)
    assert sorted(event.kind for event in at.heard.events()) == EXPECTED


def _iso(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _audit(at: At, identifier: str, kind: str) -> dict[str, Any]:
    return {
        "id": "2", "event_id": identifier, "timestamp": at.clock.now().isoformat(), "type": kind, "title": "Something",
        "aggregate_type": "agent", "aggregate_id": AGENT, "data": {"password": "tell-nobody"},
    }  # fmt: skip
