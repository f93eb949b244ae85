"""`plantbridge call`: call a command of a machine, by the same path as every other door."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from bridge.cli.admin import Access, AdminClient, access_options
from bridge.cli.commands import told
from bridge.cli.examples import examples
from bridge.cli.values import plain_value


@click.command(
    epilog=examples(
        "plantbridge call --state-dir state extruder-1 Standby",
        "plantbridge call --state-dir state extruder-1 SetPid/Front Kp=0.1 Ki=0.01 Kd=0",
    )
)
@access_options
@click.argument("machine")
@click.argument("name", metavar="COMMAND")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]…")
def command(
    state_dir: Path | None, url: str | None, token: str | None, machine: str, name: str, arguments: tuple[str, ...]
) -> int:
    """Call COMMAND of MACHINE and say what really happened. Exit code 0 only where the machine took it."""
    given = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise click.UsageError(f"{argument!r} is no argument; write NAME=VALUE")
        given[key] = plain_value(value)
    client = AdminClient(Access.found(url, token, state_dir))
    target = f"{machine}.Commands.{name.replace('/', '.')}"
    return told(asyncio.run(client.post("/api/v1/commands", {"target": target, "args": given})))
