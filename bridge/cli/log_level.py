"""`plantbridge log-level`: how much a running bridge tells."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from bridge.cli.admin import Access, AdminClient, access_options
from bridge.cli.examples import examples


@click.command(
    "log-level",
    epilog=examples(
        "plantbridge log-level --state-dir state",
        "plantbridge log-level debug --state-dir state",
        "plantbridge log-level opcua debug --state-dir state",
    ),
)
@access_options
@click.argument("words", metavar="[[PART] LEVEL]", nargs=-1)
def command(words: tuple[str, ...], state_dir: Path | None, url: str | None, token: str | None) -> None:
    """Show, or change, how much a running bridge tells in its log; until it is restarted.

    LEVEL is debug, info, warning or error; PART is one of what is listed without words, or all. At debug the payloads
    of vendors may be in the log.

    Exit codes: 0 done; 1 there is no such part or level, or the bridge does not answer; 2 wrong command line.
    """
    if len(words) > 2:
        raise click.UsageError("say at most a part and a level: plantbridge log-level opcua debug")
    client = AdminClient(Access.found(url, token, state_dir))
    if words:
        *room, level = words
        told = asyncio.run(client.post("/api/v1/log-level", {"room": room[0] if room else "all", "level": level}))
    else:
        told = asyncio.run(client.get("/api/v1/log", {}))
    for name, level in told["levels"].items():
        click.echo(f"{name:<16} {level}")
