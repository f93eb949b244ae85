"""The journal: nothing it said is lost, nothing is kept for ever, no secret is written, nobody waits unasked."""

import asyncio
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.commands import entry as entry_module
from bridge.commands import journal as module
from bridge.commands import journal_file, known
from bridge.commands.entry import pack, unpack
from bridge.commands.journal import Entry, Journal, State, without_secrets
from bridge.errors import NotRecorded
from bridge.model.command import Command, Door, ItemOutcome, Outcome, Result, Role
from bridge.model.status import StatusCode
from bridge.model.value import Value
from bridge.transport.clock import SystemClock, VirtualClock

LANE = ("panel", "m1")
CONFIRMED = Outcome(Result.CONFIRMED, StatusCode.Good, "The machine reads back what was asked", 30.0, 200, "null")
UNKNOWN = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "Nobody knows")
REJECTED = Outcome(Result.REJECTED, StatusCode.BadOutOfRange, "100 is too much")
ACTION: dict[str, Any] = {
    "source": "panel",
    "machine": "m1",
    "payload": {"SetTargetRpm": 30.0},
    "confirm": [[["state.screw_state.target_rpm", 30.0]], []],
    "absolute": True,
}
STEPS = (State.ACCEPTED, State.SENDING, State.ANSWERED, State.FINISHED)


def command(identifier: str, door: Door = Door.UNS, **arguments: Value) -> Command:
    now = SystemClock().now()
    target = "extruder-1.Setpoints.ScrewSpeed"
    return Command(identifier, target, arguments or {"value": 30.0}, door, "mes", now, now + timedelta(seconds=30))


def journal(directory: Path, **bounds: Any) -> Journal:
    return Journal(directory / "journal.db", SystemClock(), **bounds)


async def begin(where: Journal, identifier: str, machine: str = "extruder-1") -> None:
    await where.begin(command(identifier), machine, LANE, 25.0, ACTION)


async def advance(where: Journal, identifier: str, state: State) -> None:
    """One step of a command's life."""
    if state is State.ACCEPTED:
        await begin(where, identifier)
    elif state in (State.FINISHED, State.DEAD):
        outcome = UNKNOWN if state is State.DEAD else CONFIRMED
        await where.finish(identifier, outcome, dead=state is State.DEAD)
    else:
        await where.mark(identifier, state)


async def live(where: Journal, identifier: str) -> None:
    """A command's whole life."""
    for state in STEPS:
        await advance(where, identifier, state)


async def stored(where: Journal, identifier: str) -> Entry:
    found = await where.get(identifier)
    assert found is not None
    return found


async def ids(where: Journal, **which: Any) -> list[str]:
    return [found.command.id for found in await where.newest(1000, **which)]


