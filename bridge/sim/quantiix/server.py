"""The developer API: four calls, one token, one counter.

    HttpDoor -> token -> counter -> call -> Timeline of the machine

Only http, as published. Source: Quantiix developer guide (APIs 1 to 4, rate limits, FAQ).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import orjson
from aiohttp import hdrs, web

from bridge.sim.clock import VirtualClock
from bridge.sim.control import Control
from bridge.sim.http_door import HttpDoor
from bridge.sim.http_faults import FaultPlan
from bridge.sim.quantiix import activity
from bridge.sim.quantiix.behaviour import Behaviour
from bridge.sim.quantiix.faults import Faults
from bridge.sim.quantiix.limits import Limit
from bridge.sim.quantiix.machines import Machine, default_machines
from bridge.sim.quantiix.timeline import Timeline
from bridge.sim.quantiix.tokens import Tokens
from bridge.sim.request_journal import RequestJournal

EMAIL, PASSWORD = "user@example.com", "your_password"
"""The words of the vendor's page."""
LOGIN = "/api/v1/security/getAPIToken"
LOGINS_PER_MINUTE = 10
REQUESTS_PER_MINUTE = 100
MAX_MACHINES = 5000
LONGEST_MS = 30 * 24 * 3600 * 1000
KNOWN_AFTER_MIN = 1
"""States are computed on a grid of one minute and known when the next minute is over: 1 to 2 minutes late."""


