"""UnsPublisher: the plant as plain retained topics, and its events.

    feed -> values (once per publish_interval) -.
    what was told, in turns -> heartbeat        |
    log, by our own cursor -> events -----------+-> Link.publish, in slices -> broker
    history, by our own reader -> backfill -----+
    health, once a second -> info --------------'
    plant change -> branches: what is new is described, what is gone is emptied
    broker -> commands (see bridge.northbound.uns.commands), snapshots -> answers -> Link.publish

Rules:
1. A session is one Link. Whatever breaks it ends all of its tasks; the next one publishes everything anew.
2. What was retained and is gone stays in `_doomed` until a broker has acknowledged its end, over sessions.
3. An event is acknowledged to the log after the broker has taken it; one that it refuses is kept, with those after it.
4. Nothing here runs for longer than a slice without giving the event loop back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from typing import TYPE_CHECKING

from bridge import __version__
from bridge.errors import LinkError
from bridge.model.path import Place
from bridge.northbound.uns import payload
from bridge.northbound.uns.asyncapi import asyncapi
from bridge.northbound.uns.backfill import Backfill
from bridge.northbound.uns.branches import Branches
from bridge.northbound.uns.certain import flushed
from bridge.northbound.uns.commandable import command_faults
from bridge.northbound.uns.commands import Commands
from bridge.northbound.uns.events import RETRY_S, Events
from bridge.northbound.uns.info import Info
from bridge.northbound.uns.payload import JSON, labels
from bridge.northbound.uns.refused import Refused
from bridge.northbound.uns.snapshots import Snapshots
from bridge.northbound.uns.subscriptions import Subscriptions
from bridge.northbound.uns.sweep import left_behind
from bridge.northbound.uns.topic import CMD, SNAPSHOT, Namespace, is_valid
from bridge.northbound.uns.values import HEARTBEAT_MARGIN, SLICE, Values
from bridge.ports import Rights, Told
from bridge.transport.mqtt import Link, Message
from bridge.transport.mqtt_version import Spoken

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from bridge.model.plant import Batch, Plant
    from bridge.model.tag import Tag
    from bridge.northbound.uns.branches import Branch, Change
    from bridge.northbound.uns.config import UnsConfig
    from bridge.ports import Clock, Operations, Submit, TagView

_log = logging.getLogger(__name__)

GOODBYE_TIMEOUT_S = 5.0
BACK_OFF_S = (1.0, 30.0)
STEADY_S = 10.0
"""A session that lasted so long forgives what failed before it; two bridges of one name end each other's sooner."""
OFTEN = 2
"""So many sessions that did not last, and this one, are no accident."""
CHECKED = 20
"""Topics whose rights are asked for: machines have the same ones."""
INFO_TICK_S = 1.0
"""How often it is looked whether there is something new to say about the bridge."""


