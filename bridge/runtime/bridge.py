"""The bridge: everything put together, started, kept in step with its files, and stopped in order.

state directory locked, log open
  TaskGroup: status · opcua · sparkplug · uns · housekeeping · sources
stop: sources first (they drain what is in flight), then the faces say goodbye, then the rest
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

from bridge import __version__
from bridge.commands.desk import Desk, DeskRules
from bridge.commands.journal import Journal
from bridge.commands.people import People
from bridge.errors import BridgeError, ConfigError, Fault, NotRecorded, StateDirectoryUnusable, counted, leaves
from bridge.hub.history import HistoryStore
from bridge.hub.history_file import Bounds
from bridge.hub.log import EventLogStore
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.mapping.machine import LAST_COMMAND
from bridge.model.observation import Condition
from bridge.model.status import StatusCode
from bridge.ports import Certified, Measured
from bridge.runtime.alarms import AlarmKeeper
from bridge.runtime.at_machine import last_command_pairs
from bridge.runtime.collector import settled
from bridge.runtime.command_events import CommandEvents
from bridge.runtime.faces import identity, listening_faults, plant_faces, plant_faults, status_face, until_open
from bridge.runtime.inventory import InventoryStore
from bridge.runtime.logging import repeats
from bridge.runtime.logins import SiteLogins
from bridge.runtime.memory import SourceMemory
from bridge.runtime.offline import OfflinePlant
from bridge.runtime.operations import BridgeOperations
from bridge.runtime.plant_keeper import PlantKeeper
from bridge.runtime.recorder import Recorder
from bridge.runtime.self_report import SelfReport
from bridge.runtime.sources import Surroundings, executor_of, make_source
from bridge.runtime.state_directory import StateDirectory
from bridge.runtime.supervisor import SourceRunner
from bridge.runtime.watchdog import LoopWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.config.site import Site
    from bridge.model.command import Command, Outcome
    from bridge.model.plant import Plant
    from bridge.ports import CertificateDays, Clock, Executor, Northbound, Target
    from bridge.runtime.broker import EmbeddedBroker

logger = logging.getLogger(__name__)

LATELY = 20
"""Commands of a machine that are looked at for the one that ended last: few are under way together."""
TICK_S = 0.25
"""How often freshness is judged."""

GOODBYE_S = 10.0
"""How long a face may take to say goodbye, and a source to drain."""

DRAIN_S = 8.0
"""How long commands in flight may take to end when the bridge stops: longer than a send and its confirmation."""

SETTLE_S = 3.0
"""So long after the last part was started, the start is over."""


class Bridge:
    """One running site. `load` reads the site again for a reload; None: it cannot be reloaded."""

    def __init__(self, site: Site, clock: Clock, load: Callable[[], Site] | None = None) -> None:
        self.site = site
        self.clock = clock
        self.state = StateDirectory(site.state_directory)
        self.started = clock.now()
        self.refused: list[str] = []
        self.is_crippled = False
        self.faces: dict[str, Northbound] = {}
        self.running_faces: set[str] = set()
        self.runners: dict[str, SourceRunner] = {}
        self.listening = asyncio.Event()
        self._load = load
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._loop_watch = LoopWatch()
        self._broker: EmbeddedBroker | None = None
        self._face_tasks: dict[str, asyncio.Task[None]] = {}
        self._source_tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup
        self.log: EventLogStore
        self.history: HistoryStore
        self.journal: Journal
        self.desk: Desk
        self.keeper: PlantKeeper
        self.table: Table
        self.recorder: Recorder
        self.secrets: frozenset[str] = frozenset()
        """What is secret and not in the configuration."""
        self.command_events: CommandEvents
        self.alarms: AlarmKeeper
        self.admin_url = ""

    @property
    def configuration(self) -> str:
        """Hash of the configuration that runs; secrets are masked before they are hashed."""
        return hashlib.sha256(self.site.file.model_dump_json().encode()).hexdigest()[:12]

    def stop(self) -> None:
        """Ask the bridge to stop; `run` returns when everything has said goodbye."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop`. Raises AddressTaken, StateDirectoryBusy, or what a fault in the house raised."""
        async with AsyncExitStack() as stack:
            stack.enter_context(self.state.locked())
            await self._open_stores(stack)
            if self.site.file.broker.enabled:
                from bridge.runtime.broker import EmbeddedBroker  # here: its libraries are for those who use it

                self._broker = await stack.enter_async_context(EmbeddedBroker(self.site.file.broker))
            self._build()
            try:
                await self._serve()
            except BaseExceptionGroup as group:
                raise _told(group) from None
            finally:
                self.state.withdraw()

    async def _open_stores(self, stack: AsyncExitStack) -> None:
        """Open the log and the journal. Raises StateDirectoryUnusable: a full disk is found here first."""
        rows = self.site.file.limits.log_rows
        try:
            store = EventLogStore(self.state.path / "log.db", self.clock, max_rows=rows)
            self.log = await stack.enter_async_context(store)
            history = HistoryStore(self.state.path / "history.db", self.clock, _bounds(self.site))
            self.history = await stack.enter_async_context(history)
            self.journal = await stack.enter_async_context(self._journal())
        except (sqlite3.Error, NotRecorded) as error:
            sentence = f"nothing can be kept in {self.state.path}: {error}; is the disk full?"
            raise StateDirectoryUnusable(sentence) from error

    def _journal(self) -> Journal:
        rules = self.site.file.commands
        age = timedelta(seconds=rules.journal_age)
        return Journal(self.state.path / "journal.db", self.clock, max_rows=rules.journal_rows, max_age=age)

    def _build(self) -> None:
        limits = self.site.file.limits
        inventory = InventoryStore(self.state.path / "inventory.json", limits.discovered_machines)
        inventory.load()
        self.keeper = PlantKeeper(self.site, inventory, Slots(limits.tags), self.clock, self.log.append)
        self.keeper.heard = self._heard
        self.keeper.spoke = self._spoke
        self.keeper.idle = self._idle
        self.keeper.slowed = self._slowed
        self.keeper.way = self._way
        plant = self.keeper.first_plant()
        self.table = Table(plant, self.clock, self.log, self.history)
        self.keeper.attach(self.table)
        self.desk = Desk(self.table, self.keeper.target, self._executor, self.journal, self._desk_rules(), self.clock)
        self.secrets = frozenset({self.state.admin_token().get_secret_value()})
        self.recorder = Recorder(self.keeper, self.clock, self.configuration, self.secrets)
        self.command_events = CommandEvents(self.clock, self.log.append)
        self.desk.finished = self._command_ended
        self.alarms = AlarmKeeper(self.state.path / "alarms.json", self.table, self.clock, self.log.append)
        self.alarms.load()
        self.desk.tell = self.log.append
        self.desk.is_connected = self._is_connected
        self.keeper.pending_bookings = self.desk.bookings.pending
        self.keeper.observed = self.desk.observe
        self.keeper.is_own = self.desk.is_own
        self.keeper.say("Version", __version__)
        self.keeper.say("Started", self.started)
        self.faces = plant_faces(self.site, self.clock, self.state.path)
        faults = plant_faults(self.faces.values(), plant)
        if faults:
            self._refuse_what_was_written()
        self.refused = [*(f"{identifier}: {why}" for identifier, why in self.keeper.refused.items()), *faults]
        self._say_configuration()
        for fault in self.refused:
            logger.error("%s", fault)

    def _desk_rules(self) -> DeskRules:
        file = self.site.file
        return DeskRules(
            {name: source.hazards for name, source in file.sources.items()},
            file.commands.repeat == "reassert",
            file.commands.waiting,
            file.commands.confirm_within,
            people=People(self.site.people, only=file.commands.people_only),
        )

    def _executor(self, source: str) -> Executor | None:
        runner, config = self.runners.get(source), self.site.file.sources.get(source)
        return None if runner is None or config is None or not config.accepts_writes else executor_of(runner.source)

    def _command_ended(self, command: Command, target: Target | None, outcome: Outcome) -> None:
        machine = self.table.plant.machines.get(command.target.partition(".")[0])
        self.command_events.tell(command, machine.id if machine else "", outcome)
        if machine is not None:
            self.table.update(last_command_pairs(machine, command, outcome, self.clock.now()))

    def _refuse_what_was_written(self) -> None:
        """A plant that a face cannot carry by the files alone is a fault of the files; what was found later is not."""
        written = plant_faults(self.faces.values(), OfflinePlant(self.site).plant)
        if written:
            raise ConfigError([Fault(str(self.site.paths[0]), 0, 0, "northbound", fault) for fault in written])

    def _say_configuration(self) -> None:
        self.keeper.say("Configuration", self.configuration)
        self.keeper.say("ConfigurationFaults", len(self.refused))

    def _is_connected(self, source: str) -> bool:
        runner = self.runners.get(source)
        return runner is not None and runner.speaks

    def _heard(self, source: str) -> None:
        runner = self.runners.get(source)
        if runner is not None:
            runner.heard()
            self._spoke(source)

    def _spoke(self, source: str) -> None:
        runner = self.runners.get(source)
        if runner is not None and not runner.speaks:
            runner.speaks = True
            self.desk.returned(source)

    def _idle(self, source: str, waiting: int) -> None:
        runner = self.runners.get(source)
        if runner is not None:
            runner.idle(waiting)

    def _slowed(self, condition: Condition) -> None:
        runner = self.runners.get(condition.source)
        if runner is not None:
            runner.slowed(condition)

    def _way(self, condition: Condition) -> None:
        runner = self.runners.get(condition.source)
        if runner is not None:
            runner.way(condition)

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            logins = SiteLogins(lambda: self.site, self.clock)
            status = status_face(self.site, self.clock, self.state.admin_token(), logins)
            status_task = self._start_face(status)
            house = [
                group.create_task(self._tick(), name="housekeeping"),
                group.create_task(self.alarms.run(), name="alarms"),
                group.create_task(self.desk.run(), name="desk"),
                group.create_task(self._loop_watch.run(), name="loop watch"),
                group.create_task(self._settle(), name="settle"),
            ]
            self.admin_url = await status.listening()
            self.state.announce(self.admin_url, self.site.file.northbound.status.cert_file)
            opening = group.create_task(self._open(), name="opening")
            await self._stopping.wait()
            logger.info("Stopping")
            self.desk.close()
            await self.desk.drain(DRAIN_S)
            await _end([opening])
            async with self._reloading:  # what a reload is about to start would not be ended
                await _end(self._source_tasks.values())
            await _end(self._face_tasks.values())
            await _end([status_task, *house])

    async def _open(self) -> None:
        """Start the faces, then the sources: one after the other, because they share one processor."""
        await self.desk.opened.wait()
        await self._recall_last_commands()
        for name, face in self.faces.items():
            self._face_tasks[name] = self._start_face(face)
            await until_open(face)
        for name in self.site.file.sources:
            self._start_source(name)
        self.listening.set()

    async def _recall_last_commands(self) -> None:
        """What the machines were told last before this start, by the journal."""
        for machine in self.table.plant.machines.values():
            if machine.tag(f"{LAST_COMMAND}/At") is None:
                continue
            entries = await self.journal.newest(LATELY, machine.id)
            ended = [(e.changed, e.command, e.outcome) for e in entries if e.outcome is not None]
            if not ended:
                continue
            at, command, outcome = max(ended, key=lambda one: one[0])
            pairs = last_command_pairs(machine, command, outcome, at)
            self.table.update([pair for pair in pairs if (now := self.table.get(pair[0])) is None or now.value is None])

    def _start_face(self, face: Northbound) -> asyncio.Task[None]:
        return self._group.create_task(self._run_face(face), name=f"face {face.name}")

    async def _run_face(self, face: Northbound) -> None:
        self.running_faces.add(face.name)
        try:
            await face.run(self.table, self.desk.submit, BridgeOperations(self))
        finally:
            self.running_faces.discard(face.name)

    def _start_source(self, name: str) -> None:
        memory = SourceMemory(self.state.path / "sources" / f"{name}.json", self.log.flush)
        surroundings = Surroundings(
            self.clock, self.keeper.wanted(name), memory, self.site.file.bridge.calendar, self.site.identities(name)
        )
        source = make_source(name, self.site.file.sources[name], surroundings)
        runner = SourceRunner(source, self.keeper, self.clock)
        self.runners[name] = runner
        self._source_tasks[name] = self._group.create_task(runner.run(), name=f"source {name}")

    async def _stop_source(self, name: str) -> None:
        await _end([self._source_tasks.pop(name)])
        del self.runners[name]
        reason, now = "The configuration of this source was changed", self.clock.now()
        status = StatusCode.UncertainNoCommunicationLastUsableValue
        self.keeper.publish(Condition(name, status, reason, now, advice="Wait until it has connected anew"))

    async def _tick(self) -> None:
        report = SelfReport(self, BridgeOperations(self))
        while True:
            await self.clock.sleep(TICK_S)
            self.keeper.tick()
            repeats.flush()
            report.tick()

    @property
    def certificate_days(self) -> CertificateDays | None:
        """How long certificates last; None without a face that has any."""
        return next((face.certificate_days for face in self.faces.values() if isinstance(face, Certified)), None)

    async def _settle(self) -> None:
        await self.listening.wait()
        await asyncio.sleep(SETTLE_S)
        settled()
        self._loop_watch.reset()

    # -- reload -------------------------------------------------------------------------------------------------------

    async def reload(self) -> list[str]:
        """Read the files again and take what they say. A bad one changes nothing; its faults are returned and shown."""
        await self.listening.wait()
        if self._load is None:
            return ["this bridge was not started from files"]
        async with self._reloading:
            return ["this bridge is stopping"] if self._stopping.is_set() else await self._reload(self._load)

    async def _reload(self, load: Callable[[], Site]) -> list[str]:
        try:
            site = await asyncio.to_thread(load)
            faults = await asyncio.to_thread(self._faults_of, site)
        except ConfigError as error:
            faults = [str(fault) for fault in error.faults]
        except Exception as error:
            logger.exception("The changed configuration could not be read because of a fault in the bridge")
            faults = [f"a fault in the bridge while it read the files: {type(error).__name__}; see its log"]
        was_refused, self.refused = bool(self.refused), faults
        self.keeper.say("ConfigurationFaults", len(faults))
        if faults:
            logger.error("The changed configuration is refused (%d faults); the old one keeps running", len(faults))
            for fault in faults[:20]:
                logger.error("%s", fault)
            self.keeper.event(
                "ConfigurationRefused", f"{counted(len(faults), 'fault')}; first: {faults[0]}", severity=500
            )
            return faults
        before = self.site
        await self._apply(site)
        if was_refused and _is_same(before, site):
            logger.info("The configuration has no faults any more; it is the one in force (%s)", self.configuration)
        return []

    def _faults_of(self, site: Site) -> list[str]:
        offline = OfflinePlant(site, with_inventory=True)
        faults = offline.faults() + retyped(self.table.plant, offline.plant)
        faults += listening_faults(self.site, site)
        if site.state_directory != self.site.state_directory:
            faults.append("bridge.state_directory cannot change while the bridge runs: restart it")
        if site.file.limits != self.site.file.limits:
            faults.append("limits cannot change while the bridge runs: restart it")
        if site.file.broker != self.site.file.broker or site.file.northbound.status != self.site.file.northbound.status:
            faults.append("broker and northbound.status cannot change while the bridge runs: restart it")
        return faults

    async def _apply(self, site: Site) -> None:
        site.library.adopt(self.site.library)
        before, self.site = self.site, site
        if _is_same(before, site):
            return
        self.keeper.site = site
        self.history.bounds = _bounds(site)
        self.desk.rules = self._desk_rules()
        sources = {*before.file.sources, *site.file.sources}
        changed = {
            n
            for n in sources
            if (
                before.file.sources.get(n) != site.file.sources.get(n)
                or site.file.discovery != before.file.discovery
                or site.file.bridge.calendar != before.file.bridge.calendar
                or site.identities(n) != before.identities(n)
            )
        }
        for name in changed & set(self._source_tasks):
            await self._stop_source(name)
        await self._exchange_faces(before, site)
        self.keeper.rebuild()
        for name in changed & set(site.file.sources):
            self._start_source(name)
        self._say_configuration()
        logger.info("The changed configuration is in force (%s)", self.configuration)
        self.keeper.event("ConfigurationChanged", f"Configuration {self.configuration} is in force", severity=100)

    async def _exchange_faces(self, before: Site, site: Site) -> None:
        fresh = plant_faces(site, self.clock, self.state.path)
        for name in {*fresh, *self.faces}:
            if identity(before, name) == identity(site, name):
                continue
            if name in self._face_tasks:
                await _end([self._face_tasks.pop(name)])
                del self.faces[name]
            if name in fresh:
                self.faces[name] = fresh[name]
                self._face_tasks[name] = self._start_face(fresh[name])

    def metrics(self) -> dict[str, float]:
        """Counters and gauges of the house."""
        return {
            "table_updates_total": float(self.table.updates_total),
            "plant_machines": float(len(self.table.plant.machines)),
            "plant_tags": float(len(self.table.values())),
            **{f'schema_drift_total{{kind="{kind}"}}': float(n) for kind, n in self.keeper.drift.total.items()},
            "inventory_refused_total": float(self.keeper.inventory.refused_total),
            "event_loop_longest_stall_seconds": self._loop_watch.longest_s,
            "event_loop_longest_stall_busy_seconds": self._loop_watch.longest_busy_s,
            **self.keeper.metrics(),
            **self.journal.metrics(),
            **self.history.metrics(),
            **self.desk.bookings.metrics(),
            **self.alarms.metrics(),
            **(self._broker.metrics() if self._broker else {}),
            **{
                name: float(value)
                for face in self.faces.values()
                if isinstance(face, Measured)
                for name, value in face.metrics().items()
            },
            **{f"log_{name}" if not name.startswith("log") else name: v for name, v in self.log.metrics().items()},
        }


