"""What a command's readback says, where a command has one: as true as a set point's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.commands.confirm import Confirmation, Reading, read_path
from bridge.model.action import Action, Expectation
from bridge.model.command import Door, Outcome, Result
from bridge.model.observation import Observation
from bridge.model.status import StatusCode
from bridge.model.value import Value
from tests.commands.test_desk import MODE, STANDBY, WRITABLE, Office

TUNE, GO, HOME = "mock-1.Commands.Tune", "mock-1.Commands.Go", "mock-1.Commands.Home"
SITE = WRITABLE.replace("serial: 1}}", "serial: 1}, mapping: test/mock}") + "mappings: [mock.yaml]\n"
MAPPING = """
version: 1
mapping: test/mock
extends: qitech/mock
commands:
  Tune: {args: {To: [0, 1000]}, send: {SetFrequency1: $To}, confirm: {Setpoints/Frequency1: $To}}
  Unlock: {args: {Pin: {type: Int32}}, send: {SetFrequency1: $Pin}}
  Home: {send: {SetHome: true}, confirm: {Setpoints/Mode: Running}, absolute: false}
  Go: {send: {SetMode: Paused}, confirm: {Setpoints/Mode: Running}}
"""


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    (tmp_path / "mock.yaml").write_text(MAPPING, encoding="utf-8")
    async with Office(tmp_path, site=SITE) as one:
        yield one


async def test_a_number_that_is_clamped_is_changed_with_what_it_is(office: Office) -> None:
    office.panel.instead = 22.0
    outcome = await office.ends(TUNE, {"To": 15})
    assert (outcome.result, outcome.status, outcome.actual) == (Result.CHANGED, StatusCode.GoodClamped, 22.0)


async def test_a_number_that_is_announced_as_before_was_refused(office: Office) -> None:
    office.panel.follows = False
    ticket = office.submit(TUNE, {"To": 15})
    await office.panel.began.wait()
    while not ticket._result.done():
        office.panel.announce()
        await office.house.clock.sleep(0.02)
    outcome = await ticket.result
    assert (outcome.result, outcome.actual) == (Result.REFUSED, 100.0)


async def test_a_word_may_pass_through_others_and_is_waited_for(office: Office) -> None:
    office.panel.state["mode_state"] = {"mode": "Standby"}
    office.panel.announce()
    outcome = await office.ends(GO)
    assert (outcome.result, outcome.actual) == (Result.UNKNOWN, "Paused")


async def test_what_our_own_command_changes_was_not_changed_at_the_machine(office: Office) -> None:
    office.house.keeper.is_own = office.desk.is_own
    assert (await office.ends(STANDBY)).result is Result.CONFIRMED
    assert [event for event in office.house.events if event.kind == "SetpointChangedAtMachine"] == []
    office.panel.state = {**office.panel.state, "mode_state": {"mode": "Running"}}
    office.panel.announce()
    (event,) = [event for event in office.house.events if event.kind == "SetpointChangedAtMachine"]
    assert event.data == {"tag": MODE, "before": "Standby", "after": "Running"}


async def home(office: Office, *modes: str) -> Outcome:
    """How it ends where the machine then announces these modes."""
    ticket = office.submit(HOME)
    await office.panel.began.wait()
    while not ticket._result.done():
        for mode in modes:
            office.panel.state = {**office.panel.state, "mode_state": {"mode": mode}}
            office.panel.announce()
        await office.house.clock.sleep(0.02)
    return await ticket.result


async def test_what_read_so_before_does_not_show_that_it_was_done_again(office: Office) -> None:
    office.panel.follows = False
    outcome = await home(office, "Running")
    assert (outcome.result, outcome.status) == (Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously)
    assert "as it did before" in outcome.sentence
    office.panel.answer = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "No answer")
    assert (await home(office, "Running")).result is Result.UNKNOWN


async def test_what_read_so_before_and_is_not_read_again_is_unknown(office: Office) -> None:
    office.panel.follows = False
    assert (await office.ends(HOME)).result is Result.UNKNOWN


async def test_what_reads_otherwise_and_then_so_again_was_done(office: Office) -> None:
    office.panel.follows = False
    assert (await home(office, "Standby", "Running")).result is Result.CONFIRMED


@pytest.mark.parametrize("pin", ["4711x", "anna@acme.example"])
async def test_an_answer_that_everybody_may_read_has_no_secret_in_it(office: Office, pin: str) -> None:
    outcome = await office.ends("mock-1.Commands.Unlock", {"Pin": pin})
    assert (outcome.result, outcome.status) == (Result.REJECTED, StatusCode.BadTypeMismatch)
    assert pin not in outcome.sentence


async def test_a_pushed_third_value_that_was_on_its_way_is_not_taken_for_the_answer(office: Office) -> None:
    office.panel.follows = False
    ticket = office.submit("mock-1.Setpoints.Frequency1", {"value": 250})
    await office.panel.began.wait()
    for frequency in (42.0, 250.0):  # somebody's earlier change, then what was asked
        office.panel.state = {**office.panel.state, "frequency1": frequency}
        office.panel.announce()
        await office.house.clock.sleep(0.02)
    assert (await ticket.result).result is Result.CONFIRMED


async def test_a_writer_that_cycles_is_known_over_a_restart(tmp_path: Path) -> None:
    async with Office(tmp_path) as first:
        assert (
            await first.ends("mock-1.Setpoints.Frequency1", {"value": 30}, requester="plc")
        ).result is Result.CONFIRMED
    async with Office(tmp_path) as second:
        second.panel.state = {**second.panel.state, "frequency1": 25.0}
        second.panel.announce()
        await second.house.clock.sleep(0.2)
        outcome = await second.ends(
            "mock-1.Setpoints.Frequency1", {"value": 30}, requester="plc", id="plc:2", door=Door.OPCUA_WRITE
        )
        assert (outcome.result, outcome.actual) == (Result.REJECTED, 25.0)
        assert second.panel.sent == []


POINT = "readings[device='press 1',metric=pressure].value"
NOW = datetime(2026, 3, 4, tzinfo=UTC)


def sampled(*told: list[tuple[str, Value]], asked_at: float | None = None) -> tuple[Reading, Value]:
    """The verdict on 5 written where it was 4, after these lists of devices and their pressures."""
    action = Action("edge", "agent", {}, ((Expectation(POINT, 5.0, is_sampled=True),),))
    confirmation = Confirmation(action, lambda expectation: 4.0, is_set_point=True)
    confirmation.sent(10.0)
    for rows in told:
        payload = [{"device": device, "metric": "pressure", "value": value} for device, value in rows]
        confirmation.see(Observation("edge", "agent", "readings", payload, NOW, None, asked_at))
    return confirmation.at_the_end()


async def test_a_sample_confirms_and_proves_nothing_else() -> None:
    """What an agent publishes after a write may have been read before it: the old value is no refusal."""
    mine, other = ("press 1", 5.0), ("press 2", 5.0)
    assert sampled([other], [("press 1", 4.0)], [other, mine], [other]) == (Reading.CONFIRMED, None)
    assert sampled([other], [("press 1", 4.0), other]) == (Reading.UNKNOWN, 4.0)
    assert sampled([("press 1", 4.5)]) == (Reading.UNKNOWN, 4.5)
    assert sampled([("press 1", 4.5)], asked_at=11.0) == (Reading.UNKNOWN, 4.5)
    assert sampled([other]) == (Reading.UNKNOWN, None)
    assert sampled() == (Reading.UNKNOWN, None)


def test_a_readback_is_found_by_the_path_as_a_mapping_has_it() -> None:
    payloads = {"state": {"a.b": [{"c": 1}], "rows": [{"id": 1, "v": True}, {"id": 2, "v": None}]}}
    assert read_path(payloads, "state['a.b'][0].c") == 1
    assert read_path(payloads, "state.rows[id=1].v") is True
    for nothing in ("state.rows[id=2].v", "state.rows[id=3].v", "state['a.b'][1]", "state.no.x", "other"):
        assert read_path(payloads, nothing) is None
