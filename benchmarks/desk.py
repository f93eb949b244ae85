"""Commands per second: the desk, with its journal on disk and in memory, and a vendor that costs nothing.

caller -> desk -> journal -> lane -> script (says yes, and reads back in the next turn of the loop) -> journal -> caller

Every caller has a set point of its own and asks for the next value as soon as the last one is answered. Keeper, table,
projection and confirmation are those of a bridge; there is no door and no vendor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

from benchmarks import sites
from benchmarks.disk import fsyncs
from benchmarks.percentiles import p50_p99_ms
from benchmarks.processes import progress
from bridge.commands.desk import Desk, DeskRules
from bridge.commands.journal import Journal
from bridge.config.site import load_site
from bridge.hub.log import EventLogStore
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.action import Action
from bridge.model.command import Command, Door, Outcome, Result, Role
from bridge.model.observation import Observation
from bridge.model.status import StatusCode
from bridge.runtime.inventory import InventoryStore
from bridge.runtime.plant_keeper import PlantKeeper
from bridge.transport.clock import SystemClock

LOADS = ((1, 1), (1, sites.SET_POINTS), (20, 1), (100, 1))
"""Lanes, and callers at each."""

IN_MEMORY = Path(":memory:")
FSYNCS = 200
"""Looked at before each load."""

TAKEN = Outcome(Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously, "The script took it")


@dataclass
class DeskRate:
    """One load, once with the journal on disk and once with it in memory."""

    lanes: int
    callers: int
    """At all lanes together."""
    fsync_p50_ms: float
    """Of this disk alone, right before."""
    fsync_p99_ms: float
    durable_per_s: float
    durable_p50_ms: float
    durable_p99_ms: float
    durable_cpu_us: float
    """Processor time of a command, journal thread included."""
    commits_per_command: float
    """Transactions, each with its fsync, of a command."""
    memory_per_s: float
    memory_p50_ms: float
    memory_p99_ms: float
    memory_cpu_us: float


@dataclass
class _Run:
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    commits_per_command: float


class _Script:
    """An executor that says yes, and a machine that reads back at once."""

    def __init__(self, keeper: PlantKeeper) -> None:
        self._keeper = keeper
        self._values: dict[str, list[float]] = {}

    def validate(self, action: Action) -> str | None:
        return None

    async def execute(self, action: Action, deadline: float) -> Outcome:
        asked = action.payload["Set"]
        values = self._values.setdefault(action.machine, [0.0] * sites.SET_POINTS)
        values[asked["index"]] = asked["value"]
        asyncio.get_running_loop().call_soon(self.announce, action.machine, list(values))
        return TAKEN

    def announce(self, machine: str, values: list[float]) -> None:
        self._keeper.publish(Observation("panel", machine, "state", {"values": values}, SystemClock().now()))

    async def refresh(self, machine: str) -> None:
        return None

    def can_reconcile(self, action: Action) -> bool:
        return bool(action.confirm)

    async def reconcile(self, action: Action) -> Outcome:
        return TAKEN


def run(folder: Path, seconds: float) -> list[DeskRate]:
    """Every load for so many seconds each: the disk alone, the journal on it, the journal in memory."""
    rates = []
    for number, (lanes, callers) in enumerate(LOADS):
        progress(f"desk: {lanes} lanes, {callers} callers each")
        here = folder / f"desk-{number}"
        here.mkdir()
        with closing(fsyncs(here / "fsync")) as alone:
            disk = p50_p99_ms(islice(alone, FSYNCS))
        durable = asyncio.run(_measure(here, here / "journal.db", lanes, callers, seconds))
        memory = asyncio.run(_measure(here, IN_MEMORY, lanes, callers, seconds))
        rates.append(
            DeskRate(
                lanes,
                lanes * callers,
                *disk,
                durable.per_s,
                durable.p50_ms,
                durable.p99_ms,
                durable.cpu_us,
                durable.commits_per_command,
                memory.per_s,
                memory.p50_ms,
                memory.p99_ms,
                memory.cpu_us,
            )
        )
        progress(f"  {durable.per_s:.0f} commands/s, {memory.per_s:.0f} in memory")
    return rates


async def _measure(folder: Path, journal_path: Path, lanes: int, callers: int, seconds: float) -> _Run:
    async with _desk(folder, journal_path, lanes) as (desk, journal):
        await _load(desk, lanes, callers, min(0.5, seconds))
        cpu, commits = time.process_time(), journal.commits_total
        took, lasted = await _load(desk, lanes, callers, seconds)
        cpu, commits = time.process_time() - cpu, journal.commits_total - commits
    done = len(took)
    return _Run(round(done / lasted, 1), *p50_p99_ms(took), round(cpu / done * 1e6), round(commits / done, 2))


@asynccontextmanager
async def _desk(folder: Path, journal_path: Path, lanes: int) -> AsyncIterator[tuple[Desk, Journal]]:
    """A desk as `bridge.runtime.bridge` puts it together."""
    path, clock = sites.write(folder, sites.desk_site(lanes), opcua_port=1, status_port=2), SystemClock()
    site = load_site([path], {})
    async with (
        EventLogStore(folder / "log.db", clock, max_rows=10_000) as log,
        Journal(journal_path, clock) as journal,
        asyncio.TaskGroup() as group,
    ):
        keeper = PlantKeeper(site, InventoryStore(folder / "inventory.json", 10), Slots(100_000), clock, log.append)
        table = Table(keeper.first_plant(), clock, log)
        keeper.attach(table)
        script = _Script(keeper)
        desk = Desk(table, keeper.target, {"panel": script}.get, journal, DeskRules(), clock)
        keeper.observed, keeper.is_own = desk.observe, desk.is_own
        for machine in table.plant.machines.values():
            script.announce(machine.parts[0].source_machine, [0.0] * sites.SET_POINTS)
        running = group.create_task(desk.run(), name="desk")
        await asyncio.sleep(0)
        yield desk, journal
        running.cancel()


_numbers = count(1)


async def _load(desk: Desk, lanes: int, callers: int, seconds: float) -> tuple[list[float], float]:
    """What each command took, and how long all of them."""
    took: list[float] = []
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for machine in sites.machine_ids(lanes):
            for number in range(callers):
                group.create_task(_call(desk, f"{machine}.Setpoints.Value{number}", began + seconds, took))
    return took, time.perf_counter() - began


async def _call(desk: Desk, target: str, end: float, took: list[float]) -> None:
    while (began := time.perf_counter()) < end:
        number, now = next(_numbers), SystemClock().now()
        arguments: dict[str, Any] = {"value": float(number)}
        expires = now + timedelta(seconds=30)
        command = Command(f"bench:{number}", target, arguments, Door.ADMIN, "bench", now, expires, Role.ENGINEER)
        outcome = await desk.submit(command).result
        if outcome.result is not Result.CONFIRMED:
            raise RuntimeError(f"{target} was not confirmed: {outcome.sentence}")
        took.append(time.perf_counter() - began)
