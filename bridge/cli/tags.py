"""`plantbridge tags`: every tag of a site, or every command, and where it appears."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.check import plant_faults
from bridge.cli.examples import examples
from bridge.cli.offered import argument_words, command_row
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.mapping.each import EachSpec
    from bridge.model.tag import Tag
    from bridge.runtime.offline import OfflinePlant

FACES = {"opcua": "node_id", "sparkplug": "sparkplug", "uns": "uns"}
"""Face to its key in the JSON."""

WIDTH = 1000
"""Columns: a row is one line however narrow the terminal, so that `less -S` and grep are at home."""


@click.command(
    "tags",
    epilog=examples(
        "plantbridge tags bridge.yaml",
        "plantbridge tags bridge.yaml --only '*/Temperature/*'",
        "plantbridge tags bridge.yaml --json | jq -r '.[].node_id'",
        "plantbridge tags bridge.yaml --commands --only 'mill-1.*'",
    ),
)
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--only", "globs", multiple=True, metavar="GLOB", help="Only tags whose id matches; repeat for more.")
@click.option("--commands", "is_of_commands", is_flag=True, help="The commands instead, with what each takes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, an object a line.")
def command(paths: tuple[Path, ...], globs: tuple[str, ...], is_of_commands: bool, as_json: bool) -> None:
    """Print every tag of a site and where it appears; with --commands every command, its arguments and addresses.

    Machines and tags that were found in earlier runs are there too. What may appear with the data is a row of its own,
    with <fields> in its names. Nothing is started and no network is used.
    """
    rows = list(_rows(paths, globs, is_of_commands))
    if not rows and is_of_commands:
        click.echo("no command matches; a machine has commands where its source says writes: true", err=True)
    elif not rows:
        click.echo("no tag matches; without --only every tag is listed", err=True)
    if as_json:
        click.echo("[" + ",\n ".join(json.dumps(row, ensure_ascii=False) for row in rows) + "]")
    elif is_of_commands:
        _print_commands(rows)
    else:
        _print(rows)


def _rows(paths: Sequence[Path], globs: Sequence[str], is_of_commands: bool) -> Iterator[dict[str, Any]]:
    from bridge.config.site import load_site
    from bridge.northbound.status.filter import TagFilter
    from bridge.runtime.offline import OfflinePlant

    try:
        wanted = TagFilter(*globs)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    site = load_site(paths)
    offline = OfflinePlant(site, with_inventory=True)
    if faults := plant_faults(site, offline):
        raise ConfigError(faults)
    for machine in offline.plant.everything():
        if is_of_commands:
            rows = (command_row(machine, one, offline) for one in machine.commands)
            yield from (row for row in rows if wanted.takes(row["command"]))
        else:
            yield from (_row(tag, offline) for tag in machine.tags if wanted(tag))
    if not is_of_commands:
        outlooks = ((each, each.outlook(machine_id)) for machine_id, each in offline.rules)
        yield from (_rule_row(each, tag, offline) for each, tag in outlooks if wanted(tag))


def _rule_row(each: EachSpec, tag: Tag, offline: OfflinePlant) -> dict[str, Any]:
    """Of a rule whose tags appear with the data: the same, with fields of the rows in it."""
    row = _row(tag, offline)
    return row if each.has_type else {**row, "type": None}


def _row(tag: Tag, offline: OfflinePlant) -> dict[str, Any]:
    definition = tag.definition
    addresses = offline.addresses(tag)
    return {
        "tag": tag.id,
        "type": definition.data_type.value,
        "unit": definition.unit.symbol if definition.unit else None,
        "range": list(definition.eu_range) if definition.eu_range else None,
        "access": "write" if definition.writable else "read",
        **{key: addresses.get(face) for face, key in FACES.items()},
    }


def _print(rows: Sequence[dict[str, Any]]) -> None:
    cells = []
    for row in rows:
        told = (" … ".join(f"{end:g}" for end in cell) if isinstance(cell, list) else cell for cell in row.values())
        cells.append([str(cell or "") for cell in told])
    _table(("Tag", "Type", "Unit", "Range", "Access", "OPC UA", "Sparkplug", "UNS"), cells)


def _print_commands(rows: Sequence[dict[str, Any]]) -> None:
    cells = []
    for row in rows:
        arguments = ", ".join(map(argument_words, row["arguments"]))
        cells.append([row["command"], arguments, *(row[key] or "" for key in FACES.values())])
    _table(("Command", "Arguments", "OPC UA", "Sparkplug", "UNS"), cells)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=WIDTH).print(table)
