"""Tags that appear with the data, in the house: batches, restarts, silence, limits; on a virtual clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from bridge.hub.history import HistoryStore
from bridge.hub.history_file import Bounds
from bridge.model.observation import Observation
from bridge.model.status import StatusCode
from bridge.model.value import DataType
from bridge.transport.clock import VirtualClock
from tests.runtime.test_plant_keeper import House
from tests.sites import make_site

MAPPING = """
version: 1
mapping: test/agent
channels: {readings: {on_change: true, stale_after: 1min, bad_after: 10min}}
each:
  readings:
    in: readings
    key: [device_uuid, metric]
    tag: {"Monitoring/<device>/<metric>": {from: value, unit_from: unit}}
"""
SITE = """
version: 1
bridge: {name: b, enterprise: acme, site: essen}
sources: {panel: {type: qitech, url: "http://127.0.0.1:1", profile: 3.x}}
machines: [{id: agent-1, source: panel, machine: {slug: mock, serial: 1}, mapping: test/agent}]
mappings: [agent.yaml]
"""


def house(folder: Path) -> House:
    (folder / "agent.yaml").write_text(MAPPING)
    return House(folder, SITE)


def row(number: int, value: Any = 1.0, uuid: str = "u", **more: Any) -> dict[str, Any]:
    return {"device_uuid": uuid, "device": "Press", "metric": f"m{number}", "value": value, **more}


def shown(house: House) -> list[str]:
    machine = house.table.plant.machines["agent-1"]
    return [tag.id for tag in machine.tags if tag.definition.is_found]


def kinds(house: House) -> list[str]:
    return [event.kind for event in house.events if event.kind not in ("MachineConnected",)]


async def test_two_hundred_tags_are_one_change_of_the_plant_and_bring_their_first_value(tmp_path: Path) -> None:
    one = house(tmp_path)
    with one.table.subscribe("face") as feed:
        await anext(feed)
        for number in range(200):
            one.observe("readings", [row(number, float(number))])
            await one.wait(0.25 if number % 50 == 0 else 0.0)
        assert shown(one) == []
        plants = {id(one.table.plant)}
        for _ in range(20):
            await one.wait(0.25)
            plants.add(id(one.table.plant))
        assert len(plants) == 2 and len(shown(one)) == 200
        batch = await anext(feed)
        assert batch.change is not None and [change.after.id for change in batch.change.changed] == ["agent-1"]
        tags = {tag.slot: tag for tag in batch.plant.machines["agent-1"].tags}
        said = {tags[slot].name: value.value for slot, value in batch.values.items() if slot in tags}
        assert [said[f"Monitoring/Press/m{number}"] for number in range(200)] == [float(n) for n in range(200)]
    assert kinds(one) == ["TagsAppeared"]
    assert "200 tags appeared" in one.events[-1].message
    assert one.read("Bridge.Tags").value == sum(len(machine.tags) for machine in one.table.plant.everything())


async def test_tags_that_keep_coming_do_not_wait_for_ever(tmp_path: Path) -> None:
    one = house(tmp_path)
    for number in range(48):
        one.observe("readings", [row(number)])
        await one.wait(0.25)
    assert len(shown(one)) > 30


async def test_after_a_restart_the_tags_are_there_before_the_data(tmp_path: Path) -> None:
    one = house(tmp_path)
    one.observe("readings", [row(1, unit="bar"), row(1, True, uuid="v"), row(2, "x")])
    await one.wait(3)
    two = house(tmp_path)
    assert shown(two) == shown(one)
    machine = two.table.plant.machines["agent-1"]
    definitions = [tag.definition for tag in machine.tags if tag.definition.is_found]
    before = [tag.definition for tag in one.table.plant.machines["agent-1"].tags if tag.definition.is_found]
    assert [(d.name, d.data_type, d.unit) for d in definitions] == [(d.name, d.data_type, d.unit) for d in before]
    assert {d.data_type for d in definitions} == {DataType.Double, DataType.Boolean, DataType.String}
    assert two.read("agent-1.readings.u.m1").status is StatusCode.BadWaitingForInitialData
    two.observe("readings", [row(1, 7.5)])
    assert two.read("agent-1.readings.u.m1").value == 7.5
    await two.wait(3)
    assert kinds(two) == []


async def test_beyond_the_limit_is_refused_with_one_event(tmp_path: Path) -> None:
    one = house(tmp_path)
    one.observe("readings", [row(number) for number in range(5000)])
    await one.wait(3)
    for _ in range(2):
        one.observe("readings", [row(number) for number in range(5001)])
        await one.wait(3)
    assert len(shown(one)) == 5000
    assert kinds(one) == ["TagsAppeared", "TagsRefused"]
    assert "5000" in one.events[-1].message
    assert one.keeper.metrics()["rows_refused_total"] == 2


async def test_a_tag_that_is_not_seen_any_more_is_uncertain_then_bad_and_returns(tmp_path: Path) -> None:
    one = house(tmp_path)
    one.observe("readings", [row(1), row(2)])
    await one.wait(3)

    async def only_the_first(seconds: float) -> None:
        for _ in range(round(seconds / 10)):
            one.observe("readings", [row(1)])
            await one.wait(10, step=5)

    await only_the_first(80)
    silent = one.read("agent-1.readings.u.m2")
    assert (silent.value, silent.status) == (1.0, StatusCode.UncertainLastUsableValue)
    assert one.read("agent-1.readings.u.m1").status is StatusCode.Good
    await only_the_first(600)
    assert one.read("agent-1.readings.u.m2").status is StatusCode.BadNoCommunication
    one.observe("readings", [row(2)])
    assert one.read("agent-1.readings.u.m2").value == 1.0
    assert len(shown(one)) == 2


async def test_growth_leaves_what_is_there_as_it_is(tmp_path: Path) -> None:
    one = house(tmp_path)
    one.observe("readings", [row(1, 5.0)])
    await one.wait(3)
    before = one.read("agent-1.readings.u.m1")
    one.observe("readings", [row(2, 6.0)])
    await one.wait(3)
    assert one.read("agent-1.readings.u.m1") is before
    assert one.read("agent-1.readings.u.m2").value == 6.0


async def test_a_changed_mapping_keeps_tags_values_and_silence(tmp_path: Path) -> None:
    one = house(tmp_path)
    one.observe("readings", [row(1, 5.0), row(2, 6.0)])
    await one.wait(3)
    for _ in range(8):
        one.observe("readings", [row(1, 5.0)])
        await one.wait(10, step=5)
    slots = [tag.slot for tag in one.table.plant.machines["agent-1"].tags if tag.definition.is_found]
    (tmp_path / "agent.yaml").write_text(MAPPING.replace("{from: value,", "{from: value, deadband: 0.5,"))
    one.keeper.site = make_site(tmp_path, SITE)
    one.keeper.rebuild()
    assert [tag.slot for tag in one.table.plant.machines["agent-1"].tags if tag.definition.is_found] == slots
    assert one.read("agent-1.readings.u.m1").value == 5.0
    assert one.read("agent-1.readings.u.m2").status is StatusCode.UncertainLastUsableValue
    one.observe("readings", [row(1, 5.2), row(2, 7.0)])
    assert one.read("agent-1.readings.u.m1").value == 5.0
    assert one.read("agent-1.readings.u.m2").value == 7.0


async def test_what_waits_for_its_tag_waits_on_under_a_changed_mapping(tmp_path: Path) -> None:
    one = house(tmp_path)
    one.observe("readings", [row(1, 5.0)])
    (tmp_path / "agent.yaml").write_text(MAPPING.replace("{from: value,", "{from: value, deadband: 0.5,"))
    one.keeper.site = make_site(tmp_path, SITE)
    one.keeper.rebuild()
    await one.wait(3)
    assert one.read("agent-1.readings.u.m1").value == 5.0


async def test_alarms_of_tags_that_appear_are_counted(tmp_path: Path) -> None:
    one = house(tmp_path)
    (tmp_path / "agent.yaml").write_text(
        MAPPING.replace("{from: value,", "{from: value, limits: {high: 50, delay: 5s},")
    )
    one = House(tmp_path, SITE)
    one.observe("readings", [row(1, 60), row(2, 40)])
    await one.wait(3)
    assert one.read("agent-1.Alarms.Press.m1.High").value is False
    await one.wait(6)
    assert one.read("agent-1.Alarms.Press.m1.High").value is True
    assert one.read("agent-1.Alarms.ActiveCount").value == 1


async def test_rows_of_other_points_are_no_drift_of_the_payload(tmp_path: Path) -> None:
    one = house(tmp_path)
    for value, more in ((1.0, {"unit": "bar"}), ("text", {"score": 0.5}), (True, {})):
        one.observe("readings", [row(1, value, uuid=str(value), **more)])
        await one.wait(15, step=5)
    assert "SchemaDrift" not in kinds(one)


async def test_a_smaller_limit_shows_the_oldest(tmp_path: Path) -> None:
    one = house(tmp_path)
    for number in (3, 1, 2):
        one.observe("readings", [row(number)])
        await one.wait(3)
    (tmp_path / "agent.yaml").write_text(MAPPING.replace("    key:", "    limit: 2\n    key:"))
    two = House(tmp_path, SITE)
    assert shown(two) == ["agent-1.readings.u.m3", "agent-1.readings.u.m1"]
    (tmp_path / "agent.yaml").write_text(MAPPING)
    assert shown(House(tmp_path, SITE)) == shown(one)


async def test_late_rows_go_to_the_history_of_tags_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(MAPPING.replace("{from: value,", "{from: value, history: true,"))
    clock = VirtualClock()
    async with HistoryStore(tmp_path / "history.db", clock, Bounds(10_000_000, timedelta(days=1))) as history:
        one = House(tmp_path, SITE, history=history)
        one.observe("readings", [row(1, 5.0)])
        await one.wait(3)
        late = Observation("panel", "1/7/1", "readings", [row(1, 1.0), row(1, 2.0), row(2, 3.0)], one.clock.now())
        before = history.metrics()["history_recorded_total"]
        one.keeper.publish(replace(late, source_time=one.clock.now() - timedelta(hours=1), historical=True))
        assert history.metrics()["history_recorded_total"] == before + 2
        assert one.read("agent-1.readings.u.m1").value == 5.0


async def test_a_unit_without_a_code_is_told_once(tmp_path: Path) -> None:
    one = house(tmp_path)
    one.observe("readings", [row(number, unit="furlong") for number in range(3)])
    await one.wait(3)
    one.observe("readings", [row(9, unit="furlong")])
    await one.wait(3)
    assert kinds(one) == ["TagsAppeared", "UnitUnknown", "TagsAppeared"]


async def test_loss_and_return_are_as_with_other_tags(tmp_path: Path) -> None:
    one = house(tmp_path)
    one.observe("readings", [row(1), row(2)])
    await one.wait(3)
    one.lose()
    assert one.read("agent-1.readings.u.m1").status is StatusCode.UncertainNoCommunicationLastUsableValue
    one.observe("readings", [row(1)])
    assert one.read("agent-1.readings.u.m1").status is StatusCode.Good
    assert one.read("agent-1.readings.u.m2").status is StatusCode.UncertainNoCommunicationLastUsableValue


@pytest.mark.parametrize("damage", [{"tags": 5}, {"tags": [{"source": "panel"}]}, {"machines": [], "tags": [5]}])
async def test_an_inventory_that_cannot_be_read_is_put_aside(tmp_path: Path, damage: Any) -> None:
    (tmp_path / "inventory.json").write_bytes(orjson.dumps(damage))
    assert shown(house(tmp_path)) == []
    assert (tmp_path / "inventory.unreadable").exists()


async def test_an_inventory_of_an_earlier_version_has_no_tags(tmp_path: Path) -> None:
    (tmp_path / "inventory.json").write_bytes(b'{"version": 1, "machines": []}')
    assert shown(house(tmp_path)) == []
