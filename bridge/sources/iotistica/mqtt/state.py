"""State: what an agent tells of itself, its deltas merged. Pure.

Source: facts 1.11, "state"; the agent's code (a report is left out where nothing changed; figures come every five
minutes). Optional keys are there only when they changed, so what was told stays true until told otherwise. Its `config`
holds the credentials of the plant's controllers: it is dropped, and so is all that is not named here.
Memory and storage are bytes or, as recorded, megabytes: no agent has less than 4 MiB of the one, or more than 4 TB.
"""

from __future__ import annotations

import math
from typing import Any, Final

from bridge.errors import ProtocolError

TEXTS: Final = ("os_version", "architecture", "agent_version", "local_ip")
NUMBERS: Final = (
    "version", "cpu_usage", "memory_usage", "memory_total", "storage_usage", "storage_total", "temperature", "uptime",
)  # fmt: skip
"""Percent, bytes, bytes, bytes, bytes, °C, seconds."""
SIZES: Final = ("memory_usage", "memory_total", "storage_usage", "storage_total")
MEGABYTE: Final = 1 << 20
SMALLEST: Final = 4 << 20
"""Figures below it are megabytes."""
MOST: Final = 2000
"""Endpoints, devices and interfaces of one agent."""
LONGEST: Final = 500
"""Characters of a text."""

_ENDPOINT: Final = {
    "protocol": "protocol",
    "status": "status",
    "communicationQuality": "communication",
    "lastPoll": "last_poll",
    "lastSeen": "last_seen",
    "lastError": "last_error",
}
_ENDPOINT_NUMBERS: Final = {
    "errorCount": "error_count",
    "responseTimeMs": "response_time",
    "pollSuccessRate": "success_rate",
    "pollInterval": "poll_interval",
}
_DEVICE: Final = {
    "uuid": "device_uuid",
    "endpoint_uuid": "endpoint_uuid",
    "name": "name",
    "protocol": "protocol",
    "identifier": "identifier",
    "lastSeenAt": "last_seen",
}
_INTERFACE: Final = ("name", "ip4", "ip6", "mac", "type", "operstate", "ssid")


class State:
    """One agent's state, as it is known."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        """Scalars and `network_interfaces`."""
        self.endpoints: list[dict[str, Any]] | None = None
        """Health of its endpoints; None while it was not told."""
        self.devices: list[dict[str, Any]] | None = None
        """Devices behind it; None while they were not told."""

    def payload(self) -> dict[str, Any]:
        """As the channel `state` has it: what was told, and how many endpoints there are."""
        if self.endpoints is None:
            return self.told
        enabled = [row for row in self.endpoints if row["enabled"]]
        lost = sum(row["connected"] is False for row in enabled)
        return {**self.told, "endpoints": {"total": len(self.endpoints), "enabled": len(enabled), "lost": lost}}

    def merge(self, delta: Any) -> frozenset[str]:
        """Take a report in; gives what was in it of "state", "endpoints" and "devices". Raises ProtocolError."""
        if not isinstance(delta, dict):
            raise ProtocolError("an agent's state is no object")
        told: dict[str, Any] = {}
        for name in TEXTS:
            if name in delta:
                told[name] = _text(delta[name])
        for name in NUMBERS:
            if name in delta:
                told[name] = number(delta[name])
        if isinstance(delta.get("is_online"), bool):
            told["is_online"] = delta["is_online"]
        if isinstance(delta.get("apps"), dict | list):
            told["apps"] = len(delta["apps"])
        if isinstance(delta.get("network_interfaces"), list):
            told["network_interfaces"] = [_interface(one) for one in _objects(delta["network_interfaces"])]
        self.told = {**self.told, **told}
        self.told |= {name: in_bytes(told[name]) for name in SIZES if name in told}
        found = {"state"}
        if isinstance(delta.get("endpoints_health"), dict | list):
            self.endpoints = _endpoints(delta["endpoints_health"])
            found.add("endpoints")
        if isinstance(delta.get("devices"), list):
            self.devices = [_device(one) for one in _objects(delta["devices"])]
            found.add("devices")
        return frozenset(found)


def report_of(message: Any, agent: str) -> Any:
    """The agent's own report in {"<uuid>": {…}}. Raises ProtocolError."""
    if not isinstance(message, dict):
        raise ProtocolError("an agent's state is no object")
    for uuid, report in message.items():
        if isinstance(uuid, str) and uuid.lower() == agent:
            return report
    raise ProtocolError("the state is not of the agent whose topic it came on")


def _endpoints(health: dict[str, Any] | list[Any]) -> list[dict[str, Any]]:
    rows = (
        [{"name": name, **row} for name, row in health.items() if isinstance(row, dict)]
        if isinstance(health, dict)
        else [row for row in _objects(health) if row.get("name")]
    )
    return [_endpoint(row) for row in rows[:MOST]]


def _endpoint(row: dict[str, Any]) -> dict[str, Any]:
    status = _text(row.get("status"))
    told: dict[str, Any] = {"name": _text(row["name"])}
    told |= {ours: _text(row.get(theirs)) for theirs, ours in _ENDPOINT.items()}
    told |= {ours: number(row.get(theirs)) for theirs, ours in _ENDPOINT_NUMBERS.items()}
    told["connected"] = row["connected"] if isinstance(row.get("connected"), bool) else None
    told["enabled"] = row["enabled"] if isinstance(row.get("enabled"), bool) else status != "disabled"
    return told


def _device(row: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {ours: _text(row.get(theirs)) for theirs, ours in _DEVICE.items()}
    told["enabled"] = bool(row.get("enabled", True))
    return told


def _interface(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _text(row.get(name)) for name in _INTERFACE}


def _objects(rows: list[Any]) -> list[dict[str, Any]]:
    return [row for row in rows[:MOST] if isinstance(row, dict)]


def _text(value: Any) -> str | None:
    return value[:LONGEST] if isinstance(value, str) and value else None


def in_bytes(size: float | None) -> int | None:
    """A size that may have been told in megabytes."""
    if size is None:
        return None
    return round(size * MEGABYTE if size < SMALLEST else size)


def number(value: Any) -> int | float | None:
    """A number that may be written as a text, as the vendor's database does (facts 1.4); None where it is none."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value
