"""`plantbridge restore`: a backup becomes the state directory again."""

from __future__ import annotations

from pathlib import Path

import click

from bridge.cli.backup import STATE_DIR, told
from bridge.cli.examples import examples


@click.command(
    "restore",
    epilog=examples(
        "plantbridge restore bridge-1.zip --state-dir state",
        "plantbridge restore bridge-1.zip --state-dir state --replace",
        "plantbridge backup --list bridge-1.zip",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@STATE_DIR
@click.option("--replace", is_flag=True, help="Put the state that is there aside, as <DIR>.before-1.")
def command(file: Path, state_dir: Path, replace: bool) -> None:
    """Put a backup back into the state directory of a bridge that does not run.

    Every file is unpacked and compared with its checksum before anything is touched. Afterwards clients trust this
    server as before, NodeIds of found machines are the same, and commands that waited for a person still do. Commands
    that were under way when the backup was made are found out about at the next start; none is sent again unasked.

    Exit codes: 0 restored; 1 refused, and nothing was changed; 2 the command line is wrong.
    """
    from bridge.runtime.backup import restore

    aside = restore(file, state_dir, replace=replace, tell=told)
    click.echo(f"{state_dir} is as it was in {file}.", err=True)
    if aside is not None:
        click.echo(f"What was there is in {aside}.", err=True)