def fail_writes(where: Journal, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Writes fail while the list is not empty."""
    broken = [True]
    really = where._file._put

    def put(*arguments: Any) -> None:
        if broken:
            raise sqlite3.OperationalError("disk I/O error")
        really(*arguments)

    monkeypatch.setattr(where._file, "_put", put)
    return broken


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (the condition is anybody's)
        await asyncio.sleep(0.001)


# -- a command's life -----------------------------------------------------------------------------------------------


async def test_life_of_a_command_is_kept_with_its_steps_and_times(tmp_path: Path) -> None:
    asked = command("uns:1")
    async with journal(tmp_path) as log:
        before = SystemClock().now()
        await log.begin(asked, "extruder-1", LANE, 25.0, ACTION)
        await log.mark("uns:1", State.SENDING)
        await log.mark("uns:1", State.ANSWERED, "HTTP 200")
        await log.finish("uns:1", CONFIRMED)
        after = SystemClock().now()
    async with journal(tmp_path) as log:
        found = await stored(log, "uns:1")
    assert (found.command, found.machine, found.lane, found.old) == (asked, "extruder-1", LANE, 25.0)
    assert (found.state, found.action, found.outcome) == (State.FINISHED, ACTION, CONFIRMED)
    assert [(state, detail) for state, _, detail in found.history] == [
        (State.ACCEPTED, ""),
        (State.SENDING, ""),
        (State.ANSWERED, "HTTP 200"),
        (State.FINISHED, "confirmed"),
    ]
    times = [at for _, at, _ in found.history]
    assert times == sorted(times)
    assert before <= times[0]
    assert times[-1] <= after


@pytest.mark.parametrize("state", STEPS[:3])
async def test_command_left_under_way_is_found_unfinished_after_a_restart(tmp_path: Path, state: State) -> None:
    async with journal(tmp_path) as log:
        for step in STEPS[: STEPS.index(state) + 1]:
            await advance(log, "uns:1", step)
    async with journal(tmp_path) as log:
        [left] = await log.unfinished()
        assert (left.command.id, left.state, left.action) == ("uns:1", state, ACTION)
        assert log.known("uns:1") == left
        await log.finish("uns:1", CONFIRMED)
        assert await log.unfinished() == []


async def test_unfinished_are_told_in_the_order_they_began(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        for number in (2, 1, 3):
            await begin(log, f"uns:{number}")
        await log.mark("uns:2", State.SENDING)
        assert [left.command.id for left in await log.unfinished()] == ["uns:2", "uns:1", "uns:3"]


async def test_dead_letter_waits_until_a_person_discards_it(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        await log.finish("uns:1", UNKNOWN, dead=True)
    async with journal(tmp_path) as log:
        [letter] = await log.dead()
        assert (letter.state, letter.outcome) == (State.DEAD, UNKNOWN)
        assert await log.unfinished() == []
        assert await ids(log, state=State.DEAD) == ["uns:1"]
        await log.discard("uns:1", "anna", "looked at it")
        assert await log.dead() == []
    async with journal(tmp_path) as log:
        found = await stored(log, "uns:1")
        assert (found.state, found.outcome) == (State.FINISHED, UNKNOWN)
        assert found.history[-1][2] == "discarded by anna: looked at it"


async def test_dead_letter_can_be_taken_up_again(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        await log.finish("uns:1", UNKNOWN, dead=True)
        await log.mark("uns:1", State.SENDING, "taken up by anna")
        assert await log.dead() == []
        await log.finish("uns:1", CONFIRMED)
        assert (await stored(log, "uns:1")).outcome == CONFIRMED


async def test_only_dead_letters_can_be_discarded(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        with pytest.raises(KeyError):
            await log.discard("uns:1", "anna", "")
        with pytest.raises(KeyError):
            await log.discard("nobody", "anna", "")


async def test_finished_command_takes_no_further_step(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await live(log, "uns:1")
        with pytest.raises(KeyError):
            await log.mark("uns:1", State.SENDING)
        with pytest.raises(KeyError):
            await log.finish("uns:1", UNKNOWN)
        assert (await stored(log, "uns:1")).outcome == CONFIRMED


@pytest.mark.parametrize("state", [State.FINISHED, State.DEAD])
async def test_mark_does_not_end_a_command(tmp_path: Path, state: State) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        with pytest.raises(ValueError, match="finish"):
            await log.mark("uns:1", state)


async def test_command_that_is_retried_again_and_again_keeps_its_first_and_newest_steps(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        for number in range(entry_module.MAX_HISTORY + 10):
            await log.mark("uns:1", State.SENDING, str(number))
        history = (await stored(log, "uns:1")).history
        assert len(history) == entry_module.MAX_HISTORY
        assert history[0][0] is State.ACCEPTED
        assert history[-1][2] == str(entry_module.MAX_HISTORY + 9)


async def test_newest_are_told_newest_first_by_machine_and_state(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "a", "one")
        await begin(log, "b", "two")
        await begin(log, "c", "one")
        await log.finish("a", CONFIRMED)
        await log.record(command("d"), "two", REJECTED)
        assert await ids(log) == ["d", "c", "b", "a"]
        assert await ids(log, machine="one") == ["c", "a"]
        assert await ids(log, state=State.FINISHED) == ["d", "a"]
        assert await ids(log, state=State.ACCEPTED) == ["c", "b"]
        assert await ids(log, state=State.ACCEPTED, machine="two") == ["b"]
        assert [found.command.id for found in await log.newest(2)] == ["d", "c"]
        assert await log.newest(0) == []


# -- once only ------------------------------------------------------------------------------------------------------


async def test_id_begins_once(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        both = await asyncio.gather(begin(log, "uns:1"), begin(log, "uns:1"), return_exceptions=True)
        assert [type(result) for result in both] == [type(None), ValueError]
        await log.finish("uns:1", CONFIRMED)
        with pytest.raises(ValueError, match="uns:1"):
            await begin(log, "uns:1")
    async with journal(tmp_path) as log:
        with pytest.raises(ValueError, match="uns:1"):
            await begin(log, "uns:1")


async def test_command_is_known_while_the_disk_still_writes_its_beginning(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        beginning = asyncio.create_task(begin(log, "uns:1"))
        await asyncio.sleep(0)
        entry = log.known("uns:1")
        assert not beginning.done()
        assert entry is not None
        assert entry.state is State.ACCEPTED
        await beginning


async def test_finished_command_is_known_for_its_time_and_can_then_come_again(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with Journal(tmp_path / "journal.db", clock, idempotency=timedelta(hours=24)) as log:
        await live(log, "uns:1")
        await clock.advance(24 * 3600)
        entry = log.known("uns:1")
        assert entry is not None
        assert entry.outcome == CONFIRMED
        await clock.advance(1)
        assert log.known("uns:1") is None
        await begin(log, "uns:1")
        assert (await stored(log, "uns:1")).state is State.ACCEPTED
        assert await ids(log) == ["uns:1", "uns:1"]


async def test_window_goes_on_over_a_restart(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with Journal(tmp_path / "journal.db", clock) as log:
        await live(log, "old")
        await clock.advance(20 * 3600)
        await live(log, "new")
    await clock.advance(5 * 3600)
    async with Journal(tmp_path / "journal.db", clock) as log:
        assert log.known("old") is None
        entry = log.known("new")
        assert entry is not None
        assert (entry.outcome, entry.command.arguments) == (CONFIRMED, {"value": 30.0})


async def test_unfinished_and_dead_are_known_however_old(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with Journal(tmp_path / "journal.db", clock) as log:
        await begin(log, "under way")
        await begin(log, "dead")
        await log.finish("dead", UNKNOWN, dead=True)
        await clock.advance(48 * 3600)
        assert log.known("under way") is not None
        assert log.known("dead") is not None


async def test_what_is_known_is_bounded_by_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MAX_KNOWN", 3)
    monkeypatch.setattr(journal_file, "MAX_KNOWN", 3)
    async with journal(tmp_path) as log:
        await live(log, "uns:1")
        for number in range(5):
            await log.begin(command(f"ua:{number}", Door.OPCUA_WRITE), "extruder-1", LANE, None, None)
            await log.finish(f"ua:{number}", CONFIRMED)
        remembered = {name for name in ("uns:1", *(f"ua:{n}" for n in range(5))) if log.known(name)}
        assert remembered == {"uns:1", "ua:2", "ua:3", "ua:4"}
        assert log.metrics()["journal_forgotten_total"] == 2
    async with journal(tmp_path) as log:
        assert {name for name in ("uns:1", *(f"ua:{n}" for n in range(5))) if log.known(name)} == remembered


# -- rejected commands ----------------------------------------------------------------------------------------------


async def test_rejected_command_is_kept_and_known(tmp_path: Path) -> None:
    asked = replace(command("uns:1"), role=Role.OBSERVER, retained=True)
    async with journal(tmp_path) as log:
        await log.record(asked, "extruder-1", REJECTED)
        for entry in (log.known("uns:1"), await log.get("uns:1")):
            assert entry is not None
            assert (entry.command, entry.state, entry.outcome) == (asked, State.FINISHED, REJECTED)
            assert entry.is_rejected
    async with journal(tmp_path) as log:
        assert await ids(log) == ["uns:1"]
        assert log.known("uns:1") is not None


async def test_rejected_repetition_does_not_hide_the_command_it_repeats(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        await log.record(command("uns:1", value=31.0), "extruder-1", REJECTED)
        assert [left.command.id for left in await log.unfinished()] == ["uns:1"]
        await log.finish("uns:1", CONFIRMED)
        await log.record(command("uns:1", value=32.0), "extruder-1", REJECTED)
    async with journal(tmp_path) as log:
        for entry in (log.known("uns:1"), await log.get("uns:1")):
            assert entry is not None
            assert entry.outcome == CONFIRMED
        assert len(await log.newest(10)) == 3


async def test_rejected_command_may_begin_later(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await log.record(command("uns:1"), "extruder-1", REJECTED)
        await begin(log, "uns:1")
        entry = log.known("uns:1")
        assert entry is not None
        assert entry.state is State.ACCEPTED


async def test_only_rejections_are_written_without_an_fsync(tmp_path: Path) -> None:
    async def synchronous(log: Journal) -> int:
        level: int = await log._in_thread(lambda: log._file._database.execute("PRAGMA synchronous").fetchone()[0])
        return level

    async with journal(tmp_path) as log:
        full, normal = 2, 1
        await begin(log, "a")
        assert await synchronous(log) == full
        await log.record(command("b"), "extruder-1", REJECTED)
        assert await synchronous(log) == normal
        await asyncio.gather(log.record(command("c"), "extruder-1", REJECTED), log.mark("a", State.SENDING))
        assert await synchronous(log) == full


async def test_flood_of_rejections_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REJECTIONS_WAITING", 10)
    async with journal(tmp_path) as log:
        await asyncio.gather(*(log.record(command(str(n)), "extruder-1", REJECTED) for n in range(25)))
        assert len(await log.newest(100)) == 10
        assert log.metrics()["journal_dropped_total"] == 15


@pytest.mark.parametrize(
    "value", ["x" * 100_000, "\ud800", "\0", b"bytes", 10**5000], ids=["long", "surrogate", "nul", "bytes", "huge"]
)
async def test_rejected_command_is_recorded_whatever_is_in_it(tmp_path: Path, value: Any) -> None:
    odd = value if isinstance(value, str) else "uns:1"
    async with journal(tmp_path) as log:
        await log.record(command(odd, value=value), odd, replace(REJECTED, sentence=odd, vendor_text=odd, actual=odd))
        [entry] = await log.newest(10)
        assert entry.outcome is not None
        assert len(entry.outcome.sentence) <= module.MAX_TEXT + 2
        assert log.metrics()["journal_dropped_total"] == 0
        await begin(log, "the writer lives")


# -- values ---------------------------------------------------------------------------------------------------------

VALUES: list[Value] = [
    None,
    True,
    False,
    0,
    1,
    -(2**63),
    2**63 - 1,
    2**64,
    0.0,
    1.0,
    -0.0,
    0.1,
    1e300,
    5e-324,
    float("inf"),
    float("-inf"),
    "",
    "Düse ✓",
    "\ud800",
    "a\0b",
    '{"$datetime": "2026"}',
    datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
    datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    datetime(1601, 1, 1, tzinfo=UTC),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_value_comes_back_with_its_type(tmp_path: Path, value: Value) -> None:
    action = {"payload": [value, {"deep": {"$datetime": value, "$object": [{}]}}], "confirm": [[["state.x", value]]]}
    async with journal(tmp_path) as log:
        await log.begin(command("uns:1", value=value), "extruder-1", LANE, value, action)
        await log.finish("uns:1", replace(CONFIRMED, actual=value))
    async with journal(tmp_path) as log:
        entry = await stored(log, "uns:1")
        assert entry.outcome is not None
        for found in (entry.command.arguments["value"], entry.old, entry.outcome.actual):
            assert (type(found), repr(found)) == (type(value), repr(value))
        assert repr(entry.action) == repr(action)


moments = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(fold=0))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | moments,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["$float", "$object"]), inner),
    max_leaves=10,
)


@given(json_values)
def test_what_is_packed_comes_back(value: Any) -> None:
    text = entry_module._dump(pack(value))
    assert repr(unpack(entry_module.json.loads(text))) == repr(value)


@pytest.mark.parametrize("action", [{"payload": object()}, {"payload": {1: "one"}}])
async def test_action_that_is_not_json_is_the_callers_fault(tmp_path: Path, action: dict[str, Any]) -> None:
    async with journal(tmp_path) as log:
        with pytest.raises(TypeError):
            await log.begin(command("uns:1"), "extruder-1", LANE, None, action)
        assert log.known("uns:1") is None


# -- secrets --------------------------------------------------------------------------------------------------------


def names_in(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


def everything_in(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


async def test_secrets_are_never_written(tmp_path: Path) -> None:
    asked = command("uns:1", User="anna", NewPassword="hunter2", UserPin=4711)
    action = {"payload": {"login": {"user": "anna", "words": ["hunter2", 4711], "api_key": "sesame"}}, "confirm": []}
    told = replace(CONFIRMED, sentence="hunter2 is a bad one", vendor_text="no: 'hunter2'", actual="hunter2")
    async with journal(tmp_path) as log:
        await log.begin(asked, "extruder-1", LANE, "hunter2", action)
        await log.mark("uns:1", State.ANSWERED, "it said hunter2")
        await log.finish("uns:1", told)
        await log.record(replace(asked, id="uns:2"), "extruder-1", told)
        found = await stored(log, "uns:1")
        for entry in (found, log.known("uns:1"), await stored(log, "uns:2")):
            assert entry is not None
            assert entry.command.arguments == {"User": "anna", "NewPassword": "***", "UserPin": "***"}
            assert entry.command == replace(without_secrets(asked), id=entry.command.id)
            assert "hunter2" not in repr(entry)
        assert found.action == {
            "payload": {"login": {"user": "anna", "words": ["***", "***"], "api_key": "***"}},
            "confirm": [],
        }
        assert found.is_masked
        for secret in (b"hunter2", b"4711", b"sesame"):
            assert secret not in everything_in(tmp_path)


async def test_items_of_a_recipe_are_kept_without_secrets(tmp_path: Path) -> None:
    asked = command("uns:1", Speed=30, NewPassword="hunter2")
    first = ItemOutcome("extruder-1.Setpoints.Speed", 30.0, Result.CHANGED, "It took 25, anna@acme.example", 25.0)
    word = ItemOutcome("extruder-1.Setpoints.Word", "hunter2", Result.REFUSED, "hunter2 is a bad one", "hunter2")
    pin = ItemOutcome("extruder-1.Setpoints.UserPin", 4711, Result.UNREACHED, "Not sent")
    async with journal(tmp_path) as log:
        await log.begin(asked, "extruder-1", LANE, None, {"items": []})
        await log.mark("uns:1", State.SENDING, "2 of 3 Setpoints/Word", (first,))
        await log.finish("uns:1", replace(CONFIRMED, items=(first, word, pin)))
    async with journal(tmp_path) as log:
        found = await stored(log, "uns:1")
        kept = (
            replace(first, sentence="It took 25, (e-mail)"),
            replace(word, value="***", sentence="*** is a bad one", actual="***"),
            replace(pin, value="***", sentence=""),
        )
        assert found.items == kept
        assert found.outcome is not None and found.outcome.items == kept
        for secret in (b"hunter2", b"4711", b"anna@"):
            assert secret not in everything_in(tmp_path)


async def test_set_point_that_is_a_secret_is_masked(tmp_path: Path) -> None:
    asked = replace(command("uns:1", value="hunter2"), target="extruder-1.Network.WifiPassword")
    async with journal(tmp_path) as log:
        await log.begin(asked, "extruder-1", LANE, "sesame", {"payload": {"set": "hunter2"}})
        await log.finish("uns:1", replace(CONFIRMED, actual="mellon"))
        for secret in (b"hunter2", b"sesame", b"mellon"):
            assert secret not in everything_in(tmp_path)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True),
        ("userPassword2", True),
        ("PASSWD", True),
        ("Passwort", True),
        ("api_key", True),
        ("ApiKey", True),
        ("AccessToken", True),
        ("clientSecret", True),
        ("PIN", True),
        ("userPin", True),
        ("PinDistance", False),
        ("Spin", False),
        ("KeyValue", False),
        ("value", False),
        ("TargetSpeed", False),
        ("Pass", False),
    ],
)
async def test_secret_is_known_by_its_name(name: str, secret: bool) -> None:
    masked = without_secrets(command("uns:1", **{name: "hunter2"})).arguments[name]
    assert (masked == "***") is secret


async def test_secret_of_any_kind_is_masked(tmp_path: Path) -> None:
    odd = {"pin": 10**5000, "PinPwd": True, "token": float("nan"), "secret": b"bytes", "password": None}
    async with journal(tmp_path) as log:
        await log.record(command("uns:1", **odd), "extruder-1", REJECTED)  # type: ignore[arg-type]
        assert set((await stored(log, "uns:1")).command.arguments.values()) == {"***"}


# -- bounds ---------------------------------------------------------------------------------------------------------


async def test_oldest_finished_go_by_number_and_open_ones_stay(tmp_path: Path) -> None:
    async with journal(tmp_path, max_rows=8) as log:
        await begin(log, "under way")
        await begin(log, "dead")
        await log.finish("dead", UNKNOWN, dead=True)
        for number in range(20):
            await live(log, f"c{number}")
            assert len(await ids(log, state=State.FINISHED)) <= 6
        assert await ids(log) == ["c19", "c18", "c17", "c16", "c15", "c14", "dead", "under way"]
        assert log.metrics()["journal_pruned_total"] == 14


async def test_rejections_drive_out_rejections_only(tmp_path: Path) -> None:
    async with journal(tmp_path, max_rows=8) as log:
        await live(log, "effect")
        for number in range(50):
            await log.record(command(f"r{number}"), "extruder-1", REJECTED)
        assert await ids(log) == ["r49", "r48", "effect"]


async def test_finished_go_by_age_counted_from_their_end(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with Journal(tmp_path / "journal.db", clock, max_age=timedelta(days=90)) as log:
        await live(log, "old")
        await begin(log, "under way")
        await begin(log, "long")
        await clock.advance(89 * 86_400)
        await log.finish("long", CONFIRMED)
        await clock.advance(2 * 86_400)
        await live(log, "new")
        assert await ids(log) == ["new", "long", "under way"]


async def test_oldest_go_when_the_file_is_too_big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "MAX_BYTES", 200_000)
    async with journal(tmp_path, max_rows=99) as log:
        for number in range(60):
            await log.begin(command(f"c{number}"), "extruder-1", LANE, "x" * 10_000, None)
            await log.finish(f"c{number}", CONFIRMED)
        left = await ids(log)
        assert left[0] == "c59"
        assert 3 < len(left) < 25
    assert (tmp_path / "journal.db").stat().st_size < 400_000


async def test_position_is_never_given_twice(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with Journal(tmp_path / "journal.db", clock, max_age=timedelta(days=1)) as log:
        await live(log, "a")
        first = (await stored(log, "a")).position
        await clock.advance(2 * 86_400)
        await log.record(command("b"), "extruder-1", REJECTED)
        await clock.advance(2 * 86_400)
    async with Journal(tmp_path / "journal.db", clock, max_age=timedelta(days=1)) as log:
        await begin(log, "c")
        assert await log.get("a") is None
        assert (await stored(log, "c")).position > first


async def test_nothing_begins_when_too_much_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 3)
    async with journal(tmp_path) as log:
        results = await asyncio.gather(*(begin(log, str(n)) for n in range(4)), return_exceptions=True)
        assert results[:3] == [None, None, None]
        assert isinstance(results[3], NotRecorded)
        assert "discard" in str(results[3])
        await log.finish("0", UNKNOWN, dead=True)
        with pytest.raises(NotRecorded):
            await begin(log, "4")
        await log.discard("0", "anna", "")
        await begin(log, "4")


async def test_command_that_is_too_long_does_not_begin(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        with pytest.raises(NotRecorded, match="too long"):
            await log.begin(command("uns:1", value="x" * module.MAX_REQUEST), "extruder-1", LANE, None, None)
        assert log.known("uns:1") is None


async def test_long_words_of_others_are_cut(tmp_path: Path) -> None:
    long = "x" * 100_000
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        await log.mark("uns:1", State.ANSWERED, long)
        await log.finish("uns:1", replace(CONFIRMED, sentence=long, vendor_text=long, actual=long))
        assert len(repr(await stored(log, "uns:1"))) < 6_000


# -- files that are not as they should be ---------------------------------------------------------------------------


def spoil(file: Path, damage: str) -> bytes:
    content = file.read_bytes()
    damaged = {
        "garbage": b"this is no database" * 500,
        "truncated": content[: len(content) // 2],
        "overwritten": content[:4096] + b"\xa5" * (len(content) - 4096),
    }[damage]
    file.write_bytes(damaged)
    return damaged


@pytest.mark.parametrize("damage", ["garbage", "truncated", "overwritten"])
async def test_damaged_file_is_set_aside(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "journal.db"
    async with journal(tmp_path) as log:
        for number in range(100):
            await log.record(command(str(number)), "extruder-1", REJECTED)
    damaged = spoil(file, damage)
    async with journal(tmp_path) as log:
        assert await log.newest(10) == []
        await live(log, "uns:1")
        assert log.metrics()["journal_set_aside_total"] == 1
    assert damaged[4096:] in everything_in(tmp_path)
    assert "set aside" in caplog.text


@pytest.mark.parametrize("change", ["PRAGMA user_version = 99", "UPDATE command SET progress = '{}'"])
async def test_file_with_what_we_cannot_read_is_set_aside(tmp_path: Path, change: str) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
    database = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    database.execute(change)
    database.close()
    async with journal(tmp_path) as log:
        assert await log.unfinished() == []
    assert (tmp_path / "journal.db.damaged").exists()


async def test_file_that_cannot_be_opened_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(sqlite3.OperationalError):
        await journal(tmp_path).__aenter__()
    assert (tmp_path / "journal.db").is_dir()


# -- a disk that fails or is slow -----------------------------------------------------------------------------------


async def test_failing_disk_refuses_and_forgets_what_did_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with journal(tmp_path) as log:
        broken = fail_writes(log, monkeypatch)
        for _ in range(2):
            with pytest.raises(NotRecorded, match="disk I/O error"):
                await begin(log, "uns:1")
            assert log.known("uns:1") is None
        await log.record(command("uns:2"), "extruder-1", REJECTED)
        broken.clear()
        await begin(log, "uns:1")
        assert await ids(log) == ["uns:1"]
        assert log.metrics()["journal_write_failures_total"] == 3
        assert log.metrics()["journal_dropped_total"] == 1
    assert caplog.text.count("cannot be written") == 1


async def test_step_the_disk_did_not_take_did_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        broken = fail_writes(log, monkeypatch)
        with pytest.raises(NotRecorded):
            await log.mark("uns:1", State.SENDING)
        assert [left.state for left in await log.unfinished()] == [State.ACCEPTED]
        broken.clear()


async def test_outcome_the_disk_did_not_take_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    caplog.set_level("INFO")
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        broken = fail_writes(log, monkeypatch)
        with pytest.raises(NotRecorded):
            await log.finish("uns:1", CONFIRMED)
        await until(lambda: log.metrics()["journal_write_failures_total"] >= 3)
        broken.clear()
        await until(lambda: log.metrics()["journal_unfinished"] == 0)
        assert (await stored(log, "uns:1")).outcome == CONFIRMED
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


async def test_journal_can_be_left_while_the_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        fail_writes(log, monkeypatch)
        with pytest.raises(NotRecorded):
            await log.finish("uns:1", CONFIRMED)
    async with journal(tmp_path) as log:
        assert [left.state for left in await log.unfinished()] == [State.ACCEPTED]


async def test_full_disk_refuses_and_keeps_what_there_is(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
        await log._in_thread(log._file._database.execute, "PRAGMA max_page_count = 1")
        with pytest.raises(NotRecorded, match="full"):
            for number in range(100):
                await log.begin(command(str(number), value="x" * 10_000), "extruder-1", LANE, None, None)
        assert (await stored(log, "uns:1")).state is State.ACCEPTED
        await log._in_thread(log._file._database.execute, "PRAGMA max_page_count = 100000")
        await begin(log, "uns:2")


async def test_loop_goes_on_while_the_disk_is_slow_and_what_comes_meanwhile_shares_one_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journal(tmp_path) as log:
        really = log._file.write

        def write(*arguments: Any) -> None:
            time.sleep(0.05)
            really(*arguments)

        monkeypatch.setattr(log._file, "write", write)
        beginning = asyncio.gather(*(begin(log, str(n)) for n in range(100)))
        turns = 0
        while not beginning.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert turns > 10
        assert log.metrics()["journal_commits_total"] <= 2
        assert len(await log.unfinished()) == 100


async def test_steps_of_one_command_that_wait_together_are_written_in_order(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await asyncio.gather(*(advance(log, "uns:1", state) for state in STEPS))
        assert log.metrics()["journal_commits_total"] == 1
    async with journal(tmp_path) as log:
        assert [state for state, _, _ in (await stored(log, "uns:1")).history] == list(STEPS)


async def test_caller_that_vanishes_cancels_nothing(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        beginning = asyncio.create_task(begin(log, "uns:1"))
        await asyncio.sleep(0)
        beginning.cancel()
        await log.mark("uns:1", State.SENDING)
        assert [left.command.id for left in await log.unfinished()] == ["uns:1"]


# -- life of the journal --------------------------------------------------------------------------------------------


async def test_nothing_is_done_before_it_is_opened_or_after_it_is_closed(tmp_path: Path) -> None:
    log = journal(tmp_path / "missing")
    with pytest.raises(RuntimeError):
        await begin(log, "uns:1")
    async with journal(tmp_path) as log:
        await begin(log, "uns:1")
    with pytest.raises(RuntimeError):
        await log.mark("uns:1", State.SENDING)
    with pytest.raises(RuntimeError):
        await begin(log, "uns:2")
    await log.record(command("uns:3"), "extruder-1", REJECTED)
    assert log.metrics()["journal_dropped_total"] == 1
    assert log.known("uns:2") is None


async def test_leaving_writes_what_waits(tmp_path: Path) -> None:
    log = await journal(tmp_path).__aenter__()
    beginning = [asyncio.create_task(begin(log, str(n))) for n in range(10)]
    await asyncio.sleep(0)
    await log.__aexit__(None, None, None)
    await asyncio.gather(*beginning)
    async with journal(tmp_path) as log:
        assert len(await log.unfinished()) == 10


async def test_no_thread_no_task_and_no_file_is_left(tmp_path: Path) -> None:
    threads, tasks = threading.active_count(), asyncio.all_tasks()
    async with journal(tmp_path) as log:
        await live(log, "uns:1")
    assert threading.active_count() == threads
    assert asyncio.all_tasks() == tasks
    assert [file for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))] == []
    assert names_in(tmp_path) == ["journal.db"]


async def test_metrics_count_what_happened(tmp_path: Path) -> None:
    async with journal(tmp_path) as log:
        await live(log, "a")
        await begin(log, "b")
        await begin(log, "c")
        await log.finish("c", UNKNOWN, dead=True)
        await log.record(command("d"), "extruder-1", REJECTED)
        metrics = log.metrics()
    expected = {"begun_total": 3, "finished_total": 1, "rejected_total": 1, "unfinished": 1, "dead": 1, "known": 2}
    assert {name: metrics[f"journal_{name}"] for name in expected} == expected


# -- any schedule ---------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
MOVES = st.sampled_from(["begin", "sending", "answered", "finish", "dead", "discard", "record", "restart"])


class Model:
    """What the journal must say, without a disk."""

    def __init__(self) -> None:
        self.states: dict[str, list[State]] = {}

    def expects(self, move: str, name: str) -> type[Exception] | None:
        """Do a move, or say how it is refused."""
        states = self.states.get(name)
        now = states[-1] if states else None
        if move == "begin":
            if now is not None:
                return ValueError
            self.states[name] = [State.ACCEPTED]
        elif move == "discard":
            if states is None or now is not State.DEAD:
                return KeyError
            states.append(State.FINISHED)
        elif move in ENDS:
            if states is None or now is State.FINISHED:
                return KeyError
            states.append(ENDS[move])
        return None


ENDS = {"sending": State.SENDING, "answered": State.ANSWERED, "finish": State.FINISHED, "dead": State.DEAD}


async def do(log: Journal, move: str, name: str) -> None:
    if move == "begin":
        await begin(log, name)
    elif move == "discard":
        await log.discard(name, "anna", "")
    elif move == "record":
        await log.record(command(name), "extruder-1", REJECTED)
    else:
        await advance(log, name, ENDS[move])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(MOVES, NAMES), min_size=1, max_size=5), max_size=12))
async def test_journal_says_what_was_done_in_any_schedule(rounds: list[list[tuple[str, str]]]) -> None:
    """Rounds of moves made at once, restarts between them: disk and memory say what a model says."""
    with tempfile.TemporaryDirectory() as directory:
        model = Model()
        log = await journal(Path(directory)).__aenter__()
        for moves in rounds:
            if any(move == "restart" for move, _ in moves):
                await log.__aexit__(None, None, None)
                log = await journal(Path(directory)).__aenter__()
            moves = [(move, name) for move, name in moves if move != "restart"]
            expected = [model.expects(move, name) for move, name in moves]
            results = await asyncio.gather(*(do(log, move, name) for move, name in moves), return_exceptions=True)
            assert [None if result is None else type(result) for result in results] == expected
            await agree(log, model)
        await log.__aexit__(None, None, None)
        async with journal(Path(directory)) as log:
            await agree(log, model)


async def agree(log: Journal, model: Model) -> None:
    for name, states in model.states.items():
        for found in (log.known(name), await log.get(name)):
            assert found is not None
            assert [state for state, _, _ in found.history] == states
            assert (found.outcome is not None) == bool({State.FINISHED, State.DEAD} & set(states))
    open_states = {name: states[-1] for name, states in model.states.items() if states[-1] is not State.FINISHED}
    assert {found.command.id: found.state for found in [*await log.unfinished(), *await log.dead()]} == open_states


# -- kill -9 --------------------------------------------------------------------------------------------------------

CHILD = """
import asyncio, sys
from pathlib import Path
from bridge.commands.journal import State
from tests.commands.test_journal import advance, journal

async def life(log, name, states):
    for state in states:
        await advance(log, name, state)
        print(name, state.value, flush=True)

async def worker(log, number, states):
    for count in range(1_000_000):
        await life(log, f"{number}-{count}", states)

async def main():
    states = [State(value) for value in sys.argv[3].split(",")]
    async with journal(Path(sys.argv[1])) as log:
        await asyncio.gather(*(worker(log, number, states) for number in range(int(sys.argv[2]))))

asyncio.run(main())
"""


async def killed(directory: Path, workers: int, states: list[State], after: int) -> dict[str, State]:
    """Let a child journal commands, kill it after so many steps; what it said was durable, by command."""
    words = [str(directory), str(workers), ",".join(state.value for state in states)]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, *words, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert child.stdout is not None
    said = [await child.stdout.readline() for _ in range(after)]
    child.send_signal(signal.SIGKILL)
    said += (await child.stdout.read()).splitlines(keepends=True)
    await child.wait()
    lines = [line.decode().split() for line in said if line.endswith(b"\n")]
    return {name: State(state) for name, state in lines}


async def survives(directory: Path, said: dict[str, State], states: list[State]) -> None:
    """After a kill each command is at least where it was said to be, and at most one step further."""
    async with journal(directory) as log:
        assert log.metrics()["journal_set_aside_total"] == 0
        unfinished = {found.command.id: found for found in await log.unfinished()}
        for name, state in said.items():
            found = log.known(name)
            assert found is not None
            steps = [step for step, _, _ in found.history]
            assert steps == states[: len(steps)]
            assert states.index(state) + 1 <= len(steps) <= states.index(state) + 2
            assert (name in unfinished) == (found.state not in (State.FINISHED, State.DEAD))
            assert found.state not in (State.FINISHED, State.DEAD) or found.outcome is not None
        for name in unfinished:
            await log.finish(name, CONFIRMED)


@pytest.mark.parametrize("after", [1, 2, 3, 4])
async def test_kill_at_each_state_loses_nothing_that_was_said(tmp_path: Path, after: int) -> None:
    states = list(STEPS)
    said = await killed(tmp_path, 1, states, after)
    assert said
    await survives(tmp_path, said, states)


async def test_kill_after_a_dead_letter_leaves_it_dead(tmp_path: Path) -> None:
    states = [State.ACCEPTED, State.SENDING, State.DEAD]
    said = await killed(tmp_path, 1, states, 3)
    assert State.DEAD in said.values()
    await survives(tmp_path, said, states)


async def test_kill_at_random_steps_of_many_commands_loses_nothing_that_was_said(tmp_path: Path) -> None:
    for number in range(3):
        directory = tmp_path / str(number)
        directory.mkdir()
        said = await killed(directory, 20, list(STEPS), random.randint(1, 2_000))
        await survives(directory, said, list(STEPS))


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_kill_at_a_thousand_random_steps_loses_nothing_that_was_said(tmp_path: Path) -> None:
    for number in range(1_000):
        directory = tmp_path / str(number)
        directory.mkdir()
        said = await killed(directory, random.choice([1, 5, 50]), list(STEPS), random.randint(1, 400))
        await survives(directory, said, list(STEPS))
