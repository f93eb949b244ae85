"""The log of events: cursors, updates, bounds, restarts and crashes."""

import asyncio
import os
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.hub import log as module
from bridge.hub.log import EventLogStore
from bridge.model.event import Event
from bridge.model.value import to_milliseconds
from bridge.transport.clock import SystemClock, VirtualClock
from tests.one_of_everything import NOW


def event(identifier: str, message: str = "Something happened") -> Event:
    return Event(identifier, "SourceLost", NOW, message, 500, "panel", "extruder-1", {"duration": 1.5, "code": None})


def store(directory: Path, **bounds: object) -> EventLogStore:
    return EventLogStore(directory / "log.db", SystemClock(), **bounds)  # type: ignore[arg-type]


async def take(log: EventLogStore, reader: str, limit: int = 100) -> list[Event]:
    """Read once and acknowledge."""
    rows = await log.read(reader, limit)
    log.acknowledge(reader, rows[-1][0])
    return [found for _, found in rows]


async def take_until(log: EventLogStore, reader: str, last: Event) -> list[Event]:
    """Read and acknowledge until `last` has come."""
    found: list[Event] = []
    while last not in found:
        found += await take(log, reader, 3)
    return found


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (the condition is anybody's)
        await asyncio.sleep(0.001)


async def known(log: EventLogStore, reader: str) -> None:
    """Let a reader be seen for the first time."""
    reading = asyncio.create_task(log.read(reader))
    await until(lambda: reader in log._cursors)
    reading.cancel()
    await asyncio.wait({reading})


def open_files(directory: Path) -> list[str]:
    """What this process has open below a directory."""
    return [file.path for file in psutil.Process().open_files() if file.path.startswith(str(directory))]


async def test_event_comes_back_as_it_was(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        await known(log, "uns")
        log.append(event("a"))
        assert await take(log, "uns") == [event("a")]


async def test_read_waits_until_there_is_an_event(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        await known(log, "uns")
        waiting = asyncio.create_task(log.read("uns"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        log.append(event("a"))
        assert [found.id for _, found in await waiting] == ["a"]


async def test_new_reader_starts_at_the_present(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        await known(log, "old")
        log.append(event("a"))
        await take_until(log, "old", event("a"))
        await known(log, "new")
        log.append(event("b"))
        assert await take(log, "new") == [event("b")]


async def test_event_that_differs_only_by_its_reading_is_the_same(tmp_path: Path) -> None:
    def read(at: str, replayed: bool, label: str) -> Event:
        return replace(event("a"), data={"observed_at": at, "replayed": replayed, "label": label})

    async with store(tmp_path) as log:
        await known(log, "uns")
        log.append(read("12:00", False, "Tool change"))
        assert await take(log, "uns") == [read("12:00", False, "Tool change")]
        log.append(read("12:15", True, "Tool change"))
        log.append(event("b"))
        assert await take(log, "uns") == [event("b")]
        log.append(read("12:30", True, "Cleaning"))
        assert await take(log, "uns") == [read("12:30", True, "Cleaning")]


async def test_what_was_not_acknowledged_comes_again(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        await known(log, "uns")
        log.append(event("a"))
        assert await log.read("uns") == await log.read("uns")


async def test_known_reader_continues_after_a_restart(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        await known(log, "uns")
        log.append(event("a"))
        await take(log, "uns")
        log.append(event("b"))
    async with store(tmp_path) as log:
        log.append(event("c"))
        assert await take_until(log, "uns", event("c")) == [event("b"), event("c")]


async def test_cursor_never_goes_back(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        await known(log, "uns")
        log.append(event("a"))
        [(position, _)] = await log.read("uns")
        log.acknowledge("uns", position)
        log.acknowledge("uns", position - 1)
        log.append(event("b"))
        assert await take(log, "uns") == [event("b")]


async def test_same_event_again_is_nothing(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        await known(log, "uns")
        log.append(event("a"))
        await take(log, "uns")
        log.append(event("a"))
        log.append(event("b"))
        assert await take(log, "uns") == [event("b")]
        assert await log.newest(10) == [event("b"), event("a")]


async def test_completion_is_told_once_more_and_stays_one_row(tmp_path: Path) -> None:
    done = event("a", "It ended after 3 s")
    async with store(tmp_path) as log:
        await known(log, "uns")
        log.append(event("a"))
        assert await take(log, "uns") == [event("a")]
        log.append(done)
        assert await take(log, "uns") == [done]
        assert await log.newest(10) == [done]


async def test_completion_of_an_event_still_in_memory_replaces_it(tmp_path: Path) -> None:
    log = store(tmp_path)
    log.append(event("a"))
    log.append(event("b"))
    log.append(event("a", "done"))
    async with log:
        pass
    async with store(tmp_path) as log:
        assert await log.newest(10) == [event("a", "done"), event("b")]


async def test_oldest_go_when_there_are_too_many_and_the_slow_reader_is_told(tmp_path: Path) -> None:
    async with store(tmp_path, max_rows=10) as log:
        await known(log, "slow")
        for number in range(25):
            log.append(event(str(number)))
        await until(lambda: log.pruned_total == 15)
        assert [found.id for found in await log.newest(100)] == [str(n) for n in range(24, 14, -1)]
        assert log.missed == {"slow": 15}
        assert log.metrics()["log_missed_total"] == 15


async def test_positions_are_never_given_twice(tmp_path: Path) -> None:
    async with store(tmp_path, max_rows=1) as log:
        await known(log, "uns")
        log.append(event("a"))
        [(first, _)] = await log.read("uns")
        log.append(event("b"))
        await until(lambda: log.pruned_total == 1)
    with sqlite3.connect(tmp_path / "log.db") as database:
        database.execute("DELETE FROM event")
    database.close()
    async with store(tmp_path) as log:
        log.append(event("c"))
        [(third, found)] = await log.read("uns")
        assert found.id == "c"
        assert third > first + 1


async def test_old_events_go(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with EventLogStore(tmp_path / "log.db", clock, max_age=timedelta(days=1)) as log:
        log.append(event("old"))
        await until(lambda: not log.metrics()["log_pending"])
        await clock.advance(25 * 3600)
        log.append(event("new"))
        await until(lambda: log.pruned_total == 1)
        assert await log.newest(10) == [event("new")]


async def test_event_without_room_in_memory_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 2)
    log = store(tmp_path)
    for identifier in "abcda":
        log.append(event(identifier))
    assert log.dropped_total == 2
    assert len(caplog.records) == 1
    async with log:
        pass
    async with store(tmp_path) as log:
        assert [found.id for found in await log.newest(10)] == ["a", "b"]


async def test_disk_that_fails_is_tried_again_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    clock = VirtualClock()
    async with EventLogStore(tmp_path / "log.db", clock) as log:
        await known(log, "uns")
        real, full = log._file.write, True

        def write(*arguments: object) -> None:
            if full:
                raise sqlite3.OperationalError("database or disk is full")
            real(*arguments)  # type: ignore[arg-type]

        log._file.write = write  # type: ignore[method-assign, assignment]
        log.append(event("a"))
        await until(lambda: log.write_failures_total == 1)
        await clock.advance(1.0)
        await until(lambda: log.write_failures_total == 2)
        full = False
        await clock.advance(1.0)
        assert await take(log, "uns") == [event("a")]
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


async def test_events_that_cannot_be_written_at_the_end_are_counted(tmp_path: Path) -> None:
    def write(*arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    clock = VirtualClock()
    async with EventLogStore(tmp_path / "log.db", clock) as log:
        log._file.write = write  # type: ignore[method-assign, assignment]
        log.append(event("a"))
    assert log.dropped_total == 1


async def test_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "log.db").write_bytes(b"not a database" * 100)
    async with store(tmp_path) as log:
        await known(log, "uns")
        log.append(event("a"))
        assert await take(log, "uns") == [event("a")]
    assert (tmp_path / "log.db.damaged").exists()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_directory_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        async with store(tmp_path / "nowhere"):
            pass


async def test_long_event_is_shortened(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        log.append(replace(event("a", "x" * 100_000), data={"y": "z" * 100_000}))
        await until(lambda: not log.metrics()["log_pending"])
        [found] = await log.newest(1)
        assert found.message == "x" * 1000 + " …"
        assert found.data == {"shortened": True}


async def test_number_of_readers_is_bounded(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        for number in range(module.MAX_READERS):
            log.acknowledge(f"reader-{number}", 0)
        with pytest.raises(ValueError, match="64 readers"):
            await log.read("one too many")
        with pytest.raises(ValueError, match="64 readers"):
            log.acknowledge("one too many", 1)


async def test_reader_is_told_when_the_log_closes(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        await known(log, "uns")
        waiting = asyncio.create_task(log.read("uns"))
        await asyncio.sleep(0.01)
    with pytest.raises(RuntimeError, match="closed"):
        await waiting


async def test_no_file_stays_open(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        log.append(event("a"))
    assert os.listdir(tmp_path) == ["log.db"]  # the WAL was folded in and removed
    assert not open_files(tmp_path)


async def test_slow_disk_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        real, turns = log._file.write, 0

        def write(*arguments: object) -> None:
            signal_done.wait(5)
            real(*arguments)  # type: ignore[arg-type]

        signal_done = threading.Event()
        log._file.write = write  # type: ignore[method-assign, assignment]
        log.append(event("a"))
        for _ in range(50):
            await asyncio.sleep(0)
            turns += 1
        assert log.metrics()["log_pending"] == 1
        signal_done.set()
        await until(lambda: not log.metrics()["log_pending"])
    assert turns == 50


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 5)),
        st.tuples(st.just("read"), st.integers(0, 1)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
async def test_every_reader_gets_every_event_in_its_last_form_whatever_restarts(steps: list[Step]) -> None:
    """What comes out is, per reader and in order, what went in; only a form that was outdated unseen may be missing."""
    with tempfile.TemporaryDirectory() as directory:
        log = await store(Path(directory)).__aenter__()
        went_in: list[Event] = []
        came_out: dict[str, list[Event]] = {"one": [], "two": []}
        for reader in came_out:
            log.acknowledge(reader, 0)
        for number, (step, argument) in enumerate([*steps, ("append", 0)]):
            if step == "append":
                went_in.append(event(str(argument), f"form {number}"))
                log.append(went_in[-1])
            elif step == "restart":
                await log.__aexit__(None, None, None)
                log = await store(Path(directory)).__aenter__()
            elif went_in and went_in[-1] not in came_out[name := ["one", "two"][argument]]:
                came_out[name] += await take(log, name, 2)
        for name, seen in came_out.items():
            seen += await take_until(log, name, went_in[-1])
            in_order = iter(went_in)
            assert all(one in in_order for one in seen)
            assert {one.id: one for one in seen} == {one.id: one for one in went_in}
        await log.__aexit__(None, None, None)


CHILD = """
import asyncio, sys
from pathlib import Path
from tests.hub.test_log import event, store

async def main():
    async with store(Path(sys.argv[1])) as log:
        log.acknowledge("reader", 0)
        for number in range(1_000_000):
            log.append(event(str(number)))
            if number % 100 == 0:
                rows = await log.read("reader", 1000)
                log.acknowledge("reader", rows[-1][0])
                print(rows[-1][1].id, flush=True)

asyncio.run(main())
"""


async def test_kill_loses_nothing_a_reader_has_seen(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert child.stdout is not None
    seen = [int(await child.stdout.readline()) for _ in range(5)]
    child.send_signal(signal.SIGKILL)
    seen += [int(line) for line in (await child.stdout.read()).split()]
    await child.wait()
    async with store(tmp_path) as log:
        kept = {int(found.id) for found in await log.newest(1_000_000)}
        assert set(range(seen[-1] + 1)) <= kept
        assert kept == set(range(len(kept)))
        log.append(event("last"))
        after = await take_until(log, "reader", event("last"))
        assert int(after[0].id) <= seen[-1] + 1 if after[0].id != "last" else len(kept) == seen[-1] + 1


async def test_events_are_found_by_their_own_time_page_by_page(tmp_path: Path) -> None:
    async with store(tmp_path) as log:
        for number in (3, 1, 2, 0, 2):
            machine = "winder-2" if number == 1 else "extruder-1"
            log.append(replace(event(f"{number}-{log.appended_total}"), time=at(number), machine=machine))
        await log.flush()

        async def ids(**asked: object) -> list[list[str]]:
            found, after = [], None
            while True:
                page = await log.query(**asked, after=after)  # type: ignore[arg-type]
                found.append([one.event.id[0] for one in page.events])
                after = page.after
                if after is None:
                    return found

        assert await ids() == [["0", "1", "2", "2", "3"]]
        assert await ids(limit=2) == [["0", "1"], ["2", "2"], ["3"]]
        assert await ids(limit=2, newest_first=True) == [["3", "2"], ["2", "1"], ["0"]]
        assert await ids(start=at(1), end=at(2)) == [["1", "2", "2"]]
        assert await ids(machine="winder-2") == [["1"]]
        page = await log.query(limit=1)
        assert page.events[0].recorded >= NOW


def at(hours: int) -> datetime:
    return NOW + timedelta(hours=hours)


async def test_a_log_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "log.db")) as database:
        database.execute(
            "CREATE TABLE event (position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
            " recorded INTEGER NOT NULL, body TEXT NOT NULL)"
        )
        body = module._dump(replace(event("old"), time=at(1)))
        database.execute(
            "INSERT INTO event (id, recorded, body) VALUES ('old', ?, ?)", (to_milliseconds(SystemClock().now()), body)
        )
        database.commit()
    async with store(tmp_path) as log:
        log.append(replace(event("new"), time=at(2)))
        await log.flush()
        page = await log.query(start=at(1), machine="extruder-1")
        assert [one.event.id for one in page.events] == ["old", "new"]
    async with store(tmp_path) as log:
        assert len((await log.query()).events) == 2
