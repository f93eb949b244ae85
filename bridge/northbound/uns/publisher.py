"""UnsPublisher: the plant as plain retained topics, and its events.

    feed -> values (once per publish_interval) -.
    what was published, in turns -> heartbeat   +-> Link.publish, in slices -> broker
    log, by our own cursor -> events -----------+
    history, by our own reader -> backfill -----'
    plant change -> branches: what is new is described, what is gone is emptied
    broker -> commands (see bridge.northbound.uns.commands) -> answers -> Link.publish

Rules:
1. A session is one Link. Whatever breaks it ends all of its tasks; the next one publishes everything anew.
2. What was retained and is gone stays in `_doomed` until a broker has acknowledged its end, over sessions.
3. An event is acknowledged to the log after the broker has acknowledged it to us.
4. Nothing here runs for longer than a slice without giving the event loop back.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from typing import TYPE_CHECKING

from bridge.errors import LinkError, LinkLost
from bridge.model.path import Place
from bridge.northbound.uns import payload
from bridge.northbound.uns.backfill import Backfill
from bridge.northbound.uns.branches import Branches
from bridge.northbound.uns.commandable import command_faults
from bridge.northbound.uns.commands import Commands
from bridge.northbound.uns.config import Preset
from bridge.northbound.uns.payload import JSON
from bridge.northbound.uns.sweep import left_behind
from bridge.northbound.uns.topic import Namespace, is_valid
from bridge.transport.mqtt import Link, Message
from bridge.transport.mqtt_version import Spoken

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bridge.model.event import Event
    from bridge.model.plant import Batch, Plant
    from bridge.model.tag import Tag
    from bridge.model.value import DataValue
    from bridge.northbound.uns.branches import Change
    from bridge.northbound.uns.config import UnsConfig
    from bridge.ports import Clock, Operations, Submit, TagView

_log = logging.getLogger(__name__)

SLICE = 50
"""Messages between two looks at the event loop: a few milliseconds."""
FLUSH_TIMEOUT_S = 10.0
"""How long a broker may take to acknowledge what must be certain."""
GOODBYE_TIMEOUT_S = 5.0
BACK_OFF_S = (1.0, 30.0)
TICK_S = 1.0
"""How often the heartbeat looks what is due."""
HEARTBEAT_MARGIN = 0.8
"""A round takes this share of `heartbeat`, so that a late tick does not break the promise."""
EVENTS_AT_ONCE = 100
TEXT = "text/plain"


class UnsPublisher:
    """The northbound "uns" (see `bridge.ports.Northbound`).

    Args:
        config: what a person said.
        clock: time.
        enterprise: where the bridge itself is; "" for none.
        site: likewise.
        bridge_name: names the bridge's own branch and the MQTT client id.
    """

    name = "uns"

    def __init__(self, config: UnsConfig, clock: Clock, enterprise: str, site: str, bridge_name: str) -> None:
        self._config = config
        self._clock = clock
        self._client_id = f"{bridge_name}-uns"
        self._home = Place(enterprise, site)
        self._namespace = Namespace(config.topic, enterprise, site, bridge_name)
        self._branches = Branches(self._namespace)
        self._commands: Commands | None = None
        self._backfill: Backfill | None = None
        self._values: dict[int, DataValue] = {}
        self._rounds: deque[int] = deque()
        self._doomed: set[str] = set()
        self._is_swept = False
        self._spoken = Spoken("UNS")
        self._is_up = False
        self._is_reported_down = False
        self._attempts = 0
        self.published_total = 0
        self.events_total = 0
        self.reconnects_total = 0

    def address(self, tag: Tag) -> str:
        """The tag's topic; for a machine no plant has shown yet, below the bridge's own enterprise and site."""
        return self._branches.address(tag, self._home)

    def faults(self, plant: Plant) -> Sequence[str]:
        """What of this plant cannot be published. Also learns where its machines are, for `address`."""
        self._branches.learn(plant)
        faults = list(self._namespace.faults(plant))
        if self._config.commands.enabled:
            for machine in plant.machines.values():
                faults += command_faults(machine, self._namespace.branch(machine))
        return faults

    def metrics(self) -> dict[str, float]:
        """Counters for the status page."""
        return {
            "uns_connected": self._is_up,
            "uns_topics": len(self._rounds),
            "uns_published_total": self.published_total,
            "uns_events_total": self.events_total,
            "uns_backfill_values_total": self._backfill.values_total if self._backfill else 0,
            "uns_backfill_gaps_total": self._backfill.gaps_total if self._backfill else 0,
            "uns_backfill_skipped_total": self._backfill.skipped_total if self._backfill else 0,
            "uns_reconnects_total": self.reconnects_total,
            "uns_commands_total": self._commands.commands_total if self._commands else 0,
            "uns_command_errors_total": self._commands.errors_total if self._commands else 0,
            "uns_commands_waiting": self._commands.waiting if self._commands else 0,
        }

    async def run(self, view: TagView, submit: Submit, operations: Operations) -> None:
        """Publish until cancelled; then say goodbye. Connects again by itself."""
        self._commands = Commands(self._config.commands, self._clock, submit) if self._config.commands.enabled else None
        if view.history is not None:
            self._backfill = Backfill(view.history.reader(self.name), self._config, self._clock, self._namespace)
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
            # A TaskGroup forgets that it was cancelled when one of its tasks failed as well (Python before 3.13).
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError
            self._attempts = min(self._attempts + 1, 10)
            low, high = BACK_OFF_S
            await self._clock.sleep(random.uniform(low, min(high, low * 2**self._attempts)))

    async def _session(self, view: TagView, operations: Operations) -> None:
        if not self._is_swept:
            connecting = Link.connect(self._config.broker, f"{self._client_id}-sweep", spoken=self._spoken)
            self._doomed |= await left_behind(connecting, self._namespace.machines)
            self._is_swept = True
        will = self._retained(self._namespace.online, payload.online(False, self._clock.now()))
        async with Link.connect(self._config.broker, self._client_id, will=will, spoken=self._spoken) as link:
            try:
                await self._serve(link, view, operations)
            except asyncio.CancelledError:
                await self._goodbye(link, view)
                raise

    async def _serve(self, link: Link, view: TagView, operations: Operations) -> None:
        self._values.clear()
        self._rounds.clear()
        self._branches.begin_session()
        async with asyncio.TaskGroup() as group:
            if self._commands is not None:
                self._commands.begin_session()
                group.create_task(self._commands.publish_answers(link), name="uns answers")
            if self._backfill is not None:
                self._backfill.begin_session()
                group.create_task(self._backfill.confirm(link), name="uns confirmations")
                group.create_task(self._backfill.publish(link, view), name="uns backfill")
            group.create_task(self._publish_values(link, view, operations), name="uns values")
            group.create_task(self._repeat_values(link), name="uns heartbeat")
            group.create_task(self._publish_events(link, view), name="uns events")
            # In the body, not a task: only there does Python before 3.13 take back the cancel a failed task causes.
            await self._watch(link)

    async def _watch(self, link: Link) -> None:
        """Take commands; notice loss at once, also when there is nothing to say."""
        async for message in link.messages():
            if self._commands is not None:
                self._commands.take(message, link)
                await link.drain()

    async def _publish_values(self, link: Link, view: TagView, operations: Operations) -> None:
        with view.subscribe(self.name) as feed:
            async for batch in feed:
                due = self._clock.monotonic() + self._config.publish_interval
                if batch.change is not None:
                    await self._change_plant(link, view, operations, batch)
                newest = ((slot, feed.newer(slot) or value) for slot, value in batch.values.items())
                await self._publish_all(link, newest)
                if self._backfill is not None:
                    self._backfill.note_said()
                if not self._is_up:
                    await self._come_up(link)
                await self._clock.sleep(max(0.0, due - self._clock.monotonic()))

    async def _change_plant(self, link: Link, view: TagView, operations: Operations, batch: Batch) -> None:
        """Describe what is new, empty what is gone."""
        for machine in batch.plant.everything():
            if self._branches.prepare(machine):
                await asyncio.sleep(0)
        change = self._branches.change_to(batch.plant)
        if self._commands is not None:
            self._commands.learn(self._branches.all())
        self._forget(change)
        await self._clear(link)
        if self._config.meta:
            await self._describe(link, change, operations)
        snapshot = view.snapshot() if change.moved else {}
        await self._publish_all(link, [(slot, snapshot[slot]) for slot in change.moved if slot in snapshot])
        if self._commands is not None:
            await self._commands.subscribe(link)

    def _forget(self, change: Change) -> None:
        self._doomed |= change.gone
        for branch in change.described:
            self._doomed.difference_update(branch.topics.values())
        if self._config.meta:
            self._doomed.difference_update([self._namespace.machines, *(one.meta for one in change.described)])
        for slot in change.slots_gone:
            self._values.pop(slot, None)
        if change.slots_gone:
            self._rounds = deque(slot for slot in self._rounds if slot not in change.slots_gone)

    async def _clear(self, link: Link) -> None:
        if self._doomed:
            doomed = sorted(self._doomed)
            await self._publish_many(link, (self._retained(topic, payload.EMPTY) for topic in doomed))
            await self._flush(link)
            self._doomed.difference_update(doomed)

    async def _describe(self, link: Link, change: Change, operations: Operations) -> None:
        topics = self._branches.topics
        for branch in change.described:
            if is_valid(branch.meta):
                commands = self._commands.described(branch) if self._commands is not None else None
                description = payload.meta(branch.machine, topics, operations.addresses, commands)
                link.publish(self._retained(branch.meta, description))
                await link.drain()
        link.publish(self._retained(self._namespace.machines, payload.machines(self._branches.roots())))
        await link.drain()

    async def _publish_all(self, link: Link, values: Iterable[tuple[int, DataValue]]) -> None:
        for number, (slot, value) in enumerate(values, 1):
            if slot in self._branches.topics:
                if slot not in self._values:
                    self._rounds.append(slot)
                self._values[slot] = value
                self._publish_value(link, slot)
            if number % SLICE == 0:
                await link.drain()
        await link.drain()

    def _publish_value(self, link: Link, slot: int) -> None:
        content = payload.encode(self._config.preset, self._values[slot], self._branches.units[slot])
        kind = TEXT if self._config.preset is Preset.RAW else JSON
        link.publish(self._retained(self._branches.topics[slot], content, int(self._config.expiry), kind))
        self.published_total += 1

    async def _publish_many(self, link: Link, messages: Iterable[Message]) -> None:
        for number, message in enumerate(messages, 1):
            link.publish(message)
            if number % SLICE == 0:
                await link.drain()
        await link.drain()

    async def _repeat_values(self, link: Link) -> None:
        """Say every value again within a heartbeat, a few each tick."""
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
                if self._config.preset is Preset.VTQ or self._values[slot].status.is_good:  # else its topic is empty
                    self._publish_value(link, slot)
            if number % SLICE == 0:
                await link.drain()
        await link.drain()

    async def _publish_events(self, link: Link, view: TagView) -> None:
        while True:
            rows = await view.log.read(self.name, EVENTS_AT_ONCE)
            await self._publish_many(link, [self._event(view.plant, event) for _, event in rows])
            await self._flush(link)
            view.log.acknowledge(self.name, rows[-1][0])
            self.events_total += len(rows)

    def _event(self, plant: Plant, event: Event) -> Message:
        topic = self._namespace.event(plant.machines.get(event.machine), event.kind)
        return Message(topic, payload.event(event), self._config.qos, content_type=JSON)

    async def _come_up(self, link: Link) -> None:
        """Everything has been said once and arrived: only now we are there."""
        await self._flush(link)
        link.publish(self._retained(self._namespace.online, payload.online(True, self._clock.now())))
        await self._flush(link)
        self._is_up = True
        self._attempts = 0
        if self._is_reported_down:
            self._is_reported_down = False
            self.reconnects_total += 1
            _log.info("The UNS broker %s is there again", self._where)

    def _went_down(self, error: LinkError) -> None:
        if not self._is_reported_down:
            self._is_reported_down = True
            _log.warning("The UNS broker %s cannot be used: %s", self._where, error)

    @property
    def _where(self) -> str:
        return self._config.broker.where

    async def _goodbye(self, link: Link, view: TagView) -> None:
        """Every value becomes Uncertain, then offline, then DISCONNECT; cut short when the broker does not listen."""
        now = self._clock.now()
        doubtful = ((slot, payload.stopped(value, now)) for slot, value in view.snapshot().items())
        try:
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                if self._commands is not None:
                    self._commands.publish_waiting(link)
                await self._publish_all(link, ((slot, value) for slot, value in doubtful if value is not None))
                link.publish(self._retained(self._namespace.online, payload.online(False, now)))
                await self._flush(link)
                await link.disconnect()
        except (LinkError, TimeoutError) as error:
            _log.debug("The UNS broker did not hear the goodbye: %s", error)

    @staticmethod
    async def _flush(link: Link) -> None:
        if not await link.flush(FLUSH_TIMEOUT_S):
            raise LinkLost(f"no acknowledgement within {FLUSH_TIMEOUT_S:.0f} s")

    def _retained(self, topic: str, content: bytes, expiry_s: int | None = None, kind: str = JSON) -> Message:
        """A retained message; an empty one ends a topic and needs neither expiry nor type."""
        if not content:
            return Message(topic, content, self._config.qos, retain=True)
        return Message(topic, content, self._config.qos, retain=True, expiry_s=expiry_s, content_type=kind)


def _first(group: ExceptionGroup[LinkError]) -> LinkError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
