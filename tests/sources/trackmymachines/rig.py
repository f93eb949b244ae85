"""A source against the simulator on sockets, one virtual clock for both."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bridge.model.event import Event
from bridge.model.observation import Condition, Inventory, Observation, Reading
from bridge.ports import Clock
from bridge.sim.trackmymachines import Behaviour, TrackMyMachines, VirtualClock
from bridge.sources.trackmymachines.config import TrackMyMachinesConfig
from bridge.sources.trackmymachines.source import TrackMyMachinesSource

NOON = datetime(2025, 5, 27, 12, tzinfo=UTC)
ONE = {"foreign_id": "MACHINE_001", "display_name": "Machine 1", "number": 6, "name": "Machine 1"}
Item = Observation | Condition | Inventory | Event | Reading


class Crash(Exception):
    """The bridge's process is gone."""


class Disk:
    """A `bridge.ports.Memory` that outlives sources. Where `crash` says so, the process is gone before it has kept."""

    def __init__(self) -> None:
        self.document = "{}"
        self.crash: Callable[[object], bool] = lambda item: False

    async def recall(self) -> Mapping[str, Any]:
        found: dict[str, Any] = json.loads(self.document)
        return found

    async def keep(self, document: Mapping[str, Any]) -> None:
        if self.crash(document):
            raise Crash
        self.document = json.dumps(document)


class Heard:
    """What sources have published, over restarts: events as the log keeps them, by id."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.events: dict[str, Event] = {}
        self.channels: dict[tuple[str, str], dict[str, Any]] = {}
        self.readings: dict[str, Any] = {}
        self.changed: list[str] = []
        """Ids of events that came again as something else."""
        self.crash: Callable[[Item], bool] = lambda item: False

    def publish(self, item: Item) -> None:
        if self.crash(item):
            raise Crash
        self.items.append(item)
        if isinstance(item, Event):
            before = self.events.setdefault(item.id, item)
            if _plain(before) != _plain(item):
                self.changed.append(item.id)
            self.events[item.id] = item
        elif isinstance(item, Observation):
            self.channels[item.machine, item.channel] = item.payload
        elif isinstance(item, Reading):
            self.readings[item.name] = item.value

    def value(self, channel: str, *keys: str, machine: str = "MACHINE_001") -> Any:
        found: Any = self.channels[machine, channel]
        for key in keys:
            found = found[key]
        return found

    def told(self, vendor_id: str = "") -> list[str]:
        """Kinds of events, of one of the vendor's or all, in the order of their ids' numbers."""
        chosen = [e for e in self.events.values() if vendor_id in ("", e.data.get("vendor_id"))]
        return [e.kind for e in sorted(chosen, key=lambda e: (str(e.data.get("vendor_id")), e.id))]


def _plain(event: Event) -> tuple[Any, ...]:
    data = {name: value for name, value in event.data.items() if name not in ("observed_at", "replayed")}
    return event.kind, event.time, event.machine, data


class Rig:
    """A simulator, a disk, and what was heard; sources come and go."""

    def __init__(self, simulator: TrackMyMachines, **config: Any) -> None:
        self.simulator = simulator
        self.clock = simulator.clock
        self.source_clock: Clock = simulator.clock
        self.faults = simulator.faults
        self.disk = Disk()
        self.heard = Heard()
        self.options = {
            "type": "trackmymachines",
            "events_url": simulator.app_url,
            "step_events_url": simulator.com_url,
            "api_key": simulator.secret("rw"),
            "requests_per_minute": 6000,
            "request_timeout": 5,
            **config,
        }
        self.machines: dict[str, Mapping[str, str | int]] = {"MACHINE_001": ONE}
        self.wanted: list[str] | None = None
        self.source: TrackMyMachinesSource

    def make(self) -> TrackMyMachinesSource:
        config = TrackMyMachinesConfig.model_validate(self.options)
        return TrackMyMachinesSource(
            "tmm",
            config,
            self.source_clock,
            self.disk,
            None,
            self.wanted,
            self.machines,  # type: ignore[arg-type]
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """A source at work; afterwards it is gone as after kill -9: nothing is kept at its end."""
        self.source = self.make()
        task = asyncio.create_task(self.source.run(self.heard.publish))
        try:
            yield task
        finally:
            kept = self.disk.document
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()
            self.disk.document = kept

    async def until(self, condition: Callable[[], object], seconds: float = 30.0, step: float = 1.0) -> None:
        """Let virtual time pass in small steps until something is so."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.clock.advance(step)
                await asyncio.sleep(0.005)

    @property
    def now(self) -> int:
        return round(self.clock.now().timestamp() * 1000)

    @property
    def read_until(self) -> int:
        return self.source._read_until or 0

    async def polled(self) -> None:
        """Until a poll has told of this moment, or later."""
        now = self.now
        await self.until(lambda: self.read_until >= now)

    async def advance(self, seconds: float, step: float = 600.0) -> None:
        """Let so much time pass, with a poll at every step."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.advance(min(step, end - self.clock.monotonic()))
            await self.polled()

    def insert(self, kind: str, label: str = "", start: float = 0, end: float | None = None, **more: Any) -> str:
        """An event; start and end are seconds from now."""
        now = self.clock.now().timestamp()
        return self.faults.insert(
            more.get("machine", "MACHINE_001"), kind, _iso(now + start), None if end is None else _iso(now + end), label
        )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.asynccontextmanager
async def rig(behaviour: Mapping[str, Any] | None = None, floor: bool = False, **config: Any) -> AsyncIterator[Rig]:
    clock = VirtualClock(NOON, 0)
    switches = Behaviour(**{"feed_delay_s": 0, **(behaviour or {})})
    async with TrackMyMachines(clock=clock, behaviour=switches, floor=floor) as simulator:
        yield Rig(simulator, **config)
