"""The values on their topics: said when they change, and again within a heartbeat.

A value is encoded from parts that are kept by topic; what is not Good, and what a preset cannot carry, is the payload's
business. A broker that does not keep up holds the sender back in `drain`, and what is told then is the newest.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bridge.northbound.uns import payload
from bridge.northbound.uns.config import Preset
from bridge.transport.mqtt import Message

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from bridge.model.value import DataValue
    from bridge.northbound.uns.branches import Branches
    from bridge.northbound.uns.config import UnsConfig
    from bridge.ports import Clock
    from bridge.transport.mqtt import Link

SLICE = 500
"""Messages between two looks at the event loop, and in one write: a few milliseconds."""
OFTEN = 100
"""Messages of a session after which a topic gets an alias, where the broker speaks MQTT 5 and has any left."""
TICK_S = 1.0
"""How often the heartbeat looks what is due."""
HEARTBEAT_MARGIN = 0.8
"""A round takes this share of `heartbeat`, so that a late tick does not break the promise."""
TEXT = "text/plain"


class _Spot:
    """Where a tag is told, and what of it never changes."""

    __slots__ = ("end", "like", "outlet", "tells", "unit")

    def __init__(self, link: Link, like: Message, unit: bytes) -> None:
        self.like = like
        self.outlet = link.outlet(like)
        self.end = Message(like.topic, payload.EMPTY, like.qos, retain=True)
        """What empties the topic: it needs neither expiry nor type."""
        self.unit = unit
        self.tells = 0


class Values:
    """What was told of each tag in this session."""

    def __init__(self, config: UnsConfig, clock: Clock, branches: Branches, source: str) -> None:
        self._config = config
        self._clock = clock
        self._branches = branches
        self._source = source
        self._preset = config.preset
        self._spots: dict[int, _Spot] = {}
        self._told: dict[int, DataValue] = {}
        self._rounds: deque[int] = deque()
        self.published_total = 0

    def __len__(self) -> int:
        return len(self._rounds)

    def told(self, slot: int) -> DataValue | None:
        """What was said of a tag last, in this session."""
        return self._told.get(slot)

    def begin_session(self) -> None:
        """The broker knows nothing."""
        self._spots.clear()
        self._told.clear()
        self._rounds.clear()

    def forget(self, slots: AbstractSet[int]) -> None:
        """These tags are gone."""
        for slot in slots:
            self._told.pop(slot, None)
            self._spots.pop(slot, None)
        if slots:
            self._rounds = deque(slot for slot in self._rounds if slot not in slots)

    def move(self, slots: Iterable[int]) -> None:
        """Topics or units of these tags may be others now. The rest keep theirs, and the aliases, of which few are."""
        for slot in slots:
            self._spots.pop(slot, None)

    async def publish(self, link: Link, values: Iterable[tuple[int, DataValue]]) -> None:
        """Tell these values. Raises LinkLost."""
        topics, told = self._branches.topics, self._told
        aging = self._aging(link)
        for number, (slot, value) in enumerate(values, 1):
            if slot in topics:
                if slot not in told:
                    self._rounds.append(slot)
                told[slot] = value
                self._tell(link, slot, value, aging)
            if number % SLICE == 0:
                await link.drain()
                aging = self._aging(link)
        await link.drain()

    async def repeat(self, link: Link) -> None:
        """Say every value again within a heartbeat, a few each tick. Raises LinkLost."""
        credit, last = 0.0, self._clock.monotonic()
        while True:
            await self._clock.sleep(min(TICK_S, self._config.heartbeat / 10))
            now = self._clock.monotonic()
            credit += len(self._rounds) * (now - last) / (self._config.heartbeat * HEARTBEAT_MARGIN)
            last = now
            await self._repeat(link, min(int(credit), len(self._rounds)))
            credit %= 1

    async def _repeat(self, link: Link, count: int) -> None:
        """The next `count` values of the round; the plant may change under it."""
        for number in range(1, count + 1):
            if self._rounds:
                slot = self._rounds[0]
                self._rounds.rotate(-1)
                value = self._told[slot]
                if self._preset is Preset.VTQ or value.status.is_good:  # else its topic is empty
                    self._tell(link, slot, value, self._aging(link))
            if number % SLICE == 0:
                await link.drain()
        await link.drain()

    def _aging(self, link: Link) -> bytes:
        """MQTT 3.1.1 has no message expiry: the payload says instead how long it is to be believed."""
        if link.protocol == "5":
            return b""
        return payload.aging_part(self._clock.now(), int(self._config.expiry))

    def _tell(self, link: Link, slot: int, value: DataValue, aging: bytes) -> None:
        spot = self._spots.get(slot) or self._spot(link, slot)
        content = payload.encode(self._preset, value, spot.unit, aging)
        if content:
            link.send(spot.outlet, content)
        else:
            link.publish(spot.end)
        self.published_total += 1
        spot.tells += 1
        if spot.tells == OFTEN:  # the first to come here are those that change most
            spot.outlet = link.outlet(spot.like, alias=True)

    def _spot(self, link: Link, slot: int) -> _Spot:
        topic, unit, qos = self._branches.topics[slot], self._branches.units[slot], self._config.qos
        like = Message(
            topic,
            b"",
            qos,
            retain=True,
            expiry_s=int(self._config.expiry),
            content_type=TEXT if self._preset is Preset.RAW else payload.JSON,
            user_properties=payload.labels(
                self._preset.value, self._source, "" if self._preset is Preset.VTQ else unit
            ),
        )
        spot = _Spot(link, like, payload.unit_part(unit))
        self._spots[slot] = spot
        return spot
