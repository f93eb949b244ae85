"""Publishing: what leaves, in which order, how much of it, and what becomes of it when the broker does not keep up."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import weakref
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pytest

from bridge.errors import LinkLost, LinkRefused
from bridge.transport import mqtt
from bridge.transport.mqtt import Link, Message
from bridge.transport.mqtt_version import Spoken
from bridge.transport.mqtt_window import FIRST_ID, IN_FLIGHT
from tests.broker import Mosquitto
from tests.transport.played_mqtt import CONNACK_5, PlayedBroker, connack_5
from tests.transport.test_mqtt import BOTH, mosquitto, take, until, using

if TYPE_CHECKING:
    pass

BIG = b"x" * 1000


def numbers(broker: PlayedBroker) -> list[int]:
    return [int(packet.body.rpartition(b"=")[2]) for packet in broker.published]


async def some_turns() -> None:
    """Of the loop, in which what is due is done."""
    for _ in range(10):
        await asyncio.sleep(0)


async def count_turns(turns: list[int]) -> None:
    while True:
        turns[0] += 1
        await asyncio.sleep(0)


# --- acknowledgements ----------------------------------------------------------------------------------------------


async def test_acknowledgements_in_any_order_doubled_and_of_nobody() -> None:
    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        for number in range(500):
            link.publish(Message(f"n/{number}", b"", 1))
        await until(lambda: len(broker.published) == 500)
        identifiers = [packet.identifier for packet in broker.published]
        assert len(set(identifiers)) == 500
        assert min(identifiers) >= FIRST_ID, "those below are for SUBSCRIBE"
        broker.acknowledge([1, 0, 0xFFFF, *reversed(identifiers[100:]), *identifiers[200:300]])
        await until(lambda: len(link.unacknowledged) == 100)
        assert link.unacknowledged == tuple(f"n/{number}" for number in range(100))
        assert await link.flush(0.01) is False
        broker.acknowledge(identifiers)
        assert await link.flush(5)
        link.publish(Message("again", b"", 1))
        broker.acknowledge(identifiers[:50])  # late
        await until(lambda: len(broker.published) == 501)
        assert link.unacknowledged == ("again",)


@BOTH
async def test_everything_the_broker_says_may_come_byte_by_byte(protocol: str) -> None:
    connack = CONNACK_5 if protocol == "5" else b"\x20\x02\x00\x00"
    message = b"\x30" + (b"\x07\x00\x01a" + b"\x00" if protocol == "5" else b"\x06\x00\x01a") + b"\x40\x02\xc0"
    async with PlayedBroker(connack, protocol) as broker, Link.connect(broker.config, "one") as link:
        for _ in range(3):
            link.publish(Message("a", b"", 1))
        await until(lambda: len(broker.published) == 3)
        first, second, third = (packet.body[3:5] for packet in broker.published)
        stream = b"\x40\x02" + first + message + b"\x40\x03" + second + b"\x10" + b"\xd0\x00" + b"\x40\x02" + third
        left = len(link.unacknowledged)
        for at in range(len(stream)):
            broker.say(stream[at : at + 1])
            await broker._writer.drain()
            await asyncio.sleep(0.001)
        assert left == 3
        assert await link.flush(5)
        assert await take(link, 1) == [Message("a", b"\x40\x02\xc0")]


async def test_refused_messages_are_counted_and_the_first_reason_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with PlayedBroker(CONNACK_5, "5") as broker, Link.connect(broker.config, "one") as link:
        for topic in ("allowed", "forbidden", "too/many", "odd"):
            link.publish(Message(topic, b"", 1))
        await until(lambda: len(broker.published) == 4)
        _, forbidden, many, odd = (packet.body[2 + len(packet.topic) :][:2] for packet in broker.published)
        broker.say(b"\x40\x03" + forbidden + b"\x87" + b"\x40\x03" + forbidden + b"\x87")
        broker.say(b"\x40\x07" + many + b"\x97\x03\x1f\x00\x00" + b"\x40\x03" + odd + b"\xbf")
        broker.acknowledge([broker.published[0].identifier])
        assert await link.flush(5)
        assert link.refusals.total == 3
    said = [record.getMessage() for record in caplog.records if record.name.startswith("bridge.")]
    assert len(said) == 1
    assert "forbidden: Not authorized" in said[0]


async def test_what_is_refused_in_session_after_session_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    spoken = Spoken("UNS")
    async with PlayedBroker(connack_5(b"\x27\x00\x00\x01\x00"), "5") as broker:
        for session in range(1, 4):
            async with Link.connect(broker.config, "one", spoken=spoken) as link:
                link.publish(Message("large", bytes(300)))
                link.publish(Message("forbidden", b"", 1))
                await until(lambda: len(broker.published) == session)  # noqa: B023
                broker.say(b"\x40\x03" + broker.published[-1].identifier.to_bytes(2, "big") + b"\x87")
                assert await link.flush(5)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("bridge.")]
    assert len(said) == 2


@pytest.mark.parametrize("qos", [0, 1])
async def test_flush_does_not_wait_for_what_is_published_after_it(qos: int) -> None:
    """As where every change is published: something is always on its way."""

    async def publish_ever(link: Link, broker: PlayedBroker) -> None:
        while True:
            before = len(broker.published)
            link.publish(Message("n", b"", qos))
            await until(lambda: len(broker.published) > before)  # noqa: B023
            if qos and before:
                broker.acknowledge([broker.published[before - 1].identifier])

    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        busy = asyncio.create_task(publish_ever(link, broker))
        await until(lambda: len(broker.published) > 3)
        for _ in range(20):
            assert await link.flush(5)
        busy.cancel()
        await asyncio.wait({busy})


async def test_patience_is_for_what_moves_and_not_for_what_others_do() -> None:
    async def answer_the_newest_only(link: Link, broker: PlayedBroker) -> None:
        while True:
            before = len(broker.published)
            link.publish(Message("n", b"", 1))
            await until(lambda: len(broker.published) > before)  # noqa: B023
            broker.acknowledge([broker.published[-1].identifier])

    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        link.publish(Message("forgotten", b"", 1))
        await until(lambda: len(broker.published) == 1)
        busy = asyncio.create_task(answer_the_newest_only(link, broker))
        assert await link.flush(0.1, patient=True) is False
        busy.cancel()
        await asyncio.wait({busy})


async def test_flush_waits_for_what_is_held_back() -> None:
    async with PlayedBroker(connack_5(b"\x21\x00\x02"), "5") as broker, Link.connect(broker.config, "one") as link:
        for number in range(5):
            link.publish(Message(f"n/{number}", b"", 1))
        flushing = asyncio.create_task(link.flush(5))
        for number in range(5):
            await until(lambda: len(broker.published) > number)  # noqa: B023
            assert not flushing.done()
            broker.acknowledge([broker.published[number].identifier])
        assert await flushing


async def test_what_is_no_mqtt_ends_the_session() -> None:
    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        broker.say(b"\x40\x00")
        with pytest.raises(LinkLost, match="does not speak MQTT"):
            await take(link, 1)


# --- congestion ----------------------------------------------------------------------------------------------------


async def test_drain_waits_while_acknowledgements_are_behind() -> None:
    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        for _ in range(IN_FLIGHT):
            link.publish(Message("a", b"", 1))
        await link.drain()
        assert not link.is_congested
        link.publish(Message("a", b"", 1))
        assert link.is_congested
        draining = asyncio.create_task(link.drain())
        await until(lambda: len(broker.published) == IN_FLIGHT)
        assert not draining.done()
        assert len(link.unacknowledged) == IN_FLIGHT + 1
        broker.acknowledge([broker.published[-1].identifier])
        await draining
        broker.acknowledges = True
        broker.acknowledge(packet.identifier for packet in broker.published)
        assert await link.flush(5)


async def test_no_more_are_on_their_way_than_the_broker_allows() -> None:
    """MQTT 5, 3.3.4: a broker may end the session of a client that sends more than its Receive Maximum."""
    async with PlayedBroker(connack_5(b"\x21\x00\x03"), "5") as broker, Link.connect(broker.config, "one") as link:
        for number in range(10):
            link.publish(Message("a", b"=%d" % number, 1))
        link.publish(Message("a", b"=10"))
        for sent in (3, 6, 9):
            await until(lambda sent=sent: len(broker.published) == sent)  # type: ignore[misc]
            await asyncio.sleep(0.01)
            assert len(broker.published) == sent
            broker.acknowledge(packet.identifier for packet in broker.published[sent - 3 :])
        await until(lambda: len(broker.published) == 11)
        assert numbers(broker) == list(range(11)), "what was held keeps its place, whatever its quality"


@mosquitto
async def test_receive_maximum_of_mosquitto_is_kept() -> None:
    server = Mosquitto(["allow_anonymous true", "max_inflight_messages 3"])
    async with server, Link.connect(using(server, "5"), "one") as link:
        for number in range(200):
            link.publish(Message("plant/n", str(number).encode(), qos=1))
        assert await link.flush(10)


@pytest.mark.parametrize("qos", [0, 1])
async def test_broker_that_stops_reading_makes_the_owner_wait_and_gets_the_newest_values(qos: int) -> None:
    turns = [0]
    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        broker.acknowledges = True
        broker.reads.clear()
        counting = asyncio.create_task(count_turns(turns))
        newest, told = 0, 0

        async def own() -> None:
            nonlocal told
            while told < 100_000:
                told = newest
                link.publish(Message("a", BIG + b"=%d" % newest, qos))
                await link.drain()

        owning = asyncio.create_task(own())
        most = 0
        for newest in range(1, 50_001):
            most = max(most, link._wire.queued)
            if newest % 10 == 0:
                await asyncio.sleep(0)
        assert link.is_congested
        assert not owning.done()
        assert most <= mqtt.CONGESTED_BYTES + len(BIG) + 100
        seen, sent_before = turns[0], told
        await until(lambda: turns[0] > seen + 100)
        assert told == sent_before < newest, "the owner waits, the loop does not"
        newest = 100_000
        broker.reads.set()
        await owning
        assert await link.flush(10)
        await until(lambda: numbers(broker)[-1:] == [100_000])
        got = numbers(broker)
        assert got == sorted(got)
        assert len(got) < 20_000, "most old values were never queued"
        counting.cancel()


async def test_owner_that_never_drains_loses_the_session_before_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "BACKLOG_LIMIT", 1 << 23)
    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        broker.reads.clear()
        with pytest.raises(LinkLost, match="8 MiB wait"):
            for _ in range(20_000):
                link.publish(Message("a", BIG))
        with pytest.raises(LinkLost, match="does not take"):
            await link.drain()


@mosquitto
@BOTH
async def test_broker_process_that_is_stopped_for_a_while_loses_nothing(protocol: str) -> None:
    async with (
        Mosquitto() as server,
        Link.connect(using(server, protocol), "watcher") as watcher,
        Link.connect(using(server, protocol), "one") as link,
    ):
        await watcher.subscribe("n", 0)
        sent = 0
        assert isinstance(server, Mosquitto)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            while not link.is_congested:
                for _ in range(50):
                    link.publish(Message("n", BIG + b"=%d" % sent, 1))
                    sent += 1
                await asyncio.sleep(0)
            assert await link.flush(0.05) is False
            assert len(link.unacknowledged) == sent
        finally:
            os.kill(server.pid, signal.SIGCONT)
        got: list[int] = []
        while len(got) < sent:
            got += [int(message.payload.rpartition(b"=")[2]) for message in await take(watcher, 1)]
        assert got == list(range(sent))
        assert await link.flush(10)


async def test_topics_without_an_answer_are_known_when_the_link_is_lost() -> None:
    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        for topic in ("arrived", "perhaps"):
            link.publish(Message(topic, b"", 1))
        await until(lambda: len(broker.published) == 2)
        broker.acknowledge([broker.published[0].identifier])
        await until(lambda: link.unacknowledged == ("perhaps",))
        broker.hang_up()
        with pytest.raises(LinkLost):
            await link.flush(5)
        assert link.unacknowledged == ("perhaps",)


# --- what a broker can ---------------------------------------------------------------------------------------------


@mosquitto
async def test_message_larger_than_the_broker_takes_is_left_out_and_the_session_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """MQTT 5, 3.2.2.3.6; mosquitto ends the session of a client that does not keep to it."""
    server = Mosquitto(["allow_anonymous true", "max_packet_size 200"])
    async with server, Link.connect(using(server, "5"), "one") as link:
        assert link.maximum_packet_size == 200
        await link.subscribe("a")
        # fixed header 3 (remaining length from 128 on), topic 2 + 1, packet identifier 2, properties 1
        sizes = {191: True, 192: False, 5000: False}
        for size, fits in sizes.items():
            message = Message("a", b"x" * size, 1)
            assert link.fits(message) is fits
            assert link.publish(message) is fits
        assert link.send(link.outlet(Message("a", b"", 1)), b"x" * 192) is False
        assert link.publish(Message("a", b"end"))
        assert await link.flush(5)
        assert [len(message.payload) for message in await take(link, 2)] == [191, 3]
        assert link.oversized == 3
        assert not link.unacknowledged
    said = [record.getMessage() for record in caplog.records if record.name.startswith("bridge.")]
    assert len(said) == 1
    assert "packets of 200" in said[0]


async def test_qos_and_retain_stay_within_what_the_broker_can(caplog: pytest.LogCaptureFixture) -> None:
    """MQTT 5, 3.2.2.3.4 and 3.2.2.3.5: a broker may end the session of a client that asks for more."""
    spoken = Spoken("The face")
    async with PlayedBroker(connack_5(b"\x24\x00\x25\x00"), "5") as broker:
        for _ in range(2):
            async with Link.connect(broker.config, "another", spoken=spoken):
                pass
        await _qos_and_retain(broker)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("bridge.")]
    assert len(said) == 1
    assert "QoS 0 only" in said[0]
    assert "no retained messages" in said[0]


async def _qos_and_retain(broker: PlayedBroker) -> None:
    async with Link.connect(broker.config, "one") as link:
        assert len(link.lacks) == 2
        link.publish(Message("a", b"", 1, retain=True))
        link.send(link.outlet(Message("a", b"", 1, retain=True)), b"")
        assert await link.flush(5)
        await until(lambda: len(broker.published) == 2)
        assert [packet.first for packet in broker.published] == [0x30, 0x30]


async def test_broker_that_says_nothing_can_everything() -> None:
    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        assert link.lacks == ()
        assert link.maximum_packet_size == 268_435_460
        link.publish(Message("a", b"", 1, retain=True))
        await until(lambda: len(broker.published) == 1)
        assert broker.published[0].first == 0x33


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "a\0"])
async def test_impossible_topic_or_quality_is_an_error_and_nothing_is_sent(topic: str) -> None:
    async with PlayedBroker() as broker, Link.connect(broker.config, "one") as link:
        for call in (link.publish, link.outlet, link.fits):
            with pytest.raises(ValueError, match="no topic"):
                call(Message(topic, b"", 1))
        with pytest.raises(ValueError, match="QoS"):
            link.publish(Message("a", b"", 2))
        link.publish(Message("end", b""))
        await until(lambda: len(broker.published) == 1)


# --- outlets -------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("qos", [0, 1])
async def test_outlet_sends_what_publish_would(protocol: str, qos: int) -> None:
    like = Message("plant/a", b"", qos, True, 300, "application/json", "plant/r", b"\x01", (("unit", "bar"),))
    connack = CONNACK_5 if protocol == "5" else b"\x20\x02\x00\x00"
    async with PlayedBroker(connack, protocol) as broker, Link.connect(broker.config, "one") as link:
        outlet = link.outlet(like)
        for payload in (b"1", b"x" * 200):
            link.publish(like._replace(payload=payload))
            link.send(outlet, payload)
        await until(lambda: len(broker.published) == 4)
        for published, sent in zip(broker.published[::2], broker.published[1::2], strict=True):
            skip = 2 if qos else 0
            assert (published.first, published.topic) == (sent.first, sent.topic)
            assert published.after_topic[skip:] == sent.after_topic[skip:]


async def test_alias_stands_for_the_topic_from_the_second_message_on() -> None:
    """MQTT 5, 3.3.2.3.4."""
    async with PlayedBroker(connack_5(b"\x22\x00\x01"), "5") as broker, Link.connect(broker.config, "one") as link:
        first, second = (link.outlet(Message(topic, b"", 0), alias=True) for topic in ("a/long/topic", "another"))
        for payload in (b"1", b"2", b"3"):
            link.send(first, payload)
            link.send(second, payload)
        await until(lambda: len(broker.published) == 6)
        assert [packet.topic for packet in broker.published[::2]] == ["a/long/topic", "", ""]
        assert {packet.after_topic[:4] for packet in broker.published[::2]} == {b"\x03\x23\x00\x01"}
        assert [packet.topic for packet in broker.published[1::2]] == ["another"] * 3, "the broker has no second one"


async def test_alias_is_not_used_before_the_message_that_says_it_is_sent() -> None:
    async with (
        PlayedBroker(connack_5(b"\x22\x00\x05\x27\x00\x00\x00\x40"), "5") as broker,
        Link.connect(broker.config, "one") as link,
    ):
        outlet = link.outlet(Message("a/topic", b""), alias=True)
        assert link.send(outlet, b"x" * 100) is False
        assert link.send(outlet, b"1")
        assert link.send(outlet, b"2")
        await until(lambda: len(broker.published) == 2)
        assert [packet.topic for packet in broker.published] == ["a/topic", ""]


@mosquitto
@pytest.mark.parametrize("qos", [0, 1])
async def test_aliases_of_mosquitto_lead_to_the_right_topics_at_each_session(qos: int) -> None:
    topics = [f"plant/{number}" for number in range(30)]
    async with Mosquitto() as server, Link.connect(using(server, "5"), "watcher") as watcher:
        await watcher.subscribe("plant/#", 0)
        for session in range(2):
            async with Link.connect(using(server, "5"), "one") as link:
                outlets = [link.outlet(Message(topic, b"", qos, content_type="t"), alias=True) for topic in topics]
                for turn in range(20):
                    for topic, outlet in zip(topics, outlets, strict=True):
                        link.send(outlet, f"{session} {turn} {topic}".encode())
                assert await link.flush(10)
            got = await take(watcher, 20 * len(topics))
            assert all(message.payload.decode().endswith(" " + message.topic) for message in got)
            assert {message.content_type for message in got} == {"t"}


# --- nothing is left behind ----------------------------------------------------------------------------------------


@BOTH
async def test_refusal_before_aiomqtt_has_connected_leaves_no_error_that_nobody_took(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker's answer may be read before aiomqtt's thread has said that it is connected: nobody asks it then."""
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    is_over, connect = threading.Event(), paho.Client.connect
    clients: list[weakref.ref[paho.Client]] = []

    def slow(client: paho.Client, *args: object, **options: object) -> object:
        clients.append(weakref.ref(client))
        done = connect(client, *args, **options)  # type: ignore[arg-type]
        is_over.wait(10)
        return done

    monkeypatch.setattr(paho.Client, "connect", slow)
    connack = b"\x20\x03\x00\x87\x00" if protocol == "5" else b"\x20\x02\x00\x05"
    try:
        async with PlayedBroker(connack, protocol) as broker:
            with pytest.raises(LinkRefused):
                async with Link.connect(broker.config, "one"):
                    pass
    finally:
        is_over.set()
    await until(lambda: gc.collect() >= 0 and [client() for client in clients] == [None])
    assert said == []


