"""The connection under a link: made by aiomqtt, kept alive by paho, read and written by a Wire; its end, in words.

aiomqtt opens it (TLS, CONNECT, versions) in a thread. From the socket on, the callbacks that paho publishes for foreign
event loops are ours, and paho's socket is a Wire: aiomqtt's publish costs 95 to 127 us a message, paho's 21, and paho
wakes up for each acknowledgement. Two private names are touched: `aiomqtt.Client._client`, and paho's `_last_mid` after
49 000 subscriptions.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, Protocol

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTT_ERR_SUCCESS, error_string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from bridge.errors import LinkError, LinkLost, LinkRefused
from bridge.transport import mqtt_properties
from bridge.transport.mqtt_limits import Limits
from bridge.transport.mqtt_tls import TlsFileError, Wrapping, hang_up_fault, tls_fault
from bridge.transport.mqtt_version import UNSUPPORTED
from bridge.transport.mqtt_window import FIRST_ID

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.subscribeoptions import SubscribeOptions

    from bridge.transport.mqtt_config import BrokerConfig
    from bridge.transport.mqtt_message import Message
    from bridge.transport.mqtt_packet import Taken
    from bridge.transport.mqtt_wire import Wire

ANSWER_TIMEOUT_S = 10.0
"""How long a broker may take to answer CONNECT."""
MISC_INTERVAL_S = 1.0
"""How often paho looks at its keep-alive."""

DISCONNECT_WITH_WILL = 0x04
"""MQTT 5, 3.14.2.1: the broker publishes the will although the client said goodbye."""
TRY_LATER = frozenset({0x88, 0x89, 0x97, 0x9C, 0x9D, 0x9F})
"""CONNACK codes about the broker's state, not about us (MQTT 5, 3.2.2.2): unavailable, busy, quota, moved, rate."""
CREDENTIALS = frozenset({0x86, 0x87})
"""CONNACK codes about who we are: Bad User Name or Password, Not authorized. Brokers use either for both."""


class Owner(Protocol):
    """Who is told what comes."""

    def taken(self, taken: Taken) -> float:
        """What the wire read; acknowledgements are the owner's. Gives the seconds until it needs to read again."""

    def wrote(self) -> None:
        """Something was written."""

    def received(self, message: MQTTMessage) -> None:
        """Somebody's message."""

    def answered(self, identifier: int, codes: list[ReasonCode]) -> None:
        """SUBACK or UNSUBACK."""

    def ended(self, reason: str) -> None:
        """The connection is over; said once."""


