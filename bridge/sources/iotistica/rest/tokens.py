"""Tokens: who we are to Iotistica, renewed before it ends.

    login (both names of the user) --> access and refresh token --80 % of its life--> refresh --401--> login

Rules (facts 1.3)
1. One login or refresh at a time, whoever needs it; whoever was refused with an older token gets the newer one.
2. A refresh may answer without a new refresh token: the old one goes on.
3. An account that must change its password gets no refresh token, and every login would be one more of the ten a minute
   for nothing: it is told as a fault of the configuration, and not tried again with this password.
4. There is no logout: it would end the sessions of everybody who uses this account.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from bridge.errors import AuthFailed, ProtocolError, RateLimited
from bridge.sources._budget import Priority
from bridge.sources.iotistica.rest.wire import VENDOR, decoded, failure_of

if TYPE_CHECKING:
    from bridge.ports import Clock
    from bridge.sources.iotistica.profile import Profile, Route
    from bridge.sources.iotistica.rest.config import RestRules
    from bridge.sources.iotistica.rest.limits import Limits
    from bridge.sources.iotistica.rest.wire import Wire
    from bridge.transport.http import Answer

RENEW_AT: Final = 0.8
"""Part of its life after which a token is renewed."""

SHORTEST: Final = 10.0
"""Seconds: a token that is said to live shorter is used for so long all the same."""

ADVICE: Final = "Correct username and password of this source; the user needs no more than the role viewer to read"
CHANGE: Final = (
    "Log in at Iotistica as this user, choose a password of its own, and write it into password of this source"
)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token. `renew_at` and `ends_at` are monotonic times."""

    text: str = field(repr=False)
    renew_at: float
    ends_at: float


class Claims(NamedTuple):
    """What a token says of itself: seconds since 1970."""

    issued: float | None
    expires: float | None


class Tokens:
    """The token of one account; it outlives a connection."""

    def __init__(self, rules: RestRules, profile: Profile, wire: Wire, limits: Limits, clock: Clock) -> None:
        self._rules = rules
        self._profile = profile
        self._wire = wire
        self._limits = limits
        self._clock = clock
        self._token: Token | None = None
        self._refresh = ""
        self._renewing = asyncio.Lock()
        self._must_change = False
        self.logins = 0
        self.refreshes = 0

    async def valid(self) -> Token:
        """A token that is good for a while. Raises AuthFailed, NotConnected, RateLimited, ProtocolError."""
        token = self._token
        if token is not None and self._clock.monotonic() < token.renew_at:
            return token
        return await self.renewed(token)

    async def renewed(self, stale: Token | None) -> Token:
        """The token that takes the place of `stale`: made here, or by whoever was here first."""
        async with self._renewing:
            if self._token is None or self._token is stale:
                self._token = await self._refreshed() or await self._logged_in()
            return self._token

    async def _refreshed(self) -> Token | None:
        """By the refresh token; None where there is none any more."""
        route = self._profile.routes.get("refresh")
        if route is None or not self._refresh:
            return None
        answer = await self._ask(route, {"refresh": self._refresh})
        if answer.status not in (200, 201):
            self._refresh = ""
            if answer.status >= 500:
                raise failure_of(answer, "the renewal of a token")
            return None
        self.refreshes += 1
        return self._taken(route, decoded(answer, "the renewal of a token"))

    async def _logged_in(self) -> Token:
        if self._must_change:
            raise AuthFailed(f"{VENDOR} wants this user to choose a new password", CHANGE)
        route = self._profile.routes["login"]
        password = self._rules.password.get_secret_value()
        answer = await self._ask(route, {"username": self._rules.username, "password": password})
        if answer.status in (400, 401, 403, 422):
            raise AuthFailed(f"{VENDOR} refused the login: {answer.words or answer.status}", ADVICE)
        if answer.status not in (200, 201):
            raise failure_of(answer, "the login")
        said = decoded(answer, "the login")
        self.logins += 1
        if route.find("must_change", said) is True:
            self._must_change = True
            raise AuthFailed(f"{VENDOR} wants this user to choose a new password", CHANGE)
        return self._taken(route, said)

    async def _ask(self, route: Route, values: dict[str, str]) -> Answer:
        while True:
            turn = await self._limits.turn(route.bucket, Priority.AUTH)
            answer = await self._wire.send(route, values, {})
            if not self._limits.hear(answer, route.bucket, turn):
                return answer
            if self._limits.is_hopeless:
                raise RateLimited(f"{VENDOR} asks us to slow down", answer.retry_after)

    def _taken(self, route: Route, said: Any) -> Token:
        text = route.find("access", said)
        if not isinstance(text, str) or not text:
            raise ProtocolError(f"{VENDOR} answered the login without a token: another profile?")
        refresh = route.find("refresh", said)
        if isinstance(refresh, str) and refresh:
            self._refresh = refresh
        life = max(SHORTEST, self._life(text, route.find("expires_in", said)))
        now = self._clock.monotonic()
        return Token(text, now + RENEW_AT * life, now + life)

    def _life(self, text: str, expires_in: Any) -> float:
        """Seconds: by the token itself, which needs no clock that agrees; else by the answer, else as usual."""
        claims = claims_of(text)
        if claims.expires is not None:
            begun = claims.issued if claims.issued is not None else self._wire.vendor_clock.now() / 1000
            return claims.expires - begun
        if isinstance(expires_in, int | float) and not isinstance(expires_in, bool) and expires_in > 0:
            return float(expires_in)
        return self._profile.token_life


def claims_of(token: str) -> Claims:
    """The claims iat and exp of a JSON Web Token (RFC 7519); unverified, for only its issuer can."""
    try:
        middle = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, ValueError):
        return Claims(None, None)
    if not isinstance(claims, dict):
        return Claims(None, None)
    return Claims(_seconds(claims.get("iat")), _seconds(claims.get("exp")))


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 1e11 else None
