"""What one agent publishes: telemetry, its state, heartbeats, its dictionary. No I/O: `due` says what is to go out.

    polls since the last -> batches of one protocol -> encoding -> messages
    uplink down: nothing; back: first what is new, then what was buffered, plain JSON with its old time stamps

Source: facts 1.11; tests/recorded/iotistica/mqtt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from bridge.sim.iotistica import batch, signals
from bridge.sim.iotistica.answers import iso
from bridge.sim.iotistica.batch import Poll
from bridge.sim.iotistica.dictionary import Dictionary
from bridge.sim.iotistica.encoding import Encoder, destroyed
from bridge.sim.iotistica.incidents import AnomalyEvent
from bridge.sim.iotistica.plant import Agent, Device
from bridge.sim.iotistica.state import State
from bridge.sim.iotistica.tenant import REPORT_S, Tenant
from bridge.sim.iotistica.topics import topic

POLLS = 12
"""In a message, at most."""
HEARTBEAT_S = 300
SYNC_S = 30
"""After so long the whole dictionary is retained; once, since its version never moves (recorded)."""
BUFFERED_S = 24 * 3600
BUFFERED_MESSAGES = 5000


@dataclass(frozen=True, slots=True)
class Message:
    """To be published."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class AgentLink:
    """One agent's uplink.

    Args:
        tenant: It is of.
        agent: Whose.
        state: What its reports say.
        seed: Of msgIds and of the mixed encoding.
    """

    def __init__(self, tenant: Tenant, agent: Agent, state: State, seed: int) -> None:
        self.agent = agent
        self.dictionary = Dictionary(agent.uuid, tenant.behaviour.dictionary == "flat")
        self.duplicate = self.garble = 0
        self._tenant = tenant
        self._state = state
        self._rng = random.Random(f"{seed} {agent.uuid}")
        self._encoders: dict[str, tuple[tuple[str, str], Encoder]] = {}
        now = tenant.now
        self._since = self._started = now
        self._reported: float | None = None
        self._beaten = now
        self._synced = False
        self._down_since: float | None = None
        self._sequence = 0
        self._reported_devices: list[Any] = []

    def topic(self, *rest: str) -> str:
        """A topic of this agent."""
        return topic(self._tenant.id, self.agent.uuid, *rest)

    def due(self) -> list[Message]:
        """What is to go out by now."""
        now = self._tenant.now
        if not self.agent.connected or not self.agent.is_active:
            self._down_since = self._since if self._down_since is None else self._down_since
            return []
        messages = []
        if self._down_since is not None:
            since, self._down_since = self._down_since, None
            live = max(since, now - max((device.poll_ms for device in self.agent.devices), default=0) / 1000)
            messages += [*self._telemetry(live, now), *self._buffered(since, live)]
        else:
            messages += self._telemetry(self._since, now)
        self._since = now
        return [*messages, *self._dictionary(now), *self._heartbeats(now), *self._reports(now)]

    def anomaly(self, event: AnomalyEvent) -> Message:
        """What the detector says, as the cloud wants it."""
        at = int(event.at * 1000)
        body = {
            "msgId": self._message_id(event.at), "agentUuid": event.agent, "deviceName": event.device_name,
            "deviceType": event.device_type, "deviceState": "running",
            "metric": f"{event.agent}_{event.endpoint}_{event.metric}", "timestampMs": at, "windowStartMs": at - 60_000,
            "windowEndMs": at, "observedValue": event.value, "anomalyScore": event.score,
            "confidence": event.confidence, "severity": event.severity, "severityReason": "zscore",
            "triggeredBy": ["zscore"], "expectedRange": [180, 200], "deviation": 5.1,
            "fingerprint": event.fingerprint, "cooldownSec": 60, "firstSeen": at, "consecutiveCount": 1,
            "eventCount": 1,
        }  # fmt: skip
        return Message(self.topic("events", "anomaly"), orjson.dumps(body))

    # -- telemetry

    def _telemetry(self, since: float, until: float) -> Iterator[Message]:
        behaviour = self._tenant.behaviour
        for protocol, polls in self._polls(since, until).items():
            for group in _groups(polls):
                content = self._content(group, protocol, until)
                payload = self._encoder(protocol).encode(content, protocol)
                if self.garble > 0:
                    self.garble, payload = self.garble - 1, destroyed(payload)
                message = Message(self.topic("endpoints", protocol), payload)
                yield message
                if behaviour.duplicates == "yes" or self.duplicate > 0:
                    self.duplicate = max(0, self.duplicate - 1)
                    yield message

    def _buffered(self, since: float, until: float) -> Iterator[Message]:
        """The newest of what was kept, oldest first: always in the agent's own format and in JSON (recorded)."""
        polls = self._polls(max(since, until - BUFFERED_S), until)
        groups = [(protocol, group) for protocol, kept in polls.items() for group in _groups(kept)]
        for protocol, group in groups[-BUFFERED_MESSAGES:]:
            at = group[-1][0].at
            content = batch.custom(group, protocol, at, self._message_id(at))
            yield Message(self.topic("endpoints", protocol), orjson.dumps(content))

    def _polls(self, since: float, until: float) -> dict[str, list[Poll]]:
        """What was read after `since`, by protocol, oldest first."""
        found: dict[str, list[Poll]] = {}
        for device in self.agent.devices:
            if not device.enabled:
                continue
            moments = [at for at in signals.polls(self.agent, device, since, until) if at > since]
            found.setdefault(device.protocol, []).extend(_poll(device, at) for at in reversed(moments))
        return {protocol: sorted(polls, key=lambda poll: poll[0].at) for protocol, polls in found.items() if polls}

    def _content(self, polls: list[Poll], protocol: str, now: float) -> dict[str, Any]:
        kind = self._tenant.behaviour.format
        if kind == "custom":
            return batch.custom(polls, protocol, now, self._message_id(now))
        if kind == "ml":
            content = batch.features(polls, protocol, now)
        else:
            content = batch.tags(polls, protocol, now, kind == "ecp")
        return {**content, "msgId": self._message_id(now)}

    def _encoder(self, protocol: str) -> Encoder:
        behaviour = self._tenant.behaviour
        wanted = (behaviour.encoding, behaviour.deflate)
        known = self._encoders.get(protocol)
        if known is None or known[0] != wanted:
            known = (wanted, Encoder(wanted[0], wanted[1] == "yes", self.dictionary, self._rng))
            self._encoders[protocol] = known
        return known[1]

    # -- the rest

    def _dictionary(self, now: float) -> Iterator[Message]:
        """A delta comes after the message that made it necessary (recorded); an older agent begins with the whole."""
        if self.dictionary.has_news and self.dictionary.is_flat and not self._synced:
            yield self.whole_dictionary()
        elif self.dictionary.has_news:
            yield Message(self.topic("meta", "dictionary", "delta"), orjson.dumps(self.dictionary.delta(now)))
            if not self._synced and now - self._started >= SYNC_S:
                yield self.whole_dictionary()
        elif not self._synced and now - self._started >= SYNC_S and self._tenant.behaviour.encoding != "json":
            yield self.whole_dictionary()

    def whole_dictionary(self) -> Message:
        """All of it, retained."""
        self._synced = True
        content = orjson.dumps(self.dictionary.full(self._tenant.now))
        return Message(self.topic("meta", "dictionary"), content, retain=True)

    def _heartbeats(self, now: float) -> Iterator[Message]:
        if self._tenant.behaviour.heartbeat == "no" or now - self._beaten < HEARTBEAT_S:
            return
        self._beaten = now
        for protocol in sorted({device.protocol for device in self.agent.devices}):
            stats = {
                "messagesReceived": 58, "messagesPublished": 57, "bytesReceived": 106_787, "bytesPublished": 105_707,
                "reconnectAttempts": 0, "lastConnectedTime": iso(self._started), "lastPublishTime": iso(now),
            }  # fmt: skip
            body = {
                "endpoint": f"{protocol}-pipe", "timestamp": iso(now), "state": "CONNECTED", "stats": stats,
                "msgId": self._message_id(now),
            }  # fmt: skip
            yield Message(self.topic("endpoints", f"{protocol}-heartbeat"), orjson.dumps(body), qos=0)

    def _reports(self, now: float) -> Iterator[Message]:
        """The whole state first, then what changed, with the figures."""
        first = self._reported is None
        devices = [self._device_row(index, device) for index, device in enumerate(self.agent.devices)]
        changed = [row["uuid"] for row in devices] != self._reported_devices
        if self._reported is not None and now - self._reported < REPORT_S and not changed:
            return
        self._reported, self._reported_devices = now, [row["uuid"] for row in devices]
        agent = self.agent
        figures = self._state.figures(agent)
        report: dict[str, Any] = {"apps": agent.apps, "is_online": True}
        if first:
            report |= {
                "version": agent.current_version, "agent_version": agent.version, "architecture": "x64",
                "local_ip": "192.0.2.2", "config": {"endpoints": [{"name": d.name} for d in agent.devices]},
            }  # fmt: skip
        if first or changed:
            report |= {"devices": devices}
        report |= {
            "endpoints_health": {device.name: self._health(device, now) for device in agent.devices},
            "cpu_usage": figures["cpu_usage"], "temperature": figures["cpu_temp"],
            "memory_usage": figures["memory_usage"], "memory_total": figures["memory_total"],
            "storage_usage": figures["storage_usage"], "storage_total": figures["storage_total"],
            "uptime": int(now - self._started),
        }  # fmt: skip
        self._tenant.report(agent)
        yield Message(self.topic("state"), orjson.dumps({agent.uuid: report}, option=orjson.OPT_SORT_KEYS))

    def _device_row(self, index: int, device: Device) -> dict[str, Any]:
        return {
            "uuid": device.uuid, "endpoint_uuid": device.endpoint_uuid, "name": device.name,
            "protocol": device.protocol, "identifier": str(index + 1), "enabled": device.enabled,
            "lastSeenAt": iso(self._tenant.now),
        }  # fmt: skip

    def _health(self, device: Device, now: float) -> dict[str, Any]:
        lost = device.is_lost(now)
        return {
            "communicationQuality": "offline" if lost else "good", "connected": not lost, "errorCount": 12 * lost,
            "lastError": "connect ECONNREFUSED 192.0.2.10:502" if lost else None, "lastPoll": iso(now),
            "lastSeen": None if lost else iso(now), "pollSuccessRate": int(not lost), "protocol": device.protocol,
            "registersUpdated": 0 if lost else len(device.points), "responseTimeMs": None if lost else 48,
            "status": "online",  # as recorded, also where it is not
        }  # fmt: skip

    def _message_id(self, at: float) -> str:
        self._sequence += 1
        suffix = "".join(self._rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=5))
        return f"{self.agent.uuid}-{int(at * 1000)}-{self._sequence}-{suffix}"


def _groups(polls: list[Poll]) -> Iterator[list[Poll]]:
    for start in range(0, len(polls), POLLS):
        yield polls[start : start + POLLS]


def _poll(device: Device, at: float) -> Poll:
    return [signals.reading(device, point, at) for point in device.points]
