"""QuantiixSource: a Quantiix account as a source of machine states, figures and events. Read only.

    login -> list of machines -> every machine: its activity since the watermark, then
             state every `state_period`, activity every `activity_period`, the list once a day
             (all within one budget; a period that cannot be kept is stretched, and shown)

done: Bronze, Silver
limits: nothing newer than the vendor's own delay of one to two minutes; stops within it are seen in the activity only
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from bridge.errors import AuthFailed, ProtocolError, SourceError
from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.sources._budget import Budget, Priority
from bridge.sources._gravest import gravest
from bridge.sources._periods import Periods, achievable
from bridge.sources._rounds import Rounds, Visit
from bridge.sources._slowed import tell_slowed
from bridge.sources._waiting import within
from bridge.sources.quantiix.client import NoData, QuantiixClient, Refused, Unwell
from bridge.sources.quantiix.intervals import MINUTE
from bridge.sources.quantiix.payloads import Activity
from bridge.sources.quantiix.record import DAY, HOUR, WEEK, Record, Rules, Said, listing_event
from bridge.transport.http import goes_in_clear, http_client, tls_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping

    import httpx

    from bridge.model.calendar import Calendar
    from bridge.ports import Clock, Memory, Publish
    from bridge.sources._budget import Turn
    from bridge.sources.quantiix.config import QuantiixConfig
    from bridge.sources.quantiix.payloads import Machine

log = logging.getLogger(__name__)

T = TypeVar("T")

SLICE: Final = 30 * DAY - 1
"""Milliseconds of one request: whether exactly 30 days are allowed is not documented."""

LIST_PERIOD: Final = 86_400.0
LIST_AGAIN: Final = 600.0
"""Seconds after which the list is read again where it could not be, or where a machine in it was refused."""

FAILURES: Final = 3
"""Answers without sense in a row, and as many as there are machines, that mean that Quantiix itself has failed."""

KEEP_PERIOD: Final = 10.0
"""Seconds between writes of what must be known after a restart."""

READINGS_PERIOD: Final = 5.0


class QuantiixSource:
    """One account. The constructor does no I/O; `run` may be called again.

    Args:
        name: the source's name in the configuration.
        config: the account, and how it is read.
        clock: the one clock.
        memory: what is known after a restart.
        calendar: the site's days and shifts.
        wanted: keys (machineUniqueId) of the machines to be read; None for all. Looked at again with every list.
        transport: takes the place of the network in tests.
    """

    def __init__(
        self,
        name: str,
        config: QuantiixConfig,
        clock: Clock,
        memory: Memory,
        calendar: Calendar | None = None,
        wanted: Collection[str] | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._config = config
        self._clock = clock
        self._memory = memory
        self._wanted = wanted
        self._transport = transport
        self._rules = Rules.of(config, calendar)
        self._budget = Budget(config.requests_per_minute, clock, share=config.share)
        self._records: dict[str, Record] = {}
        self._machines: dict[str, Machine] = {}
        self._is_recalled = False
        self._is_changed = False
        self._has_warned = False
        self._down: set[tuple[str, str]] = set()
        """Machines and channels that are told to be down."""
        self._failures = 0
        self._untold: dict[str, Event] = {}
        """Events with estimated times, kept before they are told: after a crash they are told, not made anew."""
        self._doubts_list = asyncio.Event()
        self._publish: Publish = lambda item: None
        self._client = QuantiixClient(config, self._budget, clock)
        self._states = Rounds(f"{name} state", config.state_period, self._budget, Priority.STATE, clock)
        self._activities = Rounds(f"{name} activity", config.activity_period, self._budget, Priority.ACTIVITY, clock)

    @property
    def name(self) -> str:
        """The source's name in the configuration."""
        return self._name

    def origin(self, observation: Observation) -> str:
        """The account's request, or that its figures were counted from."""
        if observation.channel == "info":
            return "GET machineInfo"
        path = "machineState" if observation.channel == "state" else "machineActivity"
        counted = "counted by the bridge from " if observation.channel not in ("state", "activity") else ""
        return f"{counted}GET {path}?machineId={observation.machine}"

    async def run(self, publish: Publish) -> None:
        """Serve until the account cannot be reached or used any more, or it is cancelled."""
        self._warn()
        self._publish = publish
        if not self._is_recalled:
            await self._recall()
        async with AsyncExitStack() as stack:
            tls = await asyncio.to_thread(tls_context, self._config.ca_file) if self._config.is_encrypted else None
            url, timeout = self._config.url + "/", self._config.request_timeout
            http = http_client(url, tls=tls, timeout=timeout, transport=self._transport)
            stack.enter_context(self._client.connected(await stack.enter_async_context(http)))
            try:
                await self._serve()
            except BaseExceptionGroup as group:
                raise gravest(group) from None
            finally:
                await self._keep()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            slowed = tell_slowed(self._name, "Quantiix", self._budget, self._clock, self._publish)
            group.create_task(slowed, name=f"{self._name} slowed")
            await self._list(is_first=True)
            group.create_task(self._states.run(self._visit_state), name=f"{self._name} states")
            group.create_task(self._activities.run(self._visit_activity), name=f"{self._name} activities")
            group.create_task(self._list_for_ever(), name=f"{self._name} list")
            group.create_task(self._keep_for_ever(), name=f"{self._name} memory")
            group.create_task(self._tell_readings(), name=f"{self._name} readings")

    async def _keep_for_ever(self) -> None:
        while True:
            await self._clock.sleep(KEEP_PERIOD)
            await self._keep()

    # -- the list

    async def _list_for_ever(self) -> None:
        while True:
            await self._clock.sleep(LIST_AGAIN)
            doubt = asyncio.ensure_future(self._doubts_list.wait())
            try:
                await within(self._clock, LIST_PERIOD - LIST_AGAIN, doubt)
            finally:
                doubt.cancel()
            self._doubts_list.clear()
            try:
                await self._list()
            except AuthFailed:
                raise
            except SourceError as error:  # what is known goes on being read
                log.info("Source %s: the list of machines could not be read: %s", self._name, error)
                self._doubts_list.set()

    async def _list(self, *, is_first: bool = False) -> None:
        listed = {machine.unique_id: machine for machine in await self._client.machines()}
        now, known = self._clock.now(), self._machines
        appeared = [machine for key, machine in listed.items() if known.get(key) != machine]
        vanished = tuple(known.keys() - listed.keys())
        found = tuple(FoundMachine(machine.unique_id, self._identity(machine)) for machine in appeared)
        if found or vanished:
            self._publish(Inventory(self._name, found, vanished))
        for event in self._listing_events(listed, now):
            self._publish(event)
        self._machines = listed
        self._forget()
        for machine in listed.values() if is_first else appeared:  # a loss has taken also what never changes
            self._observe(machine.unique_id, "info", _info(machine), now)
        self._read_those_that_are_wanted()

    def _forget(self) -> None:
        """A machine that has left the list for so long that nothing of it would be read afterwards."""
        oldest = self._client.now() - max(round(self._config.max_backfill * 1000), WEEK)
        for key in self._records.keys() - self._machines.keys():
            if (self._records[key].refreshed or 0) < oldest:
                del self._records[key]
                self._is_changed = True

    def _identity(self, machine: Machine) -> dict[str, str | int]:
        told = {"unique_id": machine.unique_id, "serial": machine.unique_id, "name": machine.name}
        return {**self._config.hints(), **told, "factory": machine.factory}

    def _listing_events(self, listed: dict[str, Machine], now: datetime) -> Iterator[Event]:
        known = self._machines
        if not known:
            return
        for key, machine in listed.items():
            if key not in known:
                yield listing_event(self._name, "machine_added", machine, now)
            elif known[key] != machine:
                yield listing_event(self._name, "machine_renamed", machine, now, known[key])
        for key in known.keys() - listed.keys():
            yield listing_event(self._name, "machine_removed", known[key], now)

    def _read_those_that_are_wanted(self) -> None:
        keys = [key for key in self._machines if self._wanted is None or key in self._wanted]
        for key in keys:
            self._records.setdefault(key, Record(self._name, key, self._rules))
        kept = achievable(
            max(1, len(keys)), self._budget.full_rate, Periods(self._config.state_period, self._config.activity_period)
        )
        if kept.state > self._states.period or kept.activity > self._activities.period:
            log.warning(
                "Source %s: %d machines and %g requests a minute allow state every %.0f s and activity every %.0f s",
                self._name, len(keys), self._budget.limit, kept.state, kept.activity,
            )  # fmt: skip
        self._states.period, self._activities.period = kept.state, kept.activity
        self._states.visit_all(keys)
        self._activities.visit_all(keys)

    # -- a machine

    async def _visit_state(self, visit: Visit) -> None:
        record = self._records[visit.key]
        answer = await self._asked(visit.key, "state", self._client.state(visit.key, visit.turn))
        if answer is None:
            return
        state, asked = answer
        said = record.see_state(state, self._client.now())
        if said.events:
            await self._keep_untold(said.events)
        self._tell(visit.key, said, visit.interval, asked)
        for event in said.events:
            del self._untold[event.id]
        if any(event.kind in ("missed_transition", "state_changed") for event in said.events):
            self._activities.hasten(visit.key)

    async def _visit_activity(self, visit: Visit) -> None:
        record = self._records[visit.key]
        start, end = record.next_window(self._client.now(), round(self._config.max_backfill * 1000))
        refreshed = record.refreshed
        turn: Turn | None = visit.turn
        for begin, until in _slices(start, end):
            is_last = until == end
            priority = Priority.ACTIVITY if is_last else Priority.BACKFILL
            call = self._client.activity(visit.key, begin, until, turn, priority)
            activity = await self._asked(visit.key, "activity", call, nothing=Activity((), None))
            if activity is None:
                return
            turn = None  # later slices take turns of their own
            if begin == start and refreshed is not None and refreshed < start:
                self._publish(_gap(self._name, visit.key, refreshed, start))
            for oddity in activity.oddities:
                log.warning("Machine %s of %s: %s", visit.key, self._name, oddity)
            if activity.intervals:
                self._tell(visit.key, record.see_activity(activity, begin, until, is_last=is_last), visit.interval)
            elif is_last:
                self._tell(visit.key, record.see_nothing(end), visit.interval)
        self._is_changed = True
        if refreshed is not None and refreshed < end - HOUR - self._activities.period * 1000:
            self._publish(_backfilled(self._name, visit.key, max(refreshed, start), end))

    async def _asked(self, key: str, channel: str, call: Awaitable[T], nothing: T | None = None) -> T | None:
        """The answer about a machine, `nothing` where there is no data. None: it failed, which is told of.

        Raises what failed where that is not this machine's alone.
        """
        try:
            answer = await call
        except NoData as error:
            self._failures = 0
            self._tell_down(key, StatusCode.UncertainLastUsableValue, str(error), channel)
            return nothing
        except Refused as error:
            self._failures = 0
            self._doubts_list.set()
            self._tell_down(key, StatusCode.BadDeviceFailure, str(error), channel)
            return None
        except (Unwell, ProtocolError) as error:
            self._failures += 1
            if self._failures >= max(FAILURES, len(self._machines)):
                raise
            status = StatusCode.BadNoCommunication if isinstance(error, Unwell) else StatusCode.BadDecodingError
            self._tell_down(key, status, str(error), channel)
            return None
        self._failures = 0
        if (key, channel) in self._down:
            self._down.discard((key, channel))
            log.info("Machine %s of %s: its %s is read again", key, self._name, channel)
        return answer

    def _tell(self, key: str, said: Said, interval: float, asked: float | None = None) -> None:
        for channel, payload in said.payloads.items():
            self._observe(key, channel, payload, self._clock.now(), interval, asked)
        for event in said.events:
            self._publish(event)
            self._is_changed = True

    def _observe(
        self,
        key: str,
        channel: str,
        payload: dict[str, Any],
        received: datetime,
        period: float | None = None,
        asked: float | None = None,
    ) -> None:
        self._publish(Observation(self._name, key, channel, payload, received, None, asked, period))

    def _tell_down(self, key: str, status: StatusCode, reason: str, channel: str) -> None:
        if (key, channel) not in self._down:
            self._down.add((key, channel))
            log.warning("Machine %s of %s: %s", key, self._name, reason)
        self._publish(Condition(self._name, status, reason, self._clock.now(), key, channel))

    # -- the account

    async def _tell_readings(self) -> None:
        try:
            while True:
                self._say_readings()
                await self._clock.sleep(READINGS_PERIOD)
        finally:
            self._say_readings()  # with what has ended it

    def _say_readings(self) -> None:
        figures, client = self._budget.figures, self._client
        self._say("ClockOffset", round(client.vendor_clock.offset, 1))
        self._say("TlsVerified", self._config.is_encrypted)
        self._say("Logins", client.logins)
        self._say("TokenExpires", client.expires, "The token does not say when it ends")
        self._say("BudgetLimit", figures.limit)
        self._say("BudgetUsed", figures.used)
        self._say("BudgetRate", round(figures.rate, 1))
        self._say("Throttled", figures.throttled_total)
        self._say("StatePeriod", round(self._states.interval, 1))
        self._say("ActivityPeriod", round(self._activities.interval, 1))

    def _say(self, name: str, value: bool | float | str | datetime | None, otherwise: str = "") -> None:
        reason = {"reason": otherwise} if value is None else {}
        self._publish(Reading(self._name, name, value, self._clock.now(), reason))

    def _warn(self) -> None:
        if self._has_warned or not goes_in_clear(self._config.url):
            return
        self._has_warned = True
        log.warning(
            "Source %s: password and token go to %s in clear text; ask Quantiix for an https address",
            self._name, urlsplit(self._config.url).hostname,
        )  # fmt: skip

    # -- over a restart

    async def _recall(self) -> None:
        kept = await self._memory.recall()
        for key, document in (kept.get("machines") or {}).items():
            try:
                self._records[key] = Record(self._name, key, self._rules, document)
            except (TypeError, ValueError, AttributeError):
                log.error("What was kept of %s of %s cannot be used; it is read anew", key, self._name)
        for told in kept.get("untold") or ():
            self._publish(_event_of(told))
            self._is_changed = True
        self._is_recalled = True

    async def _keep_untold(self, events: Iterable[Event]) -> None:
        self._untold |= {event.id: event for event in events}
        self._is_changed = True
        await self._keep()

    async def _keep(self) -> None:
        if self._is_changed:
            self._is_changed = False
            documents = {key: record.document() for key, record in self._records.items()}
            untold = [_plain(event) for event in self._untold.values()]
            await self._memory.keep({"version": 1, "machines": documents, "untold": untold})


