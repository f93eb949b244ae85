"""Telemetry: what a batch says, as rows of readings. Pure.

Source: facts 1.11, "Telemetry batch"; EMQX Neuron, "MQTT data format" (values, tags and ECP formats).

    custom   {timestamp, protocol, messages: [reading | {timestamp, readings: [reading]}]}     or one of these alone
    tags     {timestamp, node, group, tags: [{name, value | error}]}                           Neuron's tags format
    ecp      the same, with type                                                               Neuron's ECP format
    values   {timestamp, node, group, values: {name: value}, errors: {name: code}}             Neuron's values format
    ml       {timestamp, node, group, schema: "iotistica.ml.v1", features: [{name, value, quality}]}

A row: {device_uuid, device, endpoint_uuid, metric, value, unit, quality, quality_code, time, protocol} and, where it
was looked for, anomaly_score. `time` is ISO 8601 in UTC; `quality` is good, bad, uncertain, stale or unknown;
what is not told is None. A device without a UUID is known by its name and its endpoint.

The node of an agent's tags is whichever device came first in the batch (recorded/iotistica), so it says nothing: there
a tag's name is "<device>_<metric>", and the metric is its rawName. Neuron's node and group are the device.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard

from bridge.errors import ProtocolError

Row = dict[str, Any]

LONGEST_NAME: Final = 200
"""Characters of the name of a device or metric."""
LONGEST_TEXT: Final = 4096
"""Characters of a value; the longest an agent writes itself (facts 1.13)."""

QUALITY: Final = {
    "GOOD": "good",
    "BAD": "bad",
    "UNCERTAIN": "uncertain",
    "STALE": "stale",
    "UNKNOWN": "unknown",
    "NOT_CONNECTED": "bad",
}
_NOT_WORD: Final = re.compile(r"[^a-z0-9]+")
_UNCERTAIN, _BAD = 0x40000000, 0x80000000
"""Severities of OPC UA status codes (Part 4, 7.39.1)."""


class Batch:
    """Rows of one message, and what in it could not be read."""

    __slots__ = ("fault", "refused", "rows")

    def __init__(self) -> None:
        self.rows: list[tuple[datetime, Row]] = []
        """Each with its time."""
        self.refused = 0
        self.fault = ""
        """What is wrong with the first that was refused."""

    def refuse(self, why: str) -> None:
        """One reading cannot be read; the others go on."""
        self.refused += 1
        self.fault = self.fault or why


def is_heartbeat(message: Any) -> bool:
    """An endpoint says that it is connected, on the prefix of telemetry (facts 1.11)."""
    return isinstance(message, dict) and "stats" in message and "state" in message and "messages" not in message


def batch_of(message: Any, received: datetime) -> Batch:
    """What a message of telemetry says. Raises ProtocolError where it is no batch at all."""
    batch = Batch()
    if isinstance(message, list):
        _custom(message, None, None, received, batch)
    elif not isinstance(message, dict):
        raise ProtocolError("telemetry is neither an object nor a list")
    elif isinstance(message.get("messages"), list):
        _custom(message["messages"], message.get("timestamp"), message.get("protocol"), received, batch)
    elif "node" in message and "group" in message:
        _node(message, received, batch)
    elif isinstance(message.get("readings"), list) or "metric" in message or "metric_name" in message:
        _custom([message], message.get("timestamp"), message.get("protocol"), received, batch)
    else:
        keys = ", ".join(sorted(map(str, message))[:8]) or "nothing"
        raise ProtocolError(f"telemetry has neither messages nor tags nor features; it has {keys[:200]}")
    return batch


def _custom(messages: list[Any], at: Any, protocol: Any, received: datetime, batch: Batch) -> None:
    outer = _moment(at, received)
    for message in messages:
        if not isinstance(message, dict):
            batch.refuse("a reading is no object")
        elif isinstance(message.get("readings"), list):
            stamp = _moment(message.get("timestamp"), outer)
            for reading in message["readings"]:
                _reading(reading, stamp, protocol, batch)
        else:
            _reading(message, outer, protocol, batch)


def _reading(reading: Any, at: datetime, protocol: Any, batch: Batch) -> None:
    if not isinstance(reading, dict):
        batch.refuse("a reading is no object")
        return
    get = reading.get
    metric = get("metric") or get("metric_name") or get("name")
    if not _is_name(metric):
        batch.refuse(f"a reading has no metric with a name of 1 to {LONGEST_NAME} characters")
        return
    name = get("deviceName") or get("device_name") or ""
    endpoint = get("endpoint_uuid")
    device = get("device_uuid") or get("deviceUuid")
    if not isinstance(device, str) or not device:
        device = f"{name}@{endpoint}" if endpoint else str(name)
    if not _is_name(device):
        batch.refuse(f"the reading of {metric} has no device with a name of 1 to {LONGEST_NAME} characters")
        return
    stamp = get("timestamp")
    moment = at if stamp is None else _moment(stamp, at)
    quality, code = _quality(get("quality"), get("qualityCode"))
    value = get("value")
    if not (value is None or value.__class__ in _PLAIN):
        value, quality, code = _plain(value, quality, code)
    elif value.__class__ is float and not math.isfinite(value):
        value, quality, code = None, "bad", "NOT_A_NUMBER"
    row: Row = {
        "device_uuid": device,
        "device": str(get("resolvedDisplayName") or name or device)[:LONGEST_NAME],
        "endpoint_uuid": endpoint if endpoint.__class__ is str else None,
        "metric": metric,
        "value": value,
        "unit": _unit(get("unit")),
        "quality": quality,
        "quality_code": code,
        "time": moment.isoformat(),
        "protocol": get("protocol") or protocol,
    }
    score = get("anomaly_score")
    if score is not None:
        row["anomaly_score"] = score
    batch.rows.append((moment, row))


_PLAIN: Final = frozenset({float, int, bool})


def _plain(value: Any, quality: str, code: str | None) -> tuple[Any, str, str | None]:
    """A value as a tag can hold it."""
    if isinstance(value, str):
        return value[:LONGEST_TEXT], quality, code
    return None, "bad", "NOT_A_SCALAR"


def _node(message: dict[str, Any], received: datetime, batch: Batch) -> None:
    """Tags, ECP, values and ML: one time for all."""
    node, group = str(message["node"]), str(message["group"])
    if not (node or group) or not _is_name(f"{node}/{group}"):
        raise ProtocolError(f"node and group are not names of 1 to {LONGEST_NAME} characters")
    moment = _moment(message.get("timestamp"), received)
    time = moment.isoformat()
    for entry in _entries(message):
        if not isinstance(entry, dict) or not _is_name(entry.get("name")):
            batch.refuse(f"a tag has no name of 1 to {LONGEST_NAME} characters")
            continue
        device, shown, metric = _owner(entry, node, group)
        quality, code = _node_quality(entry)
        value = entry.get("value")
        if not (value is None or value.__class__ in _PLAIN):
            value, quality, code = _plain(value, quality, code)
        elif value.__class__ is float and not math.isfinite(value):
            value, quality, code = None, "bad", "NOT_A_NUMBER"
        row: Row = {
            "device_uuid": device,
            "device": shown,
            "endpoint_uuid": None,
            "metric": metric,
            "value": None if quality == "bad" else value,
            "unit": _unit(entry.get("rawUnit") or entry.get("unit")),
            "quality": quality,
            "quality_code": code,
            "time": time,
            "protocol": None,
        }
        score = entry.get("anomaly_score")
        if score is not None:
            row["anomaly_score"] = score
        batch.rows.append((moment, row))


def _owner(entry: dict[str, Any], node: str, group: str) -> tuple[str, str, str]:
    """Identity and name of a tag's device, and its metric."""
    name, raw = entry["name"], entry.get("rawName")
    if not _is_name(raw):
        return f"{node}/{group}", node, name
    ending = f"_{_NOT_WORD.sub('_', raw.lower())}"
    if name.endswith(ending) and len(name) > len(ending):
        device = name[: -len(ending)]
        return device, device, raw
    return group, group, name


