"""`plantbridge discover`: what a source has, as lines for a configuration and a first mapping."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bridge.cli.admin import Access, AdminClient
from bridge.cli.examples import examples
from bridge.errors import did_you_mean

if TYPE_CHECKING:
    from bridge.config.site import Site
    from bridge.ports import Published


@click.command(
    "discover",
    epilog=examples(
        "plantbridge discover panel-1 bridge.yaml",
        "plantbridge discover panel-1 bridge.yaml --for 30 --write mappings",
        "plantbridge discover panel-1 bridge.yaml --json | jq '.[] | select(.mapping == null)'",
    ),
)
@click.argument("source")
@click.argument("paths", metavar="CONFIG…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), help="State directory, where run is given one too."
)
@click.option("--for", "seconds", type=click.FloatRange(1, 3600), default=10, show_default=True, help="Seconds.")
@click.option("--write", "folder", type=click.Path(path_type=Path, file_okay=False), help="Write skeletons there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def command(
    source: str, paths: tuple[Path, ...], state_dir: Path | None, seconds: float, folder: Path | None, as_json: bool
) -> None:
    """Listen to SOURCE for a while; print its machines, mapping skeletons, and fields that no mapping takes.

    What is printed goes into bridge.yaml (machines:) and into mapping files (--write). A bridge that runs is listened
    to, so that its account has one login; secrets and persons are then hidden in what is shown. Else the source is
    connected once, as the bridge would, and only read.

    Exit codes: 0 printed; 1 the source cannot be reached, or a file is there already; 2 the configuration has faults.
    """
    from bridge.config.site import load_site
    from bridge.config.site_changes import with_state_directory
    from bridge.runtime.discover import Discovery, report

    site = load_site(paths)
    if state_dir is not None:
        site = with_state_directory(site, state_dir)
    if source not in site.file.sources:
        hint = did_you_mean(source, site.file.sources)
        raise click.ClickException(f"there is no source {source!r}; there is {', '.join(site.file.sources)}; {hint}")
    discovery = Discovery(site, source)
    click.echo(f"Listening to {source} for {seconds:g} s", err=True)
    asyncio.run(_listen(site, source, seconds, discovery.take))
    if as_json:
        click.echo(json.dumps(discovery.told(), ensure_ascii=False))
        return
    skeletons: dict[str, str] = {}
    for line, files in report(discovery, source):
        click.echo(line)
        skeletons.update(files)
    for name, text in skeletons.items():
        _tell(name, text, folder)


async def _listen(site: Site, source: str, seconds: float, take: Callable[[Published], None]) -> None:
    from bridge.runtime.doctor.house import is_held
    from bridge.runtime.doctor.sources import listen

    if not is_held(site.state_directory):
        from bridge.transport.clock import SystemClock

        await listen(site, source, SystemClock(), seconds, take)
        return
    client = AdminClient(Access.found(None, None, site.state_directory))
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _recorded(client, source, take)


async def _recorded(client: AdminClient, source: str, take: Callable[[Published], None]) -> None:
    """What a running bridge hears of the source; its inventory comes first."""
    from bridge.sources.replay.record import Entry, read_line

    rest, is_header = b"", True
    async with aclosing(client.lines("/api/v1/record", {"source": [source]})) as pieces:
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in filter(None, lines):
                entry = None if is_header else read_line(line)
                is_header = False
                if isinstance(entry, Entry):
                    take(entry.item)


def _tell(name: str, text: str, folder: Path | None) -> None:
    if folder is None:
        click.echo(f"# --- mappings/{name}\n{text}", nl=False)
        return
    path = folder / name
    if path.exists():
        raise click.ClickException(f"{path} is there already; nothing was written over it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"{path}: {len(text.splitlines())} lines", err=True)
