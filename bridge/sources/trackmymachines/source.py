"""TrackMyMachinesSource: an organisation's timeline as a source of values and events, and the way to its step events.

    memory -> probe (do omitted types mean all? does the filter lose any?) -> slices of an outage, oldest first
      -> timeline every `period` | long-open events every 5 min | last 24 h every 15 min | last 7 days every day
         (one request at a time, within one budget) -> upsert -> events -> memory -> values

done: Bronze, Silver, Gold
limits: without an events page of machines, a machine is found by its first event; what people book is seen at the next
poll, up to 5 s later by the vendor; the step events pages do not say whose day a date is

Rules
1. Requests and what follows from them are one after the other: what is read later is newer.
2. Events are published, then kept as told, and only then counted as read before: a crash in between reads the same
   window again and says the same again, under the same ids. What only counts (cycles, parts) is kept once a minute.
3. Values are told of by the newest window alone; a failure of a sweep leaves them as they are.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bridge.errors import AuthFailed, NotConnected, ProtocolError, SourceError
from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.sources._budget import Budget, Priority
from bridge.sources._gravest import gravest
from bridge.sources._poll import Backoff, Pace
from bridge.sources._slowed import tell_slowed
from bridge.sources._waiting import within
from bridge.sources.trackmymachines.bookings import Bookings
from bridge.sources.trackmymachines.client import (
    ALL,
    EVENTS,
    LONGEST,
    STEP_EVENTS,
    Filter,
    TooMuch,
    TrackMyMachinesClient,
    machines_filter,
)
from bridge.sources.trackmymachines.executor import TrackMyMachinesExecutor
from bridge.sources.trackmymachines.figures import Rules, payloads
from bridge.sources.trackmymachines.payloads import TYPES
from bridge.sources.trackmymachines.story import told
from bridge.sources.trackmymachines.timeline import COUNTS, DAY, MINUTE, SECOND, Change, Kind, Timeline, Window
from bridge.sources.trackmymachines.totals import totals_of
from bridge.transport.http import goes_in_clear, http_client, tls_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping

    import httpx

    from bridge.model.calendar import Calendar
    from bridge.ports import Clock, Memory, Publish
    from bridge.sources.trackmymachines.config import TrackMyMachinesConfig
    from bridge.sources.trackmymachines.payloads import Entry

log = logging.getLogger(__name__)

ANCHORS_PERIOD: Final = 300.0
DAY_PERIOD: Final = 900.0
WEEK_PERIOD: Final = 86_400.0
KEEP_PERIOD: Final = 60.0
READINGS_PERIOD: Final = 5.0
"""Seconds."""

ANCHOR: Final = MINUTE
"""Milliseconds of a window that begins where a long-open event does: it has it by overlap and by start."""

ANCHORS: Final = 60
"""Long-open events asked for in one round; the others have their turn in the next."""

SHORTEST: Final = MINUTE
"""Milliseconds: a window so short that is refused is refused for another reason."""

FAILURES: Final = 3
"""Polls that may fail in a row before the connection counts as lost: values are fresh for three periods."""

WARN_DAYS: Final = (14, 7, 3, 1, 0)
"""Days before the key's end on which an event tells of it."""


