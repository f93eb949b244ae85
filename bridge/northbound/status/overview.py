"""Overview: what is grey, why, and what to do, before anything else. One answer a second, however many look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bridge.model.status import StatusCode
from bridge.northbound.status.payload import instant, source_payload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from bridge.model.plant import Machine, Plant
    from bridge.model.tag import Tag
    from bridge.model.value import DataValue
    from bridge.ports import Clock, Operations, SourceHealth, TagView

FRESH_S: Final = 1.0
MOST_CAUSES: Final = 20
MOST_NAMES: Final = 6

BUDGET: Final = {"used": "BudgetUsed", "limit": "BudgetLimit", "rate": "BudgetRate", "throttled": "Throttled"}
"""Readings of a source about its requests (see the tags `Bridge.Sources.<source>.…`)."""

_NOT_GOOD: Final = 0x40000000
NOTHING_YET: Final = frozenset({StatusCode.BadNoData, StatusCode.BadWaitingForInitialData})
"""Nothing needs to be mended: the vendor has no such value now, or nobody has said one yet. A value that is waited for
in vain gets another status, or its source has."""


@dataclass(slots=True)
class _Cause:
    """Values that are grey for the same reason."""

    status: StatusCode
    reason: str
    example: Tag
    since: datetime
    count: int = 0
    machines: dict[str, None] = field(default_factory=dict)


class Overview:
    """The bridge on one screen."""

    def __init__(self, view: TagView, operations: Operations, clock: Clock) -> None:
        self._view = view
        self._operations = operations
        self._clock = clock
        self._last: dict[str, Any] = {}
        self._made = float("-inf")

    def payload(self) -> dict[str, Any]:
        """State, counts of values by severity, causes of what is not Good, sources, faces. Not older than a second."""
        if self._clock.monotonic() - self._made >= FRESH_S:
            self._last, self._made = self._payload(), self._clock.monotonic()
        return self._last

    def _payload(self) -> dict[str, Any]:
        health, plant, values = self._operations.health(), self._view.plant, self._view.snapshot()
        counts, causes = _judged(plant, values)
        return {
            "now": instant(self._clock.now()),
            "version": health.version,
            "started": instant(health.started),
            "configuration": health.configuration,
            "ready": health.ready,
            "why_not_ready": list(health.why_not_ready),
            "refused": list(health.refused),
            "machines": len(plant.machines),
            "values": counts,
            "causes": [self._cause(cause) for cause in causes[:MOST_CAUSES]],
            "more_causes": max(0, len(causes) - MOST_CAUSES),
            "sources": [self._source(source, plant, values) for source in health.sources],
            "faces": [{"name": face.name, "running": face.running, "detail": face.detail} for face in health.faces],
            "alarms": self._alarms(),
        }

    def _alarms(self) -> dict[str, int]:
        alarms = self._operations.alarms()
        return {"active": sum(one.active for one in alarms), "unseen": sum(not one.acked for one in alarms)}

    def _cause(self, cause: _Cause) -> dict[str, Any]:
        told = self._operations.explain(cause.example)
        names = list(cause.machines)
        return {
            "status": cause.status.name,
            "reason": cause.reason,
            "since": instant(cause.since),
            "count": cause.count,
            "machines": names[:MOST_NAMES],
            "more_machines": max(0, len(names) - MOST_NAMES),
            "example": cause.example.id,
            "source": told.get("source", ""),
            "advice": told.get("advice", ""),
        }

    def _source(self, source: SourceHealth, plant: Plant, values: Any) -> dict[str, Any]:
        readings = {name: _reading(plant.bridge, source.name, of, values) for name, of in BUDGET.items()}
        budget = {name: value for name, value in readings.items() if value is not None}
        machines = sum(any(part.source == source.name for part in one.parts) for one in plant.machines.values())
        return {**source_payload(source), "machines": machines, "budget": budget or None}


def _reading(bridge: Machine, source: str, name: str, values: Any) -> Any:
    tag = bridge.tag(f"Sources/{source}/{name}")
    value = values.get(tag.slot) if tag else None
    return value.value if value is not None else None


def _judged(plant: Plant, values: Any) -> tuple[dict[str, int], list[_Cause]]:
    """How many values there are by severity, and why those that are not Good are so: the worst, then the most first."""
    counts = {"good": 0, "uncertain": 0, "bad": 0, "none": 0}
    causes: dict[tuple[int, str], _Cause] = {}
    for tag, value in _of_machines(plant, values):
        if value.status < _NOT_GOOD:  # most are: this is the way that has to be short
            counts["good"] += 1
            continue
        word = severity(value.status)
        counts[word] += 1
        if word != "none":
            _count(causes, tag, value)
    return counts, sorted(causes.values(), key=lambda cause: (cause.status.is_uncertain, -cause.count))


def _count(causes: dict[tuple[int, str], _Cause], tag: Tag, value: DataValue) -> None:
    key = (int(value.status), value.reason)  # hashing an Enum takes as long as all the rest
    since = value.since or value.source_timestamp
    cause = causes.get(key)
    if cause is None:
        cause = causes[key] = _Cause(value.status, value.reason, tag, since)
    cause.count += 1
    cause.machines[tag.machine] = None
    if since < cause.since:
        cause.since = since


def _of_machines(plant: Plant, values: Any) -> Iterator[tuple[Tag, DataValue]]:
    for machine in plant.machines.values():
        for tag in machine.tags:
            value = values.get(tag.slot)
            if value is not None:
                yield tag, value


def severity(status: StatusCode) -> str:
    """good, uncertain, bad, or none (see NOTHING_YET)."""
    if status.is_good:
        return "good"
    if status in NOTHING_YET:
        return "none"
    return "uncertain" if status.is_uncertain else "bad"
