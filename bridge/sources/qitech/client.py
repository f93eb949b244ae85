"""Client: a QiTech panel's REST API.

Rules, each learned from a crash of a real panel (facts of 2.14 to 3.0):
1. A GET of a machine is never cancelled: on 2.x the control process dies when the caller goes away before the reply.
   It runs as a task of its own; a cancelled caller leaves it behind, and leaving the client waits for it.
2. Never two GETs of one machine at once.
3. A GET of a machine is sent only to a panel proved to be a 2.x: one kills a 3.x. Panels are updated in place, which
   takes a restart (10 s at least), so the proof holds as long as answers came without a gap of PROOF seconds.
4. Requests go one after the other over one kept connection; one that takes longer than PATIENCE lets others pass by.
5. A mutation goes by itself, so that it waits for no request; never two for one machine at once. Giving one up harms no
   panel: on 3.x it takes back one that still waits for a slot in the machine's queue.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import httpx
import orjson

from bridge.errors import NotConnected, ProtocolError, SourceError
from bridge.sources._waiting import within
from bridge.sources.qitech.payloads import ListedMachine, Snapshot, parse_json, parse_list, parse_snapshot, vendor_words
from bridge.sources.qitech.profile import Metrics, Profile, Verdict, decide
from bridge.transport.http import CONNECTING, SENDING, Answer, fetch

if TYPE_CHECKING:
    from bridge.ports import Clock
    from bridge.sources.qitech.identity import Identity

LIST: Final = "/api/v2/machine"
METRICS: Final = "/api/v1/metrics/process/metrics"
MUTATE: Final = "/api/v1/machine/mutate"

PROOF: Final = 5.0
"""Seconds; half of the service's RestartSec, within which no other release can have come up."""

PATIENCE: Final = 1.0
"""Seconds; a healthy panel answers within milliseconds."""

GRACE: Final = 1.0
"""Seconds that leaving waits for a request that may be given up."""

MUTATE_TIMEOUT: Final = 5.0
"""Seconds; a 3.x panel whose machine stands still holds a mutation back for ever."""


class Probe(NamedTuple):
    """A verdict, and the list of machines if the panel gave one on the way."""

    verdict: Verdict
    listed: tuple[ListedMachine, ...] | None


class NotSent(NotConnected):
    """A mutation that has certainly not reached the panel; a plain NotConnected may have."""


class MachineRefused(ProtocolError):
    """The panel answered, in its own words, that it has no values of this machine."""


class Polled(NamedTuple):
    """A machine's snapshot and the monotonic time at which it was asked for."""

    snapshot: Snapshot
    requested_at: float


class Departure:
    """Whether a request has begun to leave, as its `Trace` tells."""

    def __init__(self) -> None:
        self._is_connecting = False
        self._is_sending = False
        self._is_called_off = False

    async def __call__(self, step: str, _: Any) -> None:
        """Hear of a step. Raises httpx.ConnectTimeout where the request was called off before."""
        if step == CONNECTING:
            self._is_connecting = True
        elif step == SENDING:
            if self._is_called_off:
                raise httpx.ConnectTimeout("it was called off")
            self._is_sending = True

    def call_off(self) -> bool:
        """Let it not leave any more; says whether it certainly has not."""
        self._is_called_off = True
        return self._is_connecting and not self._is_sending


NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
"""httpx's exceptions that come before the first byte of a request leaves; after any other one it may have arrived."""


