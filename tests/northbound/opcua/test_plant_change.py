"""Machines come, change, go and return while clients look."""

import asyncio
from dataclasses import replace

import pytest
from asyncua import Client, ua

from bridge.model.plant import Machine, Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Range, TagDefinition
from bridge.model.value import DataType, DataValue
from tests.northbound.opcua.house import House, Seen, eventually, house
from tests.one_of_everything import DEFINITIONS, NOW, VALUES, fill, machine


def show(home: House, *machines: Machine) -> None:
    home.table.replace_plant(Plant(home.table.plant.bridge, {one.id: one for one in machines}))


def here(home: House) -> dict[str, Machine]:
    return dict(home.table.plant.machines)


async def status(client: Client, identifier: str) -> str:
    value = await client.get_node(f"ns=2;s={identifier}").read_data_value(raise_on_bad_status=False)
    return str(value.StatusCode.name)


async def until(client: Client, identifier: str, expected: str) -> None:
    async with asyncio.timeout(30):
        while await status(client, identifier) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_machine_that_appears_goes_and_returns() -> None:
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        laser, known = machine(home.slots, "laser-3"), here(home)
        assert await status(client, "laser-3.Monitoring.Pressure") == "BadNodeIdUnknown"
        show(home, *known.values(), laser)
        fill(home.table, "laser-3")
        await until(client, "laser-3.Monitoring.Pressure", "Good")
        seen = Seen()
        subscription = await client.create_subscription(50, seen)
        await subscription.subscribe_data_change(client.get_node("ns=2;s=laser-3.Monitoring.Pressure"))
        await eventually(lambda: seen.of("laser-3.Monitoring.Pressure"))
        show(home, *known.values())
        await until(client, "laser-3.Monitoring.Pressure", "BadOutOfService")
        await eventually(lambda: len(seen.of("laser-3.Monitoring.Pressure")) == 2)
        gone = seen.of("laser-3.Monitoring.Pressure")[-1]
        assert gone.Value.Value is None
        assert gone.SourceTimestamp > NOW
        assert await status(client, "extruder-1.Monitoring.Pressure") == "Good"
        show(home, *known.values(), machine(home.slots, "laser-3"))
        fill(home.table, "laser-3")
        await eventually(lambda: seen.of("laser-3.Monitoring.Pressure")[-1].Value.Value == 12.5)
        line = await client.get_node("ns=2;s=Areas:acme:essen:extrusion:line-1").get_children()
        assert [node.nodeid.Identifier for node in line] == ["extruder-1", "laser-3"]


async def test_recompiled_machine_gains_loses_and_keeps_tags() -> None:
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        fresh = TagDefinition("Monitoring/Fresh", DataType.Double)
        wider = replace(DEFINITIONS[0], eu_range=Range(0, 500), label={"en": "Pressure at the die"})
        kept = [one for one in DEFINITIONS if one.name not in ("Monitoring/Plain", "Monitoring/Pressure")]
        after = machine(home.slots, "extruder-1", (wider, fresh, *kept))
        winder = here(home)["winder-2"]
        show(home, after, winder)
        home.table.update([(after.tags[1].slot, DataValue(7.0, StatusCode.Good, NOW, NOW))])
        await until(client, "extruder-1.Monitoring.Fresh", "Good")
        assert await status(client, "extruder-1.Monitoring.Plain") == "BadOutOfService"
        pressure = client.get_node("ns=2;s=extruder-1.Monitoring.Pressure")
        assert await pressure.read_value() == VALUES["Monitoring/Pressure"].value
        assert (await pressure.read_display_name()).Text == "Pressure at the die"
        assert (await client.get_node("ns=2;s=extruder-1.Monitoring.Pressure.EURange").read_value()).High == 500


async def test_machine_that_moves_is_in_its_new_area_only() -> None:
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        known = here(home)
        moved = machine(home.slots, "winder-2", place=known["extruder-1"].place)
        show(home, known["extruder-1"], moved)
        line = client.get_node("ns=2;s=Areas:acme:essen:extrusion:line-1")
        async with asyncio.timeout(30):
            while len(await line.get_children()) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await client.get_node("ns=2;s=Areas:acme:essen:winding").get_children() == []


