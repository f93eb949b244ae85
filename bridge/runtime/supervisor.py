"""The supervisor: the one loop that runs every source, and the order in which everything starts and stops.

    outer TaskGroup: northbounds, housekeeping
        inner TaskGroup: sources
    stop: sources are cancelled and drained -> northbounds say goodbye -> the rest

Sources hold no retry: what they raise names what happens next (`bridge.errors`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.errors import AuthFailed, NotConnected, ProtocolError, RateLimited, SourceError
from bridge.model.connection import ConnectionState
from bridge.model.observation import Condition
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from bridge.ports import Clock, Source
    from bridge.runtime.plant_keeper import PlantKeeper

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
REFUSED_WAIT_S = 60.0
"""After a 401: each wrong password costs the panel's control PC a bcrypt (facts/qitech.md section 2)."""

RATE_ADVICE = (
    "The vendor has refused every request for long (429). The bridge tries again by itself. What else uses this "
    "account? Give this source less (requests_per_minute, share)"
)


def back_off(attempt: int, random_between: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds to wait before attempt number `attempt` (0 is the first repetition): full jitter, 1 to 30 s."""
    ceiling = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt, 10))
    return random_between(min(FIRST_WAIT_S, ceiling), ceiling)


UNHEARD = "Nothing has been heard yet"

_FLOWING = frozenset({ConnectionState.Connected, ConnectionState.Degraded})
"""States in which values flow."""


@dataclass(slots=True)
class SourceState:
    """How a source stands, for a person."""

    state: ConnectionState = ConnectionState.Waiting
    reason: str = UNHEARD
    since: datetime | None = None
    advice: str = ""
    last_update: datetime | None = None
    reconnects: int = 0
    next_try_at: float | None = None


class SourceRunner:
    """Runs one source for ever: waits as its errors say, one log line down and one up."""

    def __init__(self, source: Source, keeper: PlantKeeper, clock: Clock) -> None:
        self.source = source
        self.status = SourceState(since=clock.now())
        self._keeper = keeper
        self._clock = clock
        self._attempt = 0
        self._slowed: Condition | None = None
        self._ways: dict[str, Condition] = {}
        """Ways to the vendor that are lost while others are not, by their names."""
        self._plain = (UNHEARD, "")
        """Reason and advice where nothing more pressing is known."""
        self.speaks = False
        """It has said something since it was lost: it is served. Of machines that are silent there may be no values."""

    async def run(self) -> None:
        """Until cancelled."""
        self._show()
        while True:
            wait = await self._run_once()
            self.status.next_try_at = self._clock.monotonic() + wait
            await self._clock.sleep(wait)
            self.status.next_try_at = None
            self.status.reconnects += 1
            self._show()

    async def _run_once(self) -> float:
        """Serve once; the seconds to wait before the next time."""
        try:
            await self._serve()
        except AuthFailed as error:
            advice = error.advice or "Check the user name and password of this source"
            self._down(ConnectionState.Refused, StatusCode.BadConfigurationError, str(error), advice)
            return max(REFUSED_WAIT_S, self._next_wait())
        except RateLimited as error:
            self._down(ConnectionState.Lost, StatusCode.UncertainLastUsableValue, str(error), RATE_ADVICE)
            return max(error.retry_after, FIRST_WAIT_S)
        except NotConnected as error:
            self._lost(str(error), error.advice)
        except ProtocolError as error:
            self._lost(f"The vendor's answer is not understood: {error}")
        except SourceError as error:
            self._lost(str(error))
        except Exception as error:
            logger.exception("The source %s failed because of a fault in the bridge", self.source.name)
            self._lost(f"A fault in the bridge: {type(error).__name__}")
        else:
            self._lost("The connection ended")
        return self._next_wait()

    async def _serve(self) -> None:
        """Let the source serve in a task of its own, so that a cancellation of ours is never lost in it.

        A TaskGroup whose child fails in the moment in which it is cancelled tells of the failure only (Python before
        3.13): the source would be run again, and a bridge that stops would wait for it for ever.
        """
        serving = asyncio.create_task(self.source.run(self._keeper.publish), name=f"serve {self.source.name}")
        try:
            await asyncio.wait({serving})
        finally:
            serving.cancel()
            await asyncio.wait({serving})
            if not serving.cancelled():
                serving.exception()  # looked at also where we are cancelled, else asyncio complains of it later
        serving.result()

    def _next_wait(self) -> float:
        wait = back_off(self._attempt)
        self._attempt += 1
        return wait

    def _lost(self, reason: str, advice: str = "") -> None:
        advice = advice or "Is the vendor's system on, and can this computer reach it?"
        self._down(ConnectionState.Lost, StatusCode.UncertainNoCommunicationLastUsableValue, reason, advice)

    def _down(self, state: ConnectionState, status: StatusCode, reason: str, advice: str) -> None:
        now, self.speaks, self._slowed = self._clock.now(), False, None
        self._ways.clear()
        self._plain = (reason, advice)
        was = self.status.state
        if was is not state:
            logger.warning("Source %s is %s: %s", self.source.name, state.name.lower(), reason or "no reason given")
            self.status.since = now
            self._keeper.event("SourceLost", f"{self.source.name}: {reason}", self.source.name, severity=500)
        elif advice != self.status.advice:  # another cause than before, not another wording of it
            logger.info("Source %s is still %s: %s", self.source.name, state.name.lower(), reason)
        self.status.state, self.status.reason, self.status.advice = state, reason, advice
        since = self.status.since or now
        self._keeper.publish(Condition(self.source.name, status, reason, since, None, None, advice))
        self._keeper.doubt(self.source.name, reason, since)
        self._show()

    def slowed(self, condition: Condition) -> None:
        """The vendor wants to be asked less often (a Good condition), or no longer: no reason."""
        is_slowed = bool(condition.reason)
        self._slowed = condition if is_slowed else None
        if is_slowed:
            logger.info("Source %s: %s", self.source.name, condition.reason)
        else:
            logger.info("Source %s is no longer slowed down", self.source.name)
        self._explain()

    def way(self, condition: Condition) -> None:
        """One of several ways to the vendor is lost, or back (no reason); values go on by the others."""
        name, way = self.source.name, condition.way
        if condition.reason:
            if way not in self._ways:
                self._keeper.event("SourceLost", f"{name}: {condition.reason}", name, severity=300)
            self._ways[way] = condition
        elif self._ways.pop(way, None) is not None:
            logger.info("Source %s: %s is back", name, way)
            self._keeper.event("SourceReturned", f"{name}: {way} is back", name, severity=100)
        if self.status.state in _FLOWING:
            self._flow()
        self._explain()

    def _flow(self) -> None:
        state = ConnectionState.Degraded if self._ways else ConnectionState.Connected
        if state is not self.status.state:
            self.status.state, self.status.since = state, self._clock.now()

    def _explain(self) -> None:
        """Say the most pressing of what is known."""
        told = next(iter(self._ways.values()), self._slowed)
        self.status.reason, self.status.advice = self._plain if told is None else (told.reason, told.advice)
        self._show()

    def heard(self) -> None:
        """Values flow: the only thing that counts as a return."""
        self.status.last_update = self._clock.now()
        self._attempt = 0
        if self.status.state in _FLOWING:
            return
        if self.status.state is not ConnectionState.Waiting:
            logger.info("Source %s is back: values flow", self.source.name)
            self._keeper.event("SourceReturned", f"{self.source.name}: values flow", self.source.name, severity=100)
        self._flow()
        self._plain = ("", "")
        self._explain()

    def idle(self, waiting: int) -> None:
        """It answers, and none of its machines is in the plant: no value can come. `waiting` for adoption: so many."""
        if self.status.state in _FLOWING:
            return
        if waiting:
            reason = f"It answers, and none of its machines is in the plant; waiting for adoption: {waiting}"
            advice = "Adopt them on the status page (Setup), or name them in machines: of bridge.yaml"
        else:
            reason = "It answers, and shows no machine that a mapping matches"
            advice = f"plantbridge discover {self.source.name} shows what it has"
        if self.status.state is not ConnectionState.Waiting:
            logger.info("Source %s is back: %s", self.source.name, reason)
            self.status.state, self.status.since = ConnectionState.Waiting, self._clock.now()
        if (reason, advice) != self._plain:
            self._plain = (reason, advice)
            self._explain()

    def _show(self) -> None:
        here, status = f"Sources/{self.source.name}", self.status
        self._keeper.say(f"{here}/State", int(status.state))
        self._keeper.say(f"{here}/StateText", status.state.name)
        self._keeper.say(f"{here}/Connected", status.state in _FLOWING)
        self._keeper.say(f"{here}/Reason", status.reason)
        self._keeper.say(f"{here}/Since", status.since)
        self._keeper.say(f"{here}/Advice", status.advice)
        self._keeper.say(f"{here}/Reconnects", status.reconnects)
