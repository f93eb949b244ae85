"""Tasks: something that is asked for again and again, for itself: what fails of it takes nothing else with it.

works         ok
not offered   the profile or the server has no such request; asked again in an hour
not allowed   the user may not ask for it (an administrator may): calm, asked again in ten minutes
failed        anything else; asked again at its next time, or later
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from bridge.errors import AuthFailed, RateLimited, SourceError
from bridge.model.observation import Reading
from bridge.sources._poll import Backoff
from bridge.sources.iotistica.rest.wire import NotAllowed, NotOffered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.ports import Clock, Publish

log = logging.getLogger(__name__)

NOT_OFFERED_WAIT: Final = 3600.0
NOT_ALLOWED_WAIT: Final = 600.0
LONGEST_WAIT: Final = 300.0
"""Seconds."""

FAILURES: Final = 3


class Task:
    """One of them. `name` is that of the reading that shows its state.

    `is_lost` says of a failure that it is everybody's; of a vital task FAILURES in a row are. `waits`: it has just been
    done when it begins.
    """

    def __init__(
        self,
        source: str,
        name: str,
        period: float,
        work: Callable[[], Awaitable[None]],
        clock: Clock,
        is_lost: Callable[[SourceError], bool],
        *,
        is_vital: bool = False,
        waits: bool = False,
    ) -> None:
        self._source = source
        self.name = name
        self._period = period
        self._work = work
        self._clock = clock
        self._is_lost = is_lost
        self._is_vital = is_vital
        self._waits = waits
        self._failures = 0
        self._backoff = Backoff(period, LONGEST_WAIT)
        self.state = ""
        self.reason = ""

    async def run(self, publish: Publish) -> None:
        """Until cancelled. Raises AuthFailed, RateLimited, and what is everybody's."""
        self._backoff.reset()
        self._failures = 0
        if self._waits:
            self._is("ok", "", publish)
            await self._clock.sleep(self._period)
        while True:
            began = self._clock.monotonic()
            wait = await self._once(publish)
            await self._clock.sleep(max(0.0, wait - (self._clock.monotonic() - began)))

    async def _once(self, publish: Publish) -> float:
        """Do it; gives the seconds until the next time, from when it was begun."""
        try:
            await self._work()
        except (AuthFailed, RateLimited):
            raise
        except NotOffered as error:
            self._is("not offered", str(error), publish)
            return NOT_OFFERED_WAIT
        except NotAllowed as error:
            self._is("not allowed", str(error), publish)
            return NOT_ALLOWED_WAIT
        except SourceError as error:
            self._failures += 1
            if self._is_lost(error) or (self._is_vital and self._failures >= FAILURES):
                raise
            self._is("failed", str(error), publish)
            return max(self._period, self._backoff.next())
        self._backoff.reset()
        self._failures = 0
        self._is("ok", "", publish)
        return self._period

    def _is(self, state: str, reason: str, publish: Publish) -> None:
        if state != self.state:
            level = logging.WARNING if state == "failed" else logging.INFO
            if state != "ok" or self.state:
                log.log(level, "Source %s: %s: %s%s", self._source, self.name, state, f": {reason}" if reason else "")
        self.state, self.reason = state, reason
        extra = {"reason": reason} if reason else {}
        publish(Reading(self._source, self.name, state, self._clock.now(), extra))
