"""After a crash: what may have been sent is read, nothing else is sent meanwhile, and the machine shows the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.commands.desk import DeskRules
from bridge.commands.journal import State
from bridge.errors import NotRecorded
from bridge.model.action import Action
from bridge.model.command import Command, Outcome, Result
from bridge.model.status import StatusCode
from bridge.ports import Target
from tests.commands.test_desk import FREQUENCY, Office, ended, left_sending

CONFIRMED = Outcome(Result.CONFIRMED, StatusCode.Good, "It reads so")
AS_BEFORE = Outcome(Result.CHANGED, StatusCode.GoodClamped, "It reads 1", 1.0)
STANDBY = "mock-1.Commands.Standby"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - any condition; there is no one event
            await asyncio.sleep(0.005)


class Asked:
    """A reconcile that answers when it is told to."""

    def __init__(self, office: Office) -> None:
        self.count = 0
        self.may = asyncio.Event()
        office.panel.reconcile = self  # type: ignore[method-assign]

    async def __call__(self, action: Action) -> Outcome:
        self.count += 1
        await self.may.wait()
        return CONFIRMED


async def test_a_new_command_waits_until_it_is_known_what_became_of_the_earlier_one(tmp_path: Path) -> None:
    await left_sending(tmp_path)
    office = Office(tmp_path)
    asked = Asked(office)
    async with office:
        await until(lambda: asked.count == 1)
        ticket = office.submit(FREQUENCY, {"value": 7.0})
        assert await ticket.accepted is None
        await asyncio.sleep(0.05)
        assert office.panel.sent == []
        asked.may.set()
        assert (await ticket.result).result is Result.CONFIRMED
        assert office.panel.sent == [{"SetFrequency1": 7.0}]


async def test_who_asks_the_same_again_meanwhile_is_told_when_it_is_known(tmp_path: Path) -> None:
    await left_sending(tmp_path)
    office = Office(tmp_path)
    asked = Asked(office)
    async with office:
        await until(lambda: asked.count == 1)
        ticket = office.submit(FREQUENCY, {"value": 5.0}, id="c1")
        assert await ticket.accepted is None
        other = await office.ends(FREQUENCY, {"value": 6.0}, id="c1")
        assert (other.result, other.status) == (Result.REJECTED, StatusCode.BadInvalidArgument)
        asked.may.set()
        assert await ticket.result == CONFIRMED
        assert office.panel.sent == []


async def test_a_safe_command_does_not_wait_for_that(tmp_path: Path) -> None:
    await left_sending(tmp_path)
    office = Office(tmp_path)
    asked = Asked(office)
    async with office:
        await until(lambda: asked.count == 1)
        waiting = office.submit(FREQUENCY, {"value": 7.0})
        assert await waiting.accepted is None
        assert (await office.ends(STANDBY)).result is Result.CONFIRMED
        assert (await waiting.result).result is Result.SUPERSEDED
        assert (await office.journal.unfinished())[0].command.id == "c1"
        asked.may.set()
        assert (await ended(office)).outcome == CONFIRMED


async def test_a_request_that_may_still_arrive_is_waited_for(tmp_path: Path) -> None:
    await left_sending(tmp_path)
    office = Office(tmp_path, DeskRules(execute_timeout_s=60.0))  # a busy computer may take seconds to begin anew
    answers = [AS_BEFORE, CONFIRMED]

    async def reconcile(action: Action) -> Outcome:
        return answers.pop(0)

    office.panel.reconcile = reconcile  # type: ignore[method-assign]
    async with office:
        assert (await ended(office)).outcome == CONFIRMED


async def test_the_set_point_before_is_the_one_before_it_was_sent(tmp_path: Path) -> None:
    async with Office(tmp_path) as office:
        office.panel.gate.clear()
        first = office.submit(FREQUENCY, {"value": 5.0})
        await office.panel.began.wait()
        second = office.submit(FREQUENCY, {"value": 6.0})
        assert await second.accepted is None
        office.panel.gate.set()
        assert (await first.result).result is Result.CONFIRMED
        office.panel.began.clear()
        office.panel.gate.clear()
        await office.panel.began.wait()
        [left] = await office.journal.unfinished()
        assert (left.state, left.old) == (State.SENDING, 5.0)


async def test_how_it_ended_is_shown_although_nobody_waits_for_it(tmp_path: Path) -> None:
    await left_sending(tmp_path)
    office = Office(tmp_path)
    asked = Asked(office)
    shown: list[tuple[str, Outcome]] = []

    def show(command: Command, target: Target | None, outcome: Outcome) -> None:
        assert target is not None
        shown.append((command.id, outcome))

    async with office:
        office.desk.finished = show
        asked.may.set()
        await until(lambda: bool(shown))
        assert shown == [("c1", CONFIRMED)]


async def test_a_full_disk_does_not_end_the_desk(tmp_path: Path) -> None:
    await left_sending(tmp_path)
    office = Office(tmp_path)
    asked = Asked(office)

    async def finish(command_id: str, outcome: Outcome, *, dead: bool = False) -> None:
        raise NotRecorded("The journal cannot be written: disk full")

    async with office:
        office.journal.finish = finish  # type: ignore[method-assign]
        asked.may.set()
        await until(lambda: not office.desk.is_recovering(("panel", "1/7/1")))
        await asyncio.sleep(0)
        assert not office.task.done()


async def left_unread(folder: Path) -> None:
    """5 is confirmed; a start later 7 may have been sent before the machine was read."""
    async with Office(folder) as office:
        assert (await office.ends(FREQUENCY, {"value": 5.0})).result is Result.CONFIRMED
    office = Office(folder)
    office.panel.announce = lambda: None  # type: ignore[method-assign]
    office.panel.gate.clear()
    async with office:
        office.submit(FREQUENCY, {"value": 7.0}, id="c1")
        await office.panel.began.wait()
        [left] = await office.journal.unfinished()
        assert (left.state, left.old) == (State.SENDING, None)


@pytest.mark.parametrize(
    ("reads", "result", "sentence"),
    [
        (5.0, Result.REFUSED, "It has no effect: the machine reads 5.0"),
        (9.0, Result.UNKNOWN, "The machine reads 9.0, which is neither what was asked nor what was before"),
    ],
)
async def test_of_a_set_point_that_was_not_read_before_the_earlier_command_tells_what_it_was(
    tmp_path: Path, reads: float, result: Result, sentence: str
) -> None:
    await left_unread(tmp_path)
    office = Office(tmp_path, DeskRules(execute_timeout_s=0.05, reconcile_within_s=30.0))
    office.panel.reconcile_answer = Outcome(Result.CHANGED, StatusCode.GoodClamped, f"It reads {reads}", reads)
    async with office:
        outcome = (await ended(office)).outcome
        assert (outcome.result, outcome.sentence) == (result, sentence)
        assert office.panel.sent == []
