"""The plant as an edge node, and what its changes mean for hosts (Sparkplug 3.0 and the committee's answers)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.hub.slots import Slots
from bridge.model.plant import ALIVE, Machine, MachineChange, Plant, PlantChange
from bridge.model.status import StatusCode
from bridge.model.tag import Tag, TagDefinition
from bridge.model.units import UNITS
from bridge.model.value import DataType, DataValue, to_milliseconds
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.plan import Plan
from tests.northbound.sparkplug import schema
from tests.one_of_everything import DEFINITIONS, NOW, bridge_machine, filled_table, machine, plant

NOW_MS = to_milliseconds(NOW) + 10_000


def plan_of(whole: Plant) -> Plan:
    plan = Plan(whole.bridge, SparkplugConfig())
    plan.follow(plan.difference(whole))
    return plan


def test_whole_plant_is_known_after_following_the_difference() -> None:
    whole = plant(Slots())
    plan = plan_of(whole)
    assert list(plan.devices) == ["extruder-1", "winder-2"]
    assert plan.difference(whole) == PlantChange()


def test_device_is_born_with_every_tag() -> None:
    table, _ = filled_table()
    plan = plan_of(table.plant)
    metrics = schema.decode(b"".join(plan.devices["winder-2"].birth(table, NOW, NOW_MS))).metrics
    assert [metric.name for metric in metrics] == [definition.name for definition in DEFINITIONS]
    assert all(metric.is_null for metric in metrics), "nothing was received yet"


def test_alive_is_the_machine_s_own_word() -> None:
    table, _ = filled_table()
    plan = plan_of(table.plant)
    assert plan.devices["extruder-1"].is_alive(table)
    assert not plan.devices["winder-2"].is_alive(table), "its alive tag has no value yet"
    tag = table.plant.machines["extruder-1"].tag(ALIVE)
    assert tag is not None
    table.update([(tag.slot, DataValue(False, StatusCode.Good, NOW, NOW))])
    assert not plan.devices["extruder-1"].is_alive(table)


def test_machine_without_an_alive_tag_lives() -> None:
    table, slots = filled_table()
    simple = machine(slots, "simple", DEFINITIONS[:1])
    table.replace_plant(Plant(table.plant.bridge, {**table.plant.machines, "simple": simple}))
    assert plan_of(table.plant).devices["simple"].is_alive(table)


def test_operational_behavior_data_publish_dbirth_order_is_by_time() -> None:
    plan = plan_of(plant(Slots()))
    device = plan.devices["extruder-1"]
    slots = list(device.metrics)[:3]
    values = [
        (slot, DataValue(None, StatusCode.BadNoData, NOW + timedelta(seconds=ahead), NOW))
        for slot, ahead in zip(slots, (3, 1, 2), strict=True)
    ]
    metrics = schema.decode(b"".join(device.data(values, NOW_MS))).metrics
    assert [metric.timestamp - to_milliseconds(NOW) for metric in metrics] == [1000, 2000, 3000]


def test_values_find_their_device_and_strangers_are_left_out() -> None:
    whole = plant(Slots())
    plan = plan_of(whole)
    value = DataValue(1.0, StatusCode.Good, NOW, NOW)
    pressure = [whole.machines[name].tags[0].slot for name in ("extruder-1", "winder-2")]
    version = whole.bridge.tags[0].slot
    sorted_values = plan.by_owner({pressure[0]: value, pressure[1]: value, version: value, 10_000: value})
    assert {owner.id: [slot for slot, _ in values] for owner, values in sorted_values.items()} == {
        "extruder-1": [pressure[0]],
        "winder-2": [pressure[1]],
        "Bridge": [version],
    }


def change(before: Machine, after: Machine) -> PlantChange:
    return PlantChange(changed=(MachineChange(before, after),))


def test_added_device_is_looked_at() -> None:
    slots = Slots()
    plan = plan_of(plant(slots))
    follow = plan.follow(PlantChange(added=(machine(slots, "laser-3"),)))
    assert "laser-3" in follow.look_at
    assert not follow.is_node_changed


def test_removed_device_dies_and_its_tags_are_forgotten() -> None:
    whole = plant(Slots())
    plan = plan_of(whole)
    gone = whole.machines["winder-2"]
    assert plan.follow(PlantChange(removed=(gone,))).die == ("winder-2",)
    assert not plan.by_owner({gone.tags[0].slot: DataValue(1.0, StatusCode.Good, NOW, NOW)})
    assert plan.follow(PlantChange(removed=(gone,))).die == ()


@pytest.mark.parametrize(
    "definition",
    [
        replace(DEFINITIONS[0], data_type=DataType.Int64),
        replace(DEFINITIONS[0], unit=UNITS["kPa"]),
        replace(DEFINITIONS[0], eu_range=None),
        replace(DEFINITIONS[0], writable=True),
        replace(DEFINITIONS[0], description="other"),
    ],
    ids=["type", "unit", "range", "access", "description"],
)
def test_device_whose_births_would_differ_dies_and_is_looked_at(definition: TagDefinition) -> None:
    """Answer of the Sparkplug committee: DDEATH, then DBIRTH (eclipse-sparkplug/sparkplug issue 540)."""
    slots = Slots()
    whole = plant(slots)
    plan = plan_of(whole)
    before = whole.machines["extruder-1"]
    follow = plan.follow(change(before, machine(slots, "extruder-1", (definition, *DEFINITIONS[1:]))))
    assert follow == (("extruder-1",), ("extruder-1",), False)


def test_device_compiled_anew_with_the_same_metrics_says_nothing() -> None:
    slots = Slots()
    whole = plant(slots)
    plan = plan_of(whole)
    after = machine(slots, "extruder-1")
    assert plan.follow(change(whole.machines["extruder-1"], after)) == ((), (), False)
    assert plan.difference(Plant(whole.bridge, {**whole.machines, "extruder-1": after})) == PlantChange()


def test_changed_node_metrics_want_everything_anew() -> None:
    slots = Slots()
    whole = plant(slots)
    plan = plan_of(whole)
    extra = TagDefinition("Extra", DataType.String)
    after = replace(whole.bridge, tags=(*whole.bridge.tags, Tag("Bridge.Extra", slots.slot("x"), "Bridge", extra)))
    assert plan.follow(change(whole.bridge, after)).is_node_changed
    assert not plan.follow(change(whole.bridge, after)).is_node_changed
    assert not plan.follow(change(after, after)).is_node_changed


def test_tag_that_left_the_table_is_null_in_a_birth() -> None:
    table, slots = filled_table()
    plan = plan_of(table.plant)
    table.replace_plant(Plant(bridge_machine(slots), {}))
    metrics = schema.decode(b"".join(plan.devices["extruder-1"].birth(table, NOW, NOW_MS))).metrics
    assert all(metric.is_null for metric in metrics)
    assert not plan.devices["extruder-1"].is_alive(table)


def test_changed_device_goes_on_where_hosts_stand() -> None:
    """Its times do not go back (hosts refuse older values), and what was bad is said to be good again."""
    table, slots = filled_table()
    plan = plan_of(table.plant)
    before = plan.devices["extruder-1"]
    before.birth(table, NOW, NOW_MS)
    slot = next(slot for slot, one in before.metrics.items() if one.tag.name == "Monitoring/Pressure")
    later = NOW + timedelta(seconds=5)
    before.data([(slot, DataValue(None, StatusCode.BadNoCommunication, later, later, "lost", later))], NOW_MS)
    fewer = machine(slots, definitions=DEFINITIONS[:-1])
    change = Plant(table.plant.bridge, {**table.plant.machines, "extruder-1": fewer}).changes_since(table.plant)
    assert change is not None
    plan.follow(change)
    born = schema.decode(b"".join(plan.devices["extruder-1"].birth(table, NOW, NOW_MS))).metrics
    (pressure,) = (one for one in born if one.name == "Monitoring/Pressure")
    assert pressure.timestamp == to_milliseconds(later), "the table's value is older"
    assert dict(zip(pressure.properties.keys, pressure.properties.values, strict=True))["Quality"].int_value == 192
