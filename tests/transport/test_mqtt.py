"""The MQTT link, against a real broker; brokers that misbehave are played by a few bytes on a socket."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiomqtt
import paho.mqtt.client as paho
import pytest
from pydantic import SecretStr, ValidationError

from bridge.errors import LinkLost, LinkRefused, SubscribeRefused
from bridge.transport import mqtt_connection, mqtt_inbox
from bridge.transport.mqtt import BrokerConfig, Link, Message
from bridge.transport.mqtt_version import Spoken
from bridge.transport.mqtt_window import FIRST_ID, IN_FLIGHT
from tests.broker import Amqtt, Broker, Mosquitto, broker, free_port
from tests.transport.played_mqtt import PlayedBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

BOTH = pytest.mark.parametrize("protocol", ["3.1.1", "5"])
mosquitto = pytest.mark.peer("mosquitto")


def using(server: Broker, protocol: str = "3.1.1", **more: object) -> BrokerConfig:
    return server.config.model_copy(update={"protocol": protocol, **more})


async def take(link: Link, count: int) -> list[Message]:
    messages = link.messages()
    return [await anext(messages) for _ in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def played_broker(play: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], port: int = 0):
    """A "broker" that does what `play` does with each connection; yields how to reach it."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await play(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield BrokerConfig(port=server.sockets[0].getsockname()[1], protocol="3.1.1")
    finally:
        server.close()
        await server.wait_closed()
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    yield
    await until(lambda: asyncio.all_tasks() <= {asyncio.current_task()})
    for selected in loop._selector.get_map().values():  # type: ignore[attr-defined]
        assert selected.fileobj == loop._ssock.fileno(), "a socket is still watched"  # type: ignore[attr-defined]


async def test_message_arrives_as_it_was_published() -> None:
    async with broker() as server, Link.connect(server.config, "one") as link:
        await link.subscribe("plant/#")
        link.publish(Message("plant/a", b"\x00\xff", qos=1))
        link.publish(Message("plant/b", b"", qos=0))
        await link.drain()
        got = {(message.topic, message.payload, message.retain) for message in await take(link, 2)}
    assert got == {("plant/a", b"\x00\xff", False), ("plant/b", b"", False)}


@mosquitto
async def test_properties_travel_with_mqtt_5() -> None:
    sent = Message("plant/a", b"{}", 1, False, 60, "application/json", "plant/answer", b"\x01\x02", (("a", "b"),) * 2)
    async with Mosquitto() as server, Link.connect(using(server, "5"), "one") as link:
        assert link.protocol == "5"
        await link.subscribe("plant/#")
        link.publish(sent)
        (got,) = await take(link, 1)
    assert got == sent


@mosquitto
async def test_live_subscription_hears_nothing_from_the_past_and_nothing_of_its_own() -> None:
    async with (
        Mosquitto() as server,
        Link.connect(using(server, "5"), "one") as link,
        Link.connect(using(server, "5"), "other") as other,
    ):
        other.publish(Message("plant/old", b"past", 1, retain=True))
        assert await other.flush(5)
        await link.subscribe("plant/#", live=True)
        link.publish(Message("plant/own", b"own", 1))
        assert await link.flush(5)
        other.publish(Message("plant/new", b"now", 1, retain=True))
        assert await take(link, 1) == [Message("plant/new", b"now", 1, retain=True)]


@BOTH
@mosquitto
async def test_unsubscribed_topic_is_heard_no_more(protocol: str) -> None:
    async with Mosquitto() as server, Link.connect(using(server, protocol), "one") as link:
        await link.subscribe("plant/a")
        await link.subscribe("plant/b")
        link.unsubscribe("plant/a")
        link.publish(Message("plant/a", b"", 1))
        link.publish(Message("plant/b", b"", 1))
        assert [message.topic for message in await take(link, 1)] == ["plant/b"]


async def test_properties_are_dropped_on_3_1_1() -> None:
    async with broker() as server, Link.connect(using(server), "one") as link:
        await link.subscribe("plant/#")
        link.publish(Message("plant/a", b"{}", 1, False, 60, "application/json", "plant/answer", b"\x01"))
        assert await take(link, 1) == [Message("plant/a", b"{}", 1)]


