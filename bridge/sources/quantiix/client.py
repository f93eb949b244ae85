"""Client: Quantiix' four calls, within the account's budget, with a token that is renewed before it ends.

Rules (facts/other-vendors.md 3.2)
1. Every request takes a turn of the account's budget; a 429 slows the account, and the call waits for another turn.
   Only where nothing else is answered for long the account is given up.
2. One login at a time, whoever needs it: a token that was refused is renewed once, and whoever was refused with it
   tries again with the new one. A new token that is refused too means that the account is.
3. A token is renewed before it ends: an hour before, with jitter so that bridges on one account do not meet.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from bridge.errors import AuthFailed, NotConnected, ProtocolError, RateLimited, SourceError
from bridge.sources._budget import Priority
from bridge.sources._vendorclock import VendorClock
from bridge.sources.quantiix.payloads import (
    expiry,
    parse_activity,
    parse_machines,
    parse_state,
    parse_token,
)
from bridge.transport.http import Answer, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

    from bridge.ports import Clock
    from bridge.sources._budget import Budget, Turn
    from bridge.sources.quantiix.config import QuantiixConfig
    from bridge.sources.quantiix.payloads import Activity, Machine, State

LIFETIME: Final = 24 * 3600.0
EARLY: Final = 3600.0
"""Seconds: how long a token is good where it does not say, and how long before its end it is renewed."""

JITTER: Final = 300.0
LOGIN_GAP: Final = 6.0
"""Seconds between logins: ten a minute are allowed."""

TURN_LIFE: Final = 5.0
"""Seconds a turn may lie while a login is waited for; many that are used together would be a burst."""


class NoData(SourceError):
    """Quantiix answered that it has no data of this machine (204)."""


class Refused(ProtocolError):
    """Quantiix refused this request, not the account: the machine or the window is wrong for it."""


class Unwell(NotConnected):
    """Quantiix answered that something failed there (5xx): with this request, or with every one."""


class _Token(NamedTuple):
    text: str
    renew_at: float
    """Monotonic time."""


class QuantiixClient:
    """Calls of one account, while `connected`. Its token outlives a connection."""

    def __init__(self, config: QuantiixConfig, budget: Budget, clock: Clock) -> None:
        self._config = config
        self._http: httpx.AsyncClient
        self._budget = budget
        self._clock = clock
        self._token: _Token | None = None
        self._renewing = asyncio.Lock()
        self._logged_in_at = float("-inf")
        self.logins = 0
        self.vendor_clock = VendorClock(clock)
        self.expires: datetime | None = None
        """When the token ends, by its own word."""

    @contextmanager
    def connected(self, http: httpx.AsyncClient) -> Iterator[None]:
        """Use this connection; its owner closes it."""
        self._http = http
        yield

    def now(self) -> int:
        """Milliseconds since 1970 by Quantiix' clock."""
        return self.vendor_clock.now()

    async def machines(self) -> tuple[Machine, ...]:
        """Every machine of the account."""
        answer, _ = await self._get("machineInfo", {}, Priority.INVENTORY, None)
        return () if answer.status == 204 else parse_machines(answer.body)

    async def state(self, machine: str, turn: Turn | None = None) -> tuple[State, float]:
        """What a machine does now, and the monotonic time at which it was asked for. Raises NoData, Refused."""
        answer, asked = await self._get("machineState", {"machineId": machine}, Priority.STATE, turn)
        return parse_state(self._with_data(answer).body), asked

    async def activity(
        self, machine: str, start: int, end: int, turn: Turn | None = None, priority: Priority = Priority.ACTIVITY
    ) -> Activity:
        """What a machine did in [start, end) ms; at most 30 days. Raises NoData, Refused."""
        params = {"machineId": machine, "startTime": str(start), "endTime": str(end)}
        answer, _ = await self._get("machineActivity", params, priority, turn)
        return parse_activity(self._with_data(answer).body, start, end)

    # -- requests

    async def _get(
        self, path: str, params: Mapping[str, str], priority: Priority, turn: Turn | None
    ) -> tuple[Answer, float]:
        was_renewed = was_cut = False
        while True:
            token = await self._valid_token()
            if turn is None or self._clock.monotonic() - turn.at > TURN_LIFE:
                turn = await self._budget.turn(priority)
            asked = self._clock.monotonic()
            try:
                answer = await self._send("GET", path, turn, params=params, token=token.text)
            except NotConnected:
                if was_cut:
                    raise
                was_cut, turn = True, None
                continue  # a kept connection that the server has just closed looks like this
            if answer.status == 401:
                if was_renewed:
                    break
                was_renewed, turn = True, None
                await self._renew(token)
                continue
            if answer.status == 403 and params:
                raise Refused(f"Quantiix does not allow it for this machine (403): {answer.words or 'without a word'}")
            if answer.status != 429:
                return _checked(answer), asked
            if self._budget.is_hopeless:
                break
            turn, was_cut = None, False  # it may also be closed in the next pause
        raise status_of(answer)

    async def _send(
        self,
        method: str,
        path: str,
        turn: Turn,
        *,
        params: Mapping[str, str] | None = None,
        token: str | None = None,
        json: bytes | None = None,
    ) -> Answer:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = await fetch(self._http, method, path, params=params, headers=headers, json=json)
        self.vendor_clock.hear(answer)
        if answer.status == 429:
            self._budget.throttled(turn, answer.asks_to_wait)
        else:
            self._budget.answered()
        return answer

    @staticmethod
    def _with_data(answer: Answer) -> Answer:
        if answer.status == 204 or not answer.body.strip():
            raise NoData("Quantiix has no data of this machine now")
        return answer

    # -- the token

    async def _valid_token(self) -> _Token:
        token = self._token
        if token is not None and self._clock.monotonic() < token.renew_at:
            return token
        return await self._renew(token)

    async def _renew(self, stale: _Token | None) -> _Token:
        """The token that takes the place of `stale`: made here, or by whoever was here first."""
        async with self._renewing:
            if self._token is None or self._token is stale:
                self._token = await self._log_in()
            return self._token

    async def _log_in(self) -> _Token:
        answer = await self._ask_for_token()
        while answer.status == 429 and not self._budget.is_hopeless:
            answer = await self._ask_for_token()
        if answer.status != 200:
            raise status_of(answer)
        text = parse_token(answer.body)
        self.logins += 1
        return _Token(text, self._clock.monotonic() + self._good_for(text))

    async def _ask_for_token(self) -> Answer:
        await self._clock.sleep(self._logged_in_at + LOGIN_GAP - self._clock.monotonic())
        body = {"userEmail": self._config.email, "password": self._config.password.get_secret_value()}
        turn = await self._budget.turn(Priority.AUTH)
        self._logged_in_at = self._clock.monotonic()
        return await self._send("POST", "security/getAPIToken", turn, json=orjson.dumps(body))

    def _good_for(self, token: str) -> float:
        """Seconds after which it is to be renewed."""
        told = expiry(token)
        left = LIFETIME if told is None else min(LIFETIME, told - self.now() / 1000)
        self.expires = None if told is None else _stamp(told)
        early = min(EARLY + random.uniform(0, JITTER), left / 2)
        return max(LOGIN_GAP, left - early)


def _checked(answer: Answer) -> Answer:
    """An answer that is one. Raises what another means."""
    if answer.status in (200, 204):
        return answer
    raise status_of(answer)


def status_of(answer: Answer) -> SourceError:
    """What an answer that is none means: about the account, the connection, or this request only."""
    words = answer.words
    if answer.status in (400, 404, 409, 410, 422):
        return Refused(f"Quantiix refused it ({answer.status}): {words or 'without a word'}")
    if answer.status >= 500:
        return Unwell(f"Quantiix answered with status {answer.status}{': ' if words else ''}{words}")
    try:
        answer.expect(200, words)
    except RateLimited as error:
        return error
    except AuthFailed:
        return AuthFailed(f"Quantiix refused the account ({answer.status}): {words or 'without a word'}")
    except SourceError as error:
        return error
    return ProtocolError(f"Quantiix answered with status {answer.status}")


def _stamp(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None
