"""amqtt as we need it: everything that leans on its inside is here, for one minor version (0.12).

    socket -> amqtt's reader -> Routes.put -> retained messages
                                           -> Outbox of each subscriber (bounded) -> amqtt's writer -> socket

What amqtt 0.12 does otherwise, and why it is replaced (checked against 0.12.1; look again with the next minor):
1. One task per message and subscriber in one list: one slow subscriber holds the whole list in memory. Here each has
   an outbox of its own; one that overflows is disconnected, because a QoS 1 message must not be lost in silence.
2. Whoever connects is sent the retained messages of everybody's subscriptions. Here only its own, after SUBACK.
3. A message goes out with the QoS of the subscription. Here with the lower of that and its own [MQTT-3.8.4-6].
4. Keep-alive is not enforced: a will waits until TCP gives up. Here 1.5 keep-alives break it [MQTT-3.1.2-24].
5. A second CONNECT of a client id leaves the first connection open [MQTT-3.1.4-2], and comes before authentication.
6. A connection without CONNECT stays for ever, also at shutdown.
7. A CONNECT of MQTT 5 with a will is read as one of 3.1.1, whose end never comes: its client waits in vain. Here it is
   taken off the socket whole, and another version is refused before anything else is read of it [MQTT-3.1.2-2].
8. Sessions outlive connections in an unbounded queue. Here every session ends with its connection, and CONNACK says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import math
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from amqtt.adapters import BufferReader, StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker, RetainedApplicationMessage
from amqtt.errors import MQTTError
from amqtt.mqtt.connack import NOT_AUTHORIZED, UNACCEPTABLE_PROTOCOL_VERSION, ConnackPacket
from amqtt.mqtt.packet import CONNECT, MQTTFixedHeader
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.utils import gen_client_id

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from amqtt.session import ApplicationMessage, Session
    from pydantic import SecretStr

_log = logging.getLogger(__name__)

LISTENER = "default"
OUTBOX = "plantbridge.outbox"
"""Where a session keeps its outbox: amqtt has a place for what extensions own."""

MAX_CONNECTIONS = 200
MAX_WAITING = 10_000
"""Messages waiting for one subscriber, beside one of each retained topic."""
MAX_IN_FLIGHT = 100
"""Messages with QoS 1 or 2 a subscriber has not acknowledged."""
MAX_RETAINED = 200_000
SLICE = 20
"""Messages sent to a subscriber between two looks at the event loop, which is the bridge's own: about 2 ms."""
CONNECT_TIMEOUT_S = 10.0
MAX_CONNECT = 65_536
"""Bytes of a CONNECT, will and all."""
MQTT_3_1_1 = 4
"""Its protocol level."""
FLUSH_TIMEOUT_S = 1.0
"""How long subscribers may take at shutdown to read the last messages: deaths and goodbyes."""
END_TIMEOUT_S = 5.0


class Outgoing(NamedTuple):
    """A message for one subscriber."""

    topic: str
    data: bytes
    qos: int
    retain: bool


class Writer(StreamWriterAdapter):  # type: ignore[misc]
    """A connection's writing side that can be cut without waiting for the other end."""

    def abort(self) -> None:
        """Close now; what is buffered is lost."""
        self.is_closed = True
        self._writer.transport.abort()


class Handler(BrokerProtocolHandler):  # type: ignore[misc]
    """A connection whose silence has consequences."""

    def handle_read_timeout(self) -> None:
        """Nothing came within 1.5 keep-alives."""
        if self.writer is not None:
            self.writer.abort()

    async def ended(self) -> None:
        """Wait until its reader has ended too."""
        if self._reader_task is not None:
            await asyncio.wait({self._reader_task}, timeout=END_TIMEOUT_S)


