"""The table and its feeds."""

import asyncio

from bridge.hub.slots import Slots
from bridge.model.plant import Plant
from bridge.model.status import StatusCode
from bridge.model.value import DataValue
from tests.one_of_everything import NOW, VALUES, bridge_machine, filled_table, machine, plant


def good(value: float) -> DataValue:
    return DataValue(value, StatusCode.Good, NOW, NOW)


async def test_first_batch_is_the_whole_plant() -> None:
    table, _ = filled_table()
    with table.subscribe("reader") as feed:
        batch = await anext(feed)
    assert batch.change is not None
    assert [one.id for one in batch.change.added] == ["Bridge", "extruder-1", "winder-2"]
    assert dict(batch.values) == table.snapshot()


async def test_a_tag_without_a_value_waits_for_its_first() -> None:
    table, _ = filled_table()
    tag = table.plant.machines["winder-2"].tag("Monitoring/Pressure")
    assert tag is not None
    assert table.read(tag).status is StatusCode.BadWaitingForInitialData
    assert table.read(tag).value is None


async def test_slow_reader_gets_the_newest_value_once() -> None:
    table, _ = filled_table()
    tag = table.plant.find("extruder-1.Monitoring.Pressure")
    assert tag is not None
    with table.subscribe("slow") as feed:
        await anext(feed)
        for value in range(100):
            table.update([(tag.slot, good(value))])
        batch = await anext(feed)
        assert batch.change is None
        assert dict(batch.values) == {tag.slot: good(99)}


async def test_slow_reader_may_take_a_newer_value_while_it_tells_a_batch() -> None:
    table, _ = filled_table()
    first, second = (table.plant.find(f"extruder-1.Monitoring.{name}") for name in ("Pressure", "Plain"))
    assert first is not None and second is not None
    with table.subscribe("slow") as feed:
        await anext(feed)
        table.update([(first.slot, good(1.0)), (second.slot, good(1.0))])
        assert feed.newer(first.slot) == good(1.0)
        assert feed.newer(first.slot) is None
        assert dict((await anext(feed)).values) == {second.slot: good(1.0)}


async def test_reader_that_took_everything_waits() -> None:
    table, _ = filled_table()
    tag = table.plant.find("extruder-1.Monitoring.Pressure")
    assert tag is not None
    with table.subscribe("slow") as feed:
        await anext(feed)
        table.update([(tag.slot, good(1.0))])
        feed.newer(tag.slot)
        waiting = asyncio.create_task(anext(feed))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        assert not waiting.done()
        table.update([(tag.slot, good(2.0))])
        assert dict((await waiting).values) == {tag.slot: good(2.0)}


async def test_reader_waits_while_nothing_changes() -> None:
    table, _ = filled_table()
    with table.subscribe("idle") as feed:
        await anext(feed)
        waiting = asyncio.create_task(anext(feed))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        assert not waiting.done()
        tag = table.plant.find("extruder-1.Monitoring.Plain")
        assert tag is not None
        table.update([(tag.slot, good(1.0))])
        assert tag.slot in (await waiting).values


async def test_machine_that_appears_comes_in_order_with_its_values() -> None:
    table, slots = filled_table()
    with table.subscribe("reader") as feed:
        await anext(feed)
        laser = machine(slots, "laser-3")
        table.replace_plant(Plant(table.plant.bridge, {**table.plant.machines, "laser-3": laser}))
        table.update([(laser.tags[0].slot, VALUES["Monitoring/Pressure"])])
        batch = await anext(feed)
        assert batch.change is not None
        assert [one.id for one in batch.change.added] == ["laser-3"]
        assert set(batch.values) == {tag.slot for tag in laser.tags}
        assert batch.values[laser.tags[0].slot].value == 12.5


async def test_removed_machine_takes_its_pending_values_along() -> None:
    table, _ = filled_table()
    gone = table.plant.machines["winder-2"]
    with table.subscribe("reader") as feed:
        await anext(feed)
        table.update([(gone.tags[0].slot, good(1.0))])
        table.replace_plant(Plant(table.plant.bridge, {"extruder-1": table.plant.machines["extruder-1"]}))
        table.update([(gone.tags[0].slot, good(2.0))])
        batch = await anext(feed)
        assert batch.change is not None
        assert [one.id for one in batch.change.removed] == ["winder-2"]
        assert not batch.values


async def test_machine_removed_and_added_between_two_reads_is_a_change() -> None:
    table, slots = filled_table()
    with table.subscribe("reader") as feed:
        await anext(feed)
        alone = Plant(table.plant.bridge, {"extruder-1": table.plant.machines["extruder-1"]})
        table.replace_plant(alone)
        table.replace_plant(Plant(alone.bridge, {**alone.machines, "winder-2": machine(slots, "winder-2")}))
        batch = await anext(feed)
        assert batch.change is not None
        assert not batch.change.added
        assert [change.after.id for change in batch.change.changed] == ["winder-2"]


async def test_recompiled_machine_keeps_the_values_of_tags_that_stay() -> None:
    table, slots = filled_table()
    before = table.plant.machines["extruder-1"]
    after = machine(slots, "extruder-1", tuple(tag.definition for tag in before.tags[:3]))
    table.replace_plant(Plant(table.plant.bridge, {**table.plant.machines, "extruder-1": after}))
    assert table.read(after.tags[0]).value == 12.5
    assert table.get(before.tags[5].slot) is None


async def test_feed_that_left_is_not_kept() -> None:
    table, _ = filled_table()
    with table.subscribe("short"):
        assert table.readers == ("short",)
    assert table.readers == ()


def test_slots_are_stable_and_bounded() -> None:
    slots = Slots(limit=2)
    assert slots.slot("a") == slots.slot("a") == 0
    assert slots.slot("b") == 1
    try:
        slots.slot("c")
    except OverflowError as error:
        assert "2 tags" in str(error)
    else:
        raise AssertionError("a third slot was given")


def test_plant_finds_a_tag_by_its_id() -> None:
    slots = Slots()
    here = plant(slots)
    assert here.find("extruder-1.Monitoring.Temperature.Front") is here.machines["extruder-1"].tag(
        "Monitoring/Temperature/Front"
    )
    assert here.find("Bridge.Version") is not None
    assert here.find("extruder-1.Nothing") is None
    assert here.find("nobody.Monitoring.Pressure") is None
    assert bridge_machine(slots).id == "Bridge"
