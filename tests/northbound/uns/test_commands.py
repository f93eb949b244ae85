"""Commands by topic, against a real broker and with mosquitto's own clients."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import SubscribeRefused
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.command import Role
from bridge.model.plant import Plant
from bridge.northbound.uns import publisher as publisher_module
from bridge.northbound.uns.commands import WAITING
from bridge.northbound.uns.payload import rfc3339
from bridge.northbound.uns.publisher import UnsPublisher
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import BrokerConfig, Link, Message
from tests import peers
from tests.broker import Broker, Mosquitto, broker
from tests.northbound.fake_desk import CHANGED, CONFIRMED, REFUSED, UNKNOWN, UNREACHED, FakeDesk
from tests.northbound.uns.test_publisher import Addresses, Watcher, publisher, until, watching
from tests.one_of_everything import DEFINITIONS, filled_table, machine

LINE = "acme/essen/extrusion/line-1"
CMD = f"{LINE}/extruder-1/cmd"
SPEED, STANDBY = f"{CMD}/Setpoints/ScrewSpeed", f"{CMD}/Standby"
META = f"{LINE}/extruder-1/_meta"
ONLINE = "acme/essen/_bridge/edge-1/online"
OPEN = {"enabled": True}

mosquitto = pytest.mark.peer("mosquitto")
BOTH = pytest.mark.parametrize("protocol", ["3.1.1", "5"])


@pytest.fixture(autouse=True)
def quick_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "BACK_OFF_S", (0.02, 0.04))


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    yield
    await until(lambda: asyncio.all_tasks() <= {asyncio.current_task()})


@pytest.fixture
async def server() -> AsyncIterator[Broker]:
    async with broker() as one:
        yield one


def using(server: Broker, protocol: str) -> BrokerConfig:
    return server.config.model_copy(update={"protocol": protocol})


@asynccontextmanager
async def serving(
    config: BrokerConfig, desk: FakeDesk, table: Table | None = None, **options: Any
) -> AsyncIterator[UnsPublisher]:
    face = publisher(config, **{"commands": OPEN, **options})
    view = table or filled_table()[0]
    task = asyncio.create_task(face.run(view, desk, Addresses()))  # type: ignore[arg-type]
    try:
        yield face
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()


@asynccontextmanager
async def asking(config: BrokerConfig, name: str = "client") -> AsyncIterator[Link]:
    async with Link.connect(config, name) as link:
        yield link


async def up(watcher: Watcher) -> None:
    await watcher.sees(ONLINE, online=True)


async def answered(watcher: Watcher, topic: str, number: int = 1) -> dict[str, Any]:
    """The latest answer on a topic, once so many have come."""
    await until(lambda: len(watcher.of(topic)) >= number)
    document: dict[str, Any] = json.loads(watcher.of(topic)[-1].payload)
    return document


@pytest.mark.parametrize("outcome", [CONFIRMED, CHANGED, REFUSED, UNKNOWN, UNREACHED])
async def test_set_point_is_answered_with_the_truth(server: Broker, outcome: Any) -> None:
    desk = FakeDesk(lambda command: outcome)
    async with (
        watching(server.config) as watcher,
        serving(server.config, desk, commands={"enabled": True, "role": "Engineer"}),
        asking(server.config) as link,
    ):
        await up(watcher)
        link.publish(Message(SPEED, b'{"value": 30, "id": "4711", "user": "maria"}', 1))
        answer = await answered(watcher, f"{SPEED}/result")
        message = watcher.of(f"{SPEED}/result")[0]
    timestamp = datetime.fromisoformat(answer.pop("timestamp"))
    assert abs(SystemClock().now() - timestamp) < timedelta(seconds=10)
    expected = {
        "id": "4711",
        "status": "ok" if outcome in (CONFIRMED, CHANGED) else "error",
        "result": outcome.result.value,
        "code": outcome.status.name,
        "sentence": outcome.sentence,
        "actual": outcome.actual,
        "vendor_code": outcome.vendor_code,
    }
    assert answer == {**expected, **({"vendor_text": outcome.vendor_text} if outcome.vendor_text else {})}
    assert (message.retain, message.qos) == (False, 1)
    (command,) = desk.commands
    assert (command.target, command.arguments) == ("extruder-1.Setpoints.ScrewSpeed", {"value": 30})
    assert (command.id, command.requester, command.role) == ("uns:-:4711", "claimed:maria", Role.ENGINEER)
    assert command.expires - command.issued == timedelta(seconds=30)


async def test_commands_and_bare_values_reach_the_desk(server: Broker) -> None:
    desk = FakeDesk()
    said = [
        (SPEED, b"30"),
        (f"{CMD}/Setpoints/Mode", b"Heat"),
        (f"{CMD}/Setpoints/Enabled", b"true"),
        (STANDBY, b"{}"),
        (f"{CMD}/SetPid/Front", b'{"args": {"Kp": 2, "Zone": "back"}}'),
    ]
    async with watching(server.config) as watcher, serving(server.config, desk), asking(server.config) as link:
        await up(watcher)
        for topic, payload in said:
            link.publish(Message(topic, payload, 1))
        for topic, _ in said:
            assert (await answered(watcher, f"{topic}/result"))["status"] == "ok"
    assert sorted(desk.asked, key=str) == sorted(
        [
            ("extruder-1.Setpoints.ScrewSpeed", {"value": 30}),
            ("extruder-1.Setpoints.Mode", {"value": "Heat"}),
            ("extruder-1.Setpoints.Enabled", {"value": True}),
            ("extruder-1.Commands.Standby", {}),
            ("extruder-1.Commands.SetPid.Front", {"Kp": 2, "Zone": "back"}),
        ],
        key=str,
    )


@mosquitto
async def test_response_topic_and_correlation_data_come_back_unchanged() -> None:
    desk = FakeDesk()
    correlation = bytes(range(256))
    async with Mosquitto() as server:
        config = server.config  # protocol: auto
        async with watching(config) as watcher, serving(config, desk), asking(config) as link:
            await up(watcher)
            link.publish(
                Message(SPEED, b"30", 1, response_topic="hmi/answers", correlation_data=correlation, expiry_s=5)
            )
            answer = await answered(watcher, "hmi/answers")
            (message,) = watcher.of("hmi/answers")
            assert watcher.of(f"{SPEED}/result") == []
    assert answer["result"] == "confirmed"
    assert message.correlation_data == correlation
    assert message.content_type == "application/json"
    assert message.expiry_s is not None
    assert 290 < message.expiry_s <= 300
    assert message.user_properties == (("schema", "answer/1"), ("source", "edge-1"))
    assert desk.commands[0].expires - desk.commands[0].issued <= timedelta(seconds=5)


@mosquitto
async def test_response_topic_that_is_ours_is_refused_where_everybody_can_see_it() -> None:
    desk = FakeDesk()
    async with Mosquitto() as server:
        config = using(server, "5")
        async with watching(config) as watcher, serving(config, desk), asking(config) as link:
            await up(watcher)
            pressure = f"{LINE}/extruder-1/Monitoring/Pressure"
            before = len(watcher.of(pressure))
            link.publish(Message(SPEED, b"30", 1, response_topic=pressure))
            answer = await answered(watcher, f"{SPEED}/result")
            assert len(watcher.of(pressure)) == before
    assert (answer["status"], answer["code"]) == ("error", "BadInvalidArgument")
    assert "response topic" in answer["sentence"]
    assert desk.commands == []


@pytest.mark.parametrize(
    ("topic", "payload", "code", "told"),
    [
        (SPEED, b'{"value": ', "BadInvalidArgument", 'for example {"value":22.0,"id":"4711"}'),
        (STANDBY, b"", "BadInvalidArgument", "The payload is empty"),
        (f"{CMD}/Setpoints/ScrewSped", b"30", "BadNotFound", 'did you mean "Setpoints/ScrewSpeed"'),
        (f"{CMD}/Setpoints", b"30", "BadNotFound", "Nothing here takes commands"),
    ],
)
async def test_what_is_no_command_is_answered_with_what_was_expected(
    server: Broker, topic: str, payload: bytes, code: str, told: str
) -> None:
    desk = FakeDesk()
    async with watching(server.config) as watcher, serving(server.config, desk) as face, asking(server.config) as link:
        await up(watcher)
        link.publish(Message(topic, payload, 1))
        answer = await answered(watcher, f"{topic}/result")
        assert face.metrics()["uns_commands_total"] == face.metrics()["uns_command_errors_total"] == 1
    assert (answer["status"], answer["result"], answer["code"]) == ("error", "rejected", code)
    assert told in answer["sentence"]
    assert desk.commands == []


async def test_old_command_expires(server: Broker) -> None:
    desk = FakeDesk()
    old = rfc3339(SystemClock().now() - timedelta(seconds=31))
    async with watching(server.config) as watcher, serving(server.config, desk), asking(server.config) as link:
        await up(watcher)
        link.publish(Message(SPEED, json.dumps({"value": 30, "timestamp": old}).encode(), 1))
        assert (await answered(watcher, f"{SPEED}/result"))["result"] == "expired"
    assert desk.carried_out == []


async def test_retained_command_is_refused_with_an_answer(server: Broker) -> None:
    desk = FakeDesk()
    async with watching(server.config) as watcher, asking(server.config) as link:
        link.publish(Message(SPEED, b"30", 1, retain=True))
        assert await link.flush(5)
        async with serving(using(server, "3.1.1"), desk):
            answer = await answered(watcher, f"{SPEED}/result")
    assert (answer["status"], answer["code"]) == ("error", "BadInvalidState")
    assert desk.commands[0].retained
    assert desk.carried_out == []


@mosquitto
async def test_with_mqtt_5_a_command_is_refused_that_is_only_going_to_be_retained() -> None:
    desk = FakeDesk()
    async with Mosquitto() as server:
        config = using(server, "5")
        async with watching(config) as watcher, serving(config, desk), asking(config) as link:
            await up(watcher)
            link.publish(Message(SPEED, b"30", 1, retain=True))
            assert (await answered(watcher, f"{SPEED}/result"))["status"] == "error"
    assert [command.retained for command in desk.commands] == [True]


@mosquitto
@BOTH
async def test_command_published_while_the_bridge_was_down_does_nothing(protocol: str) -> None:
    desk = FakeDesk()
    async with Mosquitto() as server:
        config = using(server, protocol)
        async with watching(config) as watcher, asking(config) as link:
            async with serving(config, desk):
                await up(watcher)
            await watcher.sees(ONLINE, online=False)
            link.publish(Message(SPEED, b"30", 1))
            assert await link.flush(5)
            async with serving(config, desk):
                await up(watcher)
                link.publish(Message(SPEED, b"31", 1))
                await answered(watcher, f"{SPEED}/result")
    assert [arguments for _, arguments in desk.asked] == [{"value": 31}]


async def test_same_id_again_is_the_same_command_to_the_desk(server: Broker) -> None:
    desk = FakeDesk()
    async with watching(server.config) as watcher, serving(server.config, desk), asking(server.config) as link:
        await up(watcher)
        for payload in (b'{"value": 30, "id": 7}', b'{"value": 30, "id": 7}', b"30", b"30"):
            link.publish(Message(SPEED, payload, 1))
        answer = await answered(watcher, f"{SPEED}/result", 4)
    first, again, *others = (command.id for command in desk.commands)
    assert first == again == "uns:-:7"
    assert len({first, *others}) == 3
    assert answer["id"] is None, "nobody gave this one an id"


@BOTH
@mosquitto
async def test_answers_are_never_taken_for_commands(protocol: str) -> None:
    desk = FakeDesk()
    async with Mosquitto() as server:
        config = using(server, protocol)
        async with watching(config) as watcher, serving(config, desk) as face, asking(config) as link:
            await up(watcher)
            link.publish(Message(f"{SPEED}/result", b"30", 1))
            link.publish(Message(f"{CMD}/result", b"30", 1))
            link.publish(Message(STANDBY, b"{}", 1))
            await answered(watcher, f"{STANDBY}/result")
            link.publish(Message(SPEED, b"nonsense{", 1))
            await answered(watcher, f"{SPEED}/result", 2)
            assert face.metrics()["uns_commands_total"] == 2
            came = [message.topic for message in watcher.came if "/cmd/" in message.topic]
    assert [command.target for command in desk.commands] == [
        "extruder-1.Commands.Standby",
        "extruder-1.Setpoints.ScrewSpeed",
    ]
    assert len(came) == 6, "each of two commands, its answer, and what we published as an answer"


async def test_closed_door_neither_subscribes_nor_describes(server: Broker) -> None:
    desk = FakeDesk()
    async with (
        watching(server.config) as watcher,
        serving(server.config, desk, commands={}) as face,
        asking(server.config) as link,
    ):
        await up(watcher)
        link.publish(Message(SPEED, b"30", 1))
        await until(lambda: len(watcher.of(SPEED)) == 1)
        assert "commands" not in watcher.document(META)
        assert face.metrics()["uns_commands_total"] == 0
    assert desk.commands == []
    assert watcher.of(f"{SPEED}/result") == []


async def test_meta_tells_how_to_command(server: Broker) -> None:
    async with watching(server.config) as watcher, serving(server.config, FakeDesk()):
        await up(watcher)
        commands = watcher.document(META)["commands"]
    assert commands["Setpoints/ScrewSpeed"]["topic"] == SPEED
    assert commands["SetPid/Front"]["arguments"]["Kp"] == {"type": "Double", "range": [0, 100]}
    assert "commands" not in watcher.document("acme/essen/_bridge/edge-1/_meta")


async def test_plant_changes_are_followed(server: Broker) -> None:
    slots = Slots()
    table, _ = filled_table(slots)
    desk = FakeDesk()
    bridge, before = table.plant.bridge, dict(table.plant.machines)
    mute = replace(machine(slots, "mute", DEFINITIONS[:9]), commands=(), _by_name={})
    new = machine(slots, "new")
    async with watching(server.config) as watcher, serving(server.config, desk, table), asking(server.config) as link:
        await up(watcher)
        table.replace_plant(Plant(bridge, {**before, "new": new, "mute": mute}))
        await until(lambda: f"{LINE}/mute/_meta" in watcher.now and f"{LINE}/new/_meta" in watcher.now)
        await commanded(link, watcher, f"{LINE}/new/cmd/Standby")
        link.publish(Message(f"{LINE}/mute/cmd/Standby", b"{}", 1))
        table.replace_plant(Plant(bridge, before))
        await until(lambda: f"{LINE}/new/_meta" not in watcher.now)
        count = len(desk.commands)
        link.publish(Message(f"{LINE}/new/cmd/Standby", b"{}", 1))
        link.publish(Message(STANDBY, b"{}", 1))
        await answered(watcher, f"{STANDBY}/result")
    assert {command.target for command in desk.commands[:count]} == {"new.Commands.Standby"}
    assert [command.target for command in desk.commands[count:]] == ["extruder-1.Commands.Standby"]
    assert watcher.of(f"{LINE}/mute/cmd/Standby/result") == []


async def commanded(link: Link, watcher: Watcher, topic: str) -> None:
    """Publish until it is answered: the subscription follows the description."""
    while not watcher.of(f"{topic}/result"):
        link.publish(Message(topic, b"{}", 1))
        await asyncio.sleep(0.02)


async def test_commands_beyond_the_bound_are_refused_and_not_handed_in(server: Broker) -> None:
    desk = FakeDesk(lambda command: None)
    async with watching(server.config) as watcher, serving(server.config, desk) as face, asking(server.config) as link:
        await up(watcher)
        for number in range(WAITING + 3):
            link.publish(Message(SPEED, b'{"value": 30, "id": %d}' % number, 1))
        answer = await answered(watcher, f"{SPEED}/result", 3)
        assert (answer["status"], answer["code"]) == ("error", "BadTooManyOperations")
        assert face.metrics()["uns_commands_waiting"] == len(desk.commands) == WAITING
        for ticket in desk.tickets:
            ticket.future.set_result(CONFIRMED)
        await answered(watcher, f"{SPEED}/result", WAITING + 3)
        await until(lambda: face.metrics()["uns_commands_waiting"] == 0)


async def test_answer_that_comes_while_the_broker_is_away_is_published_when_it_is_there_again(server: Broker) -> None:
    desk = FakeDesk(lambda command: None)
    async with serving(server.config, desk) as face:
        async with watching(server.config) as watcher, asking(server.config) as link:
            await up(watcher)
            link.publish(Message(SPEED, b"30", 1))
            await until(lambda: len(desk.commands) == 1)
        await server.stop()
        await until(lambda: not face.metrics()["uns_connected"])
        desk.tickets[0].future.set_result(CONFIRMED)
        await until(lambda: face.metrics()["uns_commands_waiting"] == 1)
        await server.start()
        await until(lambda: face.metrics()["uns_connected"] == 1)
        assert face.metrics()["uns_commands_waiting"] == 0


async def test_face_that_stops_cancels_no_command_and_says_what_it_knows(server: Broker) -> None:
    desk = FakeDesk(lambda command: None)
    async with watching(server.config) as watcher, asking(server.config) as link:
        async with serving(server.config, desk):
            await up(watcher)
            link.publish(Message(SPEED, b"30", 1))
            await until(lambda: len(desk.commands) == 1)
        await watcher.sees(ONLINE, online=False)
    assert not desk.tickets[0].future.done()


async def test_broker_that_refuses_the_subscription_does_not_stop_the_values(
    server: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []

    async def refuse(link: Link, topic: str, qos: int = 1, *, live: bool = False) -> None:
        refused.append(topic)
        raise SubscribeRefused(topic)

    async with watching(server.config) as watcher:
        monkeypatch.setattr(Link, "subscribe", refuse)
        async with serving(server.config, FakeDesk()):
            await up(watcher)
            assert f"{LINE}/extruder-1/Monitoring/Pressure" in watcher.now
    assert f"{CMD}/#" in refused
    assert caplog.text.count(f"topic read {CMD}/#") == 1


NO_SUBSCRIPTION = json.dumps(
    {
        "defaultACLAccess": {
            "publishClientSend": True,
            "publishClientReceive": True,
            "subscribe": False,
            "unsubscribe": True,
        },
        "clients": [{"username": "reader", "password": "", "roles": [{"rolename": "all"}]}],
        "roles": [{"rolename": "all", "acls": [{"acltype": "subscribePattern", "topic": "#", "allow": True}]}],
    }
)
"""For mosquitto's dynamic security plugin; its acl_file refuses no subscription."""


