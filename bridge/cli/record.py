"""`plantbridge record`: what vendors say to a running bridge, in a file that may be shown."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import time
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bridge.cli.admin import Access, AdminClient, Unreachable, access_options
from bridge.cli.examples import examples
from bridge.cli.watch import duration
from bridge.sources.replay.record import MAX_LINE, end_line
from bridge.transport.duration import seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SYNC_S = 2.0
"""What was written before can be read, whatever happens to this computer."""
REFRESH_S = 0.5


def _seconds(_: click.Context, option: click.Parameter, written: str | None) -> float | None:
    if written is None:
        return None
    try:
        seconds = float(written) if written.isdigit() else seconds_of(written)
    except ValueError as error:
        raise click.BadParameter(str(error), param=option) from None
    if not 0 < seconds <= 7 * 86_400:
        raise click.BadParameter("from a moment to seven days", param=option)
    return seconds


@click.command(
    "record",
    epilog=examples(
        "plantbridge record --state-dir state --for 10min",
        "plantbridge record --state-dir state --machine extruder-1 --output cold-start.jsonl.gz",
        "plantbridge replay cold-start.jsonl.gz --speed 10",
    ),
)
@access_options
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="A new file.  [default: named by now]")
@click.option("--for", "seconds", metavar="DURATION", callback=_seconds, help="End by itself, such as 30s, 10min, 8h.")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source; repeat for more.")
@click.option("--machine", "machines", multiple=True, metavar="ID", help="Only this machine; repeat for more.")
@click.option(
    "--max-size", type=click.IntRange(1, 10_000), default=100, show_default=True, metavar="MB", help="End at this size."
)
@click.option("--keep-hosts", is_flag=True, help="Leave addresses and host names in it.")
@click.option("--anonymous", is_flag=True, help="Hide serial numbers and names of machines too.")
def command(
    state_dir: Path | None,
    url: str | None,
    token: str | None,
    output: Path | None,
    seconds: float | None,
    sources: tuple[str, ...],
    machines: tuple[str, ...],
    max_size: int,
    keep_hosts: bool,
    anonymous: bool,
) -> None:
    """Record what the sources of a running bridge say, until Ctrl-C, for `plantbridge replay`.

    The file is made to be attached to a bug report: secrets, e-mail addresses, persons, addresses and host names are
    taken out before they leave the bridge. Serial numbers and names of machines stay, unless --anonymous.
    """
    client = AdminClient(Access.found(url, token, state_dir))
    query = {
        "source": list(sources),
        "machine": list(machines),
        "keep_hosts": str(keep_hosts).lower(),
        "anonymous": str(anonymous).lower(),
    }
    path = output or Path(f"plantbridge-{datetime.now(UTC):%Y%m%d-%H%M%S}.jsonl.gz")
    asyncio.run(_record(client, query, path, seconds, max_size * 10**6))


async def _record(
    client: AdminClient, query: Mapping[str, str | Sequence[str]], path: Path, seconds: float | None, limit: int
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    recording = Recording(path, limit)
    try:
        with recording, _Screen(recording):
            await _follow(client, query, recording, stop, seconds)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    click.echo(f"{recording.told()}; {recording.why}")
    click.echo(f"Look into it before you send it: zcat {path} | less")


async def _follow(
    client: AdminClient,
    query: Mapping[str, str | Sequence[str]],
    recording: Recording,
    stop: asyncio.Event,
    seconds: float | None,
) -> None:
    """Until it is over; why is in `recording.why`. The time is counted from the first line, as it is told."""
    stopping = asyncio.create_task(stop.wait(), name="stop")
    taking = asyncio.create_task(_take(client, query, recording), name="recording")
    beginning = asyncio.create_task(recording.begun.wait(), name="begin")
    try:
        await asyncio.wait({stopping, taking, beginning}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({stopping, taking}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if taking.done():
            recording.why = taking.result()
        else:
            recording.why = "ended as asked" if stop.is_set() else "the time is over"
    finally:
        for task in (stopping, taking, beginning):
            task.cancel()
        await asyncio.wait({stopping, taking, beginning})


async def _take(client: AdminClient, query: Mapping[str, str | Sequence[str]], recording: Recording) -> str:
    try:
        async with aclosing(client.lines("/api/v1/record", query)) as pieces:
            async for piece in pieces:
                recording.take(piece)
                if recording.is_full:
                    return f"{recording.limit // 10**6} MB are reached (--max-size)"
    except Unreachable as error:
        if not recording.begun.is_set():
            raise
        return f"the connection was lost: {error.message}"
    return "the bridge has ended it"


class Recording:
    """The file. Made with the first line that comes, for its owner only; never one that is there already."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.items = 0
        self.dropped = 0
        self.why = ""
        self.begun = asyncio.Event()
        """Something has come."""
        self._rest = b""
        self._began = time.monotonic()
        self._synced = 0.0
        self._last_size = 0
        self._took: float | None = None
        self._file: IO[bytes] | None = None
        self._gzip: gzip.GzipFile | None = None

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *error: object) -> None:
        if self._gzip is None or self._file is None:
            return
        with suppress(OSError):  # a full disk was told of where it was met
            self._gzip.write(end_line(max(self.seconds, 0.0), self.items, self.dropped, self.why or "it failed"))
        with suppress(OSError):
            self._gzip.close()
        self._took = self.seconds
        with suppress(OSError):
            self._last_size = self._file.tell()
            self._file.close()

    @property
    def size(self) -> int:
        """Of the file, as far as they are written."""
        return self._file.tell() if self._file is not None and not self._file.closed else self._last_size

    @property
    def seconds(self) -> float:
        """Since the first line."""
        return self._took if self._took is not None else time.monotonic() - self._began

    @property
    def is_full(self) -> bool:
        """The file has the size that was allowed."""
        return self.size >= self.limit

    def take(self, piece: bytes) -> None:
        """Take in what came: whole lines are written, the rest waits. Raises click.ClickException."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > 2 * MAX_LINE:
            raise click.ClickException("what answers there is not a bridge: a line without an end")
        for line in filter(None, lines):
            self._write(line)

    def _write(self, line: bytes) -> None:
        try:
            if self._gzip is None:
                self._open()
            else:
                self._count(line)
            assert self._gzip is not None  # noqa: S101 - opened above
            self._gzip.write(line + b"\n")
            if time.monotonic() - self._synced >= SYNC_S:
                self._gzip.flush()
                self._synced = time.monotonic()
        except FileExistsError:
            raise click.ClickException(f"{self.path} exists already; choose another --output") from None
        except OSError as error:
            raise click.ClickException(f"{self.path} cannot be written: {error.strerror or error}") from None

    def _open(self) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._gzip = gzip.GzipFile(filename="", fileobj=self._file, mode="wb", compresslevel=6, mtime=0)
        self._began = time.monotonic()
        self.begun.set()

    def _count(self, line: bytes) -> None:
        if line.startswith(b'{"gap"'):
            self.dropped += _dropped(line)
        else:
            self.items += 1

    def told(self) -> str:
        """For a person."""
        size = f"{self.size / 1e6:.1f} MB" if self.size >= 10**5 else f"{self.size / 1e3:.1f} kB"
        lost = f", {self.dropped} dropped because this computer was too slow" if self.dropped else ""
        return f"{self.path}: {self.items} items, {size}, {duration(self.seconds)}{lost}"


def _dropped(line: bytes) -> int:
    from bridge.sources.replay.record import Gap, read_line

    try:
        gap = read_line(line)
    except ValueError:
        return 0
    return gap.dropped if isinstance(gap, Gap) else 0


class _Screen:
    """Progress, on a terminal only."""

    def __init__(self, recording: Recording) -> None:
        console = Console(stderr=True)
        self._live = Live(
            get_renderable=lambda: Text(f"{recording.told()}; Ctrl-C ends it"),
            console=console,
            refresh_per_second=1 / REFRESH_S,
            transient=True,
        )
        self._is_shown = console.is_terminal

    def __enter__(self) -> None:
        if self._is_shown:
            self._live.start()

    def __exit__(self, *error: object) -> None:
        if self._is_shown:
            self._live.stop()