class Refused(Exception):
    """The request is answered with another status than 200."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


@dataclass(slots=True)
class Account:
    """Who may log in, and what was counted for them."""

    email: str
    password: str = field(repr=False)
    issued: int = 0
    """Number of the last token."""
    ended: int = 0
    """Tokens up to this number are no longer good."""
    logins: Limit = field(default_factory=lambda: Limit(LOGINS_PER_MINUTE))
    limits: dict[str, Limit] = field(default_factory=dict)


class Quantiix:
    """The simulator, to be entered with `async with`.

    Args:
        machines: What the account sees; may be empty.
        email: Of the account.
        password: Of the account.
        requests_per_minute: That the account may send.
        behaviour: What the page leaves open.
        clock: Of the vendor; the machine's time if None.
        seed: Of the machines' lives.
        host: Address to listen on.
        port: 0 takes a free one.
        control_port: Loopback port of the switches (`/_sim/...`); 0 takes a free one, None means none.

    Raises:
        ValueError: Two machines have one id.
        AddressTaken: On entering, when a port is in use.
    """

    def __init__(
        self,
        machines: Iterable[Machine] | None = None,
        *,
        email: str = EMAIL,
        password: str = PASSWORD,
        requests_per_minute: int = REQUESTS_PER_MINUTE,
        behaviour: Behaviour | None = None,
        clock: VirtualClock | None = None,
        seed: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int | None = None,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.behaviour = behaviour or Behaviour()
        self.accounts = {email: Account(email, password)}
        self.machines: dict[str, Machine] = {}
        for machine in default_machines(4) if machines is None else machines:
            self.add(machine)
        self.journal = RequestJournal()
        self._plan = FaultPlan()
        self.faults = Faults(self._plan, self)
        self._tokens = Tokens()
        self._stranger_logins = Limit(LOGINS_PER_MINUTE)
        self._seed = seed
        self._requests_per_minute = requests_per_minute
        self._timelines: dict[str, Timeline] = {}
        self._calls: Mapping[str, Callable[[web.Request], web.Response]] = {
            "/api/v1/machineInfo": self._machine_info,
            "/api/v1/machineState": self._machine_state,
            "/api/v1/machineActivity": self._machine_activity,
        }
        self._door = HttpDoor(
            "Quantiix simulator", host, port, self._serve,
            account=self._account_name, clock=self.clock, plan=self._plan, journal=self.journal, secret=(LOGIN,),
        )  # fmt: skip
        views = {"status": self._status, "journal": self.journal.as_json}
        name = "Quantiix simulator's control port"
        self.control = None if control_port is None else Control(name, self.faults, views, control_port)

    # -- what a test sees

    @property
    def url(self) -> str:
        """The base URL, which ends in /api/v1 as the published one does."""
        return f"{self._door.url}/api/v1"

    def timeline(self, unique_id: str) -> Timeline:
        """A machine's life; it is kept when the machine is removed. Raises KeyError for one that never was."""
        if unique_id not in self._timelines:
            seed = f"{self._seed} {self.machines[unique_id].unique_id}"
            if len(self._timelines) >= 2 * MAX_MACHINES:
                del self._timelines[next(iter(self._timelines))]
            self._timelines[unique_id] = Timeline(seed, self.known_until)
        return self._timelines[unique_id]

    @property
    def known_until(self) -> int:
        """The minute since the epoch up to which states are known."""
        return int(self.clock.now().timestamp() // 60) - KNOWN_AFTER_MIN

    # -- what switches do

    def behave(self, switches: Mapping[str, Any]) -> None:
        """Set switches of what the page leaves open. Raises ValueError."""
        self.behaviour = self.behaviour.with_switches(switches)

    def add(self, machine: Machine) -> None:
        """Let the account see one more machine. Raises ValueError."""
        if len(self.machines) >= MAX_MACHINES:
            raise ValueError(f"the account has {MAX_MACHINES} machines already")
        if not machine.unique_id or machine.unique_id in self.machines:
            raise ValueError(f"a machine {machine.unique_id!r} cannot be added: it has no id, or one that is taken")
        self.machines[machine.unique_id] = machine

    def spend(self, account: Account, path: str, requests: int) -> int:
        """Count so many requests of somebody else on the account; gives how many were let through."""
        if path not in self._calls:
            raise ValueError(f"there is no call {path!r}: expected one of {', '.join(self._calls)}")
        before = requests
        try:
            while requests > 0:
                self._count(account, path)
                requests -= 1
        except Refused:
            pass
        return before - requests

    async def refuse(self) -> None:
        """Drop every connection and refuse new ones."""
        await self._door.refuse()

    async def accept(self) -> None:
        """Accept connections again."""
        await self._door.accept()

    # -- start and stop

    async def __aenter__(self) -> Quantiix:
        try:
            await self._door.start()
            if self.control is not None:
                await self.control.start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await self._door.stop()
        if self.control is not None:
            await self.control.stop()

    def _status(self) -> Any:
        return {
            "url": self.url,
            "now": self.clock.now(),
            "speed": self.clock.speed,
            "behaviour": {name: getattr(self.behaviour, name) for name in Behaviour.__dataclass_fields__},
            "machines": [machine.as_json() for machine in self.machines.values()],
        }

    # -- requests

    def _serve(self, request: web.Request, body: bytes) -> web.Response:
        try:
            if request.path == LOGIN:
                self._require(request, hdrs.METH_POST)
                return self._log_in(body)
            call = self._calls.get(request.path)
            if call is None:
                raise Refused(404, "Not Found")
            self._require(request, hdrs.METH_GET)
            self._count(self._authenticated(request), request.path)
            return call(request)
        except Refused as refused:
            return self._refusal(refused)

    def _require(self, request: web.Request, method: str) -> None:
        if request.method != method:
            raise Refused(405, "Method Not Allowed")

    def _refusal(self, refused: Refused) -> web.Response:
        switch = self.behaviour.throttle_body if refused.status == 429 else self.behaviour.error_body
        if refused.status == 204 or switch == "empty":
            answer = web.Response(status=refused.status)
        else:
            answer = _json({"message": refused.message}, refused.status)
        if refused.retry_after is not None and self.behaviour.retry_after == "on":
            answer.headers[hdrs.RETRY_AFTER] = str(int(refused.retry_after) + 1)
        return answer

    # -- who

    def _log_in(self, body: bytes) -> web.Response:
        given = _credentials(body)
        account = self.accounts.get(given.get("userEmail", ""))
        self._throttle(account.logins if account is not None else self._stranger_logins)
        if len(given) < 2:
            raise Refused(422, "userEmail and password are required")
        if account is None or given["password"] != account.password:
            raise Refused(401, "Unauthorized")
        account.issued += 1
        if self.behaviour.tokens == "single":
            account.ended = account.issued - 1
        return _json({"token": self._tokens.issue(account.email, account.issued, self._now_s())})

    def _authenticated(self, request: web.Request) -> Account:
        claims = self._tokens.read(_bearer(request))
        account = self.accounts.get(claims.email) if claims is not None else None
        if claims is None or account is None or claims.number <= account.ended or self._now_s() >= claims.expires:
            raise Refused(401, "Unauthorized")
        return account

    def _account_name(self, request: web.Request) -> str:
        claims = self._tokens.read(_bearer(request))
        return claims.email if claims is not None else ""

    def _count(self, account: Account, path: str) -> None:
        counter = path if self.behaviour.counter == "path" else ""
        self._throttle(account.limits.setdefault(counter, Limit(self._requests_per_minute)))

    def _throttle(self, limit: Limit) -> None:
        wait = limit.take(self.clock.monotonic(), self.behaviour.window)
        if wait is not None:
            raise Refused(429, "Too Many Requests", wait)

    # -- calls

    def _machine_info(self, _: web.Request) -> web.Response:
        return _json({"machines": [machine.as_json() for machine in self.machines.values()]})

    def _machine_state(self, request: web.Request) -> web.Response:
        machine = self._machine(request)
        until = self.known_until
        interval = self.timeline(machine.unique_id).at(until - 1)
        if machine.silent or interval is None or interval.state is None:
            raise Refused(204, "No Content")
        minutes = interval.end - interval.start
        answer: dict[str, Any] = {
            "machineState": activity.word(self.behaviour, interval.state),
            "durationInMinutes": minutes * (1 if self.behaviour.durations == "minutes" else 60),
        }
        if self.behaviour.last_update == "yes":
            answer["lastUpdateTime"] = until * activity.MINUTE_MS
        return _json(answer)

    def _machine_activity(self, request: web.Request) -> web.Response:
        window = (_milliseconds(request, "startTime"), _milliseconds(request, "endTime"))
        if window[0] > window[1]:
            raise Refused(422, "startTime is after endTime")
        if window[1] - window[0] > LONGEST_MS:
            raise Refused(422, "The time range is longer than 30 days")
        machine = self._machine(request)
        timeline, now_ms = self.timeline(machine.unique_id), int(self._now_s() * 1000)
        found = [] if machine.silent else activity.records(timeline, self.behaviour, window, self.known_until, now_ms)
        if not found and self.behaviour.no_activity == "204":
            raise Refused(204, "No Content")
        return _json({"machineId": machine.unique_id, "activity": found})

    def _machine(self, request: web.Request) -> Machine:
        unique_id = request.query.get("machineId", "")
        if not unique_id:
            raise Refused(422, "machineId is missing")
        if unique_id not in self.machines:
            raise Refused(int(self.behaviour.unknown_machine), "Machine not found")
        return self.machines[unique_id]

    def _now_s(self) -> float:
        return self.clock.now().timestamp()


def _credentials(body: bytes) -> dict[str, str]:
    """Those of userEmail and password that are there."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        return {}
    return {key: given[key] for key in ("userEmail", "password") if isinstance(given.get(key), str)}


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token if scheme == "Bearer" else ""


def _milliseconds(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refused(422, f"{name} is missing, or no number of milliseconds")
    return int(text)


def _json(content: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")
