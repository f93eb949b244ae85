"""The agents of a tenant, the devices behind them and their points.

Agent = gateway, endpoint = a configured connection, device = what is behind it; the vendor's keys mix the three.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime

NAMESPACE = uuid.UUID("3c5f3c0e-6f0b-4f0e-9b2a-9f4f6a2f7c11")

Value = float | int | bool | str | None


@dataclass(slots=True)
class Point:
    """One value of a device. `kind` is float, int, bool or string."""

    name: str
    kind: str = "float"
    unit: str = ""
    """As the device's configuration says it."""
    low: float = 0.0
    high: float = 100.0
    period_s: float = 120.0
    writable: bool = False
    written: list[tuple[float, Value]] = field(default_factory=list)
    """What commands wrote, and when (seconds since the epoch), oldest first."""


@dataclass(slots=True)
class Device:
    """One device behind an endpoint of its own, as Modbus devices are."""

    uuid: str
    """Of the row in the agent's `devices`: what a write command names."""
    endpoint_uuid: str
    """Of the endpoint: what a reading calls device_uuid (recorded)."""
    name: str
    protocol: str
    points: list[Point]
    poll_ms: int = 5000
    enabled: bool = True
    lost: list[tuple[float, float]] = field(default_factory=list)
    """When it did not answer: from, until; the last may have no end (inf)."""
    write_mode: str = "accept"
    """What becomes of writes: accept, reject, hang, driver-timeout."""

    @property
    def reading_name(self) -> str:
        """The deviceName of its readings: its name and the beginning of the endpoint's uuid (recorded)."""
        return f"{self.name}-{self.endpoint_uuid[:8]}"

    def point(self, name: str) -> Point | None:
        """The point of that name."""
        return next((point for point in self.points if point.name == name), None)

    def is_lost(self, at: float) -> bool:
        """Whether it does not answer at a moment, in seconds since the epoch."""
        return any(start <= at < end for start, end in self.lost)


@dataclass(slots=True)
class Agent:
    """One gateway."""

    uuid: str
    name: str
    devices: list[Device]
    created: datetime
    fleet_uuid: str
    version: str = "1.0.547"
    is_active: bool = True
    connected: bool = True
    """Its uplink works; what the cloud believes follows minutes later."""
    last_report: datetime | None = None
    apps: dict[str, object] = field(default_factory=dict)
    config: dict[str, object] = field(default_factory=dict)
    target_version: int = 1
    current_version: int = 1
    needs_deployment: bool = False
    target_updated: datetime | None = None
    device_key: str = field(default="", repr=False)

    def device(self, name: str) -> Device | None:
        """By uuid of its row, or by its endpoint's name."""
        return next((device for device in self.devices if name in (device.uuid, device.name)), None)


def identity(*words: object) -> str:
    """A uuid that is the same for the same words."""
    return str(uuid.uuid5(NAMESPACE, "/".join(map(str, words))))


def default_device(agent: str, name: str, seed: int, number: int) -> Device:
    """A machine with a value of each kind and two set points."""
    base = 180.0 + 10 * (number % 5)
    return Device(
        identity(seed, agent, name, "device"),
        identity(seed, agent, name, "endpoint"),
        name,
        "modbus" if number % 3 else "opcua",
        [
            Point("barrel_temp", "float", "°C", base, base + 8, 90.0 + 7 * number),
            Point("screw_speed", "int", "rpm", 1100, 1300, 240.0),
            Point("running", "bool", "", 0, 1, 600.0),
            Point("material", "string"),
            Point("pressure_setpoint", "float", "bar", 3.5, 3.5, writable=True),
            Point("speed_setpoint", "int", "rpm", 1200, 1200, writable=True),
        ],
    )


def default_agent(number: int, devices: int, seed: int, now: datetime, uuid_: str | None = None) -> Agent:
    """An agent of so many extruders."""
    agent_uuid = uuid_ or identity(seed, "agent", number)
    members = [default_device(agent_uuid, f"extruder-{index + 1}", seed, index + 1) for index in range(devices)]
    return Agent(agent_uuid, f"hall-{number + 1}-gateway", members, now, identity(seed, "fleet"))