def _entries(message: dict[str, Any]) -> list[Any]:
    for name in ("tags", "features"):
        if isinstance(message.get(name), list):
            found: list[Any] = message[name]
            return found
    values, errors = message.get("values"), message.get("errors")
    if not isinstance(values, dict) and not isinstance(errors, dict):
        raise ProtocolError("a message of a node has neither tags nor values nor features")
    told = [{"name": name, "value": value} for name, value in (values or {}).items()]
    return told + [{"name": name, "error": code} for name, code in (errors or {}).items()]


def _node_quality(entry: dict[str, Any]) -> tuple[str, str | None]:
    error = entry.get("error")
    if error is not None and error != 0:
        return "bad", str(error)[:LONGEST_NAME]
    if "quality" in entry:
        return _quality(entry["quality"], entry.get("qualityCode"))
    return ("uncertain", "dq:bad") if entry.get("dqStatus") == "bad" else ("good", None)


def _quality(said: Any, code: Any) -> tuple[str, str | None]:
    """One of our words. A number is OPC UA's status: what an agent's dictionary numbers is a word again by now."""
    told = None if code is None else str(code)[:LONGEST_NAME]
    if said.__class__ is str:
        word = QUALITY.get(said) or QUALITY.get(said.upper(), "unknown")
        return word, told or (said if said == "NOT_CONNECTED" else None)
    if said is None:
        return ("good" if told is None else "bad"), told
    if isinstance(said, int) and not isinstance(said, bool) and (said == 0 or said >= _UNCERTAIN):
        return ("bad" if said >= _BAD else "uncertain" if said >= _UNCERTAIN else "good"), told
    return "unknown", told


def _unit(written: Any) -> str | None:
    """As it was written: the mapping knows spellings."""
    return written[:LONGEST_NAME] if isinstance(written, str) and written else None


def _is_name(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()


def _moment(told: Any, otherwise: datetime) -> datetime:
    """A time as ISO 8601 with a zone, or milliseconds since 1970; anything else is not told."""
    try:
        if told.__class__ is str:
            moment = datetime.fromisoformat(told)
            if moment.tzinfo is None:
                return otherwise
            return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
        if isinstance(told, int | float) and not isinstance(told, bool) and told >= 1e11:
            return datetime.fromtimestamp(told / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return otherwise
