"""The primary host and several brokers, on real brokers, as they see the node."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import pytest

from bridge.errors import ProtocolError
from bridge.northbound.sparkplug import node as node_module
from bridge.northbound.sparkplug.codec import MetricEncoder, MetricType, payload, stamp
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.node import SparkplugNode
from bridge.northbound.sparkplug.primary_host import PrimaryHost
from bridge.northbound.sparkplug.session import NEXT_SERVER, State
from bridge.transport.mqtt import Link, Message
from tests.broker import Broker, Mosquitto, free_port
from tests.northbound.sparkplug.tap import DISCONNECT, SUBSCRIBE, Session, Tap
from tests.northbound.sparkplug.test_node import CLOCK, NCMD, rebirth_request, running, say, until
from tests.one_of_everything import filled_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

tck = pytest.mark.tck
both = pytest.mark.parametrize("protocol", ["3.1.1", "5"])
pytestmark = pytest.mark.peer("mosquitto")
STATE = "spBv1.0/STATE/scada"


@pytest.fixture(autouse=True)
def quick_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "BACK_OFF_S", (0.02, 0.04))


class Scada:
    """A host application that says what it likes on its STATE topic."""

    def __init__(self, server: Broker) -> None:
        self._connecting = Link.connect(server.config, "scada")

    async def __aenter__(self) -> Self:
        self._link = await self._connecting.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._connecting.__aexit__(*exception)

    async def say(self, online: bool, timestamp: int, topic: str = STATE, retain: bool = True) -> None:
        await self.publish(json.dumps({"online": online, "timestamp": timestamp}).encode(), topic, retain)

    async def publish(self, content: bytes, topic: str = STATE, retain: bool = True) -> None:
        self._link.publish(Message(topic, content, qos=1, retain=retain))
        assert await self._link.flush(5)


def new_node(folder: Path, *taps: Tap, **more: Any) -> SparkplugNode:
    brokers = tuple(tap.config for tap in taps)
    chosen = {"publish_interval": 0.02, "primary_host_id": "scada", **more}
    config = SparkplugConfig(broker=brokers, **chosen)
    return SparkplugNode(config, CLOCK, folder, "acme", "essen", "bridge-1")


def kinds(session: Session) -> list[str]:
    return [packet.message for packet in session.published]


async def waits(node: SparkplugNode) -> None:
    await until(lambda: node.session.state is State.WAIT_HOST)


@asynccontextmanager
async def one_broker(folder: Path, protocol: str = "3.1.1", **more: Any) -> AsyncIterator[tuple[Any, ...]]:
    """A broker with a tap, a host, and a node that runs on them."""
    table, _ = filled_table()
    async with Mosquitto() as server, Tap(server, protocol) as tap, Scada(server) as scada:
        node = new_node(folder, tap, **more)
        async with running(node, table):
            yield tap, scada, node, table


@both
@tck("message-flow-edge-node-birth-publish-phid-wait", "operational-behavior-edge-node-birth-sequence-wait")
@tck("operational-behavior-primary-application-state-with-multiple-servers-state-subs")
async def test_tck_no_birth_before_the_host_is_online(protocol: str, tmp_path: Path) -> None:
    async with one_broker(tmp_path, protocol) as (tap, scada, node, table):
        await waits(node)
        (session,) = tap.sessions
        subscribed = {name: qos for packet in session.of(SUBSCRIBE) for name, qos in packet.filters.items()}
        assert subscribed[STATE] == 1
        say(table, "Monitoring/Pressure", 3.0)
        await scada.publish(rebirth_request(), NCMD, retain=False)
        await quiet(tap, scada)
        assert session.published == []
        assert node.trouble.startswith("waits for the primary host scada")
        await scada.say(True, 1000)
        await until(lambda: node.trouble == "")
        assert kinds(session) == ["NBIRTH", "DBIRTH"]


async def test_host_that_goes_while_births_are_prepared_ends_the_session_and_not_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_broker(tmp_path) as (tap, scada, node, _):
        await waits(node)
        prepare = node._publisher.prepare

        async def prepare_meanwhile() -> None:
            monkeypatch.undo()
            await prepare()
            await scada.say(False, 2000)
            await until(lambda: node.session.departure is not None)

        monkeypatch.setattr(node._publisher, "prepare", prepare_meanwhile)
        await scada.say(True, 1000)
        await until(lambda: len(tap.sessions) == 2)
        assert tap.sessions[0].published == []
        await waits(node)
        await scada.say(True, 3000)
        await until(lambda: kinds(tap.sessions[-1])[:2] == ["NBIRTH", "DBIRTH"])


async def quiet(tap: Tap, scada: Scada) -> None:
    """Whatever the host said before was taken by the node: a rebirth request after it would be served by then."""
    await asyncio.sleep(0.05)
    before = len(tap.published)
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert len(tap.published) == before


@tck("message-flow-edge-node-birth-publish-phid-wait-id")
async def test_tck_another_host_is_not_ours(tmp_path: Path) -> None:
    async with one_broker(tmp_path, legacy_host_state=True) as (tap, scada, node, _):
        await waits(node)
        for topic in (f"{STATE}2", "spBv1.0/STATE/SCADA", "spBv1.0/STATE/scada/x", "STATE/scada2"):
            await scada.say(True, 1000, topic)
        await quiet(tap, scada)
        assert tap.published == []
        await scada.say(True, 1000)
        await until(lambda: node.is_online)


@tck("message-flow-edge-node-birth-publish-phid-wait-online")
@pytest.mark.parametrize(
    "content",
    [
        b'{"online": false, "timestamp": 5}',
        b'{"online": "true", "timestamp": 5}',
        b'{"timestamp": 5}',
        b'{"online": true}',
        b'{"online": true, "timestamp": "5"}',
        b'{"online": true, "timestamp": true}',
        b"ONLINE",
        b"",
        b"[" * 100_000,
        b"\xff",
        b"[]",
    ],
    ids=lambda content: content[:40].decode(errors="replace") or "empty",
)
async def test_tck_only_online_true_is_online(content: bytes, tmp_path: Path) -> None:
    async with one_broker(tmp_path) as (tap, scada, node, _):
        await waits(node)
        await scada.publish(content, retain=False)
        await quiet(tap, scada)
        assert tap.published == []
        await scada.say(True, 1000)
        await until(lambda: node.is_online)


@tck("message-flow-edge-node-birth-publish-phid-wait-timestamp")
async def test_tck_old_online_is_ignored_also_after_a_reconnect(tmp_path: Path) -> None:
    async with one_broker(tmp_path) as (tap, scada, node, _):
        await scada.say(True, 1000)
        await until(lambda: node.is_online)
        await scada.say(False, 1000)
        await until(lambda: len(tap.sessions) == 2)
        await waits(node)
        await scada.say(True, 999)
        await quiet(tap, scada)
        assert tap.sessions[1].published == []
        await scada.say(True, 1000)
        await until(lambda: node.is_online)


@both
@tck("message-flow-edge-node-birth-publish-phid-offline", "operational-behavior-edge-node-termination-host-offline")
@tck("operational-behavior-edge-node-termination-host-offline-reconnect")
async def test_tck_host_that_goes_takes_us_with_it_and_back(protocol: str, tmp_path: Path) -> None:
    """NDEATH, the right DISCONNECT, a new CONNECT with the next bdSeq within about a second; births when it is back."""
    async with one_broker(tmp_path, protocol) as (tap, scada, node, _):
        for turn in range(3):
            await scada.say(True, 1000 + turn)
            await until(lambda: node.is_online)
            await scada.say(False, 1000 + turn)
            await until(lambda: tap.sessions[turn].is_over)  # noqa: B023
            session = tap.sessions[turn]
            assert kinds(session) == ["NBIRTH", "DBIRTH", "DDEATH", "NDEATH"]
            assert session.said("NDEATH")[0].bd_seq == session.connect.bd_seq == turn
            (disconnect,) = session.of(DISCONNECT)
            assert disconnect.reason == (4 if protocol == "5" else 0)
            await waits(node)
        assert len(tap.sessions) == 4


@tck("operational-behavior-edge-node-termination-host-offline-timestamp")
async def test_tck_old_offline_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The will of the host's session before, that its broker says late."""
    async with one_broker(tmp_path) as (tap, scada, node, table):
        await scada.say(True, 1000)
        await until(lambda: node.is_online)
        for timestamp in (999, 998):
            await scada.say(False, timestamp)
        await until(lambda: "older" in caplog.text)
        say(table, "Monitoring/Pressure", 9.0)
        await until(lambda: "DDATA" in kinds(tap.sessions[0]))
        assert len(tap.sessions) == 1
    assert caplog.text.count("older") == 1


@tck("message-flow-edge-node-birth-publish-phid-offline")
async def test_host_that_goes_during_the_births(tmp_path: Path) -> None:
    """`birth_jitter` holds the births back; the host goes meanwhile: no birth, no death of ours."""
    async with one_broker(tmp_path, birth_jitter=300) as (tap, scada, node, _):
        await scada.say(True, 1000)
        await until(lambda: node.session.state is State.BIRTHING)
        await scada.say(False, 1000)
        await until(lambda: len(tap.sessions) == 2)
        assert tap.sessions[0].published == []
        assert tap.sessions[0].of(DISCONNECT) == [], "an NDEATH would have to go before it, a birth before that"


async def test_leaving_before_any_birth_with_mqtt_5_lets_the_broker_say_the_will(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with Mosquitto() as server, Tap(server, "5") as tap:
        node = new_node(tmp_path, tap)
        async with running(node, table):
            await waits(node)
        await until(lambda: tap.sessions[0].is_over)
        assert [packet.reason for packet in tap.sessions[0].of(DISCONNECT)] == [4]
        assert tap.published == []


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_legacy_host(is_allowed: bool, tmp_path: Path) -> None:
    async with one_broker(tmp_path, legacy_host_state=is_allowed) as (tap, scada, node, _):
        await waits(node)
        await scada.publish(b"ONLINE", "STATE/scada")
        if not is_allowed:
            await quiet(tap, scada)
            assert tap.published == []
            return
        await until(lambda: node.is_online)
        await scada.publish(b"OFFLINE", "STATE/scada")
        await until(lambda: len(tap.sessions) == 2)
        await waits(node)
        await scada.say(True, 1000)
        await until(lambda: node.is_online)
        await scada.publish(b"OFFLINE", "STATE/scada")
        await quiet(tap, scada)
        assert node.is_online, "what says the form of 3.0 is held to it"


def test_legacy_state_is_one_of_two_words() -> None:
    host = PrimaryHost("scada", takes_legacy=True)
    assert host.hear("b", "STATE/scada", b"online") is True
    with pytest.raises(ProtocolError, match="neither"):
        host.hear("b", "STATE/scada", b"AWAY")


def test_time_stamps_are_kept_for_each_broker() -> None:
    host = PrimaryHost("scada")
    assert host.hear("one", STATE, b'{"online": true, "timestamp": 9}') is True
    assert host.hear("two", STATE, b'{"online": true, "timestamp": 3}') is True
    assert host.hear("one", STATE, b'{"online": false, "timestamp": 3}') is None
    assert host.hear("two", STATE, b'{"online": false, "timestamp": 3}') is False


@asynccontextmanager
async def two_brokers(folder: Path, **more: Any) -> AsyncIterator[tuple[Any, ...]]:
    table, _ = filled_table()
    async with (
        Mosquitto() as one,
        Mosquitto() as two,
        Tap(one) as first,
        Tap(two) as second,
        Scada(one) as here,
        Scada(two) as there,
    ):
        node = new_node(folder, first, second, **more)
        async with running(node, table):
            yield first, second, here, there, node


@tck("operational-behavior-primary-application-state-with-multiple-servers-walk")
@tck("operational-behavior-edge-node-termination-host-offline-reconnect")
@tck("operational-behavior-primary-application-state-with-multiple-servers-single-server")
async def test_tck_walk_follows_the_host_from_broker_to_broker(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with (
        Mosquitto() as one,
        Mosquitto() as two,
        Tap(one) as first,
        Tap(two) as second,
        Scada(one) as here,
        Scada(two) as there,
    ):
        await here.say(False, 10)
        await there.say(True, 10)
        node = new_node(tmp_path, first, second)
        async with running(node, table):
            await until(lambda: node.is_online)
            assert kinds(second.sessions[0]) == ["NBIRTH", "DBIRTH"]
            assert first.published == []
            for turn in range(1, 4):
                old, new, tap = (there, here, first) if turn % 2 else (here, there, second)
                before = len(tap.sessions)
                await new.say(True, 10 + turn)
                await old.say(False, 10 + turn)
                await until(lambda: len(tap.sessions) > before and kinds(tap.sessions[-1])[:1] == ["NBIRTH"])  # noqa: B023
                await until(lambda: first.open + second.open == 1)
                assert kinds([second, first][turn % 2 == 0].sessions[-1])[-1] == "NDEATH"
        sessions = sorted((s for tap in (first, second) for s in tap.sessions), key=lambda s: s.packets[0].at_ms)
    numbers = [session.connect.bd_seq for session in sessions]
    assert numbers == [*range(len(numbers))], "one bdSeq for all brokers"
    for before, after in pairwise(sessions):
        assert before.packets[-1].at_ms <= after.packets[0].at_ms


async def test_host_that_is_away_everywhere_is_waited_for_at_each_broker(tmp_path: Path) -> None:
    """The first round goes on at once, then each broker has its time."""
    async with two_brokers(tmp_path, primary_host_timeout=1) as (first, second, here, there, node):
        await here.say(False, 10)
        await there.say(False, 10)
        await until(lambda: len(first.sessions) >= 2 and second.sessions)
        assert len(second.sessions) <= 2
        await waits(node)
        await here.say(True, 11)
        await there.say(True, 11)
        await until(lambda: node.is_online)


async def test_silent_broker_is_left_after_the_time_out(tmp_path: Path) -> None:
    async with two_brokers(tmp_path, primary_host_timeout=1) as (first, second, _, there, node):
        await there.say(True, 10)
        await waits(node)
        await until(lambda: node.is_online)
        assert first.published == []
        assert kinds(second.sessions[0])[0] == "NBIRTH"


async def test_only_broker_is_not_left_while_the_host_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(node_module, "SILENCE_S", 0.2)
    async with one_broker(tmp_path, primary_host_timeout=1) as (tap, scada, node, _):
        await scada.say(False, 10)
        await waits(node)
        await asyncio.sleep(1.2)
        assert len(tap.sessions) == 1
        await scada.say(True, 11)
        await until(lambda: not node.trouble)
    down, up = [record for record in caplog.records if record.name == node_module.__name__]
    assert "waits for the primary host scada" in down.message
    assert "it says there that it is offline" in down.message
    assert "online again" in up.message


async def test_dead_broker_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a primary host: the next one, where this one fails; back-off for each alone."""
    caplog.set_level(logging.INFO)
    table, _ = filled_table()
    async with Mosquitto() as one, Mosquitto() as two, Tap(one) as first, Tap(two) as second:
        dead = first.config.model_copy(update={"port": free_port()})
        config = SparkplugConfig(broker=(dead, first.config, second.config), publish_interval=0.02)
        node = SparkplugNode(config, CLOCK, tmp_path, "acme", "essen", "bridge-1")
        async with running(node, table):
            await until(lambda: not node.trouble)
            assert len(first.sessions) == 1
            assert first.sessions[0].connect.bd_seq == 0, "a broker that is not there uses up no bdSeq"
            await one.stop()
            await until(lambda: second.sessions and not node.trouble)
            assert second.sessions[0].connect.bd_seq == 1
            await two.stop()
            await until(lambda: not node.is_online)
            await one.start()
            await until(lambda: not node.trouble)
    told = [record.levelname for record in caplog.records if record.name == node_module.__name__]
    assert told == ["WARNING", "INFO"] * 3


async def test_next_server_command(tmp_path: Path) -> None:
    metric = MetricEncoder(NEXT_SERVER, MetricType.Boolean).encode(stamp(1), True, with_type=True)
    async with two_brokers(tmp_path, primary_host_id=None) as (first, second, here, _, node):
        await until(lambda: node.is_online)
        (offered,) = [one for one in first.published[0].payload.metrics if one.name == NEXT_SERVER]
        assert (offered.datatype, offered.boolean_value) == (11, False)
        await here.publish(payload(1, [metric], None), NCMD, retain=False)
        await until(lambda: second.sessions and node.is_online)
        assert kinds(first.sessions[0]) == ["NBIRTH", "DBIRTH", "DDEATH", "NDEATH"]


async def test_retained_command_of_a_host_comes_from_the_past_and_does_nothing(tmp_path: Path) -> None:
    metric = MetricEncoder(NEXT_SERVER, MetricType.Boolean).encode(stamp(1), True, with_type=True)
    table, _ = filled_table()
    async with Mosquitto() as one, Mosquitto() as two, Tap(one) as first, Tap(two) as second, Scada(one) as host:
        await host.publish(payload(1, [metric], None), NCMD, retain=True)
        node = new_node(tmp_path, first, second, primary_host_id=None)
        async with running(node, table):
            await until(lambda: node.is_online)
            await host.publish(rebirth_request(), NCMD, retain=False)
            await until(lambda: node.session.rebirths == 1)
            assert (len(first.sessions), second.sessions) == (1, [])


async def test_node_of_one_broker_knows_no_next_server(tmp_path: Path) -> None:
    async with one_broker(tmp_path, primary_host_id=None) as (tap, _, node, _table):
        await until(lambda: node.is_online)
        assert NEXT_SERVER not in {metric.name for metric in tap.published[0].payload.metrics}


@pytest.mark.parametrize("refused", ["NCMD/bridge-1", "DCMD/bridge-1/+"])
@both
async def test_refused_subscription_is_a_fault_and_no_session(protocol: str, refused: str, tmp_path: Path) -> None:
    """A node that cannot hear rebirth requests, or commands it invites, would only look alive."""
    table, _ = filled_table()
    async with Mosquitto() as server, Tap(server, protocol, [f"spBv1.0/acme:essen/{refused}"]) as tap:
        config = SparkplugConfig.model_validate({"broker": tap.config, "commands": {"enabled": True}})
        node = SparkplugNode(config, CLOCK, tmp_path, "acme", "essen", "bridge-1")
        async with running(node, table):
            await until(lambda: refused in node.trouble)
            assert "access control" in node.trouble
            assert tap.published == []


async def test_refused_commands_do_not_matter_where_they_are_off(tmp_path: Path) -> None:
    table, _ = filled_table()
    refused = [f"spBv1.0/acme:essen/{topic}" for topic in ("DCMD/bridge-1/+", "NDEATH/bridge-1")]
    async with Mosquitto() as server, Tap(server, refuses=refused) as tap:
        node = SparkplugNode(SparkplugConfig(broker=tap.config), CLOCK, tmp_path, "acme", "essen", "bridge-1")
        async with running(node, table):
            await until(lambda: node.is_online)


async def test_births_wait_a_random_time_where_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []
    monkeypatch.setattr(node_module.random, "uniform", lambda low, high: asked.append((low, high)) or low)
    async with one_broker(tmp_path, primary_host_id=None, birth_jitter=7) as (_, scada, node, _table):
        await until(lambda: node.is_online)
        assert (0, 7) in asked
        count = len(asked)
        await scada.publish(rebirth_request(), NCMD, retain=False)
        await until(lambda: node.session.rebirths == 1)
        assert len(asked) == count, "a host that asks is answered at once"
