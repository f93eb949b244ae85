"""One MQTT session: connect, publish in batches, receive, say goodbye. Never reconnects by itself.

Its owner makes a new Link per connection, because an MQTT will is fixed at CONNECT (design.md 2.5, invariant 13).

    publish, send -> (QoS 1, window full: held) -> Wire -> broker -> PUBACK -> Wire -> _take -> held ones go on
    broker -> Wire -> paho -> inbox (bounded) -> messages()
    loss, refusal, DISCONNECT -> _end: every wait raises LinkLost

What is published:
1. Order is kept. Nothing waits for a message: all of a turn of the event loop leave in one write.
2. QoS 1 is never dropped silently. `flush` is True when all of it was acknowledged. At a loss, what was published since
   the last such flush may or may not have arrived: the next session's owner says it again, as the faces do with current
   values at every session and with events by the log's cursor; `unacknowledged` names the topics. What the broker
   refuses (MQTT 5) is in `refusals`, what is too large for it in `oversized`, both with one log line a session.
3. Memory is bounded by the owner, who asks `is_congested` or waits in `drain` before it takes the next values, so that
   they are the newest then; and by BACKLOG_LIMIT, at which the session ends, should it not.

Backend: aiomqtt opens the connection (TLS, CONNECT, versions) in a thread. From the socket on, the callbacks that paho
publishes for foreign event loops are ours, and paho's socket is a Wire: aiomqtt's publish costs 95 to 127 us a message,
paho's 21, and paho wakes up for each acknowledgement. Two private names are touched: `aiomqtt.Client._client`, and
paho's `_last_mid` after 49 000 subscriptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTT_ERR_SUCCESS, error_string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from bridge.errors import LinkError, LinkLost, LinkRefused, SubscribeRefused
from bridge.transport import mqtt_properties
from bridge.transport.mqtt_config import BrokerConfig
from bridge.transport.mqtt_limits import Limits
from bridge.transport.mqtt_message import Message
from bridge.transport.mqtt_outlet import Outlet
from bridge.transport.mqtt_packet import (
    LARGEST_REMAINING,
    PACKET_OVERHEAD,
    PUBLISH,
    QOS_1,
    RETAIN,
    fixed_header,
    topic_name,
)
from bridge.transport.mqtt_refusals import Refusals
from bridge.transport.mqtt_tls import TlsFileError, Wrapping, hang_up_fault, tls_fault
from bridge.transport.mqtt_version import UNSUPPORTED, Protocol, in_turn
from bridge.transport.mqtt_window import FIRST_ID, IN_FLIGHT, Window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties

    from bridge.transport.mqtt_packet import Taken
    from bridge.transport.mqtt_version import Spoken
    from bridge.transport.mqtt_wire import Wire

__all__ = ["BrokerConfig", "Connecting", "Link", "Message", "Outlet"]

_log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0
"""How long a broker may take to answer CONNECT or SUBSCRIBE."""
GOODBYE_TIMEOUT_S = 2.0
"""How long writing DISCONNECT, and what is queued before it, may take."""
SESSION_EXPIRY_S = 30
"""How long a broker keeps a session that was not clean: commands never come from the past (design.md section 6)."""
CONGESTED_BYTES = 1 << 18
"""Queued bytes from which the owner is told to wait: 40 ms at 100 000 small messages/s."""
BACKLOG_LIMIT = 1 << 26
"""Queued and held bytes at which the session ends: an owner that never drains."""
ACK_REST_S = 0.002
"""While QoS 1 messages are on their way, the socket is left alone for this long after acknowledgements: waking up for
each one costs 9 us. Not where the broker's Receive Maximum would make this the limit."""
RESTFUL_WINDOW = 1000
"""At this window and ACK_REST_S, 500 000 messages/s are possible."""
INBOX_LIMIT = 1000
"""Received messages nobody has taken yet; beyond it the oldest is dropped."""
PAYLOAD_LIMIT = 1 << 20
"""Bytes of a received payload; larger ones are dropped: nothing we subscribe to is that long."""
NOTHING = "plantbridge/nothing"
"""A topic nobody subscribes to."""
MISC_INTERVAL_S = 1.0
"""How often paho looks at its keep-alive."""

DISCONNECT_WITH_WILL = 0x04
"""MQTT 5, 3.14.2.1: the broker publishes the will although the client said goodbye."""
TRY_LATER = frozenset({0x88, 0x89, 0x97, 0x9C, 0x9D, 0x9F})
"""CONNACK codes about the broker's state, not about us (MQTT 5, 3.2.2.2): unavailable, busy, quota, moved, rate."""


class Link:
    """An MQTT session that is up. Made by `connect`, used by one task, ended by leaving its context.

    Leaving the context normally says DISCONNECT; leaving it by an exception only closes the socket, so that the
    broker publishes the will. What is queued and not flushed may be lost either way.
    """

    def __init__(self, broker: BrokerConfig, client_id: str, will: Message | None, clean: bool) -> None:
        self._broker = broker
        self._client_id = client_id
        self._will = will
        self._clean = clean
        self._limits = Limits()
        self._window = Window(IN_FLIGHT)
        self._held: deque[tuple[int, int, bytes, bytes, bytes, str]] = deque()
        self._let_go = 0
        self._held_bytes = 0
        self._surely_fits = 0
        self._first_mask = PUBLISH | QOS_1 | RETAIN
        self._is_5 = broker.protocol == "5"
        self._aliases = 0
        self._subscribing: dict[int, asyncio.Future[ReasonCode]] = {}
        self._unsubscribing: dict[int, asyncio.Future[None]] = {}
        self._inbox: deque[Message] = deque(maxlen=INBOX_LIMIT)
        self._arrived = asyncio.Event()
        self._progress = asyncio.Event()
        self._is_answered = False
        self._refusal: LinkError | None = None
        self._is_unsupported = False
        self._has_hung_up = False
        self._is_broken = False
        self._gate = threading.Lock()
        self._abandoned = False
        self._is_open = False
        self._wire: Wire
        self._misc: asyncio.Task[None] | None = None
        self._paho: Client
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Future[str]
        self.dropped = 0
        """Received messages that were dropped: nobody took them in time, or they were too large."""
        self.refusals = Refusals()
        """Published messages the broker acknowledged with a refusal (MQTT 5 only)."""
        self.oversized = 0
        """Messages that were not sent because they are larger than the broker takes."""

    @classmethod
    def connect(
        cls,
        broker: BrokerConfig,
        client_id: str,
        *,
        will: Message | None = None,
        clean: bool = True,
        spoken: Spoken | None = None,
    ) -> Connecting:
        """To be entered with `async with`, which gives the link; entering raises LinkLost or LinkRefused.

        Where `protocol` is "auto", `spoken` says which version it was, once for all connections that share it.
        """
        links = [
            cls(broker.model_copy(update={"protocol": version}), client_id, will, clean)
            for version in in_turn(broker.protocol)
        ]
        return Connecting(links, broker.where, spoken)

    async def __aenter__(self) -> Link:
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.create_future()
        client = self._new_client(await self._wrapping())
        self._paho = client._client  # noqa: SLF001  # tests/transport/test_mqtt.py holds aiomqtt to it
        self._adopt(client)
        try:
            await self._enter(client)
        except BaseException:
            await self._close("the connection was not made")
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        try:
            if exception[0] is None:
                await self.disconnect()
        finally:
            await self._close("the link was left")

    @property
    def protocol(self) -> Protocol:
        """The MQTT version in use, "3.1.1" or "5"."""
        return self._broker.protocol

    @property
    def is_misunderstood(self) -> bool:
        """The broker refused this version, or ended the connection instead of answering CONNECT, as old ones do."""
        return self._is_unsupported or (self._is_open and not self._is_answered and self._has_hung_up)

    @property
    def may_have_begun(self) -> bool:
        """CONNECT was sent and not refused: the broker holds, or held, a session of ours with its will."""
        return self._is_open and self._refusal is None

    @property
    def maximum_packet_size(self) -> int:
        """Bytes of the largest packet the broker takes, headers and all. See `fits`."""
        return self._limits.packet

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the broker said it cannot do and is done without, for a person: retained messages, QoS 1."""
        return self._limits.lacks

    @property
    def is_congested(self) -> bool:
        """The broker does not keep up: do not take values to publish yet, wait in `drain`."""
        return bool(self._held) or self._wire.queued > CONGESTED_BYTES

    @property
    def unacknowledged(self) -> tuple[str, ...]:
        """Topics of the QoS 1 messages without an answer, the oldest first, sent or not; also when the link is lost."""
        return self._window.topics + tuple(topic for first, *_, topic in self._held if first & QOS_1)

    def fits(self, message: Message) -> bool:
        """Whether the broker takes a packet as large as this message. Raises ValueError for an impossible topic."""
        size = len(topic_name(message.topic)) + len(self._properties(message)) + len(message.payload)
        return self._fits(self._first(message), size)

    def publish(self, message: Message) -> bool:
        """Put a message on its way, in order. Does not wait. False where it is too large for the broker, and not sent.

        Raises LinkLost when the session is over, ValueError for a topic nobody can publish to.
        Call `drain` at least once per batch: it is what keeps memory bounded.
        """
        first, properties = self._first(message), self._properties(message)
        return self._put(first, topic_name(message.topic), properties, message.payload, message.topic)

    def outlet(self, like: Message, *, alias: bool = False) -> Outlet:
        """Where `send` puts payloads for the topic of `like`, with all else of it; for topics that are used often.

        `alias`: with MQTT 5, a number stands for the topic from the second message on, as long as the broker has any
        left (Topic Alias Maximum, 10 with mosquitto). Raises ValueError for a topic nobody can publish to.
        """
        number = None
        if alias and self._aliases < self._limits.topic_aliases:
            number = self._aliases = self._aliases + 1
        return Outlet(like, self._first(like), self._is_5, number)

    def send(self, outlet: Outlet, payload: bytes) -> bool:
        """As `publish`, at a third of the cost."""
        is_taken = self._put(outlet.first, outlet.name, outlet.properties, payload, outlet.topic)
        if is_taken and outlet.is_new:
            outlet.was_sent()
        return is_taken

    async def drain(self) -> None:
        """Wait until what was published is (nearly) written, and QoS 1 acknowledgements keep up. Raises LinkLost."""
        self._check()
        await asyncio.sleep(0)
        while self.is_congested:
            await self._next_progress()
        self._check()

    async def flush(self, timeout_s: float, *, patient: bool = False) -> bool:
        """Wait until what was published before is written and acknowledged; False if that took too long.

        What is published meanwhile is not waited for: where every change is told, something is always on its way.
        `patient`: nothing moved for so long, as slow as the rest may be.
        """
        self._check()
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await self._settled(lambda: limit.reschedule(self._loop.time() + timeout_s) if patient else None)
        except TimeoutError:
            return False
        return True

    async def arrived(self) -> None:
        """Wait until the broker has everything that was published before, QoS 0 as well. Raises LinkLost.

        QoS 1 is acknowledged. Behind the rest goes an UNSUBSCRIBE of nothing: a broker must answer it (MQTT 3.1.1,
        3.10.4), and takes what comes on one connection in its order.
        """
        await self._settled()
        self._check()
        identifier = self._required(*self._paho.unsubscribe(NOTHING))
        answer = self._unsubscribing[identifier] = self._loop.create_future()
        limit_s = max(ANSWER_TIMEOUT_S, 2.0 * self._broker.keep_alive)  # on a slow way much else goes before it
        try:
            async with asyncio.timeout(limit_s):
                await answer
        except TimeoutError:
            raise LinkLost(f"no answer to UNSUBSCRIBE within {limit_s:.0f} s") from None
        finally:
            del self._unsubscribing[identifier]

    async def subscribe(self, topic_filter: str, qos: int = 1, *, live: bool = False) -> None:
        """Subscribe and wait for SUBACK. Raises SubscribeRefused, LinkLost.

        `live`: where the broker speaks MQTT 5, nothing it kept from the past, nothing we publish ourselves, and what
        was published to be retained says so. MQTT 3.1.1 has none of the three.
        """
        self._check()
        if live and self.protocol == "5":
            code, identifier = self._paho.subscribe(topic_filter, options=mqtt_properties.live(qos))
        else:
            code, identifier = self._paho.subscribe(topic_filter, qos)
        identifier = self._required(code, identifier)
        answer = self._subscribing[identifier] = self._loop.create_future()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                granted = await answer
        except TimeoutError:
            raise LinkLost(f"no answer to SUBSCRIBE within {ANSWER_TIMEOUT_S:.0f} s") from None
        finally:
            del self._subscribing[identifier]
        if granted.is_failure:
            raise SubscribeRefused(f"{topic_filter}: {granted}")

    def unsubscribe(self, topic_filter: str) -> None:
        """Ask the broker to end a subscription; what is on its way still arrives. Raises LinkLost."""
        self._check()
        self._required(*self._paho.unsubscribe(topic_filter))

    def messages(self) -> AsyncIterator[Message]:
        """Messages as they arrive; ends by raising LinkLost. One reader; bounded, the oldest dropped and counted."""
        return _Messages(self)

    async def disconnect(self, *, with_will: bool = False) -> None:
        """Say DISCONNECT now; MQTT 5 with reason 0x04 (Disconnect with Will Message) if `with_will`."""
        if self._end.done():
            return
        spoken = with_will and self.protocol == "5"
        self._paho.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=DISCONNECT_WITH_WILL) if spoken else None)
        self._pump()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                while self._wire.queued and not self._wire.is_over:
                    self._progress.clear()
                    await self._progress.wait()
        await self._close("we said goodbye")

    async def next_message(self) -> Message:
        """The next received message. Raises LinkLost when the session is over and all were taken."""
        while not self._inbox:
            self._check()
            self._arrived.clear()
            await self._arrived.wait()
        return self._inbox.popleft()

    async def _wrapping(self) -> Wrapping:
        try:
            return await asyncio.to_thread(Wrapping.of, self._broker, ANSWER_TIMEOUT_S)
        except TlsFileError as error:
            raise LinkLost(f"{error.option}: {error}") from None

    def _new_client(self, wrapping: Wrapping) -> aiomqtt.Client:
        broker, five = self._broker, self._broker.protocol == "5"
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password.get_secret_value() if broker.password else None,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
            will=self._client_will(),
            clean_session=None if five else self._clean,
            clean_start=self._clean if five else MQTT_CLEAN_START_FIRST_ONLY,
            timeout=ANSWER_TIMEOUT_S,
            keepalive=broker.keep_alive,
            properties=mqtt_properties.of_session(SESSION_EXPIRY_S) if five and not self._clean else None,
            tls_context=wrapping,
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        )

    def _client_will(self) -> aiomqtt.Will | None:
        will = self._will
        if will is None:
            return None
        properties = mqtt_properties.of_will(will) if self.protocol == "5" else None
        return aiomqtt.Will(will.topic, will.payload, will.qos, will.retain, properties)

    def _adopt(self, client: aiomqtt.Client) -> None:
        """Take over paho's callbacks."""
        paho = self._paho
        answered = paho.on_connect

        def on_connect(
            _: Client, userdata: object, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
        ) -> None:
            self._is_answered = True
            if code.is_failure:
                self._refusal = (LinkLost if code.value in TRY_LATER else LinkRefused)(f"the broker says: {code}")
                self._is_unsupported = code.value == UNSUPPORTED
                self._finish(f"the broker says: {code}")
                return  # aiomqtt would keep an error that nobody takes from it, when the broker hangs up at once
            self._limits = Limits.said(properties)
            self._window = Window(self._limits.receive_maximum)
            self._surely_fits = self._limits.packet - PACKET_OVERHEAD
            self._first_mask = PUBLISH | (QOS_1 if self._limits.qos else 0) | (RETAIN if self._limits.retain else 0)
            if answered is not None:
                answered(paho, userdata, flags, code, properties)  # type: ignore[arg-type, call-arg]

        paho.disable_logger()  # what it would say is in the error we raise, and its owner logs that once
        paho.on_connect = on_connect
        paho.on_disconnect = self._on_disconnect
        paho.on_subscribe = self._on_subscribe
        paho.on_unsubscribe = self._on_unsubscribe
        paho.on_message = self._on_message
        paho.on_publish = None
        paho.on_socket_open = self._on_socket_open
        paho.on_socket_close = None
        paho.on_socket_register_write = self._on_socket_register_write
        paho.on_socket_unregister_write = None

    async def _enter(self, client: aiomqtt.Client) -> None:
        """Run aiomqtt's connecting as a race with loss: it would wait ten seconds for a CONNACK that cannot come."""
        entering = asyncio.create_task(client.__aenter__(), name=f"mqtt connect {self._client_id}")
        either: set[asyncio.Future[Any]] = {entering, self._end}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            entering.cancel()
            await asyncio.wait({entering})
            error = (
                None if entering.cancelled() else entering.exception()
            )  # asked for: else asyncio says it at some time
        self._has_hung_up = self._end.done() and not self._is_broken
        if self._refusal is not None:
            raise self._refusal
        if self._has_hung_up and not self._is_answered and self._broker.tls:
            raise LinkLost(hang_up_fault(self._broker))
        if isinstance(error, (aiomqtt.MqttError, OSError, ValueError)):
            raise LinkLost(str(error) or type(error).__name__) from None
        if error is not None:
            raise error
        self._check()

    def _check(self) -> None:
        if self._end.done():
            raise LinkLost(self._end.result())

    async def _settled(self, moved: Callable[[], None] = lambda: None) -> None:
        """What was published before is written, and acknowledged where it has QoS 1. Raises LinkLost.

        `moved` is called whenever some of it was.
        """
        last = self._let_go + len(self._held)
        while self._let_go < last:
            await self._next_progress()
            moved()
        end, waiting = self._wire.written + self._wire.queued, list(self._window)
        while (waiting := self._window.remaining(waiting)) or self._wire.written < end:
            await self._next_progress()
            moved()

    async def _next_progress(self) -> None:
        """Wait until something was written or acknowledged. Raises LinkLost."""
        self._check()
        self._progress.clear()
        await self._progress.wait()
        self._check()

    def _first(self, message: Message) -> int:
        """The first byte of a message's packet, within what the broker can."""
        if message.qos > 1:
            raise ValueError("this link publishes with QoS 0 or 1")
        return (PUBLISH | (QOS_1 if message.qos else 0) | (RETAIN if message.retain else 0)) & self._first_mask

    def _properties(self, message: Message) -> bytes:
        return mqtt_properties.outgoing(message) if self._is_5 else b""

    def _fits(self, first: int, size: int) -> bool:
        """`size` is without what `_write` adds."""
        size += 2 if first & QOS_1 else 0
        return size <= LARGEST_REMAINING and len(fixed_header(first, size)) + size <= self._limits.packet

    def _put(self, first: int, name: bytes, properties: bytes, payload: bytes, topic: str) -> bool:
        if self._end.done():
            self._check()
        size = len(name) + len(properties) + len(payload)
        if size > self._surely_fits and not self._fits(first, size):
            self._leave_out(topic, size)
            return False
        if self._held or (first & QOS_1 and self._window.is_full):
            self._held.append((first, size, name, properties, payload, topic))
            self._held_bytes += size
        else:
            self._write(first, size, name, properties, payload, topic)
        if self._held_bytes + self._wire.queued > BACKLOG_LIMIT:
            self._finish(f"the broker does not take what is published: {BACKLOG_LIMIT >> 20} MiB wait")
            self._check()
        return True

    def _leave_out(self, topic: str, size: int) -> None:
        self.oversized += 1
        if self.oversized == 1:
            _log.warning(
                "A message of %d bytes for %s is not sent: the broker %s takes packets of %d. Raise its maximum packet "
                "size. More are only counted",
                size,
                topic,
                self._broker.where,
                self._limits.packet,
            )

    def _write(self, first: int, size: int, name: bytes, properties: bytes, payload: bytes, topic: str) -> None:
        if first & QOS_1:
            size += 2
            header = fixed_header(first, size)
            identifier = self._window.take(topic).to_bytes(2, "big")
            self._wire.put(len(header) + size, (header, name, identifier, properties, payload))
        else:
            header = fixed_header(first, size)
            self._wire.put(len(header) + size, (header, name, properties, payload))

    def _required(self, code: int, identifier: int | None) -> int:
        """Of a SUBSCRIBE or UNSUBSCRIBE, which is on its way. Raises LinkLost where it is not."""
        if code != MQTT_ERR_SUCCESS or identifier is None:
            raise LinkLost(error_string(code))
        self._pump()  # now, so that it keeps its place among what is published
        if identifier >= FIRST_ID - 1:
            self._paho._last_mid = 0  # noqa: SLF001  # it would go on into ours
        return identifier

    def _take(self, taken: Taken) -> float:
        """What the wire read. Gives the seconds until it needs to read again."""
        if taken.acknowledged:
            self._settle(taken)
        while self._wire.has_unread and self._paho.socket() is not None:
            self._paho.loop_read()
        if self._paho.socket() is None:
            self._wire.discard()
        is_busy = taken.acknowledged and len(self._window) and self._window.limit >= RESTFUL_WINDOW
        return ACK_REST_S if is_busy else 0.0

    def _settle(self, taken: Taken) -> None:
        """Forget what was acknowledged, and send what waited for that."""
        for identifier, code in taken.refused:
            self._note_refusal(identifier, code)
            self._window.settle((identifier,))  # at once: the same answer may come twice
        self._window.settle(taken.acknowledged)
        while self._held and not (self._held[0][0] & QOS_1 and self._window.is_full):
            one = self._held.popleft()
            self._let_go += 1
            self._held_bytes -= one[1]
            self._write(*one)
        self._progress.set()

    def _note_refusal(self, identifier: int, code: int) -> None:
        topic = self._window.topic(identifier)
        if topic is None:
            return
        self.refusals.note(topic, _reason(code))
        if self.refusals.total == 1:
            _log.warning(
                "The broker %s refuses a message for %s: %s. More are only counted",
                self._broker.where,
                topic,
                _reason(code),
            )

    def _finish(self, reason: str) -> None:
        """The session is over: tell everybody who waits."""
        if self._end.done():
            return
        self._end.set_result(reason)
        self._progress.set()
        self._arrived.set()
        answers: list[asyncio.Future[Any]] = [*self._subscribing.values(), *self._unsubscribing.values()]
        for answer in answers:
            if not answer.done():
                answer.set_exception(LinkLost(reason))

    async def _close(self, reason: str) -> None:
        """Close the socket without a word, and leave nothing behind."""
        with self._gate:
            self._abandoned = True
        self._finish(reason)
        paho = self._paho
        paho.on_connect = paho.on_disconnect = paho.on_subscribe = paho.on_unsubscribe = paho.on_message = None
        if self._is_open:
            self._wire.end()
        if self._misc is not None:
            self._misc.cancel()
            await asyncio.wait({self._misc})
            self._misc = None

    async def _watch(self) -> None:
        """Let paho keep the session alive, and notice a silent break."""
        while True:
            if self._paho.loop_misc() != MQTT_ERR_SUCCESS:
                return
            await asyncio.sleep(MISC_INTERVAL_S)

    def _on_socket_open(self, _: Client, userdata: object, opened: Any) -> None:
        """In aiomqtt's thread: the TCP (and TLS) connection is made."""
        with self._gate:
            if self._abandoned:
                opened.end()
                raise ConnectionAbortedError("nobody waits for this connection any more")
            self._wire, self._is_open = opened, True
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._abandoned:
            return
        self._wire.begin(self._loop, self._take, self._progress.set, self._broke)
        self._misc = self._loop.create_task(self._watch(), name=f"mqtt keep-alive {self._client_id}")

    def _on_socket_register_write(self, _: Client, userdata: object, ready: Any) -> None:
        """Paho has something to send. In aiomqtt's thread while CONNECT is sent, on the event loop ever after."""
        self._loop.call_soon_threadsafe(self._pump)

    def _pump(self) -> None:
        """Let paho queue what it has."""
        if not self._abandoned:
            self._paho.loop_write()

    def _broke(self, error: Exception) -> None:
        """The wire cannot go on."""
        self._is_broken = True
        if isinstance(error, ssl.SSLError):
            self._finish(tls_fault(error, self._broker))
        else:
            self._finish(f"the broker does not speak MQTT: {error}")
        self._wire.end()
        self._progress.set()

    def _on_disconnect(
        self, _: Client, userdata: object, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if not self._is_answered and str(code) == "Protocol error":
            self._refusal = LinkRefused(f"the broker does not speak MQTT {self.protocol}")
        if flags.is_disconnect_packet_from_server:
            self._finish(f"the broker ended the session: {code}")
        elif str(code) == "Unspecified error":
            self._finish("the connection broke")
        else:
            self._finish(str(code))

    def _on_subscribe(
        self, _: Client, userdata: object, identifier: int, codes: list[ReasonCode], properties: Properties | None
    ) -> None:
        answer = self._subscribing.get(identifier)
        if answer is not None and not answer.done():
            answer.set_result(codes[0])

    def _on_unsubscribe(
        self, _: Client, userdata: object, identifier: int, codes: list[ReasonCode], properties: Properties | None
    ) -> None:
        answer = self._unsubscribing.get(identifier)
        if answer is not None and not answer.done():
            answer.set_result(None)

    def _on_message(self, _: Client, userdata: object, received: MQTTMessage) -> None:
        try:
            topic = received.topic
        except UnicodeDecodeError:
            self.dropped += 1
            return
        if len(received.payload) > PAYLOAD_LIMIT:
            self.dropped += 1
            return
        self.dropped += len(self._inbox) == INBOX_LIMIT
        properties = mqtt_properties.incoming(received.properties)
        self._inbox.append(Message(topic, bytes(received.payload), received.qos, received.retain, **properties))
        self._arrived.set()


def _reason(code: int) -> str:
    """A reason code of PUBACK in words."""
    try:
        return str(ReasonCode(PacketTypes.PUBACK, identifier=code))
    except KeyError:
        return f"reason 0x{code:02x}"


class Connecting:
    """A link that is not up yet: the same session in one version of MQTT after another."""

    def __init__(self, links: Sequence[Link], where: str, spoken: Spoken | None) -> None:
        self._links = links
        self._where = where
        self._spoken = spoken
        self._link = links[0]

    async def __aenter__(self) -> Link:
        for link in self._links:
            self._link = link
            try:
                await link.__aenter__()
            except LinkError:
                if link is self._links[-1] or not link.is_misunderstood:
                    raise
            else:
                break
        if self._spoken is not None:
            if len(self._links) > 1:
                self._spoken.now(self._where, self._link.protocol)
            self._spoken.without(self._where, self._link.lacks)
        return self._link

    async def __aexit__(self, *exception: object) -> None:
        await self._link.__aexit__(*exception)

    @property
    def may_have_begun(self) -> bool:
        """CONNECT was sent and not refused: the broker holds, or held, a session of ours with its will."""
        return any(link.may_have_begun for link in self._links)


class _Messages:
    """The received messages of a link, as an iterator that only loss ends."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> Message:
        return await self._link.next_message()
