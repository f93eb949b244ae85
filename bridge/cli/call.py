"""`plantbridge call`: call a command of a machine, by the same path as every other door."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from bridge.cli.admin import Access, AdminClient, access_options
from bridge.cli.commands import told
from bridge.cli.examples import examples
from bridge.cli.targets import arguments_given, command_meant


@click.command(
    epilog=examples(
        "plantbridge call --state-dir state extruder-1 Standby",
        "plantbridge call --state-dir state extruder-1.Commands.Standby",
        "plantbridge call --state-dir state extruder-1 SetPid/Front Kp=0.1 Ki=0.01 Kd=0",
    )
)
@access_options
@click.argument("words", nargs=-1, required=True, metavar="MACHINE COMMAND [NAME=VALUE]…")
def command(state_dir: Path | None, url: str | None, token: str | None, words: tuple[str, ...]) -> int:
    """Call COMMAND of MACHINE and say what really happened. Exit code 0 only where the machine took it.

    A command's id stands for both. A text that looks like a number is written in double quotes within single ones:
    RecipeVersion='"1.10"'. A name that does not exist is answered with those that do.
    """
    target, given = command_meant(words)
    body = {"target": target, "args": arguments_given(given)}
    client = AdminClient(Access.found(url, token, state_dir))
    return told(asyncio.run(client.command("/api/v1/commands", body)))
