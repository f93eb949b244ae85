"""Backfill: what tags with `history: true` were while nobody heard it, and what came late.

    feed -> values -> said -> (arrived at the broker) -> acknowledged
    history -> read -> one message a machine -> (arrived) -> acknowledged

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
    from collections.abc import Iterable, Iterator, Sequence

    from bridge.model.history import HistoricValue
    from bridge.model.plant import Machine, Plant
    from bridge.northbound.uns.config import UnsConfig
    from bridge.northbound.uns.payload import Labels
    from bridge.northbound.uns.topic import Namespace
    from bridge.ports import Clock, HistoryReader, TagView
    from bridge.transport.mqtt import Link

MAX_BYTES = 60_000
"""Of one message, but for a single value that is longer: brokers in the cloud take 128 KiB."""
MAX_READ = 5_000
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
        self.values_total = 0
        self.gaps_total = 0
        self.skipped_total = 0
        """Values of tags that the plant does not have any more."""

    def begin_session(self) -> None:
        """What was said in the last one, and not acknowledged, is owed."""
        self._said.clear()
        self._wake.clear()
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
            items = await self._reader.read(limit)
            for message in self._messages(view.plant, items):
                link.publish(message)
                await link.drain()
            await link.arrived()
            self._reader.acknowledge_read(items)
            await self._clock.sleep(max(len(items) / rate, interval if len(items) < limit else 0))

    def _messages(self, plant: Plant, items: Iterable[HistoricValue | Gap]) -> Iterator[Message]:
        by_machine: dict[str, tuple[Machine, list[tuple[bytes, bool]]]] = {}
        for item in items:
            tag = plant.find(item.tag)
            machine = None if tag is None else plant.machines.get(tag.machine)
            if tag is None or machine is None:
                self.skipped_total += 1
                continue
            _, entries = by_machine.setdefault(machine.id, (machine, []))
            if isinstance(item, Gap):
                self.gaps_total += 1
                entries.append((payload.gap(tag.name, item), True))
            else:
                self.values_total += 1
                unit = tag.definition.unit
                entries.append((payload.past(tag.name, item.value, unit.symbol if unit else ""), False))
        for machine, entries in by_machine.values():
            topic = self._namespace.backfill(machine)
            for portion in _portions(entries):
                values = [entry for entry, is_gap in portion if not is_gap]
                gaps = [entry for entry, is_gap in portion if is_gap]
                content = payload.backfill(values, gaps)
                yield Message(topic, content, self._config.qos, content_type=JSON, user_properties=self._properties)


def _portions(entries: Sequence[tuple[bytes, bool]]) -> Iterator[list[tuple[bytes, bool]]]:
    portion: list[tuple[bytes, bool]] = []
    size = 0
    for entry in entries:
        size += len(entry[0]) + 1
        if size > MAX_BYTES and portion:
            yield portion
            portion, size = [], len(entry[0])
        portion.append(entry)
    if portion:
        yield portion
