"""Rows: Iotistica's answers as channels have them. Pure.

Numbers come as texts (every bigint and numeric), times as ISO or as milliseconds, names in two styles; what must not be
shown (a key's hash, credentials of connections, configurations) is not named here, and so goes nowhere: each row is
made of the fields that are wanted, never by taking some away. Source: facts 1.4, 1.5, 1.7.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

TEXT: Final = 300
"""Characters of a text that are kept."""

QUALITIES: Final = ("good", "bad", "uncertain", "stale", "unknown")

MEGABYTE: Final = 1 << 20
SMALLEST: Final = 4 << 20
"""Sizes below it are megabytes: no agent has less than 4 MiB of memory, or more than 4 TB."""

ANOMALY: Final = "anomaly_event"
"""`extra.source` of rows that are no readings: they repeat an anomaly (facts 1.5)."""

_NUMBER: Final = re.compile(r"\s*-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?\s*\Z")


def number(value: Any) -> float | int | None:
    """A number, also written as a text; None for anything else, and for what is none (NaN)."""
    if isinstance(value, str) and _NUMBER.match(value):
        value = float(value) if any(mark in value for mark in ".eE") else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def whole(value: Any) -> int | None:
    """A whole number, also written as a text."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def text(value: Any) -> str | None:
    """A text that says something, shortened."""
    return value[:TEXT] if isinstance(value, str) and value else None


def flag(value: Any) -> bool | None:
    """True or false, and nothing else."""
    return value if isinstance(value, bool) else None


def moment(value: Any) -> str | None:
    """A time as ISO 8601 in UTC: of ISO (without a zone: UTC), or of milliseconds since 1970, also as a text."""
    found = milliseconds(value)
    return None if found is None else iso(found)


def milliseconds(value: Any) -> int | None:
    """A time as milliseconds since 1970."""
    told = number(value)
    if told is not None:
        return int(told) if 0 < told < 1e14 else None
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return round(found.timestamp() * 1000)


