"""Report: what the cloud told, as observations, conditions and events; each fault of a part once down, once up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from bridge.errors import NotConnected, ProtocolError
from bridge.model.observation import Condition, Observation, Reading
from bridge.model.status import StatusCode
from bridge.sources.iotistica.rest.wire import Missing, NotAllowed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from bridge.errors import SourceError
    from bridge.model.event import Event
    from bridge.ports import Clock, Publish

log = logging.getLogger(__name__)


class Report:
    """How the REST half speaks, while it runs."""

    def __init__(self, source: str, clock: Clock) -> None:
        self.source = source
        self.clock = clock
        self.publish: Publish = lambda item: None
        self._down: set[tuple[str, str]] = set()

    def begin(self, publish: Publish) -> None:
        """Another run."""
        self.publish = publish
        self._down.clear()

    def observe(self, agent: str, channel: str, payload: Any, asked: float | None, period: float | None) -> None:
        """A payload of a channel of an agent, which is well then."""
        if (agent, channel) in self._down:
            self._down.discard((agent, channel))
            log.info("Agent %s of %s: its %s is read again", agent, self.source, channel)
        now = self.clock.now()
        self.publish(Observation(self.source, agent, channel, payload, now, None, asked, period))

    def down(self, agent: str, channel: str, error: SourceError) -> None:
        """A channel of an agent cannot be read now."""
        if (agent, channel) not in self._down:
            self._down.add((agent, channel))
            log.warning("Agent %s of %s: %s", agent, self.source, error)
        status = status_of(error)
        self.publish(Condition(self.source, status, str(error), self.clock.now(), agent, channel))

    def tell(self, events: Iterable[Event | None]) -> None:
        """Events that are some."""
        for event in events:
            if event is not None:
                self.publish(event)

    def say(self, name: str, value: bool | float | str | datetime | None, otherwise: str = "") -> None:
        """A fact about the source itself."""
        extra = {"reason": otherwise} if value is None else {}
        self.publish(Reading(self.source, name, value, self.clock.now(), extra))


def status_of(error: SourceError) -> StatusCode:
    """What tags become of a channel that failed so."""
    if isinstance(error, Missing):
        return StatusCode.BadNoData
    if isinstance(error, NotAllowed):
        return StatusCode.BadUserAccessDenied
    if isinstance(error, NotConnected):
        return StatusCode.UncertainNoCommunicationLastUsableValue
    return StatusCode.BadDecodingError if isinstance(error, ProtocolError) else StatusCode.BadNoCommunication
