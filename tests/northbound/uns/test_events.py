"""When an event counts as told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bridge.hub.slots import Slots
from bridge.model.event import Event
from bridge.model.plant import Plant
from bridge.northbound.uns.events import Events
from bridge.northbound.uns.topic import DEFAULT_TEMPLATE, Namespace
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import Link
from tests.northbound.uns.test_publisher import until
from tests.one_of_everything import NOW, plant
from tests.transport.played_mqtt import PlayedBroker


class Log:
    """One event, and what was acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []

    async def read(self, reader: str, limit: int) -> Sequence[tuple[int, Event]]:
        if self.acknowledged:
            await asyncio.Event().wait()
        return [(7, Event("e-1", "stop", NOW, "It stopped", 300, "panel", "extruder-1"))]

    def acknowledge(self, reader: str, position: int) -> None:
        self.acknowledged.append(position)


class View:
    """As much of a table as events need."""

    def __init__(self) -> None:
        self.log = Log()
        self.plant: Plant = plant(Slots())


@pytest.mark.parametrize("qos", [0, 1])
async def test_event_counts_when_the_broker_has_it_whatever_its_quality(qos: int) -> None:
    view = View()
    told = Events("uns", qos, SystemClock(), Namespace(DEFAULT_TEMPLATE, "acme", "essen", "edge-1"), ())
    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        publishing = asyncio.create_task(told.publish(link, view))  # type: ignore[arg-type]
        await until(lambda: len(broker.published) == 1)
        if qos:
            assert not view.log.acknowledged
            broker.acknowledge([broker.published[0].identifier])
        else:
            await until(lambda: bool(broker.others))  # it asks whether what is before that has arrived
            assert not view.log.acknowledged
            broker.say(b"\xb0\x02" + broker.others[0].body[:2])
        await until(lambda: view.log.acknowledged == [7])
        publishing.cancel()
        await asyncio.wait({publishing})
