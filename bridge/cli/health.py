"""`plantbridge health`: whether a running bridge does its work; for a person, a script, a container."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from bridge.cli.admin import Access, AdminClient, access_options, running
from bridge.cli.examples import examples

NOT_READY = 1


@click.command(
    "health",
    epilog=examples(
        "plantbridge health --state-dir state",
        "plantbridge health --state-dir state --live    # only whether it runs: for a container's health check",
        "until plantbridge health --state-dir state; do sleep 2; done",
    ),
)
@access_options
@click.option("--live", is_flag=True, help="Only whether the process answers: exit code 0 also while it is not ready.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(url: str | None, token: str | None, state_dir: Path | None, live: bool, as_json: bool) -> int:
    """Say whether a running bridge is ready: values flow, and every face has told them.

    Exit code 0: it is ready (with --live: it answers). 1: it is not, or no bridge answers.
    """
    client = AdminClient(Access.found(url, token or ("-" if url else None), state_dir and running(state_dir)))
    ready, reasons = asyncio.run(client.health())
    if as_json:
        click.echo(json.dumps({"live": True, "ready": ready, "why_not_ready": list(reasons)}, ensure_ascii=False))
    else:
        click.echo("ready" if ready else "not ready")
        for reason in reasons:
            click.echo(f"  {reason}")
    return 0 if ready or live else NOT_READY
