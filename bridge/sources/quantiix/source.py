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
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bridge.errors import SourceError
from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.sources._budget import Budget, Priority
from bridge.sources._gravest import gravest
from bridge.sources._periods import Periods, achievable
from bridge.sources._rounds import Rounds, Visit
from bridge.sources.quantiix.client import NoData, QuantiixClient, Refused
from bridge.sources.quantiix.intervals import MINUTE
from bridge.sources.quantiix.record import DAY, HOUR, Record, Rules, Said, listing_event
from bridge.transport.http import goes_in_clear, http_client, tls_context

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import httpx

    from bridge.model.calendar import Calendar
    from bridge.ports import Clock, Memory, Publish
    from bridge.sources._budget import Turn
    from bridge.sources.quantiix.config import QuantiixConfig
    from bridge.sources.quantiix.payloads import Machine

log = logging.getLogger(__name__)

SLICE: Final = 30 * DAY - 1
"""Milliseconds of one request: whether exactly 30 days are allowed is not documented."""

LIST_PERIOD: Final = 86_400.0
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
        self._down: set[str] = set()
        self._publish: Publish = lambda item: None
        self._client = QuantiixClient(config, self._budget, clock)
        self._states = Rounds(f"{name} state", config.state_period, self._budget, Priority.STATE, clock)
        self._activities = Rounds(f"{name} activity", config.activity_period, self._budget, Priority.ACTIVITY, clock)

    @property
    def name(self) -> str:
        """The source's name in the configuration."""
        return self._name

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
            await self._list(is_first=True)
            try:
                await self._serve()
            except BaseExceptionGroup as group:
                raise gravest(group) from None
            finally:
                await self._keep()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._states.run(self._visit_state), name=f"{self._name} states")
            group.create_task(self._activities.run(self._visit_activity), name=f"{self._name} activities")
            group.create_task(self._every(LIST_PERIOD, self._list), name=f"{self._name} list")
            group.create_task(self._every(KEEP_PERIOD, self._keep), name=f"{self._name} memory")
            group.create_task(self._tell_readings(), name=f"{self._name} readings")

    async def _every(self, period: float, work: Any) -> None:
        while True:
            await self._clock.sleep(period)
            await work()

    # -- the list

    async def _list(self, *, is_first: bool = False) -> None:
        """Read the list; without one, what is known goes on being read."""
        try:
            listed = {machine.unique_id: machine for machine in await self._client.machines()}
        except SourceError:
            if is_first:
                raise
            log.exception("Quantiix account %s: the list of machines could not be read", self._name)
            return
        now, known = self._clock.now(), self._machines
        appeared = [machine for key, machine in listed.items() if known.get(key) != machine]
        vanished = tuple(known.keys() - listed.keys())
        found = tuple(FoundMachine(machine.unique_id, self._identity(machine)) for machine in appeared)
        if found or vanished:
            self._publish(Inventory(self._name, found, vanished))
        for event in self._listing_events(listed, now):
            self._publish(event)
        self._machines = listed
        for machine in listed.values() if is_first else appeared:  # a loss has taken also what never changes
            self._observe(machine.unique_id, "info", _info(machine), now)
        self._read_those_that_are_wanted()

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
        try:
            state, asked = await self._client.state(visit.key, visit.turn)
        except NoData as error:
            self._tell_down(visit.key, StatusCode.UncertainLastUsableValue, str(error), "state")
        except Refused as error:
            self._tell_down(visit.key, StatusCode.BadDeviceFailure, str(error), "state")
            self._is_changed = True
        else:
            before = visit.key in self._down
            self._down.discard(visit.key)
            if before:
                log.info("Machine %s of %s is back", visit.key, self._name)
            said = self._records[visit.key].see_state(state, self._client.now())
            self._tell(visit.key, said, visit.interval, asked)
            if any(event.kind in ("missed_transition", "state_changed") for event in said.events):
                self._activities.hasten(visit.key)
            if said.events:  # their times are estimates: read again after a crash they would be others
                await self._keep()

    async def _visit_activity(self, visit: Visit) -> None:
        record = self._records[visit.key]
        start, end = record.next_window(self._client.now(), round(self._config.max_backfill * 1000))
        refreshed = record.refreshed
        turn: Turn | None = visit.turn
        for begin, until in _slices(start, end):
            is_last = until == end
            priority = Priority.ACTIVITY if is_last else Priority.BACKFILL
            try:
                activity = await self._client.activity(visit.key, begin, until, turn, priority)
            except NoData as error:
                self._tell_down(visit.key, StatusCode.UncertainLastUsableValue, str(error), "activity")
                return
            except Refused as error:
                self._tell_down(visit.key, StatusCode.BadDeviceFailure, str(error), "activity")
                return
            turn = None  # later slices take turns of their own
            for oddity in activity.oddities:
                log.warning("Machine %s of %s: %s", visit.key, self._name, oddity)
            said = record.see_activity(activity, begin, until, is_last=is_last)
            self._tell(visit.key, said, visit.interval, None)
        self._is_changed = True
        if refreshed is not None and refreshed < end - HOUR - self._activities.period * 1000:
            self._publish(_backfilled(self._name, visit.key, refreshed, end))

    def _tell(self, key: str, said: Said, interval: float, asked: float | None) -> None:
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
        if key not in self._down:
            self._down.add(key)
            log.warning("Machine %s of %s: %s", key, self._name, reason)
        self._publish(Condition(self._name, status, reason, self._clock.now(), key, channel))

    # -- the account

    async def _tell_readings(self) -> None:
        while True:
            figures, client = self._budget.figures, self._client
            self._say("ClockOffset", round(client.vendor_clock.offset, 1))
            self._say("TlsVerified", self._config.is_encrypted)
            self._say("Logins", client.logins)
            self._say("TokenExpires", client.expires)
            self._say("BudgetLimit", figures.limit)
            self._say("BudgetUsed", figures.used)
            self._say("BudgetRate", round(figures.rate, 1))
            self._say("Throttled", figures.throttled_total)
            self._say("StatePeriod", round(self._states.interval, 1))
            self._say("ActivityPeriod", round(self._activities.interval, 1))
            await self._clock.sleep(READINGS_PERIOD)

    def _say(self, name: str, value: bool | float | str | datetime | None) -> None:
        self._publish(Reading(self._name, name, value, self._clock.now()))

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
        self._is_recalled = True

    async def _keep(self) -> None:
        if self._is_changed:
            self._is_changed = False
            documents = {key: record.document() for key, record in self._records.items()}
            await self._memory.keep({"version": 1, "machines": documents})


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
