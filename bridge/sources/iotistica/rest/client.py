"""Client: Iotistica's requests by name, each in its budget, with its credentials, told apart when they fail.

Rules
1. Every request takes a turn of its budget; one that was refused for asking too often waits for another turn: a
   command's TRIES times, the others until nothing else is answered for long.
2. A token that was refused is renewed once, by one for all. What refuses a new one too does so to this request only,
   unless nothing works without.
3. Reads are repeated once over a connection that was cut. Writes are sent once: what their answer means is the
   executor's business.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.errors import AuthFailed, NotConnected, RateLimited, SourceError
from bridge.sources._budget import Priority
from bridge.sources._waiting import within
from bridge.sources.iotistica.profile import REQUIRED
from bridge.sources.iotistica.rest.limits import Limits
from bridge.sources.iotistica.rest.tokens import ADVICE, Tokens
from bridge.sources.iotistica.rest.wire import VENDOR, NotAllowed, NotOffered, NotSent, Wire, decoded, failure_of
from bridge.transport.http import Departure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.ports import Clock
    from bridge.sources._budget import Turn
    from bridge.sources.iotistica.profile import Profile, Route
    from bridge.sources.iotistica.rest.config import RestRules
    from bridge.sources.iotistica.rest.tokens import Token
    from bridge.transport.http import Answer

log = logging.getLogger(__name__)

TRIES: Final = 3

TURN_LIFE: Final = 5.0
"""Seconds a turn may lie while a token is waited for; many that are used together would be a burst."""

LONGEST_WAIT: Final = 3600.0
"""Seconds a command may wait for its turn."""

KEY_HEADER: Final = "X-Device-API-Key"


class Reply(NamedTuple):
    """An answer as JSON. `asked` is the monotonic time at which it was asked for."""

    route: Route
    data: Any
    asked: float

    def find(self, name: str) -> Any:
        """What stands where the profile says."""
        return self.route.find(name, self.data)

    def rows(self, name: str = "rows") -> list[dict[str, Any]]:
        """The objects of a list; what is none is passed over."""
        found = self.find(name)
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


class Written(NamedTuple):
    """The answer to a write; `is_throttled`: it was refused for asking too often, so it was not done."""

    route: Route
    answer: Answer
    is_throttled: bool

    def json(self) -> Any:
        """The answer's JSON. Raises ProtocolError."""
        return decoded(self.answer, self.route.path)


class RestClient:
    """Requests of one account, while its wire is connected."""

    def __init__(self, rules: RestRules, profile: Profile, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock
        self.profile = profile
        self.limits = Limits(profile, rules.share, clock)
        self.wire = Wire(rules.url, clock)
        self.tokens = Tokens(rules, profile, self.wire, self.limits, clock)

    def now(self) -> int:
        """Milliseconds since 1970 by the vendor's clock."""
        return self.wire.vendor_clock.now()

    def offers(self, name: str) -> bool:
        """The profile says how to ask for it."""
        return name in self.profile.routes

    async def read(
        self,
        name: str,
        values: Mapping[str, Any] | None = None,
        priority: Priority = Priority.STATE,
        turn: Turn | None = None,
    ) -> Reply:
        """Ask for something. Raises SourceErrors, those of `wire` where only this request is concerned."""
        route = self._route(name)
        given, was_renewed, was_cut, tries = values or {}, False, False, 0
        while True:
            headers, token = await self._credentials(route, given)
            if turn is None or self._clock.monotonic() - turn.at > TURN_LIFE:
                turn = await self.limits.turn(route.bucket, priority)
            asked = self._clock.monotonic()
            try:
                answer = await self.wire.send(route, given, headers)
            except NotConnected:
                if was_cut:
                    raise
                was_cut, turn = True, None
                continue  # a kept connection that the server has just closed looks like this
            if self.limits.hear(answer, route.bucket, turn):
                turn, tries = None, tries + 1
                if self.limits.is_hopeless or (priority is Priority.COMMAND and tries == TRIES):
                    raise RateLimited(f"{VENDOR} asks us to slow down", answer.retry_after)
                continue
            if answer.status == 401 and token is not None and not was_renewed:
                was_renewed, turn = True, None
                await self.tokens.renewed(token)
                continue
            return Reply(route, decoded(self._good(answer, name), name), asked)

    async def write(self, name: str, values: Mapping[str, Any], deadline: float = math.inf) -> Written:
        """Send something once, unless its turn comes after `deadline` (monotonic).

        Raises NotSent where it certainly did not leave, else NotConnected, ProtocolError.
        """
        route = self._route(name)
        was_renewed = False
        while True:
            try:
                headers, token = await self._credentials(route, values)
                turn = await self._turn(route, deadline)
            except SourceError as error:
                raise NotSent(str(error)) from error
            departure = Departure()
            try:
                answer = await self.wire.send(route, values, headers, departure)
            except SourceError as error:
                if departure.is_sending:
                    raise
                raise NotSent(str(error)) from error
            is_throttled = self.limits.hear(answer, route.bucket, turn)
            if answer.status == 401 and token is not None and not was_renewed:
                was_renewed = True
                await self._renew(token)
                continue
            return Written(route, answer, is_throttled)

    async def _turn(self, route: Route, deadline: float) -> Turn:
        """A command's turn, in time. Raises RateLimited."""
        waiting = asyncio.ensure_future(self.limits.turn(route.bucket, Priority.COMMAND))
        try:
            if not await within(self._clock, min(deadline - self._clock.monotonic(), LONGEST_WAIT), waiting):
                raise RateLimited(f"{VENDOR} has asked us to wait, and nobody waits so long for a command", 60.0)
            return waiting.result()
        finally:
            waiting.cancel()
            await asyncio.wait({waiting})

    async def _renew(self, token: Token) -> None:
        try:
            await self.tokens.renewed(token)
        except SourceError as error:
            raise NotSent(str(error)) from error

    def _route(self, name: str) -> Route:
        route = self.profile.routes.get(name)
        if route is None:
            raise NotOffered(f"The profile {self.profile.profile} has no {name}")
        return route

    async def _credentials(self, route: Route, values: Mapping[str, Any]) -> tuple[dict[str, str], Token | None]:
        if route.auth == "none":
            return {}, None
        if route.auth == "device":
            key = self._rules.device_keys.get(str(values.get("agent", "")))
            if key is None:
                raise NotAllowed(f"It wants the agent's own key: write it into device_keys ({values.get('agent')})")
            return {KEY_HEADER: key.get_secret_value()}, None
        token = await self.tokens.valid()
        return {"Authorization": f"Bearer {token.text}"}, token

    def _good(self, answer: Answer, name: str) -> Answer:
        if 200 <= answer.status < 300:
            return answer
        if answer.status in (401, 403) and name in REQUIRED:
            raise AuthFailed(f"{VENDOR} refused the account: {answer.words or answer.status}", ADVICE)
        raise failure_of(answer, name)
