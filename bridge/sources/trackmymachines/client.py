"""Client: TrackMyMachines' requests on its two hosts, with one key and one budget, on the vendor's clock.

Rules (facts 2.2, 2.4)
1. Every request takes a turn of the budget; a 429 slows all of them, and a read waits for another turn: a command's
   TRIES times, the others until nothing else is answered for long. Writes are sent once: what their answer means is the
   executor's business.
2. Windows are UTC with whole seconds, never longer than LONGEST, and never end in the vendor's future: "now" is by the
   Date of its newest answer. A window whose ends are in order and that is refused all the same (422), or whose answer
   is too long, is too much.
3. Types are left out, which nobody promises to mean all of them. Where it does not, each type is asked for alone.
4. Writes go on connections of their own: one that was kept and that the server just closed looks like a lost answer.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

import httpx
import orjson

from bridge.errors import AuthFailed, NotConnected, ProtocolError, RateLimited, SourceError
from bridge.sources._budget import Priority
from bridge.sources._vendorclock import VendorClock
from bridge.sources.trackmymachines.payloads import (
    TYPES,
    DayRow,
    Entry,
    StepRow,
    iso,
    parse_events,
    parse_step_events,
)
from bridge.sources.trackmymachines.timeline import DAY, SECOND, Window
from bridge.transport.http import Answer, BodyTooLong, Departure, fetch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from bridge.ports import Clock
    from bridge.sources._budget import Budget, Turn
    from bridge.sources.trackmymachines.config import TrackMyMachinesConfig

LONGEST: Final = DAY - SECOND
"""Milliseconds of a window: a day is allowed, a second less is safe."""

BEHIND: Final = SECOND
"""Milliseconds that a window ends before the vendor's now: its Date is cut to whole seconds."""

TRIES: Final = 3
EVENTS: Final = "events"
STEP_EVENTS: Final = "step_events"
FINISH: Final = "step_events/finish"


class TooMuch(SourceError):
    """The window is too long for the vendor, or its answer for us: ask for less at a time."""


class NotSent(NotConnected):
    """The request certainly did not leave."""


class Filter(NamedTuple):
    """How events are asked for: one list of machines and of types, in one of the spellings."""

    style: str
    machines: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def params(self) -> list[tuple[str, str]]:
        """As they go into a query."""
        found: list[tuple[str, str]] = []
        for name, values in (("machine_foreign_ids", self.machines), ("types", self.types)):
            if values and (self.style == "comma" or len(values) == 1):
                found.append((name, ",".join(values)))
            elif values:
                found += [(f"{name}[]" if self.style == "brackets" else name, value) for value in values]
        return found


ALL: Final = Filter("none")


