"""`plantbridge docs`: pages made from the plant as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from bridge.cli.admin import Access, AdminClient, access_options
from bridge.cli.check import plant_faults
from bridge.cli.examples import examples
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.runtime.offline import OfflinePlant

_EXAMPLES = examples(
    "plantbridge docs plc extruder-1 --dialect scl --state-dir state > extruder-1.scl",
    "plantbridge docs plc extruder-1 --dialect st --command Standby --state-dir state",
    "plantbridge docs plc extruder-1 --dialect st bridge.yaml --output extruder-1.st",
    "plantbridge docs nodeset --state-dir state --output plant.xml",
    "plantbridge docs tags bridge.yaml > tags.csv",
    "plantbridge docs ignition bridge.yaml --connection Line1 --output tags.json",
    "plantbridge docs flow bridge.yaml --output flow.mmd",
    "plantbridge docs asyncapi bridge.yaml --output asyncapi.json",
    "plantbridge docs log | grep PB1A2B3C",
)
_OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write there, not to standard output."
)
_PATHS = click.argument("paths", metavar="[CONFIG]…", nargs=-1, type=click.Path(path_type=Path))


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
@_OUTPUT
@click.argument("machine")
@_PATHS
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
        from bridge.runtime.declarations import plc_source

        offline = _offline(paths)
        text = plc_source(offline.plant, offline.faces, machine, dialect, commands)
    else:
        query = {"dialect": dialect, "command": list(commands)}
        text = _running(f"/api/v1/machines/{quote(machine, safe='')}/plc", query, state_dir, url, token)
    _tell(text, output)


@command.command("nodeset", epilog=_EXAMPLES)
@access_options
@_OUTPUT
@_PATHS
def nodeset(
    state_dir: Path | None, url: str | None, token: str | None, output: Path | None, paths: tuple[Path, ...]
) -> None:
    """Print the OPC UA address space as NodeSet2 XML, for engineering tools.

    Machines, tags with units and ranges, commands, types of machines and of the bridge's own events; no values that
    change. It needs the DI and Machinery nodesets of the OPC Foundation. Asks the running bridge, or reads CONFIG.
    """
    _tell(_document("nodeset", {}, paths, state_dir, url, token), output)


@command.command("tags", epilog=_EXAMPLES)
@access_options
@_OUTPUT
@_PATHS
def tags(
    state_dir: Path | None, url: str | None, token: str | None, output: Path | None, paths: tuple[Path, ...]
) -> None:
    """Print every tag as CSV, with its type, unit, range, and where each face has it.

    Asks the running bridge, or reads CONFIG and what was found in earlier runs.
    """
    _tell(_document("tags", {}, paths, state_dir, url, token), output)


@command.command("ignition", epilog=_EXAMPLES)
@access_options
@click.option("--connection", default="plantbridge", show_default=True, help="The connection's name in Ignition.")
@_OUTPUT
@_PATHS
def ignition(
    state_dir: Path | None,
    url: str | None,
    token: str | None,
    connection: str,
    output: Path | None,
    paths: tuple[Path, ...],
) -> None:
    """Print every tag as JSON that Ignition imports (Designer, Tag Browser, Import Tags).

    Asks the running bridge, or reads CONFIG and what was found in earlier runs.
    """
    _tell(_document("ignition", {"connection": connection}, paths, state_dir, url, token), output)


@command.command("flow", epilog=_EXAMPLES)
@access_options
@_OUTPUT
@_PATHS
def flow(
    state_dir: Path | None, url: str | None, token: str | None, output: Path | None, paths: tuple[Path, ...]
) -> None:
    """Print the data flow as a Mermaid chart: which source feeds which machine by which mapping, and where it is shown.

    GitHub, GitLab and many wikis draw it between ```mermaid and ```. Asks the running bridge, or reads CONFIG.
    """
    _tell(_document("flow", {}, paths, state_dir, url, token), output)


@command.command("asyncapi", epilog=_EXAMPLES)
@access_options
@_OUTPUT
@_PATHS
def asyncapi(
    state_dir: Path | None, url: str | None, token: str | None, output: Path | None, paths: tuple[Path, ...]
) -> None:
    """Print the topics of the Unified Namespace, with their payloads, as an AsyncAPI 3.0 document (JSON).

    Asks the running bridge, or reads CONFIG and what was found in earlier runs.
    """
    _tell(_document("asyncapi", {}, paths, state_dir, url, token), output)


@command.command("cli", epilog=_EXAMPLES)
@_OUTPUT
def cli(output: Path | None) -> None:
    """Print the reference of the command line as Markdown: every verb and what it takes."""
    from bridge.cli.reference import cli_page

    _tell(cli_page(), output)


@command.command("log", epilog=_EXAMPLES)
@_OUTPUT
def log(output: Path | None) -> None:
    """Print every sentence the bridge may log, with its id, as Markdown."""
    from bridge.runtime.log_reference import log_page

    _tell(log_page(), output)


def _document(
    kind: str,
    query: Mapping[str, str],
    paths: Sequence[Path],
    state_dir: Path | None,
    url: str | None,
    token: str | None,
) -> str:
    if not paths:
        return _running(f"/api/v1/docs/{kind}", query, state_dir, url, token)
    from bridge.runtime.documents import document

    offline = _offline(paths)
    return asyncio.run(document(kind, offline.plant, offline.faces, query.get("connection", "")))


def _running(
    path: str, query: Mapping[str, str | Sequence[str]], state_dir: Path | None, url: str | None, token: str | None
) -> str:
    if state_dir is None and token is None:
        raise click.UsageError("say which: --state-dir DIR of a running bridge, or CONFIG, the files of a site")
    return asyncio.run(AdminClient(Access.found(url, token, state_dir)).text(path, query))


def _offline(paths: Sequence[Path]) -> OfflinePlant:
    from bridge.config.site import load_site
    from bridge.runtime.offline import OfflinePlant

    site = load_site(paths)
    offline = OfflinePlant(site, with_inventory=True)
    if faults := plant_faults(site, offline):
        raise ConfigError(faults)
    return offline


def _tell(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror or error}") from None
    click.echo(f"{path}: {len(text.splitlines())} lines", err=True)
