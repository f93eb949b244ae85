"""What a slow vendor costs everybody else: one panel answers after three seconds, and other clients use another one.

panel "slow"  <- 20 callers who never rest ─┐
                                            ├─ one bridge ─ a reader and a writer (OPC UA), a subscriber (UNS)
panel "quick" <─────────────────────────────┘               of machine "quick": these are measured, by turns with
                                                            and without the slow panel's slowness and callers
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import aiohttp

from benchmarks import sites
from benchmarks.bridge import RunningBridge
from benchmarks.doors import Ask, Floor, admin_session, opcua_client, opcua_write, panel_of, ready
from benchmarks.percentiles import p50_p99_ms
from benchmarks.processes import Child, progress, running_broker
from bridge.transport.mqtt import BrokerConfig, Link

SLOW_S = 3.0
CALLERS = 20
"""Commands that wait for the slow panel at any time."""

ROUNDS = 3
REST_S = 0.02
"""Between two reads, and between two writes."""


@dataclass
class Other:
    """What a client of the quick panel waits, milliseconds, without and with the slow one."""

    what: str
    count: int
    """With the slow panel; as good as the same without."""
    without_p50_ms: float
    without_p99_ms: float
    with_p50_ms: float
    with_p99_ms: float


@dataclass
class SlowVendor:
    """Other clients, and how the slow panel's own commands ended."""

    others: list[Other]
    ended: dict[str, int]


Times = dict[str, list[float]]


def run(folder: Path, seconds: float) -> SlowVendor:
    """Measure for so many seconds with, and as many without. Raises Unavailable."""
    progress(f"slow vendor: {ROUNDS} × {seconds / ROUNDS:.1f} s without and with")
    here = folder / "slow-vendor"
    here.mkdir()
    with ExitStack() as stack:
        broker_port = stack.enter_context(running_broker(here))
        panels = {name: stack.enter_context(panel_of(here / f"{name}.log", "3.0")) for name in ("quick", "slow")}
        urls = {name: str(panel.ask()["url"]) for name, panel in panels.items()}
        bridge = stack.enter_context(RunningBridge(here, sites.written_site(urls, broker_port)))
        bridge.wait_for_opcua()
        floors = {name: Floor(bridge, broker_port, name) for name in panels}
        return asyncio.run(_measure(floors, panels["slow"], seconds / ROUNDS))


async def _measure(floors: dict[str, Floor], slow_panel: Child, seconds: float) -> SlowVendor:
    for floor in floors.values():
        await ready(floor)
    without: Times = {}
    loaded: Times = {}
    ended: Counter[str] = Counter()
    async with _clients(floors["quick"]) as clients:
        await clients.use(2.0, {})
        for _ in range(ROUNDS):
            await clients.use(seconds, without)
            async with _besieged(floors["slow"], slow_panel, ended):
                await clients.use(seconds, loaded)
    others = [Other(what, len(loaded[what]), *p50_p99_ms(without[what]), *p50_p99_ms(loaded[what])) for what in without]
    return SlowVendor(others, dict(ended))


@asynccontextmanager
async def _besieged(floor: Floor, panel: Child, ended: Counter[str]) -> AsyncIterator[None]:
    """Inside, the panel is slow and its lane is full; after, it is as before."""
    panel.ask(f"slow {SLOW_S}")
    stopping = asyncio.Event()
    async with admin_session(floor) as session, asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(_besiege(session, floor, number, stopping, ended))
        await asyncio.sleep(SLOW_S)
        yield
        panel.ask("slow 0")
        stopping.set()


async def _besiege(
    session: aiohttp.ClientSession, floor: Floor, number: int, stopping: asyncio.Event, ended: Counter[str]
) -> None:
    """Commands, not set points: none replaces another."""
    for value in itertools.count(number, CALLERS):
        arguments = {"Kp": value % 1000 / 10, "Ki": 0, "Kd": 0}
        async with session.post("/api/v1/commands", json={"target": floor.pid, "args": arguments}) as answer:
            ended[(await answer.json())["result"]] += 1
        if stopping.is_set():
            return


class _Clients:
    """Who uses the quick panel's machine."""

    def __init__(self, read: Ask, write: Ask, link: Link) -> None:
        self._read = read
        self._write = write
        self._messages = link.messages()
        self._ages: list[float] = []
        self._values: Iterator[float] = (1 + number % 400 / 10 for number in itertools.count())

    async def use(self, seconds: float, times: Times) -> None:
        """All of them at once, for so long."""
        end = time.perf_counter() + seconds
        self._ages.clear()
        await asyncio.gather(
            self._repeat(self._read, end, times.setdefault("OPC UA read", [])),
            self._repeat(self._write, end, times.setdefault("OPC UA write", [])),
        )
        times.setdefault("UNS value, age", []).extend(self._ages)

    async def _repeat(self, ask: Ask, end: float, took: list[float]) -> None:
        while time.perf_counter() < end:
            took.append(await ask(next(self._values)))
            await asyncio.sleep(REST_S)

    async def listen(self) -> None:
        """Take what is published, for ever; a value that is repeated is not a new one."""
        newest: dict[str, str] = {}
        async for message in self._messages:
            if "/Monitoring/" not in message.topic:
                continue
            stamp = json.loads(message.payload)["timestamp"]
            before, newest[message.topic] = newest.get(message.topic), stamp
            if stamp != before and not message.retain:
                self._ages.append(time.time() - datetime.fromisoformat(stamp).timestamp())


@asynccontextmanager
async def _clients(floor: Floor) -> AsyncIterator[_Clients]:
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(opcua_client(floor))
        node = reader.get_node(f"ns=2;s={floor.machine}.Monitoring.Pressure")

        async def read(_: float) -> float:
            began = time.perf_counter()
            await node.read_value()
            return time.perf_counter() - began

        write = await stack.enter_async_context(opcua_write(floor))
        broker = BrokerConfig(host="127.0.0.1", port=floor.broker_port)
        link = await stack.enter_async_context(Link.connect(broker, "bench-listener"))
        await link.subscribe(f"acme/lab/hall/one/{floor.machine}/#", 0)
        clients = _Clients(read, write, link)
        listening = asyncio.create_task(clients.listen(), name="listener")
        try:
            yield clients
        finally:
            listening.cancel()
