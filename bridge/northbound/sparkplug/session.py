"""The life of an edge node in one MQTT session after another: who may say what, with which seq. Pure.

    OFFLINE -> CONNECTING -> SUBSCRIBING [-> WAIT_HOST] -> BIRTHING -> ONLINE -> STOPPING -> OFFLINE
                                                            ^          |
                                                            +- REBIRTHING        lost, in any state: OFFLINE

Rules:
1. Everything that affects seq, bdSeq and the lives of devices is in this file; whoever calls it writes each message
   it returns to the connection at once and in this order, or ends the session: a seq that is used and not sent makes
   every host ask for a rebirth.
2. NBIRTH has seq 0; DBIRTH, DDEATH, NDATA and DDATA count on from there, 255 to 0 (tck-id-payloads-sequence-num-*).
3. DATA passes only while ONLINE. A rebirth request closes that gate until the births are out
   (tck-id-operational-behavior-data-commands-rebirth-action-1); what changes meanwhile is in the births.
4. The first rebirth request is served at once; those of the following second together, at its end: several hosts ask
   at the same time, and each birth makes them ask again if anything was lost.
5. A rebirth keeps the bdSeq of the session's will and says no NDEATH first
   (tck-id-operational-behavior-data-commands-rebirth-action-3).
6. With a primary host, births wait until it is online at this broker; when it goes, so do we: STOPPING, which closes
   the gate, and `departure` says why (tck-id-message-flow-edge-node-birth-publish-phid-wait and -phid-offline).

Source: Sparkplug 3.0, chapters 5 and 6.
"""

from __future__ import annotations

import logging
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.codec import MetricType
from bridge.northbound.sparkplug.topic import MessageType
from bridge.transport.mqtt import Message
from bridge.transport.mqtt_packet import LARGEST_PACKET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.northbound.sparkplug.primary_host import PrimaryHost
    from bridge.northbound.sparkplug.topic import EdgeNode

logger = logging.getLogger(__name__)

BD_SEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
NEXT_SERVER = "Node Control/Next Server"
REBIRTH_WINDOW_S = 1.0
"""Requests within this time after a rebirth are served together at its end."""

_BD_SEQ = codec.MetricEncoder(BD_SEQ, MetricType.Int64)
_REBIRTH = codec.MetricEncoder(REBIRTH, MetricType.Boolean)
_NEXT_SERVER = codec.MetricEncoder(NEXT_SERVER, MetricType.Boolean)
_FIXED_HEADER = 1 + 4 + 2 + 1
"""Bytes of a QoS 0 PUBLISH beside topic and payload, at most: type, length, topic's length, MQTT 5's no properties."""
_COUNTED = 1 + 10 + 1 + 2
"""Bytes of a payload beside its metrics, at most: timestamp and seq."""


