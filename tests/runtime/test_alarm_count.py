"""Alarms/ActiveCount: how many limits are violated, and never a number that nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.model.status import StatusCode
from tests.runtime.test_plant_keeper import House
from tests.sites import BASE

SITE = BASE.replace("slug: mock, serial: 1", "slug: extruder_v1, serial: 1")
COUNT = "mock-1.Alarms.ActiveCount"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, SITE)


def heat(house: House, front: float, back: float = 100.0) -> None:
    house.observe("live_values", {"front_temperature": front, "back_temperature": back}, "1/4/1")


async def test_violated_limits_are_counted(house: House) -> None:
    heat(house, 100.0)
    assert house.read(COUNT)[:2] == (0, StatusCode.Good)
    heat(house, 301.0, 302.0)
    assert house.read(COUNT).value == 2
    heat(house, 301.0, 100.0)
    assert house.read(COUNT).value == 1


async def test_nothing_is_counted_before_anything_is_heard(house: House) -> None:
    assert house.read(COUNT)[:2] == (None, StatusCode.BadWaitingForInitialData)


async def test_a_lost_machine_has_no_count_that_looks_good(house: House) -> None:
    heat(house, 301.0)
    house.lose()
    assert house.read(COUNT).status.is_uncertain
    assert house.read(COUNT).value == 1
    await house.wait(11)
    assert house.read(COUNT)[:2] == (None, StatusCode.BadNoCommunication)
    assert house.read(COUNT).reason == "The panel is gone"
    heat(house, 100.0)
    assert house.read(COUNT)[:2] == (0, StatusCode.Good)


async def test_one_broken_sensor_does_not_hide_the_other_alarms(house: House) -> None:
    heat(house, 301.0, float("nan"))
    assert house.read("mock-1.Alarms.Temperature.Back.HighHigh").status.is_bad
    assert house.read(COUNT)[:2] == (1, StatusCode.Good)
