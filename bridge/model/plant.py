"""Plant: the frozen tree of machines that every room reads, and how it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.model.command import CommandDefinition
from bridge.model.path import Place
from bridge.model.tag import Tag, tag_id
from bridge.model.value import DataValue

ALIVE = "Connection/Alive"
"""Name of the Boolean tag that says whether a machine's alive rule holds; decides Sparkplug device birth and death."""

PENDING_BOOKINGS = "Job/PendingBookings"
"""Name of the tag that counts a machine's bookings that its vendor does not have yet."""

ITEM_STATE = "Status/ItemState"
"""Name of the tag that holds the machine's Machinery item state (OPC 40001-1)."""

OPERATION_MODE = "Status/OperationMode"
"""Name of the tag that holds the machine's Machinery operation mode (OPC 40001-1), where its mapping knows one."""


@dataclass(frozen=True, slots=True)
class Part:
    """One source's share of a machine.

    `source_machine` is the vendor's identity of the machine, in the form that source uses in its observations.
    """

    name: str
    source: str
    source_machine: str
    mapping: str


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """One asset as compiled from its mappings: what SCADA sees as one object.

    `type_name` names the machine type ("qitech/extruder", or several joined by "+").
    `identification` has the field names of OPC 40001-1 MachineIdentificationType.
    Compared by identity: a machine that changed is a new object.
    """

    id: str
    place: Place
    type_name: str
    parts: tuple[Part, ...]
    tags: tuple[Tag, ...]
    commands: tuple[CommandDefinition, ...] = ()
    identification: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    _by_name: dict[str, Tag] = field(default_factory=dict, repr=False)
    _by_id: dict[str, Tag] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._by_name.update((tag.name, tag) for tag in self.tags)

    def tag(self, name: str) -> Tag | None:
        """The tag called `name` ("Monitoring/Pressure"), if this machine has it."""
        return self._by_name.get(name)

    def with_id(self, identifier: str) -> Tag | None:
        """The tag with this id, whatever its name."""
        if not self._by_id:
            self._by_id.update((tag.id, tag) for tag in self.tags)
        return self._by_id.get(identifier)


BRIDGE_MACHINE_ID = "Bridge"
"""Id of the machine that stands for the bridge itself; no other machine may have it."""


@dataclass(frozen=True, slots=True, eq=False)
class Plant:
    """Everything there is now. `bridge` is the bridge itself, shaped as a machine; it is not in `machines`."""

    bridge: Machine
    machines: Mapping[str, Machine]

    def everything(self) -> Iterator[Machine]:
        """The bridge, then every machine."""
        yield self.bridge
        yield from self.machines.values()

    def find(self, identifier: str) -> Tag | None:
        """The tag with this id ("extruder-1.Monitoring.Pressure")."""
        machine_id, _, rest = identifier.partition(".")
        machine = self.bridge if machine_id == self.bridge.id else self.machines.get(machine_id)
        if machine is None:
            return None
        tag = machine.tag(rest.replace(".", "/"))
        if tag is not None and tag.id == identifier:
            return tag
        return machine.with_id(identifier)  # its id is of an older name, or of a key

    def changes_since(self, older: Plant | None) -> PlantChange | None:
        """What a reader that knows `older` must be told; None when nothing changed."""
        if older is self:
            return None
        before = {} if older is None else {machine.id: machine for machine in older.everything()}
        after = {machine.id: machine for machine in self.everything()}
        added = tuple(machine for name, machine in after.items() if name not in before)
        removed = tuple(machine for name, machine in before.items() if name not in after)
        changed = tuple(
            MachineChange(before[name], machine)
            for name, machine in after.items()
            if name in before and before[name] is not machine
        )
        return PlantChange(added, removed, changed) if added or removed or changed else None


class MachineChange(NamedTuple):
    """A machine that was compiled anew."""

    before: Machine
    after: Machine


class PlantChange(NamedTuple):
    """What changed between two plants."""

    added: tuple[Machine, ...] = ()
    removed: tuple[Machine, ...] = ()
    changed: tuple[MachineChange, ...] = ()


class Batch(NamedTuple):
    """What a reader gets at once: first apply `change`, then `values` (by slot).

    `values` holds only the newest value of each slot, and only slots of `plant`.
    """

    plant: Plant
    change: PlantChange | None
    values: Mapping[int, DataValue]


__all__ = [
    "ALIVE",
    "BRIDGE_MACHINE_ID",
    "ITEM_STATE",
    "OPERATION_MODE",
    "Batch",
    "Machine",
    "MachineChange",
    "Part",
    "Plant",
    "PlantChange",
    "tag_id",
]
