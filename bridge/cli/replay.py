"""`plantbridge replay`: a bridge from a record."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bridge.cli.demo import client_url
from bridge.cli.examples import examples
from bridge.cli.watch import duration, shown
from bridge.errors import counted
from bridge.northbound.sparkplug.codec import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.config.replayed import Playing, Ports
    from bridge.config.site import Site
    from bridge.model.plant import Batch
    from bridge.runtime.bridge import Bridge

LOOK_S = 0.25


@click.command(
    "replay",
    epilog=examples(
        "plantbridge replay plantbridge-20260304-050607.jsonl.gz",
        "plantbridge replay cold-start.jsonl.gz bridge.yaml --speed 10    # under the customer's own configuration",
        "plantbridge replay cold-start.jsonl.gz --speed 0 --print > changes.jsonl",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("paths", metavar="[CONFIG]…", nargs=-1, type=click.Path(path_type=Path))
@click.option("--speed", type=float, default=1.0, show_default=True, help="Times as fast; 0: as fast as possible.")
@click.option("--loop", is_flag=True, help="Begin again at the end; else the values go stale there.")
@click.option("--print", "printed", is_flag=True, help="Print each change as a JSON line; end with the record.")
@click.option("--opcua-port", type=click.IntRange(0, 65535), default=4840, show_default=True, help="OPC UA server.")
@click.option("--mqtt-port", type=click.IntRange(1, 65535), default=1883, show_default=True, help="Embedded broker.")
@click.option("--status-port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Admin API.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="State, kept.  [default: one that is thrown away]")
def command(
    file: Path,
    paths: tuple[Path, ...],
    speed: float,
    loop: bool,
    printed: bool,
    opcua_port: int,
    mqtt_port: int,
    status_port: int,
    state_dir: Path | None,
) -> None:
    """Run a bridge from FILE, which `plantbridge record` has written.

    Every face is up, on this computer only, with an embedded MQTT broker. With CONFIG it is that site, each source
    replaced by its record; without, a site with the recorded machines. Nothing of a vendor is connected.
    """
    from bridge.config.replayed import Ports
    from bridge.runtime.collector import resting_collector
    from bridge.runtime.logging import set_up_logging

    set_up_logging("warning")
    ports = Ports(opcua_port, mqtt_port, status_port)
    with ExitStack() as stack:
        playing = _playing(file, speed, loop)
        state = state_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plantbridge-replay-")))
        site = _site(playing, paths, ports, state)
        stack.enter_context(resting_collector())
        show = Show(playing, printed)
        asyncio.run(show.run(site))
    if printed and not show.is_whole:
        raise click.exceptions.Exit(1)


def _playing(file: Path, speed: float, loop: bool) -> Playing:
    from pydantic import ValidationError

    from bridge.config.replayed import Playing
    from bridge.sources.replay.reader import Damaged, RecordReader

    try:
        with RecordReader(file) as reader:
            playing = Playing(file, reader.header(), speed, loop)
        playing.source("any")
    except Damaged as damage:
        raise click.ClickException(str(damage)) from None
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        raise click.UsageError(f"--speed: {error.errors()[0]['msg']}") from None
    return playing


def _site(playing: Playing, paths: Sequence[Path], ports: Ports, state: Path) -> Site:
    from bridge.config.replayed import generated_site, on_loopback, replayed
    from bridge.config.site import load_site

    state.mkdir(parents=True, exist_ok=True)
    site = replayed(load_site(paths), playing) if paths else generated_site(playing, state)
    return on_loopback(site, ports, state)


class Show:
    """A replay as a person sees it."""

    def __init__(self, playing: Playing, printed: bool) -> None:
        self._playing = playing
        self._printed = printed
        self._began = time.monotonic()
        self._told = False
        self.is_whole = False
        """Every source came to its end."""

    async def run(self, site: Site) -> None:
        """Until Ctrl-C; where changes are printed, until the record has ended."""
        from bridge.cli.run import serve

        await serve(site, None, self._started)
        if not self._told:
            click.echo("Stopped before the end of the record.", err=True)

    async def _started(self, bridge: Bridge) -> None:
        self._began = time.monotonic()
        click.echo(self._guide(bridge), err=self._printed)
        if self._printed:
            await self._print(bridge)
        else:
            await self._wait(bridge)
        self._told = True
        self.is_whole = all(_reading(bridge, name, "Ended") for name in bridge.site.file.sources)
        click.echo(self._summary(bridge), err=self._printed)
        if self._printed:
            bridge.stop()
        else:
            click.echo("Everything stays up, and what is not told any more goes stale. Ctrl-C stops it.")

    async def _wait(self, bridge: Bridge) -> None:
        console = Console(stderr=True)
        live = Live(get_renderable=lambda: Text(_progress(bridge)), console=console, transient=True)
        if console.is_terminal:
            live.start()
        try:
            while not _is_over(bridge):  # noqa: ASYNC110 - several sources, each over in its own way
                await asyncio.sleep(LOOK_S)
        finally:
            live.stop()

    async def _print(self, bridge: Bridge) -> None:
        with bridge.table.subscribe("replay-print") as feed:
            while True:
                try:
                    async with asyncio.timeout(LOOK_S):
                        _print_changes(await anext(feed))
                except TimeoutError:
                    if _is_over(bridge):
                        return

    def _guide(self, bridge: Bridge) -> str:
        header, file = self._playing.header, bridge.site.file
        state, opcua = bridge.state.path, file.northbound.opcua
        topics = f"{file.bridge.enterprise}/{file.bridge.site}/# and {NAMESPACE}/#"
        how = "as fast as possible" if not self._playing.speed else f"{self._playing.speed:g} times as fast as it was"
        sources = ", ".join(f"{name} ({kind})" for name, kind in header.sources.items())
        lines = [
            f"plantbridge replay: {self._playing.file}, {how}. Ctrl-C stops it.",
            "",
            f"  Recorded   {header.began:%Y-%m-%d %H:%M} UTC by plantbridge {shown(header.version)}",
            f"  Sources    {shown(sources) or 'none'}",
            f"  Machines   {', '.join(bridge.table.plant.machines) or 'none yet: they come with the record'}",
            f"  OPC UA     {client_url('opc.tcp', opcua.host, opcua.port)}   read only, without login, on loopback"
            if opcua.enabled
            else "  OPC UA     not enabled in this site",
            f"  MQTT       {client_url('mqtt', file.broker.host, file.broker.port)}   {topics}",
            f"  Admin API  {bridge.admin_url}   token in {state / 'admin.token'}",
            "",
            f"  plantbridge watch --state-dir {state}",
        ]
        return "\n".join(lines)

    def _summary(self, bridge: Bridge) -> str:
        lines = []
        for name in bridge.site.file.sources:
            items, position = _reading(bridge, name, "Items"), _reading(bridge, name, "Position")
            ended = _reading(bridge, name, "Ended")
            how = "to its end" if ended else f"not to its end: {bridge.runners[name].status.reason}"
            lines.append(f"  {name}: {items or 0} items, {duration(float(position or 0))} of the record, {how}")
        values = [
            bridge.table.read(tag).status for machine in bridge.table.plant.machines.values() for tag in machine.tags
        ]
        good, bad = sum(s.is_good for s in values), sum(s.is_bad for s in values)
        took = duration(time.monotonic() - self._began)
        return "\n".join(
            [
                f"The record was played in {took}:",
                *lines,
                f"  {counted(len(values), 'tag')}: {good} Good, {len(values) - good - bad} Uncertain, {bad} Bad",
            ]
        )


def _reading(bridge: Bridge, source: str, name: str) -> Any:
    tag = bridge.table.plant.bridge.tag(f"Sources/{source}/{name}")
    return None if tag is None else bridge.table.read(tag).value


def _is_over(bridge: Bridge) -> bool:
    """Every source has ended, or cannot go on."""
    return all(
        _reading(bridge, name, "Ended") or _reading(bridge, name, "StateText") == "Lost"
        for name in bridge.site.file.sources
    )


def _progress(bridge: Bridge) -> str:
    told = []
    for name in bridge.site.file.sources:
        done, items = _reading(bridge, name, "Progress"), _reading(bridge, name, "Items")
        told.append(f"{name}: {done or 0:.0f} %, {items or 0} items")
    return "; ".join(told)


def _print_changes(batch: Batch) -> None:
    from bridge.northbound.status.payload import instant

    tags = {tag.slot: tag for machine in batch.plant.machines.values() for tag in machine.tags}
    for slot, value in batch.values.items():
        tag = tags.get(slot)
        if tag is None:
            continue
        plain = instant(value.value) if isinstance(value.value, datetime) else value.value
        line = {"tag": tag.id, "value": plain, "status": value.status.name, "time": instant(value.source_timestamp)}
        if value.reason:
            line["reason"] = value.reason
        click.echo(json.dumps(line, ensure_ascii=False))
