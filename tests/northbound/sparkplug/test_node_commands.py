"""DCMDs to the edge node on a real broker: from a host's message to the answer it sees."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bridge.model.command import Door, Role
from bridge.model.plant import Plant
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, to_milliseconds
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug import node as node_module
from bridge.northbound.sparkplug.codec import MetricType, stamp
from bridge.northbound.sparkplug.door import WAITING
from bridge.northbound.sparkplug.session import REBIRTH
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import Link, Message
from tests import peers
from tests.broker import broker
from tests.northbound.fake_desk import CHANGED, CONFIRMED, REFUSED, UNKNOWN, UNREACHED, FakeDesk
from tests.northbound.sparkplug.test_node import Watcher, new_node, say, until, watching
from tests.one_of_everything import filled_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.hub.table import Table
    from bridge.northbound.sparkplug.node import SparkplugNode

CLOCK = SystemClock()
DCMD = "spBv1.0/acme:essen/DCMD/bridge-1/extruder-1"
SPEED = "Setpoints/ScrewSpeed"
OPEN = {"enabled": True}


@pytest.fixture(autouse=True)
def quick_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "BACK_OFF_S", (0.02, 0.04))


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    yield
    await until(lambda: asyncio.all_tasks() <= {asyncio.current_task()})


@asynccontextmanager
async def serving(node: SparkplugNode, table: Table, desk: FakeDesk) -> AsyncIterator[None]:
    task = asyncio.create_task(node.run(table, desk, None))  # type: ignore[arg-type]
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


def now_ms() -> int:
    return to_milliseconds(CLOCK.now())


def dcmd(*metrics: tuple[str, MetricType, Any], timestamp: int | None = None) -> bytes:
    encoded = [codec.MetricEncoder(name, kind).encode(stamp(1), value, with_type=True) for name, kind, value in metrics]
    return codec.payload(now_ms() if timestamp is None else timestamp, encoded, None)


def speed(value: float, **more: Any) -> bytes:
    return dcmd((SPEED, MetricType.Double, value), **more)


def answer(host: Watcher, subject: str = "DCMD") -> tuple[Any, Any, Any]:
    tags = host.tags.get("extruder-1", {})
    names = (f"Commands/{subject}/{word}" for word in ("Result", "Sentence", "Count"))
    result, sentence, count = (tags[name].value if name in tags else None for name in names)
    return result, sentence, count


async def born(host: Watcher) -> None:
    await until(lambda: "extruder-1" in host.tags)


@pytest.mark.tck("topics-dcmd-topic", "operational-behavior-data-commands-dcmd-verb")
@pytest.mark.tck("topics-ncmd-topic", "operational-behavior-data-commands-ncmd-verb")
async def test_tck_commands_come_on_their_own_topics_only(tmp_path: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk(lambda command: CONFIRMED)
    request = codec.payload(1, [codec.MetricEncoder(REBIRTH, MetricType.Boolean).encode(stamp(1), True)], None)
    nowhere = ("NCMD/bridge-1/x", "NCMD/bridge-2", "DCMD/bridge-1", "DCMD/bridge-2/extruder-1", "DCMD/bridge-1/other")
    async with broker() as server, watching(server) as host:
        node = new_node(server, tmp_path, commands=OPEN)
        async with serving(node, table, desk):
            await born(host)
            for topic in nowhere:
                host.publish(f"spBv1.0/acme:essen/{topic}", speed(1.0))
                host.publish(f"spBv1.0/acme:essen/{topic}", request)
            host.publish("spBv1.0/acme:essen/NCMD/bridge-1", speed(2.0))
            host.publish("spBv1.0/acme/DCMD/bridge-1/extruder-1", speed(3.0))
            host.publish("spAv1.0/acme:essen/DCMD/bridge-1/extruder-1", speed(4.0))
            host.publish(DCMD, request)
            host.publish(DCMD, speed(30.0))
            await until(lambda: desk.commands)
            assert node.session.rebirths == 0
            host.publish("spBv1.0/acme:essen/NCMD/bridge-1", request)
            await until(lambda: node.session.rebirths == 1)
    assert [command.arguments for command in desk.commands] == [{"value": 30.0}]
    assert host.broken == []


async def test_set_point_goes_to_the_desk_and_comes_back_as_readback_and_answer(tmp_path: Any) -> None:
    table, _ = filled_table()

    def carry_out(command: Any) -> Any:
        say(table, SPEED, 25.0)  # what the machine reads back
        return CHANGED

    desk = FakeDesk(carry_out)
    async with broker() as server, watching(server) as host:
        node = new_node(server, tmp_path, commands={"enabled": True, "role": "Engineer"})
        async with serving(node, table, desk):
            await born(host)
            assert host.tags["extruder-1"][SPEED].properties["readOnly"] is False
            assert host.tags["extruder-1"]["Setpoints/ModeText"].properties["readOnly"] is True
            host.publish(DCMD, speed(30.0))
            await until(lambda: answer(host)[2] == 1)
            assert answer(host) == ("changed", f"{SPEED}: {CHANGED.sentence}", 1)
            assert host.tags["extruder-1"][SPEED].value == 25.0, "the readback comes before the answer, or with it"
    assert desk.asked == [("extruder-1.Setpoints.ScrewSpeed", {"value": 30.0})]
    assert (desk.commands[0].door, desk.commands[0].role) == (Door.SPARKPLUG, Role.ENGINEER)
    assert node.command_errors_total == 0
    assert host.broken == []


@pytest.mark.parametrize("outcome", [CONFIRMED, REFUSED, UNKNOWN, UNREACHED])
async def test_command_is_answered_beside_it(tmp_path: Any, outcome: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk(lambda command: outcome)
    async with (
        broker() as server,
        watching(server) as host,
        serving(new_node(server, tmp_path, commands=OPEN), table, desk),
    ):
        await born(host)
        assert answer(host, "SetPid/Front") == (None, None, 0)
        host.publish(
            DCMD,
            dcmd(
                ("Commands/SetPid/Front/Args/Kp", MetricType.Double, 2.0),
                ("Commands/SetPid/Front/Args/Zone", MetricType.String, "back"),
                ("Commands/SetPid/Front/Execute", MetricType.Boolean, True),
            ),
        )
        await until(lambda: answer(host, "SetPid/Front")[2] == 1)
        assert answer(host, "SetPid/Front") == (outcome.result.value, outcome.sentence, 1)
        assert host.tags["extruder-1"]["Commands/SetPid/Front/Execute"].value is False
    assert desk.asked == [("extruder-1.Commands.SetPid.Front", {"Kp": 2.0, "Zone": "back"})]
    assert host.broken == []


async def test_answer_and_readback_do_not_wait_for_the_publish_interval(tmp_path: Any) -> None:
    table, _ = filled_table()

    def carry_out(command: Any) -> Any:
        say(table, SPEED, command.arguments["value"])
        return CONFIRMED

    long = 60  # seconds; far beyond what `until` waits
    async with (
        broker() as server,
        watching(server) as host,
        serving(new_node(server, tmp_path, commands=OPEN, publish_interval=long), table, FakeDesk(carry_out)),
    ):
        await born(host)
        for count in (1, 2, 3):
            host.publish(DCMD, speed(30.0 + count))
            await until(lambda count=count: answer(host)[2] == count)
            assert host.tags["extruder-1"][SPEED].value == 30.0 + count
        assert host.broken == []


async def test_closed_door_hears_nothing_and_says_so_in_births(tmp_path: Any, caplog: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk()
    async with broker() as server, watching(server) as host:
        node = new_node(server, tmp_path)
        async with serving(node, table, desk):
            await born(host)
            for _ in range(3):
                host.publish(DCMD, speed(30.0))
            await until(lambda: node.commands_total == 3)
    assert desk.commands == []
    assert host.tags["extruder-1"][SPEED].properties["readOnly"] is True
    assert not [name for name in host.tags["extruder-1"] if name.startswith("Commands/")]
    assert caplog.text.count("Commands from Sparkplug are off") == 1


async def test_what_is_not_understood_is_counted_and_the_rest_goes_on(tmp_path: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk()
    async with broker() as server, watching(server) as host:
        node = new_node(server, tmp_path, commands=OPEN)
        async with serving(node, table, desk):
            await born(host)
            host.publish(
                DCMD,
                dcmd(
                    ("Setpoints/Nothing", MetricType.Double, 1.0),
                    ("Setpoints/Enabled", MetricType.Boolean, None),
                    (SPEED, MetricType.Double, 30.0),
                ),
            )
            await until(lambda: answer(host)[2] == 3)
            assert node.command_errors_total == 2
    assert [target for target, _ in desk.asked] == ["extruder-1.Setpoints.ScrewSpeed"]


async def test_retained_and_old_commands_are_refused_with_an_answer(tmp_path: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk()
    async with broker() as server, watching(server) as host:
        host.publish(DCMD, speed(30.0), qos=1, retain=True)
        assert await host.link.flush(5)
        async with serving(new_node(server, tmp_path, commands=OPEN), table, desk):
            await until(lambda: answer(host)[0] == "rejected")
            assert desk.commands[0].retained
            host.publish(DCMD, speed(30.0, timestamp=now_ms() - 31_000))
            await until(lambda: answer(host)[0] == "expired")
    assert desk.carried_out == []


async def test_command_published_while_the_bridge_was_down_does_nothing(tmp_path: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk()
    async with broker() as server, watching(server) as host:
        async with serving(new_node(server, tmp_path, commands=OPEN), table, desk):
            await born(host)
        await until(lambda: not host.is_online)
        host.publish(DCMD, speed(30.0), qos=1)
        assert await host.link.flush(5)
        async with serving(new_node(server, tmp_path, commands=OPEN), table, desk):
            await until(lambda: host.is_online and "extruder-1" not in host.dead)
            host.publish(DCMD, speed(31.0), qos=1)
            await until(lambda: answer(host)[2] == 1)
    assert [arguments for _, arguments in desk.asked] == [{"value": 31.0}]


async def test_answer_that_comes_while_the_broker_is_away_is_in_the_next_birth(tmp_path: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk(lambda command: None)
    async with broker() as server, serving(new_node(server, tmp_path, commands=OPEN), table, desk):
        async with watching(server) as host:
            await born(host)
            host.publish(DCMD, speed(30.0))
            await until(lambda: desk.commands)
        await server.stop()
        desk.tickets[0].future.set_result(CONFIRMED)
        await server.start()
        async with watching(server) as host:
            await rebirth_until_born(host)
            assert answer(host) == ("confirmed", f"{SPEED}: {CONFIRMED.sentence}", 1)


async def rebirth_until_born(host: Watcher) -> None:
    """Ask for the births until they come: the node may connect after us, or may have been there before."""
    request = codec.payload(1, [codec.MetricEncoder(REBIRTH, MetricType.Boolean).encode(stamp(1), True)], None)
    async with asyncio.timeout(30):
        while "extruder-1" not in host.tags:
            host.publish("spBv1.0/acme:essen/NCMD/bridge-1", request)
            await asyncio.sleep(0.05)


async def test_commands_beyond_the_bound_are_refused_and_not_handed_in(tmp_path: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk(lambda command: None)
    many = dcmd(*((SPEED, MetricType.Double, float(number)) for number in range(WAITING + 5)))
    async with broker() as server, watching(server) as host:
        node = new_node(server, tmp_path, commands=OPEN)
        async with serving(node, table, desk):
            await born(host)
            host.publish(DCMD, many)
            await until(lambda: answer(host)[2] == 5)
            assert answer(host)[0] == "rejected"
            for ticket in desk.tickets:
                ticket.future.set_result(CONFIRMED)
            await until(lambda: answer(host)[2] == WAITING + 5)
    assert len(desk.commands) == WAITING
    assert node.command_errors_total == 5


async def test_node_that_stops_cancels_no_command(tmp_path: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk(lambda command: None)
    async with (
        broker() as server,
        watching(server) as host,
        serving(new_node(server, tmp_path, commands=OPEN), table, desk),
    ):
        await born(host)
        host.publish(DCMD, speed(30.0))
        await until(lambda: desk.commands)
    assert not desk.tickets[0].future.done()


async def test_command_for_a_machine_that_is_gone_is_only_counted(tmp_path: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk(lambda command: None)
    async with broker() as server, watching(server) as host:
        node = new_node(server, tmp_path, commands=OPEN)
        async with serving(node, table, desk):
            await born(host)
            host.publish(DCMD, speed(30.0))
            await until(lambda: desk.commands)
            table.replace_plant(Plant(table.plant.bridge, {}))
            await until(lambda: "extruder-1" in host.dead)
            counter = table.plant.bridge.tag("Sources/panel/Reconnects")
            assert counter is not None
            table.update([(counter.slot, DataValue(3, StatusCode.Good, CLOCK.now(), CLOCK.now()))])
            await until(lambda: host.tags[""][counter.name].value == 3)  # the node has followed the change
            desk.tickets[0].future.set_result(CONFIRMED)
            host.publish(DCMD, speed(31.0))
            await until(lambda: node.commands_total == 2)
    assert len(desk.commands) == 1
    assert host.broken == []


@pytest.mark.peer("node")
async def test_command_of_another_encoder_is_understood(tmp_path: Any) -> None:
    """sparkplug-payload sends UInt32 as a long and signs small integers over 32 bits (facts 2.5)."""
    table, _ = filled_table()
    desk = FakeDesk()
    metrics = [
        {"name": SPEED, "type": "Float", "value": 30.5},
        {"name": SPEED, "type": "Int32", "value": 30},
        {"name": "Setpoints/Mode", "type": "UInt32", "value": 1},
        {"name": "Setpoints/Mode", "type": "Int64", "value": 2},
        {"name": "Setpoints/Mode", "type": "String", "value": "Heat"},
        {"name": "Setpoints/Enabled", "type": "Boolean", "value": False},
        {"name": "Monitoring/Small", "type": "Int16", "value": -5},
        {"name": "Commands/SetPid/Front/Args/Kp", "type": "Double", "value": 2},
        {"name": "Commands/SetPid/Front/Args/Zone", "type": "String", "value": "back"},
        {"name": "Commands/SetPid/Front/Execute", "type": "Boolean", "value": True},
    ]
    line = json.dumps({"timestamp": now_ms(), "metrics": metrics}).encode() + b"\n"
    encoded = base64.b64decode(await peers.run_node("sparkplug_encoder.js", stdin=line))
    async with (
        broker() as server,
        watching(server) as host,
        serving(new_node(server, tmp_path, commands=OPEN), table, desk),
    ):
        await born(host)
        host.publish(DCMD, encoded)
        await until(lambda: len(desk.commands) == 8)
    assert [*(arguments.get("value") for _, arguments in desk.asked[:-1])] == [30.5, 30, 1, 2, "Heat", False, -5]
    assert desk.asked[-1] == ("extruder-1.Commands.SetPid.Front", {"Kp": 2.0, "Zone": "back"})


async def test_same_message_again_has_the_same_id_on_the_wire(tmp_path: Any) -> None:
    table, _ = filled_table()
    desk = FakeDesk()
    content = speed(30.0)
    async with (
        broker() as server,
        watching(server) as host,
        serving(new_node(server, tmp_path, commands=OPEN), table, desk),
    ):
        await born(host)
        async with Link.connect(server.config, "another") as another:
            for payload in (content, content, speed(31.0)):
                another.publish(Message(DCMD, payload, qos=1))
            await until(lambda: len(desk.commands) == 3)
    first, again, other = (command.id for command in desk.commands)
    assert first == again != other
