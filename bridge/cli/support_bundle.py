"""`plantbridge support-bundle`: what whoever helps needs to know, without secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bridge.cli.admin import Access, AdminClient, Unreachable
from bridge.cli.examples import examples
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.config.site import Site
    from bridge.runtime.bundle import Running


@click.command(
    "support-bundle",
    epilog=examples(
        "plantbridge support-bundle help.zip bridge.yaml",
        "plantbridge support-bundle help.zip bridge.yaml --state-dir /var/lib/plantbridge",
        "plantbridge support-bundle help.zip bridge.yaml --keep-hosts && unzip -l help.zip",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("paths", metavar="CONFIG…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), help="State directory, where run is given one too."
)
@click.option("--keep-hosts", is_flag=True, help="Keep addresses and host names.")
def command(file: Path, paths: tuple[Path, ...], state_dir: Path | None, keep_hosts: bool) -> None:
    """Write FILE, a zip that may be shown to whoever helps: what is configured, what runs, what went wrong.

    In it: versions; the configuration in force and its faults; of a running bridge health, metrics, the newest events,
    commands and lines of its log, and every tag that is not Good with its reason. Hidden are secrets, persons, e-mail
    addresses, and, without --keep-hosts, addresses and host names. Look into it before you send it: no rule knows a
    customer's name in a free text. How to record what a vendor says: plantbridge record.

    Exit codes: 0 written, also where the configuration is faulty or no bridge runs; 1 it could not be written.
    """
    from bridge.runtime.bundle import bundle
    from bridge.transport.clock import SystemClock

    site, faults = _site(paths, state_dir)
    state = state_dir or (site.state_directory if site is not None else None)
    running = _running(state)
    parts = bundle(file, site, faults, running, state, SystemClock().now(), keep_hosts=keep_hosts)
    click.echo(f"{file}: {', '.join(parts)}", err=True)
    if running is None:
        click.echo("No bridge runs on this state directory: its health and its log are not in it.", err=True)


def _site(paths: tuple[Path, ...], state_dir: Path | None) -> tuple[Site | None, list[str]]:
    from bridge.config.site import load_site
    from bridge.config.site_changes import with_state_directory

    try:
        site = load_site(paths)
    except ConfigError as error:
        return None, [str(fault) for fault in error.faults]
    return with_state_directory(site, state_dir) if state_dir else site, []


def _running(state: Path | None) -> Running | None:
    from bridge.runtime.doctor.house import is_held

    if state is None or not is_held(state):
        return None
    access = Access.found(None, None, state)
    try:
        return asyncio.run(_asked(AdminClient(access), access.token))
    except Unreachable:
        return None


async def _asked(client: AdminClient, token: str) -> Running:
    from bridge.runtime.bundle import COMMANDS, EVENTS, Running

    return Running(
        health=await client.get("/api/v1/health", {}),
        events=await client.get("/api/v1/events", {"limit": str(EVENTS)}),
        commands=await client.get("/api/v1/commands", {"limit": str(COMMANDS), "machine": "", "dead": "false"}),
        tags=await client.tags(()),
        log=await client.get("/api/v1/log", {}),
        metrics=await client.text("/metrics", {}),
        token=token,
    )
