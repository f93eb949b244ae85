"""Backfill: what MQTT missed, read from the cloud, as historical values, in the background of the budget.

    lapses (agent, device, metric, since, until) -> Fill (agent, metric, each device's window) -> queue
      -> /timeseries, newest first, pages of LONGEST down to the oldest `since` -> rows that were missed, each once
      -> Observation(readings, historical)

There is no cursor: the next page ends where the last one began, and repeats what lies exactly there (facts 1.5). A row
is the same as another where agent, device, metric and time are. A page has all devices of a metric, so a row counts
only where it lies in its own device's window. The cloud keeps numbers only (of all else: null, called good), and of two
devices with one metric name at one time only one: what it does not have cannot be filled.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.errors import AuthFailed, RateLimited, SourceError
from bridge.model.observation import Observation
from bridge.sources._budget import Priority
from bridge.sources.iotistica.rest.rows import iso, milliseconds, reading_row
from bridge.sources.iotistica.rest.wire import NotOffered, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.ports import Clock, Publish
    from bridge.sources.iotistica.rest.client import RestClient

log = logging.getLogger(__name__)

LONGEST: Final = 10_000
"""Rows of one page; the vendor allows no more."""

PAGES: Final = 100
"""Pages of one lapse: a million rows; older ones are left out, and told."""

CHUNK: Final = 1000
"""Rows of one observation: between two, others have their turn."""

QUEUE: Final = 20_000
"""Lapses that wait."""

MOST_KEPT: Final = 20_000
"""Lapses that are still known after a restart, the oldest ones."""

TRIES: Final = 3


class Lapse(NamedTuple):
    """What is missing of one metric of a device of an agent: after `since` and before `until`, ms."""

    agent: str
    device: str
    metric: str
    since: int
    until: int


@dataclass(slots=True)
class Fill:
    """Lapses of one metric that are read together, and how far that is."""

    agent: str
    metric: str
    windows: dict[str, tuple[int, int]]
    """Of each device, what lies between."""
    end: int | None = None
    """Where the next page ends; None before the first."""
    told: set[tuple[str, int]] = field(default_factory=set)
    """Rows that the next page repeats: device and time."""

    def is_missing(self, device: str, at: int) -> bool:
        """It lies in this device's window."""
        since, until = self.windows.get(device, (0, 0))
        return since < at < until