@mosquitto
@BOTH
async def test_messages_of_both_qualities_keep_their_order(protocol: str) -> None:
    async with Mosquitto() as server, Link.connect(using(server, protocol), "one") as link:
        await link.subscribe("plant/n", 0)  # a broker holds QoS 1 back for the reader's sake: that would reorder
        for number in range(600):
            link.publish(Message("plant/n", str(number).encode(), qos=number % 3 % 2))
        await link.drain()
        assert [int(message.payload) for message in await take(link, 600)] == list(range(600))


@mosquitto
@BOTH
async def test_flush_means_every_acknowledgement_is_there(protocol: str) -> None:
    async with Mosquitto() as server, Link.connect(using(server, protocol), "one") as link:
        for number in range(3000):
            link.publish(Message("plant/n", str(number).encode(), qos=1))
        assert await link.flush(20)
        assert not link.unacknowledged


@pytest.mark.parametrize("quality", [0, 1])
@BOTH
@mosquitto
async def test_what_arrived_is_at_the_broker_whatever_its_quality(protocol: str, quality: int) -> None:
    async with Mosquitto() as server:
        async with Link.connect(using(server, protocol), "one") as link:
            for number in range(3000):
                link.publish(Message(f"plant/{number}", b"1", qos=quality, retain=True))
            await link.arrived()
            assert not link.unacknowledged
            link.publish(Message("plant/after", b"1", retain=True))
            await link.arrived()
        async with Link.connect(using(server, protocol), "two") as link:
            await link.subscribe("plant/2999")
            await link.subscribe("plant/after")
            assert [message.topic for message in await take(link, 2)] == ["plant/2999", "plant/after"]


async def test_what_arrived_is_known_of_an_old_broker() -> None:
    async with broker() as server, Link.connect(using(server), "one") as link:
        link.publish(Message("plant/a", b""))
        await asyncio.wait_for(link.arrived(), 30)


async def test_what_is_not_acknowledged_did_not_arrive() -> None:
    async with PlayedBroker() as server, Link.connect(server.config, "one") as link:
        server.acknowledges = False
        for _ in range(IN_FLIGHT + 10):  # the last ones are held
            link.publish(Message("a", b"", qos=1))
        waiting = asyncio.create_task(link.arrived())
        await until(lambda: len(server.published) == IN_FLIGHT)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_flush_gives_up_in_time_when_nothing_is_acknowledged() -> None:
    async def accept_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(b"\x20\x02\x00\x00")
        await reader.read()

    async with played_broker(accept_only) as config:
        with pytest.raises(RuntimeError, match="enough"):
            async with Link.connect(config, "one") as link:
                link.publish(Message("a", b"", qos=1))
                assert await link.flush(0.02) is False
                raise RuntimeError("enough")


async def test_thousand_messages_at_once_do_not_stall_the_loop() -> None:
    async with broker() as server, Link.connect(server.config, "one") as link:
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        for number in range(1000):
            link.publish(Message("plant/n", str(number).encode()))
        assert turns == 0, "publish does not wait"
        await link.drain()
        assert turns > 0, "drain lets others run"
        ticking.cancel()


@mosquitto
@BOTH
async def test_wrong_password_is_refused(protocol: str, tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("")
    server = Mosquitto(["allow_anonymous false", f"password_file {tmp_path / 'passwords'}"])
    async with server:
        config = using(server, protocol, username="me", password=SecretStr("wrong"))
        with pytest.raises(LinkRefused, match=r"(?i)authori.*; look at username and password"):
            async with Link.connect(config, "one"):
                pass
        with pytest.raises(LinkRefused, match=r"(?i)authori.*; it wants username and password, none is set"):
            async with Link.connect(using(server, protocol), "one"):
                pass


@pytest.mark.parametrize(("code", "error"), [(1, LinkRefused), (2, LinkRefused), (3, LinkLost), (5, LinkRefused)])
async def test_connack_codes_say_who_must_act(code: int, error: type[Exception]) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(b"\x20\x02\x00" + bytes((code,)))

    async with played_broker(refuse) as config:
        with pytest.raises(error):
            async with Link.connect(config, "one"):
                pass


async def test_broker_that_knows_only_3_1_1_refuses_mqtt_5_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_connection, "ANSWER_TIMEOUT_S", 300.0)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(b"\x20\x02\x00\x01")
        await reader.read()

    async with played_broker(refuse) as config:
        with pytest.raises(LinkRefused, match=r"MQTT 5|protocol version"):
            async with asyncio.timeout(30), Link.connect(config.model_copy(update={"protocol": "5"}), "one"):
                pass


