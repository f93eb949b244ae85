"""`python -m benchmarks`: measure, and print a table. Ctrl-C stops everything that was started."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import nodered, startup
from benchmarks.processes import Unavailable, progress, start_broker
from benchmarks.report import Report
from benchmarks.workload import PARTS, Size, Workload, run_part

CHOICES = (*PARTS, "start", "node-red")
INTERRUPTED = 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the bridge; see benchmarks/README.md for how to read it."
    )
    parser.add_argument("--only", nargs="+", choices=CHOICES, default=CHOICES, metavar="PART", help=", ".join(CHOICES))
    parser.add_argument("--quick", action="store_true", help="short windows, no 50 000 tags: a look, not a measurement")
    parser.add_argument("--seconds", type=float, help="length of a measurement (20; 5 with --quick)")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each row; the cheapest is shown")
    parser.add_argument("--machines", type=int, default=Size.machines, help="machines of the workload")
    parser.add_argument("--rate", type=float, default=Size.rate_hz, help="live values of a machine per second")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--keep", type=Path, help="keep logs and state in this new folder")
    return parser.parse_args()


def measure(chosen: argparse.Namespace, folder: Path, report: Report) -> None:
    with ExitStack() as stack:
        try:
            broker, broker_port = start_broker(folder)
            stack.enter_context(broker)
        except Unavailable as why:
            broker_port = None
            report.absent["MQTT"] = str(why)
        workload = Workload(folder, report.size, broker_port)
        for part in (part for part in PARTS if part in chosen.only):
            try:
                report.loads.append(run_part(workload, part, chosen.repeat))
            except Unavailable as why:
                report.absent[f"workload {part}"] = str(why)
        if "node-red" in chosen.only:
            try:
                report.node_red = nodered.run(folder, report.size, broker_port)
            except Unavailable as why:
                report.absent["Node-RED"] = str(why)
        if "start" in chosen.only:
            for tags in startup.SIZES[: 2 if chosen.quick else None]:
                report.starts.append(startup.run(folder, tags, broker_port, chosen.repeat))


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
