"""`plantbridge write`: change a set point, by the same path as every other door."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import click

from bridge.cli.admin import Access, AdminClient, access_options
from bridge.cli.commands import told
from bridge.cli.examples import examples
from bridge.cli.targets import COMMANDS, pasted
from bridge.cli.values import plain_value

_NEGATIVE = re.compile(r"-\.?\d[\d.]*([eE][-+]?\d+)?")


class TakesNegatives(click.Command):
    """A command whose last argument may be -5, which is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with a negative number last and behind "--"."""
        numbers = [word for word in args if _NEGATIVE.fullmatch(word)] if "--" not in args else []
        if numbers:
            args = [word for word in args if word not in numbers] + ["--", *numbers]
        return super().parse_args(ctx, args)


@click.command(
    epilog=examples(
        "plantbridge write --state-dir state extruder-1.Setpoints.ScrewSpeed 30",
        "plantbridge write --state-dir state extruder-1.Setpoints.Mode Heat",
    ),
    cls=TakesNegatives,
)
@access_options
@click.argument("tag")
@click.argument("value")
def command(state_dir: Path | None, url: str | None, token: str | None, tag: str, value: str) -> int:
    """Set TAG to VALUE and say what really happened. Exit code 0 only where the machine took it."""
    target = pasted(tag)
    if COMMANDS in target:
        raise click.UsageError(f"{target} is a command: plantbridge call {target} [NAME=VALUE]…")
    client = AdminClient(Access.found(url, token, state_dir))
    return told(asyncio.run(client.command("/api/v1/commands", {"target": target, "value": plain_value(value)})))