async def test_retired_nodes_are_bounded() -> None:
    async with house(unsecured_read_only=True, limits={"retired_tags": 24}) as home, Client(home.url) as client:
        known = here(home)
        first, second = machine(home.slots, "first"), machine(home.slots, "second")
        show(home, *known.values(), first, second)
        await until(client, "second.Monitoring.Pressure", "BadWaitingForInitialData")
        show(home, *known.values(), second)
        await until(client, "first.Monitoring.Pressure", "BadOutOfService")
        show(home, *known.values())
        await until(client, "second.Monitoring.Pressure", "BadOutOfService")
        assert await status(client, "first.Monitoring.Pressure") == "BadNodeIdUnknown"
        machinery = await client.get_namespace_index("http://opcfoundation.org/UA/Machinery/")
        listed = {node.nodeid.Identifier for node in await client.get_node(ua.NodeId(1001, machinery)).get_children()}
        assert listed == {"extruder-1", "winder-2", "second", "Machines.NodeVersion"}
        for orphan in ("first", "first.Monitoring.Pressure.EURange", "first.Identification.Manufacturer"):
            assert await status(client, orphan) == "BadNodeIdUnknown"
        show(home, *known.values(), machine(home.slots, "first"))
        fill(home.table, "first")
        await until(client, "first.Monitoring.Pressure", "Good")


def names(seen: Seen, tag: str) -> list[str]:
    return [one.StatusCode.name for one in seen.of(tag)]


async def test_items_on_a_node_that_is_taken_out_hear_that_it_is_unknown() -> None:
    tag, text = "first.Monitoring.Pressure", "first.MachineryItemState.CurrentState"
    async with house(unsecured_read_only=True, limits={"retired_tags": 0}) as home, Client(home.url) as client:
        known = here(home)
        show(home, *known.values(), machine(home.slots, "first"))
        fill(home.table, "first")
        await until(client, tag, "Good")
        seen = Seen()
        subscription = await client.create_subscription(50, seen)
        nodes = [client.get_node(f"ns=2;s={one}") for one in (tag, text)]
        for queue in (1, 5):
            await subscription.subscribe_data_change(nodes, queuesize=queue)
        await eventually(lambda: names(seen, tag) == names(seen, text) == ["Good"] * 2)
        show(home, *known.values())
        await eventually(lambda: all(names(seen, one).count("BadNodeIdUnknown") == 2 for one in (tag, text)))
        assert {names(seen, one)[-1] for one in (tag, text)} == {"BadNodeIdUnknown"}
        show(home, *known.values(), machine(home.slots, "first"))
        fill(home.table, "first")
        for one in (tag, text):
            await eventually(lambda one=one: names(seen, one).count("Good") == 4)  # type: ignore[misc]


async def test_items_on_what_is_no_value_of_a_tag_follow_its_changes_and_end() -> None:
    names, limits = ("first.Monitoring.Pressure", "first.Monitoring.Pressure.EURange"), {"retired_tags": 0}
    async with house(unsecured_read_only=True, limits=limits) as home, Client(home.url) as client:
        known = here(home)
        show(home, *known.values(), machine(home.slots, "first"))
        await until(client, names[0], "BadWaitingForInitialData")
        seen = Seen()
        subscription = await client.create_subscription(50, seen)
        name, limits_node = (client.get_node(f"ns=2;s={one}") for one in names)
        first = await subscription.subscribe_data_change(name, ua.AttributeIds.DisplayName)
        second = await subscription.subscribe_data_change(limits_node)
        wider = replace(DEFINITIONS[0], eu_range=Range(0, 500), label={"en": "Pressure at the die"})
        show(home, *known.values(), machine(home.slots, "first", (wider, *DEFINITIONS[1:])))
        await eventually(lambda: [len(seen.of(one)) for one in names] == [2, 2])
        assert [seen.of(names[0])[-1].Value.Value.Text, seen.of(names[1])[-1].Value.Value.High] == [
            wider.label["en"],
            500,
        ]
        show(home, *known.values())
        await eventually(lambda: [len(seen.of(one)) for one in names] == [3, 3])
        assert {seen.of(one)[-1].StatusCode.name for one in names} == {"BadNodeIdUnknown"}
        show(home, *known.values(), machine(home.slots, "first"))
        await eventually(lambda: [len(seen.of(one)) for one in names] == [4, 4])
        assert seen.of(names[1])[-1].Value.Value.High == 350
        await subscription.unsubscribe(first)
        show(home, *known.values())
        await eventually(lambda: len(seen.of(names[1])) == 5)
        await subscription.unsubscribe(second)
        await subscription.delete()
        assert home.server.metrics()["opcua_subscriptions"] == 0
        assert len(seen.of(names[0])) == 4