class Outbox:
    """What one subscriber is to be sent, in order; bounded."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._waiting: deque[Outgoing] = deque()
        self._wake = asyncio.Event()
        self._window = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._in_flight: set[asyncio.Task[Any]] = set()

    @property
    def is_empty(self) -> bool:
        """Everything was written and acknowledged."""
        return not self._waiting and not self._in_flight

    def put(self, message: Outgoing, limit: int) -> bool:
        """Take a message; False when too many wait already."""
        if len(self._waiting) >= limit:
            return False
        self._waiting.append(message)
        self._wake.set()
        return True

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._send_waiting()
        finally:
            for task in self._in_flight:
                task.cancel()

    async def _send_waiting(self) -> None:
        sent = 0
        while self._waiting:
            message = self._waiting.popleft()
            if message.qos:
                await self._window.acquire()
                self._start(message)
                await asyncio.sleep(0)  # it takes its place at the socket before the next message does
            else:
                await self._handler.mqtt_publish(*message)
            sent += 1
            if sent % SLICE == 0:
                await asyncio.sleep(0)

    def _start(self, message: Outgoing) -> None:
        task = asyncio.create_task(self._handler.mqtt_publish(*message), name="broker delivery")
        self._in_flight.add(task)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        self._in_flight.discard(task)
        self._window.release()
        if not task.cancelled() and (error := task.exception()):
            _log.debug("A subscriber did not acknowledge a message: %s", error)


class Routes(asyncio.Queue[Any]):
    """The queue amqtt's reader puts messages into; here they are on their way when `put` returns."""

    def __init__(self, broker: RimBroker, writer: Writer) -> None:
        super().__init__()
        self._broker = broker
        self._writer = writer

    def put_nowait(self, message: ApplicationMessage) -> None:
        """Route a message. A topic that is the broker's own ends the connection [MQTT-4.7.2-1].

        amqtt's reader has dropped topics with wildcards already.
        """
        if not message.topic or message.topic.startswith("$"):
            self._writer.abort()
            return
        self._broker.route(message.topic, bytes(message.data), message.qos or 0)
        if message.retain:
            self._broker.retain(message.topic, bytes(message.data), message.qos or 0)

    async def put(self, message: ApplicationMessage) -> None:
        """As `put_nowait`: nothing waits here."""
        self.put_nowait(message)


