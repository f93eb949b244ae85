"""`plantbridge watch`: the tags of a running bridge, live."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bridge.cli.admin import Access, AdminClient, Unreachable
from bridge.cli.examples import examples

REFRESH_S = 0.5
RETRY_S = 1.0

TagEntry = dict[str, Any]


@click.command(
    "watch",
    epilog=examples(
        "plantbridge watch --state-dir state",
        "plantbridge watch --state-dir state 'extruder-1.*' pressure",
        'plantbridge watch --url http://127.0.0.1:8080 --token "$TOKEN" --once --json',
    ),
)
@click.argument("globs", metavar="[GLOB]…", nargs=-1)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="PLANTBRIDGE_STATE_DIR",
    help="State directory of the bridge: its address and token are there.",
)
@click.option("--url", help="Address of the admin API.  [default: http://127.0.0.1:8080]")
@click.option("--token", envvar="PLANTBRIDGE_TOKEN", help="Admin token.  [env: PLANTBRIDGE_TOKEN]")
@click.option("--once", is_flag=True, help="Print the table once and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, each time a tag changes.")
def command(
    globs: tuple[str, ...], state_dir: Path | None, url: str | None, token: str | None, once: bool, as_json: bool
) -> None:
    """Show the tags of a running bridge, live.

    GLOB chooses tags by id, whatever the case: extruder-1.*, */Temperature/*, or a word that may stand anywhere.
    """
    client = AdminClient(Access.found(url, token, state_dir))
    asyncio.run(_once(client, globs, as_json) if once else _live(client, globs, as_json))


WIDE = 200


async def _once(client: AdminClient, globs: Sequence[str], as_json: bool) -> None:
    tags = await client.tags(globs)
    if as_json:
        for tag in tags:
            click.echo(_line(tag))
        return
    board = Board()
    board.apply("tags", {"tags": tags})
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)  # a pipe has no width: do not fold what a program reads
    console.print(board.table())


async def _live(client: AdminClient, globs: Sequence[str], as_json: bool) -> None:
    if as_json:
        await _lines(client, globs)
        return
    board = Board()
    console = Console()
    with Live(get_renderable=lambda: board.screen(console.height), console=console, auto_refresh=False) as live:
        async with asyncio.TaskGroup() as group:
            painter = group.create_task(_paint(live), name="watch painter")
            try:
                await _follow(client, globs, board)
            finally:
                painter.cancel()


async def _lines(client: AdminClient, globs: Sequence[str]) -> None:
    board = Board()
    async for name, data in client.stream(globs):
        for tag in board.apply(name, data):
            click.echo(_line(tag))
    raise Unreachable("the bridge has ended the stream")


async def _paint(live: Live) -> None:
    while True:
        live.refresh()
        await asyncio.sleep(REFRESH_S)


async def _follow(client: AdminClient, globs: Sequence[str], board: Board) -> None:
    """Follow the stream for ever; a bridge that never answered is an error, one that goes is waited for."""
    while True:
        board.begin()
        try:
            async for name, data in client.stream(globs):
                board.apply(name, data)
            board.note = "the bridge has stopped; waiting for it"
        except Unreachable as error:
            if not board.has_begun:
                raise
            board.note = f"{error.message}; trying again"
        await asyncio.sleep(RETRY_S)


def _line(tag: TagEntry) -> str:
    shown = {key: value for key, value in tag.items() if key not in {"id", "received"}}
    return json.dumps({"tag": tag["id"], **shown}, ensure_ascii=False)


class Board:
    """What is known of the plant from the stream."""

    def __init__(self) -> None:
        self.note = ""
        self.has_begun = False
        self._tags: dict[str, TagEntry] = {}
        self._is_old = False

    def begin(self) -> None:
        """A new stream begins: what it does not tell is gone."""
        self._is_old = True

    def apply(self, event: str, data: Any) -> list[TagEntry]:
        """Take an event of the stream; gives the tags it changed."""
        self.has_begun, self.note = True, ""
        if event == "plant":
            self._forget(set(data["gone"]))
            return []
        fresh = data["tags"] if event == "tags" else self._merged(data) if event == "values" else []
        received = time.monotonic()
        changed = [{**tag, "received": received} for tag in fresh]
        self._tags.update((tag["id"], tag) for tag in changed)
        return changed

    def screen(self, height: int) -> Table:
        """As much of the table as fits into a terminal of `height` lines."""
        return self.table(max(height - 6, 1))

    def table(self, limit: int | None = None) -> Table:
        """The tags by id; Uncertain in yellow, Bad in red."""
        table = Table(
            box=None, pad_edge=False, header_style="bold", caption=self._caption(limit), caption_justify="left"
        )
        table.add_column("Tag", overflow="fold")
        table.add_column("Value", justify="right", overflow="fold", max_width=40)
        table.add_column("Unit")
        table.add_column("Quality", overflow="fold")
        table.add_column("Age", justify="right")
        table.add_column("Reason", overflow="fold")
        for tag in sorted(self._tags.values(), key=lambda tag: str(tag["id"]))[:limit]:
            table.add_row(*_row(tag), style=_style(tag["status"]))
        return table

    def _merged(self, values: dict[str, TagEntry]) -> Iterator[TagEntry]:
        return ({**self._tags[identifier], **value} for identifier, value in values.items() if identifier in self._tags)

    def _forget(self, gone: set[str]) -> None:
        kept = {} if self._is_old else self._tags
        self._is_old = False
        self._tags = {name: tag for name, tag in kept.items() if tag["machine"] not in gone}

    def _caption(self, limit: int | None) -> Text:
        hidden = 0 if limit is None else max(len(self._tags) - limit, 0)
        words = [f"{len(self._tags)} tags"]
        words += [f"{hidden} more than fit here: name some, like 'extruder-1.*'"] if hidden else []
        words += [self.note] if self.note else []
        return Text("; ".join(words))


def _row(tag: TagEntry) -> Iterator[Text]:
    age = tag["age"] + time.monotonic() - tag["received"]
    for cell in (tag["id"], shown(tag["value"]), tag["unit"] or "", tag["status"], duration(age), tag["reason"]):
        yield Text(str(cell))


def _style(status: str) -> str:
    return "" if status.startswith("Good") else "yellow" if status.startswith("Uncertain") else "red"


def shown(value: Any) -> str:
    """A value for a person: six digits, true and false, – for none; control characters are shown, not obeyed."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return "".join(char if char.isprintable() else "�" for char in str(value))


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
