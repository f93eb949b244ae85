"""`plantbridge commands`: what was asked of machines, how it ended, and what waits for a person."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from bridge.cli.admin import Access, AdminClient, access_options
from bridge.cli.examples import examples

DECIDE = (
    "Nobody knows whether these happened. Look at each machine first, then, with the id in [ ]:\n"
    "  it happened, or is no longer wanted: plantbridge commands discard ID --reason WHY\n"
    "  it did not, and is wanted:           plantbridge commands retry ID"
)


@click.group(
    "commands",
    epilog=examples(
        "plantbridge commands list --state-dir state",
        "plantbridge commands list --state-dir state --dead",
        "plantbridge commands show --state-dir state uns:4711",
        "plantbridge commands retry --state-dir state uns:4711",
    ),
)
def command() -> None:
    """Show commands of a running bridge; decide about dead letters."""


@command.command(
    "list",
    epilog=examples(
        "plantbridge commands list --state-dir state --machine extruder-1 --limit 20",
        "plantbridge commands list --state-dir state --dead --json",
    ),
)
@access_options
@click.option("--machine", default="", help="Only commands of this machine.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@click.option("--dead", is_flag=True, help="Only dead letters: what a person must decide.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(
    state_dir: Path | None, url: str | None, token: str | None, machine: str, limit: int, dead: bool, as_json: bool
) -> None:
    """List the newest commands, newest first."""
    client = AdminClient(Access.found(url, token, state_dir))
    query = {"machine": machine, "limit": str(limit), "dead": "true" if dead else "false"}
    entries = asyncio.run(client.get("/api/v1/commands", query))["commands"]
    for entry in entries:
        click.echo(json.dumps(entry) if as_json else _line(entry))
    if not entries and not as_json:
        click.echo("No dead letters." if dead else "No commands yet.")
    elif dead and not as_json:
        click.echo(DECIDE, err=True)


@command.command(
    "show",
    epilog=examples(
        "plantbridge commands show --state-dir state uns:-:4711",
        "plantbridge commands show --state-dir state uns:-:4711 | jq .history",
    ),
)
@access_options
@click.argument("identifier", metavar="ID")
def show(state_dir: Path | None, url: str | None, token: str | None, identifier: str) -> None:
    """Show one command with its whole life."""
    client = AdminClient(Access.found(url, token, state_dir))
    click.echo(json.dumps(asyncio.run(client.get(_path(identifier), {})), indent=2))


@command.command(
    "retry",
    epilog=examples(
        "plantbridge commands list --state-dir state --dead",
        "plantbridge commands retry --state-dir state uns:-:4711",
    ),
)
@access_options
@click.argument("identifier", metavar="ID")
def retry(state_dir: Path | None, url: str | None, token: str | None, identifier: str) -> int:
    """Send a dead letter again, as a new command (look at the machine first); try a kept booking now."""
    client = AdminClient(Access.found(url, token, state_dir))
    return told(asyncio.run(client.command(f"{_path(identifier)}/retry", {})))


@command.command(
    "discard",
    epilog=examples(
        "plantbridge commands discard --state-dir state uns:-:4711 --reason 'done by hand'",
        "plantbridge commands list --state-dir state --dead",
    ),
)
@access_options
@click.argument("identifier", metavar="ID")
@click.option("--reason", default="", help="Why; kept in the journal.")
def discard(state_dir: Path | None, url: str | None, token: str | None, identifier: str, reason: str) -> None:
    """Put a dead letter, or a kept booking, aside."""
    client = AdminClient(Access.found(url, token, state_dir))
    asyncio.run(client.post(f"{_path(identifier)}/discard", {"reason": reason}))
    click.echo(f"{identifier} is put aside.")


def _path(identifier: str) -> str:
    return f"/api/v1/commands/{quote(identifier, safe='')}"


def told(outcome: Mapping[str, Any]) -> int:
    """Say how a command ended, and each item of a recipe; the exit code: 0 where it took effect."""
    good = outcome["status"].startswith("Good")
    click.echo(f"{outcome['result']}: {outcome['sentence']} ({outcome['status']})", err=not good)
    for item in outcome.get("items", ()):
        click.echo(f"  {item['target']} = {item['value']}: {item['result']}: {item['sentence']}", err=not good)
    return 0 if good else 1


def _line(entry: Mapping[str, Any]) -> str:
    arguments = ", ".join(f"{name}={value}" for name, value in entry["arguments"].items())
    ended = entry["result"] or entry["state"]
    return (
        f"{entry['issued']}  {ended:<10} {entry['target']} {arguments}  by {entry['requester']} ({entry['door']})  "
        f"{entry['sentence']}  [{entry['id']}]"
    )
