"""What sources keep over a restart: a file of each in the state directory."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from bridge.runtime.state_directory import write_atomically

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

MAX_BYTES = 16 * 2**20
"""A document is small. One that is not is left out: what was kept before stays, and a restart reads more again."""


class SourceMemory:
    """One source's file (see `bridge.ports.Memory`). `settle` makes durable what was published before."""

    def __init__(self, path: Path, settle: Callable[[], Awaitable[None]]) -> None:
        self._path = path
        self._settle = settle
        self._failed = False
        self._order = asyncio.Lock()

    async def recall(self) -> Mapping[str, Any]:
        """What was kept last; a file that cannot be read is told of, and is as good as none."""
        try:
            data = await asyncio.to_thread(self._path.read_bytes)
            document = orjson.loads(data)
        except FileNotFoundError:
            return {}
        except (OSError, orjson.JSONDecodeError) as error:
            logger.error("%s cannot be read and is left aside: %s", self._path, error)
            return {}
        if isinstance(document, dict):
            return document
        logger.error("%s is not what was kept there and is left aside", self._path)
        return {}

    async def keep(self, document: Mapping[str, Any]) -> None:
        """Keep this instead of what was kept before; of several at once the one that was asked for last stays."""
        data = orjson.dumps(document)
        async with self._order:
            await self._settle()
            try:
                await asyncio.to_thread(self._write, data)
            except OSError as error:
                if not self._failed:
                    logger.error("%s cannot be written: %s; after a restart more will be read again", self._path, error)
                self._failed = True
            else:
                self._failed = False

    def _write(self, data: bytes) -> None:
        if len(data) > MAX_BYTES:
            raise OSError(errno.EFBIG, f"{len(data)} bytes are too much to keep, {MAX_BYTES} are allowed")
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self._path, data)