@mosquitto
@pytest.mark.peer(peers.PLUGIN)
@BOTH
async def test_refused_subscription_is_shown_until_the_broker_allows_it(
    protocol: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(NO_SUBSCRIPTION)
    lines = ("allow_anonymous true", f"plugin {peers.plugin()}", f"plugin_opt_config_file {rules}")
    async with Mosquitto(lines) as server:
        config = using(server, protocol)
        async with serving(config, FakeDesk()) as face:
            await until(lambda: bool(face.metrics()["uns_connected"]))
            assert f"topic read {CMD}/#" in face.trouble
            assert "for clients without a name" in face.trouble
            await server.stop()
            await until(lambda: "cannot be used" in face.trouble)
            rules.write_text(NO_SUBSCRIPTION.replace("false", "true"))
            await server.start()
            await until(lambda: bool(face.metrics()["uns_connected"]))
            assert face.trouble == ""
    assert caplog.text.count("refuses 5 of 5 subscriptions") == 1


@mosquitto
@pytest.mark.peer("mosquitto_pub")
@pytest.mark.parametrize("bridge_protocol", ["3.1.1", "5"])
async def test_mosquitto_pub_sets_a_set_point_and_mosquitto_sub_sees_the_answer(bridge_protocol: str) -> None:
    desk = FakeDesk(lambda command: CHANGED)
    async with (
        Mosquitto() as server,
        watching(server.config) as watcher,
        serving(using(server, bridge_protocol), desk),
    ):
        await up(watcher)
        where = ("-h", server.host, "-p", str(server.port))
        async with asking(server.config) as link:
            link.publish(Message("hmi/ready", b"ready", 1, retain=True))
            assert await link.flush(5)
        topics = ("-t", "hmi/ready", "-t", f"{SPEED}/result")
        listening = await start("mosquitto_sub", *where, "-q", "1", "-C", "2", *topics)
        assert listening.stdout is not None
        assert await listening.stdout.readline() == b"ready\n"
        sending = await start("mosquitto_pub", *where, "-q", "1", "-t", SPEED, "-m", "30")
        assert await sending.wait() == 0
        said, _ = await listening.communicate()
    answer = json.loads(said)
    assert (answer["status"], answer["result"], answer["actual"]) == ("ok", "changed", 25.0)
    assert desk.asked == [("extruder-1.Setpoints.ScrewSpeed", {"value": 30})]


@mosquitto
@pytest.mark.peer("mosquitto_rr")
async def test_mosquitto_rr_gets_its_response_on_its_own_topic() -> None:
    desk = FakeDesk(lambda command: REFUSED)
    async with Mosquitto() as server, watching(server.config) as watcher, serving(using(server, "5"), desk):
        await up(watcher)
        client = await start(
            *("mosquitto_rr", "-h", server.host, "-p", str(server.port), "-V", "mqttv5", "-q", "1"),
            *("-D", "publish", "user-property", "user", "eva", "-D", "publish", "correlation-data", "4711"),
            *("-t", f"{CMD}/SetPid/Front", "-e", "hmi/eva", "-F", "%D %p"),
            *("-m", '{"args": {"Kp": 2, "Zone": "back"}, "id": "a"}'),
        )
        said, _ = await client.communicate()
    properties, _, document = said.decode().partition(" {")
    answer = json.loads("{" + document)
    assert (answer["id"], answer["status"], answer["vendor_code"]) == ("a", "error", 400)
    assert "4711" in properties
    assert [command.requester for command in desk.commands] == ["claimed:eva"]


async def start(name: str, *arguments: str) -> asyncio.subprocess.Process:
    program = peers.program(name)
    assert program is not None
    return await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.PIPE)
