"""The start: from the process to an answer on the OPC UA port, and the memory it then has; its source is dead."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import sites
from benchmarks.bridge import RunningBridge
from benchmarks.processes import Child, free_port, progress, python, running_broker

SIZES = (1_000, 10_000, 50_000)
FACES = ("opcua", "sparkplug", "uns")
QUIET_S = 5.0
"""Then the start is over, with what the bridge puts off until afterwards."""


@dataclass
class Start:
    """One start."""

    tags: int
    opcua_s: float
    rss_mb: float
    cpu_s: float
    """Processor time until OPC UA answered."""


def run(folder: Path, tags: int, repeat: int = 1) -> Start:
    """The fastest of several starts, each with a new state directory; every face runs. Raises Unavailable."""
    _compile_modules(folder)
    starts = []
    for number in range(repeat):
        progress(f"start: {tags} tags" + (f" (run {number + 1} of {repeat})" if repeat > 1 else ""))
        here = folder / f"start-{tags}-{number}"
        here.mkdir()
        with running_broker(here) as broker_port:
            starts.append(_run(here, tags, broker_port))
        progress(f"  {starts[-1].opcua_s} s, {starts[-1].rss_mb} MB")
    return min(starts, key=lambda start: start.opcua_s)


def _compile_modules(folder: Path) -> None:
    """An installed bridge has its bytecode; in a checkout the first who starts it waits for that."""
    with Child("the modules", python("compileall", "-q", "bridge"), folder / "modules.log") as child:
        while child.is_running():
            time.sleep(0.01)


def _run(folder: Path, tags: int, broker_port: int) -> Start:
    machines = tags // sites.TAGS_PER_PLAIN_MACHINE
    url = f"http://127.0.0.1:{free_port()}"
    with RunningBridge(folder, sites.read_site(url, machines, "benchmark/plain", FACES, broker_port)) as bridge:
        seconds = bridge.wait_for_opcua()
        cpu = bridge.process.cpu_s()
        time.sleep(QUIET_S)
        return Start(tags, round(seconds, 2), round(bridge.process.rss_mb(), 1), round(cpu, 2))
