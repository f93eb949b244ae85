"""The edge node: one MQTT connection after another, and one ordered publisher on each.

    feed (every publish_interval) -> plan (which device) -> metric (bytes) -> session (seq) -> link
    link -> NCMD, own NDEATH -> session (rebirth at) -> nudge -> births
    link -> DCMD -> door -> submit -> how it ended -> answered -> command metrics, after the values that came with it

The publisher is the only one who writes: the order on the wire is the order of seq.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from bridge import __version__
from bridge.errors import LinkError, LinkLost, LinkRefused, ProtocolError, SubscribeRefused
from bridge.model.plant import BRIDGE_MACHINE_ID, PlantChange
from bridge.model.value import to_milliseconds
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.bdseq import BdSeq
from bridge.northbound.sparkplug.codec import MetricType
from bridge.northbound.sparkplug.door import CommandDoor
from bridge.northbound.sparkplug.fault import plant_faults
from bridge.northbound.sparkplug.plan import Plan
from bridge.northbound.sparkplug.session import Session, State
from bridge.northbound.sparkplug.topic import EdgeNode, MessageType
from bridge.transport.mqtt import Link, Message
from bridge.transport.mqtt_version import Spoken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from pathlib import Path

    from bridge.model.plant import Batch, Plant
    from bridge.model.tag import Tag
    from bridge.model.value import DataValue
    from bridge.northbound.sparkplug.command_metric import Answer, CommandMetrics
    from bridge.northbound.sparkplug.config import SparkplugConfig
    from bridge.northbound.sparkplug.plan import MetricSet
    from bridge.ports import Clock, Feed, Operations, Submit, TagView

logger = logging.getLogger(__name__)

T = TypeVar("T")

BACK_OFF_S = (1.0, 30.0)
"""The first and the longest ceiling of the waits between connections; each wait is random below its ceiling."""
GOODBYE_S = 2.0
"""How long the farewell may take to be acknowledged."""
LARGE_BIRTH = 128 * 1024
"""Bytes; cloud brokers refuse packets beyond 128 or 256 KiB."""
PERSON_NEEDED = 10
"""Waits after a refusal are as long as those after so many failures: trying again soon does not help."""
DRAIN_EVERY = 100
"""Messages between two looks at the link: what may be queued, and how long others may wait for the loop."""


class SparkplugNode:
    """The plant as a Sparkplug B edge node (see `bridge.ports.Northbound`)."""

    name = "sparkplug"

    def __init__(
        self,
        config: SparkplugConfig,
        clock: Clock,
        state_directory: Path,
        enterprise: str,
        site: str,
        bridge_name: str,
    ) -> None:
        given = {"enterprise": enterprise, "site": site, "bridge": bridge_name}
        self.node = EdgeNode(config.group_id.format(**given), config.edge_node_id.format(**given))
        self.session = Session(self.node)
        self.reconnects = 0
        """Connections that were lost or not made since the start."""
        self.messages_total = 0
        """Messages published."""
        self.malformed_total = 0
        """Received messages that were no Sparkplug payload."""
        self.commands_total = 0
        """Received metrics that ask for something."""
        self.command_errors_total = 0
        """What was asked for and not done: unreadable metrics, refused commands."""
        self._config = config
        self._clock = clock
        self._bd_seq = BdSeq(state_directory / "bdseq", self.node)
        self._spoken = Spoken(f"Sparkplug node {self.node}")
        self._plan: Plan
        self._door: CommandDoor
        self._nudge: asyncio.Event
        self._answered: asyncio.Event
        self._unsaid: dict[str, None] = {}
        self._is_down = False
        self._attempt = 0
        self._warned: set[str] = set()

    @property
    def is_online(self) -> bool:
        """The births are out and data flows."""
        return self.session.state in (State.ONLINE, State.REBIRTHING)

    def address(self, tag: Tag) -> str:
        """Where this tag is: "<group>/<edge node>/<device> <metric>"; the bridge's own tags are the node's metrics."""
        device = "" if tag.machine == BRIDGE_MACHINE_ID else f"/{tag.machine}"
        return f"{self.node}{device} {tag.name}"

    def faults(self, plant: Plant) -> Sequence[str]:
        """Ids and metric names that Sparkplug forbids, hosts refuse, or that collide."""
        return plant_faults(self.node, plant, _own_properties(), self._config.commands.enabled)

    async def run(self, view: TagView, submit: Submit, operations: Operations) -> None:
        """Serve until cancelled; then DDEATH for each live device, NDEATH and DISCONNECT."""
        self._nudge, self._answered = asyncio.Event(), asyncio.Event()
        self._is_down = False
        self._attempt = 0
        self._plan = Plan(view.plant.bridge, self._config)
        self._door = CommandDoor(self._config.commands, self._clock, submit, self._note_answer)
        try:
            with view.subscribe(self.name) as feed:
                await self._serve_ever(view, feed)
        finally:
            await self._door.close()

    async def _serve_ever(self, view: TagView, feed: Feed) -> None:
        while True:
            wait = _wait(self._attempt)
            try:
                await self._serve_once(view, feed)
            except LinkError as error:
                self._tell_loss(error)
                wait = _wait(PERSON_NEEDED if isinstance(error, LinkRefused | SubscribeRefused) else self._attempt)
            finally:
                self.session.lost()
            self._attempt += 1
            await self._clock.sleep(wait)

    async def _serve_once(self, view: TagView, feed: Feed) -> None:
        """One connection, from its will to its loss (LinkError) or our farewell (when cancelled)."""
        self._nudge.clear()
        will = self.session.connect(await asyncio.to_thread(self._bd_seq.next), self._now_ms())
        connecting = Link.connect(self._config.broker, self._client_id, will=will, spoken=self._spoken)
        async with AsyncExitStack() as stack:
            try:
                link = await stack.enter_async_context(connecting)
            finally:
                if connecting.may_have_begun:
                    await asyncio.to_thread(self._bd_seq.advance)
            try:
                await self._plan_for(view.plant)  # before a retained DCMD can come: it wants an answer
                await self._subscribe(link)
                await self._serve(link, view, feed)
            except asyncio.CancelledError:
                await self._say_goodbye(link)
                raise

    async def _subscribe(self, link: Link) -> None:
        for topic_filter in self.session.accepted():
            await link.subscribe(topic_filter)
        try:
            await link.subscribe(self.node.topic(MessageType.NDEATH))
        except SubscribeRefused as error:
            self._warn_once("own death", "A twin of %s would not be noticed: %s", self.node, error)
        self.session.subscribed(self._clock.monotonic())

    async def _serve(self, link: Link, view: TagView, feed: Feed) -> None:
        """Listen and publish until either fails, or we are cancelled.

        No TaskGroup: Python 3.11's counts a child's failure as a cancellation of its parent, and forgets a real one.
        """
        both = (
            asyncio.create_task(self._listen(link), name="sparkplug listen"),
            asyncio.create_task(self._publish(link, view, feed), name="sparkplug publish"),
        )
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
        for task in both:
            if not task.cancelled():
                task.result()

    async def _publish(self, link: Link, view: TagView, feed: Feed) -> None:
        """Births when they are due, else what changed, once in each interval."""
        while True:
            if self.session.rebirth_at is not None:
                await self._clock.sleep(max(0.0, self.session.rebirth_at - self._clock.monotonic()))
                await self._give_birth(link, view)
                continue
            batch = await self._unless(anext(feed), self._nudge, self._answered)
            due = self._clock.monotonic() + self._config.publish_interval
            if batch is not None:
                await self._publish_batch(link, view, batch)
            await self._publish_answers(link, view, feed)
            await self._rest(link, view, feed, due)

    async def _rest(self, link: Link, view: TagView, feed: Feed, due: float) -> None:
        """Until the interval is over, or a birth is due. How a command ended does not wait for either."""
        while (left := due - self._clock.monotonic()) > 0 and not self._nudge.is_set():
            await self._unless(self._clock.sleep(left), self._nudge, self._answered)
            if self._answered.is_set():
                await self._publish_answers(link, view, feed)

    async def _plan_for(self, plant: Plant) -> None:
        """Know every machine, a few at a time: thousands of metrics at once would hold up the loop."""
        difference = self._plan.difference(plant)
        self._plan.follow(difference._replace(added=()))
        for machine in difference.added:
            self._plan.follow(PlantChange(added=(machine,)))
            await asyncio.sleep(0)

    async def _give_birth(self, link: Link, view: TagView) -> None:
        """NBIRTH and the DBIRTHs of the machines whose alive rule holds."""
        self._nudge.clear()
        now = self._clock.now()
        now_ms = to_milliseconds(now)
        metrics = [*_own_metrics(now_ms), *self._plan.node.birth(view, now, now_ms)]
        self._send(link, self.session.node_birth(now_ms, metrics))
        for device in [*self._plan.devices.values()]:
            if device.is_alive(view):
                self._bear(link, view, device)
            await link.drain()
        await link.drain()
        self.session.births_are_out(self._clock.monotonic())
        self._attempt = 0
        if self._is_down:
            self._is_down = False
            logger.info("Sparkplug node %s is online again at %s", self.node, self._where)

    async def _publish_batch(self, link: Link, view: TagView, batch: Batch) -> None:
        look_at: dict[MetricSet, list[tuple[int, DataValue]]] = {}
        if batch.change is not None:
            follow = self._plan.follow(batch.change)
            for device_id in follow.die:
                self._kill(link, device_id)
            if follow.is_node_changed:
                await self._give_birth(link, view)
            look_at.update((self._plan.devices[device_id], []) for device_id in follow.look_at)
        look_at.update(self._plan.by_owner(batch.values))
        for count, (owner, values) in enumerate(look_at.items()):
            self._publish_owner(link, view, owner, values)
            if count % DRAIN_EVERY == 0:
                await link.drain()
        await link.drain()

    def _publish_owner(self, link: Link, view: TagView, owner: MetricSet, values: list[tuple[int, DataValue]]) -> None:
        """What these values mean for the node, or for a device: birth, death or data."""
        if self.session.state is not State.ONLINE:
            return  # births are due: they will carry the values, and say who lives
        device_id = None if owner is self._plan.node else owner.id
        if device_id is not None and not owner.is_alive(view):
            self._kill(link, device_id)
        elif device_id is not None and not self.session.is_born(device_id):
            self._bear(link, view, owner)
        else:
            now_ms = self._now_ms()
            metrics = owner.data(values, now_ms)
            if metrics:
                self._send(link, self.session.data(now_ms, device_id, metrics))

    async def _publish_answers(self, link: Link, view: TagView, feed: Feed) -> None:
        """How commands ended. What is not born says it when it is."""
        self._answered.clear()
        unsaid, self._unsaid = self._unsaid, {}
        for count, device_id in enumerate(unsaid):
            device = self._plan.devices.get(device_id)
            if device is not None and device.commands is not None:
                self._publish_answer(link, view, feed, device, device.commands)
            if count % DRAIN_EVERY == 0:
                await link.drain()
        await link.drain()

    def _publish_answer(
        self, link: Link, view: TagView, feed: Feed, device: MetricSet, commands: CommandMetrics
    ) -> None:
        """First the values that came meanwhile: the readback is the acknowledgement, and never later than its name."""
        values = [(slot, value) for slot in device.metrics if (value := feed.newer(slot)) is not None]
        if values:
            self._publish_owner(link, view, device, values)
        if self.session.state is State.ONLINE and self.session.is_born(device.id):
            metrics = commands.data()
            if metrics:
                self._send(link, self.session.data(self._now_ms(), device.id, metrics))

    def _bear(self, link: Link, view: TagView, device: MetricSet) -> None:
        now = self._clock.now()
        now_ms = to_milliseconds(now)
        birth = self.session.device_birth(now_ms, device.id, device.birth(view, now, now_ms))
        if len(birth.payload) > LARGE_BIRTH:
            self._warn_once(
                device.id, "The birth of %s has %d bytes: some brokers refuse it", device.id, len(birth.payload)
            )
        self._send(link, birth)

    def _kill(self, link: Link, device_id: str) -> None:
        self._send(link, self.session.device_death(self._now_ms(), device_id))

    def _send(self, link: Link, message: Message | None) -> None:
        if message is not None:
            self.messages_total += 1
            link.publish(message)

    async def _listen(self, link: Link) -> None:
        async for message in link.messages():
            self._receive(message)
            if self.session.rebirth_at is not None:
                self._nudge.set()

    def _receive(self, message: Message) -> None:
        """A command, or our own death. What was retained comes from the past: only a DCMD is told so."""
        address = self.node.read(message.topic)
        if address is None or (message.retain and address[0] is not MessageType.DCMD):
            return
        kind, device_id = address
        try:
            payload = codec.decode(message.payload)
        except ProtocolError as error:
            self.malformed_total += 1
            self._warn_once(message.topic, "Ignored a message on %s: %s", message.topic, error)
            return
        metrics = self.session.hear(kind, device_id, payload, self._clock.monotonic())
        if metrics:
            self._command(device_id, replace(payload, metrics=metrics), message.retain)

    def _command(self, device_id: str | None, payload: codec.Payload, retained: bool) -> None:
        """A host asks for something."""
        self.commands_total += len(payload.metrics)
        device = None if device_id is None else self._plan.devices.get(device_id)
        if device is not None and device.commands is not None:
            self._door.take(device.machine, device.commands, payload, retained)
        elif device is not None:
            self._warn_once("commands", "Commands from Sparkplug are off; ignored one for %s", device_id)
        else:
            self._warn_once("unknown", "Ignored a command from Sparkplug for %s", (device_id or str(self.node))[:100])

    def _note_answer(self, device_id: str, answer: Answer) -> None:
        self.command_errors_total += answer.outcome.status.is_bad
        device = self._plan.devices.get(device_id)
        if device is not None and device.commands is not None:
            device.commands.tell(answer, self._now_ms())
            self._unsaid[device_id] = None
            self._answered.set()

    async def _say_goodbye(self, link: Link) -> None:
        """DDEATHs, NDEATH, DISCONNECT; with MQTT 5 by reason 0x04 (tck-id-…-publisher-disconnect-mqtt50)."""
        try:
            for message in self.session.stop(self._now_ms()):
                self._send(link, message)
            if not await link.flush(GOODBYE_S):
                logger.warning("The broker did not acknowledge the death of Sparkplug node %s in time", self.node)
            await link.disconnect(with_will=True)
        except LinkLost:
            logger.debug("The connection broke during the farewell: the will speaks for %s", self.node)

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

    def _tell_loss(self, error: LinkError) -> None:
        self.reconnects += 1
        if not self._is_down:
            self._is_down = True
            logger.warning("Sparkplug node %s is not connected to %s: %s", self.node, self._where, error)

    def _warn_once(self, about: str, text: str, *arguments: object) -> None:
        if about not in self._warned:
            self._warned.add(about)
            logger.warning(text, *arguments)

    @property
    def _client_id(self) -> str:
        """Made of the node's name, so that a broker ends one of two twins, and within 23 characters (MQTT 3.1.3.1)."""
        return self._config.client_id or f"sparkplug-{hashlib.sha256(str(self.node).encode()).hexdigest()[:12]}"

    @property
    def _where(self) -> str:
        return self._config.broker.where

    def _now_ms(self) -> int:
        return to_milliseconds(self._clock.now())


def _own_properties() -> dict[str, str]:
    """Information metrics of the node (Sparkplug 3.0, 6.4.23)."""
    return {
        "Properties/FW": f"plantbridge {__version__}",
        "Properties/OS": platform.system(),
        "Properties/OS Version": platform.release(),
    }


def _own_metrics(now_ms: int) -> list[bytes]:
    stamp = codec.stamp(now_ms)
    return [
        codec.MetricEncoder(name, MetricType.String).encode(stamp, text, with_type=True)
        for name, text in _own_properties().items()
    ]


def _wait(attempt: int) -> float:
    """Full jitter: anything up to a ceiling that doubles."""
    first, longest = BACK_OFF_S
    return random.uniform(0, min(longest, first * 2 ** min(attempt, PERSON_NEEDED)))
