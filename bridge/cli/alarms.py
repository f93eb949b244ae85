"""`plantbridge alarms`: what is wrong now, and that somebody has seen it."""

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


@click.group(
    "alarms",
    epilog=examples(
        "plantbridge alarms list --state-dir state",
        "plantbridge alarms acknowledge --state-dir state extruder-1.Monitoring.Pressure.Alarm --comment 'on my way'",
    ),
)
def command() -> None:
    """Show the alarms of a running bridge: what is active, and what nobody has acknowledged yet."""


@command.command(
    "list",
    epilog=examples("plantbridge alarms list --state-dir state", "plantbridge alarms list --state-dir state --json"),
)
@access_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(state_dir: Path | None, url: str | None, token: str | None, as_json: bool) -> None:
    """List alarms that are active or not acknowledged, newest first."""
    client = AdminClient(Access.found(url, token, state_dir))
    found = asyncio.run(client.get("/api/v1/alarms", {}))["alarms"]
    for one in found:
        click.echo(json.dumps(one) if as_json else _line(one))
    if not found and not as_json:
        click.echo("No alarms.")


@command.command(
    "acknowledge",
    epilog=examples(
        "plantbridge alarms list --state-dir state",
        "plantbridge alarms acknowledge --state-dir state extruder-1.Monitoring.Pressure.Alarm --user 'K. Meier'",
    ),
)
@access_options
@click.argument("identifiers", metavar="ID...", nargs=-1, required=True)
@click.option("--comment", help="What is to be said about it; every face shows it.")
@click.option("--user", default="", help="Who has seen it.")
def acknowledge(
    state_dir: Path | None,
    url: str | None,
    token: str | None,
    identifiers: tuple[str, ...],
    comment: str | None,
    user: str,
) -> None:
    """Say that somebody has seen alarms. Ids are those of `alarms list`."""
    client = AdminClient(Access.found(url, token, state_dir))
    body = {"user": user} if comment is None else {"user": user, "comment": comment}
    for identifier in identifiers:
        asyncio.run(client.post(f"/api/v1/alarms/{quote(identifier, safe='')}/acknowledge", body))
        click.echo(f"{identifier} is acknowledged.")


def _line(alarm: Mapping[str, Any]) -> str:
    state = alarm["level"] or ("active" if alarm["active"] else "over")
    seen = f"acknowledged by {alarm['acked_by']}" if alarm["acked"] else "NOT ACKNOWLEDGED"
    said = f" ({alarm['comment']})" if alarm["comment"] else ""
    where = alarm["machine"] or "the bridge"
    what = f"{alarm['severity']:>4} {state:<8} {where}: {alarm['message']}"
    return f"{alarm['since']}  {what}  {seen}{said}  [{alarm['id']}]"
