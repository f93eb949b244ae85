"""What publishing costs: our link beside `mosquitto_pub -l` and plain aiomqtt, to the same broker, by turns.

mosquitto_pub 2.0 with QoS 1 ends early, and silently, when it is given more than 65535 lines: its messages are fewer.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ROOT, program, progress, python, running_broker
from benchmarks.publisher import TOPIC

MOSQUITTO_PUB = "mosquitto_pub -l"
WAYS = ("outlet", "message", MOSQUITTO_PUB, "aiomqtt")
ALIAS = "alias"
"""MQTT 5 only."""
COUNTS = {0: 100_000, 1: 60_000}
SLOW_COUNT = 4_000
"""Of plain aiomqtt."""
TURNS = 3
TIMEOUT_S = 120


@dataclass
class Published:
    """The fastest of some turns."""

    how: str
    version: str
    qos: int
    size: int
    per_s: float
    cpu_us: float
    """Of the publisher's process, a message."""


def run(folder: Path, quick: bool) -> list[Published]:
    """Every way, version, quality and size. Raises Unavailable."""
    mosquitto_pub = program("mosquitto_pub")
    home = folder / "publishing"
    home.mkdir()
    rows = []
    with running_broker(home) as port:
        for version in ("3.1.1", "5"):
            for qos in (0, 1):
                for size in (50, 1000):
                    progress(f"publishing: MQTT {version}, QoS {qos}, {size} B")
                    ways = (*WAYS, ALIAS) if version == "5" else WAYS
                    turns = [_turn(how, mosquitto_pub, home, port, version, qos, size) for how in ways * _turns(quick)]
                    rows += [max((one for one in turns if one.how == how), key=lambda one: one.per_s) for how in ways]
    return rows


def _turns(quick: bool) -> int:
    return 1 if quick else TURNS


def _turn(how: str, mosquitto_pub: str, home: Path, port: int, version: str, qos: int, size: int) -> Published:
    count = SLOW_COUNT if how == "aiomqtt" else COUNTS[qos]
    if how == MOSQUITTO_PUB:
        seconds, cpu_s = _mosquitto_pub(mosquitto_pub, home, port, version, qos, size, count)
    else:
        command = python("benchmarks.publisher", how, port, version, qos, size, count)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=TIMEOUT_S)
        told = json.loads(done.stdout)
        seconds, cpu_s = told["seconds"], told["cpu_s"]
    return Published(how, version, qos, size, round(count / seconds), round(cpu_s / count * 1e6, 2))


def _mosquitto_pub(
    path: str, home: Path, port: int, version: str, qos: int, size: int, count: int
) -> tuple[float, float]:
    """Seconds and processor seconds, its start included: 10 ms."""
    lines = home / f"{size}-{count}"
    if not lines.exists():
        lines.write_text(("x" * size + "\n") * count)
    spoken = "mqttv5" if version == "5" else "mqttv311"
    command = [path, "-p", str(port), "-V", spoken, "-t", TOPIC, "-q", str(qos), "-l"]
    before, began = os.times(), time.perf_counter()
    with lines.open("rb") as stream:
        subprocess.run(command, stdin=stream, check=True, timeout=TIMEOUT_S)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, spent
