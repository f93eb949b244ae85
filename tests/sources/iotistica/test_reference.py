"""Every row of the vendor's page is in our table, with what it is here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.config.vendor_profile import load_profile

TABLE = Path(__file__).parents[3] / "docs/reference/iotistica-rest-api.md"

PAGE = """
GET / /health /metrics
POST auth/register auth/login auth/refresh auth/logout auth/password/reset auth/api-keys
GET users license billing/usage
PUT users/:id
DELETE users/:id
GET agents agents/:uuid agents/:uuid/metrics agents/:uuid/logs agents/:uuid/target-state agents/:uuid/current-state
POST agents/:uuid/target-state
PUT agents/:uuid/target-state
DELETE agents/:uuid/target-state
GET device/:uuid/state
POST device/:uuid/logs
GET agents/:uuid/devices agents/:uuid/device-health
GET agents/:uuid/protocol-adapters/:protocol/:deviceName/history
POST agents/:uuid/devices
PUT agents/:uuid/devices/:name
DELETE agents/:uuid/devices/:name
GET readings/:agent_uuid/latest readings/:agent_uuid/timeseries readings/:agent_uuid/aggregate
POST readings/query readings
GET anomaly/rules anomaly/incidents anomaly/incidents/:id anomaly/alerts
POST anomaly/rules anomaly/alerts
PUT anomaly/rules/:id anomaly/alerts/:id
DELETE anomaly/rules/:id
POST provision/keys provision/agent
GET provision/keys
GET agents/:uuid/jobs agents/:uuid/jobs/:jobId
POST agents/:uuid/jobs agents/:uuid/jobs/:jobId/cancel
GET fleets fleets/:fleetId
POST fleets fleets/:fleetId/agents
PUT fleets/:fleetId
DELETE fleets/:fleetId
GET dashboard-layouts
POST dashboard-layouts
PUT dashboard-layouts/:id
DELETE dashboard-layouts/:id
POST /mosquitto-auth/user
PUT /mosquitto-auth/user/:username
DELETE /mosquitto-auth/user/:username
GET /mosquitto-auth/acl
POST ai/chat dashboard/ai/suggestions
GET grafana/dashboards grafana/alert-rules
POST grafana/update-alert-threshold
GET admin/health admin/system-config
PUT admin/system-config
GET profiles metrics
GET audit/events
"""
"""Methods and paths of the page's rows."""

ROWS = [(words[0], path) for line in PAGE.split("\n") if (words := line.split()) for path in words[1:]]
KINDS = ("source: ", "command: ", "not a bridge's business: ")


def table() -> dict[tuple[str, str], str]:
    """What each row of our table says, by method and path."""
    found = re.findall(r"^\| (GET|POST|PUT|PATCH|DELETE) (\S+)[^|]*\| ([^|]+) \|$", TABLE.read_text(), re.MULTILINE)
    assert len(found) == len({(method, path) for method, path, _ in found})
    return {(method, path): told for method, path, told in found}


@pytest.mark.parametrize(("method", "path"), ROWS)
def test_a_row_of_the_page_is_a_source_a_command_or_says_why_not(method: str, path: str) -> None:
    told = table()[method, path]
    assert told.startswith(KINDS)
    assert len(told.split(": ", 1)[1]) > 3


def test_the_page_has_no_row_less() -> None:
    assert len(ROWS) == 77
    more = table().keys() - set(ROWS)
    assert more == {
        ("GET", "agents/:uuid/reported-devices"), ("PATCH", "anomaly-incidents/:id/resolve"),
        ("GET", "metrics/ingestion-health"),
    }  # fmt: skip


@pytest.mark.parametrize("profile", ["actual", "documented"])
def test_what_a_profile_asks_for_is_a_source_or_a_command_in_the_table(profile: str) -> None:
    known = table()
    for name, route in load_profile(profile).routes.items():
        parts = re.sub(r"\{\w+\}", ":x", route.path)
        matching = [
            told
            for (method, path), told in known.items()
            if method == route.method and re.sub(r":\w+", ":x", path) == parts
        ]
        bracketed = [line for line in TABLE.read_text().split("\n") if f"`{parts}" in re.sub(r":\w+", ":x", line)]
        sayings = matching or [line.split(" | ")[1] for line in bracketed]
        assert any(one.startswith(KINDS[:2]) for one in sayings), name
