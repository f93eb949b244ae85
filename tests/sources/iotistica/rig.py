"""One agent's messages, taken one by one, and what was published of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from bridge.model.event import Event
from bridge.model.observation import Condition, Inventory, Observation, Reading
from bridge.ports import Published
from bridge.sim.clock import VirtualClock
from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.iotistica.mqtt.intake import Intake
from bridge.sources.iotistica.mqtt.topic import Topics, agent_level
from bridge.sources.iotistica.roster import Roster
from bridge.transport.mqtt import Message

AGENT = "d9069bba-f80e-424a-9c4c-583ea4deb9a4"
OTHER = "00000000-0000-4000-8000-000000000001"
PUMP, PRESS = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"
START = datetime(2026, 11, 21, 22, tzinfo=UTC)


def config(**said: Any) -> IotisticaConfig:
    return IotisticaConfig.model_validate({"type": "iotistica", "mqtt": {}, **said})


def topic(tail: str, agent: str = AGENT) -> str:
    return f"i/self-hosted/a/{agent_level(agent)}/{tail}"


def reading(value: Any = 1.5, metric: str = "pressure", device: str = PUMP, **more: Any) -> dict[str, Any]:
    told = {"deviceName": f"device {device[-1]}", "device_uuid": device, "metric": metric, "value": value}
    return {**told, "quality": "GOOD", "timestamp": START.isoformat(), **more}


def batch(*readings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"timestamp": START.isoformat(), "protocol": "modbus", "messages": list(readings), **more}


class Rig:
    """An intake on a clock that a test moves."""

    def __init__(self, **said: Any) -> None:
        self.clock = VirtualClock(START, speed=0)
        self.config = config(**said)
        assert self.config.mqtt is not None
        self.roster = Roster("edge", self.config, None)
        topics = Topics(self.config.tenant)
        self.intake = Intake("edge", self.config.mqtt, self.clock, self.roster, topics)
        self.items: list[Published] = []

    def restarted(self) -> Rig:
        """The same in the next process: it knows what was kept."""
        after = Rig()
        after.intake.shelf.recall(json.loads(json.dumps(self.intake.shelf.news())))
        return after

    def take(self, tail: str, payload: Any, *, agent: str = AGENT, retain: bool = False) -> None:
        """A message below an agent."""
        self.take_at(topic(tail, agent), payload, retain=retain)

    def take_at(self, where: str, payload: Any, *, retain: bool = False) -> None:
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.intake.take(Message(where, raw, 1, retain), self.items.append)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, as the listener does: every five seconds."""
        while seconds > 0:
            self.clock.advance(min(5.0, seconds))
            self.intake.tick(self.items.append)
            seconds -= 5.0

    def said(self, channel: str, agent: str = AGENT) -> list[Observation]:
        return [
            item
            for item in self.items
            if isinstance(item, Observation) and (item.channel, item.machine) == (channel, agent)
        ]

    def values(self) -> dict[tuple[str, str], Any]:
        """Current values by device and metric."""
        rows = [row for said in self.said("readings") if not said.historical for row in said.payload]
        return {(row["device_uuid"], row["metric"]): row["value"] for row in rows}

    @property
    def earlier(self) -> list[list[dict[str, Any]]]:
        return [said.payload for said in self.said("readings") if said.historical]

    @property
    def events(self) -> list[Event]:
        return [item for item in self.items if isinstance(item, Event)]

    @property
    def conditions(self) -> list[Condition]:
        return [item for item in self.items if isinstance(item, Condition)]

    @property
    def inventory(self) -> list[Inventory]:
        return [item for item in self.items if isinstance(item, Inventory)]

    @property
    def figures(self) -> dict[str, Any]:
        return dict(self.intake.figures())


__all__ = ["AGENT", "OTHER", "PRESS", "PUMP", "START", "Reading", "Rig", "batch", "config", "reading", "topic"]