@pytest.mark.parametrize("mode", [ua.MonitoringMode.Reporting, ua.MonitoringMode.Disabled])
async def test_items_on_a_node_that_was_taken_out_go_on_when_it_returns(mode: ua.MonitoringMode) -> None:
    tag = "first.Monitoring.Pressure"
    async with house(unsecured_read_only=True, limits={"retired_tags": 0}) as home, Client(home.url) as client:
        known = here(home)
        show(home, *known.values(), machine(home.slots, "first"))
        fill(home.table, "first")
        await until(client, tag, "Good")
        seen = Seen()
        subscription = await client.create_subscription(50, seen)
        nodes = [client.get_node(f"ns=2;s={one}") for one in (tag, "first.Setpoints.Mode")]
        for queue in (1, 5):
            await subscription.subscribe_data_change(nodes, queuesize=queue)
        await eventually(lambda: len(seen.of(tag)) == 2)
        await subscription.set_monitoring_mode(mode)
        show(home, *known.values())
        await until(client, tag, "BadNodeIdUnknown")
        show(home, *known.values(), machine(home.slots, "first"))
        fill(home.table, "first")
        await until(client, tag, "Good")
        count = len(seen.of(tag))
        await subscription.set_monitoring_mode(ua.MonitoringMode.Reporting)
        home.table.update([(home.tag("Monitoring/Pressure", "first").slot, DataValue(3.5, StatusCode.Good, NOW, NOW))])
        await eventually(lambda: [one.Value.Value for one in seen.of(tag)[count:]].count(3.5) == 2)


async def test_items_enabled_while_their_node_is_gone_hear_so_and_go_on_when_it_returns() -> None:
    tag = "first.Monitoring.Pressure"
    async with house(unsecured_read_only=True, limits={"retired_tags": 0}) as home, Client(home.url) as client:
        known = here(home)
        show(home, *known.values(), machine(home.slots, "first"))
        fill(home.table, "first")
        await until(client, tag, "Good")
        seen = Seen()
        subscription = await client.create_subscription(50, seen)
        item = await subscription.subscribe_data_change(client.get_node(f"ns=2;s={tag}"))
        await eventually(lambda: names(seen, tag) == ["Good"])
        await subscription.set_monitoring_mode(ua.MonitoringMode.Disabled)
        show(home, *known.values())
        await until(client, tag, "BadNodeIdUnknown")
        await subscription.set_monitoring_mode(ua.MonitoringMode.Reporting)
        await eventually(lambda: names(seen, tag) == ["Good", "BadNodeIdUnknown"])
        show(home, *known.values(), machine(home.slots, "first"))
        fill(home.table, "first")
        await eventually(lambda: names(seen, tag)[-1] == "Good")
        home.table.update([(home.tag("Monitoring/Pressure", "first").slot, DataValue(3.5, StatusCode.Good, NOW, NOW))])
        await eventually(lambda: seen.of(tag)[-1].Value.Value == 3.5)
        await subscription.unsubscribe(item)


async def test_a_deadband_for_a_node_that_is_gone_is_refused_for_that_item_only() -> None:
    tag, other = "first.Monitoring.Pressure", "extruder-1.Monitoring.Pressure"
    async with house(unsecured_read_only=True, limits={"retired_tags": 0}) as home, Client(home.url) as client:
        known = here(home)
        show(home, *known.values(), machine(home.slots, "first"))
        await until(client, tag, "BadWaitingForInitialData")
        subscription = await client.create_subscription(50, Seen())
        nodes = [client.get_node(f"ns=2;s={one}") for one in (tag, other)]
        items = await subscription.subscribe_data_change(nodes)
        show(home, *known.values())
        await until(client, tag, "BadNodeIdUnknown")
        narrow = ua.DataChangeFilter(ua.DataChangeTrigger.StatusValue, ua.DeadbandType.Absolute, 1.0)
        wanted = ua.ModifyMonitoredItemsParameters(
            subscription.subscription_id,
            ua.TimestampsToReturn.Both,
            [ua.MonitoredItemModifyRequest(one, ua.MonitoringParameters(1, 50, narrow, 1, True)) for one in items],
        )
        results = await client.uaclient.modify_monitored_items(wanted)
        assert [one.StatusCode.name for one in results] == ["BadDeadbandFilterInvalid", "Good"]


async def test_a_tag_that_comes_back_with_another_type_has_values_of_it_and_items_go_on() -> None:
    tag = "first.Monitoring.Pressure"
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        known = here(home)
        show(home, *known.values(), machine(home.slots, "first"))
        fill(home.table, "first")
        await until(client, tag, "Good")
        seen, node = Seen(), client.get_node(f"ns=2;s={tag}")
        subscription = await client.create_subscription(50, seen)
        for queue in (1, 5):
            await subscription.subscribe_data_change(node, queuesize=queue)
        await eventually(lambda: len(seen.of(tag)) == 2)
        show(home, *known.values(), machine(home.slots, "first", DEFINITIONS[1:]))
        await until(client, tag, "BadOutOfService")
        words = TagDefinition("Monitoring/Pressure", DataType.String)
        show(home, *known.values(), machine(home.slots, "first", (words, *DEFINITIONS[1:])))
        slot = home.tag("Monitoring/Pressure", "first").slot
        home.table.update([(slot, DataValue("high", StatusCode.Good, NOW, NOW))])
        await eventually(lambda: [one.Value.Value for one in seen.of(tag) if one.Value].count("high") == 2)
        assert await node.read_value() == "high"
        assert await node.read_data_type() == ua.NodeId(ua.ObjectIds.String)