def _bounds(site: Site) -> Bounds:
    rules = site.file.bridge.history
    return Bounds(rules.size * 1_000_000, timedelta(seconds=rules.age))


def retyped(before: Plant, after: Plant) -> list[str]:
    """Tags that would get another data type or another enum numbering: a tag keeps both for ever."""
    faults = []
    for machine in after.everything():
        older = before.bridge if machine.id == before.bridge.id else before.machines.get(machine.id)
        known = {tag.id: tag.definition for tag in older.tags} if older else {}
        for tag in machine.tags:
            was, now = known.get(tag.id), tag.definition
            if was is None:
                continue
            if was.data_type is not now.data_type:
                faults.append(
                    f"{tag.id} would change from {was.data_type.value} to {now.data_type.value}: give it a new name"
                )
            elif any((now.enumeration or {}).get(text) != number for text, number in (was.enumeration or {}).items()):
                faults.append(f"{tag.id} would renumber its enum: only add to it")
    return faults


async def _end(tasks: object) -> None:
    """Cancel tasks and wait until they are over."""
    listed: list[asyncio.Task[None]] = list(tasks)  # type: ignore[call-overload]
    for task in listed:
        task.cancel()
    if listed:
        _, late = await asyncio.wait(listed, timeout=GOODBYE_S)
        for task in late:
            logger.warning("%s did not end within %.0f s", task.get_name(), GOODBYE_S)


def _told(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error of ours a person can act on, else the whole group."""
    found = list(leaves(group))
    own = [error for error in found if isinstance(error, BridgeError)]
    return own[0] if own and len(own) == len(found) else group


def _is_same(one: Site, other: Site) -> bool:
    return one.file == other.file and one.library.fingerprint == other.library.fingerprint
