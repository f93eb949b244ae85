"""Series: which readings an agent has, and how to ask for many of them at once. Pure.

    latest (one agent, everything, seldom)  ->  which metrics there are, their unit, quality, protocol, device
    query (20 metrics, all agents, often)   ->  their newest values, told apart by device

`latest` has one row for a metric however many devices have it; `query` grouped by device has one each, but no quality
and no unit (facts 1.5). So values are the query's, and what else is known of them is from `latest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.sources.iotistica.rest.rows import moment, number, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

AT_ONCE: Final = 20
"""Sub-queries of one request (facts 1.5)."""

METRICS: Final = 5000
"""Metrics of one agent that are asked for."""

DEVICE: Final = "device_uuid"
"""Tag by which series are told apart; rows without it are left out by that, so it is asked for only where it is."""

DEVICES: Final = 10_000
"""Devices whose names are known."""


class Ask(NamedTuple):
    """One request's sub-queries, and the metrics they are about, in order."""

    metrics: tuple[str, ...]
    queries: list[dict[str, Any]]


class Series:
    """What is known of the readings of every agent."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, dict[str, Any]]] = {}
        self._devices: dict[str, dict[str, str]] = {}

    def learn(self, agent: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """What `latest` says of an agent."""
        known: dict[str, dict[str, Any]] = {}
        for row in rows:
            if len(known) < METRICS:
                kept = ("unit", "quality", "protocol", "device", "device_uuid", "endpoint_uuid")
                known[row["metric"]] = {name: row[name] for name in kept if row.get(name) is not None}
            if (device := row.get("device_uuid")) and (device in self._devices or len(self._devices) < DEVICES):
                self._devices[device] = {name: row[name] for name in ("device", "endpoint_uuid") if row.get(name)}
        self._known[agent] = known

    def forget(self, agents: Iterable[str]) -> None:
        """These have gone."""
        for agent in agents:
            self._known.pop(agent, None)

    def asks(self, agents: Iterable[str], downsample: str) -> Iterator[Ask]:
        """Requests for the newest values of all metrics of these agents."""
        having: dict[str, list[str]] = {}
        for agent in agents:
            for metric in self._known.get(agent, ()):
                having.setdefault(metric, []).append(agent)
        metrics = sorted(having)
        for start in range(0, len(metrics), AT_ONCE):
            chosen = tuple(metrics[start : start + AT_ONCE])
            yield Ask(chosen, [self._query(metric, having[metric], downsample) for metric in chosen])

    def rows(self, ask: Ask, results: Any) -> dict[str, list[dict[str, Any]]]:
        """The channel `readings` of each agent, from a query's answer."""
        found: dict[str, list[dict[str, Any]]] = {}
        for metric, series in zip(ask.metrics, results if isinstance(results, list) else [], strict=False):
            for one in series if isinstance(series, list) else ():
                row = self._row(metric, one) if isinstance(one, dict) else None
                if row is not None:
                    found.setdefault(row[0], []).append(row[1])
        return found

    def _row(self, metric: str, series: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        agent = (text(series.get("agent_uuid")) or "").lower()
        points = series.get("dps")
        newest = points[-1] if isinstance(points, list) and points and isinstance(points[-1], dict) else {}
        value, time = number(newest.get("value")), moment(newest.get("time"))
        if not agent or value is None or time is None:
            return None
        tags = series.get("tags")
        device = text(tags.get(DEVICE)) if isinstance(tags, dict) else None
        known: dict[str, Any] = self._known.get(agent, {}).get(metric, {})
        if device is not None and known.get("device_uuid") != device:
            known = {name: known[name] for name in ("unit", "protocol") if name in known}
            known |= {"device_uuid": device} | self._devices.get(device, {})
        return agent, {"quality": "unknown", **known, "metric": metric, "value": value, "time": time}

    def _query(self, metric: str, agents: list[str], downsample: str) -> dict[str, Any]:
        query: dict[str, Any] = {
            "metric": metric,
            "agent_uuids": agents,
            "aggregator": "last",
            "downsample": downsample,
        }
        if any(DEVICE in self._known[agent][metric] for agent in agents):
            query["filters"] = [{"type": "wildcard", "tagk": DEVICE, "filter": "*", "group_by": True}]
        return query