class UnsPublisher:
    """The northbound "uns" (see `bridge.ports.Northbound`).

    Args:
        config: what a person said.
        clock: time.
        enterprise: where the bridge itself is; "" for none.
        site: likewise.
        bridge_name: names the bridge's own branch. The MQTT client id is made of that, so that only a twin ends us.
    """

    name = "uns"

    def __init__(self, config: UnsConfig, clock: Clock, enterprise: str, site: str, bridge_name: str) -> None:
        self._config = config
        self._clock = clock
        self._home = Place(enterprise, site)
        self._namespace = Namespace(config.topic, enterprise, site, bridge_name)
        self._client_id = f"uns-{hashlib.sha256(self._namespace.bridge.encode()).hexdigest()[:12]}"
        self._branches = Branches(self._namespace)
        self._commands: Commands | None = None
        self._backfill: Backfill | None = None
        self._events = Events(self.name, config.qos, clock, self._namespace, labels("event", bridge_name))
        self._values = Values(config, clock, self._branches, bridge_name)
        self._subscriptions = Subscriptions(config.broker)
        self._refused = Refused(config.broker, clock, max(config.heartbeat, RETRY_S), self._branches.all)
        self._snapshots = Snapshots(clock, labels("snapshot", bridge_name)) if config.snapshots else None
        self._bridge_name = bridge_name
        self._doomed: set[str] = set()
        self._is_swept = False
        self._spoken = Spoken("UNS")
        self._is_up = False
        self._is_reported_down = False
        self._reason_down = "is connecting"
        self._attempts = 0
        self._up_since: float | None = None
        self.reconnects_total = 0

    def address(self, tag: Tag) -> str:
        """The tag's topic; for a machine no plant has shown yet, below the bridge's own enterprise and site."""
        return self._branches.address(tag, self._home)

    def asyncapi(self, plant: Plant) -> dict[str, Any]:
        """The topics of this plant as an AsyncAPI document."""
        preset, broker = self._config.preset, self._config.broker
        return asyncapi(plant, self.address, preset, broker, f"Topics of {self._bridge_name}", __version__)

    def rights(self) -> Rights:
        """Its own branch, and where commands and questions come in."""
        roots = [root for root in self._branches.known() if root != self._namespace.bridge]
        asked = (CMD,) * self._config.commands.enabled + (SNAPSHOT,) * self._config.snapshots
        topics = tuple(f"{root}/{CMD}/#" if word == CMD else f"{root}/{word}" for root in roots for word in asked)
        written = tuple(f"{root}/doctor" for root in (self._namespace.bridge, *roots))
        return Rights(topics[:CHECKED], written[:CHECKED])

    def told(self, tag: Tag) -> Told:
        """What was published of it in this session."""
        if self._reason_down:
            return Told(why_not=self._reason_down)
        if self._is_up and tag.slot not in self._branches.topics:
            return Told(why_not="no broker takes its topic")
        return Told(self._values.told(tag.slot), why_not=self._refused.of(self._branches.topics.get(tag.slot, "")))

    def faults(self, plant: Plant) -> Sequence[str]:
        """What of this plant cannot be published. Also learns where its machines are, for `address`."""
        self._branches.learn(plant)
        faults = list(self._namespace.faults(plant))
        if self._config.commands.enabled:
            for machine in plant.machines.values():
                faults += command_faults(machine, self._namespace.branch(machine))
        return faults

    @property
    def events_total(self) -> int:
        """Events that were told."""
        return self._events.told_total

    @property
    def published_total(self) -> int:
        """Values that were told."""
        return self._values.published_total

    @property
    def trouble(self) -> str:
        """What is not as it should be although this face runs, in one sentence, or ""."""
        return ". ".join(filter(None, (self._reason_down, self._refused.trouble, self._subscriptions.trouble)))

    def metrics(self) -> dict[str, float]:
        """Counters for the status page."""
        return {
            "uns_connected": self._is_up,
            "uns_topics": len(self._values),
            "uns_published_total": self.published_total,
            "uns_events_total": self.events_total,
            "uns_backfill_values_total": self._backfill.values_total if self._backfill else 0,
            "uns_backfill_gaps_total": self._backfill.gaps_total if self._backfill else 0,
            "uns_backfill_skipped_total": self._backfill.skipped_total if self._backfill else 0,
            "uns_reconnects_total": self.reconnects_total,
            "uns_refused": self._refused.total,
            "uns_snapshots_total": self._snapshots.told_total if self._snapshots else 0,
            "uns_snapshots_refused_total": self._snapshots.refused_total if self._snapshots else 0,
            "uns_commands_total": self._commands.commands_total if self._commands else 0,
            "uns_command_errors_total": self._commands.errors_total if self._commands else 0,
            "uns_commands_waiting": self._commands.waiting if self._commands else 0,
        }

    async def run(self, view: TagView, submit: Submit, operations: Operations) -> None:
        """Publish until cancelled; then say goodbye. Connects again by itself."""
        if self._config.commands.enabled:
            self._commands = Commands(self._config.commands, self._clock, submit, labels("answer", self._bridge_name))
        if view.history is not None:
            self._backfill = Backfill(
                view.history.reader(self.name),
                self._config,
                self._clock,
                self._namespace,
                labels("backfill", self._bridge_name),
            )
        try:
            await self._run(view, operations)
        finally:
            if self._commands is not None:
                await self._commands.close()

    async def _run(self, view: TagView, operations: Operations) -> None:
        while True:
            try:
                await self._session(view, operations)
            except* LinkError as group:
                self._went_down(_first(group))
            finally:
                self._is_up = False
                self._subscriptions.begin_session()
            # A TaskGroup forgets that it was cancelled when one of its tasks failed as well (Python before 3.13).
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError
            if self._up_since is not None and not self._is_cut_short:
                self._attempts = 0
            self._up_since = None
            self._attempts = min(self._attempts + 1, 10)
            low, high = BACK_OFF_S
            await self._clock.sleep(random.uniform(low, min(high, low * 2**self._attempts)))

    @property
    def _is_cut_short(self) -> bool:
        """A session that was up ended soon."""
        return self._up_since is not None and self._clock.monotonic() - self._up_since < STEADY_S

    async def _session(self, view: TagView, operations: Operations) -> None:
        if not self._is_swept:
            connecting = Link.connect(self._config.broker, f"{self._client_id}-sweep", spoken=self._spoken)
            self._doomed |= await left_behind(connecting, self._namespace.machines)
            self._is_swept = True
        will = self._retained(self._namespace.online, payload.online(False, self._clock.now()), "online")
        async with Link.connect(self._config.broker, self._client_id, will=will, spoken=self._spoken) as link:
            info = Info(self._about(link))
            try:
                await self._serve(link, view, operations, info)
            except asyncio.CancelledError:
                await self._goodbye(link, view, info)
                raise

    async def _serve(self, link: Link, view: TagView, operations: Operations, info: Info) -> None:
        self._values.begin_session()
        self._branches.begin_session()
        self._subscriptions.begin_session()
        self._refused.begin_session(link)
        async with asyncio.TaskGroup() as group:
            if self._commands is not None:
                group.create_task(self._commands.publish_answers(link), name="uns answers")
            if self._backfill is not None:
                self._backfill.begin_session()
                group.create_task(self._backfill.confirm(link), name="uns confirmations")
                group.create_task(self._backfill.publish(link, view), name="uns backfill")
            group.create_task(self._publish_values(link, view, operations), name="uns values")
            group.create_task(self._values.repeat(link), name="uns heartbeat")
            group.create_task(self._publish_info(link, view, operations, info), name="uns info")
            group.create_task(self._events.publish(link, view), name="uns events")
            # In the body, not a task: only there does Python before 3.13 take back the cancel a failed task causes.
            await self._watch(link, view)

    async def _watch(self, link: Link, view: TagView) -> None:
        """Take commands and questions; notice loss at once, also when there is nothing to say."""
        async for message in link.messages():
            is_taken = self._snapshots is not None and self._snapshots.take(message, link, view)
            if self._commands is not None and not is_taken:
                self._commands.take(message, link)
            await link.drain()

    async def _publish_values(self, link: Link, view: TagView, operations: Operations) -> None:
        with view.subscribe(self.name) as feed:
            async for batch in feed:
                due = self._clock.monotonic() + self._config.publish_interval
                if batch.change is not None:
                    await self._change_plant(link, view, operations, batch)
                newest = ((slot, feed.newer(slot) or value) for slot, value in batch.values.items())
                await self._values.publish(link, newest)
                if self._backfill is not None:
                    self._backfill.note_said()
                if not self._is_up:
                    await self._come_up(link)
                if self._config.publish_interval:  # else `drain` has given the event loop back
                    await self._clock.sleep(max(0.0, due - self._clock.monotonic()))

    async def _change_plant(self, link: Link, view: TagView, operations: Operations, batch: Batch) -> None:
        """Describe what is new, empty what is gone."""
        for machine in batch.plant.everything():
            if self._branches.prepare(machine):
                await asyncio.sleep(0)
        change = self._branches.change_to(batch.plant)
        if self._commands is not None:
            self._commands.learn(self._branches.all())
        if self._snapshots is not None:
            self._snapshots.learn(self._branches.all())
        self._forget(change)
        await self._clear(link)
        if self._config.meta:
            await self._describe(link, change, operations)
        snapshot = view.snapshot() if change.moved else {}
        await self._values.publish(link, [(slot, snapshot[slot]) for slot in change.moved if slot in snapshot])
        await self._subscriptions.follow(link, self._wanted())

    def _wanted(self) -> frozenset[str]:
        """What is listened to."""
        asked = self._snapshots.topics if self._snapshots is not None else frozenset()
        return asked | self._commands.topics if self._commands is not None else asked

    def _forget(self, change: Change) -> None:
        self._doomed |= change.gone
        for branch in change.described:
            self._doomed.difference_update(branch.topics.values())
        if self._config.meta:
            self._doomed.difference_update([self._namespace.machines, *(one.meta for one in change.described)])
        self._values.forget(change.slots_gone)
        self._values.move(slot for branch in change.described for slot in branch.topics)

    async def _clear(self, link: Link) -> None:
        if self._doomed:
            doomed = sorted(self._doomed)
            await self._publish_many(
                link, (Message(topic, payload.EMPTY, self._config.qos, retain=True) for topic in doomed)
            )
            await flushed(link)
            self._doomed.difference_update(doomed)

    async def _describe(self, link: Link, change: Change, operations: Operations) -> None:
        topics = self._branches.topics
        for branch in change.described:
            if is_valid(branch.meta):
                description = payload.meta(branch.machine, topics, operations.addresses, self._below(branch))
                link.publish(self._retained(branch.meta, description, "meta"))
                await link.drain()
        link.publish(self._retained(self._namespace.machines, payload.machines(self._branches.roots()), "machines"))
        await link.drain()

    def _below(self, branch: Branch) -> dict[str, Any]:
        """What there is below a machine besides its tags."""
        return {
            "events": f"{branch.root}/event",
            "snapshot": branch.snapshot if self._snapshots is not None else "",
            "commands": self._commands.described(branch) if self._commands is not None else None,
        }

    async def _publish_many(self, link: Link, messages: Iterable[Message]) -> None:
        for number, message in enumerate(messages, 1):
            link.publish(message)
            if number % SLICE == 0:
                await link.drain()
        await link.drain()

    async def _publish_info(self, link: Link, view: TagView, operations: Operations, info: Info) -> None:
        """Say how the bridge is when that changes, and within a heartbeat."""
        expiry, told = int(self._config.expiry), self._clock.monotonic()
        while True:
            tags = sum(len(machine.tags) for machine in view.plant.everything())
            counts = {"machines": len(view.plant.machines), "tags": tags}
            now = self._clock.now()
            content = info.news(operations.health(), now, **counts)
            if content is None and self._clock.monotonic() - told >= self._config.heartbeat * HEARTBEAT_MARGIN:
                content = info.again(now)
            if content is not None:
                told = self._clock.monotonic()
                link.publish(self._retained(self._namespace.info, content, "info", expiry))
                await link.drain()
            self._refused.look()
            await self._clock.sleep(INFO_TICK_S)

    def _about(self, link: Link) -> dict[str, Any]:
        config = self._config
        face = {"protocol": link.protocol, "preset": config.preset.value, "publish_interval": config.publish_interval}
        return {**face, "heartbeat": config.heartbeat, "expiry": config.expiry}

    async def _come_up(self, link: Link) -> None:
        """Everything has been said once and arrived: only now we are there."""
        await flushed(link)
        link.publish(self._retained(self._namespace.online, payload.online(True, self._clock.now()), "online"))
        await flushed(link)
        self._is_up = True
        self._up_since = self._clock.monotonic()
        self._reason_down = ""
        if self._is_reported_down:
            self._is_reported_down = False
            self.reconnects_total += 1
            _log.info("The UNS broker %s is there again", self._where)

    def _went_down(self, error: LinkError) -> None:
        is_twin = "taken over" in str(error) or (self._is_cut_short and self._attempts >= OFTEN)
        twin = "; is there a second bridge of this name?" if is_twin else ""
        self._reason_down = f"The broker {self._where} cannot be used: {error}{twin}"
        if not self._is_reported_down:
            self._is_reported_down = True
            _log.warning("The UNS broker %s cannot be used: %s%s", self._where, error, twin)

    @property
    def _where(self) -> str:
        return self._config.broker.where

    async def _goodbye(self, link: Link, view: TagView, info: Info) -> None:
        """Every value becomes Uncertain, then offline, then DISCONNECT; cut short when the broker does not listen."""
        now = self._clock.now()
        doubtful = ((slot, payload.stopped(value, now)) for slot, value in view.snapshot().items())
        try:
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                if self._commands is not None:
                    self._commands.publish_waiting(link)
                await self._values.publish(link, ((slot, value) for slot, value in doubtful if value is not None))
                expiry = int(self._config.expiry)
                link.publish(self._retained(self._namespace.info, info.stopped(now), "info", expiry))
                link.publish(self._retained(self._namespace.online, payload.online(False, now), "online"))
                await flushed(link)
                await link.disconnect()
        except (LinkError, TimeoutError) as error:
            _log.debug("The UNS broker did not hear the goodbye: %s", error)

    def _retained(self, topic: str, content: bytes, schema: str, expiry_s: int | None = None) -> Message:
        """A retained document."""
        return Message(
            topic,
            content,
            self._config.qos,
            retain=True,
            expiry_s=expiry_s,
            content_type=JSON,
            user_properties=labels(schema, self._bridge_name),
        )


def _first(group: ExceptionGroup[LinkError]) -> LinkError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
