"""bdSeq: the number that ties a death to its birth, kept on disk for each edge node.

It grows by one with each MQTT CONNECT that was accepted, or whose fate is unknown, 255 to 0, also over restarts
(tck-id-topics-nbirth-bdseq-increment). A connection that was never made must not use a number up:
https://github.com/eclipse-sparkplug/sparkplug/issues/421.

A number is claimed on the disk before its CONNECT and given back where none was sent. So a bridge that is killed at any
moment never says a number twice: the will of its last session may still be on its way.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from typing import TYPE_CHECKING

from bridge.model.path import slugged

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.northbound.sparkplug.topic import EdgeNode

logger = logging.getLogger(__name__)


class BdSeq:
    """The next bdSeq of one edge node. What is kept in memory counts; the file is for the next start.

    Shape of the file: {"edge_node": "<group>/<edge node>", "next": 0..255}
    """

    def __init__(self, directory: Path, node: EdgeNode) -> None:
        name = f"{slugged(str(node))[:80]}-{hashlib.sha256(str(node).encode()).hexdigest()[:12]}.json"
        self._file = directory / name
        self._node = str(node)
        self._next: int | None = None

    def claim(self) -> int:
        """The number for the next CONNECT, written through to the disk as used; the first ever is 0. Blocks."""
        number = self._peek()
        self._keep((number + 1) % 256)
        return number

    def give_back(self) -> None:
        """The number claimed last went into no CONNECT. Blocks."""
        self._keep((self._peek() - 1) % 256)

    def _peek(self) -> int:
        if self._next is None:
            self._next = self._read()
        return self._next

    def _keep(self, number: int) -> None:
        self._next = number
        try:
            self._write(number)
        except OSError as error:
            logger.error("Cannot keep bdSeq of %s: %s; after a restart hosts may miss a death", self._node, error)

    def _read(self) -> int:
        try:
            kept = json.loads(self._file.read_bytes())["next"]
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("bdSeq of %s cannot be read, it begins at 0: %s", self._node, error)
            return 0
        return kept % 256 if isinstance(kept, int) else 0

    def _write(self, number: int) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as stream:
            json.dump({"edge_node": self._node, "next": number}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self._file)
        if hasattr(os, "O_DIRECTORY"):  # a directory cannot be opened on Windows, nor need it be
            directory = os.open(self._file.parent, os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
