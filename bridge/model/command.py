"""Command: what somebody asks for, what it may be, and how it ended (design.md section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum
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


UNSET_TIMES = (datetime(1970, 1, 1, tzinfo=UTC), datetime(1601, 1, 1, tzinfo=UTC))
"""What a PLC sends for a time it does not set (IEC 61131-3's zero; OPC UA Part 6, 5.2.2.5): it means now."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One input of a command."""

    name: str
    data_type: DataType
    eu_range: ArgumentRange | None = None
    enumeration: tuple[str, ...] = ()
    unit: EngineeringUnits | None = None
    description: str = ""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """The numbers of the texts, where the enumeration has any."""
    default: Value = None
    """What is sent where nothing is given; of a `person`, who it is where nobody is named. None: there is none."""
    person: bool = False
    """A badge number, a user name or an e-mail address; the vendor is sent the e-mail address."""

    @property
    def default_words(self) -> Value:
        """The default as a person and JSON say it."""
        return "now" if self.default in UNSET_TIMES else self.default

    @property
    def initial(self) -> Value:
        """What it is while nobody has given it; None where it must be given. No text names no person."""
        return "" if self.person else self.default


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


class Role(StrEnum):
    """What somebody may do. None of them may change the address space."""

    OBSERVER = "Observer"
    """Reads, browses, subscribes."""
    OPERATOR = "Operator"
    """Also writes set points and calls commands, where the machine allows it."""
    ENGINEER = "Engineer"
    """Also what carries the hazards `protection` and `loses_data`."""


ENGINEERS_HAZARDS = frozenset({"protection", "loses_data"})
"""Hazards that want the role Engineer."""


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

    `target` is a tag id (a set point) or "<machine>.Commands.<name>" with "/" of the name as "."; a set point has the
    one argument "value", which for an enum may be its text or its number. `id` is unique for ever ("uns:4711"): the
    same id again is the same command. `retained` marks what a broker kept from the past: it is refused.
    """

    id: str
    target: str
    arguments: Mapping[str, Value]
    door: Door
    requester: str
    issued: datetime
    expires: datetime
    role: Role = Role.OPERATOR
    retained: bool = False
    user: str = ""
    """The login the door itself has checked; "" where it knows nobody. Never what a client only claims."""


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
class ItemOutcome:
    """How one set point of a recipe ended. What was never sent is `unreached`, or what kept it from being sent."""

    target: str
    """Tag id of the set point."""
    value: Value
    """What was asked for."""
    result: Result
    sentence: str
    actual: Value = None
    """What the machine reads back, where it differs from what was asked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A command's result with the status an OPC UA client gets and a sentence for a person."""

    result: Result
    status: StatusCode
    sentence: str
    actual: Value = None
    """What the machine reads back, where it differs from what was asked."""
    vendor_code: int = 0
    """HTTP status of the vendor's answer; 0 where there was none."""
    vendor_text: str = ""
    """The vendor's own words, shortened."""
    items: tuple[ItemOutcome, ...] = ()
    """Of a recipe: each of its set points, in order. Empty for every other command, and where nothing was begun."""