def iso(ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601: 2026-03-10T09:00:00.000Z."""
    stamp = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def uuid_of(row: Mapping[str, Any]) -> str | None:
    """An agent's UUID, in lower case."""
    found = text(row.get("uuid")) or text(row.get("agent_uuid")) or text(row.get("id"))
    return found.lower() if found else None


def agent_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The channel `agent`. `metrics.io` and `.pw` are random numbers (facts 1.4): never taken."""
    tags = row.get("tags")
    told = {
        "uuid": uuid_of(row),
        "name": text(row.get("name")) or text(row.get("device_name")),
        "online": flag(row.get("is_online")),
        "last_seen": moment(row.get("lastSeen") or row.get("last_connectivity_event")),
        "reported_at": moment(row.get("last_reported")),
        "type": text(row.get("device_type") or row.get("type")),
        "location": text(row.get("location")),
        "status": text(row.get("status")),
        "provisioning_state": text(row.get("provisioning_state")),
        "agent_version": text(row.get("agent_version")),
        "os_version": text(row.get("os_version")),
        "architecture": text(row.get("architecture")),
        "fleet_uuid": text(row.get("fleet_uuid")),
        "target_apps": whole(row.get("target_apps_count")),
        "current_apps": whole(row.get("current_apps_count")),
        "tags": _tags(tags) if isinstance(tags, dict) else None,
    }
    return _known(told)


def figures(row: Mapping[str, Any]) -> dict[str, Any]:
    """What an agent says of itself, named as in its MQTT state; memory and storage in bytes."""
    told = {
        "cpu_usage": number(row.get("cpu_usage")),
        "temperature": number(_first(row, "temperature", "cpu_temp", "cpu_temperature")),
        **sizes(row, "memory"),
        **sizes(row, "storage"),
        "uptime": number(row.get("uptime")),
        "os_version": text(row.get("os_version")),
        "architecture": text(row.get("architecture")),
        "agent_version": text(row.get("agent_version")),
        "local_ip": text(row.get("local_ip") or row.get("ip_address")),
    }
    return _known(told)


def sizes(row: Mapping[str, Any], what: str) -> dict[str, float | None]:
    """Usage and total of memory or storage in bytes; agents report megabytes, older ones bytes (facts 1.10, recorded).

    The total says which: a usage may be small.
    """
    used, total = number(row.get(f"{what}_usage")), number(row.get(f"{what}_total"))
    scale = MEGABYTE if max(used or 0, total or 0) < SMALLEST else 1
    return {
        f"{what}_usage": None if used is None else used * scale,
        f"{what}_total": None if not total else total * scale,
    }


def detail_row(device: Any, target: Any, current: Any) -> dict[str, Any]:
    """The channel `detail`: versions only; the answer also holds the hash of the agent's key and its configuration."""
    device, target, current = (part if isinstance(part, dict) else {} for part in (device, target, current))
    wanted, running = whole(target.get("version")), whole(current.get("version"))
    pending = flag(target.get("needs_deployment"))
    told = {
        "target_version": wanted,
        "current_version": running,
        "needs_deployment": pending,
        "in_sync": None if wanted is None or running is None else wanted == running and not pending,
        "last_deployed_at": moment(target.get("last_deployed_at")),
        "reported_at": moment(current.get("reported_at")),
        "provisioning_state": text(device.get("provisioning_state")),
        "active": flag(device.get("is_active")),
    }
    return _known(told)


def health_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One endpoint of the channel `health`. `connection` may hold a PLC's password, and is not taken."""
    told = {
        "name": text(row.get("name")),
        "uuid": text(row.get("uuid") or row.get("endpoint_uuid")),
        "protocol": text(row.get("protocol")),
        "status": text(row.get("status")),
        "enabled": flag(row.get("enabled")),
        "connected": flag(row.get("connected")),
        "synced": flag(row.get("synced")),
        "poll_interval": number(row.get("pollInterval")),
        "last_poll": moment(row.get("lastPoll")),
        "last_seen": moment(row.get("lastSeen")),
        "last_telemetry": moment(row.get("lastTelemetryAt")),
        "error_count": whole(row.get("errorCount")),
        "last_error": text(row.get("lastError")),
        "location": text(row.get("location")),
    }
    return _known(told)


def device_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One device of the channel `devices`."""
    told = {
        "device_uuid": text(row.get("uuid") or row.get("device_uuid")),
        "endpoint_uuid": text(row.get("endpoint_uuid")),
        "name": text(row.get("name")),
        "protocol": text(row.get("protocol")),
        "enabled": flag(row.get("enabled")),
        "last_seen": moment(row.get("last_seen_at") or row.get("last_seen")),
    }
    return _known(told)


def reading_row(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """One row of the channel `readings`, as by MQTT; None for what is no reading."""
    extra = row.get("extra")
    extra = extra if isinstance(extra, dict) else {}
    metric, time = text(row.get("metric_name") or row.get("metric")), moment(row.get("time") or row.get("timestamp"))
    if metric is None or time is None or extra.get("source") == ANOMALY:
        return None
    quality = str(row.get("quality") or "unknown").lower()
    name = text(extra.get("device_name") or row.get("device_name")) or ""
    endpoint = text(extra.get("endpoint_uuid") or row.get("endpoint_uuid"))
    known = text(extra.get("device_uuid") or row.get("device_uuid"))
    device = known or (f"{name}@{endpoint}" if endpoint else name)
    found = {
        "device_uuid": device,
        "device": name or device,
        "endpoint_uuid": endpoint,
        "metric": metric,
        "value": number(row.get("value")),
        "unit": text(row.get("unit")),
        "quality": quality if quality in QUALITIES else "unknown",
        "quality_code": text(extra.get("quality_code") or extra.get("qualityCode")),
        "time": time,
        "protocol": text(row.get("protocol")),
    }
    score = number(row.get("anomaly_score"))
    return found if score is None else {**found, "anomaly_score": score}


def reading_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The channel `readings`."""
    return [found for row in rows if (found := reading_row(row)) is not None]


def sums_row(row: Mapping[str, Any], metric: str) -> dict[str, Any] | None:
    """One hour or day of a metric; counts come as texts."""
    bucket = moment(_first(row, "bucket", "time", "day", "hour"))
    if bucket is None:
        return None
    told = {
        "device_uuid": text(row.get("device_uuid")),
        "device": text(row.get("device_name")),
        "average": number(_first(row, "avg_value", "avg", "average")),
        "minimum": number(_first(row, "min_value", "min")),
        "maximum": number(_first(row, "max_value", "max")),
        "deviation": number(_first(row, "stddev_value", "stddev")),
        "first": number(row.get("first_value")),
        "last": number(row.get("last_value")),
        "samples": whole(_first(row, "sample_count", "count")),
    }
    return {**_known(told), "metric": metric, "time": bucket}


def pipeline_row(healthy: Any, last: Any, spooling: Any, backlog: Any) -> dict[str, Any]:
    """The channel `pipeline`."""
    told = {
        "healthy": flag(healthy),
        "last_processed": moment(last),
        "spooling": flag(spooling),
        "backlog": whole(backlog),
    }
    return _known(told)


def _first(row: Mapping[str, Any], *names: str) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _known(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value is not None}


def _tags(tags: Mapping[Any, Any]) -> dict[str, str]:
    pairs = ((text(name), text(value)) for name, value in list(tags.items())[:50])
    return {name: value for name, value in pairs if name and value}