class Backfill:
    """Lapses that wait to be filled; they outlive a connection."""

    def __init__(self, source: str, client: RestClient, clock: Clock, is_read: Callable[[str], bool]) -> None:
        self._source = source
        self._client = client
        self._clock = clock
        self._is_read = is_read
        self._queue: deque[Fill] = deque()
        self._latest: dict[tuple[str, str], Fill] = {}
        """Those that were not begun, the last of each metric."""
        self._bell = asyncio.Event()
        self.rows = 0
        """Rows that were told."""
        self.dropped = 0
        """Lapses that could not be filled, or found no place in the queue."""

    def __len__(self) -> int:
        return len(self._queue)

    def recall(self, page: Mapping[str, Any]) -> None:
        """What `document` gave."""
        rows = page.get("fills")
        for row in rows if isinstance(rows, list) else ():
            fill = _fill_of(row)
            if fill is not None and len(self._queue) < QUEUE:
                self._queue.append(fill)

    def document(self) -> dict[str, Any]:
        """What must be known after a restart: {"fills": [[agent, metric, {device: [since, until]}, end, told], …]}."""
        rows: list[Any] = []
        room = MOST_KEPT
        for fill in self._queue:
            room -= len(fill.windows)
            if room < 0:
                break
            windows = {device: list(window) for device, window in fill.windows.items()}
            rows.append([fill.agent, fill.metric, windows, fill.end, [list(key) for key in fill.told]])
        return {"fills": rows}

    def add(self, lapses: Iterable[Lapse], oldest: int) -> None:
        """Fill these, none further back than `oldest` (ms). Devices of one metric are filled together."""
        for agent, device, metric, begun, until in lapses:
            if (since := max(begun, oldest)) >= until:
                continue
            fill = self._latest.get((agent, metric))
            if fill is not None and device not in fill.windows:
                fill.windows[device] = since, until
            elif len(self._queue) >= QUEUE:
                self.dropped += 1
            else:
                fill = self._latest[agent, metric] = Fill(agent, metric, {device: (since, until)})
                self._queue.append(fill)
        if self._queue:
            self._bell.set()

    async def run(self, publish: Publish) -> None:
        """Fill what comes, until cancelled. Raises AuthFailed, RateLimited."""
        while True:
            while self._queue:
                fill = self._queue[0]
                if self._latest.get((fill.agent, fill.metric)) is fill:
                    del self._latest[fill.agent, fill.metric]
                await self._fill(fill, publish)
                self._queue.popleft()
            self._bell.clear()
            await self._bell.wait()

    async def _fill(self, fill: Fill, publish: Publish) -> None:
        if not self._is_read(fill.agent):
            return
        if not self._client.profile.can_be_named(fill.metric):
            self._give_up(fill, "Iotistica cannot be asked for a metric of this name")
            return
        for attempt in range(1, TRIES + 1):
            try:
                await self._read(fill, publish)
            except (AuthFailed, RateLimited):
                raise
            except (NotOffered, Refused) as error:
                self._give_up(fill, str(error))
                return
            except SourceError as error:
                if attempt == TRIES:
                    raise
                log.info("Source %s: what was missed of %s: %s; tried again", self._source, fill.metric, error)
                await self._clock.sleep(5.0 * attempt)
            else:
                return

    async def _read(self, fill: Fill, publish: Publish) -> None:
        since = min(begun for begun, _ in fill.windows.values())
        end = fill.end or max(until for _, until in fill.windows.values())
        for _ in range(PAGES):
            values = {
                "agent": fill.agent, "metric": fill.metric, "start": iso(since), "end": iso(end), "limit": LONGEST,
            }  # fmt: skip
            reply = await self._client.read("readings_series", values, Priority.BACKFILL)
            rows = reply.rows()
            timed = [(at, row) for row in rows if (at := milliseconds(row.get("time"))) is not None]
            await self._tell(fill, timed, publish)
            oldest = min((at for at, _ in timed), default=None)
            if oldest is None or len(rows) < LONGEST or oldest <= since:
                return
            if oldest >= end and all(at == oldest for at, _ in timed):
                break  # a page full of one millisecond: it cannot be passed
            fill.end = end = oldest
            fill.told = {key for key in fill.told if key[1] == oldest}
        self._give_up(fill, f"there is more than {PAGES} pages of it, or too much at one time; the rest is left out")

    async def _tell(self, fill: Fill, timed: list[tuple[int, dict[str, Any]]], publish: Publish) -> None:
        """Tell a page, oldest first, without what was told of it before it was broken off."""
        news: dict[tuple[str, int], dict[str, Any]] = {}
        for at, row in timed:
            found = reading_row(row)
            if found is None or (found["value"] is None and found["quality"] != "bad"):
                continue
            key = (found["device_uuid"], at)
            if fill.is_missing(*key) and key not in fill.told:
                news.setdefault(key, found)
        keys = sorted(news, key=lambda key: key[1])
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            payload, now = [news[key] for key in chunk], self._clock.now()
            publish(Observation(self._source, fill.agent, "readings", payload, now, historical=True))
            fill.told.update(chunk)
            self.rows += len(chunk)
            await asyncio.sleep(0)

    def _give_up(self, fill: Fill, why: str) -> None:
        self.dropped += 1
        log.warning("Source %s: what was missed of %s of %s: %s", self._source, fill.metric, fill.agent, why)


def _fill_of(row: Any) -> Fill | None:
    """A fill as it was kept; None for what is none."""
    try:
        agent, metric, windows, end, told = row
        within = {str(device): (int(since), int(until)) for device, (since, until) in windows.items()}
        known = {(str(device), int(at)) for device, at in told}
        return Fill(str(agent), str(metric), within, None if end is None else int(end), known) if within else None
    except (AttributeError, TypeError, ValueError):
        return None
