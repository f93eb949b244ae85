"""RecordReader: a record's file, line by line. Blocks: it reads a local file in portions of about a millisecond."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING

from bridge.sources.replay.record import MAX_LINE, End, Header, Line, read_header, read_line

if TYPE_CHECKING:
    from pathlib import Path

PORTION = 32
"""Lines, and 64 kB, at a time."""
_PORTION_BYTES = 2**16
_GZIP = b"\x1f\x8b"


class Damaged(Exception):
    """The file cannot be read from this line on; lines count from 1, the header's is the first."""

    def __init__(self, path: Path, line: int, why: str) -> None:
        super().__init__(f"{path}, line {line}: {why}")
        self.line = line


class RecordReader:
    """An open record, compressed or not. `open` raises OSError, and Damaged for the header."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes]
        self._damage: Damaged | None = None
        self.line = 0
        """Lines read."""
        self.end: End | None = None

    def __enter__(self) -> RecordReader:
        raw = self._path.open("rb")
        is_compressed = raw.read(2) == _GZIP
        raw.seek(0)
        self._file = gzip.GzipFile(fileobj=raw) if is_compressed else raw  # type: ignore[assignment]
        self._raw = raw
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._raw.close()

    def header(self) -> Header:
        """The first line; to be asked for first, and once. Raises Damaged."""
        line = self.text()
        try:
            return read_header(line)
        except ValueError as error:
            raise self._damaged(str(error)) from None

    def portion(self) -> list[tuple[int, Line]]:
        """The next lines with their numbers; none after the end. Raises Damaged, once all before it was given."""
        lines: list[tuple[int, Line]] = []
        if self._damage is not None:
            raise self._damage
        size = 0
        while self.end is None and len(lines) < PORTION and size < _PORTION_BYTES:
            try:
                text = self.text()
                line = self._read(text)
            except Damaged as damage:
                if not lines:
                    raise
                self._damage = damage
                break
            size += len(text)
            lines.append((self.line, line))
        return lines

    def _read(self, text: bytes) -> Line:
        try:
            line = read_line(text)
        except ValueError as error:
            raise self._damaged(str(error)) from None
        if isinstance(line, End):
            self.end = line
        return line

    def text(self) -> bytes:
        """The next line as it is. Raises Damaged."""
        self.line += 1
        try:
            text = self._file.readline(MAX_LINE + 1)
        except EOFError:
            raise self._damaged("the file was cut off here") from None
        except (OSError, zlib.error) as error:
            raise self._damaged(f"the compressed file is damaged here: {error}") from None
        if not text.endswith(b"\n"):
            why = f"longer than {MAX_LINE} bytes" if len(text) > MAX_LINE else "the file was cut off here"
            raise self._damaged(why)
        return text

    def _damaged(self, why: str) -> Damaged:
        return Damaged(self._path, self.line, why)


def seconds_of(path: Path) -> float:
    """How long the record is, as far as it can be read. Reads all of it: for a thread."""
    last = b""
    try:
        with RecordReader(path) as reader:
            while True:
                last = reader.text()
    except (OSError, Damaged):
        pass
    try:
        return read_line(last).at
    except ValueError:
        return 0.0


__all__ = ["PORTION", "Damaged", "RecordReader", "seconds_of"]
