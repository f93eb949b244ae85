"""One batch of readings in each of the four formats, key by key in the agent's own order (recorded).

custom: {timestamp, protocol, messages: [one device's poll or one reading], msgId}
tags, ecp: {timestamp, node, group, tags: [...]}, ecp with a type and each name once
ml: {timestamp, node, group, schema, features: [...]}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from bridge.sim.iotistica.answers import iso
from bridge.sim.iotistica.plant import identity
from bridge.sim.iotistica.signals import UNITS, Reading

Poll = Sequence[Reading]
"""What one device gave at one moment."""


def custom(polls: Iterable[Poll], protocol: str, now: float, message_id: str) -> dict[str, Any]:
    """The agent's own format."""
    messages: list[Any] = []
    for poll in polls:
        rows = [_reading(reading, now) for reading in poll]
        messages.append(rows[0] if len(rows) == 1 else {"timestamp": iso(poll[0].at + 0.003), "readings": rows})
    return {"timestamp": iso(now), "protocol": protocol, "messages": messages, "msgId": message_id}


def tags(polls: Iterable[Poll], protocol: str, now: float, ecp: bool) -> dict[str, Any]:
    """As EMQX Neuron has it too; the node is the first device of the batch, whoever the others are."""
    readings = [reading for poll in polls for reading in poll]
    rows = [_tag(reading, ecp) for reading in readings]
    if ecp:
        rows = list({row["name"]: row for row in rows if row.get("value", 0) is not None}.values())
    return {"timestamp": int(now * 1000), "node": _node(readings), "group": protocol, "tags": rows}


def features(polls: Iterable[Poll], protocol: str, now: float) -> dict[str, Any]:
    """For training."""
    readings = [reading for poll in polls for reading in poll]
    return {
        "timestamp": int(now * 1000), "node": _node(readings), "group": protocol, "schema": "iotistica.ml.v1",
        "features": [_feature(reading) for reading in readings],
    }  # fmt: skip


def normalised(reading: Reading) -> str:
    """The point's name as the agent's naming rules make it."""
    return re.sub(r"[^a-z0-9]+", "_", f"{reading.device.reading_name}_{reading.point.name}".lower()).strip("_")


def _reading(reading: Reading, now: float) -> dict[str, Any]:
    device, good = reading.device, reading.quality == "GOOD"
    row: dict[str, Any] = {
        "timestamp": iso(reading.at), "deviceName": device.reading_name,
        "deviceId": f"{device.protocol}:tcp:192.0.2.10:502", "endpoint_uuid": device.endpoint_uuid,
        "device_uuid": device.endpoint_uuid,
    }  # fmt: skip
    if good:
        row["protocol"] = device.protocol
    row |= {
        "metric": reading.point.name, "value": reading.value, "unit": reading.unit, "quality": reading.quality,
    }  # fmt: skip
    if reading.code:
        row["qualityCode"] = reading.code
    row["pointIdentity"] = {
        "provisionalPointId": _point_id(reading), "normalizedName": normalised(reading),
        "rawName": reading.point.name, "rawDeviceName": device.reading_name, "rulesVersion": "pn-rules-v3",
        "provenance": {
            "method": "algorithmic", "resolutionSource": "persisted-cache", "persistenceState": "persisted",
            "sourceFields": ["metric"], "sourceSystem": device.protocol if good else None,
        },
    }  # fmt: skip
    if good and reading.point.unit:
        row["unitValue"] = _unit_value(reading)
    row["dataQuality"] = _quality(reading, now)
    return row


def _unit_value(reading: Reading) -> dict[str, Any]:
    known = reading.point.unit in UNITS
    value: dict[str, Any] = {
        "rawValue": reading.value, "rawUnit": reading.point.unit, "value": reading.value, "unit": reading.unit,
    }  # fmt: skip
    if known:
        value["quantity"] = "temperature" if reading.point.unit == "°C" else "pressure"
    method = {"method": "global-alias", "sourceSystem": None} if known else {"method": "unresolved"}
    return {**value, "normalized": known, "converted": False, "provenance": method}


def _quality(reading: Reading, now: float) -> dict[str, Any]:
    checks: dict[str, Any] = {"source": {"status": "passed"}}
    if reading.quality != "GOOD":
        issue = {
            "code": "SOURCE_BAD", "ruleId": "DQ-SOURCE-001", "dimension": "source", "severity": "error",
            "protocolCode": reading.code,
        }  # fmt: skip
        checks = {"source": {"status": "failed", "issues": [issue]}}
    elif reading.point.unit in UNITS:
        checks["unit"] = {"status": "passed", "confidence": 0.85}
    elif reading.point.unit:
        issue = {"code": "UNIT_UNRESOLVED", "ruleId": "DQ-UNIT-001", "dimension": "unit", "severity": "warning"}
        checks["unit"] = {"status": "warning", "confidence": 0, "issues": [issue]}
    checks["value"] = {"status": "passed"}
    return {
        "checks": checks, "status": _status(reading), "evaluatedAt": iso(now), "rulesVersion": "dq-rules-v1",
        "engineVersion": "1.0.0",
    }  # fmt: skip


def _status(reading: Reading) -> str:
    if reading.quality != "GOOD":
        return "bad"
    return "degraded" if reading.point.unit and reading.point.unit not in UNITS else "good"


def _tag(reading: Reading, ecp: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"name": normalised(reading), "rawName": reading.point.name}
    if reading.quality != "GOOD":
        row["error"] = reading.code or "READ_ERROR"
    else:
        row["value"] = reading.value
        if ecp:
            row["type"] = _ecp_type(reading.value)
    return {**row, **_compact(reading)}


def _feature(reading: Reading) -> dict[str, Any]:
    row: dict[str, Any] = {"name": normalised(reading), "rawName": reading.point.name, "value": reading.value}
    if reading.quality != "GOOD":
        row |= {"value": None, "dtype": "error", "quality": "BAD", "error": reading.code or "READ_ERROR"}
    else:
        row |= {"dtype": ("bool", "int", "float", "string")[_ecp_type(reading.value) - 1], "quality": "GOOD"}
    return {**row, **_compact(reading)}


def _compact(reading: Reading) -> dict[str, Any]:
    good, unit = reading.quality == "GOOD", reading.point.unit
    row: dict[str, Any] = {}
    if unit:
        row["unit"] = reading.unit
        if good:
            row["rawUnit"] = unit
    row["dqStatus"] = _status(reading)
    if unit and good:
        row["dqUnitConfidence"] = 0.85 if unit in UNITS else 0
    if not good:
        row["dqIssueCodes"] = ["SOURCE_BAD"]
    elif unit and unit not in UNITS:
        row["dqIssueCodes"] = ["UNIT_UNRESOLVED"]
    row["provisionalPointId"] = _point_id(reading)
    return row


def _ecp_type(value: object) -> int:
    """1 bool, 2 int, 3 float, 4 string; a whole float is an int, as JavaScript has it."""
    if isinstance(value, bool):
        return 1
    if isinstance(value, int | float):
        return 2 if float(value).is_integer() else 3
    return 4


def _point_id(reading: Reading) -> str:
    return identity(reading.device.endpoint_uuid, reading.point.name)


def _node(readings: Sequence[Reading]) -> str:
    return readings[0].device.reading_name if readings else ""