class TrackMyMachinesClient:
    """Requests of one key, while `connected`."""

    def __init__(self, config: TrackMyMachinesConfig, budget: Budget, clock: Clock) -> None:
        self._config = config
        self._budget = budget
        self._clock = clock
        self._events: httpx.AsyncClient
        self._steps: httpx.AsyncClient
        self._headers = {"Authorization": f"Bearer {config.api_key.get_secret_value()}", "Accept": "application/json"}
        self.types_alone = False
        """Leaving out the types does not mean all of them: each is asked for alone."""
        self.filter = ALL
        self.vendor_clock = VendorClock(clock)
        self.requests = 0
        self.status: int | None = None
        """Of the newest answer."""
        self.last_error = ""
        self.oddities: tuple[str, ...] = ()
        """What of the newest window could not be read."""

    @contextmanager
    def connected(self, events: httpx.AsyncClient, steps: httpx.AsyncClient) -> Iterator[None]:
        """Use these connections; their owner closes them."""
        self._events, self._steps = events, steps
        yield

    def now(self) -> int:
        """Milliseconds since 1970 by the vendor's clock."""
        return self.vendor_clock.now()

    def latest(self) -> int:
        """Where a window may end: whole seconds, surely not in the vendor's future."""
        return (self.now() - BEHIND) // SECOND * SECOND

    # -- reading

    async def events(self, window: Window, priority: Priority, turn: Turn | None = None) -> tuple[Entry, ...]:
        """A window's events, whole. Raises TooMuch, NotConnected, AuthFailed, RateLimited, ProtocolError."""
        if not self.types_alone:
            return await self.window(window, self.filter, priority, turn)
        found: dict[str, Entry] = {}
        for kind in TYPES:
            rows = await self.window(window, self.filter._replace(types=(kind,)), priority, turn)
            found.update((entry.id, entry) for entry in rows)
            turn = None
        return tuple(found.values())

    async def window(
        self, window: Window, chosen: Filter, priority: Priority, turn: Turn | None = None
    ) -> tuple[Entry, ...]:
        """One request for a window."""
        start, end = window.start // SECOND * SECOND, -(-window.end // SECOND) * SECOND
        params = [("from", iso(start)), ("to", iso(end)), *chosen.params()]
        answer = await self._get(self._events, EVENTS, params, priority, turn)
        if answer.status == 422 and end > start:
            raise TooMuch(f"TrackMyMachines refused a window of {(end - start) // SECOND} s: {_words(answer)}")
        entries, self.oddities = parse_events(self._good(answer).body)
        return entries

    async def step_events(self, first: str, last: str) -> tuple[tuple[DayRow, ...], tuple[StepRow, ...]]:
        """Sums or rows of the days from `first` to `last` ("2025-05-20")."""
        params = [("from", first), ("to", last)]
        answer = await self._get(self._steps, STEP_EVENTS, params, Priority.ACTIVITY, None)
        return parse_step_events(self._good(answer).body)

    async def _get(
        self, http: httpx.AsyncClient, path: str, params: list[tuple[str, str]], priority: Priority, turn: Turn | None
    ) -> Answer:
        query = urlencode(params)
        tries = 0
        while True:
            turn = turn or await self._budget.turn(priority)
            if http.is_closed:  # a command may outlive the connection
                raise NotConnected("TrackMyMachines is not connected now")
            try:
                answer = await fetch(http, "GET", f"{path}?{query}", headers=self._headers)
            except SourceError as error:
                self._note(None, str(error))
                if isinstance(error, BodyTooLong):
                    raise TooMuch(str(error)) from error
                raise
            self._heard(answer)
            if answer.status != 429:
                return answer
            self._throttled(answer, turn)
            turn, tries = None, tries + 1
            if self._budget.is_hopeless or (priority is Priority.COMMAND and tries == TRIES):
                raise RateLimited("TrackMyMachines asks us to slow down", answer.retry_after)

    def _good(self, answer: Answer) -> Answer:
        if answer.status == 200:
            return answer
        raise status_of(answer)

    # -- writing

    async def write(self, method: str, path: str, fields: dict[str, Any], timeout: float) -> Answer:
        """Send a step event once, and give whatever was answered. Raises NotSent, NotConnected, ProtocolError."""
        turn = await self._budget.turn(Priority.COMMAND)
        if self._steps.is_closed:
            raise NotSent("TrackMyMachines is not connected now")
        departure = Departure()
        try:
            answer = await fetch(
                self._steps, method, path, json=orjson.dumps({"step_event": fields}), headers=self._headers,
                timeout=timeout, trace=departure,
            )  # fmt: skip
        except SourceError as error:
            self._note(None, str(error))
            raise error if departure.is_sending else NotSent(str(error)) from error
        self._heard(answer)
        if answer.status == 429:
            self._throttled(answer, turn)
        return answer

    # -- every answer

    def _throttled(self, answer: Answer, turn: Turn) -> None:
        self._budget.throttled(turn, answer.asks_to_wait)

    def _heard(self, answer: Answer) -> None:
        self._note(answer.status, "" if answer.status < 400 else answer.words)
        self.vendor_clock.hear(answer)
        if answer.status != 429:
            self._budget.answered()

    def _note(self, status: int | None, error: str) -> None:
        self.requests += 1
        self.status = status
        if error or (status is not None and status >= 400):
            self.last_error = error or f"status {status}"


def status_of(answer: Answer) -> SourceError:
    """What a read that was not answered means: about the key, the connection, or this request only."""
    words = answer.words
    if answer.status in (401, 403):
        return AuthFailed(
            f"TrackMyMachines refused the API key ({answer.status}): {words or 'without a word'}",
            "The key is invalid or has expired (90 days by default): make a new one in TrackMyMachines, put it into "
            "api_key and its last day into api_key_expires",
        )
    if answer.status >= 500:
        return NotConnected(f"{answer.where} answers with {answer.status}{': ' if words else ''}{words}")
    try:
        answer.expect(200, words)
    except SourceError as error:
        return error
    return ProtocolError(f"TrackMyMachines answered with status {answer.status}")


def machines_filter(style: str, machines: Collection[str] | None) -> Filter:
    """The filter for these machines; none where all are read, or the style is none."""
    return ALL if style == "none" or not machines else Filter(style, tuple(sorted(machines)))


def _words(answer: Answer) -> str:
    return answer.words or f"status {answer.status}"
