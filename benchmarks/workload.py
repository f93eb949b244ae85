"""The workload: machines × 10 live tags × 30 Hz, every value changing, on the faces of choice.

panel (process) -> bridge (process, measured) -> OPC UA client (node)
                                              '-> mosquitto -> subscriber (process)
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import sites
from benchmarks.bridge import RunningBridge
from benchmarks.processes import PEERS, Child, Unavailable, node_package, program, progress, python, running_broker

PARTS: dict[str, tuple[str, ...]] = {
    "input": (),
    "opcua": ("opcua",),
    "sparkplug": ("sparkplug",),
    "uns": ("uns",),
    "all": ("opcua", "sparkplug", "uns"),
}
"""Row -> the faces that run. "input": parse, map, table; nothing else."""

MQTT = {"sparkplug", "uns"}

INTERVALS_MS = {
    "opcua": sites.OPCUA_INTERVAL_MS,
    "sparkplug": sites.SPARKPLUG_INTERVAL_MS,
    "uns": sites.UNS_INTERVAL_MS,
}

SETTLE_S = 6.0
"""After everything flows: births, first publishes and the start's last garbage are over."""


@dataclass(frozen=True)
class Size:
    """How much, how long."""

    machines: int = 100
    rate_hz: float = 30.0
    seconds: float = 20.0

    @property
    def updates_per_s(self) -> float:
        return self.machines * len(sites.LIVE_TAGS) * self.rate_hz


@dataclass
class Load:
    """One measured run."""

    part: str
    cpu_percent: float
    us_per_update: float
    updates_per_s: float
    longest_stall_ms: float
    longest_busy_stall_ms: float
    """The longest stall that was the bridge's own work, not waiting for a core that others use."""
    rss_mb: float
    machine_busy_percent: float
    """Of all cores, by everybody: above 90 the figures are of this computer, not of the bridge."""
    ages: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Workload:
    """The panel, and runs of the bridge against it."""

    def __init__(self, folder: Path, size: Size) -> None:
        self._folder = folder
        self._size = size
        self._numbers = itertools.count(1)

    def run(self, part: str) -> Load:
        """Measure one part. Raises Unavailable."""
        faces = PARTS[part]
        folder = self._folder / f"{next(self._numbers)}-{part}"
        folder.mkdir()
        with ExitStack() as stack:
            broker_port = stack.enter_context(running_broker(folder)) if MQTT & set(faces) else 1
            panel = stack.enter_context(self._panel(folder / "panel.log"))
            url = str(panel.ask()["url"])
            bridge = stack.enter_context(
                RunningBridge(folder, sites.read_site(url, self._size.machines, "benchmark/load", faces, broker_port))
            )
            notes: list[str] = []
            clients = self._clients(stack, bridge, faces, broker_port, notes)
            bridge.wait_for_flow(self._size.updates_per_s)
            time.sleep(SETTLE_S)
            return self._measure(part, bridge, clients, notes)

    def _panel(self, log: Path) -> Child:
        return Child("the panel", python("benchmarks.panel", self._size.machines, self._size.rate_hz), log, talks=True)

    def _clients(
        self, stack: ExitStack, bridge: RunningBridge, faces: Collection[str], broker_port: int, notes: list[str]
    ) -> list[Child]:
        clients, folder = [], bridge.folder
        if MQTT & set(faces):
            command = python("benchmarks.subscriber", broker_port)
            clients.append(Child("the subscriber", command, folder / "subscriber.log", talks=True))
            stack.enter_context(clients[-1])
        if "opcua" in faces:
            bridge.wait_for_opcua()
            try:
                clients.append(self._opcua_client(bridge, folder))
                stack.enter_context(clients[-1])
            except Unavailable as why:
                notes.append(f"no OPC UA client: {why}")
        for client in clients:
            client.ask()
        return clients

    def _opcua_client(self, bridge: RunningBridge, folder: Path) -> Child:
        node_package("node-opcua-client")
        ids = folder / "node_ids.json"
        ids.write_text(json.dumps(sites.live_node_ids(self._size.machines)))
        script = PEERS / "opcua_client.js"
        command = [program("node"), script, bridge.opcua_url, str(sites.OPCUA_INTERVAL_MS), ids]
        return Child("the OPC UA client", command, folder / "opcua_client.log", talks=True)

    def _measure(self, part: str, bridge: RunningBridge, clients: list[Child], notes: list[str]) -> Load:
        for client in clients:
            client.ask("begin")
        psutil.cpu_percent()
        updates, cpu, began = bridge.updates(), bridge.process.cpu_s(), time.monotonic()
        time.sleep(self._size.seconds)
        metrics, spent = bridge.metrics(), bridge.process.cpu_s() - cpu
        lasted, busy = time.monotonic() - began, psutil.cpu_percent()
        flowed = metrics["table_updates_total"] - updates
        ages: dict[str, dict[str, float]] = {}
        for client in clients:
            ages.update(_ages(client.ask("report"), part))
        return Load(
            part,
            round(spent / lasted * 100, 1),
            round(spent / flowed * 1e6, 2) if flowed else 0.0,
            round(flowed / lasted),
            round(metrics["event_loop_longest_stall_seconds"] * 1000, 1),
            round(metrics["event_loop_longest_stall_busy_seconds"] * 1000, 1),
            round(bridge.process.rss_mb(), 1),
            round(busy, 1),
            ages,
            notes,
        )


def _ages(report: dict[str, Any], part: str) -> dict[str, dict[str, float]]:
    """By face, with how far the oldest values went beyond the interval."""
    found = {face: report[face] for face in ("sparkplug", "uns") if face in report} or {"opcua": report}
    return {
        face: {**age, "beyond_p50": beyond(age["held_p50"], face), "beyond_p99": beyond(age["held_p99"], face)}
        for face, age in found.items()
        if face in PARTS[part]
    }


def beyond(age_ms: float, face: str) -> float:
    """How much older than the face's interval."""
    return round(age_ms - INTERVALS_MS[face], 1)


def run_part(workload: Workload, part: str, repeat: int) -> Load:
    """The cheapest of several runs: noise only ever adds."""
    runs = []
    for number in range(repeat):
        progress(f"workload: {part}" + (f" (run {number + 1} of {repeat})" if repeat > 1 else ""))
        runs.append(workload.run(part))
        progress(f"  {runs[-1].cpu_percent} % of a core, {runs[-1].updates_per_s} updates/s")
    return min(runs, key=lambda run: run.cpu_percent)
