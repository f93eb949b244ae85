from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path

import pytest

from bridge.hub.log import EventLogStore
from bridge.model.event import Event
from bridge.runtime.memory import MAX_BYTES, SourceMemory
from bridge.transport.clock import SystemClock


async def nothing() -> None:
    pass


async def test_what_was_kept_is_recalled(tmp_path: Path) -> None:
    memory = SourceMemory(tmp_path / "sources" / "tmm.json", nothing)
    assert await memory.recall() == {}
    await memory.keep({"watermark": "2026-01-01T00:00:00Z"})
    assert await SourceMemory(tmp_path / "sources" / "tmm.json", nothing).recall() == {
        "watermark": "2026-01-01T00:00:00Z"
    }


@pytest.mark.parametrize("damage", [b"{", b"[1]", b"\xff\xfe"])
async def test_a_damaged_file_is_told_of_and_as_good_as_none(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tmm.json").write_bytes(damage)
    memory = SourceMemory(tmp_path / "tmm.json", nothing)
    assert await memory.recall() == {}
    assert "tmm.json" in caplog.text
    await memory.keep({"a": 1})
    assert await memory.recall() == {"a": 1}


async def test_a_disk_that_does_not_take_it_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sources").write_text("not a folder")
    memory = SourceMemory(tmp_path / "sources" / "tmm.json", nothing)
    with caplog.at_level(logging.ERROR):
        await memory.keep({"a": 1})
        await memory.keep({"a": 2})
    assert caplog.text.count("cannot be written") == 1


async def test_what_is_too_long_is_told_of_once_and_what_was_kept_before_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = SourceMemory(tmp_path / "tmm.json", nothing)
    await memory.keep({"a": 1})
    for _ in range(2):
        await memory.keep({"a": "x" * MAX_BYTES})
    assert caplog.text.count("too much to keep") == 1
    assert await memory.recall() == {"a": 1}
    await memory.keep({"a": 2})
    assert await memory.recall() == {"a": 2}


async def test_events_told_before_are_on_the_disk_before_it_is_kept(tmp_path: Path) -> None:
    clock = SystemClock()
    path = tmp_path / "log.db"
    async with EventLogStore(path, clock) as log:
        memory = SourceMemory(tmp_path / "tmm.json", log.flush)
        for number in range(500):
            log.append(Event(f"evt_{number}", "opened", clock.now(), "a step began"))
        await memory.keep({"told": 500})
        assert log.metrics()["log_pending"] == 0
        assert len(await log.newest(1000)) == 500


async def test_nobody_waits_for_ever_for_a_disk(tmp_path: Path) -> None:
    log = EventLogStore(tmp_path / "log.db", SystemClock())
    log.append(Event("evt_1", "opened", SystemClock().now(), "a step began"))
    async with asyncio.timeout(30):
        await log.flush()  # not open: nothing would ever be written


async def test_of_two_documents_kept_at_once_the_newer_stays(tmp_path: Path) -> None:
    first = asyncio.Event()
    calls = itertools.count()

    async def settle() -> None:
        if next(calls) == 0:
            await first.wait()

    memory = SourceMemory(tmp_path / "memory" / "m.json", settle)
    older, newer = (asyncio.create_task(memory.keep({"n": n})) for n in (1, 2))
    await asyncio.wait([older, newer], timeout=0.1)
    first.set()
    await asyncio.gather(older, newer)
    assert await memory.recall() == {"n": 2}
