"""The embedded broker, with our own link and with mosquitto's client."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiomqtt
import pytest
from pydantic import ValidationError

from bridge.config.broker import EmbeddedBrokerConfig
from bridge.errors import AddressTaken, LinkRefused
from bridge.runtime import amqtt_rim
from bridge.runtime.broker import EmbeddedBroker
from bridge.transport.mqtt import BrokerConfig, Link, Message
from tests import peers


def settings(**fields: object) -> EmbeddedBrokerConfig:
    return EmbeddedBrokerConfig.model_validate({"port": 0, **fields})


def reach(broker: EmbeddedBroker, **fields: object) -> BrokerConfig:
    return BrokerConfig.model_validate({"port": broker.port, **fields})


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(settings()) as one:
        yield one


@asynccontextmanager
async def subscribed(broker: EmbeddedBroker, name: str, *filters: str, qos: int = 1) -> AsyncIterator[Link]:
    async with Link.connect(reach(broker), name) as link:
        for topic_filter in filters:
            await link.subscribe(topic_filter, qos)
        yield link


async def take(link: Link, count: int) -> list[Message]:
    messages = aiter(link.messages())
    return [await anext(messages) for _ in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (the condition is anybody's)
        await asyncio.sleep(0.002)


async def test_message_reaches_every_subscriber(broker: EmbeddedBroker) -> None:
    async with (
        subscribed(broker, "one", "a/#") as one,
        subscribed(broker, "two", "a/+") as two,
        Link.connect(reach(broker), "publisher") as publisher,
    ):
        publisher.publish(Message("a/b", b"1", 1))
        assert await publisher.flush(5)
        assert [(m.topic, m.payload, m.retain) for m in [*await take(one, 1), *await take(two, 1)]] == [
            ("a/b", b"1", False)
        ] * 2


@pytest.mark.parametrize(("published", "granted", "arrives"), [(0, 1, 0), (1, 0, 0), (1, 1, 1), (2, 2, 2), (2, 1, 1)])
async def test_quality_of_service_is_the_lower_of_both(
    broker: EmbeddedBroker, published: int, granted: int, arrives: int
) -> None:
    publishing = aiomqtt.Client("127.0.0.1", broker.port, identifier="publisher")
    async with subscribed(broker, "subscriber", "a", qos=granted) as link, publishing as publisher:
        await publisher.publish("a", b"1", published)
        assert [message.qos for message in await take(link, 1)] == [arrives]


async def test_order_is_kept_over_qualities_of_service(broker: EmbeddedBroker) -> None:
    async with subscribed(broker, "subscriber", "a") as link:
        for number in range(500):
            link.publish(Message("a", str(number).encode(), number % 2))
            if number % 50 == 0:
                await link.drain()
        assert [int(message.payload) for message in await take(link, 500)] == list(range(500))


async def test_thousand_retained_messages_are_told_to_a_late_subscriber(broker: EmbeddedBroker) -> None:
    async with Link.connect(reach(broker), "publisher") as publisher:
        for number in range(1000):
            publisher.publish(Message(f"a/{number}", str(number).encode(), 1, retain=True))
            await publisher.drain()
        assert await publisher.flush(10)
    async with subscribed(broker, "late", "a/#") as late:
        messages = await take(late, 1000)
    assert {message.topic: message.payload for message in messages} == {f"a/{n}": str(n).encode() for n in range(1000)}
    assert all(message.retain and message.qos == 1 for message in messages)


async def test_retained_message_is_replaced_and_cleared(broker: EmbeddedBroker) -> None:
    async with Link.connect(reach(broker), "publisher") as publisher:
        for payload in (b"1", b"2"):
            publisher.publish(Message("kept", payload, 1, retain=True))
        publisher.publish(Message("gone", b"1", 1, retain=True))
        publisher.publish(Message("gone", b"", 1, retain=True))
        assert await publisher.flush(5)
    assert broker.metrics()["broker_retained"] == 1
    async with subscribed(broker, "late", "#") as late:
        late.publish(Message("end", b""))
        assert [(m.topic, m.payload) for m in await take(late, 2)] == [("kept", b"2"), ("end", b"")]


async def test_who_connects_gets_only_what_it_subscribed_to(broker: EmbeddedBroker) -> None:
    async with subscribed(broker, "everything", "#") as publisher:
        publisher.publish(Message("a", b"1", 1, retain=True))
        assert await publisher.flush(5)
        async with subscribed(broker, "little", "b") as little:
            little.publish(Message("b", b"2"))
            assert [message.topic for message in await take(little, 1)] == ["b"]


@pytest.mark.parametrize("retain", [False, True])
async def test_will_is_published_when_a_client_is_gone_without_goodbye(broker: EmbeddedBroker, retain: bool) -> None:
    will = Message("spBv1.0/g/NDEATH/e", b"\x00\xffdeath", 1, retain=retain)
    async with subscribed(broker, "host", "spBv1.0/#") as host:
        with pytest.raises(ZeroDivisionError):
            async with Link.connect(reach(broker), "node", will=will):
                raise ZeroDivisionError  # leaving by an exception closes the socket without DISCONNECT
        [death] = await take(host, 1)
    assert (death.topic, death.payload, death.qos) == (will.topic, will.payload, 1)
    assert broker.metrics()["broker_retained"] == retain


async def test_will_is_not_published_after_a_goodbye(broker: EmbeddedBroker) -> None:
    async with subscribed(broker, "host", "#") as host:
        async with Link.connect(reach(broker), "node", will=Message("death", b"1", 1)):
            pass
        await until(lambda: broker.metrics()["broker_connections"] == 1)
        host.publish(Message("end", b"1"))
        assert [message.topic for message in await take(host, 1)] == ["end"]


def connect_packet(client_id: str, keep_alive: int = 60, will: str = "", protocol: bytes = b"\x04") -> bytes:
    """CONNECT as on the wire, MQTT 3.1.1, 3.1."""

    def text(content: str) -> bytes:
        return len(content).to_bytes(2, "big") + content.encode()

    flags = b"\x06" if will else b"\x02"
    body = text("MQTT") + protocol + flags + keep_alive.to_bytes(2, "big") + text(client_id)
    body += text(will) + text("gone") if will else b""
    return b"\x10" + bytes([len(body)]) + body


@asynccontextmanager
async def raw(broker: EmbeddedBroker, first: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(first)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def test_silent_client_is_cut_after_its_keep_alive_and_its_will_published(broker: EmbeddedBroker) -> None:
    async with subscribed(broker, "host", "death") as host, raw(broker, connect_packet("silent", 1, "death")):
        began = time.monotonic()
        [death] = await take(host, 1)
        assert death.payload == b"gone"
        assert time.monotonic() - began > 1.0


async def test_second_client_with_the_same_id_replaces_the_first(broker: EmbeddedBroker) -> None:
    async with (
        subscribed(broker, "host", "death") as host,
        raw(broker, connect_packet("twin", will="death")) as (reader, _),
    ):
        assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
        async with subscribed(broker, "twin", "a") as twin:
            assert await reader.read() == b""
            assert [message.topic for message in await take(host, 1)] == ["death"]
            twin.publish(Message("a", b"1", 1))
            assert [message.topic for message in await take(twin, 1)] == ["a"]


async def test_subscriber_that_does_not_read_is_cut_and_the_others_go_on(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(amqtt_rim, "MAX_WAITING", 100)
    subscribe = b"\x82\x06\x00\x01\x00\x01#\x00"
    async with (
        raw(broker, connect_packet("deaf") + subscribe) as (reader, _),
        subscribed(broker, "publisher", "end") as publisher,
    ):
        assert (await reader.readexactly(9))[4:] == b"\x90\x03\x00\x01\x00"
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        while not broker.metrics()["broker_slow_subscribers_total"]:
            publisher.publish(Message("a", bytes(50_000)))
            await publisher.drain()
        publisher.publish(Message("end", b"1", 1))
        assert [message.topic for message in await take(publisher, 1)] == ["end"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "deaf" in caplog.text


async def test_long_burst_does_not_hold_up_the_event_loop(broker: EmbeddedBroker) -> None:
    async with subscribed(broker, "subscriber", "a/#", qos=0) as subscriber:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async with Link.connect(reach(broker), "publisher") as publisher:
            counting = asyncio.create_task(count())
            for number in range(900):
                publisher.publish(Message(f"a/{number}", b"1"))
            await take(subscriber, 900)
            counting.cancel()
            await asyncio.wait({counting})
    assert turns > 900 / amqtt_rim.SLICE


async def test_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressTaken, match=f"127.0.0.1:{port}"):
            async with EmbeddedBroker(settings(port=port)):
                pass


async def test_port_is_free_again_at_once() -> None:
    async with EmbeddedBroker(settings()) as first, subscribed(first, "client", "#"):
        pass
    async with EmbeddedBroker(settings(port=first.port)) as second:
        assert second.port == first.port


async def test_shutdown_delivers_what_is_under_way_and_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    before = asyncio.all_tasks()
    async with EmbeddedBroker(settings()) as broker:
        stays = await Link.connect(reach(broker), "stays").__aenter__()
        await stays.subscribe("#")
        async with Link.connect(reach(broker), "leaves") as leaves:
            leaves.publish(Message("death", b"1", 1))
            assert await leaves.flush(5)
    assert [message.topic for message in await take(stays, 1)] == ["death"]
    await stays.__aexit__(None, None, None)
    await until(lambda: asyncio.all_tasks() == before)
    assert caplog.records == []


async def test_shutdown_does_not_wait_for_a_connection_that_says_nothing() -> None:
    broker = EmbeddedBroker(settings())
    async with asyncio.timeout(3), broker:
        silent = socket.create_connection(("127.0.0.1", broker.port))
        await until(lambda: broker.metrics()["broker_connections"] == 1)
    assert broker.metrics()["broker_connections"] == 0
    silent.close()


async def test_known_user_gets_in_and_nobody_else() -> None:
    async with (
        EmbeddedBroker(settings(users={"scada": "right"})) as broker,
        Link.connect(reach(broker, username="scada", password="right"), "client") as link,
    ):
        await link.subscribe("#")
        for wrong in ({}, {"username": "scada", "password": "wrong"}, {"username": "x", "password": "right"}):
            with pytest.raises(LinkRefused):
                async with Link.connect(reach(broker, **wrong), "client"):
                    pass
        link.publish(Message("a", b"1", 1))  # the one inside was not thrown out by those who failed
        assert [message.topic for message in await take(link, 1)] == ["a"]


@pytest.mark.parametrize("will", [None, Message("death", b"1", 1)])
@pytest.mark.parametrize("known", [{}, {"username": "scada", "password": "right"}])
async def test_mqtt_5_is_refused_in_words(broker: EmbeddedBroker, will: Message | None, known: dict[str, str]) -> None:
    with pytest.raises(LinkRefused, match=r"(?i)protocol version"):
        async with Link.connect(reach(broker, protocol="5", **known), "five", will=will):
            pass


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\xff\xff\xff\xff\xff",
        b"\x00" * 50,
        b"\x10\x05\x00\x04MQT",
        b"\xf0\x00",
        b"\x10\x02\x00\x04",
    ],
)
async def test_rubbish_ends_only_its_own_connection(broker: EmbeddedBroker, rubbish: bytes) -> None:
    async with raw(broker, rubbish) as (_, writer):
        writer.write_eof()
        await until(lambda: broker.metrics()["broker_connections"] == 0)
    async with subscribed(broker, "client", "a") as link:
        link.publish(Message("a", b"1", 1))
        assert [message.topic for message in await take(link, 1)] == ["a"]


async def test_publishing_to_a_topic_of_the_broker_ends_the_connection(broker: EmbeddedBroker) -> None:
    async with raw(broker, connect_packet("bad") + b"\x30\x05\x00\x03$/a") as (reader, _):
        assert await reader.read() in {b"", b"\x20\x02\x00\x00"}


async def test_publishing_to_a_wildcard_reaches_nobody(broker: EmbeddedBroker) -> None:
    async with subscribed(broker, "client", "a/#", "end") as link:
        async with raw(broker, connect_packet("bad") + b"\x30\x05\x00\x03a/#") as (reader, writer):
            assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
            writer.write_eof()
            assert await reader.read() == b""
        link.publish(Message("end", b"1"))
        assert [message.topic for message in await take(link, 1)] == ["end"]


def test_strangers_from_elsewhere_need_a_name() -> None:
    with pytest.raises(ValidationError, match="name users"):
        settings(host="0.0.0.0")
    assert settings(host="0.0.0.0", users={"a": "b"}).host == "0.0.0.0"
    assert "secret" not in repr(settings(users={"a": "secret"}))


@pytest.mark.peer("mosquitto")
async def test_mosquitto_client_reads_retained_and_live_messages(broker: EmbeddedBroker) -> None:
    program = peers.program("mosquitto_sub")
    assert program is not None
    async with Link.connect(reach(broker), "publisher") as publisher:
        publisher.publish(Message("a/kept", b"1", 1, retain=True))
        assert await publisher.flush(5)
        child = await asyncio.create_subprocess_exec(
            program, *f"-p {broker.port} -t a/# -q 1 -C 2 -F %r:%q:%t:%p".split(), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"1:1:a/kept:1\n"
        publisher.publish(Message("a/live", b"2", 1))
        assert await child.stdout.readline() == b"0:1:a/live:2\n"
        assert await child.wait() == 0
