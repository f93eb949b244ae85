"""Tag: the definition of one value, and its place in one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from bridge.model.units import EngineeringUnits
from bridge.model.value import DataType

GROUPS = ("Identification", "Monitoring", "Setpoints", "Status", "Job", "KPI", "Alarms", "Commands", "Connection")
"""The first level of every machine tag's name."""


class Range(NamedTuple):
    """EURange: the values a tag takes in normal operation, and for a set point the values it accepts."""

    low: float
    high: float


class Limits(NamedTuple):
    """Alarm limits of an analog tag, in its unit; None where there is none."""

    low_low: float | None = None
    low: float | None = None
    high: float | None = None
    high_high: float | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a Boolean tag below Alarms/ means: it is true while the alarm is active."""

    severity: int = 500
    """OPC UA's 1 to 1000."""
    of: str = ""
    """Name of the tag whose value it judges; "" where the vendor says it."""
    limit: str = ""
    """Of a limit: "low_low", "low", "high" or "high_high"."""
    delay: float = 0.0
    """Seconds the cause must last."""


class Owner(Enum):
    """Who alone may change a tag's value."""

    VENDOR = "vendor"
    """Only the vendor's own readback."""
    BRIDGE = "bridge"
    """The bridge itself: Connection, Commands/Last, handshake nodes, derived tags."""


@dataclass(frozen=True, slots=True, eq=False)
class TagDefinition:
    """What a tag is, whichever machine it belongs to; shared by all machines of one mapping.

    `name` is "<Group>/<Tag>" with as many levels as needed ("Monitoring/Temperature/Front").
    `enumeration` maps a text to its number and only grows; such a tag is UInt32 and has a sibling "<name>Text".
    `label` maps a language ("en") to a display name.
    """

    name: str
    data_type: DataType
    unit: EngineeringUnits | None = None
    eu_range: Range | None = None
    enumeration: Mapping[str, int] | None = None
    label: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    writable: bool = False
    hazards: frozenset[str] = frozenset()
    """Every hazard a write to this tag may carry, for whichever value."""
    limits: Limits | None = None
    history: bool = False
    alarm: Alarm | None = None
    owner: Owner = Owner.VENDOR
    is_found: bool = False
    """It appeared with the data: it belongs to its machine, not to the machine's type."""

    @property
    def display_name(self) -> str:
        """The English label, else the last level of the name."""
        return self.label.get("en") or self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True, eq=False)
class Tag:
    """One value of one machine.

    `slot` is its index in the table: given once, never reused in a process.
    """

    id: str
    slot: int
    machine: str
    definition: TagDefinition

    @property
    def name(self) -> str:
        """The name below the machine, "Monitoring/Pressure"."""
        return self.definition.name

    @property
    def group(self) -> str:
        """The first level of the name."""
        return self.definition.name.partition("/")[0]


def tag_id(machine: str, name: str) -> str:
    """The id of tag `name` of `machine`: "extruder-1.Monitoring.Pressure"."""
    return f"{machine}.{name.replace('/', '.')}"