class Connection:
    """One, in one version of MQTT. `open` once, then `close` once, whatever came of it."""

    def __init__(self, broker: BrokerConfig, client_id: str, will: Message | None, owner: Owner) -> None:
        self.limits = Limits()
        """What the broker can, once it is open."""
        self.wire: Wire
        self._broker = broker
        self._client_id = client_id
        self._will = will
        self._owner = owner
        self._is_5 = broker.protocol == "5"
        self._is_answered = False
        self._refusal: LinkError | None = None
        self._is_unsupported = False
        self._has_hung_up = False
        self._is_broken = False
        self._gate = threading.Lock()
        self._abandoned = False
        self._is_open = False
        self._misc: asyncio.Task[None] | None = None
        self._paho: Client
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Future[str]

    @property
    def is_misunderstood(self) -> bool:
        """The broker refused this version, or ended the connection instead of answering CONNECT, as old ones do."""
        return self._is_unsupported or (self._is_open and not self._is_answered and self._has_hung_up)

    @property
    def may_have_begun(self) -> bool:
        """CONNECT was sent and not refused: the broker holds, or held, a session of ours with its will."""
        return self._is_open and self._refusal is None

    @property
    def is_over(self) -> bool:
        """Nothing comes or goes any more."""
        return self._end.done()

    def check(self) -> None:
        """Raises LinkLost where it is over."""
        if self._end.done():
            raise LinkLost(self._end.result())

    async def open(self) -> None:
        """Connect and wait for CONNACK. Raises LinkLost, LinkRefused."""
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.create_future()
        client = self._new_client(await self._wrapping())
        self._paho = client._client  # noqa: SLF001  # tests/transport/test_mqtt.py holds aiomqtt to it
        self._adopt()
        try:
            await self._enter(client)
        except BaseException:
            await self.close("the connection was not made")
            raise

    async def close(self, reason: str) -> None:
        """Close the socket without a word, and leave nothing behind."""
        with self._gate:
            self._abandoned = True
        self.finish(reason)
        paho = self._paho
        paho.on_connect = paho.on_disconnect = paho.on_subscribe = paho.on_unsubscribe = paho.on_message = None
        if self._is_open:
            self.wire.end()
        if self._misc is not None:
            self._misc.cancel()
            await asyncio.wait({self._misc})
            self._misc = None

    def finish(self, reason: str) -> None:
        """It is over: tell the owner."""
        if not self._end.done():
            self._end.set_result(reason)
            self._owner.ended(reason)

    def subscribe(self, topic_filter: str, qos: int, options: SubscribeOptions | None) -> int:
        """Send SUBSCRIBE in its place among what is published; gives its packet identifier. Raises LinkLost."""
        if options is None:
            return self._required(*self._paho.subscribe(topic_filter, qos))
        return self._required(*self._paho.subscribe(topic_filter, options=options))

    def unsubscribe(self, topic_filter: str) -> int:
        """As `subscribe`, with UNSUBSCRIBE."""
        return self._required(*self._paho.unsubscribe(topic_filter))

    def say_disconnect(self, *, with_will: bool) -> None:
        """Queue DISCONNECT; MQTT 5 with reason 0x04 (Disconnect with Will Message) if `with_will`."""
        spoken = with_will and self._is_5
        self._paho.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=DISCONNECT_WITH_WILL) if spoken else None)
        self._pump()

    # --- connecting

    async def _wrapping(self) -> Wrapping:
        try:
            return await asyncio.to_thread(Wrapping.of, self._broker, ANSWER_TIMEOUT_S)
        except TlsFileError as error:
            raise LinkLost(f"{error.option}: {error}") from None

    def _new_client(self, wrapping: Wrapping) -> aiomqtt.Client:
        broker = self._broker
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password.get_secret_value() if broker.password else None,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if self._is_5 else aiomqtt.ProtocolVersion.V311,
            will=self._client_will(),
            clean_session=None if self._is_5 else True,
            clean_start=True if self._is_5 else MQTT_CLEAN_START_FIRST_ONLY,
            timeout=ANSWER_TIMEOUT_S,
            keepalive=broker.keep_alive,
            tls_context=wrapping,
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        )

    def _client_will(self) -> aiomqtt.Will | None:
        will = self._will
        if will is None:
            return None
        properties = mqtt_properties.of_will(will) if self._is_5 else None
        return aiomqtt.Will(will.topic, will.payload, will.qos, will.retain, properties)

    def _adopt(self) -> None:
        """Take over paho's callbacks."""
        paho = self._paho
        answered = paho.on_connect

        def on_connect(
            _: Client, userdata: object, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
        ) -> None:
            self._is_answered = True
            if code.is_failure:
                said = f"the broker says: {code}{_advice(code.value, self._broker)}"
                self._refusal = (LinkLost if code.value in TRY_LATER else LinkRefused)(said)
                self._is_unsupported = code.value == UNSUPPORTED
                self.finish(said)
                return  # aiomqtt would keep an error that nobody takes from it, when the broker hangs up at once
            self.limits = Limits.said(properties)
            if answered is not None:
                answered(paho, userdata, flags, code, properties)  # type: ignore[arg-type, call-arg]

        paho.disable_logger()  # what it would say is in the error we raise, and its owner logs that once
        paho.on_connect = on_connect
        paho.on_disconnect = self._on_disconnect
        paho.on_subscribe = self._on_answer
        paho.on_unsubscribe = self._on_answer
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
        if self._has_hung_up and not self._is_answered:
            raise LinkLost(hang_up_fault(self._broker))
        if isinstance(error, (aiomqtt.MqttError, OSError, ValueError)):
            raise LinkLost(_unreachable(error, self._broker)) from None
        if error is not None:
            raise error
        self.check()

    # --- keeping it

    def _required(self, code: int, identifier: int | None) -> int:
        """Of a SUBSCRIBE or UNSUBSCRIBE, which is on its way. Raises LinkLost where it is not."""
        if code != MQTT_ERR_SUCCESS or identifier is None:
            raise LinkLost(error_string(code))
        self._pump()  # now, so that it keeps its place among what is published
        if identifier >= FIRST_ID - 1:
            self._paho._last_mid = 0  # noqa: SLF001  # it would go on into those of what we publish
        return identifier

    def _take(self, taken: Taken) -> float:
        """What the wire read."""
        rest_s = self._owner.taken(taken)
        while self.wire.has_unread and self._paho.socket() is not None:
            self._paho.loop_read()
        if self._paho.socket() is None:
            self.wire.discard()
        return rest_s

    async def _watch(self) -> None:
        """Let paho keep the session alive, and notice a silent break."""
        while True:
            if self._paho.loop_misc() != MQTT_ERR_SUCCESS:
                return
            await asyncio.sleep(MISC_INTERVAL_S)

    def _pump(self) -> None:
        """Let paho queue what it has."""
        if not self._abandoned:
            self._paho.loop_write()

    def _begin(self) -> None:
        if self._abandoned:
            return
        self.wire.begin(self._loop, self._take, self._owner.wrote, self._broke)
        self._misc = self._loop.create_task(self._watch(), name=f"mqtt keep-alive {self._client_id}")

    def _broke(self, error: Exception) -> None:
        """The wire cannot go on."""
        self._is_broken = True
        if isinstance(error, ssl.SSLError):
            self.finish(tls_fault(error, self._broker))
        else:
            self.finish(f"the broker does not speak MQTT: {error}")
        self.wire.end()
        self._owner.wrote()

    # --- what paho calls

    def _on_socket_open(self, _: Client, userdata: object, opened: Any) -> None:
        """In aiomqtt's thread: the TCP (and TLS) connection is made."""
        with self._gate:
            if self._abandoned:
                opened.end()
                raise ConnectionAbortedError("nobody waits for this connection any more")
            self.wire, self._is_open = opened, True
            self._loop.call_soon_threadsafe(self._begin)

    def _on_socket_register_write(self, _: Client, userdata: object, ready: Any) -> None:
        """Paho has something to send. In aiomqtt's thread while CONNECT is sent, on the event loop ever after."""
        self._loop.call_soon_threadsafe(self._pump)

    def _on_disconnect(
        self, _: Client, userdata: object, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if not self._is_answered and str(code) == "Protocol error":
            self._refusal = LinkRefused(f"the broker does not speak MQTT {self._broker.protocol}")
        if flags.is_disconnect_packet_from_server:
            self.finish(f"the broker ended the session: {code}")
        elif str(code) == "Unspecified error":
            self.finish("the connection broke")
        elif str(code) == "Keep alive timeout":
            self.finish(silence("PINGREQ", 1.5 * self._broker.keep_alive))
        else:
            self.finish(str(code))

    def _on_answer(
        self, _: Client, userdata: object, identifier: int, codes: list[ReasonCode], properties: Properties | None
    ) -> None:
        self._owner.answered(identifier, codes)

    def _on_message(self, _: Client, userdata: object, received: MQTTMessage) -> None:
        self._owner.received(received)


def silence(unanswered: str, limit_s: float) -> str:
    """What is said of a broker that does not answer, for a person."""
    return f"the broker has not answered for {limit_s:.0f} s ({unanswered}): does it still run?"


def _unreachable(error: Exception, broker: BrokerConfig) -> str:
    cause = error.__context__ if isinstance(error, aiomqtt.MqttError) else error  # aiomqtt keeps the words only
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused: does the broker run, and listen at this port?"
    if isinstance(cause, socket.gaierror):
        return f"the name {broker.host} leads nowhere ({cause.strerror}): is it written right, and does DNS know it?"
    return str(error) or type(error).__name__


def _advice(code: int, broker: BrokerConfig) -> str:
    """What to look at after a refused CONNECT."""
    if code not in CREDENTIALS:
        return ""
    return "; look at username and password" if broker.username else "; it wants username and password, none is set"