def _slices(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Windows of at most 30 days, oldest first."""
    while start < end:
        until = min(start + SLICE, end)
        yield start, until
        start = until


def _info(machine: Machine) -> dict[str, str]:
    return {
        "unique_id": machine.unique_id,
        "name": machine.name,
        "factory_id": machine.factory_id,
        "factory": machine.factory,
    }


def _backfilled(source: str, key: str, start: int, end: int) -> Event:
    since, until = (datetime.fromtimestamp(moment / 1000, UTC) for moment in (start, end))
    minutes = (end - start) // MINUTE
    return Event(
        f"{source}:{key}:backfill_completed:{start}",
        "backfill_completed",
        until,
        f"{minutes} min of activity were read after an outage",
        100,
        source,
        key,
        {"from": since.isoformat(), "to": until.isoformat()},
    )


def _gap(source: str, key: str, start: int, end: int) -> Event:
    since, until = (datetime.fromtimestamp(moment / 1000, UTC) for moment in (start, end))
    words = f"{(end - start) / DAY:.1f} days of activity are not read: they are before max_backfill"
    data = {"from": since.isoformat(), "to": until.isoformat()}
    return Event(f"{source}:{key}:backfill_gap:{start}", "backfill_gap", until, words, 500, source, key, data)


def _plain(event: Event) -> dict[str, Any]:
    return {**{each.name: getattr(event, each.name) for each in fields(event)}, "time": event.time.isoformat()}


def _event_of(told: Mapping[str, Any]) -> Event:
    """What `_plain` gave."""
    return Event(**{**told, "time": datetime.fromisoformat(told["time"])})
