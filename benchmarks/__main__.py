"""`python -m benchmarks`: measure, and print a table. Ctrl-C stops everything that was started."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import (
    backfill,
    desk,
    doors,
    history,
    iotistica,
    mqtt_to_uns,
    nodered,
    opcua,
    publishing,
    slow_vendor,
    sparkplug_encode,
    startup,
)
from benchmarks.processes import Unavailable, progress
from benchmarks.report import Report
from benchmarks.workload import PARTS, Size, Workload, run_part

COMMANDS = ("desk", "doors", "slow-vendor")
"""What "commands" stands for."""
CHOICES = (*PARTS, "start", "node-red", "sparkplug-encode", "mqtt", "history", "backfill", "iotistica", *COMMANDS)
COMMANDS_OF_A_DOOR, COMMANDS_QUICK = 200, 40
INTERRUPTED = 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the bridge; see benchmarks/README.md for how to read it."
    )
    words = (*CHOICES, "commands")
    parser.add_argument("--only", nargs="+", choices=words, default=CHOICES, metavar="PART", help=", ".join(words))
    parser.add_argument("--quick", action="store_true", help="short windows, no 50 000 tags: a look, not a measurement")
    parser.add_argument("--seconds", type=float, help="length of a measurement (20; 5 with --quick)")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each row; the cheapest is shown")
    parser.add_argument("--machines", type=int, default=Size.machines, help="machines of the workload")
    parser.add_argument("--rate", type=float, default=Size.rate_hz, help="live values of a machine per second")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--keep", type=Path, help="keep logs and state in this new folder")
    parser.add_argument("--open62541", type=Path, metavar="PYTHON", help="of an environment with o6, for its rows")
    chosen = parser.parse_args()
    if "commands" in chosen.only:
        chosen.only = (*chosen.only, *COMMANDS)
    return chosen


def measure(chosen: argparse.Namespace, folder: Path, report: Report) -> None:
    workload = Workload(folder, report.size)
    for part in (part for part in PARTS if part in chosen.only):
        with _or_absent(report, f"workload {part}"):
            report.loads.append(run_part(workload, part, chosen.repeat))
    if "node-red" in chosen.only:
        with _or_absent(report, "Node-RED"):
            report.node_red = nodered.run(folder, report.size)
    for tags in startup.SIZES[: 2 if chosen.quick else None] if "start" in chosen.only else ():
        with _or_absent(report, f"start with {tags} tags"):
            report.starts.append(startup.run(folder, tags, chosen.repeat))
    if "sparkplug-encode" in chosen.only:
        report.encode = sparkplug_encode.run(report.size.seconds)
    if "history" in chosen.only:
        report.history = history.run(folder)
    if "backfill" in chosen.only:
        report.backfill = backfill.run()
    if "iotistica" in chosen.only:
        report.decoded = iotistica.run(report.size.seconds)
    if "mqtt" in chosen.only:
        with _or_absent(report, "publishing"):
            report.published = publishing.run(folder, chosen.quick)
        with _or_absent(report, "MQTT in to UNS out"):
            report.mqtt_to_uns = mqtt_to_uns.run(folder, report.size)
    if "opcua" in chosen.only:
        with _or_absent(report, "OPC UA"):
            report.served = opcua.run(
                folder, report.size.seconds / 2, chosen.open62541, report.absent, quick=chosen.quick
            )
    measure_commands(chosen, folder, report)


def measure_commands(chosen: argparse.Namespace, folder: Path, report: Report) -> None:
    """The way down; `--repeat` does not count here: their rows are ratios of one run, by turns."""
    if "desk" in chosen.only:
        with _or_absent(report, "desk"):
            report.desk = desk.run(folder, report.size.seconds / 5)
    if "doors" in chosen.only:
        with _or_absent(report, "doors"):
            report.doors = doors.run(folder, COMMANDS_QUICK if chosen.quick else COMMANDS_OF_A_DOOR)
    if "slow-vendor" in chosen.only:
        with _or_absent(report, "slow vendor"):
            report.slow_vendor = slow_vendor.run(folder, report.size.seconds)


@contextmanager
def _or_absent(report: Report, what: str) -> Iterator[None]:
    """A row that cannot be measured says why; the others go on."""
    try:
        yield
    except (Unavailable, RuntimeError) as why:
        report.absent[what] = str(why)
        progress(f"{what}: {why}")


def main() -> int:
    chosen = arguments()
    seconds = chosen.seconds or (5.0 if chosen.quick else Size.seconds)
    report = Report(Size(chosen.machines, chosen.rate, seconds))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        if chosen.keep:
            chosen.keep.mkdir(parents=True)
            folder = chosen.keep.resolve()
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plantbridge-bench-")))
        try:
            measure(chosen, folder, report)
        except KeyboardInterrupt:
            progress("interrupted; everything is stopped")
            return INTERRUPTED
    print(json.dumps(report.as_json(), indent=1) if chosen.json else "\n".join(report.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
