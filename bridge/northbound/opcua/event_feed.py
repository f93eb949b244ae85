"""From the one event log to whoever subscribed to events: once each, and again when an event is told completed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.northbound.opcua.events import EventTypes
    from bridge.northbound.opcua.stack.event_filter import Notification
    from bridge.ports import Clock, TagView

AT_ONCE = 100
KNOWN_FROM = 2000
"""Events of the log that are looked at for their kinds, when the server starts."""


class EventFeed:
    """The way of events. `notify` never waits."""

    def __init__(self, name: str, view: TagView, clock: Clock, notify: Callable[[Notification], None]) -> None:
        self._name = name
        self._view = view
        self._clock = clock
        self._notify = notify
        self.events_total = 0

    async def prepare(self, types: EventTypes) -> None:
        """Make the types: the bridge's own, and those of the newest events of the log."""
        page = await self._view.log.query(newest_first=True, limit=KNOWN_FROM)
        types.begin(one.event for one in reversed(page.events))

    async def run(self, types: EventTypes) -> None:
        """Until cancelled. A subscriber that is not there misses what happens, and finds it by reading history."""
        while True:
            rows = await self._view.log.read(self._name, AT_ONCE)
            for _, event in rows:
                types.learn(event)
                self._notify(types.notification(event, self._clock.now()))
            self._view.log.acknowledge(self._name, rows[-1][0])
            self.events_total += len(rows)