class PanelClient:
    """REST calls to one panel. Leaving its context waits for the GETs in flight, then closes the connection."""

    def __init__(self, http: httpx.AsyncClient, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._turn = asyncio.Lock()
        self._in_flight: dict[str, asyncio.Task[Polled]] = {}
        self._left: set[asyncio.Task[Answer]] = set()
        self._mutating: dict[str, asyncio.Task[Answer]] = {}
        self._verdict: Verdict | None = None
        self._proved_at = float("-inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        try:
            await self.drain()
        finally:
            await self._http.aclose()

    async def probe(self) -> Probe:
        """Find out which profile the panel speaks; touches no machine. Raises NotConnected, AuthFailed."""
        answer, failed = await self._try_list()
        metrics = await self._metrics(failed)
        self._proved_at = self._clock.monotonic()
        listed = _machines(answer)
        verdict = decide(
            list_status=answer.status if answer else 0,
            lists_machines=listed is not None,
            metrics=_metrics_of(metrics),
        )
        return Probe(verdict, listed)

    async def _try_list(self) -> tuple[Answer | None, NotConnected | None]:
        """The list; or why there is none: some devices make a 3.x break off this one answer (facts 3.2)."""
        try:
            return (await self._request(LIST)).reached(), None
        except NotConnected as error:
            return None, error

    async def _metrics(self, failed: NotConnected | None) -> Answer:
        try:
            return (await self._request(METRICS)).reached()
        except NotConnected as error:
            raise failed or error from None

    def settle(self, verdict: Verdict) -> None:
        """This is what the panel is, until `confirm` finds otherwise."""
        self._verdict = verdict

    async def confirm(self, since: float = float("-inf")) -> None:
        """Make sure the panel is there and still the one that was probed.

        Asks it only where it has not answered after `since` (monotonic) or its proof has run out.
        Raises NotConnected where it is gone or changed, AuthFailed.
        """
        if self._is_proved() and self._proved_at >= since:
            return
        async with self._turn:
            if not self._is_proved() or self._proved_at < since:
                await self._prove()

    async def _prove(self) -> None:
        metrics = (await self._ask(METRICS)).reached()
        if self._verdict is not None and _metrics_of(metrics) is not self._verdict.metrics:
            raise NotConnected("The panel has changed its release")
        self._proved_at = self._clock.monotonic()

    def _is_proved(self) -> bool:
        return self._clock.monotonic() - self._proved_at < PROOF

    def _heard(self) -> None:
        """The panel answered: if the proof held until now, it holds on."""
        if self._is_proved():
            self._proved_at = self._clock.monotonic()

    async def list_machines(self) -> tuple[ListedMachine, ...]:
        """Every machine the panel knows. Raises NotConnected, AuthFailed, ProtocolError."""
        answer = await self._request(LIST)
        return parse_list(answer.expect(200, vendor_words(answer.body)).body)

    async def snapshot(self, identity: Identity, slug: str) -> Polled:
        """State and live values of one machine of a 2.x panel, of the same instant.

        Raises NotConnected, AuthFailed; MachineRefused where the panel says no (404, 500), ProtocolError where its
        answer cannot be read.
        """
        if self._verdict is None or self._verdict.profile is not Profile.V2:
            raise ProtocolError("A machine is read by GET on a 2.x panel only")
        key = identity.key
        while earlier := self._in_flight.get(key):
            await asyncio.wait({earlier})
        async with self._turn:
            if not self._is_proved():
                await self._prove()
            task = asyncio.create_task(self._snapshot(f"{LIST}/{slug}/{identity.serial}"), name=f"qitech GET {key}")
            self._in_flight[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
            await asyncio.wait({task}, timeout=PATIENCE)
        await asyncio.wait({task})
        return task.result()

    async def _snapshot(self, path: str) -> Polled:
        requested_at = self._clock.monotonic()
        answer = (await fetch(self._http, "GET", path)).reached()
        self._heard()
        if answer.status != 200:
            raise MachineRefused(vendor_words(answer.body) or f"status {answer.status}")
        return Polled(parse_snapshot(answer.body), requested_at)

    def _landed(self, key: str, task: asyncio.Task[Polled]) -> None:
        if self._in_flight.get(key) is task:
            del self._in_flight[key]
        _look_at(task)

    async def drain(self) -> None:
        """Wait for every GET of a machine, also when cancelled meanwhile; bounded by the request timeout."""
        hurry = asyncio.get_running_loop().call_later(GRACE, self._give_up)
        interrupted: asyncio.CancelledError | None = None
        while pending := {*self._in_flight.values(), *self._left}:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                interrupted = error
        hurry.cancel()
        if interrupted is not None:
            raise interrupted

    def _give_up(self) -> None:
        """End the requests that may be given up."""
        for task in self._left:
            task.cancel()

    def is_mutating(self, identity: Identity) -> bool:
        """A mutation of this machine is in flight."""
        return identity.key in self._mutating

    async def mutated(self, identity: Identity) -> None:
        """Wait until no mutation of a machine is in flight, whoever sent it."""
        while earlier := self._mutating.get(identity.key):
            await asyncio.wait({earlier})

    async def mutate(self, identity: Identity, mutation: Any, timeout: float = MUTATE_TIMEOUT) -> Answer:
        """Send one mutation, by the one way that every release has. The caller reads the answer of any status.

        A 200 means neither applied nor understood (facts 1, item 4). A caller that is cancelled leaves it behind.
        Raises NotSent, also where another one of this machine is in flight; NotConnected or ProtocolError: it may have
        arrived.
        """
        key = identity.key
        if self.is_mutating(identity):
            raise NotSent("An earlier command to this machine is still unanswered")
        body = orjson.dumps({"machine_identification_unique": identity.unique, "data": mutation})
        departure = Departure()
        task = asyncio.create_task(self._mutate(body, timeout, departure), name=f"qitech POST {key}")
        self._left.add(task)
        self._mutating[key] = task
        task.add_done_callback(self._answered)
        task.add_done_callback(lambda _: self._mutating.pop(key))
        if not await within(self._clock, timeout, task):
            if departure.call_off():
                raise NotSent(f"{self._http.base_url.host} does not answer")
            task.cancel()  # the answer is waited for: no handshake is cut short
            await asyncio.wait({task})
        return _result(task)

    async def _mutate(self, body: bytes, timeout: float, departure: Departure) -> Answer:
        try:
            return await fetch(self._http, "POST", MUTATE, json=body, timeout=timeout, trace=departure)
        except SourceError as error:
            if isinstance(error.__cause__, NEVER_SENT):
                raise NotSent(str(error)) from error
            raise

    async def _request(self, path: str) -> Answer:
        async with self._turn:
            answer = await self._ask(path)
        self._heard()
        return answer

    async def _ask(self, path: str) -> Answer:
        """GET something that is no machine.

        A cancelled caller leaves it behind, for GRACE seconds at most: httpcore loses the socket of a TLS handshake
        that is cancelled.
        """
        task = asyncio.create_task(fetch(self._http, "GET", path), name=f"qitech GET {path}")
        self._left.add(task)
        task.add_done_callback(self._answered)
        await asyncio.wait({task})
        return _result(task)

    def _answered(self, task: asyncio.Task[Answer]) -> None:
        self._left.discard(task)
        _look_at(task)


def _result(task: asyncio.Task[Answer]) -> Answer:
    """A request's answer. Raises what it raised, or NotConnected where it was given up."""
    if task.cancelled():
        raise NotConnected("The panel did not answer in time")
    return task.result()


def _look_at(task: asyncio.Task[Any]) -> None:
    """Look at a task's failure, so that asyncio does not warn when nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


def _machines(answer: Answer | None) -> tuple[ListedMachine, ...] | None:
    """The list in an answer, if it is one."""
    try:
        return parse_list(answer.body) if answer is not None and answer.status == 200 else None
    except ProtocolError:
        return None


def _metrics_of(answer: Answer) -> Metrics:
    """Process metrics as 2.13 to 2.17 have them are a JSON object with "rss_bytes"."""
    if answer.status == 404:
        return Metrics.ABSENT
    try:
        metrics = parse_json(answer.body)
    except ProtocolError:
        return Metrics.UNKNOWN
    is_one = answer.status == 200 and isinstance(metrics, dict) and "rss_bytes" in metrics
    return Metrics.PRESENT if is_one else Metrics.UNKNOWN
