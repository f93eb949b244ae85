"""Events: each told once, from the log, by our own cursor; and again where nobody knows whether it arrived.

log -> read -> published -> acknowledged by the broker -> acknowledged to the log
'-> refused (MQTT 5): kept, with those after it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.northbound.uns import payload
from bridge.northbound.uns.certain import flushed
from bridge.northbound.uns.payload import JSON
from bridge.transport.mqtt import Message

if TYPE_CHECKING:
    from bridge.model.event import Event
    from bridge.model.plant import Plant
    from bridge.northbound.uns.payload import Labels
    from bridge.northbound.uns.topic import Namespace
    from bridge.ports import Clock, TagView
    from bridge.transport.mqtt import Link

EXPIRY_S = 7 * 86_400
"""A broker that speaks MQTT 5 keeps an event for a client that is away no longer than this."""
AT_ONCE = 100
RETRY_S = 30.0
"""An event that the broker refused is published again after this time."""


class Events:
    """What happened, told to one link after another. `reader` names our cursor."""

    def __init__(self, reader: str, qos: int, clock: Clock, namespace: Namespace, properties: Labels) -> None:
        self._reader = reader
        self._qos = qos
        self._clock = clock
        self._namespace = namespace
        self._properties = properties
        self.told_total = 0

    async def publish(self, link: Link, view: TagView) -> None:
        """Tell everything there is, and what comes. Raises LinkLost."""
        limit = AT_ONCE
        while True:
            rows = await view.log.read(self._reader, limit)
            messages, before = [self._message(view.plant, event) for _, event in rows], link.refusals.total
            for message in messages:
                link.publish(message)
            await link.drain()
            await flushed(link)
            if not self._qos:
                await link.arrived()  # what is written may be lost on the way
            refused = link.refusals.since(before)
            taken = next((place for place, one in enumerate(messages) if one.topic in refused), len(rows))
            if taken:
                view.log.acknowledge(self._reader, rows[taken - 1][0])
                self.told_total += taken
            # One alone is tried again: those after it would be told each time.
            limit = AT_ONCE if taken == len(rows) else 1
            if limit == 1:
                await self._clock.sleep(RETRY_S)

    def _message(self, plant: Plant, event: Event) -> Message:
        return Message(
            self._namespace.event(plant.machines.get(event.machine), event.kind),
            payload.event(event),
            self._qos,
            expiry_s=EXPIRY_S,
            content_type=JSON,
            user_properties=self._properties,
        )
