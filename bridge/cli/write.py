"""`plantbridge write`: change a set point, by the same path as every other door."""

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
        "plantbridge write --state-dir state extruder-1.Setpoints.ScrewSpeed 30",
        "plantbridge write --state-dir state extruder-1.Setpoints.Mode Heat",
    )
)
@access_options
@click.argument("tag")
@click.argument("value")
def command(state_dir: Path | None, url: str | None, token: str | None, tag: str, value: str) -> int:
    """Set TAG to VALUE and say what really happened. Exit code 0 only where the machine took it."""
    client = AdminClient(Access.found(url, token, state_dir))
    return told(asyncio.run(client.post("/api/v1/commands", {"target": tag, "value": plain_value(value)})))
