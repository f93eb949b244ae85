"""`plantbridge docs`: pages made from the plant as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import click

from bridge.cli.admin import Access, AdminClient, access_options
from bridge.cli.check import plant_faults
from bridge.cli.examples import examples
from bridge.errors import ConfigError

_EXAMPLES = examples(
    "plantbridge docs plc extruder-1 --dialect scl --state-dir state > extruder-1.scl",
    "plantbridge docs plc extruder-1 --dialect st --command Standby --state-dir state",
    "plantbridge docs plc extruder-1 --dialect st bridge.yaml --output extruder-1.st",
)


@click.group("docs", epilog=_EXAMPLES)
def command() -> None:
    """Print pages made from the plant as it is."""


@command.command("plc", epilog=_EXAMPLES)
@access_options
@click.option(
    "--dialect",
    type=click.Choice(["scl", "st"]),
    required=True,
    help="scl: Siemens S7-1500; st: TwinCAT 3, CODESYS (IEC 61131-3).",
)
@click.option("--command", "commands", multiple=True, metavar="NAME", help="Only this command; repeat for more.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write there, not to standard output.")
@click.argument("machine")
@click.argument("paths", metavar="[CONFIG]…", nargs=-1, type=click.Path(path_type=Path))
def plc(
    state_dir: Path | None,
    url: str | None,
    token: str | None,
    dialect: str,
    commands: tuple[str, ...],
    output: Path | None,
    machine: str,
    paths: tuple[Path, ...],
) -> None:
    """Print declarations and a handshake block for MACHINE, in a PLC's own language.

    Structures, NodeIds, numbers of enumerations, and the function block that carries out a command. Asks the running
    bridge; with CONFIG files it makes them from those, and from what was found in earlier runs, without a network.
    """
    if paths:
        text = _offline(paths, machine, dialect, commands)
    else:
        if state_dir is None and token is None:
            raise click.UsageError("say which: --state-dir DIR of a running bridge, or CONFIG, the files of a site")
        client = AdminClient(Access.found(url, token, state_dir))
        query = {"dialect": dialect, "command": list(commands)}
        text = asyncio.run(client.text(f"/api/v1/machines/{quote(machine, safe='')}/plc", query))
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)


def _offline(paths: Sequence[Path], machine: str, dialect: str, commands: Sequence[str]) -> str:
    from bridge.config.site import load_site
    from bridge.runtime.declarations import plc_source
    from bridge.runtime.offline import OfflinePlant

    site = load_site(paths)
    offline = OfflinePlant(site, with_inventory=True)
    if faults := plant_faults(site, offline):
        raise ConfigError(faults)
    return plc_source(offline.plant, offline.faces, machine, dialect, commands)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror or error}") from None
    click.echo(f"{path}: {len(text.splitlines())} lines", err=True)
