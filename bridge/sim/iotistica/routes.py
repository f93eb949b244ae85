"""The two truths as one table each: method, path, limit, who may, and what answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.sim.iotistica.call import Call

if TYPE_CHECKING:
    from bridge.sim.iotistica.api import Api

Answer = Callable[[Call], Any]

OPEN, USER, ADMIN, DEVICE = "-", "user", "admin", "device"
"""Who may: anybody, a user's token, an administrator's, the device's own key."""
EITHER = "either"
"""The published page lets any route be called with a user's token or a device's key."""


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table."""

    method: str
    template: str
    """Below /api/v1, with {names}; from the root where it begins with two slashes."""
    who: str
    answer: Answer
    scope: str = "global"
    status: int = 200

    @property
    def pattern(self) -> re.Pattern[str]:
        """What its paths look like."""
        path = self.template[1:] if self.template.startswith("//") else "/api/v1" + self.template
        return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))


def actual(api: Api) -> list[Route]:
    """What the code answers (facts 1.2), as far as a bridge could want it."""
    state, readings, jobs, incidents, audit = api.state, api.readings, api.jobs, api.incidents, api.audit
    return [
        *_outside(api),
        *_auth(api),
        Route("GET", "/agents", USER, state.list),
        Route("GET", "/agents/{uuid}", OPEN, state.one),
        Route("GET", "/agents/{uuid}/metrics", OPEN, state.metrics, "device"),
        Route("GET", "/agents/{uuid}/current-state", OPEN, state.current_state),
        Route("GET", "/agents/{uuid}/target-state", DEVICE, state.target_state),
        Route("POST", "/agents/{uuid}/target-state", DEVICE, lambda call: state.set_target(call, True)),
        Route("PUT", "/agents/{uuid}/target-state", OPEN, lambda call: state.set_target(call, False)),
        Route("DELETE", "/agents/{uuid}/target-state", DEVICE, state.clear_target),
        Route("POST", "/agents/{uuid}/deploy", OPEN, state.deploy),
        Route("GET", "/device/{uuid}/state", DEVICE, state.device_state),
        Route("GET", "/agents/{uuid}/devices", USER, state.devices, "device"),
        Route("GET", "/agents/{uuid}/reported-devices", USER, state.reported, "device"),
        Route("GET", "/agents/{uuid}/device-health", USER, state.health, "device"),
        Route(
            "GET", "/agents/{uuid}/protocol-adapters/{protocol}/{name}/history", USER, state.adapter_history, "device"
        ),
        Route("GET", "/readings/{agent_uuid}/latest", USER, readings.latest),
        Route("GET", "/readings/{agent_uuid}/timeseries", USER, readings.timeseries),
        Route("GET", "/readings/{agent_uuid}/summary", USER, readings.summary),
        Route("GET", "/readings/{agent_uuid}/{metric}/hourly", USER, readings.hourly),
        Route("GET", "/readings/{agent_uuid}/{metric}/daily", USER, readings.daily),
        Route("POST", "/readings/query", USER, readings.query),
        Route("GET", "/metrics/catalog", USER, readings.catalog),
        Route("GET", "/metrics/ingestion-health", USER, readings.ingestion_health),
        Route("GET", "/anomaly-incidents", USER, incidents.list),
        Route("GET", "/anomaly-incidents/stats", USER, incidents.stats),
        Route("GET", "/anomaly-incidents/{id}", USER, incidents.one),
        Route("PATCH", "/anomaly-incidents/{id}/resolve", USER, api.resolve),
        Route("GET", "/anomaly-alerts", USER, api.alerts),
        Route("GET", "/anomaly-alerts/{id}", USER, api.alert),
        Route("POST", "/jobs/execute", USER, api.execute, status=201),
        Route("GET", "/jobs/executions", USER, jobs.list),
        Route("GET", "/jobs/executions/{job}", USER, jobs.one),
        Route("POST", "/jobs/executions/{job}/cancel", USER, api.cancel),
        Route("GET", "/agents/{uuid}/jobs", ADMIN, jobs.of_agent),
        Route("GET", "/fleets", USER, state.fleets),
        Route("GET", "/fleets/{id}", USER, state.fleet),
        Route("GET", "/events/recent", ADMIN, audit.recent),
        Route("GET", "/events/search", ADMIN, audit.search),
        Route("GET", "/events/device/{uuid}", ADMIN, audit.of_device),
    ]


def documented(api: Api) -> list[Route]:
    """What the published page lists, as far as a bridge could want it; bodies where it is silent are the code's."""
    state, readings, jobs, incidents, audit = api.state, api.readings, api.jobs, api.incidents, api.audit
    return [
        *_outside(api),
        *_auth(api),
        Route("GET", "/agents", EITHER, state.list),
        Route("GET", "/agents/{uuid}", EITHER, state.one),
        Route("GET", "/agents/{uuid}/metrics", EITHER, state.metrics, "device"),
        Route("GET", "/agents/{uuid}/target-state", EITHER, state.target_state),
        Route("POST", "/agents/{uuid}/target-state", EITHER, lambda call: state.set_target(call, True)),
        Route("PUT", "/agents/{uuid}/target-state", EITHER, lambda call: state.set_target(call, True)),
        Route("DELETE", "/agents/{uuid}/target-state", EITHER, state.clear_target),
        Route("GET", "/agents/{uuid}/current-state", EITHER, state.current_state),
        Route("GET", "/device/{uuid}/state", DEVICE, state.device_state),
        Route("GET", "/agents/{uuid}/devices", EITHER, state.devices, "device"),
        Route("GET", "/agents/{uuid}/device-health", EITHER, state.health, "device"),
        Route("GET", "/readings/{agent_uuid}/latest", EITHER, readings.latest),
        Route("GET", "/readings/{agent_uuid}/timeseries", EITHER, readings.timeseries),
        Route("GET", "/readings/{agent_uuid}/aggregate", EITHER, readings.aggregate),
        Route("POST", "/readings/query", EITHER, readings.query),
        Route("POST", "/readings", EITHER, readings.insert, status=201),
        Route("GET", "/metrics", EITHER, readings.catalog),
        Route("GET", "/anomaly/incidents", EITHER, incidents.list),
        Route("GET", "/anomaly/incidents/{id}", EITHER, incidents.one),
        Route("GET", "/anomaly/alerts", EITHER, incidents.fired),
        Route("GET", "/agents/{uuid}/jobs", EITHER, jobs.of_agent),
        Route("POST", "/agents/{uuid}/jobs", EITHER, api.execute_for, status=201),
        Route("GET", "/agents/{uuid}/jobs/{job}", EITHER, jobs.one),
        Route("POST", "/agents/{uuid}/jobs/{job}/cancel", EITHER, api.cancel),
        Route("GET", "/fleets", EITHER, state.fleets),
        Route("GET", "/fleets/{id}", EITHER, state.fleet),
        Route("GET", "/audit/events", EITHER, audit.recent),
    ]


def _outside(api: Api) -> list[Route]:
    return [
        Route("GET", "//", OPEN, api.root, ""),
        Route("GET", "//health", OPEN, api.health, ""),
        Route("GET", "//metrics", OPEN, api.readings.prometheus, ""),
    ]


def _auth(api: Api) -> list[Route]:
    return [
        Route("POST", "/auth/login", OPEN, api.log_in, "auth"),
        Route("POST", "/auth/refresh", OPEN, api.refresh, "auth"),
        Route("POST", "/auth/logout", USER, api.log_out, "auth"),
    ]