@pytest.mark.parametrize("moment", [0.0, 0.001, 0.005, 0.02])
async def test_connect_that_is_cancelled_at_any_moment_leaves_no_error(moment: float) -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    async with PlayedBroker(b"\x20\x02\x00\x05") as broker:
        for _ in range(5):
            connecting = asyncio.create_task(Link.connect(broker.config, "one").__aenter__())
            await asyncio.sleep(moment)
            connecting.cancel()
            await asyncio.wait({connecting})
            if not connecting.cancelled():
                assert isinstance(connecting.exception(), LinkRefused)
        # one that has come through, so that the broker has somebody to hang up on
        with pytest.raises(LinkRefused):
            async with Link.connect(broker.config, "one"):
                pass
    gc.collect()
    assert said == []


async def test_patient_flush_takes_as_long_as_something_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, passed = asyncio.get_running_loop(), 0.0
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + passed)
    async with PlayedBroker(CONNACK_5, "5") as broker, Link.connect(broker.config, "one") as link:
        for topic in ("a", "b", "c"):
            link.publish(Message(topic, b"", 1))
        await until(lambda: len(broker.published) == 3)
        flushing = asyncio.create_task(link.flush(300, patient=True))
        for packet, left in zip(broker.published, (2, 1, 0), strict=True):
            await some_turns()
            passed += 200
            await some_turns()
            assert not flushing.done()
            broker.acknowledge([packet.identifier])
            await until(lambda left=left: len(link.unacknowledged) == left)  # type: ignore[misc]
        assert await flushing
        link.publish(Message("d", b"", 1))
        assert not await link.flush(0.05, patient=True)
        broker.acknowledge([broker.published[-1].identifier])
