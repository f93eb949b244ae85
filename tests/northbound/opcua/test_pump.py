"""What was answered Good can be read at once; and who waits for that waits for nothing else."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from bridge.hub.table import Feed, Table
from bridge.model.command import Command
from bridge.model.status import StatusCode
from bridge.model.value import DataValue
from bridge.northbound.opcua import pump
from bridge.northbound.opcua.pump import Pump
from bridge.transport.clock import SystemClock
from tests.northbound.opcua.house import (
    CONFIRMED,
    FakeDesk,
    FakeTicket,
    House,
    Seen,
    eventually,
    house,
    identity,
    secure_client,
)
from tests.one_of_everything import NOW, filled_table

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPEED = "extruder-1.Setpoints.ScrewSpeed"
STANDBY = "extruder-1.Commands.Standby"
DONE = 2
V = ua.VariantType


def good(value: float) -> DataValue:
    return DataValue(value, StatusCode.Good, NOW, NOW)


class StandingClock(SystemClock):
    """The face's pace never ends: whatever comes on time was not waited for."""

    async def sleep(self, seconds: float) -> None:
        if seconds == pump.PACE_S:
            await asyncio.Event().wait()
        await super().sleep(seconds)


class Confirming(FakeDesk):
    """Puts another speed on the table, as the readback does, and answers in the same step."""

    def __init__(self) -> None:
        super().__init__()
        self.home: House
        self.speed = 30.0

    def __call__(self, command: Command) -> FakeTicket:
        self.speed += 1.0
        self.home.table.update([(self.home.tag("Setpoints/ScrewSpeed").slot, good(self.speed))])
        return super().__call__(command)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    desk = Confirming()
    async with house(StandingClock(), desk) as home:
        desk.home = home
        home.trust(identity("reader"))
        yield home


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(home: House) -> AsyncIterator[Client]:
    async with await secure_client(home, identity("reader"), "engineer") as client:
        yield client


async def write(client: Client, node: str, value: Any, kind: ua.VariantType) -> str:
    item = ua.WriteValue(ua.NodeId(node, 2), ua.AttributeIds.Value, None, ua.DataValue(ua.Variant(value, kind)))
    return str((await client.uaclient.write(ua.WriteParameters([item])))[0].name)


async def shown(client: Client) -> Any:
    return await client.get_node(f"ns=2;s={SPEED}").read_value()


async def test_a_confirmed_write_can_be_read_back_at_once(home: House, client: Client) -> None:
    for _ in range(3):
        assert await write(client, SPEED, 1.0, V.Double) == "Good"
        assert await shown(client) == home.desk.speed  # type: ignore[attr-defined]


async def test_what_a_method_confirmed_can_be_read_at_once(home: House, client: Client) -> None:
    call = ua.CallMethodRequest(ua.NodeId("extruder-1.Commands", 2), ua.NodeId(f"{STANDBY}Call", 2), [])
    (result,) = await client.uaclient.call([call])
    assert result.StatusCode.is_good()
    assert await shown(client) == home.desk.speed  # type: ignore[attr-defined]


async def test_done_of_a_handshake_comes_after_the_values_it_speaks_of(home: House, client: Client) -> None:
    seen = Seen()
    subscription = await client.create_subscription(10, seen)
    await subscription.subscribe_data_change([client.get_node(f"ns=2;s={STANDBY}.State")])
    home.desk.answers[STANDBY] = "accepted"
    await write(client, f"{STANDBY}.Execute", False, V.Boolean)
    assert await write(client, f"{STANDBY}.Execute", True, V.Boolean) == "Good"
    home.table.update([(home.tag("Setpoints/ScrewSpeed").slot, good(77.0))])
    home.desk.tickets[-1].end.set_result(CONFIRMED)
    await eventually(lambda: seen.of(f"{STANDBY}.State")[-1:] and seen.of(f"{STANDBY}.State")[-1].Value.Value == DONE)
    assert await shown(client) == 77.0
    await subscription.delete()


# --- the pump alone ------------------------------------------------------------------------------------------------


class SlowValues:
    """Where batches go; takes each one when the test says so."""

    def __init__(self) -> None:
        self.taken: list[dict[int, DataValue]] = []
        self.may_go_on = asyncio.Semaphore(0)

    async def write(self, values: Mapping[int, DataValue]) -> None:
        await self.may_go_on.acquire()
        self.taken.append(dict(values))


class NoNodes:
    """Nothing to build."""

    async def apply(self, change: object) -> None:
        return None


@asynccontextmanager
async def pumping() -> AsyncIterator[tuple[Table, Feed, Pump, SlowValues]]:
    """A pump whose pace never ends, with the first batch taken."""
    table, _ = filled_table()
    values = SlowValues()
    with table.subscribe("face") as feed:
        pump = Pump(feed, StandingClock())
        values.may_go_on.release()
        await pump.take(NoNodes(), values)  # type: ignore[arg-type]
        values.taken.clear()
        running = asyncio.create_task(pump.run(NoNodes(), values))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        try:
            yield table, feed, pump, values
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def slot(table: Table) -> int:
    tag = table.plant.find(SPEED)
    assert tag is not None
    return tag.slot


async def test_nobody_waits_where_nothing_has_come() -> None:
    async with pumping() as (_, _, pump, values):
        assert pump.caught_up().done()
        assert values.taken == []


async def test_who_comes_while_a_batch_is_taken_waits_for_it_and_for_what_came_since() -> None:
    async with pumping() as (table, feed, pump, values), asyncio.timeout(30):
        table.update([(slot(table), good(1.0))])
        first = pump.caught_up()
        await eventually(lambda: not feed.has_news)
        second = pump.caught_up()
        table.update([(slot(table), good(2.0))])
        third = pump.caught_up()
        assert not (first.done() or second.done() or third.done())
        values.may_go_on.release()
        await first
        assert values.taken == [{slot(table): good(1.0)}]
        assert not third.done()
        values.may_go_on.release()
        await asyncio.gather(second, third)
        assert values.taken[1:] == [{slot(table): good(2.0)}]


async def test_a_batch_under_way_is_waited_for_though_nothing_comes_after_it() -> None:
    async with pumping() as (table, feed, pump, values), asyncio.timeout(30):
        table.update([(slot(table), good(1.0))])
        pump.caught_up()
        await eventually(lambda: not feed.has_news)
        late = pump.caught_up()
        assert not late.done()
        values.may_go_on.release()
        await late
        assert len(values.taken) == 1


async def test_the_end_of_the_pump_lets_everybody_go() -> None:
    async with pumping() as (table, _, pump, _):
        table.update([(slot(table), good(1.0))])
        waiting = pump.caught_up()
    assert waiting.done()
    assert pump.caught_up().done()
