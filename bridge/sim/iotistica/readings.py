"""Readings over REST, with what is lost on the way there (facts 1.5): only numbers, one row for (agent, metric, time).

Rows are computed from the plant's signals. Source: facts 1.5; tests/recorded/iotistica/rest.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice, pairwise
from typing import Any

from bridge.sim.iotistica import signals
from bridge.sim.iotistica.answers import iso, number, parse, refused
from bridge.sim.iotistica.call import Call
from bridge.sim.iotistica.plant import Agent
from bridge.sim.iotistica.signals import Reading
from bridge.sim.iotistica.tenant import Tenant

METRIC = re.compile(r"[A-Za-z0-9_-]{1,100}")
QUERY_METRIC = re.compile(r"[A-Za-z0-9_.-]{1,100}")
RELATIVE = re.compile(r"(\d+)([smhdw])-ago")
DOWNSAMPLE = re.compile(r"(\d+)([smhdw])-(\w+)")
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
AGGREGATORS = ("avg", "sum", "min", "max", "last", "count")
MAX_LIMIT, DEFAULT_LIMIT, MAX_QUERIES = 10_000, 1000, 20


class Readings:
    """The routes below /readings and /metrics."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    # -- routes

    def latest(self, call: Call) -> Any:
        """Newest row of each metric, whatever device it is of: that is the vendor's collapse."""
        agent, wanted = call.agent_uuid(), call.query.get("metrics")
        names = [name.strip() for name in wanted.split(",")] if wanted else None
        rows: dict[str, Any] = {}
        for row in self._rows(agent, call.now - 300, call.now):
            if names is None or row["metric_name"] in names:
                rows.setdefault(row["metric_name"], _plain(row))
        found = sorted(rows.values(), key=lambda row: str(row["metric_name"]))
        return {"agent_uuid": agent, "count": len(found), "readings": found}

    def timeseries(self, call: Call) -> Any:
        """Raw rows, newest first; buckets where the page's interval is honoured. Raises Refused."""
        agent, query = call.agent_uuid(), call.query
        metric = query.get("metric")
        limit = number(query.get("limit"), DEFAULT_LIMIT) if query.get("limit") else DEFAULT_LIMIT
        if (metric and not METRIC.fullmatch(metric)) or not 1 <= limit <= MAX_LIMIT:
            raise refused(400, "Invalid parameters", requestId=call.id)
        start, end = self._window(call, "start"), self._window(call, "end")
        until = min(call.now, end if end is not None else call.now)
        rows = self._rows(agent, start if start is not None else until - signals.HISTORY_S, until, metric or None)
        if query.get("protocol"):
            rows = (row for row in rows if row["protocol"] == query["protocol"])
        bucket = query.get("interval", "")
        if self._tenant.behaviour.documented and bucket in ("1m", "1h", "1d"):
            found = list(islice(_bucketed(rows, UNIT_S[bucket[-1]]), limit))
        else:
            found = list(islice(rows, limit))
        return {"agent_uuid": agent, "count": len(found), "readings": found}

    def hourly(self, call: Call) -> Any:
        """Newest first; the window is mandatory. Raises Refused."""
        return self._aggregates(call, call.path["metric"], "hourly")

    def daily(self, call: Call) -> Any:
        """Newest first; the window is mandatory. Raises Refused."""
        return self._aggregates(call, call.path["metric"], "daily")

    def aggregate(self, call: Call) -> Any:
        """The page's path for both; granularity hourly or daily. Raises Refused."""
        granularity, metric = call.query.get("granularity", "hourly"), call.query.get("metric", "")
        if granularity not in ("hourly", "daily"):
            raise refused(400, "Invalid parameters", requestId=call.id)
        return self._aggregates(call, metric, granularity)

    def summary(self, call: Call) -> Any:
        """One row for metric, protocol and unit; counts are strings (recorded)."""
        uuid = call.agent_uuid()
        agent = self._tenant.agent(uuid)
        found = []
        for device in agent.devices if agent else ():
            count = str(int(signals.HISTORY_S * 1000 // device.poll_ms))
            found += [
                {
                    "metric_name": point.name, "protocol": device.protocol,
                    "unit": signals.UNITS.get(point.unit, point.unit) or None, "total_readings": count,
                    "last_reading_time": iso(call.now), "first_reading_time": iso(call.now - signals.HISTORY_S),
                }
                for point in device.points
            ]  # fmt: skip
        return {"agent_uuid": uuid, "total_metrics": len(found), "metrics": found}

    def query(self, call: Call) -> Any:
        """The OpenTSDB-like query. Raises Refused."""
        body = call.json()
        faults = _faults(body)
        if faults:
            raise refused(400, "Invalid request body", details=faults, requestId=call.id)
        start, end = _moment(body["start"], call.now), _moment(body.get("end"), call.now)
        results = [self._series(sub, start, min(end, call.now)) for sub in body["queries"]]
        count = len(body["queries"])
        return {"query_count": count, "start": body["start"], "end": body.get("end") or "now", "results": results}

    def insert(self, call: Call) -> Any:
        """The page's manual insert; answered as it was before it was taken out. Raises Refused."""
        body = call.json()
        point = body.get("value")
        if not isinstance(body.get("agent_uuid"), str) or not isinstance(body.get("metric_name"), str):
            raise refused(400, "agent_uuid and metric_name are required", requestId=call.id)
        if not isinstance(point, int | float) or body.get("quality", "good") not in ("good", "fair", "poor"):
            raise refused(400, "Invalid parameters", requestId=call.id)
        self._tenant.inserted.append(dict(body))
        return {"message": "Reading inserted successfully", "requestId": call.id}

    def catalog(self, call: Call) -> Any:
        """What there is, as the materialised view had it."""
        metrics = [
            {
                "metric_name": point.name, "protocol": device.protocol, "unit": point.unit or None,
                "device_uuid": device.endpoint_uuid, "device_name": device.reading_name, "agent_uuid": agent.uuid,
            }
            for agent in self._tenant.agents for device in agent.devices for point in device.points
        ]  # fmt: skip
        return {"count": len(metrics), "metrics": metrics}

    def ingestion_health(self, call: Call) -> Any:
        """Whether the pipeline lives: its newest reading is younger than five minutes."""
        moments = [agent.last_report for agent in self._tenant.agents if agent.last_report is not None]
        last = max(moments).timestamp() if moments else None
        return {
            "lastProcessedTimestamp": int(last * 1000) if last is not None else None,
            "ingestionHealthy": last is not None and call.now - last < 300,
            "spoolingActive": False,
            "backlogSize": 0,
        }

    def prometheus(self, call: Call) -> str:
        """The scrape endpoint: good numbers only; label characters outside [A-Za-z0-9_] replaced."""
        lines = ["# HELP endpoint_reading Latest endpoint reading value", "# TYPE endpoint_reading gauge"]
        for agent in self._tenant.agents:
            for device in agent.devices:
                for point in device.points:
                    found = next(signals.history(agent, device, point, call.now - 300, call.now), None)
                    if found is not None and found.quality == "GOOD" and isinstance(found.value, float | int):
                        words = (agent.uuid, device.reading_name, point.name, device.protocol, found.unit)
                        names = ("agent_uuid", "device_name", "metric_name", "protocol", "unit")
                        labels = ",".join(f'{n}="{_label(w)}"' for n, w in zip(names, words, strict=True))
                        lines.append(f"endpoint_reading{{{labels}}} {float(found.value)}")
        return "\n".join(lines) + "\n"

    # -- rows

    def _rows(self, uuid: str, since: float, until: float, metric: str | None = None) -> Iterator[dict[str, Any]]:
        agent = self._tenant.agent(uuid)
        if agent is None:
            return
        since = max(since, self._tenant.started - signals.HISTORY_S)
        series = [
            signals.history(agent, device, point, since, until)
            for device in agent.devices
            for point in device.points
            if metric in (None, point.name)
        ]
        kept: set[tuple[str, float]] = set()
        for found in merge(*series, key=lambda reading: reading.at, reverse=True):
            at = self._stored_at(found)
            # The table's key is (agent, metric, time): of two devices read in one millisecond the first stays.
            if (found.point.name, at) in kept:
                continue
            if len(kept) > 4 * len(series):
                kept = {pair for pair in kept if pair[1] == at}
            kept.add((found.point.name, at))
            yield _row(agent, found, at)
            yield from self._mirrored(agent, found, at)

    def _stored_at(self, found: Reading) -> float:
        if self._tenant.behaviour.collisions == "no":
            return found.at
        return found.at - found.at % (found.device.poll_ms / 1000)

    def _mirrored(self, agent: Agent, found: Reading, at: float) -> Iterator[dict[str, Any]]:
        """Anomaly events are written into readings as well, under the endpoint and without a unit (facts 1.5)."""
        if self._tenant.behaviour.anomaly_rows == "no":
            return
        for event in self._tenant.incidents.events:
            same = (event.agent, event.endpoint, event.metric) == (
                agent.uuid, found.device.endpoint_uuid, found.point.name,
            )  # fmt: skip
            if same and at <= event.at < at + found.device.poll_ms / 1000:
                row = _row(agent, found, event.at)
                extra = {
                    "source": "anomaly_event", "deviceName": event.device_name, "deviceUuid": event.endpoint,
                    "deviceState": "running", "fingerprint": event.fingerprint,
                    "sourceMetric": f"{agent.uuid}_{event.endpoint}_{event.metric}", "endpoint_uuid": event.endpoint,
                }  # fmt: skip
                yield {**row, "unit": "", "value": event.value, "extra": extra, "anomaly_score": event.score}

    def _window(self, call: Call, name: str) -> float | None:
        text = call.query.get(name)
        if not text:
            return None
        moment = parse(text)
        if moment is None:
            raise refused(400, f"Invalid {name} time format", requestId=call.id)
        return moment

    def _aggregates(self, call: Call, metric: str, granularity: str) -> Any:
        start, end = call.query.get("start"), call.query.get("end")
        if not start or not end:
            raise refused(400, "start and end times are required", requestId=call.id)
        agent = call.agent_uuid()
        if not METRIC.fullmatch(metric):
            raise refused(400, "Invalid parameters", requestId=call.id)
        since, until = parse(start), parse(end)
        if since is None or until is None:
            raise refused(400, "Invalid date format", requestId=call.id)
        width = 3600 if granularity == "hourly" else 86400
        rows = self._rows(agent, since, min(until, call.now), metric)
        found = list(_aggregated(rows, width, granularity == "hourly"))
        return {
            "agent_uuid": agent, "metric_name": metric, "interval": granularity,
            "count": len(found), "aggregates": found,
        }  # fmt: skip

    def _series(self, sub: dict[str, Any], start: float, end: float) -> list[dict[str, Any]]:
        parts = DOWNSAMPLE.fullmatch(sub.get("downsample") or "1h-avg")
        width = int(parts[1]) * UNIT_S[parts[2]] if parts else 3600
        word = sub.get("aggregator") or (parts[3] if parts and parts[3] in AGGREGATORS else "avg")
        filters = sub.get("filters") or []
        grouped = [one["tagk"] for one in filters if one.get("group_by")]
        found: dict[tuple[str, ...], dict[float, list[dict[str, Any]]]] = {}
        for uuid in sub.get("agent_uuids") or [agent.uuid for agent in self._tenant.agents]:
            for row in self._rows(uuid, start, end, sub["metric"]):
                if row["value"] is None or not all(_matches(row, one) for one in filters):
                    continue
                at = parse(row["time"]) or 0.0
                key = (uuid, *(str(_tag(row, name) or "") for name in grouped))
                found.setdefault(key, defaultdict(list))[at - at % width].append(row)
        return [
            {
                "metric": sub["metric"], "agent_uuid": key[0], "tags": dict(zip(grouped, key[1:], strict=True)),
                "dps": _points(buckets, word, sub),
            }
            for key, buckets in found.items()
        ]  # fmt: skip


def _row(agent: Agent, found: Reading, at: float) -> dict[str, Any]:
    numeric = isinstance(found.value, int | float) and not isinstance(found.value, bool)
    return {
        "time": iso(at), "agent_uuid": agent.uuid, "metric_name": found.point.name,
        "value": found.value if numeric else None, "quality": found.quality.lower(),
        "unit": found.unit or None, "protocol": found.device.protocol,
        "extra": {
            "device_name": found.device.reading_name, "device_uuid": found.device.endpoint_uuid,
            "ingested_at": iso(at + 1.5), "endpoint_uuid": found.device.endpoint_uuid,
        },
        "anomaly_score": None, "anomaly_threshold": None, "baseline_samples": None, "detection_methods": None,
    }  # fmt: skip


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Without the columns that /latest has not."""
    return {key: row[key] for key in list(row)[:8]}


def _aggregated(rows: Iterable[dict[str, Any]], width: int, hourly: bool) -> Iterator[dict[str, Any]]:
    buckets: dict[tuple[float, Any, Any], list[float | None]] = defaultdict(list)
    for row in rows:
        at = parse(row["time"]) or 0.0
        # A mirrored anomaly event has another unit and no device name: it splits the bucket (facts 1.5).
        buckets[(at - at % width, row["extra"].get("device_name") if hourly else None, row["unit"])].append(
            row["value"]
        )
    for (bucket, device, _), members in sorted(buckets.items(), key=lambda pair: -pair[0][0]):
        values = [member for member in members if member is not None]
        mean = sum(values) / len(values) if values else None
        known: dict[str, Any] = {"bucket": iso(bucket)}
        if hourly:
            known["device_name"] = device
        known |= {
            "avg_value": mean, "min_value": min(values, default=None), "max_value": max(values, default=None),
            "stddev_value": statistics.stdev(values) if len(values) > 1 else None,
            "sample_count": str(len(members)),  # a bigint; counts rows without a value as well (recorded)
        }  # fmt: skip
        if hourly:
            known |= {"last_value": members[0], "first_value": members[-1]}
        yield known


def _bucketed(rows: Iterable[dict[str, Any]], width: int) -> Iterator[dict[str, Any]]:
    current: dict[str, Any] | None = None
    values: list[float] = []
    for row in rows:
        at = parse(row["time"]) or 0.0
        bucket = iso(at - at % width)
        if current is not None and current["time"] != bucket:
            yield {**current, "value": sum(values) / len(values) if values else None}
            current, values = None, []
        current = current or {**row, "time": bucket}
        if row["value"] is not None:
            values.append(row["value"])
    if current is not None:
        yield {**current, "value": sum(values) / len(values) if values else None}


def _points(buckets: dict[float, list[dict[str, Any]]], word: str, sub: dict[str, Any]) -> list[dict[str, Any]]:
    reduce: dict[str, Callable[[list[float]], float]] = {
        "avg": lambda v: sum(v) / len(v), "sum": sum, "min": min, "max": max, "last": lambda v: v[0],
        "count": lambda v: float(len(v)),
    }  # fmt: skip
    points: list[dict[str, Any]] = []
    for at in sorted(buckets):
        values = [row["value"] for row in buckets[at]]
        if sub.get("percentiles"):
            ranked = sorted(values)
            levels = {f"p{p}": ranked[min(len(ranked) - 1, int(len(ranked) * p / 100))] for p in sub["percentiles"]}
            points.append({"time": iso(at), **levels})
        else:
            points.append({"time": iso(at), "value": reduce[word](values)})
    return _rates(points) if sub.get("rate") and not sub.get("percentiles") else points


def _rates(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rates = []
    for before, after in pairwise(points):
        seconds = (parse(after["time"]) or 0.0) - (parse(before["time"]) or 0.0)
        if after["value"] >= before["value"] and seconds:
            rates.append({"time": after["time"], "value": (after["value"] - before["value"]) / seconds})
    return rates


def _tag(row: dict[str, Any], name: str) -> Any:
    return row["protocol"] if name == "protocol" else row["extra"].get(name)


def _matches(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    found, pattern = _tag(row, wanted["tagk"]), wanted["filter"]
    if found is None:
        return False
    if wanted["type"] == "exact":
        return bool(found == pattern)
    if wanted["type"] == "wildcard":
        pattern = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        return re.fullmatch(pattern, str(found)) is not None
    return re.search(pattern, str(found)) is not None


def _moment(text: str | None, now: float) -> float:
    if text is None:
        return now
    relative = RELATIVE.fullmatch(text)
    return now - int(relative[1]) * UNIT_S[relative[2]] if relative else parse(text) or now


def _is_moment(text: Any) -> bool:
    return isinstance(text, str) and (RELATIVE.fullmatch(text) is not None or parse(text) is not None)


def _faults(body: dict[str, Any]) -> list[dict[str, str]]:
    """What the vendor's schema says of a query; only the beginning of the words is its own."""
    found = [
        {"path": name, "message": f'{name} must be ISO 8601 or relative like "1h-ago"'}
        for name in ("start", "end")
        if (name == "start" or body.get(name) is not None) and not _is_moment(body.get(name))
    ]
    queries = body.get("queries")
    if not isinstance(queries, list) or not queries:
        found.append({"path": "queries", "message": "Required"})
        return found
    if len(queries) > MAX_QUERIES:
        found.append({"path": "queries", "message": f"Array must contain at most {MAX_QUERIES} element(s)"})
    for index, sub in enumerate(queries):
        found += [{"path": f"queries.{index}{path}", "message": message} for path, message in _sub_faults(sub)]
    return found


def _sub_faults(sub: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(sub, dict) or not isinstance(sub.get("metric"), str):
        yield "", "Expected object with a metric"
        return
    if not QUERY_METRIC.fullmatch(sub["metric"]):
        yield ".metric", "metric must match /^[a-zA-Z0-9_.-]+$/"
    if sub.get("downsample") and not DOWNSAMPLE.fullmatch(sub["downsample"]):
        yield ".downsample", 'downsample format: <N><unit>-<fn>, e.g. "1h-avg"'
    if sub.get("aggregator") not in (None, *AGGREGATORS):
        yield ".aggregator", "Invalid enum value"
    if len(sub.get("filters") or []) > 10:
        yield ".filters", "Array must contain at most 10 element(s)"
    if sub.get("rate") is True and sub.get("percentiles"):
        yield "", "rate and percentiles cannot be combined in the same sub-query"
    if not sub.get("agent_uuids") and not sub.get("filters"):
        yield "", "each sub-query must have at least one agent_uuid or filter to narrow scope"


def _label(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", text)
