"""`plantbridge backup`: what must survive, in one file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bridge.cli.examples import examples

STATE_DIR = click.option(
    "--state-dir",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    envvar="PLANTBRIDGE_STATE_DIR",
    help="State directory of the bridge.  [env: PLANTBRIDGE_STATE_DIR]",
)


@click.command(
    "backup",
    epilog=examples(
        "plantbridge backup bridge-1.zip --state-dir state",
        "plantbridge backup --list bridge-1.zip",
        "plantbridge restore bridge-1.zip --state-dir state",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="PLANTBRIDGE_STATE_DIR",
    help="State directory of the bridge.  [env: PLANTBRIDGE_STATE_DIR]",
)
@click.option("--list", "lists", is_flag=True, help="Say what is in FILE; write nothing.")
def command(file: Path, state_dir: Path | None, lists: bool) -> None:
    """Write a bridge's state directory into one FILE, while the bridge runs or not.

    In it: certificates with the server's private key, trusted clients, the admin token, the journal of commands, events
    and history, found machines, Sparkplug's bdSeq, what sources remember. Whoever has it can pose as this server: FILE
    is readable for its owner alone, keep it so. Your configuration is not in it: it belongs in a repository.

    Exit codes: 0 written; 1 it could not be written; 2 the command line is wrong.
    """
    from bridge.runtime.backup import PRIVATE, backup, manifest_of
    from bridge.transport.clock import SystemClock

    if lists:
        manifest = manifest_of(file)
        click.echo(f"made {manifest['made']} by plantbridge {manifest['version']}", err=True)
        for path, known in manifest["files"].items():
            click.echo(f"{known['size']:>12}  {path}{'  (private)' if PRIVATE.search(path) else ''}")
        return
    if state_dir is None:
        raise click.UsageError("say whose: --state-dir DIR")
    paths = backup(state_dir, file, SystemClock().now(), told)
    private = [path for path in paths if PRIVATE.search(path)]
    click.echo(f"{file}: {len(paths)} files, {file.stat().st_size} bytes", err=True)
    if private:
        click.echo(f"It holds what lets others in ({', '.join(private)}): keep it as you keep passwords.", err=True)


def told(path: str) -> None:
    """Progress on long work: which file is next, on a terminal only."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{path}", nl=False, err=True)
