"""Backfill: what tags with `history: true` were while nobody heard it, and what came late.

    feed -> values -> said -> (arrived at the broker) -> acknowledged
    history -> read -> one message a machine -> (arrived) -> acknowledged
                            '-> refused by the broker (MQTT 5): kept, and said again later

Beside live values and slower than they may be: they are published first, and wait for nothing here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.model.history import Gap
from bridge.northbound.uns import payload
from bridge.northbound.uns.payload import JSON
from bridge.transport.mqtt import Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.model.history import HistoricValue
    from bridge.model.plant import Machine, Plant
    from bridge.northbound.uns.config import UnsConfig
    from bridge.northbound.uns.payload import Labels
    from bridge.northbound.uns.topic import Namespace
    from bridge.ports import Clock, HistoryReader, TagView
    from bridge.transport.mqtt import Link

    Item = HistoricValue | Gap
    Items = Sequence[Item]
    Entry = tuple[bytes, Item]

MAX_BYTES = 60_000
"""Of one message, but for a single value that is longer: brokers in the cloud take 128 KiB."""
AROUND = 1_000
"""Bytes of a packet beside its values, at most: topic, properties, brackets."""
MAX_READ = 5_000
RETRY_S = 30.0
"""What the broker refused is said again after this time."""
CONFIRM_S = 0.2
"""Live values are acknowledged together, once in this time at most."""


class Backfill:
    """What is owed to subscribers of one session after another."""

    def __init__(
        self, reader: HistoryReader, config: UnsConfig, clock: Clock, namespace: Namespace, properties: Labels = ()
    ) -> None:
        self._reader = reader
        self._config = config
        self._clock = clock
        self._namespace = namespace
        self._properties = properties
        self._said: list[int] = []
        self._wake = asyncio.Event()
        self._refused: set[str] = set()
        self._retry_at = 0.0
        self.values_total = 0
        self.gaps_total = 0
        self.skipped_total = 0
        """Values of tags that the plant does not have any more."""

    def begin_session(self) -> None:
        """What was said in the last one, and not acknowledged, is owed."""
        self._said.clear()
        self._wake.clear()
        self._refused.clear()
        self._reader.abandon()

    def note_said(self) -> None:
        """What the feed gave was published."""
        said = self._reader.said()
        if said:
            self._said += said
            self._wake.set()

    async def confirm(self, link: Link) -> None:
        """Acknowledge what was said live when the broker has it."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            said, self._said = self._said, []
            await link.arrived()
            self._reader.acknowledge(said)
            await self._clock.sleep(CONFIRM_S)

    async def publish(self, link: Link, view: TagView) -> None:
        """Say what is owed, `backfill_rate` values a second."""
        rate, interval = self._config.backfill_rate, max(self._config.publish_interval, CONFIRM_S)
        limit = max(1, min(int(rate * interval), MAX_READ))
        while True:
            items = await self._read(limit, view.plant)
            self._reader.acknowledge_read(await self._say(link, view.plant, items))
            await self._clock.sleep(max(len(items) / rate, interval if len(items) < limit else 0))

    async def _read(self, limit: int, plant: Plant) -> Items:
        """What is owed; to a topic that the broker refuses, again once in RETRY_S."""
        if not self._refused:
            return await self._reader.read(limit)
        reading = asyncio.ensure_future(self._reader.read(limit, plant.machines.keys() - self._refused))
        retry = asyncio.ensure_future(self._clock.sleep(self._retry_at - self._clock.monotonic()))
        try:
            await asyncio.wait({reading, retry}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in (reading, retry):
                waiting.cancel()
            await asyncio.wait({reading, retry})
        if not retry.cancelled():
            self._refused.clear()
        return () if reading.cancelled() else reading.result()

    async def _say(self, link: Link, plant: Plant, items: Items) -> Items:
        """Publish these. Those that arrived, or never can: their tag is gone, or they are larger than a packet."""
        by_machine, done = self._sorted(plant, items)
        before = link.refusals.total
        room = min(MAX_BYTES, link.maximum_packet_size - AROUND)
        for machine, entries in by_machine:
            topic = self._namespace.backfill(machine)
            for portion in _portions(entries, room):
                link.publish(self._message(topic, portion))
                await link.drain()
        await link.arrived()
        refused = link.refusals.since(before)
        for machine, entries in by_machine:
            if self._namespace.backfill(machine) in refused:
                self._refuse(machine.id)
            else:
                done += self._count(entries)
        return done

    def _sorted(self, plant: Plant, items: Items) -> tuple[list[tuple[Machine, list[Entry]]], list[Item]]:
        """By machine; and those whose tag the plant does not have any more."""
        by_machine: dict[str, tuple[Machine, list[Entry]]] = {}
        gone: list[Item] = []
        for item in items:
            tag = plant.find(item.tag)
            machine = None if tag is None else plant.machines.get(tag.machine)
            if tag is None or machine is None:
                gone.append(item)
                continue
            unit = tag.definition.unit
            content = (
                payload.gap(tag.name, item)
                if isinstance(item, Gap)
                else payload.past(tag.name, item.value, unit.symbol if unit else "")
            )
            by_machine.setdefault(machine.id, (machine, []))[1].append((content, item))
        self.skipped_total += len(gone)
        return [*by_machine.values()], gone

    def _message(self, topic: str, portion: Sequence[Entry]) -> Message:
        values = [content for content, item in portion if not isinstance(item, Gap)]
        gaps = [content for content, item in portion if isinstance(item, Gap)]
        content = payload.backfill(values, gaps)
        return Message(topic, content, self._config.qos, content_type=JSON, user_properties=self._properties)

    def _refuse(self, machine_id: str) -> None:
        """What is owed there is kept, and in nobody's way."""
        if not self._refused:
            self._retry_at = self._clock.monotonic() + RETRY_S
        self._refused.add(machine_id)

    def _count(self, entries: Sequence[Entry]) -> list[Item]:
        gaps = sum(isinstance(item, Gap) for _, item in entries)
        self.gaps_total += gaps
        self.values_total += len(entries) - gaps
        return [item for _, item in entries]


def _portions(entries: Sequence[Entry], room: int) -> Iterator[list[Entry]]:
    portion: list[Entry] = []
    size = 0
    for entry in entries:
        size += len(entry[0]) + 1
        if size > room and portion:
            yield portion
            portion, size = [], len(entry[0])
        portion.append(entry)
    if portion:
        yield portion
