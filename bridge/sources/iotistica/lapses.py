"""Lapses: what MQTT missed of each metric, known by what came last before it was lost and first after. Pure."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bridge.model.observation import Observation
from bridge.sources.iotistica.rest.backfill import Lapse
from bridge.sources.iotistica.rest.rows import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.ports import Published

MOST: Final = 50_000
"""Series that are remembered; of more, nothing is filled."""
MOST_KEPT: Final = 20_000
"""Series that are still known after a restart, those that were met first."""
MOST_TOLD: Final = 200_000
"""Samples of lapses that are remembered as told; beyond it those of the series that was filled first are forgotten."""

Series = tuple[str, str, str]
"""Agent, device and metric."""


class Lapses:
    """The newest live sample of each device's metric, and in which session it came."""

    def __init__(self) -> None:
        self._session = 0
        self._last: dict[Series, tuple[int, int]] = {}
        self._windows: dict[Series, tuple[int, int]] = {}
        """Of each series its newest lapse."""
        self._told: dict[Series, set[int]] = {}
        self._count = 0
        self.repeated = 0
        """Samples that came by both ways."""

    def recall(self, page: Mapping[str, Any], now: int) -> Iterator[tuple[Series, int]]:
        """What `document` gave: each series with its newest time, ms. The time since then is a lapse.

        What lies ahead of `now` came by a clock that was wrong: its series would be behind for ever.
        """
        for key, at in _kept(page):
            if at <= now and len(self._last) < MOST and key not in self._last:
                self._last[key] = (self._session - 1, at)
                yield key, at

    def document(self) -> dict[str, Any]:
        """What must be known after a restart: {agent: {device: {metric: ms}}}."""
        page: dict[str, dict[str, dict[str, int]]] = {}
        for (agent, device, metric), (_, at) in islice(self._last.items(), MOST_KEPT):
            page.setdefault(agent, {}).setdefault(device, {})[metric] = at
        return page

    def lost(self) -> None:
        """The session is over: what comes next ends a lapse."""
        self._session += 1

    def once(self, item: Published) -> Published | None:
        """What either way tells of earlier, without what was told of a lapse; None where nothing is left."""
        if not isinstance(item, Observation) or item.channel != "readings" or not item.historical:
            return item
        rows = [row for row in item.payload if self._is_news(_series(item.machine, row), milliseconds(row.get("time")))]
        if len(rows) == len(item.payload):
            return item
        self.repeated += len(item.payload) - len(rows)
        return replace(item, payload=rows) if rows else None

    def _is_news(self, key: Series, at: int | None) -> bool:
        if at is None or not self._is_missed(key, at):
            return True
        told = self._told.setdefault(key, set())
        if at in told:
            return False
        told.add(at)
        self._count += 1
        while self._count > MOST_TOLD:
            self._count -= len(self._told.pop(next(iter(self._told))))
        return True

    def _is_missed(self, key: Series, at: int) -> bool:
        """It lies in the newest lapse of its series, which may not have ended yet."""
        since, until = self._windows.get(key, (0, 0))
        session, last = self._last.get(key, (self._session, 0))
        return since < at < until or (session != self._session and at > last)

    def _forget_told(self, key: Series) -> None:
        """What does not lie in the newest lapse."""
        told = self._told.get(key)
        if told is not None:
            since, until = self._windows[key]
            self._told[key] = {at for at in told if since < at < until}
            self._count -= len(told) - len(self._told[key])

    def hear(self, item: Published) -> list[Lapse]:
        """What MQTT published; the lapses that it ends."""
        if not isinstance(item, Observation) or item.channel != "readings" or item.historical:
            return []
        return list(self._ended(item.machine, item.payload)) if isinstance(item.payload, list) else []

    def _ended(self, agent: str, rows: list[Any]) -> Iterator[Lapse]:
        for row in rows:
            key, at = _series(agent, row), milliseconds(row.get("time"))
            before = self._last.get(key)
            if at is None or (before is not None and before[1] >= at):
                continue
            if before is not None and before[0] != self._session:
                self._windows[key] = before[1], at
                self._forget_told(key)
                yield Lapse(*key, before[1], at)
            if before is not None or len(self._last) < MOST:
                self._last[key] = (self._session, at)


def _kept(page: Mapping[str, Any]) -> Iterator[tuple[Series, int]]:
    for agent, devices in page.items():
        for device, metrics in devices.items() if isinstance(devices, dict) else ():
            for metric, at in metrics.items() if isinstance(metrics, dict) else ():
                if isinstance(at, int):
                    yield (agent, device, metric), at


def _series(agent: str, row: dict[str, Any]) -> Series:
    return agent, str(row.get("device_uuid") or row.get("device") or ""), str(row.get("metric"))
