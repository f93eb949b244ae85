"""The desk: what it refuses, in which order it carries out, and that it answers with the truth."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.commands.desk import Desk, DeskRules
from bridge.commands.job import CommandTicket
from bridge.commands.journal import Journal, State
from bridge.model.action import Action
from bridge.model.command import Command, Door, Outcome, Result, Role
from bridge.model.observation import Observation
from bridge.model.status import StatusCode
from bridge.model.value import Value
from bridge.transport.clock import SystemClock
from tests.runtime.test_plant_keeper import STATE, House
from tests.sites import BASE

WRITABLE = BASE.replace("profile: 3.x}", "profile: 3.x, writes: true}")
FREQUENCY = "mock-1.Setpoints.Frequency1"
MODE = "mock-1.Setpoints.Mode"
STANDBY = "mock-1.Commands.Standby"
TAKEN = Outcome(Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously, "The panel took it", vendor_code=200)


class Panel:
    """An executor that does as the test says, and a machine whose state follows or does not."""

    def __init__(self, house: House, desk_of: Any) -> None:
        self.sent: list[Any] = []
        self.answer: Outcome = TAKEN
        self.denied = ""
        self.follows = True
        self.sent_as: list[str] = []
        """Ids of the commands that `sent` was sent for."""
        self.instead: float | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()
        self.state: dict[str, Any] = dict(STATE)
        self.reconciled: list[Action] = []
        self.reconcile_answer = Outcome(Result.CONFIRMED, StatusCode.Good, "It reads so")
        self._house = house
        self._desk_of = desk_of

    def validate(self, action: Action) -> str | None:
        return self.denied or None

    async def execute(self, action: Action, deadline: float) -> Outcome:
        self.began.set()
        await self.gate.wait()
        self.sent.append(action.payload)
        self.sent_as.append(action.command)
        if self.answer.result is Result.ACCEPTED and self.follows:
            self._follow(action.payload)
        return self.answer

    def _follow(self, payload: dict[str, Any]) -> None:
        for name, value in payload.items():
            if name == "SetMode":
                self.state = {**self.state, "mode_state": {"mode": value}}
            else:
                self.state = {**self.state, f"frequency{name[-1]}": self.instead or value}
        asyncio.get_running_loop().call_soon(self.announce)

    def announce(self) -> None:
        seen = Observation("panel", "1/7/1", "state", self.state, self._house.clock.now())
        self._desk_of().observe(seen)
        self._house.keeper.publish(seen)

    async def refresh(self, machine: str) -> None:
        return None

    def can_reconcile(self, action: Action) -> bool:
        return bool(action.confirm)

    async def reconcile(self, action: Action) -> Outcome:
        self.reconciled.append(action)
        return self.reconcile_answer


class Office:
    """A desk with everything it needs."""

    def __init__(self, folder: Path, rules: DeskRules | None = None, site: str = WRITABLE) -> None:
        self.house = House(folder, site)
        self.house.clock = SystemClock()  # type: ignore[assignment]
        self.panel = Panel(self.house, lambda: self.desk)
        self.journal = Journal(folder / "journal.db", SystemClock())
        self.rules = rules or DeskRules(confirm_window_s=0.3)
        self.ids = itertools.count()

    async def __aenter__(self) -> Office:
        await self.journal.__aenter__()
        self.executors = {"panel": self.panel}
        self.desk = Desk(
            self.house.table, self.house.keeper.target, self.executors.get, self.journal, self.rules, SystemClock()
        )
        self.task = asyncio.create_task(self.desk.run())
        await self.desk.opened.wait()
        self.panel.announce()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.journal.__aexit__(None, None, None)

    def submit(self, target: str, arguments: Mapping[str, Value] | None = None, /, **more: Any) -> CommandTicket:
        now = SystemClock().now()
        fields = {
            "id": f"test:{next(self.ids)}",
            "door": Door.OPCUA_WRITE,
            "requester": "anna",
            "issued": now,
            "expires": now + timedelta(seconds=30),
            "role": Role.OPERATOR,
            **more,
        }
        return self.desk.submit(Command(target=target, arguments=dict(arguments or {}), **fields))

    async def ends(self, target: str, arguments: Mapping[str, Value] | None = None, /, **more: Any) -> Outcome:
        async with asyncio.timeout(30):
            return await self.submit(target, arguments, **more).result


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with Office(tmp_path) as one:
        yield one


async def test_a_set_point_that_reads_back_is_confirmed(office: Office) -> None:
    outcome = await office.ends(FREQUENCY, {"value": 250})
    assert (outcome.result, outcome.status) == (Result.CONFIRMED, StatusCode.Good)
    assert office.panel.sent == [{"SetFrequency1": 250.0}]
    assert office.house.read(FREQUENCY).value == 250.0


async def test_another_value_at_the_machine_is_changed_with_what_it_is(office: Office) -> None:
    office.panel.instead = 80.0
    outcome = await office.ends(FREQUENCY, {"value": 250})
    assert (outcome.result, outcome.status, outcome.actual) == (Result.CHANGED, StatusCode.GoodClamped, 80.0)


async def test_a_mutation_nobody_reads_back_is_unknown_never_good(office: Office) -> None:
    office.panel.follows = False
    outcome = await office.ends(FREQUENCY, {"value": 250})
    assert (outcome.result, outcome.status) == (Result.UNKNOWN, StatusCode.BadTimeout)
    assert "unknown" in outcome.sentence


async def test_a_machine_that_announces_the_old_value_has_refused(office: Office) -> None:
    office.panel.follows = False
    ticket = office.submit(FREQUENCY, {"value": 250})
    await office.panel.began.wait()
    await asyncio.sleep(0.02)
    office.panel.announce()
    outcome = await ticket.result
    assert (outcome.result, outcome.status) == (Result.REFUSED, StatusCode.BadInvalidState)


async def test_a_vendors_refusal_keeps_its_words(office: Office) -> None:
    office.panel.answer = Outcome(
        Result.REFUSED, StatusCode.BadNotFound, "No", vendor_code=500, vendor_text="No Machine"
    )
    outcome = await office.ends(FREQUENCY, {"value": 250})
    assert (outcome.result, outcome.vendor_text, outcome.vendor_code) == (Result.REFUSED, "No Machine", 500)


async def test_what_was_not_sent_is_unreached(office: Office) -> None:
    office.panel.answer = Outcome(Result.UNREACHED, StatusCode.BadNotConnected, "The panel is down")
    assert (await office.ends(FREQUENCY, {"value": 250})).result is Result.UNREACHED


@pytest.mark.parametrize(
    ("target", "arguments", "status", "word"),
    [
        ("mock-1.Setpoints.Nothing", {"value": 1}, StatusCode.BadNotFound, "There is no"),
        ("mock-1.Monitoring.Amplitude1", {"value": 1}, StatusCode.BadNotWritable, "may be written"),
        ("mock-2.Commands.Nothing", {}, StatusCode.BadNotFound, "; there are "),
        ("mock-2.Commands.stanby", {}, StatusCode.BadNotFound, 'did you mean "Standby"?'),
        ("mock-2.Setpoints.Frequenzy1", {"value": 1}, StatusCode.BadNotFound, 'did you mean "Frequency1"?'),
        ("mock.Commands.Standby", {}, StatusCode.BadNotFound, 'did you mean "mock-'),
        (FREQUENCY, {"value": 10_001}, StatusCode.BadOutOfRange, "from 0 to 10000"),
        (FREQUENCY, {"value": float("nan")}, StatusCode.BadOutOfRange, "no number"),
        (FREQUENCY, {"value": "fast"}, StatusCode.BadTypeMismatch, "Double"),
        (FREQUENCY, {"value": True}, StatusCode.BadTypeMismatch, "Double"),
        (FREQUENCY, {}, StatusCode.BadInvalidArgument, "value is not given; expected value: Double from 0 to 10000"),
        (FREQUENCY, {"value": 1, "speed": 2}, StatusCode.BadInvalidArgument, "speed"),
        (MODE, {"value": "Runing"}, StatusCode.BadOutOfRange, '; did you mean "Running"?'),
        (MODE, {"value": 7}, StatusCode.BadOutOfRange, "one of"),
    ],
)
async def test_what_must_not_be_asked_is_rejected_with_the_reason_and_nothing_is_sent(
    office: Office, target: str, arguments: dict[str, Value], status: StatusCode, word: str
) -> None:
    outcome = await office.ends(target, arguments)
    assert (outcome.result, outcome.status) == (Result.REJECTED, status)
    assert word in outcome.sentence
    assert office.panel.sent == []


@pytest.mark.parametrize("value", [30, 30.0])
async def test_every_lossless_number_is_accepted(office: Office, value: Value) -> None:
    assert (await office.ends(FREQUENCY, {"value": value})).result is Result.CONFIRMED


@pytest.mark.parametrize("value", ["Running", 1, 1.0])
async def test_an_enum_takes_its_text_or_its_number(office: Office, value: Value) -> None:
    office.panel.state = {**STATE, "mode_state": {"mode": "Standby"}}
    office.panel.announce()
    assert (await office.ends(MODE, {"value": value})).result is Result.CONFIRMED
    assert office.panel.sent == [{"SetMode": "Running"}]


async def test_an_observer_may_only_look(office: Office) -> None:
    outcome = await office.ends(FREQUENCY, {"value": 1}, role=Role.OBSERVER)
    assert outcome.status is StatusCode.BadUserAccessDenied


async def test_retained_and_expired_commands_do_nothing(office: Office) -> None:
    assert (await office.ends(FREQUENCY, {"value": 1}, retained=True)).result is Result.REJECTED
    late = await office.ends(FREQUENCY, {"value": 1}, expires=SystemClock().now() - timedelta(seconds=1))
    assert (late.result, late.status) == (Result.EXPIRED, StatusCode.BadTimeout)
    assert office.panel.sent == []


async def test_what_the_vendors_room_denies_is_never_sent(office: Office) -> None:
    office.panel.denied = "it kills the panel"
    outcome = await office.ends(FREQUENCY, {"value": 1})
    assert (outcome.result, outcome.status) == (Result.REJECTED, StatusCode.BadInvalidArgument)
    assert office.panel.sent == []


async def test_the_same_id_is_the_same_command(office: Office) -> None:
    first, second = await asyncio.gather(
        office.ends(FREQUENCY, {"value": 5}, id="uns:1"), office.ends(FREQUENCY, {"value": 5}, id="uns:1")
    )
    third = await office.ends(FREQUENCY, {"value": 5}, id="uns:1")
    assert first == second == third
    assert len(office.panel.sent) == 1


async def test_the_same_id_with_other_arguments_is_somebodys_mistake(office: Office) -> None:
    await office.ends(FREQUENCY, {"value": 5}, id="uns:1")
    outcome = await office.ends(FREQUENCY, {"value": 6}, id="uns:1")
    assert (outcome.result, outcome.status) == (Result.REJECTED, StatusCode.BadInvalidArgument)
    assert len(office.panel.sent) == 1


async def test_an_id_is_known_after_a_restart(tmp_path: Path) -> None:
    async with Office(tmp_path) as office:
        await office.ends(FREQUENCY, {"value": 5}, id="uns:1")
    async with Office(tmp_path) as again:
        assert (await again.ends(FREQUENCY, {"value": 5}, id="uns:1")).result is Result.CONFIRMED
        assert again.panel.sent == []


async def test_rpm_heat_standby_only_the_one_in_flight_and_standby_arrive(office: Office) -> None:
    office.panel.gate.clear()
    first = office.submit(FREQUENCY, {"value": 5})
    await office.panel.began.wait()
    waiting = [office.submit("mock-1.Setpoints.Frequency2", {"value": 6}), office.submit(MODE, {"value": "Running"})]
    standby = office.submit(STANDBY)
    for ticket in (*waiting, standby):
        await ticket.accepted
    outcomes = [await ticket.result for ticket in waiting]
    assert [outcome.result for outcome in outcomes] == [Result.SUPERSEDED] * 2
    office.panel.gate.set()
    assert (await first.result).result is Result.CONFIRMED
    assert (await standby.result).result is Result.CONFIRMED
    assert office.panel.sent == [{"SetFrequency1": 5.0}, {"SetMode": "Standby"}]


async def test_standby_does_not_wait_for_a_confirmation(tmp_path: Path) -> None:
    async with Office(tmp_path, DeskRules(confirm_window_s=60.0)) as office:
        office.panel.follows = False
        first = office.submit(FREQUENCY, {"value": 5})
        await first.accepted
        while not office.panel.sent:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        standby = office.submit(STANDBY)
        await standby.accepted
        async with asyncio.timeout(30):
            while len(office.panel.sent) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert office.panel.sent[1] == {"SetMode": "Standby"}


async def test_a_newer_set_point_replaces_an_unsent_one(office: Office) -> None:
    office.panel.gate.clear()
    blocker = office.submit("mock-1.Setpoints.Frequency3", {"value": 1})
    await office.panel.began.wait()
    old, new = office.submit(FREQUENCY, {"value": 5}), office.submit(FREQUENCY, {"value": 6})
    outcome = await old.result
    assert (outcome.result, outcome.status) == (Result.SUPERSEDED, StatusCode.BadRequestCancelledByClient)
    office.panel.gate.set()
    assert (await new.result).result is Result.CONFIRMED
    assert (await blocker.result).result is Result.CONFIRMED
    assert office.panel.sent[-1] == {"SetFrequency1": 6.0}


async def test_too_many_waiting_commands_are_refused(tmp_path: Path) -> None:
    async with Office(tmp_path, DeskRules(lane_limit=3, confirm_window_s=0.2)) as office:
        office.panel.gate.clear()
        tickets = [office.submit("mock-1.Setpoints.Frequency1", {"value": n}) for n in range(10)]
        outcome = await tickets[-1].result
        assert outcome.status is StatusCode.BadTooManyOperations
        office.panel.gate.set()
        await asyncio.gather(*(ticket.result for ticket in tickets))


async def test_a_caller_that_vanishes_cancels_nothing(office: Office) -> None:
    office.panel.gate.clear()
    ticket = office.submit(FREQUENCY, {"value": 5})

    async def wait_for_it() -> Outcome:
        return await ticket.result

    caller = asyncio.create_task(wait_for_it())
    await office.panel.began.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    office.panel.gate.set()
    assert (await ticket.result).result is Result.CONFIRMED


async def test_a_cyclic_writer_sends_once(office: Office) -> None:
    outcomes = [await office.ends(FREQUENCY, {"value": 30}) for _ in range(10)]
    assert {outcome.status for outcome in outcomes} == {StatusCode.Good}
    assert office.panel.sent == [{"SetFrequency1": 30.0}]


async def test_a_cyclic_writer_is_told_of_a_change_at_the_machine_and_does_not_fight_it(office: Office) -> None:
    await office.ends(FREQUENCY, {"value": 30})
    office.panel.state = {**office.panel.state, "frequency1": 25.0}
    office.panel.announce()
    outcome = await office.ends(FREQUENCY, {"value": 30})
    assert (outcome.result, outcome.status, outcome.actual) == (Result.REJECTED, StatusCode.BadInvalidState, 25.0)
    assert "changed at the machine to 25" in outcome.sentence
    assert (await office.ends(FREQUENCY, {"value": 31})).result is Result.CONFIRMED
    assert (await office.ends(FREQUENCY, {"value": 30}, requester="bert")).result is Result.CONFIRMED


async def test_two_cyclic_writers_do_not_fight_each_other(office: Office) -> None:
    await office.ends(FREQUENCY, {"value": 30})
    await office.ends(FREQUENCY, {"value": 25}, requester="bert")
    for _ in range(3):
        told = await office.ends(FREQUENCY, {"value": 30})
        assert (told.status, told.actual) == (StatusCode.BadInvalidState, 25.0)
        assert (await office.ends(FREQUENCY, {"value": 25}, requester="bert")).result is Result.CONFIRMED
    assert office.panel.sent == [{"SetFrequency1": 30.0}, {"SetFrequency1": 25.0}]


async def test_a_cyclic_writer_that_was_given_another_value_is_told_when_that_is_gone_too(office: Office) -> None:
    office.panel.instead = 80.0
    for _ in range(2):
        assert (await office.ends(FREQUENCY, {"value": 250})).status is StatusCode.GoodClamped
    office.panel.state = {**office.panel.state, "frequency1": 25.0}
    office.panel.announce()
    told = await office.ends(FREQUENCY, {"value": 250})
    assert (told.status, told.actual) == (StatusCode.BadInvalidState, 25.0)
    assert len(office.panel.sent) == 1


async def test_a_cyclic_writer_is_not_told_good_while_the_machine_is_lost(office: Office) -> None:
    assert (await office.ends(FREQUENCY, {"value": 30})).result is Result.CONFIRMED
    office.house.lose()
    told = await office.ends(FREQUENCY, {"value": 30})
    assert (told.result, told.status) == (Result.UNREACHED, StatusCode.BadNotConnected)
    office.panel.announce()
    assert (await office.ends(FREQUENCY, {"value": 30})).result is Result.CONFIRMED
    assert len(office.panel.sent) == 1


async def test_a_source_that_cannot_read_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(machine: str) -> None:
        await asyncio.Event().wait()

    async with Office(tmp_path, DeskRules(confirm_window_s=0.3, refresh_timeout_s=0.3)) as office:
        monkeypatch.setattr(office.panel, "refresh", never)
        assert (await office.ends(FREQUENCY, {"value": 30})).result is Result.CONFIRMED
        office.panel.follows = False
        assert (await office.ends(FREQUENCY, {"value": 31})).result is Result.UNKNOWN


async def test_reassert_is_opt_in(tmp_path: Path) -> None:
    async with Office(tmp_path, DeskRules(reassert=True, confirm_window_s=0.3)) as office:
        await office.ends(FREQUENCY, {"value": 30})
        office.panel.state = {**office.panel.state, "frequency1": 25.0}
        office.panel.announce()
        assert (await office.ends(FREQUENCY, {"value": 30})).result is Result.CONFIRMED
        assert len(office.panel.sent) == 2


async def left_sending(folder: Path) -> None:
    """A journal that says "sending" of one command, as a crash leaves it."""
    async with Office(folder) as office:
        now = SystemClock().now()
        command = Command("c1", FREQUENCY, {"value": 5.0}, Door.ADMIN, "anna", now, now, Role.OPERATOR)
        action = {
            "source": "panel",
            "machine": "1/7/1",
            "payload": {"SetFrequency1": 5.0},
            "absolute": True,
            "confirm": [[["state.frequency1", 5.0]]],
        }
        await office.journal.begin(command, "mock-1", ("panel", "1/7/1"), 1.0, action)
        await office.journal.mark("c1", State.SENDING)


UNKNOWN = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "Nothing is known")


async def ended(office: Office) -> Any:
    async with asyncio.timeout(30):
        while await office.journal.unfinished():  # noqa: ASYNC110 - the journal is asked, not listened to
            await asyncio.sleep(0.01)
    return await office.journal.get("c1")


async def test_a_machine_is_asked_again_until_it_tells_what_became_of_a_command(tmp_path: Path) -> None:
    await left_sending(tmp_path)
    office = Office(tmp_path, DeskRules(reconcile_within_s=0.05))
    answers = [UNKNOWN, Outcome(Result.CONFIRMED, StatusCode.Good, "It reads so")]

    async def reconcile(action: Action) -> Outcome:
        return answers.pop(0)

    office.panel.reconcile = reconcile  # type: ignore[method-assign]
    async with office:
        assert (await ended(office)).outcome.result is Result.CONFIRMED


async def test_what_nobody_can_tell_after_a_crash_waits_for_a_person(tmp_path: Path) -> None:
    await left_sending(tmp_path)
    office = Office(tmp_path, DeskRules(reconcile_within_s=0.05))
    office.panel.reconcile_answer = UNKNOWN
    async with office:
        async with asyncio.timeout(30):
            while not await office.journal.dead():  # noqa: ASYNC110 - the journal is asked, not listened to
                await asyncio.sleep(0.01)
        assert office.panel.sent == []


async def test_the_old_value_after_a_crash_means_it_had_no_effect(tmp_path: Path) -> None:
    await left_sending(tmp_path)
    office = Office(tmp_path, DeskRules(execute_timeout_s=0.05, reconcile_within_s=30.0))
    office.panel.reconcile_answer = Outcome(Result.CHANGED, StatusCode.GoodClamped, "It reads 1", 1.0)
    async with office:
        assert (await ended(office)).outcome.result is Result.REFUSED


async def test_after_a_crash_what_was_not_sent_is_unreached_and_what_may_have_been_is_read(tmp_path: Path) -> None:
    async with Office(tmp_path) as office:
        command = Command(
            "c1", FREQUENCY, {"value": 5.0}, Door.ADMIN, "anna", SystemClock().now(), SystemClock().now(), Role.OPERATOR
        )
        action = {"source": "panel", "machine": "1/7/1", "payload": {"SetFrequency1": 5.0}, "absolute": True}
        confirm = {"confirm": [[["state.frequency1", 5.0]]]}
        await office.journal.begin(command, "mock-1", ("panel", "1/7/1"), 1.0, {**action, **confirm})
        sending = Command(
            "c2", FREQUENCY, {"value": 6.0}, Door.ADMIN, "anna", SystemClock().now(), SystemClock().now(), Role.OPERATOR
        )
        await office.journal.begin(sending, "mock-1", ("panel", "1/7/1"), 1.0, {**action, **confirm})
        await office.journal.mark("c2", State.SENDING)
    async with Office(tmp_path) as again:
        async with asyncio.timeout(30):
            while await again.journal.unfinished():  # noqa: ASYNC110 - the journal is asked, not listened to
                await asyncio.sleep(0.01)
        first, second = await again.journal.get("c1"), await again.journal.get("c2")
        assert first is not None and first.outcome is not None and first.outcome.result is Result.UNREACHED
        assert second is not None and second.outcome is not None and second.outcome.result is Result.CONFIRMED
        assert again.panel.sent == []
        assert [action.payload for action in again.panel.reconciled] == [{"SetFrequency1": 5.0}]
        assert [action.command for action in again.panel.reconciled] == ["c2"]


async def test_who_types_the_same_again_means_it(office: Office) -> None:
    await office.ends(FREQUENCY, {"value": 30}, door=Door.ADMIN)
    assert (await office.ends(FREQUENCY, {"value": 30}, door=Door.ADMIN)).result is Result.CONFIRMED
    assert len(office.panel.sent) == 1  # it is so still
    office.panel.state = {**office.panel.state, "frequency1": 0.0}  # the panel was restarted
    office.panel.announce()
    assert (await office.ends(FREQUENCY, {"value": 30}, door=Door.ADMIN)).result is Result.CONFIRMED
    assert len(office.panel.sent) == 2


async def test_a_source_that_does_not_run_yet_is_unreached(office: Office) -> None:
    office.executors.clear()
    outcome = await office.ends(FREQUENCY, {"value": 30})
    assert (outcome.result, outcome.status) == (Result.UNREACHED, StatusCode.BadNotConnected)
    assert "does not run yet" in outcome.sentence


async def test_before_the_journal_is_read_nothing_is_taken(tmp_path: Path) -> None:
    """A command must not overtake a booking that a crash left."""
    office = Office(tmp_path)
    async with office:
        office.task.cancel()
        await asyncio.gather(office.task, return_exceptions=True)
        office.task = asyncio.create_task(office.desk.run())
        early = await office.ends(FREQUENCY, {"value": 250})
        assert (early.result, early.status) == (Result.UNREACHED, StatusCode.BadInvalidState)
        assert "starting" in early.sentence
        assert not office.panel.sent
        await office.desk.opened.wait()
        assert (await office.ends(FREQUENCY, {"value": 250})).result is Result.CONFIRMED
