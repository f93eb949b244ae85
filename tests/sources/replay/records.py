"""Records for tests: items in, a file out."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bridge.model.observation import Observation
from bridge.sources.replay.record import Header, Item, RecordedPart, end_line, header_line, item_line

BEGAN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def observed(at: float, payload: Any, *, source: str = "panel", machine: str = "1/7/1", **more: Any) -> Observation:
    """Received at `at`, dated by the vendor two seconds before."""
    received = BEGAN + timedelta(seconds=at)
    return Observation(source, machine, "state", payload, received, received - timedelta(seconds=2), **more)


def written(
    path: Path,
    items: Iterable[tuple[float, Item]],
    *,
    sources: Mapping[str, str] | None = None,
    machines: tuple[RecordedPart, ...] = (),
    ended: bool = True,
) -> Path:
    """A record of these items."""
    header = Header(BEGAN, "0.1.0", "abc", sources or {"panel": "qitech"}, machines)
    listed = list(items)
    lines = [header_line(header), *(item_line(at, item) for at, item in listed)]
    if ended:
        lines.append(end_line(listed[-1][0] if listed else 0.0, len(listed), 0, "the time is over"))
    path.write_bytes(gzip.compress(b"".join(lines)))
    return path
