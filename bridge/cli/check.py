"""`plantbridge check`: every fault, before anything runs."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bridge.cli.examples import examples
from bridge.errors import ConfigError, Fault, counted

if TYPE_CHECKING:
    from bridge.config.site import Site
    from bridge.runtime.offline import OfflinePlant


@click.command(
    "check",
    epilog=examples(
        "plantbridge check bridge.yaml",
        "plantbridge check site/ mappings/",
        "plantbridge check bridge.yaml && plantbridge run bridge.yaml",
    ),
)
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(paths: tuple[Path, ...]) -> None:
    """Find every fault in configurations and mappings, without a network.

    PATH is a file or a folder: a site's files together, or mappings, whose examples are run. Each fault is one line
    on standard error, file:line:column: key path: what is wrong; expected …; did you mean …, and the exit code is 2.
    Lines that begin with "warning:" or "note:" change no exit code.
    """
    from bridge.config.check import check_paths
    from bridge.runtime.offline import OfflinePlant

    checked = check_paths(paths)
    plants = [OfflinePlant(site) for site in checked.sites]
    collisions = (plant_faults(site, offline) for site, offline in zip(checked.sites, plants, strict=True))
    faults = [*checked.faults, *chain.from_iterable(collisions)]
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)
    if faults and checked.is_partial:
        click.echo(
            "note: more may be found when these are mended: names that refer to others are looked at last", err=True
        )
    if faults:
        raise ConfigError(faults)
    machines = sum(len(offline.plant.machines) for offline in plants)
    tags = sum(len(machine.tags) for offline in plants for machine in offline.plant.machines.values())
    run = checked.examples + sum(site.library.examples() for site in checked.sites)
    found = f"{counted(machines, 'machine')}, {counted(tags, 'tag')}, " if plants else ""
    click.echo(f"ok: {found}{counted(run, 'example')}")


def plant_faults(site: Site, offline: OfflinePlant) -> list[Fault]:
    """What some face cannot carry: it belongs to a site as a whole, not to a line."""
    return [Fault(str(site.paths[0]), 0, 0, "", problem) for problem in offline.faults()]
