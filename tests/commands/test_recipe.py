"""Recipes: several set points in order, each as a single write would be, and one answer that says how far it came."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from bridge.commands.desk import DeskRules
from bridge.commands.entry import Entry
from bridge.commands.journal import Journal, State
from bridge.errors import NotRecorded
from bridge.model.action import Action
from bridge.model.command import Command, Door, Outcome, Result, Role
from bridge.model.status import StatusCode
from bridge.model.value import Value
from bridge.northbound.status.commands import outcome_payload
from bridge.runtime.operations import entry_payload
from bridge.transport.clock import SystemClock
from tests.commands.test_desk import FREQUENCY, MODE, STANDBY, TAKEN, UNKNOWN, WRITABLE, Office

LOAD = "mock-1.Commands.Load"
SITE = WRITABLE.replace("serial: 1}}", "serial: 1}, mapping: test/mock}") + "mappings: [mock.yaml]\n"
MAPPING = """
version: 1
mapping: test/mock
extends: qitech/mock
commands:
  Load:
    set:
      Setpoints/Frequency1: $First
      Setpoints/Frequency2: $Second
      Setpoints/Frequency3: 30
      Setpoints/Mode: $Mode
  LoadWhileRunning: {set: {Setpoints/Frequency1: $F, Setpoints/Frequency2: $F}, requires: {Setpoints/Mode: Running}}
  StopAndTune:
    set: {Setpoints/Mode: Standby, Setpoints/Frequency1: $F}
    requires: {Setpoints/Mode: Running}
