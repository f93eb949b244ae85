"""Reload: on SIGHUP, and when a file the site was made of changes."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bridge.runtime.bridge import Bridge

LOOK_EVERY_S = 1.0

Stamp = dict[str, tuple[int, int]]
"""Modification time (ns) and size by file name."""


class FileWatch:
    """Looks at times and sizes: works over network shares and mounted volumes, where notification does not."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Reload now."""
        self._asked.set()

    async def run(self) -> None:
        """Until cancelled."""
        seen = stamp(self._bridge.site.paths)
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._asked.wait()
            except TimeoutError:
                pass
            now = await asyncio.to_thread(stamp, self._bridge.site.paths)
            if self._asked.is_set() or now != seen:
                self._asked.clear()
                seen = now
                await self._bridge.reload()


def stamp(paths: tuple[Path, ...]) -> Stamp:
    """What can be seen of these files from outside; new files of their folders included."""
    stamps: Stamp = {}
    for folder in {path.parent for path in paths}:
        try:
            with os.scandir(folder) as entries:
                stamps.update(_stamps(entries))
        except OSError:
            continue  # it is gone for a moment, or for good: reading it again will say so
    return stamps


def _stamps(entries: Iterable[os.DirEntry[str]]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Of these entries alone: what lies below may be a whole disk."""
    for entry in entries:
        if entry.name.endswith((".yaml", ".yml")) and entry.is_file():
            status = entry.stat()
            yield entry.path, (status.st_mtime_ns, status.st_size)
