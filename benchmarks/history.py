"""What a stored value costs: of the event loop, and of all threads until it is kept."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bridge.hub.history import HistoryStore
from bridge.hub.history_file import Bounds
from bridge.hub.table import Table
from bridge.model.path import Place
from bridge.model.plant import Machine, Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Tag, TagDefinition
from bridge.model.value import DataType, DataValue
from bridge.transport.clock import SystemClock

TAGS, BATCH, ROUNDS = 1000, 100, 1000


@dataclass(frozen=True, slots=True)
class HistoryCost:
    """Microseconds of a value, bytes on disk."""

    without: float
    """`table.update`, no tag has a history."""
    on_loop: float
    """`table.update`, every tag has one."""
    kept: float
    """CPU of the process, until it is on disk."""
    size: float


def run(folder: Path) -> HistoryCost:
    """Measure in this process."""
    for name in ("none", "all"):
        (folder / name).mkdir()
    return asyncio.run(_measure(folder))


async def _measure(folder: Path) -> HistoryCost:
    without, _, _ = await _updates(folder / "none", is_kept=False)
    on_loop, kept, size = await _updates(folder / "all", is_kept=True)
    return HistoryCost(without, on_loop, kept, size)


async def _updates(folder: Path, is_kept: bool) -> tuple[float, float, float]:
    clock = SystemClock()
    definitions = [TagDefinition(f"Monitoring/N{number}", DataType.Double, history=is_kept) for number in range(TAGS)]
    tags = tuple(Tag(f"m-1.Monitoring.N{slot}", slot, "m-1", one) for slot, one in enumerate(definitions))
    machine = Machine("m-1", Place("acme", "essen"), "bench", (), tags)
    plant = Plant(Machine("Bridge", Place("acme", "essen"), "bridge", (), ()), {"m-1": machine})
    count = BATCH * ROUNDS
    async with HistoryStore(folder / "history.db", clock, Bounds(1 << 30, timedelta(days=7))) as store:
        table = Table(plant, clock, None, store)  # type: ignore[arg-type]
        cpu, on_loop = time.process_time(), 0.0
        for number in range(ROUNDS):
            now = clock.now()
            first = number * BATCH % TAGS
            values = [(first + i, DataValue(float(i + number), StatusCode.Good, now, now)) for i in range(BATCH)]
            began = time.thread_time()
            table.update(values)
            on_loop += time.thread_time() - began
            if number % 50 == 49:
                await store.flush()
        kept = time.process_time() - cpu
        size = store.metrics()["history_bytes"] / count
    return on_loop / count * 1e6, kept / count * 1e6, size
