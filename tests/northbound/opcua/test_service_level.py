"""How much a server can do, as clients of several servers ask it."""

from typing import Any

import pytest
from asyncua import Client, ua

from bridge.hub.slots import Slots
from bridge.model.path import Place
from bridge.model.plant import Machine, Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Tag, TagDefinition
from bridge.model.value import DataType, DataValue, bad
from bridge.northbound.opcua.service_level import service_level
from tests.northbound.opcua.house import Seen, eventually, house
from tests.one_of_everything import NOW


@pytest.mark.parametrize(
    ("connected", "level"),
    [
        ([], 255),
        ([True], 255),
        ([False], 1),
        ([None], 1),
        ([True, False], 100),
        ([True] * 99 + [None], 197),
        ([False] * 999 + [True], 2),
    ],
)
def test_level_follows_the_share_of_sources_that_speak(connected: list[Any], level: int) -> None:
    slots = Slots()
    names = [f"Sources/s{number}/Connected" for number in range(len(connected))] + ["Sources/s0/Reconnects"]
    tags = [Tag(name, slots.slot(name), "Bridge", TagDefinition(name, DataType.Boolean)) for name in names]
    values = dict(zip(names, [*connected, False], strict=True))
    plant = Plant(Machine("Bridge", Place("a", "b"), "bridge", (), tuple(tags)), {})

    def read(tag: Tag) -> DataValue:
        value = values[tag.name]
        if value is None:
            return bad(StatusCode.BadWaitingForInitialData, "", NOW)
        return DataValue(value, StatusCode.Good, NOW, NOW)

    assert service_level(plant, read) == level


async def test_a_client_sees_the_level_fall_and_rise() -> None:
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        seen, node = Seen(), ua.ObjectIds.Server_ServiceLevel
        subscription = await client.create_subscription(50, seen)
        await subscription.subscribe_data_change(client.get_node(node))
        await eventually(lambda: seen.of(node) and seen.of(node)[-1].Value.Value == 255)
        source = home.tag("Sources/panel/Connected", "Bridge")
        home.table.update([(source.slot, DataValue(False, StatusCode.Good, NOW, NOW))])
        await eventually(lambda: seen.of(node)[-1].Value.Value == 1)
        home.table.update([(source.slot, DataValue(True, StatusCode.Good, NOW, NOW))])
        await eventually(lambda: seen.of(node)[-1].Value.Value == 255)
