"""The disk by itself: what it takes to make a page durable."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

PAGE = bytes(4096)
"""SQLite's page: a commit appends a few of them to the WAL."""


def fsyncs(path: Path) -> Iterator[float]:
    """Append a page and fsync, again and again; the seconds each took. Close it to close the file."""
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        while True:
            began = time.perf_counter()
            os.write(file, PAGE)
            os.fsync(file)
            yield time.perf_counter() - began
    finally:
        os.close(file)
