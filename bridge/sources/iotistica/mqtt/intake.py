"""Intake: one message of an agent after the other, to what it says.

    endpoints/…          decode -> (dictionary, or waiting for it) -> rows -> news: readings; earlier: historical ones
                         a heartbeat is told apart by its shape
    state                decode -> merged -> state, and where it was told: health, devices
    meta/dictionary[…]   decode -> dictionary -> what waited for it
    events/anomaly       decode -> event, anomaly
    agent/status         decode -> event, update
    agent/broker         the will of the agent's adapter -> link
    anything             the agent is there -> link

Rules
1. Nothing that comes in raises: what cannot be read is counted, told of in a sentence once, and where nothing of an
   agent can be read any more its readings are Bad.
2. A current value never goes back in time (`newest`); a message that comes twice counts once (`seen`).
3. What a broker kept is no sign of life.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from bridge.errors import ProtocolError
from bridge.model.observation import Condition, Observation
from bridge.model.status import StatusCode
from bridge.sources.iotistica.mqtt.attendance import Attendance
from bridge.sources.iotistica.mqtt.dictionary import Dictionary, Unknown, is_compact
from bridge.sources.iotistica.mqtt.encoding import decode
from bridge.sources.iotistica.mqtt.newest import Newest
from bridge.sources.iotistica.mqtt.seen import Seen
from bridge.sources.iotistica.mqtt.shelf import Shelf
from bridge.sources.iotistica.mqtt.state import State, report_of
from bridge.sources.iotistica.mqtt.story import Teller
from bridge.sources.iotistica.mqtt.telemetry import batch_of, is_heartbeat
from bridge.sources.iotistica.mqtt.topic import (
    ANOMALY,
    BROKER,
    DELTA,
    DICTIONARY,
    ENDPOINTS,
    STATE,
    STATUS,
    Place,
    matches,
)
from bridge.sources.iotistica.mqtt.waiting import Waiter, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from bridge.ports import Clock, Publish
    from bridge.sources.iotistica.mqtt.config import MqttRules
    from bridge.sources.iotistica.mqtt.telemetry import Row
    from bridge.sources.iotistica.mqtt.topic import Topics
    from bridge.sources.iotistica.roster import Roster
    from bridge.transport.mqtt import Message

log = logging.getLogger(__name__)

READINGS: Final = "readings"
CHANNELS: Final = (READINGS, STATE)
"""Channels whose values are lost with their agent. `link` goes on: that an agent is gone is known."""
UNREADABLE: Final = 3
"""Messages of an agent in a row that cannot be read: no accident any more."""
TOPICS: Final = 2000
"""Topics of destinations that are remembered."""


class Agent:
    """What is known of one agent in this run."""

    __slots__ = ("attendance", "dictionary", "state", "unreadable")

    def __init__(self, heard: float, dictionary: Dictionary) -> None:
        self.attendance = Attendance(heard)
        self.state = State()
        self.dictionary = dictionary
        self.unreadable = 0
        """Messages in a row."""


class Intake:
    """Takes messages. Never raises for what it is given."""

    def __init__(self, source: str, rules: MqttRules, clock: Clock, roster: Roster, topics: Topics) -> None:
        self._source = source
        self._rules = rules
        self._clock = clock
        self._roster = roster
        self._topics = topics
        self._teller = Teller(source)
        self._agents: dict[str, Agent] = {}
        self._places: dict[str, Place | None] = {}
        self._seen = Seen()
        self.newest = Newest()
        self.shelf = Shelf(source)
        self._waiting = Waiting()
        self._faults: set[str] = set()
        self.messages = 0
        self.refused = 0
        """Messages, and readings in messages, that could not be read."""
        self.duplicates = 0
        self.last_fault = ""

    def begin(self) -> None:
        """Another session: nobody has been heard yet, and nobody is gone for it."""
        for agent in self._agents.values():
            agent.attendance.heard = self._clock.monotonic()

    def figures(self) -> Iterator[tuple[str, int | str]]:
        """What is counted."""
        yield "MqttMessages", self.messages
        yield "MqttRefused", self.refused
        yield "MqttDuplicates", self.duplicates + self.newest.repeated
        yield "MqttWaiting", len(self._waiting)
        yield "MqttLastFault", self.last_fault

    def state(self, agent: str) -> State | None:
        """What an agent has told of itself."""
        known = self._agents.get(agent)
        return None if known is None else known.state

    def is_gone(self, agent: str) -> str:
        """Why an agent is not there; "" while it is, or while nobody knows."""
        known = self._agents.get(agent)
        return "" if known is None or known.attendance.is_online is not False else known.attendance.reason

    # -- in

    def take(self, message: Message, publish: Publish) -> None:
        """A message on a topic that was subscribed to."""
        place = self._place(message.topic)
        if place is None:
            return
        self.messages += 1
        uuid, tail = place
        if not self._roster.meet(uuid, publish):
            return
        agent = self._agents.get(uuid)
        if agent is None:
            agent = self._agents[uuid] = Agent(self._clock.monotonic(), self.shelf.dictionary(uuid))
        if tail == BROKER:
            self._take_will(uuid, agent, message, publish)
            return
        if not message.retain:
            self._hear(uuid, agent, publish)
        try:
            self._read(place, agent, message, publish)
        except ProtocolError as error:
            self._refuse(place, agent, str(error), publish)

    def _place(self, topic: str) -> Place | None:
        place = self._topics.place(topic)
        if place is not None:
            return place
        try:
            return self._places[topic]
        except KeyError:
            pass
        for destination in self._rules.destinations:
            if matches(destination.topic, topic):
                place = Place(destination.agent, f"{ENDPOINTS}/{topic}")
                break
        if len(self._places) < TOPICS:
            self._places[topic] = place
        return place

    def _read(self, place: Place, agent: Agent, message: Message, publish: Publish) -> None:
        payload = decode(message.payload)
        if self._is_repeated(place.agent, payload):
            return
        tail = place.tail
        if tail.startswith(ENDPOINTS):
            self._take_telemetry(place, agent, payload, message.payload, publish)
        elif tail == STATE:
            self._take_state(place.agent, agent, payload, publish)
        elif tail in (DICTIONARY, DELTA):
            self._take_dictionary(place, agent, payload, publish, is_kept=message.retain)
        elif tail == ANOMALY:
            event = self._teller.anomaly(place.agent, payload)
            publish(event)
            self._say(place.agent, "anomaly", {**event.data, "time": event.time.isoformat()}, publish)
        elif tail == STATUS:
            event = self._teller.update(place.agent, payload)
            publish(event)
            self._say(place.agent, "update", {**event.data, "time": event.time.isoformat()}, publish)

    def _is_repeated(self, agent: str, payload: Any) -> bool:
        """The message came before, by the id that it has."""
        identifier = payload.get("msgId") if isinstance(payload, dict) else None
        if not isinstance(identifier, str) or self._seen.is_new(f"{agent}:{identifier[:200]}"):
            return False
        self.duplicates += 1
        return True

    # -- telemetry

    def _take_telemetry(self, place: Place, agent: Agent, payload: Any, raw: bytes, publish: Publish) -> None:
        if is_heartbeat(payload):
            return
        received = self._clock.now()
        if not is_compact(payload):
            self._tell_readings(place, agent, payload, received, publish)
        elif place.agent in self._waiting or not self._expanded(place, agent, payload, received, publish):
            waiter = Waiter(place.agent, raw, received, self._clock.monotonic(), place.tail)
            self._give_up(self._waiting.put(waiter), publish)

    def _expanded(
        self, place: Place, agent: Agent, message: Any, received: datetime, publish: Publish, *, is_late: bool = False
    ) -> bool:
        """Whether a compact message could be read. Raises ProtocolError where waiting is of no use."""
        try:
            payload = agent.dictionary.expand(message, is_late=is_late)
        except Unknown as unknown:
            if is_late:
                raise ProtocolError(f"{unknown}, and none came") from None
            return False
        if not self._is_repeated(place.agent, payload):
            self._tell_readings(place, agent, payload, received, publish)
        return True

    def _has_waited(self, waiter: Waiter, agent: Agent, publish: Publish, *, is_late: bool = False) -> bool:
        """Whether a message that waits could be read now. Raises ProtocolError."""
        place, message = Place(waiter.agent, waiter.tail), decode(waiter.raw)
        return self._expanded(place, agent, message, waiter.received, publish, is_late=is_late)

    def _tell_readings(self, place: Place, agent: Agent, payload: Any, received: datetime, publish: Publish) -> None:
        batch = batch_of(payload, received)
        if batch.refused:
            self._count(place, batch.refused, batch.fault)
        if batch.refused and not batch.rows:
            raise ProtocolError(batch.fault)
        agent.unreadable = 0
        current, earlier = self.newest.split(place.agent, batch.rows, received)
        for layer in _layers(earlier):
            moment = max(moment for moment, _ in layer)
            rows = [row for _, row in layer]
            publish(Observation(self._source, place.agent, READINGS, rows, received, moment, historical=True))
        if current:
            publish(Observation(self._source, place.agent, READINGS, current, received))

    # -- the dictionary

    def _take_dictionary(self, place: Place, agent: Agent, payload: Any, publish: Publish, *, is_kept: bool) -> None:
        self.shelf.change()
        if place.tail == DICTIONARY:
            agent.dictionary.replace(payload, is_kept=is_kept)
        else:
            try:
                agent.dictionary.grow(payload)
            except Unknown:
                return  # the whole of it is retained, and comes
        while (waiter := self._waiting.first(place.agent)) is not None:
            try:
                if not self._has_waited(waiter, agent, publish):
                    return
            except ProtocolError as error:
                self._refuse(Place(waiter.agent, waiter.tail), agent, str(error), publish)
            self._waiting.pop(place.agent)

    def _give_up(self, waiters: Iterable[Waiter], publish: Publish) -> None:
        """Read what waited as far as it can be read, in its order."""
        for waiter in waiters:
            agent = self._agents[waiter.agent]
            try:
                self._has_waited(waiter, agent, publish, is_late=True)
            except ProtocolError as error:
                self._waiting.lost += 1
                self._refuse(Place(waiter.agent, waiter.tail), agent, str(error), publish)

    # -- the agent itself

    def _take_state(self, uuid: str, agent: Agent, payload: Any, publish: Publish) -> None:
        before = agent.state.endpoints
        told = agent.state.merge(report_of(payload, uuid))
        if "endpoints" in told and agent.state.endpoints is not None:
            for event in self._teller.endpoints(uuid, before or [], agent.state.endpoints, self._clock.now()):
                publish(event)
            self._say(uuid, "health", agent.state.endpoints, publish)
        if "devices" in told:
            self._say(uuid, "devices", agent.state.devices, publish)
        self._say(uuid, STATE, agent.state.payload(), publish)

    def _take_will(self, uuid: str, agent: Agent, message: Message, publish: Publish) -> None:
        """The adapter's word on the plant's broker: "offline", or that it is there. One that was kept is old."""
        if b"offline" not in message.payload[:200].lower():
            if not message.retain:
                self._hear(uuid, agent, publish)
        elif not message.retain or agent.attendance.is_online is None:
            self._lose(uuid, agent, "its connection to the broker broke (its last will says so)", publish)

    def _hear(self, uuid: str, agent: Agent, publish: Publish) -> None:
        was, now = agent.attendance.is_online, self._clock.now()
        if not agent.attendance.hear(self._clock.monotonic(), now):
            return
        if was is False:
            publish(self._teller.presence(uuid, is_online=True, since=now, reason=""))
        self._say(uuid, "link", agent.attendance.payload(), publish)
        if was is False and agent.state.told:
            self._say(uuid, STATE, agent.state.payload(), publish)

    def _lose(self, uuid: str, agent: Agent, reason: str, publish: Publish) -> None:
        was, now = agent.attendance.is_online, self._clock.now()
        if not agent.attendance.lose(now, reason):
            return
        if was:
            publish(self._teller.presence(uuid, is_online=False, since=now, reason=reason))
        advice = "Is the agent running, and can it reach the broker?"
        for channel in CHANNELS:
            status, told = StatusCode.BadNoCommunication, f"The agent is gone: {reason}"
            publish(Condition(self._source, status, told, now, uuid, channel, advice))
        self._say(uuid, "link", agent.attendance.payload(), publish)

    def tick(self, publish: Publish) -> None:
        """Let time pass: who is silent is gone, and what waited long enough is read as far as it can be."""
        monotonic = self._clock.monotonic()
        self._give_up(self._waiting.expired(monotonic), publish)
        for uuid, agent in self._agents.items():
            if agent.attendance.is_silent(monotonic, self._rules.report_period):
                silence = monotonic - agent.attendance.heard
                self._lose(uuid, agent, f"nothing was heard of it for {silence:.0f} s", publish)
            elif agent.attendance.is_online and agent.attendance.is_news():
                self._say(uuid, "link", agent.attendance.payload(), publish)

    def _say(self, uuid: str, channel: str, payload: Any, publish: Publish) -> None:
        publish(Observation(self._source, uuid, channel, payload, self._clock.now()))

    # -- faults

    def _refuse(self, place: Place, agent: Agent, fault: str, publish: Publish) -> None:
        """A message cannot be read: the next one may be. Three in a row of telemetry are told everybody."""
        self._count(place, 1, fault)
        if not place.tail.startswith(ENDPOINTS):
            return
        agent.unreadable += 1
        if agent.unreadable == UNREADABLE:
            advice = "Look at format and compression of the agent's publishing, and at what else publishes there"
            status, now = StatusCode.BadDecodingError, self._clock.now()
            reason = f"The last {UNREADABLE} messages on {place.tail[:200]} cannot be read: {fault}"
            publish(Condition(self._source, status, reason, now, place.agent, READINGS, advice))

    def _count(self, place: Place, count: int, fault: str) -> None:
        self.refused += count
        self.last_fault = f"{place.agent} {place.tail[:100]}: {fault}"[:500]
        kind = f"{place.agent} {place.tail} {fault[:40]}"
        if kind not in self._faults and len(self._faults) < TOPICS:
            self._faults.add(kind)
            log.warning("Source %s: a message cannot be read: %s", self._source, self.last_fault)


def _layers(rows: list[tuple[datetime, Row]]) -> list[list[tuple[datetime, Row]]]:
    """Rows in lists in which no metric of a device comes twice, oldest first: an observation has one value of each."""
    layers: list[list[tuple[datetime, Row]]] = []
    counts: dict[tuple[str, str], int] = {}
    for told in sorted(rows, key=lambda told: told[0]):
        key = told[1]["device_uuid"], told[1]["metric"]
        number = counts[key] = counts.get(key, -1) + 1
        if number == len(layers):
            layers.append([])
        layers[number].append(told)
    return layers
