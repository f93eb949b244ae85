"""Lapses: what MQTT missed of each metric, known by what came last before it was lost and first after. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.model.observation import Observation
from bridge.sources.iotistica.rest.backfill import Lapse
from bridge.sources.iotistica.rest.rows import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.ports import Published

MOST: Final = 50_000
"""Series that are remembered; of more, nothing is filled."""


class Lapses:
    """The newest live sample of each device's metric, and in which session it came."""

    def __init__(self) -> None:
        self._session = 0
        self._last: dict[tuple[str, str, str], tuple[int, int]] = {}

    def lost(self) -> None:
        """The session is over: what comes next ends a lapse."""
        self._session += 1

    def hear(self, item: Published) -> list[Lapse]:
        """What MQTT published; the lapses that it ends."""
        if not isinstance(item, Observation) or item.channel != "readings" or item.historical:
            return []
        return list(self._ended(item.machine, item.payload)) if isinstance(item.payload, list) else []

    def _ended(self, agent: str, rows: list[Any]) -> Iterator[Lapse]:
        for row in rows:
            key = (agent, str(row.get("device_uuid") or row.get("device") or ""), str(row.get("metric")))
            at = milliseconds(row.get("time"))
            before = self._last.get(key)
            if at is None or (before is not None and before[1] >= at):
                continue
            if before is not None and before[0] != self._session:
                yield Lapse(*key, before[1], at)
            if before is not None or len(self._last) < MOST:
                self._last[key] = (self._session, at)
