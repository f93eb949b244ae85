"""What the bridge says about itself, as one retained document: is it well, and if not, what is to be done. Pure.

Values of the same meaning are tags of the bridge's branch (Sources/<name>/State, …); this is for people and for
programs that watch many bridges: one subscription to +/+/_bridge/+/_info tells all of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bridge.northbound.uns.payload import rfc3339, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from bridge.ports import Health, SourceHealth

TOLERANCE = timedelta(seconds=2)
"""The time of the next try is reckoned from now each time, and is the same for so long."""


class Info:
    """The document, and whether it changed since it was last told.

    Shape: {"state": "running" | "stopped", "ready", "why_not_ready": […], "version", "started", "configuration": its
    hash, "faults": of a configuration that was refused, "sources": [{"name", "type", "state", "reason", "since",
    "advice", "reconnects", "next_try": moment or null}], "faces": [{"name", "running", "detail"}], "uns": {"protocol",
    "preset", "heartbeat", "expiry", "machines", "tags"}, "timestamp": when this was sent}; times in seconds.
    """

    def __init__(self, face: Mapping[str, Any]) -> None:
        self._face = dict(face)
        self._next_tries: dict[str, datetime] = {}
        self._told: dict[str, Any] = {}

    def news(self, health: Health, now: datetime, **counts: int) -> bytes | None:
        """The document where it changed since the last call, else None."""
        document = self._document(health, now, counts)
        if document == self._told:
            return None
        self._told = document
        return self.again(now)

    def again(self, now: datetime) -> bytes:
        """What was told last, as of now."""
        return to_json({**self._told, "timestamp": rfc3339(now)})

    def stopped(self, now: datetime) -> bytes:
        """What remains when the bridge is gone."""
        end = {"state": "stopped", "ready": False, "why_not_ready": ["the bridge was stopped"]}
        return to_json({**self._told, **end, "timestamp": rfc3339(now)})

    def _document(self, health: Health, now: datetime, counts: Mapping[str, int]) -> dict[str, Any]:
        next_tries = {source.name: self._next_try(source, now) for source in health.sources}
        self._next_tries = {name: moment for name, moment in next_tries.items() if moment is not None}
        return {
            "state": "running",
            "ready": health.ready,
            "why_not_ready": list(health.why_not_ready),
            "version": health.version,
            "started": rfc3339(health.started),
            "configuration": health.configuration,
            "faults": list(health.refused),
            "sources": [self._source(source) for source in health.sources],
            "faces": [{"name": one.name, "running": one.running, "detail": one.detail} for one in health.faces],
            "uns": {**self._face, **counts},
        }

    def _source(self, source: SourceHealth) -> dict[str, Any]:
        next_try = self._next_tries.get(source.name)
        return {
            "name": source.name,
            "type": source.type,
            "state": source.state,
            "reason": source.reason,
            "since": rfc3339(source.since),
            "advice": source.advice,
            "reconnects": source.reconnects,
            "next_try": next_try and rfc3339(next_try),
        }

    def _next_try(self, source: SourceHealth, now: datetime) -> datetime | None:
        if source.next_try_in is None:
            return None
        known, reckoned = self._next_tries.get(source.name), now + timedelta(seconds=source.next_try_in)
        return known if known is not None and abs(known - reckoned) < TOLERANCE else reckoned
