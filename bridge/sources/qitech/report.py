"""Report: what one run of a source says; each fault told and logged once on the way down, once on the way up."""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING, Any

from bridge.model.event import Event
from bridge.model.observation import Condition, Observation, Reading
from bridge.model.value import to_milliseconds

if TYPE_CHECKING:
    from datetime import datetime

    from bridge.model.observation import Inventory
    from bridge.model.status import StatusCode
    from bridge.ports import Clock, Publish

log = logging.getLogger(__name__)


class Report:
    """Publishes in a source's name."""

    def __init__(self, source: str, clock: Clock, publish: Publish) -> None:
        self.source = source
        self._clock = clock
        self._publish = publish
        self._down: dict[str, tuple[StatusCode, str, datetime]] = {}

    def observed(
        self,
        machine: str,
        channel: str,
        payload: dict[str, Any],
        *,
        received: datetime,
        source_time: datetime | None = None,
        requested_at: float | None = None,
        period: float | None = None,
    ) -> None:
        """Values of a machine: it is up."""
        if machine in self._down:
            self._up(machine)
        self._publish(Observation(self.source, machine, channel, payload, received, source_time, requested_at, period))

    def down(
        self, machine: str, status: StatusCode, reason: str, advice: str, channels: tuple[str | None, ...] = (None,)
    ) -> None:
        """A machine, or some of its channels, have no values; told again only when the reason changes."""
        before = self._down.get(machine)
        if before is not None and before[:2] == (status, reason):
            return
        since = before[2] if before else self._clock.now()
        self._down[machine] = (status, reason, since)
        if before is None:
            log.warning("Machine %s of %s is down: %s", machine, self.source, reason)
        for channel in channels:
            self._publish(Condition(self.source, status, reason, since, machine, channel, advice))

    def garbled(self, machine: str, channel: str, status: StatusCode, reason: str) -> None:
        """One payload of a machine could not be used; the next one may."""
        log.debug("Machine %s of %s, %s: %s", machine, self.source, channel, reason)
        self._publish(Condition(self.source, status, reason, self._clock.now(), machine, channel))

    def _up(self, machine: str) -> None:
        since = self._down.pop(machine)[2]
        lasted = (self._clock.now() - since).total_seconds()
        log.info("Machine %s of %s is back after %.0f s", machine, self.source, lasted)

    def inventory(self, inventory: Inventory) -> None:
        """Machines appeared or vanished."""
        self._publish(inventory)

    def reading(self, name: str, value: bool | float | str) -> None:
        """A fact about the source itself."""
        self._publish(Reading(self.source, name, value, self._clock.now()))

    def notice(self, machine: str, time: datetime, data: Any) -> None:
        """NoticeEvent: {"title": str, "message": str}, something the panel tells its operator."""
        fields = data if isinstance(data, dict) else {"message": data}
        title, message = str(fields.get("title") or ""), str(fields.get("message") or "")
        text = ": ".join(filter(None, (title, message))) or "A notice without words"
        digest = zlib.crc32(text.encode())
        self._publish(
            Event(
                id=f"{self.source}:{machine}:notice:{to_milliseconds(time)}:{digest:08x}",
                kind="Notice",
                time=time,
                message=text,
                severity=500,
                source=self.source,
                machine=machine,
                data={"title": title, "message": message},
            )
        )
