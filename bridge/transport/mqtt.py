"""One MQTT session: connect, publish in batches, receive, say goodbye. Never reconnects by itself.

Its owner makes a new Link per connection, because an MQTT will is fixed at CONNECT (design.md 2.5, invariant 13).

    publish -> paho's out queue -> socket (writable) -> broker -> PUBACK -> _settle -> drain and flush go on
    socket (readable) -> paho -> inbox (bounded) -> messages()
    loss, refusal, DISCONNECT -> _end: every wait raises LinkLost

Backend: aiomqtt opens the connection (TLS, CONNECT, versions) in a thread. From the socket on, the callbacks that paho
publishes for foreign event loops are ours: aiomqtt's publish costs 95 to 127 us a message, wakes the loop through a
pipe for each, leaves a reader behind when CONNECT is cancelled or not answered, and drops the newest message, not the
oldest, when its inbox is full. Only one private name is touched: `aiomqtt.Client._client`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTT_ERR_SUCCESS, error_string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from bridge.errors import LinkError, LinkLost, LinkRefused, SubscribeRefused
from bridge.transport import mqtt_properties
from bridge.transport.mqtt_version import UNSUPPORTED, Protocol, in_turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTMessageInfo
    from paho.mqtt.properties import Properties

    from bridge.transport.mqtt_version import Spoken

ANSWER_TIMEOUT_S = 10.0
"""How long a broker may take to answer CONNECT or SUBSCRIBE."""
GOODBYE_TIMEOUT_S = 2.0
"""How long writing DISCONNECT, and what is queued before it, may take."""
SESSION_EXPIRY_S = 30
"""How long a broker keeps a session that was not clean: commands never come from the past (design.md section 6)."""
WINDOW = 1000
"""QoS 1 messages on their way, sent or held, before `drain` waits."""
IN_FLIGHT = 200
"""QoS 1 messages sent and not acknowledged, at most: paho handles as many acknowledgements in one go (25 us each), and
the loop must not stand still for them. An MQTT 5 broker may allow fewer (Receive Maximum)."""
INBOX_LIMIT = 1000
"""Received messages nobody has taken yet; beyond it the oldest is dropped."""
PAYLOAD_LIMIT = 1 << 20
"""Bytes of a received payload; larger ones are dropped: nothing we subscribe to is that long."""
MISC_INTERVAL_S = 1.0
"""How often paho looks at its keep-alive."""

DISCONNECT_WITH_WILL = 0x04
"""MQTT 5, 3.14.2.1: the broker publishes the will although the client said goodbye."""
TRY_LATER = frozenset({0x88, 0x89, 0x97, 0x9C, 0x9D, 0x9F})
"""CONNACK codes about the broker's state, not about us (MQTT 5, 3.2.2.2): unavailable, busy, quota, moved, rate."""


