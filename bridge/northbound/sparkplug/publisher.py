"""The one ordered publisher of an edge node: births, data and answers, to one link after another.

    feed (every publish_interval) -> plan (which device) -> metric (bytes) -> session (seq) -> link

It is the only one who writes: the order on the wire is the order of seq.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from typing import TYPE_CHECKING, Any, TypeVar

from bridge import __version__
from bridge.errors import LinkRefused
from bridge.model.plant import PlantChange
from bridge.model.value import to_milliseconds
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.codec import MetricType
from bridge.northbound.sparkplug.session import State
from bridge.transport.mqtt_packet import LARGEST_PACKET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from bridge.model.plant import Batch
    from bridge.model.value import DataValue
    from bridge.northbound.sparkplug.alias import Aliases
    from bridge.northbound.sparkplug.backfill import Backfill
    from bridge.northbound.sparkplug.command_metric import CommandMetrics
    from bridge.northbound.sparkplug.plan import MetricSet, Plan
    from bridge.northbound.sparkplug.session import Session
    from bridge.ports import Clock, Feed, TagView
    from bridge.transport.mqtt import Link, Message

logger = logging.getLogger(__name__)

T = TypeVar("T")

LARGE_BIRTH = 128 * 1024
"""Bytes; cloud brokers refuse packets beyond 128 or 256 KiB."""
DRAIN_EVERY = 100
"""Messages between two looks at the link: what may be queued, and how long others may wait for the loop."""
LONGEST_WAIT_S = 3600.0
CLOCK_SET_BACK_MS = 1000
CLOCK_SET_BACK = "This computer's clock was set back by %.0f s: Sparkplug hosts may refuse values until it caught up"
"""Nothing may be from the future, and hosts refuse what is older than they have: there is no third way."""


class Publisher:
    """Says what is to be said, in order. `online` is called whenever all births are out.

    `published` counts messages; `too_large` tells of the devices that are not published because of their size.
    """

    def __init__(
        self,
        session: Session,
        plan: Plan,
        clock: Clock,
        interval_s: float,
        view: TagView,
        feed: Feed,
        online: Callable[[], None],
        backfill: Backfill | None = None,
    ) -> None:
        self.published = 0
        self._backfill = backfill
        self._session = session
        self._plan = plan
        self._clock = clock
        self._interval_s = interval_s
        self._view = view
        self._feed = feed
        self._online = online
        self._link: Link
        self._nudge = asyncio.Event()
        self._answered = asyncio.Event()
        self._unsaid: dict[str, None] = {}
        self._too_large: dict[str, tuple[MetricSet, str]] = {}
        self._warned: set[str] = set()
        self._newest_ms = 0

    @property
    def too_large(self) -> tuple[str, ...]:
        """A sentence for each device that is not published because its birth is larger than the broker takes."""
        return tuple(sentence for _, sentence in self._too_large.values())

    def nudge(self) -> None:
        """The session has changed: births may be due, or this broker is to be left."""
        self._nudge.set()

    def answer(self, device_id: str) -> None:
        """A command of this device has ended: its metrics say how."""
        self._unsaid[device_id] = None
        self._answered.set()

    def say_past(self, device_id: str, values: list[tuple[int, DataValue]]) -> bool:
        """Values that hosts missed, in order of time; False where they cannot be told now."""
        device = self._plan.devices.get(device_id)
        if device is None or self._session.state is not State.ONLINE or not self._session.is_born(device_id):
            return False
        self._say(device_id, device.past(values))
        return True

    async def prepare(self) -> None:
        """Know every machine, a few at a time: thousands of metrics at once would hold up the loop."""
        difference = self._plan.difference(self._view.plant)
        self._plan.follow(difference._replace(added=()))
        for machine in difference.added:
            self._plan.follow(PlantChange(added=(machine,)))
            await asyncio.sleep(0)

    async def run(self, link: Link) -> None:
        """Births when they are due, else what changed, once in each interval; until this broker is to be left."""
        self._link = link
        while self._session.departure is None:
            self._nudge.clear()
            if self._session.state is State.WAIT_HOST:
                await self._until(self._session.leave_at)
                self._session.wait_is_over(self._clock.monotonic())
            elif (due := self._session.rebirth_at) is not None:
                await self._until(due)
                if self._session.rebirth_at == due <= self._clock.monotonic():
                    await self._give_birth()
            else:
                await self._publish()

    async def _until(self, moment: float) -> None:
        """Wait for a monotonic time, or for the session to change."""
        left = moment - self._clock.monotonic()
        if left > 0:
            await self._unless(self._clock.sleep(min(left, LONGEST_WAIT_S)), self._nudge)

    async def _publish(self) -> None:
        batch = await self._unless(anext(self._feed), self._nudge, self._answered)
        due = self._clock.monotonic() + self._interval_s
        if batch is not None:
            await self._publish_batch(batch)
        await self._publish_answers()
        await self._rest(due)

    async def _rest(self, due: float) -> None:
        """Until the interval is over, or the session changes. How a command ended does not wait for either."""
        while (left := due - self._clock.monotonic()) > 0 and not self._nudge.is_set():
            await self._unless(self._clock.sleep(left), self._nudge, self._answered)
            if self._answered.is_set():
                await self._publish_answers()

    async def _give_birth(self) -> None:
        """NBIRTH and the DBIRTHs of the machines whose alive rule holds."""
        await self.prepare()  # waiting may have been long
        if self._session.state is State.STOPPING:
            return  # the primary host went meanwhile
        self._too_large.clear()
        now = self._clock.now()
        now_ms = to_milliseconds(now)
        self._plan.begin_births()
        metrics = [*self._plan.node.birth(self._view, now, now_ms), *_own_metrics(now_ms, self._plan.aliases)]
        self._send(self._node_birth(now_ms, metrics))
        for device in [*self._plan.devices.values()]:
            if device.is_alive(self._view):
                self._bear(device)
            else:
                self._leave_unsaid((slot, None) for slot in device.metrics)
            await self._link.drain()
            if self._session.departure is not None:
                return
        self._note_said()
        await self._link.drain()
        if self._session.departure is None:
            self._session.births_are_out(self._clock.monotonic())
            self._online()

    def _node_birth(self, now_ms: int, metrics: Sequence[bytes]) -> Message:
        message, room = self._session.node_birth(now_ms, metrics), self._session.room(None)
        if len(message.payload) > room:
            size = f"the node's own birth has {len(message.payload)} bytes and the broker takes {room}"
            raise LinkRefused(f"{size}; raise the broker's maximum packet size")
        return message

    async def _publish_batch(self, batch: Batch) -> None:
        look_at: dict[MetricSet, list[tuple[int, DataValue]]] = {}
        if batch.change is not None:
            follow = self._plan.follow(batch.change)
            for device_id in follow.die:
                self._kill(device_id)
            if follow.is_node_changed and self._session.state is State.ONLINE:
                await self._give_birth()
                return  # the births are at least as new as this batch
            look_at.update((self._plan.devices[device_id], []) for device_id in follow.look_at)
        look_at.update(self._plan.by_owner(batch.values))
        for count, (owner, values) in enumerate(look_at.items()):
            self._publish_owner(owner, values)
            if count % DRAIN_EVERY == 0:
                await self._link.drain()
        self._note_said()
        await self._link.drain()

    def _publish_owner(self, owner: MetricSet, values: list[tuple[int, DataValue]]) -> None:
        """What these values mean for the node, or for a device: birth, death or data."""
        if self._session.state is not State.ONLINE:
            self._leave_unsaid(values)
            return  # births are due: they will carry the values, and say who lives
        device_id = None if owner is self._plan.node else owner.id
        if device_id is not None and not owner.is_alive(self._view):
            self._leave_unsaid(values)
            self._kill(device_id)
        elif device_id is not None and not self._session.is_born(device_id):
            self._bear(owner)
        else:
            self._say(device_id, owner.data(values, self._now_ms()))

    async def _publish_answers(self) -> None:
        """How commands ended. What is not born says it when it is."""
        self._answered.clear()
        unsaid, self._unsaid = self._unsaid, {}
        for count, device_id in enumerate(unsaid):
            device = self._plan.devices.get(device_id)
            if device is not None and device.commands is not None:
                self._publish_answer(device, device.commands)
            if count % DRAIN_EVERY == 0:
                await self._link.drain()
        await self._link.drain()

    def _publish_answer(self, device: MetricSet, commands: CommandMetrics) -> None:
        """First the values that came meanwhile: the readback is the acknowledgement, and never later than its name."""
        values = [(slot, value) for slot in device.metrics if (value := self._feed.newer(slot)) is not None]
        if values:
            self._publish_owner(device, values)
            self._note_said()
        if self._session.state is State.ONLINE and self._session.is_born(device.id):
            self._say(device.id, commands.data())

    def _bear(self, device: MetricSet) -> None:
        """DBIRTH, unless the broker would refuse it: then this device alone is not published, and we say why."""
        known = self._too_large.get(device.id)
        if known is not None and known[0] is device:
            self._leave_unsaid((slot, None) for slot in device.metrics)
            return
        now = self._clock.now()
        now_ms = to_milliseconds(now)
        metrics = device.birth(self._view, now, now_ms)
        size, room = sum(map(len, metrics)), self._session.room(device.id)
        if size > room:
            self._leave_out(device, size, room)
            return
        self._too_large.pop(device.id, None)
        if size > LARGE_BIRTH and self._session.packet_limit == LARGEST_PACKET:
            self._warn_once(device.id, "The birth of %s has %d bytes: some brokers refuse it", device.id, size)
        self._send(self._session.device_birth(now_ms, device.id, metrics))
        if self._backfill is not None:
            self._backfill.born(device.metrics)

    def _leave_unsaid(self, values: Iterable[tuple[int, DataValue | None]]) -> None:
        if self._backfill is not None:
            self._backfill.unsaid(slot for slot, _ in values)

    def _note_said(self) -> None:
        if self._backfill is not None:
            self._backfill.note_said()

    def _leave_out(self, device: MetricSet, size: int, room: int) -> None:
        sentence = (
            f"{device.id} is not published: its birth has {size} bytes, the broker takes {max(room, 0)}; raise the"
            " broker's maximum packet size (and max_packet_size), or give the machine fewer tags"
        )
        self._too_large[device.id] = (device, sentence)
        self._leave_unsaid((slot, None) for slot in device.metrics)
        self._warn_once(f"size {device.id}", "Sparkplug device %s", sentence)

    def _kill(self, device_id: str) -> None:
        self._send(self._session.device_death(self._now_ms(), device_id))

    def _say(self, device_id: str | None, metrics: Sequence[bytes]) -> None:
        """NDATA or DDATA; several where one would be larger than the broker takes."""
        for portion in self._portions(metrics, self._session.room(device_id)):
            self._send(self._session.data(self._now_ms(), device_id, portion))

    def _portions(self, metrics: Sequence[bytes], room: int) -> Iterator[Sequence[bytes]]:
        sizes = [*map(len, metrics)]
        if sum(sizes) <= room:
            if metrics:
                yield metrics
            return
        portion: list[bytes] = []
        left = room
        for metric, size in zip(metrics, sizes, strict=True):
            if size > room:
                self._warn_once("metric", "A value of %d bytes is not published: the broker takes %d", size, room)
                continue
            if size > left:
                yield portion
                portion, left = [], room
            portion.append(metric)
            left -= size
        if portion:
            yield portion

    def _send(self, message: Message | None) -> None:
        if message is not None:
            self.published += 1
            self._link.publish(message)

    async def _unless(self, waiting: Awaitable[T], *events: asyncio.Event) -> T | None:
        """Wait for this, but not beyond any of these events: then None, unless it was there already."""
        wanted: asyncio.Future[T] = asyncio.ensure_future(waiting)
        every: set[asyncio.Future[Any]] = {wanted, *(asyncio.ensure_future(event.wait()) for event in events)}
        try:
            await asyncio.wait(every, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in every:
                one.cancel()
            await asyncio.wait(every)
        return None if wanted.cancelled() else wanted.result()

    def _warn_once(self, about: str, text: str, *arguments: object) -> None:
        if about not in self._warned:
            self._warned.add(about)
            logger.warning(text, *arguments)

    def _now_ms(self) -> int:
        now_ms = to_milliseconds(self._clock.now())
        if now_ms < self._newest_ms - CLOCK_SET_BACK_MS:
            self._warn_once("clock", CLOCK_SET_BACK, (self._newest_ms - now_ms) / 1000)
        self._newest_ms = max(self._newest_ms, now_ms)
        return now_ms


def own_properties() -> dict[str, str]:
    """Information metrics of the node (Sparkplug 3.0, 6.4.23)."""
    return {
        "Properties/FW": f"plantbridge {__version__}",
        "Properties/OS": platform.system(),
        "Properties/OS Version": platform.release(),
    }


def _own_metrics(now_ms: int, aliases: Aliases | None) -> list[bytes]:
    stamp = codec.stamp(now_ms)
    return [
        codec.MetricEncoder(name, MetricType.String, None if aliases is None else aliases.next()).birth(stamp, text)
        for name, text in own_properties().items()
    ]
