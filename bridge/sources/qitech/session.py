"""Session: everything that runs between one connect to a panel and its loss.

    2.x   the list every few seconds ─┬─ polling: routed machines, by GET
                                      └─ stream: machines without a route, except lasers
    3.x   /main (MachinesEvent) ─────── stream: every machine that is listed without an error
          the list every few seconds: only to notice that a MachinesEvent was lost

The panel's loss ends the session; a machine's loss ends nothing.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from bridge.errors import NotConnected, ProtocolError, SourceError
from bridge.model.status import StatusCode
from bridge.sources._crew import Crew, Work
from bridge.sources._gravest import gravest
from bridge.sources.qitech.catalogue import is_joined, is_polled
from bridge.sources.qitech.panelclock import PanelClock
from bridge.sources.qitech.payloads import parse_machines_event
from bridge.sources.qitech.polling import Bell, poll
from bridge.sources.qitech.profile import Profile
from bridge.sources.qitech.stream import Stream, follow, keep_joined

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from bridge.ports import Clock
    from bridge.sources.qitech.client import PanelClient
    from bridge.sources.qitech.config import QitechConfig
    from bridge.sources.qitech.payloads import Envelope, ListedMachine
    from bridge.sources.qitech.profile import Verdict
    from bridge.sources.qitech.report import Report
    from bridge.sources.qitech.roster import Roster
    from bridge.sources.qitech.socketio import Door

log = logging.getLogger(__name__)

MAIN: Final = "/main"

GROWING: Final = 2.0
"""Seconds after a start in which the panel's list may still grow (seen on 2.17: three of four machines)."""

STRANGE_LISTS: Final = 3
"""Lists in a row that cannot be read, after which the panel counts as not connected."""


class Reader(Protocol):
    """What keeps one machine's values up to date."""

    async def renew(self, begins: Callable[[], None]) -> None:
        """Have the machine's state told now; `begins` is called when what comes from then on is newer."""


