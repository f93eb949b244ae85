"""Backfill: what MQTT missed, read from the cloud, as historical values, in the background of the budget.

    lapse (agent, metric, since, until) -> queue -> /timeseries, newest first, pages of LONGEST down to `since`
      -> rows without repetitions -> Observation(readings, historical)

There is no cursor: the next page ends where the last one began, and repeats what lies exactly there (facts 1.5). A row
is the same as another where agent, device, metric and time are. The cloud keeps numbers only, and of two devices with
one metric name at one time only one: what it does not have cannot be filled.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.errors import AuthFailed, RateLimited, SourceError
from bridge.model.observation import Observation
from bridge.sources._budget import Priority
from bridge.sources.iotistica.rest.rows import iso, milliseconds, reading_row
from bridge.sources.iotistica.rest.wire import NotOffered, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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

TRIES: Final = 3


class Lapse(NamedTuple):
    """What is missing of one metric of an agent: after `since` and before `until`, ms."""

    agent: str
    metric: str
    since: int
    until: int


class Backfill:
    """Lapses that wait to be filled; they outlive a connection."""

    def __init__(self, source: str, client: RestClient, clock: Clock, is_read: Callable[[str], bool]) -> None:
        self._source = source
        self._client = client
        self._clock = clock
        self._is_read = is_read
        self._queue: deque[Lapse] = deque()
        self._bell = asyncio.Event()
        self.rows = 0
        """Rows that were told."""
        self.dropped = 0
        """Lapses that could not be filled, or found no place in the queue."""

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, lapses: Iterable[Lapse], oldest: int) -> None:
        """Fill these, none further back than `oldest` (ms). Devices of one metric are filled together."""
        merged: dict[tuple[str, str], Lapse] = {}
        for lapse in lapses:
            known = merged.get((lapse.agent, lapse.metric))
            since, until = max(lapse.since, oldest), lapse.until
            if known is not None:
                since, until = min(since, known.since), max(until, known.until)
            if since < until:
                merged[lapse.agent, lapse.metric] = Lapse(lapse.agent, lapse.metric, since, until)
        for lapse in merged.values():
            if len(self._queue) >= QUEUE:
                self.dropped += 1
            else:
                self._queue.append(lapse)
        if self._queue:
            self._bell.set()

    async def run(self, publish: Publish) -> None:
        """Fill what comes, until cancelled. Raises AuthFailed, RateLimited."""
        while True:
            while self._queue:
                await self._fill(self._queue[0], publish)
                self._queue.popleft()
            self._bell.clear()
            await self._bell.wait()

    async def _fill(self, lapse: Lapse, publish: Publish) -> None:
        if not self._is_read(lapse.agent):
            return
        if not self._client.profile.can_be_named(lapse.metric):
            self._give_up(lapse, "Iotistica cannot be asked for a metric of this name")
            return
        for attempt in range(1, TRIES + 1):
            try:
                await self._read(lapse, publish)
            except (AuthFailed, RateLimited):
                raise
            except (NotOffered, Refused) as error:
                self._give_up(lapse, str(error))
                return
            except SourceError as error:
                if attempt == TRIES:
                    raise
                log.info("Source %s: what was missed of %s: %s; tried again", self._source, lapse.metric, error)
                await self._clock.sleep(5.0 * attempt)
            else:
                return

    async def _read(self, lapse: Lapse, publish: Publish) -> None:
        end, edge = lapse.until, set[tuple[str, int]]()
        for _ in range(PAGES):
            values = {
                "agent": lapse.agent, "metric": lapse.metric, "start": iso(lapse.since), "end": iso(end),
                "limit": LONGEST,
            }  # fmt: skip
            reply = await self._client.read("readings_series", values, Priority.BACKFILL)
            rows = reply.rows()
            timed = [(at, row) for row in rows if (at := milliseconds(row.get("time"))) is not None]
            oldest = min((at for at, _ in timed), default=None)
            edge = await self._tell(lapse, timed, edge, oldest, publish)
            if oldest is None or len(rows) < LONGEST or oldest <= lapse.since:
                return
            if oldest >= end and all(at == oldest for at, _ in timed):
                break  # a page full of one millisecond: it cannot be passed
            end = oldest
        self._give_up(lapse, f"there is more than {PAGES} pages of it, or too much at one time; the rest is left out")

    async def _tell(
        self,
        lapse: Lapse,
        timed: list[tuple[int, dict[str, Any]]],
        edge: set[tuple[str, int]],
        oldest: int | None,
        publish: Publish,
    ) -> set[tuple[str, int]]:
        """Tell a page, oldest first; gives what lies at its old edge, which the next page repeats."""
        seen, news = set(edge), []
        for at, row in timed:
            if not lapse.since < at < lapse.until or (found := reading_row(row)) is None:
                continue
            key = (found.get("device_uuid", ""), at)
            if key not in seen:
                seen.add(key)
                news.append((at, found))
        news.sort(key=lambda pair: pair[0])
        for start in range(0, len(news), CHUNK):
            payload = [found for _, found in news[start : start + CHUNK]]
            now = self._clock.now()
            publish(Observation(self._source, lapse.agent, "readings", payload, now, historical=True))
            await asyncio.sleep(0)
        self.rows += len(news)
        return {key for key in seen if key[1] == oldest}

    def _give_up(self, lapse: Lapse, why: str) -> None:
        self.dropped += 1
        log.warning("Source %s: what was missed of %s of %s: %s", self._source, lapse.metric, lapse.agent, why)
