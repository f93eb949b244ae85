"""A machine compiled anew goes on where it stood: nothing it was told is forgotten, nothing it lost looks Good."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.model.observation import Condition, FoundMachine, Inventory
from bridge.model.status import StatusCode
from tests.runtime.test_plant_keeper import LIVE, STATE, House
from tests.sites import BASE, make_site

LABELLED = BASE.replace("{id: mock-1, area: lab,", "{id: mock-1, label: Oven, area: hall,")
NARROWER = BASE.replace(
    "machine: {slug: mock, serial: 1}}",
    "machine: {slug: mock, serial: 1}, tags: {Monitoring/AmplitudeSum: {range: [0, 0.4]}}}",
)
LIVE_TAG, STATE_TAG = "mock-1.Monitoring.AmplitudeSum", "mock-1.Setpoints.Frequency1"


def change(house: House, text: str) -> None:
    """Take over another bridge.yaml, as a reload does."""
    site = make_site(house.folder, text)
    site.library.adopt(house.keeper.site.library)
    house.keeper.site = site
    house.keeper.rebuild()


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.observe("state", STATE)
    house.observe("live_values", LIVE)
    return house


async def test_values_and_connection_stay_with_their_times(house: House) -> None:
    names = (
        LIVE_TAG,
        STATE_TAG,
        "mock-1.Status.ItemState",
        "mock-1.Connection.Alive",
        "mock-1.Connection.values.State",
    )
    before = [house.read(name) for name in names]
    await house.wait(1)
    change(house, LABELLED)
    assert house.table.plant.machines["mock-1"].label == "Oven"
    assert [house.read(name) for name in names] == before


async def test_silence_afterwards_is_noticed(house: House) -> None:
    change(house, LABELLED)
    await house.wait(3)
    assert house.read(LIVE_TAG).status is StatusCode.UncertainLastUsableValue
    assert house.read(STATE_TAG).status is StatusCode.UncertainLastUsableValue
    await house.wait(12)
    assert house.read(LIVE_TAG).status is StatusCode.BadNoCommunication
    assert house.read(STATE_TAG).status is StatusCode.BadNoCommunication


async def test_a_loss_before_still_ends_bad_and_the_return_is_seen(house: House) -> None:
    house.lose()
    lost = house.read(STATE_TAG)
    change(house, LABELLED)
    assert house.read(STATE_TAG) == lost
    assert house.read("mock-1.Connection.values.StateText").value == "Lost"
    await house.wait(11)
    assert house.read(STATE_TAG).status is StatusCode.BadNoCommunication
    change(house, BASE)
    assert house.read(STATE_TAG).status is StatusCode.BadNoCommunication
    house.observe("state", STATE)
    house.observe("live_values", LIVE)
    assert house.read(STATE_TAG).status is StatusCode.Good
    assert house.read("mock-1.Connection.values.StateText").value == "Connected"


async def test_what_was_said_is_seen_through_the_new_rules_at_once(house: House) -> None:
    change(house, NARROWER)
    assert house.read(LIVE_TAG).status is StatusCode.UncertainEngineeringUnitsExceeded
    assert house.read(STATE_TAG).status is StatusCode.Good


async def test_new_rules_do_not_make_a_lost_value_look_heard(house: House) -> None:
    house.lose()
    await house.wait(11)
    change(house, NARROWER)
    assert house.read(LIVE_TAG).status is StatusCode.BadNoCommunication


async def test_an_id_that_moves_to_another_machine_does_not_show_the_old_ones_values(house: House) -> None:
    change(house, BASE.replace("serial: 1}", "serial: 3}"))
    for name in (LIVE_TAG, STATE_TAG):
        assert house.read(name).status is StatusCode.BadWaitingForInitialData
        assert house.read(name).value is None
    assert house.read("mock-1.Connection.values.StateText").value == "Waiting"
    assert house.read("mock-1.Connection.Alive").value is False


async def test_a_found_machine_that_is_named_keeps_what_it_said(house: House) -> None:
    identity = {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock", "profile": "3.x"}
    house.keeper.publish(Inventory("panel", appeared=(FoundMachine("1/7/9", identity),)))
    house.observe("state", STATE, "1/7/9")
    change(house, BASE + "  - {id: oven, source: panel, machine: {slug: mock, serial: 9}}\n")
    assert "panel-mock-9" not in house.table.plant.machines
    assert house.read("oven.Setpoints.Frequency1").value == 100.0
    assert house.read("oven.Setpoints.Frequency1").status is StatusCode.Good


async def test_a_refusal_before_anything_was_heard_stays(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.keeper.publish(
        Condition("panel", StatusCode.BadConfigurationError, "401", house.clock.now(), advice="Mend the password")
    )
    change(house, LABELLED)
    assert house.read(LIVE_TAG).status is StatusCode.BadConfigurationError
    assert house.read("mock-1.Connection.values.Advice").value == "Mend the password"


async def test_a_machine_that_goes_and_comes_back_begins_anew(house: House) -> None:
    line = next(line for line in BASE.splitlines() if "mock-1" in line)
    change(house, BASE.replace(line + "\n", ""))
    assert house.table.plant.find(LIVE_TAG) is None
    change(house, BASE)
    assert house.read(LIVE_TAG).status is StatusCode.BadWaitingForInitialData