# --- protocol: auto ------------------------------------------------------------------------------------------------


class OldBroker:
    """Speaks MQTT 3.1.1; does `rebuff` with a CONNECT of any other version."""

    def __init__(self, rebuff: Callable[[asyncio.StreamWriter], None]) -> None:
        self.versions: list[int] = []
        self.wills: list[bytes] = []
        self._rebuff = rebuff

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, length = await reader.readexactly(2)
        connect = await reader.readexactly(length)
        self.versions.append(connect[6])
        self.wills.append(connect[-2:])
        if connect[6] != 4:
            self._rebuff(writer)
            return
        assert connect[7] & 0x02, "the session is clean"
        writer.write(b"\x20\x02\x00\x00")
        await reader.read()


def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def _says(answer: bytes) -> Callable[[asyncio.StreamWriter], None]:
    def say(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    return say


REBUFFS = {
    "0x01": _says(b"\x20\x02\x00\x01"),
    "0x84": _says(b"\x20\x03\x00\x84\x00"),
    "3.1.1's not authorized": _says(b"\x20\x02\x00\x05"),
    "accepted as 3.1.1": _says(b"\x20\x02\x00\x00"),
    "hangs up": _hang_up,
    "resets": _reset,
}


@pytest.mark.parametrize("rebuff", REBUFFS.values(), ids=REBUFFS)
async def test_auto_speaks_3_1_1_where_the_broker_does_not_understand_5(
    rebuff: Callable[[asyncio.StreamWriter], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt_connection, "ANSWER_TIMEOUT_S", 300.0)
    caplog.set_level("INFO", "bridge")
    old, spoken = OldBroker(rebuff), Spoken("The face")
    async with played_broker(old) as reached:
        config = reached.model_copy(update={"protocol": "auto"})
        for _ in range(2):
            connecting = Link.connect(config, "one", will=Message("death", b"me", 1), spoken=spoken)
            async with asyncio.timeout(30), connecting as link:
                assert link.protocol == "3.1.1"
                assert connecting.may_have_begun
    assert old.versions == [5, 4, 5, 4], "5 is tried again: the broker may be another one by now"
    assert set(old.wills) == {b"me"}
    ours = [record for record in caplog.records if record.name.startswith("bridge.")]
    assert [record.levelname for record in ours] == ["INFO"], "said once"
    assert f"The face speaks MQTT 3.1.1 with the broker {config.where}" in caplog.text


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"\x20\x03\x00\x87\x00", LinkRefused),  # not authorized
        (b"\x20\x03\x00\x85\x00", LinkRefused),  # client identifier not valid
        (b"\x20\x03\x00\x89\x00", LinkLost),  # server busy
    ],
)
async def test_auto_takes_a_refusal_in_mqtt_5_for_an_answer(answer: bytes, error: type[Exception]) -> None:
    refusing = OldBroker(_says(answer))
    async with played_broker(refusing) as reached:
        with pytest.raises(error):
            async with Link.connect(reached.model_copy(update={"protocol": "auto"}), "one"):
                pass
    assert refusing.versions == [5]


async def test_auto_does_not_take_silence_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_connection, "ANSWER_TIMEOUT_S", 0.05)
    silent = OldBroker(lambda _: None)
    async with played_broker(silent) as reached:
        connecting = Link.connect(reached.model_copy(update={"protocol": "auto"}), "one")
        with pytest.raises(LinkLost):
            async with connecting:
                pass
    assert silent.versions == [5]
    assert connecting.may_have_begun


async def test_auto_that_is_refused_in_both_has_begun_nothing() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(b"\x20\x02\x00\x01")

    async with played_broker(refuse) as reached:
        connecting = Link.connect(reached.model_copy(update={"protocol": "auto"}), "one")
        with pytest.raises(LinkRefused):
            async with connecting:
                pass
    assert not connecting.may_have_begun


@mosquitto
async def test_auto_speaks_5_with_mosquitto_and_says_it_when_that_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bridge")
    spoken = Spoken("The face")
    async with Mosquitto() as server:
        assert server.config.protocol == "auto"
        for _ in range(2):
            async with Link.connect(server.config, "one", spoken=spoken) as link:
                assert link.protocol == "5"
        await server.stop()
        played = OldBroker(_hang_up)
        async with played_broker(played, server.port), Link.connect(server.config, "one", spoken=spoken) as link:
            assert link.protocol == "3.1.1"
        await server.start()
        async with Link.connect(server.config, "one", spoken=spoken) as link:
            assert link.protocol == "5"
    assert [record.args[1] for record in caplog.records if record.args] == ["5", "3.1.1", "5"]  # type: ignore[index]


async def test_auto_speaks_3_1_1_with_amqtt() -> None:
    async with Amqtt() as server, Link.connect(server.config, "one") as link:
        assert link.protocol == "3.1.1"
        await link.subscribe("plant/#")
        link.publish(Message("plant/a", b"1", 1))
        assert await take(link, 1) == [Message("plant/a", b"1", 1)]


async def test_nobody_listening_is_a_lost_link() -> None:
    with pytest.raises(LinkLost, match="connection refused: does the broker run"):
        async with Link.connect(BrokerConfig(port=free_port()), "one"):
            pass


async def test_name_that_leads_nowhere_is_said_with_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    with pytest.raises(LinkLost, match=r"brokr\.plant\.lan leads nowhere \(Name or service not known\)"):
        async with Link.connect(BrokerConfig(host="brokr.plant.lan"), "one"):
            pass


async def test_broker_that_hangs_up_before_connack_is_lost_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_connection, "ANSWER_TIMEOUT_S", 300.0)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.close()

    async with played_broker(hang_up) as config:
        with pytest.raises(LinkLost, match="does it want TLS at this port"):
            async with asyncio.timeout(30), Link.connect(config, "one"):
                pass


async def test_broker_that_never_answers_connect_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_connection, "ANSWER_TIMEOUT_S", 0.05)
    closed = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        closed.set()

    async with played_broker(say_nothing) as config:
        with pytest.raises(LinkLost):
            async with Link.connect(config, "one"):
                pass
        await asyncio.wait_for(closed.wait(), 30)


async def test_cancelled_connect_closes_its_socket() -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()
        closed.set()

    async with played_broker(say_nothing) as config:
        connecting = asyncio.create_task(Link.connect(config, "one").__aenter__())
        await arrived.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await asyncio.wait_for(closed.wait(), 30)


@mosquitto
async def test_refused_subscription_is_raised(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic read plant/allowed\n")
    server = Mosquitto(["allow_anonymous true", f"acl_file {tmp_path / 'acl'}"])
    (tmp_path / "acl").chmod(0o600)
    async with server, Link.connect(server.config, "one") as link:
        await link.subscribe("plant/allowed")
    async with played_broker(_refuse_subscription) as config, Link.connect(config, "one") as link:
        with pytest.raises(SubscribeRefused, match="plant/#"):
            await link.subscribe("plant/#")


async def _refuse_subscription(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readexactly(2)
    await reader.readexactly(head[1])
    writer.write(b"\x20\x02\x00\x00")
    head = await reader.readexactly(2)
    body = await reader.readexactly(head[1])
    writer.write(b"\x90\x03" + body[:2] + b"\x80")
    await reader.read()


async def _wait_for_message(link: Link) -> object:
    return await anext(link.messages())


async def _wait_for_flush(link: Link) -> object:
    link.publish(Message("a", b"", qos=1))
    return await link.flush(30)


async def _wait_for_drain(link: Link) -> object:
    for _ in range(IN_FLIGHT + 1):
        link.publish(Message("a", b"", qos=1))
    return await link.drain()


async def _wait_for_arrival(link: Link) -> object:
    link.publish(Message("a", b"", qos=1))
    return await link.arrived()


async def _wait_for_unsuback(link: Link) -> object:
    link.publish(Message("a", b""))
    return await link.arrived()


async def _wait_for_suback(link: Link) -> object:
    return await link.subscribe("a")


@pytest.mark.parametrize(
    "wait",
    [
        _wait_for_message,
        _wait_for_flush,
        _wait_for_drain,
        _wait_for_suback,
        _wait_for_arrival,
        _wait_for_unsuback,
    ],
)
async def test_loss_ends_every_wait(wait: Callable[[Link], Awaitable[object]]) -> None:
    hang_up = asyncio.Event()

    async def accept_then_vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(2)
        await reader.readexactly(head[1])
        writer.write(b"\x20\x02\x00\x00")
        await hang_up.wait()
        writer.transport.abort()

    async with played_broker(accept_then_vanish) as config, Link.connect(config, "one") as link:
        waiting = asyncio.create_task(wait(link))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        hang_up.set()
        with pytest.raises(LinkLost):
            await waiting
        with pytest.raises(LinkLost):
            link.publish(Message("a", b""))
        with pytest.raises(LinkLost):
            await link.drain()


@mosquitto
@BOTH
async def test_second_client_of_the_same_id_takes_the_session(protocol: str) -> None:
    async with Mosquitto() as server:
        config = using(server, protocol)
        async with Link.connect(config, "twin") as link, Link.connect(config, "twin"):
            with pytest.raises(LinkLost):
                await anext(link.messages())


async def test_broker_says_why_it_ended_the_session_on_mqtt_5() -> None:
    async def take_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(b"\x20\x03\x00\x00\x00" + b"\xe0\x02\x8e\x00")
        await reader.read()

    async with played_broker(take_over) as config:
        five = config.model_copy(update={"protocol": "5"})
        with pytest.raises(LinkLost, match="Session taken over"):
            async with Link.connect(five, "one") as link:
                await anext(link.messages())


@mosquitto
@pytest.mark.parametrize(
    ("protocol", "with_will", "speaks"),
    [("3.1.1", False, False), ("3.1.1", True, False), ("5", False, False), ("5", True, True)],
)
async def test_will_after_disconnect_only_with_reason_4(protocol: str, with_will: bool, speaks: bool) -> None:
    """tck-id-payloads-ndeath-will-message-publisher-disconnect-mqtt50"""
    async with Mosquitto() as server, Link.connect(server.config, "watcher") as watcher:
        await watcher.subscribe("#")
        async with Link.connect(using(server, protocol), "one", will=Message("will", b"died", 1)) as link:
            link.publish(Message("last", b"word"))
            await link.disconnect(with_will=with_will)
            with pytest.raises(LinkLost, match=r"goodbye|Success|Normal"):
                link.publish(Message("too", b"late"))
        if speaks:
            assert [message.topic for message in await take(watcher, 2)] == ["last", "will"]
        else:  # the broker reads the watcher's socket after the closed one's: a will would have come before "end"
            await asyncio.sleep(0.05)
            watcher.publish(Message("end", b""))
            assert [message.topic for message in await take(watcher, 2)] == ["last", "end"]


@mosquitto
async def test_leaving_by_an_exception_lets_the_will_speak() -> None:
    async with Mosquitto() as server, Link.connect(server.config, "watcher") as watcher:
        await watcher.subscribe("#")
        with pytest.raises(RuntimeError):
            async with Link.connect(server.config, "one", will=Message("will", b"died", 1)):
                raise RuntimeError
        assert (await take(watcher, 1))[0].topic == "will"


@mosquitto
@BOTH
async def test_nothing_waits_in_the_broker_for_a_client_that_is_away(protocol: str) -> None:
    """A command never comes from the past."""
    async with Mosquitto() as server:
        config = using(server, protocol)
        async with Link.connect(config, "keeper") as link:
            await link.subscribe("cmd")
        async with Link.connect(config, "sender") as sender:
            sender.publish(Message("cmd", b"1", qos=1))
            assert await sender.flush(5)
        async with Link.connect(config, "keeper") as link:
            await link.arrived()
            assert not link._inbox


async def test_large_messages_nobody_takes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_inbox, "INBOX_BYTES", 1000)
    async with broker() as server, Link.connect(server.config, "one") as link:
        await link.subscribe("n")
        for number in range(5):
            link.publish(Message("n", bytes((number,)) * 400))
        await until(lambda: link.dropped == 3)
        assert [message.payload[0] for message in await take(link, 2)] == [3, 4]


async def test_slow_reader_loses_the_oldest_and_it_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with broker() as server, Link.connect(server.config, "one") as link:
        await link.subscribe("plant/n", 0)
        extra = 5
        for number in range(mqtt_inbox.INBOX_LIMIT + extra):
            link.publish(Message("plant/n", str(number).encode()))
            if number % 100 == 0:
                await link.drain()
        await until(lambda: link.dropped == extra)
        assert (await take(link, 1))[0].payload == str(extra).encode()


async def test_oversized_payloads_are_dropped_and_counted_with_one_word(caplog: pytest.LogCaptureFixture) -> None:
    async with broker() as server, Link.connect(server.config, "one", largest=10) as link:
        await link.subscribe("plant/n")
        link.publish(Message("plant/n", b"12345678901"))
        link.publish(Message("plant/n", b"12345678901"))
        link.publish(Message("plant/n", b"1234567890"))
        assert (await take(link, 1))[0].payload == b"1234567890"
        assert link.dropped == 2
    [said] = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    assert said == "A message on plant/n is dropped: it has 11 bytes, and no more than 10 are taken"


@mosquitto
async def test_refused_publish_is_counted_on_mqtt_5(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic write plant/allowed\n")
    (tmp_path / "acl").chmod(0o600)
    server = Mosquitto(["allow_anonymous true", f"acl_file {tmp_path / 'acl'}"])
    async with server, Link.connect(using(server, "5"), "one") as link:
        link.publish(Message("plant/allowed", b"", qos=1))
        link.publish(Message("plant/forbidden", b"", qos=1))
        assert await link.flush(5)
        assert link.refusals.total == 1


async def test_silent_broker_is_noticed_by_keep_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_connection, "MISC_INTERVAL_S", 0.01)

    async def accept_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(b"\x20\x02\x00\x00")
        await reader.read()

    async with played_broker(accept_only) as config, Link.connect(config, "one") as link:
        link._connection._paho._keepalive = 0.05  # type: ignore[assignment]
        with pytest.raises(LinkLost, match=r"has not answered for 45 s \(PINGREQ\): does it still run\?"):
            await asyncio.wait_for(anext(link.messages()), 30)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["mqtt://u:s3cret@broker", "u:s3cret@broker", "broker/mqtt", "broker:1883", "a b", ""])
def test_url_as_host_is_refused_and_not_shown(host: str) -> None:
    with pytest.raises(ValidationError, match="not a name or an address") as told:
        BrokerConfig.model_validate({"host": host})
    assert "s3cret" not in told.value.errors()[0]["msg"]


@pytest.mark.parametrize("host", ["broker", "mqtt.plant.example", "192.168.0.1", "::1", "fe80::1%eth0"])
def test_names_and_addresses_are_hosts(host: str) -> None:
    assert BrokerConfig.model_validate({"host": host}).host == host


async def test_password_is_never_in_the_representation() -> None:
    config = BrokerConfig(username="me", password=SecretStr("tr0ub4dor"))
    assert "tr0ub4dor" not in repr(config) + str(Link.connect(config, "one").__dict__)


async def test_aiomqtt_still_has_the_one_private_name_we_use() -> None:
    """`Connection` takes paho's client from aiomqtt, and aiomqtt's CONNACK callback from paho's client."""
    client = aiomqtt.Client("127.0.0.1", free_port(), identifier="contract")
    assert isinstance(client._client, paho.Client)
    assert client._client.on_connect == client._on_connect
    assert list(inspect.signature(client._client.on_connect).parameters) == [
        "client",
        "userdata",
        "flags",
        "reason_code",
        "properties",
    ]


async def test_paho_still_lets_a_tls_context_replace_its_socket() -> None:
    """Its socket is our Wire then, with TLS or without."""
    async with broker() as server, Link.connect(server.config, "one") as link:
        assert link._connection._paho.socket() is link._wire  # type: ignore[comparison-overlap]


async def test_pahos_identifiers_begin_anew_before_they_come_to_ours() -> None:
    async with broker() as server, Link.connect(server.config, "one") as link:
        assert link._connection._paho._last_mid == 0  # type: ignore[attr-defined]
        link._connection._paho._last_mid = FIRST_ID - 3  # type: ignore[attr-defined]
        for last in (FIRST_ID - 2, 0, 1):
            await link.subscribe("plant/#")
            assert link._connection._paho._last_mid == last  # type: ignore[attr-defined]