class TrackMyMachinesSource:
    """One organisation. The constructor does no I/O; `run` may be called again.

    Args:
        name: the source's name in the configuration.
        config: the organisation, and how it is read.
        clock: the one clock.
        memory: what is known after a restart.
        calendar: the site's days and shifts.
        wanted: keys (machine_foreign_id) of the machines to be read; None for all.
        machines: what the configuration says of the machines it names, by key.
        transport: takes the place of the network in tests.
    """

    def __init__(
        self,
        name: str,
        config: TrackMyMachinesConfig,
        clock: Clock,
        memory: Memory,
        calendar: Calendar | None = None,
        wanted: Collection[str] | None = None,
        machines: Mapping[str, Mapping[str, str | int]] | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._config = config
        self._clock = clock
        self._memory = memory
        self._wanted = wanted
        self._named = dict(machines or {})
        self._transport = transport
        used = None if config.calendar == "none" else calendar
        self._rules = Rules(used, config.calendar == "shifts", config.parts_per_count)
        self._budget = Budget(config.requests_per_minute, clock)
        self.client = TrackMyMachinesClient(config, self._budget, clock)
        self.timeline = Timeline(0)
        self.bookings = Bookings()
        self._is_recalled = False
        self._is_new = False
        """Nothing is kept yet: not even since when we listen."""
        self._read_until: int | None = None
        self._kept_until: int | None = None
        """Up to where everything is read; and the same as it is kept, which a restart would begin from."""
        self._week_read: int | None = None
        self._longest = LONGEST
        self._has_day = False
        """The last day was read since the connection was made."""
        self._is_changed = False
        self._pace = Pace(config.period, clock)
        self._hurry: asyncio.Future[None] | None = None
        self._reading = asyncio.Lock()
        self._found: set[str] = set()
        self._silent: set[str] = set()
        self._anchored = 0
        self._has_warned = False
        self._warned_days: set[int] = set()
        self._is_probed = False
        self.write_allowed: bool | None = None
        """What the vendor said of writing with this key; None while it has not been tried."""
        self._publish: Publish = lambda item: None
        self.executor = TrackMyMachinesExecutor(self, config, self._named, clock)

    @property
    def name(self) -> str:
        """The source's name in the configuration."""
        return self._name

    def origin(self, observation: Observation) -> str:
        """The organisation's request that the timeline, or the totals, were read from."""
        return f"GET {STEP_EVENTS if observation.channel == 'totals' else EVENTS}, of foreign id {observation.machine}"

    async def run(self, publish: Publish) -> None:
        """Serve until the organisation cannot be reached or read any more, or it is cancelled."""
        self._warn()
        self._publish = publish
        if not self._is_recalled:
            await self._recall()
        async with AsyncExitStack() as stack:
            tls = await asyncio.to_thread(tls_context, self._config.ca_file) if self._is_encrypted else None
            timeout, transport = self._config.request_timeout, self._transport
            events = http_client(self._config.events_url + "/", tls=tls, timeout=timeout, transport=transport)
            steps = http_client(
                self._config.step_events_url + "/", tls=tls, timeout=timeout, max_keepalive=0, transport=transport
            )
            clients = [await stack.enter_async_context(http) for http in (events, steps)]
            stack.enter_context(self.client.connected(*clients))
            try:
                await self._serve()
            except BaseExceptionGroup as group:
                raise gravest(group) from None
            finally:
                await self._keep()

    @property
    def _is_encrypted(self) -> bool:
        return self._config.events_url.startswith("https") or self._config.step_events_url.startswith("https")

    async def _serve(self) -> None:
        with ExitStack() as stack:
            async with asyncio.TaskGroup() as group:
                slowed = tell_slowed(self._name, "TrackMyMachines", self._budget, self._clock, self._publish)
                group.create_task(slowed, name=f"{self._name} slowed")
                await self._begin()
                stack.enter_context(self.executor.connected())
                for what, work in self._works():
                    group.create_task(work, name=f"{self._name} {what}")

    def _works(self) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        yield "timeline", self._poll_for_ever()
        yield "long-open events", self._every(ANCHORS_PERIOD, self._read_anchors)
        yield "last day", self._every(DAY_PERIOD, self._read_day)
        yield "last week", self._read_weeks()
        yield "step events", self._read_step_events()
        yield "memory", self._every(KEEP_PERIOD, self._keep)
        yield "readings", self._tell_readings()

    async def _every(self, period: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(period)
            await self._in_background(work)

    async def _in_background(self, work: Callable[[], Awaitable[None]]) -> bool:
        """What may fail without a value being lost: it is done again at its next time."""
        try:
            await work()
        except AuthFailed:
            raise
        except SourceError as error:
            log.info("Source %s: %s; it is read again later", self._name, error)
            return False
        return True

    # -- the beginning

    async def _begin(self) -> None:
        """Learn the vendor's clock and ways, then catch up on what an outage has kept from us."""
        self._has_day = False
        await self._probe()
        if self._is_new:
            now = self.client.latest()
            self.timeline, self._is_new, self._is_changed = Timeline(now), False, True
            await self._keep()
        await self._catch_up()

    async def _probe(self) -> None:
        """Whether a request without types and machines gets what one with them gets (facts 2.2 no. 5, 6).

        A quiet plant tells nothing; then it is asked again with the sweep of the last day.
        """
        end = self.client.latest()
        if self.client.status is None:  # the first answer tells the vendor's clock
            await self._ask(Window(end - MINUTE, end), ALL)
            end = self.client.latest()
        window = Window(end - min(LONGEST, self._longest), end)
        try:
            told_of = await self._ask(window, ALL)
            missing = [kind for kind in TYPES if kind not in {entry.type for entry in told_of}]
            asked = [await self._ask(window, Filter("none", types=(kind,))) for kind in missing]
        except TooMuch:
            return
        known = {entry.id for entry in told_of}
        hidden = [entry for entries in asked for entry in entries if entry.id not in known]
        if hidden:  # the feed may only have been late
            shown = {entry.id for entry in await self._ask(window, ALL)}
            hidden = [entry for entry in hidden if entry.id not in shown]
        if hidden and not self.client.types_alone:
            log.warning("Source %s: TrackMyMachines leaves out types that are not named; each is asked for", self._name)
            self.client.types_alone = True
        await self._probe_filter(window, [*told_of, *hidden])
        self._is_probed = bool(told_of or hidden)

    async def _probe_filter(self, window: Window, everything: list[Entry]) -> None:
        chosen = machines_filter(self._config.filters, self._wanted)
        self.client.filter = ALL
        if chosen == ALL:
            return
        expected = {entry.id for entry in everything if entry.machine in chosen.machines}
        found = {entry.id for entry in await self.client.events(window, Priority.STATE)}
        filtered = await self._filtered(window, chosen) if expected else set()
        if expected and not self.client.types_alone and expected & found <= filtered:
            self.client.filter = chosen
        elif expected:
            log.warning(
                "Source %s: with filters: %s events are missing; all machines are read instead",
                self._name, self._config.filters,
            )  # fmt: skip

    async def _filtered(self, window: Window, chosen: Filter) -> set[str]:
        """Ids of what is answered with this filter; a vendor who does not know its spelling may also trip over it."""
        try:
            return {entry.id for entry in await self._ask(window, chosen)}
        except (NotConnected, ProtocolError, TooMuch) as error:
            log.info("Source %s: a request with filters: %s failed: %s", self._name, self._config.filters, error)
            return set()

    async def _ask(self, window: Window, chosen: Filter) -> tuple[Entry, ...]:
        return await self.client.window(window, chosen, Priority.STATE)

    async def _catch_up(self) -> None:
        """Slices of what an outage has kept from us, oldest first; the last day is the poll's."""
        if self._read_until is None:
            return
        begun = self._read_until
        now = self.client.latest()
        start = max(begun - self._overlap, now - round(self._config.max_backfill * SECOND))
        if now - start <= LONGEST:
            return
        if start > begun:
            self._publish(_gap(self._name, begun, start))
        for window in _slices(Window(start, now - self._overlap), self._longest):
            await self._read(window, Priority.BACKFILL)
            self._advance(window.end)
        self._publish(_caught_up(self._name, max(begun, start), now))

    @property
    def _overlap(self) -> int:
        return round(self._config.overlap * SECOND)

    # -- the timeline

    async def _poll_for_ever(self) -> None:
        backoff, failures = Backoff(1.0, 60.0), 0
        while True:
            self._pace.began()
            try:
                await self.poll()
            except (NotConnected, ProtocolError) as error:
                failures += 1
                if failures >= FAILURES:
                    raise
                log.info("Source %s: %s; tried again", self._name, error)
                await self._clock.sleep(backoff.next())
            else:
                failures = 0
                backoff.reset()
                self._hurry = asyncio.get_running_loop().create_future()
                await within(self._clock, self._pace.left, self._hurry)

    def hasten(self) -> None:
        """Poll now: something was written."""
        if self._hurry is not None and not self._hurry.done():
            self._hurry.set_result(None)

    async def poll(self) -> None:
        """Read what is new, and tell what is so now."""
        if self.client.filter != ALL and set(self.client.filter.machines) != set(self._wanted or ()):
            await self._probe()  # other machines are wanted since a reload
        asked = self._clock.monotonic()
        end = self.client.latest()
        window = Window(self._poll_start(end), end)
        await self._read(window, Priority.STATE)
        self._advance(end)
        self._has_day = True
        self._tell(end, asked)

    def _poll_start(self, end: int) -> int:
        """Back to what is still open, unless the vendor is known to choose by overlap; a day at most, and at first."""
        earliest = end - LONGEST
        if self._read_until is None or not self._has_day:
            return earliest
        start = self._read_until - self._overlap
        if not self.timeline.reaches_back:
            start = min(start, *(begun for begun in self.timeline.open_starts if begun >= earliest), end - MINUTE)
        return max(earliest, min(start, end - MINUTE))

    def _advance(self, end: int) -> None:
        if self._read_until is None or end > self._read_until:
            self._read_until = end

    async def _read(self, window: Window, priority: Priority) -> None:
        """Read a window whole, say what is news in it, and keep that it was said."""
        async with self._reading:
            for part in _slices(window, self._longest):
                await self._read_part(part, priority)

    async def _read_part(self, window: Window, priority: Priority) -> None:
        try:
            entries = await self.client.events(window, priority)
        except TooMuch as error:
            half = (window.end - window.start) // 2 // SECOND * SECOND
            if half < SHORTEST:
                raise ProtocolError(str(error)) from error
            log.warning("Source %s: %s; half of it is asked for", self._name, error)
            self._longest = half
            await self._read_part(Window(window.start, window.start + half), priority)
            await self._read_part(Window(window.start + half, window.end), priority)
            return
        for oddity in self.client.oddities[:10]:
            log.warning("Source %s: %s", self._name, oddity)
        await self._take(window, entries)

    async def _take(self, window: Window, entries: Iterable[Entry]) -> None:
        now = self.client.latest()
        known_until = None if self._kept_until is None else self._kept_until - self._overlap
        self._find(entries)
        changes = [*self.timeline.read(window, entries, now, known_until), *self.timeline.settle(now)]
        if not changes:
            return
        for change in changes:
            if self._is_told(change):
                self._publish(told(self._name, change, now, self._overlap))
        self._is_changed = True
        if not all(_only_counts(change) for change in changes):
            await self._keep()

    def _is_told(self, change: Change) -> bool:
        machine = change.entry.machine
        return bool(machine) and self._is_wanted(machine) and change.entry.type in self._config.events

    def _is_wanted(self, machine: str) -> bool:
        return self._wanted is None or machine in self._wanted

    def _find(self, entries: Iterable[Entry]) -> None:
        """Machines show themselves by their events: there is no list of them."""
        new = {entry.machine for entry in entries if entry.machine} - self._found
        self._found |= new
        if new:
            machines = tuple(FoundMachine(key, self._identity(key)) for key in sorted(new))
            self._publish(Inventory(self._name, machines))

    def _identity(self, key: str) -> dict[str, str | int]:
        own: dict[str, str | int] = {"foreign_id": key, "serial": key, "name": key}
        return {**own, **self._named.get(key, {}), **self._config.hints()}

    async def _read_anchors(self) -> None:
        """What has been open for longer than a window can reach back, each where it began (facts 2.4.4)."""
        oldest = self.client.latest() - LONGEST
        starts = [start for start in self.timeline.open_starts if start < oldest + 2 * ANCHOR]
        due = starts[self._anchored :][:ANCHORS]
        self._anchored = 0 if self._anchored + len(due) >= len(starts) else self._anchored + len(due)
        covered = 0
        for start in due:
            if start >= covered:  # one window has all that began in it
                await self._read(Window(start - 2 * SECOND, start + ANCHOR), Priority.ACTIVITY)
                covered = start + ANCHOR - 2 * SECOND

    async def _read_day(self) -> None:
        """What was written late, or changed: reasons are entered by people afterwards (facts 2.4.6)."""
        if not self._is_probed:
            await self._probe()
        self._longest = min(LONGEST, 2 * self._longest)
        end = self.client.latest()
        await self._read(Window(end - LONGEST, end), Priority.BACKFILL)

    async def _read_weeks(self) -> None:
        while True:
            due = 0.0 if self._week_read is None else self._week_read / SECOND + WEEK_PERIOD
            await self._clock.sleep(max(KEEP_PERIOD, due - self.client.now() / SECOND))
            if await self._in_background(self._read_week):
                self._week_read, self._is_changed = self.client.latest(), True

    async def _read_week(self) -> None:
        end = self.client.latest()
        for window in _slices(Window(end - 7 * DAY, end), self._longest):
            await self._read(window, Priority.BACKFILL)

    # -- values

    def _tell(self, now: int, asked: float) -> None:
        received, period = self._clock.now(), self._pace.effective
        of = self.timeline.by_machine()
        for key in sorted({*of, *self._named, *self._found} - {""}):
            if not self._is_wanted(key):
                continue
            if key not in of and key not in self._found:
                self._tell_silent(key, received)
                continue
            self._silent.discard(key)
            own = of.get(key, [])
            found = payloads(own, now, self._rules, lambda entry, key=key: self.bookings.find(key, entry))  # type: ignore[misc]
            newest = max((at for e in own for at in (e.start, e.end) if at is not None and at <= now), default=None)
            found["feed"] = {"newest": newest, "watermark": self._read_until, "polled": now, "foreign_id": key}
            for channel, payload in found.items():
                self._publish(Observation(self._name, key, channel, payload, received, None, asked, period))

    def _tell_silent(self, key: str, now: datetime) -> None:
        """Nothing at all is known of a machine that the configuration names: is it the right name?"""
        if key in self._silent:
            return
        self._silent.add(key)
        reason = f"TrackMyMachines has no event of {key} in the time that is read"
        advice = "Is foreign_id written as in TrackMyMachines, and is the machine not archived?"
        self._publish(Condition(self._name, StatusCode.BadNoData, reason, now, key, None, advice))

    async def _read_step_events(self) -> None:
        period = self._config.step_events_period
        while period is not None:
            await self._in_background(self._read_totals)
            await self._clock.sleep(period)

    async def _read_totals(self) -> None:
        today = datetime.fromtimestamp(self.client.now() / SECOND, UTC).date()
        first, last = today - timedelta(days=1), today + timedelta(days=1)  # whose day a date is, is not documented
        days, rows = await self.client.step_events(first.isoformat(), last.isoformat())
        period = self._config.step_events_period
        for key in sorted(self._found):
            identity = self._named.get(key)
            if identity is None or not self._is_wanted(key):
                continue
            channel, own = totals_of(identity, days, rows, today.isoformat())
            self.bookings.learn(key, own)
            if channel is not None:
                self._publish(Observation(self._name, key, "totals", channel, self._clock.now(), None, None, period))
        self._is_changed = self._is_changed or bool(rows)

    # -- the organisation

    async def _tell_readings(self) -> None:
        try:
            while True:
                self._say_readings()
                await self._clock.sleep(READINGS_PERIOD)
        finally:
            self._say_readings()  # with what has ended it

    def _say_readings(self) -> None:
        client, figures = self.client, self._budget.figures
        watermark = None if self._read_until is None else _moment(self._read_until)
        self._say("ClockOffset", round(client.vendor_clock.offset, 1))
        self._say("TlsVerified", self._config.is_encrypted)
        self._say("KeyExpiresInDays", self._key_days(), "api_key_expires of this source is not configured")
        self._say("WriteAllowed", self.write_allowed if self._config.writes else False, "No write was tried yet")
        self._say("Requests", client.requests)
        self._say("HttpStatus", client.status, "The newest request was not answered")
        self._say("LastError", client.last_error or None, "Nothing was refused since the bridge started")
        self._say("UnmappedEvents", self.timeline.unmapped)
        self._say("KnownEvents", len(self.timeline))
        self._say("Watermark", watermark, "Nothing of the timeline is read yet")
        self._say("PollPeriod", round(self._pace.effective, 1))
        self._say("BudgetRate", round(figures.rate, 1))
        self._say("Throttled", figures.throttled_total)

    def _say(self, name: str, value: bool | float | str | datetime | None, otherwise: str = "") -> None:
        reason = {"reason": otherwise} if value is None else {}
        self._publish(Reading(self._name, name, value, self._clock.now(), reason))

    def _key_days(self) -> int | None:
        """Whole days until the key ends; an event tells of it in time."""
        expires = self._config.api_key_expires
        if expires is None:
            return None
        days = (expires - self._clock.now().date()).days
        due = min((limit for limit in WARN_DAYS if days <= limit), default=None)
        if due is not None and due not in self._warned_days:
            self._warned_days.add(due)
            self._publish(_key_ends(self._name, expires.isoformat(), due, days, self._clock.now()))
        return days

    def _warn(self) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        for url in {self._config.events_url, self._config.step_events_url}:
            if goes_in_clear(url):
                host = urlsplit(url).hostname
                log.warning("Source %s: the API key goes to %s in clear text; use an https address", self._name, host)

    # -- over a restart

    async def _recall(self) -> None:
        kept = await self._memory.recall()
        self._is_new = True
        try:
            if kept:
                self.timeline = Timeline(0, kept["timeline"])
                self.bookings = Bookings(kept.get("bookings"))
                self._read_until = self._kept_until = kept["read_until"]
                self._week_read = kept["week_read"]
                self._is_new = False
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            log.error("What was kept of %s cannot be used; its timeline is read anew", self._name)
            self.timeline, self.bookings = Timeline(0), Bookings()
            self._read_until = self._kept_until = self._week_read = None
        self._is_recalled = True

    async def _keep(self) -> None:
        if not self._is_changed and self._kept_until == self._read_until:
            return
        self._is_changed = False
        until = self._read_until
        await self._memory.keep(
            {
                "version": 1,
                "timeline": self.timeline.document(),
                "bookings": self.bookings.document(),
                "read_until": until,
                "week_read": self._week_read,
            }
        )
        self._kept_until = until

    async def remember(self) -> None:
        """Keep what was learned of a booking."""
        self._is_changed = True
        await self._keep()


def _only_counts(change: Change) -> bool:
    """Told again after a crash it has the same id, whether or not it was kept."""
    return change.entry.type in COUNTS and change.kind in (Kind.OPENED, Kind.CLOSED)


def _slices(window: Window, longest: int) -> Iterator[Window]:
    """The window in pieces, oldest first."""
    start = window.start
    while start < window.end:
        end = min(start + longest, window.end)
        yield Window(start, end)
        start = end


def _caught_up(source: str, start: int, end: int) -> Event:
    data = {"from": _moment(start).isoformat(), "to": _moment(end).isoformat()}
    kind, words = "backfill_completed", f"{(end - start) / DAY:.1f} days of the timeline were read after an outage"
    return Event(f"{source}:{kind}:{start}", kind, _moment(end), words, 100, source, "", data)


def _gap(source: str, start: int, end: int) -> Event:
    data = {"from": _moment(start).isoformat(), "to": _moment(end).isoformat()}
    words = f"{(end - start) / DAY:.1f} days of the timeline are not read: they are before max_backfill"
    return Event(f"{source}:backfill_gap:{start}", "backfill_gap", _moment(end), words, 500, source, "", data)


def _key_ends(source: str, expires: str, limit: int, days: int, now: datetime) -> Event:
    words = f"The API key ends in {days} days" if days >= 0 else f"The API key ended on {expires}"
    return Event(
        f"{source}:api_key_ends:{expires}:{limit}", "api_key_ends", now, words, 500 if days > 3 else 700, source, "",
        {"expires": expires},
    )  # fmt: skip


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