"""
ASKED: Mapping[str, Value] = {"First": 10, "Second": 20.0, "Mode": "Standby"}
SENT = [{"SetFrequency1": 10.0}, {"SetFrequency2": 20.0}, {"SetFrequency3": 30.0}, {"SetMode": "Standby"}]
TAGS = [f"mock-1.Setpoints.{name}" for name in ("Frequency1", "Frequency2", "Frequency3", "Mode")]
REFUSAL = Outcome(Result.REFUSED, StatusCode.BadInvalidState, "No", None, 500, "Invalid")


def make_office(folder: Path, rules: DeskRules | None = None) -> Office:
    (folder / "mock.yaml").write_text(MAPPING, encoding="utf-8")
    office = Office(folder, rules, SITE)
    office.panel.answers = {}  # type: ignore[attr-defined]
    plainly = office.panel.execute

    async def execute(action: Action, deadline: float) -> Outcome:
        """What the test says of this mutation; a mutation that is not taken changes nothing."""
        (name,) = action.payload
        says = office.panel.answers.get(name, {})  # type: ignore[attr-defined]
        office.panel.answer = says.get("answer", TAKEN)
        office.panel.follows = says.get("follows", True)
        office.panel.instead = says.get("instead")
        return await plainly(action, deadline)

    office.panel.execute = execute  # type: ignore[method-assign]
    return office


def says(office: Office, mutation: str, **what: Any) -> None:
    office.panel.answers[mutation] = what  # type: ignore[attr-defined]


def results(outcome: Outcome) -> list[Result]:
    return [item.result for item in outcome.items]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with make_office(tmp_path) as one:
        yield one


async def test_every_set_point_is_sent_in_order_and_confirmed(office: Office) -> None:
    outcome = await office.ends(LOAD, ASKED)
    assert (outcome.result, outcome.status) == (Result.CONFIRMED, StatusCode.Good)
    assert office.panel.sent == SENT
    whole = office.panel.sent_as[0]
    assert office.panel.sent_as == [whole, f"{whole}#2", f"{whole}#3", f"{whole}#4"], "a vendor may do each id once"
    assert [item.target for item in outcome.items] == TAGS
    assert [item.value for item in outcome.items] == [10.0, 20.0, 30.0, "Standby"]
    assert set(results(outcome)) == {Result.CONFIRMED}
    assert office.house.read(TAGS[2]).value == 30.0


async def test_the_first_refusal_stops_it_and_says_where(office: Office) -> None:
    says(office, "SetFrequency2", answer=REFUSAL)
    outcome = await office.ends(LOAD, ASKED)
    assert (outcome.result, outcome.status) == (Result.REFUSED, StatusCode.BadInvalidState)
    assert outcome.sentence == "Item 2 of 4 (Setpoints/Frequency2): No; 1 done, 2 not sent"
    assert (outcome.vendor_code, outcome.vendor_text) == (500, "Invalid")
    assert results(outcome) == [Result.CONFIRMED, Result.REFUSED, Result.UNREACHED, Result.UNREACHED]
    assert office.panel.sent == SENT[:2]


async def test_an_item_nobody_reads_back_is_unknown_and_the_rest_is_not_sent(office: Office) -> None:
    says(office, "SetFrequency2", follows=False)
    outcome = await office.ends(LOAD, ASKED)
    assert (outcome.result, outcome.status) == (Result.UNKNOWN, StatusCode.BadTimeout)
    assert outcome.sentence.startswith("Item 2 of 4 (Setpoints/Frequency2): ")
    assert outcome.sentence.endswith("; 1 done, 2 not sent")
    assert office.panel.sent == SENT[:2]
    assert await office.journal.dead() == []


async def test_another_value_at_the_machine_does_not_stop_it_but_is_said(office: Office) -> None:
    says(office, "SetFrequency2", instead=15.0)
    outcome = await office.ends(LOAD, ASKED)
    assert (outcome.result, outcome.status) == (Result.CHANGED, StatusCode.GoodClamped)
    assert "Setpoints/Frequency2: The machine took 15.0 instead" in outcome.sentence
    assert results(outcome) == [Result.CONFIRMED, Result.CHANGED, Result.CONFIRMED, Result.CONFIRMED]
    assert outcome.items[1].actual == 15.0
    assert office.panel.sent == SENT


async def test_standby_in_between_supersedes_the_rest(office: Office) -> None:
    office.panel.gate.clear()
    recipe = office.submit(LOAD, {**ASKED, "Mode": "Running"})
    await office.panel.began.wait()
    standby = office.submit(STANDBY)
    await standby.accepted
    office.panel.gate.set()
    outcome = await recipe.result
    assert (outcome.result, outcome.status) == (Result.SUPERSEDED, StatusCode.BadRequestCancelledByClient)
    assert outcome.sentence.startswith(f"Item 2 of 4 (Setpoints/Frequency2): {STANDBY} took its place")
    assert outcome.sentence.endswith("; 1 done, 3 not sent")
    assert (await standby.result).result is Result.CONFIRMED
    assert office.panel.sent == [SENT[0], {"SetMode": "Standby"}]


async def test_standby_does_not_wait_for_the_confirmation_of_an_item(tmp_path: Path) -> None:
    async with make_office(tmp_path, DeskRules(confirm_window_s=60.0)) as office:
        says(office, "SetFrequency1", follows=False)
        recipe = office.submit(LOAD, ASKED)
        async with asyncio.timeout(30):
            while not office.panel.sent:  # noqa: ASYNC110 - the panel is asked, not listened to
                await asyncio.sleep(0.005)
            assert (await office.ends(STANDBY)).result is Result.CONFIRMED
        assert office.panel.sent == [SENT[0], {"SetMode": "Standby"}]
        office.panel.state = {**office.panel.state, "frequency1": 10.0}
        office.panel.announce()
        outcome = await recipe.result
        assert results(outcome) == [Result.CONFIRMED, Result.SUPERSEDED, Result.UNREACHED, Result.UNREACHED]


async def test_a_recipe_that_waits_is_superseded_by_standby_as_a_whole(office: Office) -> None:
    office.panel.gate.clear()
    blocker = office.submit(FREQUENCY, {"value": 5})
    await office.panel.began.wait()
    recipe, standby = office.submit(LOAD, ASKED), office.submit(STANDBY)
    outcome = await recipe.result
    assert (outcome.result, outcome.items) == (Result.SUPERSEDED, ())
    office.panel.gate.set()
    await asyncio.gather(blocker.result, standby.result)
    assert office.panel.sent == [{"SetFrequency1": 5.0}, {"SetMode": "Standby"}]


async def test_a_write_and_a_recipe_that_wait_do_not_supersede_each_other(office: Office) -> None:
    office.panel.gate.clear()
    blocker = office.submit(MODE, {"value": "Running"})
    await office.panel.began.wait()
    tickets = [office.submit(FREQUENCY, {"value": 5}), office.submit(LOAD, ASKED), office.submit(TAGS[1], {"value": 6})]
    for ticket in tickets:
        await ticket.accepted
    office.panel.gate.set()
    assert [(await ticket.result).result for ticket in (blocker, *tickets)] == [Result.CONFIRMED] * 4
    assert office.panel.sent[1:] == [{"SetFrequency1": 5.0}, *SENT, {"SetFrequency2": 6.0}]


async def test_a_newer_recipe_replaces_the_same_one_that_waits(office: Office) -> None:
    office.panel.gate.clear()
    blocker = office.submit(FREQUENCY, {"value": 5})
    await office.panel.began.wait()
    old, new = office.submit(LOAD, ASKED), office.submit(LOAD, {**ASKED, "First": 11})
    assert (await old.result).result is Result.SUPERSEDED
    office.panel.gate.set()
    assert (await new.result).result is Result.CONFIRMED
    assert (await blocker.result).result is Result.CONFIRMED


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        ({**ASKED, "Mode": "Runing"}, StatusCode.BadOutOfRange, "did you mean"),
        ({**ASKED, "Second": 10_001}, StatusCode.BadOutOfRange, "Second is 10001 mHz"),
        ({**ASKED, "Second": "fast"}, StatusCode.BadTypeMismatch, "Double"),
        ({"First": 1, "Second": 2}, StatusCode.BadInvalidArgument, "Mode is not given"),
    ],
)
async def test_one_bad_argument_and_nothing_is_sent(
    office: Office, arguments: Mapping[str, Value], status: StatusCode, word: str
) -> None:
    outcome = await office.ends(LOAD, arguments)
    assert (outcome.result, outcome.status) == (Result.REJECTED, status)
    assert word in outcome.sentence
    assert office.panel.sent == []


async def test_one_item_the_vendors_room_denies_and_nothing_is_sent(office: Office) -> None:
    def validate(action: Action) -> str | None:
        return "it kills the panel" if "SetMode" in action.payload else None

    office.panel.validate = validate  # type: ignore[method-assign]
    outcome = await office.ends(LOAD, ASKED)
    assert (outcome.result, outcome.status) == (Result.REJECTED, StatusCode.BadInvalidArgument)
    assert outcome.sentence.startswith("Item 4 of 4 (Setpoints/Mode): It must not be sent: it kills the panel")
    assert outcome.sentence.endswith("; nothing was sent")
    assert office.panel.sent == []


async def test_a_recipe_that_expires_on_the_way_stops(office: Office) -> None:
    office.panel.gate.clear()
    recipe = office.submit(LOAD, ASKED, expires=SystemClock().now() + timedelta(seconds=0.2))
    await office.panel.began.wait()
    await asyncio.sleep(0.25)
    office.panel.gate.set()
    outcome = await recipe.result
    assert (outcome.result, outcome.status) == (Result.EXPIRED, StatusCode.BadTimeout)
    assert outcome.sentence.endswith("; 1 done, 3 not sent")
    assert office.panel.sent == SENT[:1]


async def test_what_it_requires_is_looked_at_before_each_item(office: Office) -> None:
    office.panel.gate.clear()
    recipe = office.submit("mock-1.Commands.LoadWhileRunning", {"F": 7})
    await office.panel.began.wait()
    office.panel.state = {**office.panel.state, "mode_state": {"mode": "Standby"}}
    office.panel.gate.set()
    outcome = await recipe.result
    assert (outcome.result, outcome.status) == (Result.REJECTED, StatusCode.BadInvalidState)
    assert "mock-1.Setpoints.Mode must be Running and is Standby; 1 done, 1 not sent" in outcome.sentence
    assert (await office.ends("mock-1.Commands.LoadWhileRunning", {"F": 7})).items == ()


async def test_what_it_has_set_itself_need_not_be_as_it_required(office: Office) -> None:
    outcome = await office.ends("mock-1.Commands.StopAndTune", {"F": 7})
    assert outcome.result is Result.CONFIRMED, outcome
    assert office.panel.sent == [{"SetMode": "Standby"}, {"SetFrequency1": 7.0}]


async def test_its_values_are_ours_and_a_cyclic_writer_is_answered_from_them(office: Office) -> None:
    seen: list[tuple[str, Value]] = []
    is_own = office.desk.is_own
    office.house.keeper.is_own = lambda target, value: seen.append((target, value)) or is_own(target, value)
    assert (await office.ends(LOAD, ASKED)).result is Result.CONFIRMED
    office.panel.announce()
    assert {target for target, _ in seen} >= {TAGS[0], TAGS[3]}
    assert [event.kind for event in office.house.events if "Setpoint" in event.kind] == []
    assert (await office.ends(FREQUENCY, {"value": 10.0})).result is Result.CONFIRMED
    assert office.panel.sent == SENT
    office.panel.state = {**office.panel.state, "frequency1": 25.0}
    office.panel.announce()
    assert "SetpointChangedAtMachine" in [event.kind for event in office.house.events]
    assert (await office.ends(FREQUENCY, {"value": 10.0})).status is StatusCode.BadInvalidState


async def test_the_journal_keeps_every_item(office: Office) -> None:
    says(office, "SetFrequency3", answer=REFUSAL)
    outcome = await office.ends(LOAD, ASKED, id="c1")
    entry = await office.journal.get("c1")
    assert entry is not None and entry.outcome == outcome
    assert [(state, detail) for state, _, detail in entry.history] == [
        (State.ACCEPTED, ""),
        (State.SENDING, "1 of 4 Setpoints/Frequency1"),
        (State.ANSWERED, "1 of 4 Setpoints/Frequency1: The panel took it"),
        (State.SENDING, "2 of 4 Setpoints/Frequency2"),
        (State.ANSWERED, "2 of 4 Setpoints/Frequency2: The panel took it"),
        (State.SENDING, "3 of 4 Setpoints/Frequency3"),
        (State.FINISHED, "refused"),
    ]
    assert (await office.ends(LOAD, ASKED, id="c1")) == outcome
    assert len(office.panel.sent) == 3


async def test_the_admin_api_shows_every_item(office: Office) -> None:
    says(office, "SetFrequency2", answer=REFUSAL)
    outcome = await office.ends(LOAD, ASKED, id="c1")
    entry = await office.journal.get("c1")
    assert entry is not None
    shown = orjson.loads(orjson.dumps(entry_payload(entry)))["items"]
    assert shown == outcome_payload(outcome)["items"]
    assert shown[1] == {
        "target": TAGS[1],
        "value": 20.0,
        "result": "refused",
        "sentence": "No",
        "actual": None,
    }


async def test_a_disk_that_fails_on_the_way_stops_it(office: Office) -> None:
    mark = office.journal.mark

    async def failing(command_id: str, state: State, detail: str = "", *more: Any) -> None:
        if detail.startswith("3 of 4"):
            raise NotRecorded("The disk is full")
        await mark(command_id, state, detail, *more)

    office.journal.mark = failing  # type: ignore[method-assign]
    outcome = await office.ends(LOAD, ASKED)
    assert (outcome.result, outcome.status) == (Result.REJECTED, StatusCode.BadInvalidState)
    assert "The disk is full; 2 done, 2 not sent" in outcome.sentence
    assert office.panel.sent == SENT[:2]


async def test_a_sentence_fits_a_plcs_string_and_still_says_how_far_it_came(office: Office) -> None:
    says(office, "SetFrequency1", answer=Outcome(Result.REFUSED, StatusCode.BadInvalidState, "ä" * 400))
    outcome = await office.ends(LOAD, ASKED)
    assert len(outcome.sentence.encode()) <= 254
    assert outcome.sentence.endswith(" …; 0 done, 3 not sent")
    assert outcome.items[0].sentence == "ä" * 400


# -- a crash on the way -----------------------------------------------------------------------------------------------

MUTATIONS = ["SetFrequency1", "SetFrequency2", "SetFrequency3", "SetMode"]
GOOD = Outcome(Result.CONFIRMED, StatusCode.Good, "It reads so")


async def killed(folder: Path, mutation: str, when: str) -> Path:
    """What a kill -9 leaves on disk, at the moment this item is sent or its confirmation is waited for."""
    left = folder / "left"
    (folder / "alive").mkdir()
    async with make_office(folder / "alive") as office:
        plainly = office.panel.execute

        async def execute(action: Action, deadline: float) -> Outcome:
            if mutation in action.payload and when == "sending":
                shutil.copytree(folder / "alive", left)
            return await plainly(action, deadline)

        async def refresh(machine: str) -> None:
            if mutation in office.panel.sent[-1] and when == "answered" and not left.exists():
                shutil.copytree(folder / "alive", left)

        office.panel.execute = execute  # type: ignore[method-assign]
        office.panel.refresh = refresh  # type: ignore[method-assign]
        await office.ends(LOAD, ASKED, id="c1")
    return left


async def recovered(folder: Path, found: Outcome, *, within_s: float = 30.0) -> tuple[Entry, Office]:
    """What became of c1 when the bridge starts again and reads this."""
    office = make_office(folder, DeskRules(execute_timeout_s=0.02, reconcile_within_s=within_s))
    office.panel.reconcile_answer = found
    async with office, asyncio.timeout(30):
        while await office.journal.unfinished():  # noqa: ASYNC110 - the journal is asked, not listened to
            await asyncio.sleep(0.01)
        entry = await office.journal.get("c1")
        assert office.panel.sent == []
    assert entry is not None and entry.outcome is not None
    return entry, office


@pytest.mark.parametrize("when", ["sending", "answered"])
@pytest.mark.parametrize("index", range(4))
async def test_after_a_crash_the_item_in_flight_is_read_and_the_rest_is_not_sent(
    tmp_path: Path, index: int, when: str
) -> None:
    entry, office = await recovered(await killed(tmp_path, MUTATIONS[index], when), GOOD)
    assert [action.payload for action in office.panel.reconciled] == [SENT[index]]
    assert [action.command for action in office.panel.reconciled] == [("c1", "c1#2", "c1#3", "c1#4")[index]]
    assert entry.state is State.FINISHED
    outcome = entry.outcome
    assert outcome is not None
    left = [Result.UNREACHED] * (3 - index)
    assert results(outcome) == [Result.CONFIRMED] * (index + 1) + left
    assert [item.value for item in outcome.items] == [10.0, 20.0, 30.0, "Standby"]
    if index == 3:
        assert (outcome.result, outcome.status) == (Result.CONFIRMED, StatusCode.Good)
    else:
        assert (outcome.result, outcome.status) == (Result.UNREACHED, StatusCode.BadNotConnected)
        assert outcome.sentence.startswith(f"Item {index + 2} of 4 ({TAGS[index + 1][7:].replace('.', '/')}): ")
        assert outcome.sentence.endswith(f"; {index + 1} done, {3 - index} not sent")


async def test_after_a_crash_an_item_without_effect_is_told(tmp_path: Path) -> None:
    left = await killed(tmp_path, "SetFrequency2", "sending")
    entry, _ = await recovered(left, Outcome(Result.CHANGED, StatusCode.GoodClamped, "It reads 200", 200.0))
    assert entry.outcome is not None
    assert entry.outcome.sentence == (
        "Item 2 of 4 (Setpoints/Frequency2): It has no effect: the machine reads 200.0; 1 done, 2 not sent"
    )
    assert entry.outcome.result is Result.REFUSED


async def test_after_a_crash_an_item_nobody_can_tell_of_waits_for_a_person(tmp_path: Path) -> None:
    entry, _ = await recovered(await killed(tmp_path, "SetFrequency3", "answered"), UNKNOWN, within_s=0.05)
    assert entry.state is State.DEAD
    assert entry.outcome is not None
    assert results(entry.outcome) == [Result.CONFIRMED, Result.CONFIRMED, Result.UNKNOWN, Result.UNREACHED]
    assert entry.outcome.sentence.endswith("; 2 done, 1 not sent")


async def test_before_the_first_item_was_sent_a_crash_leaves_nothing_done(tmp_path: Path) -> None:
    now = SystemClock().now()
    command = Command("c1", LOAD, ASKED, Door.ADMIN, "anna", now, now, Role.OPERATOR)
    async with Journal(tmp_path / "journal.db", SystemClock()) as journal:
        await journal.begin(command, "mock-1", ("panel", "1/7/1"), None, {"items": []})
    entry, office = await recovered(tmp_path, GOOD)
    assert entry.outcome is not None
    assert (entry.outcome.result, entry.outcome.items) == (Result.UNREACHED, ())
    assert office.panel.reconciled == []