class RimBroker(Broker):  # type: ignore[misc]
    """amqtt's broker with our way of delivering.

    Args:
        listening: a bound socket; it is closed with the broker.
        users: passwords by user name; with none everybody is let in.
    """

    def __init__(self, listening: socket.socket, users: Mapping[str, SecretStr]) -> None:
        super().__init__({"listeners": {LISTENER: {"type": "tcp", "bind": "127.0.0.1:0"}}, "plugins": {}})
        self._listening = listening
        self._users = users
        self._connections: dict[asyncio.Task[Any], Writer] = {}
        self.messages_total = 0
        self.cut_total = 0
        """Subscribers that were disconnected because they did not read."""
        self.refused_retained_total = 0

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def retained(self) -> int:
        """Retained messages."""
        return len(self._retained_messages)

    def route(self, topic: str, data: bytes, qos: int) -> None:
        """Hand a message to everybody who subscribed to it."""
        self.messages_total += 1
        for topic_filter, subscriptions in self._subscriptions.items():
            if subscriptions and self._matches(topic, topic_filter):
                for session, granted in subscriptions:
                    self._deliver(session, Outgoing(topic, data, min(qos, granted), False))

    def retain(self, topic: str, data: bytes, qos: int) -> None:
        """Keep a message for later subscribers; an empty one ends that [MQTT-3.3.1-10]."""
        if not data:
            self._retained_messages.pop(topic, None)
        elif topic in self._retained_messages or len(self._retained_messages) < MAX_RETAINED:
            self._retained_messages[topic] = RetainedApplicationMessage(None, topic, data, qos)
        else:
            self.refused_retained_total += 1

    async def end(self) -> None:
        """Let subscribers read what is under way, then close everything and leave no task behind."""
        for server in self._servers.values():
            server.instance.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                while not all(outbox.is_empty for outbox in self._outboxes()):  # noqa: ASYNC110  # once, for a second
                    await asyncio.sleep(0.005)
        for writer in self._connections.values():
            writer.abort()
        tasks = set(self._connections)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=END_TIMEOUT_S)
            for task in late:
                task.cancel()
        await self.shutdown()

    def _outboxes(self) -> list[Outbox]:
        sessions = [session for session, _ in self._sessions.values()]
        return [session.attributes[OUTBOX] for session in sessions if OUTBOX in session.attributes]

    def _deliver(self, session: Session, message: Outgoing) -> None:
        outbox: Outbox | None = session.attributes.get(OUTBOX)
        if outbox is None or outbox.put(message, MAX_WAITING + len(self._retained_messages)):
            return
        del session.attributes[OUTBOX]
        self.cut_total += 1
        _log.warning("MQTT client %s does not read what it subscribed to and was disconnected", session.client_id)
        _, handler = self._sessions[session.client_id]
        handler.writer.abort()

    # What amqtt calls

    async def _create_server_instance(self, *_: object) -> asyncio.Server:
        return await asyncio.start_server(self._connected, sock=self._listening)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, adapter = asyncio.current_task(), Writer(writer)
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            adapter.abort()
            return
        self._connections[task] = adapter
        try:
            await self._client_connected(LISTENER, StreamReaderAdapter(reader), adapter)
        except Exception as error:  # whatever one connection does, the others go on
            _log.debug("An MQTT connection ended: %r", error)
        finally:
            adapter.abort()
            del self._connections[task]

    async def _initialize_client_session(
        self, reader: StreamReaderAdapter, writer: Writer, *_: object
    ) -> tuple[Handler, Session]:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connect = await _connect_packet(reader, writer)
                handler, session = await Handler.init_from_connect(connect, writer, self.plugins_manager)
        except TimeoutError:
            raise MQTTError("no CONNECT in time") from None
        if not self._knows(session):
            await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
            await writer.close()
            raise MQTTError("refused")
        session.client_id = session.client_id or gen_client_id()
        session.clean_session, session.parent = True, 0
        session.keep_alive = math.ceil(1.5 * session.keep_alive)
        session.delivered_message_queue = Routes(self, writer)
        await self._delete_session(session.client_id)
        return handler, session

    def _knows(self, session: Session) -> bool:
        if not self._users:
            return True
        expected = self._users.get(session.username or "")
        given = (session.password or "").encode()
        return expected is not None and hmac.compare_digest(expected.get_secret_value().encode(), given)

    async def _authenticate(self, *_: object) -> bool:
        return True  # done before anything of an older session was touched

    async def _delete_session(self, client_id: str) -> None:
        _, handler = self._sessions.get(client_id, (None, None))
        if handler is not None and handler.writer is not None:
            handler.writer.abort()  # its own task sends its will
        await super()._delete_session(client_id)

    async def _client_message_loop(self, client_session: Session, handler: Handler) -> None:
        outbox = client_session.attributes[OUTBOX] = Outbox(handler)
        sender = asyncio.create_task(outbox.run(), name=f"broker outbox {client_session.client_id}")
        try:
            await super()._client_message_loop(client_session, handler)
        finally:
            client_session.attributes.pop(OUTBOX, None)
            sender.cancel()
            await asyncio.wait({sender})
            await handler.ended()

    async def _broadcast_message(
        self, _: Session | None, topic: str, data: bytes | bytearray, force_qos: int | None = None
    ) -> None:
        self.route(topic, bytes(data), force_qos or 0)

    async def retain_message(
        self, _: Session | None, topic_name: str, data: bytes | bytearray, qos: int | None = None
    ) -> None:
        """A will that is to be retained."""
        self.retain(topic_name, bytes(data), qos or 0)

    async def _publish_session_retained_messages(self, session: Session) -> None:
        """Nothing is kept for a session."""

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """After SUBACK. Also called for everybody's filters on CONNECT, when there is no outbox yet: rule 2."""
        if OUTBOX not in session.attributes:
            return
        topic_filter, granted = subscription
        found = [one for topic, one in self._retained_messages.items() if self._matches(topic, topic_filter)]
        for message in found:
            self._deliver(session, Outgoing(message.topic, message.data, min(message.qos or 0, granted), True))


async def _connect_packet(reader: StreamReaderAdapter, writer: Writer) -> BufferReader:
    """The first packet, whole. Raises MQTTError where it is no CONNECT, too long or of another version."""
    header = await MQTTFixedHeader.from_stream(reader)
    if header is None or header.packet_type != CONNECT or header.remaining_length > MAX_CONNECT:
        raise MQTTError("no CONNECT, or one that is too long")
    body = await reader.read(header.remaining_length)
    level = 2 + int.from_bytes(body[:2], "big")
    if body[level : level + 1] != bytes([MQTT_3_1_1]):
        await ConnackPacket.build(0, UNACCEPTABLE_PROTOCOL_VERSION).to_stream(writer)
        await writer.close()
        raise MQTTError("another version of MQTT")
    return BufferReader(header.to_bytes() + body)