class Session:
    """One connect's worth of work. Used once."""

    def __init__(
        self,
        config: QitechConfig,
        verdict: Verdict,
        client: PanelClient,
        door: Door,
        roster: Roster,
        report: Report,
        clock: Clock,
        wanted: Collection[str] | None,
    ) -> None:
        self._config = config
        self._verdict = verdict
        self._client = client
        self._door = door
        self._roster = roster
        self._report = report
        self._clock = clock
        self._wanted = wanted
        self._panel_clock = PanelClock()
        self._began = clock.monotonic()
        self._listed: Sequence[ListedMachine] | None = None
        """What the panel last listed; None before it did in this session."""
        self._present: dict[str, ListedMachine] = {}
        self._slugs: dict[int, str] = {}
        self._readers: dict[str, Reader] = {}
        """Who is at work now, by the machine's key."""
        self._is_told = True
        """What is listed is what the panel says now."""
        self._ethercat: str | None = None
        """3.x: the state of its field bus, where it says."""

    @property
    def client(self) -> PanelClient:
        """The panel's REST API."""
        return self._client

    def machine(self, key: str) -> ListedMachine | None:
        """A machine as it is listed now; None where it is not, or where the panel does not tell at the moment.

        3.x lists a machine by REST before it may be commanded: a MachinesEvent says that it may, or two lists that
        agree while the field bus is not known to be on its way up (facts 4.2, 6.4).
        """
        return self._present.get(key) if self._is_told and self._ethercat in {None, "op"} else None

    async def refresh(self, key: str) -> None:
        """Read a polled machine now; returns once that is published. Nothing can be asked of any other one."""
        reader = self._readers.get(key)
        if isinstance(reader, Bell):
            await reader.renew(lambda: None)

    async def renew(self, key: str, begins: Callable[[], None]) -> None:
        """Have a machine tell its state now, whatever it takes; `begins`: what comes from then on is newer."""
        reader = self._readers.get(key)
        if reader is not None:
            await reader.renew(begins)

    async def run(self, listed: Sequence[ListedMachine] | None) -> None:
        """Work until the panel is gone; `listed` is its list, if it was just read.

        Raises NotConnected, AuthFailed, RateLimited.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._crew = Crew(group, "qitech")
                self._learn_slugs(listed or ())
                if self._verdict.profile is Profile.V2:
                    group.create_task(self._keep_list(listed), name="qitech list")
                else:
                    self._is_told = False
                    group.create_task(self._keep_main(), name="qitech /main")
                    group.create_task(self._check_list(), name="qitech list check")
        except asyncio.CancelledError:
            self._say_goodbye()
            raise
        except BaseExceptionGroup as errors:
            raise gravest(errors) from None

    def _say_goodbye(self) -> None:
        """Leaving a machine's stream silences it for every client of the panel: an operator may wonder why."""
        streamed = [key for key, machine in self._present.items() if self._is_streamed(machine)]
        if streamed:
            log.warning(
                "Source %s leaves %d machine streams: the panel's own screen may stand still until it joins again",
                self._report.source,
                len(streamed),
            )

    async def _keep_list(self, listed: Sequence[ListedMachine] | None) -> None:
        """2.x: the list decides what there is."""
        strange = 0
        while True:
            try:
                self._take_list(listed if listed is not None else await self._client.list_machines())
                strange = 0
            except ProtocolError as error:
                strange += 1
                if strange >= STRANGE_LISTS or self._listed is None:
                    raise NotConnected(str(error)) from error
            listed = None
            await self._clock.sleep(self._config.list_period)

    async def _keep_main(self) -> None:
        """3.x: MachinesEvent decides what there is."""
        await keep_joined(self._join_main, self._main_lost, self._client, self._clock)

    async def _join_main(self) -> SourceError:
        return await follow(self._door, MAIN, self._clock, None, self._take_main)

    def _main_lost(self, error: SourceError) -> None:
        """The machines' own streams go on without it; where there are none, nothing is left of the panel."""
        self._is_told, self._ethercat = False, None
        if not self._crew:
            raise NotConnected(str(error)) from error
        log.info("%s of %s broke and is joined again: %s", MAIN, self._report.source, error)

    def _take_main(self, event: Envelope) -> None:
        if event.name == "MachinesEvent":
            try:
                self._take_list(parse_machines_event(event.data))
                self._is_told = True
            except ProtocolError as error:
                log.debug("A MachinesEvent of %s was passed over: %s", self._report.source, error)
        elif event.name == "EthercatStateEvent" and isinstance(event.data, dict):
            self._ethercat = str(event.data.get("State"))
            self._report.reading("EthercatState", self._ethercat)

    async def _check_list(self) -> None:
        """3.x: the panel may drop events under load, a MachinesEvent too; two lists that agree overrule it.

        Two, because the list shows machines a little before they may be joined.
        """
        suspected: Sequence[ListedMachine] | None = None
        while True:
            await self._clock.sleep(self._config.list_period)
            listed = await self._look()
            if listed is not None and suspected is not None and _usable(suspected) == _usable(listed):
                self._is_told = True
            if listed is not None and suspected is not None and self._is_overruled(suspected, listed):
                self._take_list(listed)
            elif self._listed is not None:
                self._take_list(self._listed)  # who is wanted may have changed
            suspected = listed

    def _is_overruled(self, first: Sequence[ListedMachine], second: Sequence[ListedMachine]) -> bool:
        return _usable(first) == _usable(second) != _usable(self._listed or ())

    async def _look(self) -> Sequence[ListedMachine] | None:
        """The list, if the panel gives one: the streams show whether it is alive.

        Raises NotConnected where a profile that was unknown is known now.
        """
        try:
            if self._verdict.is_known:
                return await self._client.list_machines()
            verdict, listed = await self._client.probe()
        except SourceError as error:
            log.debug("The list of %s cannot be read: %s", self._report.source, error)
            return None
        if verdict.is_known:
            raise NotConnected(f"The panel is known now: {verdict.reason}")
        return listed

    def _take_list(self, listed: Sequence[ListedMachine]) -> None:
        """Tell what changed, and put every usable machine to work."""
        self._listed = listed
        self._learn_slugs(listed)
        named = [machine if machine.slug else self._named(machine) for machine in listed]
        is_complete = self._clock.monotonic() - self._began >= GROWING
        muster = self._roster.muster(named, self._verdict.profile, is_complete=is_complete)
        inventory, present = muster.inventory, muster.present
        self._present = present
        self._crew.muster(self._works(present))
        if inventory is not None:
            self._tell_missing(inventory.vanished)
            self._report.inventory(inventory)
        self._tell_missing([key for key in self._wanted or () if key not in present])
        for key, machine in present.items():
            self._tell_fault(key, machine)

    def _learn_slugs(self, listed: Sequence[ListedMachine]) -> None:
        """A MachinesEvent has no slugs; those of the list serve it, also for types we do not know."""
        self._slugs.update((machine.identity.machine, machine.slug) for machine in listed if machine.slug)

    def _named(self, machine: ListedMachine) -> ListedMachine:
        return replace(machine, slug=self._slugs.get(machine.identity.machine, ""))

    def _works(self, present: dict[str, ListedMachine]) -> dict[str, Work]:
        works = {key: self._work(machine) for key, machine in present.items() if self._is_wanted(key)}
        return {key: work for key, work in works.items() if work is not None}

    def _is_wanted(self, key: str) -> bool:
        return self._wanted is None or key in self._wanted

    def _work(self, machine: ListedMachine) -> Work | None:
        number, slug, verdict = machine.identity.machine, machine.slug, self._verdict
        if machine.error is not None:
            return None
        if is_polled(number, slug, verdict.profile):
            return partial(self._poll, machine)
        if self._is_streamed(machine):
            return partial(self._stream, machine)
        return None

    async def _poll(self, machine: ListedMachine) -> None:
        bell = Bell()
        with self._reading(machine, bell):
            await poll(machine, self._client, self._report, self._clock, self._config.poll_period, bell)

    async def _stream(self, machine: ListedMachine) -> None:
        stream = Stream(machine, self._door, self._client, self._report, self._clock, self._panel_clock)
        with self._reading(machine, stream):
            await stream.run()

    @contextmanager
    def _reading(self, machine: ListedMachine, reader: Reader) -> Iterator[None]:
        """This one is at work; the crew has never two for one machine."""
        self._readers[machine.identity.key] = reader
        try:
            yield
        finally:
            del self._readers[machine.identity.key]

    def _is_streamed(self, machine: ListedMachine) -> bool:
        number, verdict = machine.identity.machine, self._verdict
        is_allowed = is_joined(number, machine.slug, verdict.profile, joins_lasers=verdict.joins_lasers)
        return is_allowed and machine.error is None and self._is_wanted(machine.identity.key)

    def _tell_fault(self, key: str, machine: ListedMachine) -> None:
        """Why a machine that is listed has no values, if it has none."""
        if machine.error is not None:
            advice = "Look at the machine's page on the panel; values return by themselves."
            self._report.down(key, StatusCode.BadDeviceFailure, f"The panel says: {machine.error}", advice)
        elif self._is_wanted(key) and self._work(machine) is None:
            reason = "This panel's release cannot give the values of this machine without harm to itself"
            self._report.down(key, StatusCode.BadNotSupported, reason, "Update the panel, or set its profile.")

    def _tell_missing(self, keys: Iterable[str]) -> None:
        for key in keys:
            advice = "Is it switched on and connected? Look at the panel's list of machines."
            self._report.down(key, StatusCode.BadDeviceFailure, "The panel does not list this machine", advice)


def _usable(listed: Sequence[ListedMachine]) -> set[str]:
    return {machine.identity.key for machine in listed if machine.error is None}
