"""`plantbridge drift`: how vendors' answers have changed since the bridge was started."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from bridge.cli.admin import Access, AdminClient, access_options
from bridge.cli.examples import examples


@click.command(
    "drift",
    epilog=examples(
        "plantbridge drift --state-dir state",
        "plantbridge drift --state-dir state --patch > new-fields.yaml",
        "plantbridge drift --state-dir state --json | jq 'select(.kind == \"gone\")'",
    ),
)
@access_options
@click.option("--patch", "as_patch", is_flag=True, help="As lines for a mapping: rules for new fields.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(state_dir: Path | None, url: str | None, token: str | None, as_patch: bool, as_json: bool) -> None:
    """Show fields of vendors' answers that are new, gone, or of another kind since the bridge was started.

    A payload of every channel is looked at every ten seconds; each finding is also an event (SchemaDrift), told once.
    New fields do nothing until a mapping takes them; fields that are gone leave their tags without a value.

    Exit codes: 0 told, also where nothing has changed; 1 the bridge does not answer; 2 wrong command line.
    """
    client = AdminClient(Access.found(url, token, state_dir))
    findings = asyncio.run(client.get("/api/v1/drift", {}))["findings"]
    if as_patch:
        from bridge.runtime.drift import patch

        click.echo(patch(findings), nl=False)
        return
    for found in findings:
        if as_json:
            click.echo(json.dumps(found, ensure_ascii=False))
            continue
        change = " → ".join(filter(None, (found["before"], found["after"])))
        of = f"{found['mapping']}, {found['count']}x"
        click.echo(f"{found['at']}  {found['kind']:<8} {found['path']} ({change})  {of}")
    if not findings and not as_json:
        click.echo("Vendors answer as they did when the bridge was started.")