class State(Enum):
    """Where the node is in its session."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    WAIT_HOST = "waiting for the primary host"
    BIRTHING = "birthing"
    ONLINE = "online"
    REBIRTHING = "rebirthing"
    STOPPING = "stopping"


class Patience(NamedTuple):
    """Seconds to wait for the primary host before trying the next broker: after silence, after it said offline."""

    silent_s: float = inf
    offline_s: float = inf


NO_HURRY = Patience()


class Session:
    """One edge node's session. Times: `now_ms` is milliseconds since 1970 UTC, `monotonic` seconds.

    `birth_delay` gives the seconds to wait before the births of a new session; `may_walk`: there is another broker.
    """

    def __init__(
        self,
        node: EdgeNode,
        host: PrimaryHost | None = None,
        birth_delay: Callable[[], float] = float,
        may_walk: bool = False,
    ) -> None:
        self.state = State.OFFLINE
        self.rebirth_at: float | None = None
        """Monotonic time at which births are due; None while nobody wants any."""
        self.leave_at = inf
        """Monotonic time at which waiting for the primary host at this broker ends."""
        self.departure: str | None = None
        """Why this broker is to be left, once that is so."""
        self.packet_limit = LARGEST_PACKET
        """The largest packet the broker takes, in bytes."""
        self.rebirths = 0
        self._node = node
        self._host = host
        self._birth_delay = birth_delay
        self._may_walk = may_walk
        self._broker = ""
        self._patience = Patience()
        self._bd_seq = 0
        self._seq = 0
        self._death: Message | None = None
        self._born: dict[str, None] = {}
        self._last_rebirth = -inf
        self._deaths_heard = 0
        self._is_said = False
        self._host_is_offline = False

    @property
    def host_is_offline(self) -> bool:
        """The primary host said in this session that it is offline; False also where it said nothing."""
        return self._host_is_offline

    @property
    def is_said(self) -> bool:
        """An NBIRTH went out in this session: hosts are to hear of its end from us."""
        return self._is_said

    @property
    def born(self) -> tuple[str, ...]:
        """The devices that are alive for the hosts."""
        return tuple(self._born)

    def is_born(self, device_id: str) -> bool:
        """The device's DBIRTH is out and no DDEATH since."""
        return device_id in self._born

    def room(self, device_id: str | None) -> int:
        """How many bytes the metrics of one message may have, so that the broker takes it."""
        topic = self._node.topic(MessageType.NBIRTH if device_id is None else MessageType.DBIRTH, device_id)
        return self.packet_limit - _FIXED_HEADER - len(topic.encode()) - _COUNTED

    def connect(self, bd_seq: int, now_ms: int, broker: str = "", patience: Patience = NO_HURRY) -> Message:
        """The will to connect with: NDEATH, QoS 1, holding bdSeq only (tck-id-topics-ndeath-payload)."""
        self._expect(State.OFFLINE)
        self.state = State.CONNECTING
        self._broker, self._patience = broker, patience
        self._bd_seq = bd_seq
        metric = _BD_SEQ.encode(codec.stamp(now_ms), bd_seq, with_type=True)
        self._death = Message(self._node.topic(MessageType.NDEATH), codec.payload(now_ms, [metric], None), qos=1)
        return self._death

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """What the node must hear, whatever its state."""
        return self._node.subscriptions if self._host is None else (*self._node.subscriptions, *self._host.topics)

    @property
    def publications(self) -> str:
        """A filter for all that the node says."""
        return self._node.publications

    def accepted(self) -> tuple[str, ...]:
        """The broker took us: what to subscribe to, at QoS 1, before any birth."""
        self._expect(State.CONNECTING)
        self.state = State.SUBSCRIBING
        return self.subscriptions

    def subscribed(self, monotonic: float) -> None:
        """Commands would reach us now: births are due, or the primary host is waited for."""
        self._expect(State.SUBSCRIBING)
        if self._host is None:
            self._begin_births(monotonic)
        else:
            self.state = State.WAIT_HOST
            self._host_is_offline = False
            self.leave_at = monotonic + self._patience.silent_s

    def hear_host(self, topic: str, payload: bytes, monotonic: float) -> None:
        """A message on one of the primary host's topics. Raises ProtocolError."""
        is_online = None if self._host is None else self._host.hear(self._broker, topic, payload)
        if is_online is not None:
            self._host_is_offline = not is_online
        if is_online and self.state is State.WAIT_HOST:
            self._begin_births(monotonic)
        elif is_online is False and self.state is State.WAIT_HOST:
            self.leave_at = min(self.leave_at, monotonic + self._patience.offline_s)
        elif is_online is False and self.state in (State.BIRTHING, State.ONLINE, State.REBIRTHING):
            self._depart("the primary host went offline")

    def wait_is_over(self, monotonic: float) -> None:
        """Leave, if the primary host was waited for long enough."""
        if self.state is State.WAIT_HOST and monotonic >= self.leave_at:
            self._depart("the primary host is not online there")

    def node_birth(self, now_ms: int, metrics: Iterable[bytes]) -> Message:
        """NBIRTH: it begins the births and makes every device unborn. `births_are_out` ends them."""
        self._expect(State.BIRTHING, State.REBIRTHING, State.ONLINE)
        self.state = State.REBIRTHING if self.state is not State.BIRTHING else State.BIRTHING
        self.rebirth_at = None
        self._is_said = True
        self._born.clear()
        self._seq = 0
        own = self._own_metrics(codec.stamp(now_ms))
        return Message(self._node.topic(MessageType.NBIRTH), codec.payload(now_ms, (*metrics, *own), 0))

    def births_are_out(self, monotonic: float) -> None:
        """NBIRTH and the DBIRTHs of all live devices were said: DATA may pass, unless a rebirth is wanted again."""
        self._expect(State.BIRTHING, State.REBIRTHING)
        if self.state is State.REBIRTHING:
            self.rebirths += 1
            self._last_rebirth = monotonic
            if self.rebirth_at is not None:  # asked for while the births went out
                self.rebirth_at = max(self.rebirth_at, monotonic + REBIRTH_WINDOW_S)
        self.state = State.ONLINE if self.rebirth_at is None else State.REBIRTHING

    def device_birth(self, now_ms: int, device_id: str, metrics: Iterable[bytes]) -> Message:
        """DBIRTH. A device is born once until its death (tck-id-topic-structure-namespace-unique-device-id)."""
        self._expect(State.BIRTHING, State.ONLINE, State.REBIRTHING)
        if device_id in self._born:
            raise RuntimeError(f"{device_id} is born already")
        self._born[device_id] = None
        return self._counted(MessageType.DBIRTH, now_ms, metrics, device_id)

    def device_death(self, now_ms: int, device_id: str) -> Message | None:
        """DDEATH; None for a device that is not born."""
        if device_id not in self._born:
            return None
        del self._born[device_id]
        return self._counted(MessageType.DDEATH, now_ms, (), device_id)

    def data(self, now_ms: int, device_id: str | None, metrics: Iterable[bytes]) -> Message | None:
        """NDATA, or DDATA of a device; None while the gate is closed or for a device that is not born."""
        if self.state is not State.ONLINE or (device_id is not None and device_id not in self._born):
            return None
        return self._counted(MessageType.NDATA if device_id is None else MessageType.DDATA, now_ms, metrics, device_id)

    def hear(
        self, kind: MessageType, device_id: str | None, payload: codec.Payload, monotonic: float
    ) -> tuple[codec.Metric, ...]:
        """A message to this node came in: what is left to do after rebirth requests and deaths were dealt with."""
        if kind is MessageType.NDEATH:
            self._hear_death(payload, monotonic)
            return ()
        if kind is MessageType.NCMD:
            wants = {metric.name for metric in payload.metrics if metric.truth}
            if REBIRTH in wants:
                self.want_rebirth(monotonic)
            if NEXT_SERVER in wants and self._may_walk:
                self._depart("a host sent us to the next broker")
            controls = self._controls
            return tuple(one for one in payload.metrics if one.name not in controls or one.truth is None)
        return payload.metrics if kind is MessageType.DCMD else ()

    def want_rebirth(self, monotonic: float) -> None:
        """Somebody asks for the births; closes the gate."""
        if self.state is State.ONLINE:
            self.state = State.REBIRTHING
        if self.state in (State.BIRTHING, State.REBIRTHING) and self.rebirth_at is None:
            self.rebirth_at = max(monotonic, self._last_rebirth + REBIRTH_WINDOW_S)

    def stop(self, now_ms: int) -> list[Message]:
        """The farewell: DDEATH of each live device, then NDEATH, the same bytes as the will."""
        self.state = State.STOPPING
        self.rebirth_at = None
        if not self._is_said or self._death is None:
            return []  # a birth is the first thing a node says (tck-id-principles-birth-certificates-order)
        deaths = [self.device_death(now_ms, device_id) for device_id in self.born]
        return [*(death for death in deaths if death is not None), self._death]

    def lost(self) -> None:
        """The MQTT session is over. Hosts learn it from the will."""
        self.state = State.OFFLINE
        self.rebirth_at = None
        self._born.clear()
        self._death = None
        self._is_said = False
        self.leave_at, self.departure = inf, None
        self._last_rebirth = -inf

    @property
    def _controls(self) -> tuple[str, ...]:
        return (REBIRTH, NEXT_SERVER) if self._may_walk else (REBIRTH,)

    def _own_metrics(self, stamp: bytes) -> list[bytes]:
        own = [_BD_SEQ.encode(stamp, self._bd_seq, with_type=True), _REBIRTH.encode(stamp, False, with_type=True)]
        return [*own, _NEXT_SERVER.encode(stamp, False, with_type=True)] if self._may_walk else own

    def _begin_births(self, monotonic: float) -> None:
        self.state = State.BIRTHING
        self.leave_at = inf
        self.rebirth_at = monotonic + self._birth_delay()

    def _depart(self, why: str) -> None:
        self.state = State.STOPPING
        self.rebirth_at = None
        self.departure = why

    def _hear_death(self, payload: codec.Payload, monotonic: float) -> None:
        """Our own NDEATH while we live: a late will, or a twin. Hosts think we are dead (facts: Tahu rebirths too)."""
        metric = payload.metric(BD_SEQ)
        if self.state not in (State.ONLINE, State.REBIRTHING) or metric is None or metric.value != self._bd_seq:
            return
        self._deaths_heard += 1
        if self._deaths_heard == 2:
            logger.warning("NDEATH of %s came while it lives, again: is there a second node of this name?", self._node)
        self.want_rebirth(monotonic)

    def _counted(self, kind: MessageType, now_ms: int, metrics: Iterable[bytes], device_id: str | None) -> Message:
        self._seq = (self._seq + 1) & 255
        return Message(self._node.topic(kind, device_id), codec.payload(now_ms, metrics, self._seq))

    def _expect(self, *states: State) -> None:
        if self.state not in states:
            raise RuntimeError(f"the node is {self.state.value}")
