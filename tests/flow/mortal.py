"""A bridge that kills itself: `plantbridge run`, whose journal's file sends SIGKILL to its own process at a named step.

    python -m tests.flow.mortal      a nursery: reads one order a line, forks a bridge for each, tells its process id

An order is JSON: {"site": path, "log": path, "kill": null | {"id", "state", "moment"}}. `moment` is "before" (the step
is in a transaction that is not committed) or "after" (it is on disk, and nobody was told). `id` is the end of the
command's id.

Forked, not started: importing takes longer than all the rest of a bridge's start. Nothing of the product knows of this.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module

from bridge.commands import journal
from bridge.commands.journal_file import JournalFile, Row

PARTS = ("cli.run", "runtime.bridge", "config.site", "config.site_changes", "runtime.collector", "runtime.reload")
"""What a bridge imports when it starts."""

KILL: dict[str, str] = {}
"""The order's, in the forked process."""


def die(rows: Sequence[Row], moment: str) -> None:
    """End this process, if this is the step that was ordered."""
    if KILL.get("moment") != moment:
        return
    if any(row.id.endswith(KILL["id"]) and row.state == KILL["state"] for row in rows):
        os.kill(os.getpid(), signal.SIGKILL)


class MortalFile(JournalFile):
    """A journal's file during whose writing the process ends."""

    @staticmethod
    def _put(work: sqlite3.Cursor, rows: Sequence[Row]) -> None:
        JournalFile._put(work, rows)
        die(rows, "before")

    def write(self, rows: Sequence[Row], durable: bool, now: datetime) -> None:
        super().write(rows, durable, now)
        die(rows, "after")


def live(order: dict[str, object]) -> None:
    """Run a bridge as the command line does."""
    from bridge.cli.main import cli

    log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    kill = order["kill"]
    if isinstance(kill, dict):
        KILL.update(kill)
        journal.JournalFile = MortalFile  # type: ignore[misc]
    cli(["run", str(order["site"]), "--log-level", "warning"], standalone_mode=False)


def nursery() -> None:
    """Fork a bridge for each order, until there are no more."""
    for part in PARTS:
        import_module(f"bridge.{part}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who died is reaped by the system
    while line := sys.stdin.buffer.raw.readline():
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                live(json.loads(line))
            finally:
                os._exit(1)
        print(child, flush=True)


if __name__ == "__main__":
    nursery()
