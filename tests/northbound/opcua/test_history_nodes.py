"""What clients read of how history is kept (Part 11, HistoricalDataConfiguration)."""

from dataclasses import replace

from asyncua import Client, Node, ua

from tests.northbound.opcua.house import house
from tests.northbound.opcua.test_plant_change import here, show
from tests.one_of_everything import DEFINITIONS, machine

REFERENCE = ua.ObjectIds.HasHistoricalConfiguration


async def configurations(client: Client, identifier: str) -> list[Node]:
    return await client.get_node(f"ns=2;s={identifier}").get_referenced_nodes(refs=REFERENCE)


async def test_tags_with_a_history_say_how_it_is_kept_and_others_nothing() -> None:
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        [found] = await configurations(client, "extruder-1.Monitoring.Pressure")
        assert (await found.read_browse_name()).Name == "HA Configuration"
        assert (await found.read_type_definition()).Identifier == ua.ObjectIds.HistoricalDataConfigurationType
        held = {(await one.read_browse_name()).Name: await one.read_value() for one in await found.get_properties()}
        assert held["Stepped"] is True
        assert "deadband" in held["Definition"]
        aggregate = await found.get_child("0:AggregateConfiguration")
        assert await (await aggregate.get_child("0:UseSlopedExtrapolation")).read_value() is False
        assert await configurations(client, "winder-2.Monitoring.Pressure") == [found]
        assert await configurations(client, "extruder-1.Setpoints.Mode") == []


async def test_it_comes_and_goes_with_the_mapping_and_outlives_its_tags() -> None:
    async with house(unsecured_read_only=True, limits={"retired_tags": 0}) as home, Client(home.url) as client:
        mode = next(one for one in DEFINITIONS if one.name == "Setpoints/Mode")
        pressure, *others = DEFINITIONS
        assert pressure.history
        turned = (replace(pressure, history=False), *(replace(one, history=one is mode) for one in others))
        show(home, machine(home.slots, "extruder-1", turned), here(home)["winder-2"])
        while not (found := await configurations(client, "extruder-1.Setpoints.Mode")):
            pass
        assert await configurations(client, "extruder-1.Monitoring.Pressure") == []
        show(home, here(home)["extruder-1"])
        assert await is_gone(client, "winder-2.Monitoring.Pressure")
        assert await (await found[0].get_child("0:Stepped")).read_value() is True


async def is_gone(client: Client, identifier: str) -> bool:
    while True:
        value = await client.get_node(f"ns=2;s={identifier}").read_data_value(raise_on_bad_status=False)
        if value.StatusCode.name == "BadNodeIdUnknown":
            return True