class BrokerConfig(BaseModel):
    """How to reach an MQTT broker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="Name or address of the broker.")
    port: int = Field(1883, ge=1, le=65535, description="TCP port; 8883 is usual with TLS.")
    username: str | None = Field(None, description="User name, if the broker wants one.")
    password: SecretStr | None = Field(
        None, description="Password; write ${VAR} or ${file:path}, never the word itself."
    )
    protocol: Protocol = Field(
        "auto", description="MQTT version; auto: 5, or 3.1.1 where the broker does not speak 5, as the embedded one."
    )
    keep_alive: int = Field(30, ge=5, le=3600, description="Seconds; a silent break is noticed after 1.5 of them.")
    tls: bool = Field(False, description="Encrypt with TLS and verify the broker's certificate and host name.")
    ca_file: str | None = Field(None, description="PEM file of the authority that signed the broker's certificate.")

    @field_validator("protocol", mode="before")
    @classmethod
    def _may_be_a_number(cls, protocol: object) -> object:
        return "5" if protocol == 5 else protocol  # YAML reads an unquoted 5 so

    @property
    def where(self) -> str:
        """As host:port."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Message:
    """One received or to-be-published message."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    expiry_s: int | None = None
    """MQTT 5 message expiry; dropped on 3.1.1."""
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = field(default=())


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
        self._held: deque[Message] = deque()
        self._unacknowledged: deque[MQTTMessageInfo] = deque()
        self._subscribing: dict[int, asyncio.Future[ReasonCode]] = {}
        self._inbox: deque[Message] = deque(maxlen=INBOX_LIMIT)
        self._arrived = asyncio.Event()
        self._progress = asyncio.Event()
        self._receive_maximum = IN_FLIGHT
        self._is_answered = False
        self._refusal: LinkError | None = None
        self._is_unsupported = False
        self._has_hung_up = False
        self._gate = threading.Lock()
        self._abandoned = False
        self._socket: Any = None
        self._misc: asyncio.Task[None] | None = None
        self._paho: Client
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Future[str]
        self.dropped = 0
        """Received messages that were dropped: nobody took them in time, or they were too large."""
        self.refused = 0
        """Published messages the broker acknowledged with a refusal (MQTT 5 only)."""

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
        client = self._new_client(await self._tls())
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
        return self._is_unsupported or (self._socket is not None and not self._is_answered and self._has_hung_up)

    @property
    def may_have_begun(self) -> bool:
        """CONNECT was sent and not refused: the broker holds, or held, a session of ours with its will."""
        return self._socket is not None and self._refusal is None

    def publish(self, message: Message) -> None:
        """Put a message on its way, in order. Does not wait; raises LinkLost when the session is over.

        Call `drain` at least once per batch: it is what keeps memory bounded.
        """
        self._check()
        if self._held or (message.qos and len(self._unacknowledged) >= self._receive_maximum):
            self._held.append(message)
        else:
            self._send(message)

    async def drain(self) -> None:
        """Wait until what was published is (nearly) written, and QoS 1 acknowledgements keep up. Raises LinkLost."""
        self._check()
        await asyncio.sleep(0)
        while self._paho.want_write() or len(self._unacknowledged) + len(self._held) > WINDOW:
            await self._next_progress()
        self._check()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until everything published is written and acknowledged; False if that took too long."""
        self._check()
        try:
            async with asyncio.timeout(timeout_s):
                while self._paho.want_write() or self._unacknowledged or self._held:
                    await self._next_progress()
        except TimeoutError:
            return False
        return True

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
        if code != MQTT_ERR_SUCCESS or identifier is None:
            raise LinkLost(error_string(code))
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
        code, _ = self._paho.unsubscribe(topic_filter)
        if code != MQTT_ERR_SUCCESS:
            raise LinkLost(error_string(code))

    def messages(self) -> AsyncIterator[Message]:
        """Messages as they arrive; ends by raising LinkLost. One reader; bounded, the oldest dropped and counted."""
        return _Messages(self)

    async def disconnect(self, *, with_will: bool = False) -> None:
        """Say DISCONNECT now; MQTT 5 with reason 0x04 (Disconnect with Will Message) if `with_will`."""
        if self._end.done():
            return
        spoken = with_will and self.protocol == "5"
        self._paho.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=DISCONNECT_WITH_WILL) if spoken else None)
        await asyncio.wait({self._end}, timeout=GOODBYE_TIMEOUT_S)
        await self._close("we said goodbye")

    async def next_message(self) -> Message:
        """The next received message. Raises LinkLost when the session is over and all were taken."""
        while not self._inbox:
            self._check()
            self._arrived.clear()
            await self._arrived.wait()
        return self._inbox.popleft()

    async def _tls(self) -> ssl.SSLContext | None:
        if not self._broker.tls:
            return None
        try:
            return await asyncio.to_thread(_TlsContext.trusting, self._broker.ca_file)
        except OSError as error:
            raise LinkLost(f"{self._broker.ca_file}: {error}") from None

    def _new_client(self, tls: ssl.SSLContext | None) -> aiomqtt.Client:
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
            max_inflight_messages=0,  # without limit: the limit is ours, and paho's costs a scan per acknowledgement
            properties=mqtt_properties.of_session(SESSION_EXPIRY_S) if five and not self._clean else None,
            tls_context=tls,
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
            self._receive_maximum = min(getattr(properties, "ReceiveMaximum", IN_FLIGHT), IN_FLIGHT)
            if answered is not None:
                answered(paho, userdata, flags, code, properties)  # type: ignore[arg-type, call-arg]

        paho.disable_logger()  # what it would say is in the error we raise, and its owner logs that once
        paho.on_connect = on_connect
        paho.on_disconnect = self._on_disconnect
        paho.on_subscribe = self._on_subscribe
        paho.on_message = self._on_message
        paho.on_publish = None  # calling back costs two objects for each QoS 0 message (30 -> 87 k messages/s)
        paho.on_socket_open = self._on_socket_open
        paho.on_socket_close = self._on_socket_close
        paho.on_socket_register_write = self._on_socket_register_write
        paho.on_socket_unregister_write = self._on_socket_unregister_write

    async def _enter(self, client: aiomqtt.Client) -> None:
        """Run aiomqtt's connecting as a race with loss: it would wait ten seconds for a CONNACK that cannot come."""
        entering = asyncio.create_task(client.__aenter__(), name=f"mqtt connect {self._client_id}")
        either: set[asyncio.Future[Any]] = {entering, self._end}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            entering.cancel()
            await asyncio.wait({entering})
        error = None if entering.cancelled() else entering.exception()
        self._has_hung_up = self._end.done()
        if self._refusal is not None:
            raise self._refusal
        if isinstance(error, (aiomqtt.MqttError, OSError, ValueError)):
            raise LinkLost(str(error) or type(error).__name__) from None
        if error is not None:
            raise error
        self._check()

    def _check(self) -> None:
        if self._end.done():
            raise LinkLost(self._end.result())

    async def _next_progress(self) -> None:
        """Wait until something was written or acknowledged. Raises LinkLost."""
        self._check()
        self._progress.clear()
        await self._progress.wait()
        self._check()

    def _send(self, message: Message) -> None:
        properties = None
        if self.protocol == "5":
            properties = mqtt_properties.outgoing(message)
            if message.qos and not self._unacknowledged:
                self._paho.on_publish = self._on_publish
        info = self._paho.publish(message.topic, message.payload, message.qos, message.retain, properties)
        if info.rc != MQTT_ERR_SUCCESS:
            raise LinkLost(error_string(info.rc))
        if message.qos:
            self._unacknowledged.append(info)

    def _settle(self) -> None:
        """Forget what was acknowledged, and send what waited for that."""
        while self._unacknowledged and self._unacknowledged[0].is_published():
            self._unacknowledged.popleft()
        if not self._unacknowledged:
            self._paho.on_publish = None
        while self._held and not (self._held[0].qos and len(self._unacknowledged) >= self._receive_maximum):
            self._send(self._held.popleft())
        self._progress.set()

    def _finish(self, reason: str) -> None:
        """The session is over: tell everybody who waits."""
        if self._end.done():
            return
        self._end.set_result(reason)
        self._progress.set()
        self._arrived.set()
        for answer in self._subscribing.values():
            if not answer.done():
                answer.set_exception(LinkLost(reason))

    async def _close(self, reason: str) -> None:
        """Close the socket without a word, and leave nothing behind."""
        with self._gate:
            self._abandoned = True
        self._finish(reason)
        paho = self._paho
        paho.on_connect = paho.on_disconnect = paho.on_subscribe = paho.on_message = paho.on_publish = None
        self._release()
        paho.on_socket_close = None
        if self._socket is not None:
            self._socket.close()
        if self._misc is not None:
            self._misc.cancel()
            await asyncio.wait({self._misc})
            self._misc = None

    def _release(self) -> None:
        """Take the socket off the event loop."""
        if self._socket is not None and (number := self._socket.fileno()) >= 0:
            self._loop.remove_reader(number)
            self._loop.remove_writer(number)

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
                opened.close()
                raise ConnectionAbortedError("nobody waits for this connection any more")
            self._socket = opened
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._abandoned or self._socket.fileno() < 0:
            return
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._misc = self._loop.create_task(self._watch(), name=f"mqtt keep-alive {self._client_id}")

    def _on_socket_close(self, _: Client, userdata: object, closing: Any) -> None:
        self._release()

    def _on_socket_register_write(self, _: Client, userdata: object, ready: Any) -> None:
        """In aiomqtt's thread while CONNECT is sent, on the event loop ever after."""
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._await_writable()
        else:
            self._loop.call_soon_threadsafe(self._await_writable)

    def _await_writable(self) -> None:
        if not self._abandoned and self._socket.fileno() >= 0:
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def _on_socket_unregister_write(self, _: Client, userdata: object, written: Any) -> None:
        if written.fileno() >= 0:
            self._loop.remove_writer(written.fileno())
        self._progress.set()

    def _readable(self) -> None:
        try:
            self._paho.loop_read()
            while isinstance(reading := self._paho.socket(), ssl.SSLSocket) and reading.pending():
                self._paho.loop_read()
            self._settle()
        except Exception as error:  # whatever paho raises here, this session cannot go on
            self._finish(f"reading failed: {error}")

    def _writable(self) -> None:
        try:
            self._paho.loop_write()
        except Exception as error:  # as above
            self._finish(f"writing failed: {error}")

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

    def _on_publish(
        self, _: Client, userdata: object, identifier: int, code: ReasonCode, properties: Properties | None
    ) -> None:
        self.refused += code.is_failure

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
        if len(self._links) > 1 and self._spoken is not None:
            self._spoken.now(self._where, self._link.protocol)
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


class _TlsContext(ssl.SSLContext):
    """Verifies certificate and host name; closes the socket of a handshake that failed, which paho 2.2 leaves open."""

    @classmethod
    def trusting(cls, ca_file: str | None) -> _TlsContext:
        """A context that trusts this authority, or the system's where there is none. Reads files."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca_file)
        return context

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        """The socket after its handshake. Raises OSError with the socket closed."""
        wrapped = super().wrap_socket(sock, *args, **options)
        try:
            wrapped.settimeout(ANSWER_TIMEOUT_S)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped
