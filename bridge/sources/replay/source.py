"""ReplaySource: a record as a source. It publishes what was recorded, with the spacing of then.

    file -> header -> lines ... -> end, then silence (values go stale as in life), or the beginning again

Times are moved so that the recording begins now: what was received then is received now, and what the vendor dated
two seconds before is dated two seconds before. Where speed is not 1, a moment is moved as its line is, so that a
value is never from the future; times inside payloads stay as the vendor sent them.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge.errors import NotConnected
from bridge.model.event import Event
from bridge.model.observation import Condition, Inventory, Observation, Reading
from bridge.model.value import to_milliseconds
from bridge.sources.replay.reader import Damaged, RecordReader, seconds_of
from bridge.sources.replay.record import Entry

if TYPE_CHECKING:
    from datetime import datetime

    from bridge.ports import Clock, Publish
    from bridge.sources.replay.config import ReplayConfig
    from bridge.sources.replay.record import Header, Item, Line

READINGS_PERIOD: Final = 0.5
SHORTEST_WAIT: Final = 0.001
"""Seconds; nothing is gained by sleeping for less."""

Stamp = tuple[int, int]
"""Modification time in ns, and size: which file it was."""


class ReplaySource:
    """One source of a record. The constructor does no I/O.

    `run` again goes on where it stopped, so that a damaged file is not played again and again up to its damage; a file
    that has changed is played from its beginning.
    """

    def __init__(self, name: str, config: ReplayConfig, clock: Clock) -> None:
        self._name = name
        self._config = config
        self._clock = clock
        self._path = Path(config.file)
        self._publish: Publish = lambda item: None
        self._played: tuple[Stamp, int] | None = None
        self._items = 0
        self._position = 0.0
        self._length = 0.0
        self._told_at: float | None = None

    @property
    def name(self) -> str:
        """The source's name in the configuration."""
        return self._name

    def origin(self, observation: Observation) -> str:
        """The record."""
        return "replayed from a record"

    async def run(self, publish: Publish) -> None:
        """Play the record, then be silent until cancelled. Raises NotConnected: no file, or a damaged one."""
        self._publish = publish
        try:
            stamp = _stamp(self._path)
            self._length = await asyncio.to_thread(seconds_of, self._path)
            await self._play_all(stamp)
        except Damaged as damage:
            raise NotConnected(str(damage), "Ask for the file again; what stands before this line was played") from None
        except OSError as error:
            reason = f"{self._path} cannot be read: {error.strerror or error}"
            raise NotConnected(reason, "Is the file where the configuration says?") from None
        self._tell(ended=True)
        await asyncio.get_running_loop().create_future()

    async def _play_all(self, stamp: Stamp) -> None:
        skipped = self._played[1] if self._played and self._played[0] == stamp else 0
        while True:
            await self._play(stamp, skipped)
            if not self._config.loop:
                return
            skipped = 0
            await self._clock.sleep(SHORTEST_WAIT)  # a record without a single item must not turn for ever

    async def _play(self, stamp: Stamp, skipped: int) -> None:
        with RecordReader(self._path) as reader:
            header = reader.header()
            pass_ = _Pass(header, self._chosen(header), self._name, self._config.speed, self._clock)
            self._items, self._played = 0, (stamp, max(skipped, 1))
            self._tell(ended=False)
            while lines := reader.portion():
                for number, line in lines:
                    if number > skipped:
                        await self._play_line(pass_, line)
                        self._played = (stamp, number)
                await asyncio.sleep(0)

    def _chosen(self, header: Header) -> str:
        """The source that is played. Raises NotConnected."""
        there, wanted = ", ".join(header.sources) or "none", self._config.of
        if wanted is None and len(header.sources) == 1:
            return next(iter(header.sources))
        if wanted is None:
            raise NotConnected(f"{self._path} has several sources", f"Write of: and one of {there}")
        if wanted not in header.sources:
            raise NotConnected(f"{self._path} has no source {wanted}", f"It has {there}")
        return wanted

    async def _play_line(self, pass_: _Pass, line: Line) -> None:
        due = pass_.due(line)
        while (wait := due - self._clock.monotonic()) > SHORTEST_WAIT:
            await self._clock.sleep(min(wait, READINGS_PERIOD))
            self._position = pass_.position(line)
            self._tell_now_and_then()
        self._position = line.at
        item = pass_.item(line)
        if item is not None:
            self._publish(item)
            self._items += 1
        self._tell_now_and_then()

    def _tell_now_and_then(self) -> None:
        now = self._clock.monotonic()
        if self._told_at is None or now - self._told_at >= READINGS_PERIOD:
            self._tell(ended=False)

    def _tell(self, *, ended: bool) -> None:
        self._told_at = self._clock.monotonic()
        length = max(self._length, self._position)
        self._say("Position", round(self._position, 1))
        self._say("Items", self._items)
        self._say("Progress", 100.0 if ended else round(100 * self._position / length, 1) if length else 0.0)
        self._say("Ended", ended)

    def _say(self, name: str, value: bool | float) -> None:
        self._publish(Reading(self._name, name, value, self._clock.now()))


OWN: Final = frozenset({"Position", "Items", "Progress", "Ended"})
"""Readings that are ours: those of a record of a replay are passed over."""


class _Pass:
    """From the times of the record to those of now."""

    def __init__(self, header: Header, of: str, name: str, speed: float, clock: Clock) -> None:
        self._of = of
        self._name = name
        self._speed = speed
        self._clock = clock
        self._began = header.began
        self._wall = clock.now()
        self._zero = clock.monotonic()

    def due(self, line: Line) -> float:
        """Monotonic time at which it is played."""
        return self._zero + line.at / self._speed if self._speed else self._zero

    def position(self, line: Line) -> float:
        """Seconds of the record that have passed while this line is waited for."""
        return min(line.at, (self._clock.monotonic() - self._zero) * self._speed)

    def item(self, line: Line) -> Item | None:
        """What is published now; None for what is not this source's."""
        if not isinstance(line, Entry) or line.item.source != self._of:
            return None
        item = line.item
        if isinstance(item, Reading):
            return None if item.name in OWN else self._reading(item, line.at)
        if isinstance(item, Inventory):
            return replace(item, source=self._name)
        if isinstance(item, Condition):
            return replace(item, source=self._name, since=self._moved(item.since, line.at))
        if isinstance(item, Event):
            # an id is one event for ever, and this is another one than then: as often as it is played
            identifier = f"{item.id}@{to_milliseconds(self._wall)}"
            return replace(item, id=identifier, source=self._name, time=self._moved(item.time, line.at))
        return self._observation(item, line.at)

    def _observation(self, item: Observation, at: float) -> Observation:
        source_time, asked = item.source_time, item.requested_at
        return replace(
            item,
            source=self._name,
            received=self._moved(item.received, at),
            source_time=None if source_time is None else self._moved(source_time, at),
            requested_at=None if asked is None else self._clock.monotonic() - (at - asked),
            period=item.period / self._speed if item.period is not None and self._speed else item.period,
        )

    def _reading(self, item: Reading, at: float) -> Reading:
        return replace(item, source=self._name, at=self._moved(item.at, at))

    def _moved(self, moment: datetime, at: float) -> datetime:
        """As far from now as it was from then, in whole milliseconds."""
        then = self._began + timedelta(seconds=at)
        now = self._wall + timedelta(seconds=at / self._speed) if self._speed else self._clock.now()
        try:
            moved = moment + (now - then)
        except OverflowError:  # the year 1 or 9999: a vendor's way to say never
            return now
        return moved.replace(microsecond=moved.microsecond // 1000 * 1000)


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
