"""Command: what somebody asks for, what it may be, and how it ended (design.md section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from bridge.model.status import StatusCode
from bridge.model.units import EngineeringUnits
from bridge.model.value import DataType, Value

HAZARDS = ("heat", "motion", "power", "protection", "loses_data", "loses_tension")
"""Hazards a configuration allows by name."""


class ArgumentRange(NamedTuple):
    """The values an argument accepts."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Argument:
    """One input of a command."""

    name: str
    data_type: DataType
    eu_range: ArgumentRange | None = None
    enumeration: tuple[str, ...] = ()
    unit: EngineeringUnits | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CommandDefinition:
    """A command a machine offers. `name` is the name below Commands/ ("Standby", "SetPid/Front")."""

    name: str
    part: str
    arguments: tuple[Argument, ...] = ()
    hazards: frozenset[str] = frozenset()
    safe: bool = False
    label: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


class Door(Enum):
    """Where a command came in."""

    OPCUA_WRITE = "opcua-write"
    OPCUA_METHOD = "opcua-method"
    OPCUA_HANDSHAKE = "opcua-handshake"
    SPARKPLUG = "sparkplug"
    UNS = "uns"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Command:
    """A request to change something.

    `target` is a tag id (a set point) or "<machine>.Commands.<name>"; a set point has the one argument "value".
    """

    id: str
    target: str
    arguments: Mapping[str, Value]
    door: Door
    requester: str
    issued: datetime
    expires: datetime


class Result(Enum):
    """How a command ended."""

    CONFIRMED = "confirmed"
    CHANGED = "changed"
    ACCEPTED = "accepted"
    QUEUED = "queued"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    REFUSED = "refused"
    UNREACHED = "unreached"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A command's result with the status an OPC UA client gets and a sentence for a person."""

    result: Result
    status: StatusCode
    sentence: str
    actual: Value = None
    vendor_code: int = 0
