"""The edge node: one MQTT connection after another, and one ordered publisher for them all.

    walk (which broker, when) -> CONNECT with bdSeq -> SUBSCRIBE -> publisher -> farewell, or loss -> walk
    link -> STATE, NCMD, own NDEATH -> session (births due, broker to be left) -> nudge -> publisher
    link -> DCMD -> door -> submit -> how it ended -> publisher -> command metrics, after the values that came with it

How a session ends:

    stopped, or left while hosts know us    DDEATHs, NDEATH, DISCONNECT (MQTT 5: 0x04)
    stopped, or left before any birth       MQTT 5: DISCONNECT 0x04; MQTT 3.1.1: the connection is closed without a word
    stopped while connecting                the connection is closed without a word

A birth is the first thing a node may say, and an NDEATH must come before any DISCONNECT of MQTT 3.1.1; so before a
birth the broker says the will in our place, which hosts ignore (tck-id-principles-birth-certificates-order,
tck-id-payloads-ndeath-will-message-publisher-disconnect-mqtt311 and -mqtt50).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from bridge.errors import LinkError, LinkLost, LinkRefused, ProtocolError, SubscribeRefused
from bridge.model.plant import ALIVE, BRIDGE_MACHINE_ID
from bridge.model.value import to_milliseconds
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.backfill import Backfill
from bridge.northbound.sparkplug.bdseq import BdSeq
from bridge.northbound.sparkplug.door import CommandDoor
from bridge.northbound.sparkplug.fault import plant_faults
from bridge.northbound.sparkplug.plan import Plan
from bridge.northbound.sparkplug.primary_host import PrimaryHost
from bridge.northbound.sparkplug.publisher import Publisher, own_properties
from bridge.northbound.sparkplug.session import Patience, Session, State
from bridge.northbound.sparkplug.topic import EdgeNode, MessageType
from bridge.northbound.sparkplug.walk import PERSON_NEEDED, Walk
from bridge.ports import Rights, Told
from bridge.transport.mqtt import Link, Message
from bridge.transport.mqtt_packet import LARGEST_PACKET
from bridge.transport.mqtt_version import Spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bridge.model.plant import Plant
    from bridge.model.tag import Tag
    from bridge.northbound.sparkplug.command_metric import Answer
    from bridge.northbound.sparkplug.config import SparkplugConfig
    from bridge.ports import Clock, Operations, Submit, TagView
    from bridge.transport.mqtt import BrokerConfig

logger = logging.getLogger(__name__)

T = TypeVar("T")

BACK_OFF_S = (1.0, 30.0)
"""The first and the longest ceiling of the waits between connections; each wait is random below its ceiling."""
GOODBYE_S = 2.0
"""How long the farewell may take to be acknowledged."""

SILENCE_S = 5.0
"""A primary host that is online says so at once; waiting for longer is worth a line in the log."""


class _Departed(LinkError):
    """We left this broker, and told hosts so: try the next one."""


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
        host_id = config.primary_host_id
        self.session = Session(
            self.node,
            None if host_id is None else PrimaryHost(host_id, config.legacy_host_state),
            lambda: random.uniform(0, config.birth_jitter),
            may_walk=len(config.brokers) > 1,
        )
        self.reconnects = 0
        """Connections that were lost or not made since the start."""
        self.malformed_total = 0
        """Received messages that were no Sparkplug payload."""
        self.commands_total = 0
        """Received metrics that ask for something."""
        self.command_errors_total = 0
        """What was asked for and not done: unreadable metrics, refused commands."""
        self._config = config
        self._clock = clock
        self._bd_seq = BdSeq(state_directory / "bdseq", self.node)
        self._spoken = [Spoken(f"Sparkplug node {self.node}") for _ in config.brokers]
        self._walk: Walk
        self._plan: Plan
        self._door: CommandDoor
        self._publisher: Publisher
        self._backfill: Backfill | None = None
        self._births_out = asyncio.Event()
        self._trouble = "is connecting"
        self._is_told = self._is_twin_told = False
        self._warned: set[str] = set()

    @property
    def is_online(self) -> bool:
        """The births are out and data flows."""
        return self.session.state in (State.ONLINE, State.REBIRTHING)

    @property
    def messages_total(self) -> int:
        """Messages published."""
        return self._publisher.published

    def metrics(self) -> dict[str, float]:
        """Counters for the status page."""
        return {
            "sparkplug_online": self.is_online,
            "sparkplug_messages_total": self.messages_total if hasattr(self, "_publisher") else 0,
            "sparkplug_rebirths_total": self.session.rebirths,
            "sparkplug_reconnects_total": self.reconnects,
            "sparkplug_malformed_total": self.malformed_total,
            "sparkplug_commands_total": self.commands_total,
            "sparkplug_command_errors_total": self.command_errors_total,
        }

    @property
    def trouble(self) -> str:
        """Why hosts do not see all there is, in a sentence; "" while they do."""
        return self._trouble or "; ".join(self._publisher.too_large)

    def address(self, tag: Tag) -> str:
        """Where this tag is: "<group>/<edge node>/<device> <metric>"; the bridge's own tags are the node's metrics."""
        device = "" if tag.machine == BRIDGE_MACHINE_ID else f"/{tag.machine}"
        return f"{self.node}{device} {tag.name}"

    def rights(self) -> Rights:
        """Commands and the primary host's state. What it publishes cannot be tried: hosts would take it for data."""
        return Rights(self.session.subscriptions, untried=self.session.publications)

    def told(self, tag: Tag) -> Told:
        """What was sent of its metric in this session."""
        if not self.is_online:
            return Told(why_not=self._trouble or f"the node is {self.session.state.value}")
        device = self._plan.devices.get(tag.machine)
        owner = self._plan.node if tag.machine == BRIDGE_MACHINE_ID else device
        if owner is None or (metric := owner.metrics.get(tag.slot)) is None:
            return Told(why_not="it is not in any birth yet")
        if device is not None and not self.session.is_born(tag.machine):
            too_large = next((why for why in self._publisher.too_large if why.startswith(f"{tag.machine} ")), "")
            return Told(why_not=too_large or f"the device {tag.machine} is dead: its {ALIVE} is not true")
        return Told(metric.said)

    def faults(self, plant: Plant) -> Sequence[str]:
        """Ids and metric names that Sparkplug forbids, hosts refuse, or that collide."""
        return plant_faults(self.node, plant, own_properties(), self._config.commands.enabled)

    async def run(self, view: TagView, submit: Submit, operations: Operations) -> None:
        """Serve until cancelled; then DDEATH for each live device, NDEATH and DISCONNECT."""
        self._trouble, self._is_told = "is connecting", False
        self._walk = Walk(len(self._config.brokers), _wait)
        self._plan = Plan(view.plant.bridge, self._config)
        self._door = CommandDoor(self._config.commands, self._clock, submit, self._note_answer)
        interval_s = self._config.publish_interval
        self._backfill = None
        if view.history is not None:
            reader, rate = view.history.reader(self.name), self._config.backfill_rate
            self._backfill = Backfill(reader, self.session, self._clock, view, rate, interval_s)
        try:
            with view.subscribe(self.name) as feed:
                self._publisher = Publisher(
                    self.session, self._plan, self._clock, interval_s, view, feed, self._births_out.set, self._backfill
                )
                await self._serve_ever()
        finally:
            await self._door.close()

    async def _serve_ever(self) -> None:
        while True:
            try:
                await self._serve_once()
            except LinkError as error:
                self._tell_loss(error)
                if isinstance(error, _Departed):
                    self._walk.left(self._clock.monotonic())
                else:
                    refused = isinstance(error, LinkRefused | SubscribeRefused)
                    self._walk.failed(self._clock.monotonic(), refused)
            finally:
                self.session.lost()
            await self._clock.sleep(self._walk.pause(self._clock.monotonic()))

    async def _serve_once(self) -> None:
        """One connection, from its will to its loss or our leaving (LinkError), or our farewell (when cancelled)."""
        broker = self._broker
        bd_seq = await self._claim()
        will = self.session.connect(bd_seq, self._now_ms(), broker.where, self._patience)
        connecting = Link.connect(broker, self._client_id, will=will, spoken=self._spoken[self._walk.current])
        async with AsyncExitStack() as stack:
            try:
                link = await stack.enter_async_context(connecting)
            finally:
                if not connecting.may_have_begun:
                    await _whole(self._bd_seq.give_back)
            self._walk.connected(self._clock.monotonic())
            try:
                own_limit = self._config.max_packet_size or LARGEST_PACKET
                self.session.packet_limit = min(link.maximum_packet_size, own_limit)
                await self._publisher.prepare()  # before a retained DCMD can come: it wants an answer
                await self._subscribe(link)
                await self._serve(link)
            except asyncio.CancelledError:
                await self._say_goodbye(link)
                raise
            departure = _Departed(self.session.departure)
            await self._say_goodbye(link)
            raise departure

    async def _claim(self) -> int:
        """A bdSeq for one CONNECT; given back where we are stopped before it can be sent."""
        try:
            return await _whole(self._bd_seq.claim)
        except asyncio.CancelledError:
            await _whole(self._bd_seq.give_back)
            raise

    @property
    def _patience(self) -> Patience:
        """How long to wait for the primary host here. Where all brokers were tried, stay a while: it comes back."""
        if self._walk.is_alone:
            return Patience()
        silent_s = self._config.primary_host_timeout
        return Patience(silent_s, 0.0 if self._walk.has_untried else silent_s)

    async def _subscribe(self, link: Link) -> None:
        """Hear commands, the primary host and our own death. Without the first two a session would look alive only."""
        for topic_filter in self.session.accepted():
            try:
                await link.subscribe(topic_filter)
            except SubscribeRefused as error:
                if topic_filter == self.node.topic(MessageType.DCMD, "+") and not self._config.commands.enabled:
                    self._warn_once("commands", "Commands from Sparkplug are off, and the broker refuses %s", error)
                    continue
                raise SubscribeRefused(f"it refuses {error}; its access control must let this user read it") from None
        try:
            await link.subscribe(self.node.topic(MessageType.NDEATH))
        except SubscribeRefused as error:
            self._warn_once("own death", "A twin of %s would not be noticed: %s", self.node, error)
        self.session.subscribed(self._clock.monotonic())
        self._note_wait()

    async def _serve(self, link: Link) -> None:
        """Listen and publish until either fails or is done, or we are cancelled.

        No TaskGroup: Python 3.11's counts a child's failure as a cancellation of its parent, and forgets a real one.
        """
        self._births_out.clear()
        tasks = [
            asyncio.create_task(self._listen(link), name="sparkplug listen"),
            asyncio.create_task(self._publisher.run(link), name="sparkplug publish"),
            asyncio.create_task(self._tell_online(link), name="sparkplug online"),
        ]
        if (past := self._backfill) is not None:
            past.begin_session()
            tasks.append(asyncio.create_task(past.confirm(link), name="sparkplug confirmations"))
            tasks.append(asyncio.create_task(past.publish(link, self._publisher.say_past), name="sparkplug backfill"))
        try:
            await asyncio.wait(tasks, timeout=SILENCE_S, return_when=asyncio.FIRST_COMPLETED)
            self._tell_wait()
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()

    def _note_wait(self) -> None:
        if self.session.state is not State.WAIT_HOST:
            return
        host = self._config.primary_host_id
        acl = f"if it is online there, the broker's access control must let us read {codec.NAMESPACE}/STATE/{host}"
        why = "it says there that it is offline" if self.session.host_is_offline else acl
        self._trouble = f"waits for the primary host {host} at {self._where}: {why}"

    def _tell_wait(self) -> None:
        if self.session.state is State.WAIT_HOST and not self._is_told:
            self._is_told = True
            logger.warning("Sparkplug node %s %s", self.node, self._trouble)

    async def _tell_online(self, link: Link) -> None:
        """Births are written at once also where the way is too slow for them: only what arrived counts."""
        while True:
            await self._births_out.wait()
            self._births_out.clear()
            await link.arrived()
            self._note_online()

    def _note_online(self) -> None:
        self._trouble = ""
        self._walk.online(self._clock.monotonic())
        if self._is_told:
            self._is_told = self._is_twin_told = False
            logger.info("Sparkplug node %s is online again at %s", self.node, self._where)

    async def _listen(self, link: Link) -> None:
        async for message in link.messages():
            before = self.session.rebirth_at, self.session.leave_at, self.session.departure
            self._receive(message)
            if before != (self.session.rebirth_at, self.session.leave_at, self.session.departure):
                self._publisher.nudge()

    def _receive(self, message: Message) -> None:
        """A command, or our own death. What was retained comes from the past: only a DCMD is told so."""
        address = self.node.read(message.topic)
        try:
            if address is None:
                self.session.hear_host(message.topic, message.payload, self._clock.monotonic())
                self._note_wait()
                return
            payload = codec.decode(message.payload)
            if not payload.metrics:
                raise ProtocolError("it has no metrics")
        except ProtocolError as error:
            self.malformed_total += 1
            self._warn_once("malformed", "Ignored a message on %s: %s", message.topic, error)
            return
        kind, device_id = address
        if message.retain and kind is not MessageType.DCMD:
            return
        metrics = self.session.hear(kind, device_id, payload, self._clock.monotonic())
        if metrics:
            self._command(device_id, replace(payload, metrics=metrics), message.retain)

    def _command(self, device_id: str | None, payload: codec.Payload, retained: bool) -> None:
        """A host asks for something."""
        self.commands_total += len(payload.metrics)
        device = None if device_id is None else self._plan.devices.get(device_id)
        if device is not None and device.commands is not None:
            self._door.take(device.machine, device.commands, device.named(payload), retained)
            return
        self.command_errors_total += len(payload.metrics)
        if device is not None:
            self._warn_once("commands", "Commands from Sparkplug are off; ignored one for %s", device_id)
        else:
            self._warn_once("unknown", "Ignored a command from Sparkplug for %s", (device_id or str(self.node))[:100])

    def _note_answer(self, device_id: str, answer: Answer) -> None:
        self.command_errors_total += answer.outcome.status.is_bad
        device = self._plan.devices.get(device_id)
        if device is not None and device.commands is not None:
            device.commands.tell(answer, self._now_ms())
            self._publisher.answer(device_id)

    async def _say_goodbye(self, link: Link) -> None:
        """DDEATHs, NDEATH, DISCONNECT; with MQTT 5 by reason 0x04 (tck-id-…-publisher-disconnect-mqtt50)."""
        try:
            farewell = self.session.stop(self._now_ms())
            for message in farewell:
                link.publish(message)
            if not await link.flush(GOODBYE_S):
                logger.warning("The broker did not acknowledge the death of Sparkplug node %s in time", self.node)
            if farewell or link.protocol == "5":
                await link.disconnect(with_will=True)
        except LinkLost:
            logger.debug("The connection broke during the farewell: the will speaks for %s", self.node)

    def _tell_loss(self, error: LinkError) -> None:
        self.reconnects += 1
        self._trouble = f"not connected to {self._where}: {error}"
        is_cut_short = isinstance(error, LinkLost) and self._walk.is_cut_short(self._clock.monotonic())
        is_twin = is_cut_short or "taken over" in str(error)
        if not self._is_told or (is_twin and not self._is_twin_told):
            self._is_told, self._is_twin_told = True, is_twin
            twin = "; is there a second bridge of this name?" if is_twin else ""
            logger.warning("Sparkplug node %s is not connected to %s: %s%s", self.node, self._where, error, twin)

    def _warn_once(self, about: str, text: str, *arguments: object) -> None:
        if about not in self._warned:
            self._warned.add(about)
            logger.warning(text, *arguments)

    @property
    def _client_id(self) -> str:
        """Made of the node's name, so that a broker ends one of two twins, and within 23 characters (MQTT 3.1.3.1)."""
        return self._config.client_id or f"sparkplug-{hashlib.sha256(str(self.node).encode()).hexdigest()[:12]}"

    @property
    def _broker(self) -> BrokerConfig:
        return self._config.brokers[self._walk.current]

    @property
    def _where(self) -> str:
        return self._broker.where

    def _now_ms(self) -> int:
        return to_milliseconds(self._clock.now())


def _wait(attempt: int) -> float:
    """Full jitter: anything up to a ceiling that doubles."""
    first, longest = BACK_OFF_S
    return random.uniform(0, min(longest, first * 2 ** min(attempt, PERSON_NEEDED)))


async def _whole(work: Callable[[], T]) -> T:
    """Do it in a thread, to its end also when we are cancelled: whoever comes next reads what it wrote."""
    doing = asyncio.create_task(asyncio.to_thread(work), name="sparkplug bdSeq")
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise
