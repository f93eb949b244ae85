"""One MQTT session: connect, publish in batches, receive, say goodbye. Never reconnects by itself.

Its owner makes a new Link per connection, because an MQTT will is fixed at CONNECT (design.md 2.5, invariant 13).

    publish, send -> (QoS 1, window full: held) -> Wire -> broker -> PUBACK -> Wire -> taken -> held ones go on
    broker -> Wire -> paho -> Inbox (bounded) -> messages()
    loss, refusal, DISCONNECT -> Connection -> ended: every wait raises LinkLost

What is published:
1. Order is kept. Nothing waits for a message: all of a turn of the event loop leave in one write.
2. QoS 1 is never dropped silently. `flush` is True when all of it was acknowledged. At a loss, what was published since
   the last such flush may or may not have arrived: the next session's owner says it again, as the faces do with current
   values at every session and with events by the log's cursor; `unacknowledged` names the topics. What the broker
   refuses (MQTT 5) is in `refusals`, what is too large for it in `oversized`, both
   with one log line while it is the same.
3. Memory is bounded by the owner, who asks `is_congested` or waits in `drain` before it takes the next values, so that
   they are the newest then; and by BACKLOG_LIMIT, at which the session ends, should it not.

How it is connected, kept alive and ended: `bridge.transport.mqtt_connection`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from bridge.errors import LinkLost, SubscribeRefused
from bridge.transport import mqtt_properties
from bridge.transport.mqtt_config import BrokerConfig
from bridge.transport.mqtt_connecting import Connecting
from bridge.transport.mqtt_connection import Connection, silence
from bridge.transport.mqtt_inbox import Inbox
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
from bridge.transport.mqtt_version import Protocol, in_turn
from bridge.transport.mqtt_window import IN_FLIGHT, Window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from paho.mqtt.client import MQTTMessage

    from bridge.transport.mqtt_packet import Taken
    from bridge.transport.mqtt_version import Spoken
    from bridge.transport.mqtt_wire import Wire

__all__ = ["BrokerConfig", "Connecting", "Link", "Message", "Outlet"]

_log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0
"""How long a broker may take to answer SUBSCRIBE."""
GOODBYE_TIMEOUT_S = 2.0
"""How long writing DISCONNECT, and what is queued before it, may take."""
CONGESTED_BYTES = 1 << 18
"""Queued bytes from which the owner is told to wait: 40 ms at 100 000 small messages/s."""
BACKLOG_LIMIT = 1 << 26
"""Queued and held bytes at which the session ends: an owner that never drains."""
ACK_REST_S = 0.002
"""While QoS 1 messages are on their way, the socket is left alone for this long after acknowledgements: waking up for
each one costs 9 us. Not where the broker's Receive Maximum would make this the limit."""
RESTFUL_WINDOW = 1000
"""At this window and ACK_REST_S, 500 000 messages/s are possible."""
NOTHING = "plantbridge/nothing"
"""A topic nobody subscribes to."""


class Link:
    """An MQTT session that is up. Made by `connect`, used by one task, ended by leaving its context.

    Leaving the context normally says DISCONNECT; leaving it by an exception only closes the socket, so that the
    broker publishes the will. What is queued and not flushed may be lost either way.
    """

    def __init__(
        self,
        broker: BrokerConfig,
        client_id: str,
        will: Message | None,
        spoken: Spoken | None,
        largest: int | None = None,
    ) -> None:
        self._broker = broker
        self._spoken = spoken
        self._connection = Connection(broker, client_id, will, self)
        self._wire: Wire
        self._limits = Limits()
        self._window = Window(IN_FLIGHT)
        self._held: deque[tuple[int, int, bytes, bytes, bytes, str]] = deque()
        self._let_go = 0
        self._held_bytes = 0
        self._surely_fits = 0
        self._first_mask = PUBLISH | QOS_1 | RETAIN
        self._is_5 = broker.protocol == "5"
        self._aliases = 0
        self._asked: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._inbox = Inbox(largest)
        self._progress = asyncio.Event()
        self._is_over = False
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
        spoken: Spoken | None = None,
        largest: int | None = None,
    ) -> Connecting:
        """To be entered with `async with`, which gives the link; entering raises LinkLost or LinkRefused.

        `spoken` says once for all connections that share it what there is to say of the broker: which version it was
        where `protocol` is "auto", what it refuses. `largest`: bytes of the longest payload that is taken.
        """
        links = [
            cls(broker.model_copy(update={"protocol": version}), client_id, will, spoken, largest)
            for version in in_turn(broker.protocol)
        ]
        return Connecting(links, broker.where, spoken)

    async def __aenter__(self) -> Link:
        await self._connection.open()
        limits = self._limits = self._connection.limits
        self._wire = self._connection.wire
        self._window = Window(limits.receive_maximum)
        self._surely_fits = limits.packet - PACKET_OVERHEAD
        self._first_mask = PUBLISH | (QOS_1 if limits.qos else 0) | (RETAIN if limits.retain else 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        try:
            if exception[0] is None:
                await self.disconnect()
        finally:
            await self._connection.close("the link was left")

    @property
    def protocol(self) -> Protocol:
        """The MQTT version in use, "3.1.1" or "5"."""
        return self._broker.protocol

    @property
    def is_misunderstood(self) -> bool:
        """The broker refused this version, or ended the connection instead of answering CONNECT, as old ones do."""
        return self._connection.is_misunderstood

    @property
    def may_have_begun(self) -> bool:
        """CONNECT was sent and not refused: the broker holds, or held, a session of ours with its will."""
        return self._connection.may_have_begun

    @property
    def dropped(self) -> int:
        """Received messages that were dropped: nobody took them in time, or they were too large."""
        return self._inbox.dropped

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
                await self._settled(
                    lambda: limit.reschedule(asyncio.get_running_loop().time() + timeout_s) if patient else None
                )
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
        limit_s = max(ANSWER_TIMEOUT_S, 2.0 * self._broker.keep_alive)  # on a slow way much else goes before it
        await self._answer("UNSUBSCRIBE", self._connection.unsubscribe(NOTHING), limit_s)

    async def subscribe(self, topic_filter: str, qos: int = 1, *, live: bool = False) -> None:
        """Subscribe and wait for SUBACK. Raises SubscribeRefused, LinkLost.

        `live`: where the broker speaks MQTT 5, nothing it kept from the past, nothing we publish ourselves, and what
        was published to be retained says so. MQTT 3.1.1 has none of the three.
        """
        self._check()
        options = mqtt_properties.live(qos) if live and self._is_5 else None
        identifier = self._connection.subscribe(topic_filter, qos, options)
        granted = (await self._answer("SUBSCRIBE", identifier, ANSWER_TIMEOUT_S))[0]
        if granted.is_failure:
            raise SubscribeRefused(f"{topic_filter}: {granted}")

    async def _answer(self, to: str, identifier: int, limit_s: float) -> list[ReasonCode]:
        answer = self._asked[identifier] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(limit_s):
                codes: list[ReasonCode] = await answer
                return codes
        except TimeoutError:
            raise LinkLost(silence(to, limit_s)) from None
        finally:
            del self._asked[identifier]

    def unsubscribe(self, topic_filter: str) -> None:
        """Ask the broker to end a subscription; what is on its way still arrives. Raises LinkLost."""
        self._check()
        self._connection.unsubscribe(topic_filter)

    def messages(self) -> AsyncIterator[Message]:
        """Messages as they arrive; ends by raising LinkLost. One reader; bounded, the oldest dropped and counted."""
        return _Messages(self)

    async def disconnect(self, *, with_will: bool = False) -> None:
        """Say DISCONNECT now; MQTT 5 with reason 0x04 (Disconnect with Will Message) if `with_will`."""
        if self._is_over:
            return
        self._connection.say_disconnect(with_will=with_will)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                while self._wire.queued and not self._wire.is_over:
                    self._progress.clear()
                    await self._progress.wait()
        await self._connection.close("we said goodbye")

    async def next_message(self) -> Message:
        """The next received message. Raises LinkLost when the session is over and all were taken."""
        while not self._inbox:
            self._check()
            await self._inbox.came()
        return self._inbox.take()

    def _check(self) -> None:
        if self._is_over:
            self._connection.check()

    async def _settled(self, moved: Callable[[], None] = lambda: None) -> None:
        """What was published before is written, and acknowledged where it has QoS 1. Raises LinkLost.

        `moved` is called whenever some of it was.
        """
        last = self._let_go + len(self._held)
        while (let_go := self._let_go) < last:
            await self._next_progress()
            if self._let_go > let_go:
                moved()
        end, waiting = self._wire.written + self._wire.queued, list(self._window)
        while waiting or self._wire.written < end:
            count, written = len(waiting), self._wire.written
            await self._next_progress()
            waiting = self._window.remaining(waiting)
            if len(waiting) < count or written < min(end, self._wire.written):
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
        if self._is_over:
            self._connection.check()
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
            self._connection.finish(f"the broker does not take what is published: {BACKLOG_LIMIT >> 20} MiB wait")
            self._check()
        return True

    def _leave_out(self, topic: str, size: int) -> None:
        self.oversized += 1
        if self.oversized == 1 and self._is_news("too large", topic):
            _log.warning(
                "A message of %d bytes for %s is not sent: the broker %s takes packets of %d. Raise its maximum packet "
                "size. More are only counted",
                size,
                topic,
                self._broker.where,
                self._limits.packet,
            )

    def _is_news(self, what: str, *about: object) -> bool:
        return self._spoken is None or self._spoken.is_news(what, *about)

    def _write(self, first: int, size: int, name: bytes, properties: bytes, payload: bytes, topic: str) -> None:
        if first & QOS_1:
            size += 2
            header = fixed_header(first, size)
            identifier = self._window.take(topic).to_bytes(2, "big")
            self._wire.put(len(header) + size, (header, name, identifier, properties, payload))
        else:
            header = fixed_header(first, size)
            self._wire.put(len(header) + size, (header, name, properties, payload))

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
        if self.refusals.total == 1 and self._is_news("refused", topic, code):
            _log.warning(
                "The broker %s refuses a message for %s: %s. More are only counted",
                self._broker.where,
                topic,
                _reason(code),
            )

    # --- what its connection tells

    def taken(self, taken: Taken) -> float:
        """What the wire read. Gives the seconds until it needs to read again."""
        if not taken.acknowledged:
            return 0.0
        self._settle(taken)
        return ACK_REST_S if len(self._window) and self._window.limit >= RESTFUL_WINDOW else 0.0

    def wrote(self) -> None:
        """Something was written."""
        self._progress.set()

    def received(self, message: MQTTMessage) -> None:
        """Somebody's message."""
        self._inbox.put(message)

    def answered(self, identifier: int, codes: list[ReasonCode]) -> None:
        """SUBACK or UNSUBACK."""
        answer = self._asked.get(identifier)
        if answer is not None and not answer.done():
            answer.set_result(codes)

    def ended(self, reason: str) -> None:
        """The session is over: tell everybody who waits."""
        self._is_over = True
        self._progress.set()
        self._inbox.wake()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(LinkLost(reason))


def _reason(code: int) -> str:
    """A reason code of PUBACK in words."""
    try:
        return str(ReasonCode(PacketTypes.PUBACK, identifier=code))
    except KeyError:
        return f"reason 0x{code:02x}"


class _Messages:
    """The received messages of a link, as an iterator that only loss ends."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> Message:
        return await self._link.next_message()
