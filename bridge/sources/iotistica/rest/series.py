"""Series: which readings an agent has, and how to ask for many of them at once. Pure.

    latest (one agent, everything, seldom)     ->  which metrics there are, their unit, quality, protocol, device
    query (20 metrics, all agents, often)      ->  their newest values, told apart by device
    timeseries (one metric, where it must be)  ->  unit, quality and name of devices that `latest` does not show

`latest` has one row for a metric however many devices have it; `query` grouped by device has one each, but no quality
and no unit (facts 1.5). So values are the query's, and what else is known of them is from the others, looked at again
whenever `latest` was read. Where there is no query, `latest` and `timeseries` are all there is.
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

DEVICES: Final = 1000
"""Devices of one metric."""

DEVICE: Final = "device_uuid"
"""Tag by which series are told apart. Rows without it are left out: agents give it to every reading (recorded)."""


class Ask(NamedTuple):
    """One request's sub-queries, and the metrics they are about, in order."""

    metrics: tuple[str, ...]
    queries: list[dict[str, Any]]


class Series:
    """What is known of the readings of every agent: by metric and device, their newest rows."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
        self._strange: dict[tuple[str, str], None] = {}
        """Metrics of agents that have, or may have, a device of which `latest` says nothing; in order."""

    def learn(self, agent: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """What `latest` says of an agent: all of its metrics, each with one of its devices."""
        found, before = list(rows), self._known.get(agent, {})
        self._known[agent] = {row["metric"]: before[row["metric"]] for row in found if row["metric"] in before}
        self.learn_more(agent, found)
        for metric in self._known[agent]:
            if self.has_many(agent, metric):
                self._wonder_at(agent, metric)

    def has_many(self, agent: str, metric: str) -> bool:
        """Several devices are known to have it."""
        return len(self._known.get(agent, {}).get(metric, ())) > 1

    def wonder(self, agents: Iterable[str]) -> None:
        """Nothing tells which devices have the metrics of these agents: look at them all."""
        for agent in agents:
            for metric in self._known.get(agent, ()):
                self._wonder_at(agent, metric)

    def _wonder_at(self, agent: str, metric: str) -> None:
        if len(self._strange) < METRICS:
            self._strange[agent, metric] = None

    def learn_more(self, agent: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """More rows of an agent; the newest of each device counts."""
        known = self._known.setdefault(agent, {})
        for row in rows:
            metric, device = row["metric"], row["device_uuid"]
            if metric not in known and len(known) >= METRICS:
                continue
            devices = known.setdefault(metric, {})
            if device in devices and devices[device]["time"] >= row["time"]:
                continue
            if device in devices or len(devices) < DEVICES:
                devices[device] = dict(row)

    def forget(self, agents: Iterable[str]) -> None:
        """These have gone."""
        for agent in agents:
            self._known.pop(agent, None)

    def strange(self, most: int) -> list[tuple[str, str]]:
        """Agents and metrics of which more must be learned: some device of theirs is not known."""
        chosen = list(self._strange)[:most]
        for key in chosen:  # what cannot be learned comes again with its next value, after the others
            del self._strange[key]
        return chosen

    def asks(self, agents: Iterable[str], downsample: str) -> Iterator[Ask]:
        """Requests for the newest values of all metrics of these agents."""
        having: dict[str, list[str]] = {}
        for agent in agents:
            for metric in self._known.get(agent, ()):
                having.setdefault(metric, []).append(agent)
        metrics = sorted(having)
        for start in range(0, len(metrics), AT_ONCE):
            chosen = tuple(metrics[start : start + AT_ONCE])
            yield Ask(chosen, [_query(metric, having[metric], downsample) for metric in chosen])

    def rows(self, ask: Ask, results: Any) -> dict[str, list[dict[str, Any]]]:
        """The channel `readings` of each agent, from a query's answer; not of devices that are not known yet."""
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
        devices = self._known.get(agent, {}).get(metric, {})
        if value is None or time is None or not devices:
            return None
        tags = series.get("tags")
        device = text(tags.get(DEVICE)) if isinstance(tags, dict) else None
        known = devices.get(device) if device else next(iter(devices.values()))
        if known is None:
            self._wonder_at(agent, metric)
            return None
        return agent, {**known, "value": value, "time": time}


def _query(metric: str, agents: list[str], downsample: str) -> dict[str, Any]:
    tag = {"type": "wildcard", "tagk": DEVICE, "filter": "*", "group_by": True}
    return {"metric": metric, "agent_uuids": agents, "aggregator": "last", "downsample": downsample, "filters": [tag]}
