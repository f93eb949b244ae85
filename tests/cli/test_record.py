"""How long `plantbridge record` records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bridge.cli.record import Recording, _follow


class Slow:
    """A bridge that takes its time to begin, and says a line every moment then."""

    async def lines(self, path: str, query: Any) -> AsyncIterator[bytes]:
        await asyncio.sleep(0.1)
        while True:
            yield b"{}\n"
            await asyncio.sleep(0)


async def test_the_time_is_counted_from_the_first_line(tmp_path: Path) -> None:
    with Recording(tmp_path / "a.jsonl.gz", 10**9) as recording:
        await _follow(Slow(), {}, recording, asyncio.Event(), 0.01)  # type: ignore[arg-type]
    assert recording.why == "the time is over"
    assert recording.items > 0
