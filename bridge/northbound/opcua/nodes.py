"""The address space: machines as objects, tags as variables.

    Objects
     |- Machines (Machinery)     every machine, as OPC 40001-1 wants it
     |   '- <machine>            DI:Identification · MachineryBuildingBlocks/MachineryItemState · Monitoring · …
     |- Areas                    the same machines by place: enterprise / site / area / line
     '- Bridge                   the bridge itself, shaped as a machine

Rules:
1. The NodeId of a tag is its id, `ns=2;s=<machine>.<Group>.<Tag>`, for ever; folders and properties are ids in between.
2. What vanishes keeps its nodes, BadOutOfService, until `retired_limit` of them are kept; what returns finds them.
3. What a machine can be told to do is below its Commands: see `command_nodes`.
Source: OPC UA Part 3 and 8; OPC 40001-1 (Machinery 1.03); OPC 10000-100 (DI 1.04).
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from asyncua import ua

from bridge.model.path import SEGMENT
from bridge.model.plant import ITEM_STATE, OPERATION_MODE
from bridge.model.status import StatusCode
from bridge.model.value import bad
from bridge.northbound.opcua import command_nodes, convert
from bridge.northbound.opcua.history_nodes import HistoryNodes
from bridge.northbound.opcua.stack import space as sp
from bridge.northbound.opcua.stack.values import Mirror
from bridge.northbound.opcua.tree import (
    FOLDER,
    OBJECT,
    OWN,
    TYPES,
    node_id,
    property_attributes,
    shape,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from asyncua.server.address_space import NodeData

    from bridge.model.plant import Machine, Plant, PlantChange
    from bridge.model.tag import Tag
    from bridge.northbound.opcua.command_nodes import CommandNodes
    from bridge.northbound.opcua.model_changes import ModelChanges
    from bridge.northbound.opcua.stack.space import Attributes
    from bridge.northbound.opcua.stack.values import TagValues
    from bridge.northbound.opcua.tree import Tree
    from bridge.ports import Clock

MAX_ID = 120
"""Characters of a NodeId: PLC strings hold 254 bytes, some clients' fields far fewer."""
CHUNK = 250
"""Tags built before the loop may turn."""
RESERVED = ("Areas", "Machines", "HistoricalConfiguration")
"""NodeIds of our own objects."""
GONE = "The machine or tag is no longer configured or present"

MACHINES, IDENTIFICATION_TYPE = 1001, 1012
STATE_MACHINES = {ITEM_STATE: ("MachineryItemState", 1002), OPERATION_MODE: ("MachineryOperationMode", 1008)}
"""Numeric ids in http://opcfoundation.org/UA/Machinery/."""
MANDATORY = ("Manufacturer", "SerialNumber", "ProductInstanceUri")


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Where the companion specifications are; None where they are not shown."""

    di: int | None = None
    machinery: int | None = None


def faults(plant: Plant) -> list[str]:
    """What of this plant cannot be shown: ids too long or twice, and tags that are folders of other tags."""
    found = []
    faults_of = cache(_name_faults)  # a hundred machines of one mapping have the same names
    for machine in plant.everything():
        if machine.id in RESERVED:
            found.append(
                f"{machine.id}: the server has an object of its own with this NodeId: give the machine another id"
            )
        found.extend(
            f"{tag.id}: a NodeId may have {MAX_ID} characters, this has {len(tag.id)}"
            for tag in machine.tags
            if len(tag.id) > MAX_ID
        )
        names = tuple(tag.name for tag in machine.tags)
        found.extend(f"{machine.tags[position].id}: {fault}" for position, fault in faults_of(names))
        found.extend(command_nodes.faults(machine, MAX_ID))
    return found


def _name_faults(names: tuple[str, ...]) -> list[tuple[int, str]]:
    """What is wrong with which of a machine's tag names."""
    found, there = [], frozenset(names)
    for position, name in enumerate(names):
        if not all(SEGMENT.match(level) for level in name.split("/")):
            found.append((position, "a level of the name has characters a NodeId must not have"))
        parents = (name[: match.start()] for match in re.finditer("/", name))
        found.extend(
            (position, f"{parent} is itself a tag and cannot be a folder") for parent in parents if parent in there
        )
    return found


class Nodes:
    """Builds and changes the address space as the plant changes."""

    def __init__(
        self,
        tree: Tree,
        values: TagValues,
        commands: CommandNodes,
        namespaces: Namespaces,
        changes: ModelChanges,
        clock: Clock,
        *,
        look_again: Callable[[], Awaitable[None]],
        retired_limit: int = 20_000,
    ) -> None:
        """`look_again` is awaited when nodes were made anew or taken out."""
        self._tree = tree
        self._space = tree.space
        self._values = values
        self._commands = commands
        self._history = HistoryNodes(tree)
        self._namespaces = namespaces
        self._changes = changes
        self._clock = clock
        self._look_again = look_again
        self._retired_limit = retired_limit
        self._retired: OrderedDict[str, None] = OrderedDict()
        self._built = 0

    def begin(self) -> None:
        """The folders and the base type. Once, before the first `apply`."""
        objects, types = self._tree.standard_node("ObjectsFolder"), self._tree.standard_node("BaseObjectType")
        self._tree.object(objects, ua.NodeId("Areas", OWN), "Areas", FOLDER, reference=sp.ORGANIZES)
        if self._namespaces.machinery is None:
            self._tree.object(objects, ua.NodeId("Machines", OWN), "Machines", FOLDER, reference=sp.ORGANIZES)
        self._type(types, ua.NodeId("MachineType", TYPES), "BridgeMachineType")
        self._commands.begin()
        self._changes.give_version(self._machines().nodeid)

    async def apply(self, change: PlantChange) -> None:
        """Follow the plant. The loop turns after every CHUNK tags."""
        self._tree.renew()
        with self._changes.told():
            await self._follow(change)
        self._tree.renew()
        await self._look_again()

    async def _follow(self, change: PlantChange) -> None:
        for machine in change.removed:
            self._retire(machine.tags)
            self._retire_commands(machine)
        for before, after in change.changed:
            here = {tag.id for tag in after.tags}
            self._retire(tag for tag in before.tags if tag.id not in here)
            self._retire_commands(before, after)
        for machine in (*change.added, *(one.after for one in change.changed)):
            await self._welcome(machine)
        self._prune()

    # --- machines ----------------------------------------------------------------------------------------------------

    async def _welcome(self, machine: Machine) -> None:
        kind = self._machine_type(machine)
        node = self._machine(machine, kind.nodeid)
        for tag in machine.tags:
            if not tag.definition.is_found:
                self._declare(kind, tag)
            self._tag(machine, node, tag)
            self._retired.pop(tag.id, None)
            self._built += 1
            if not self._built % CHUNK:
                await asyncio.sleep(0)
        if machine.identification:
            self._identify(machine, node)
        if self._namespaces.machinery is not None:
            for tag_name, (name, type_id) in STATE_MACHINES.items():
                self._state_machine(machine, node, machine.tag(tag_name), name, type_id)
        for command in machine.commands:
            for identifier in self._commands.build(machine.id, node, command):
                self._retired.pop(identifier, None)
            await asyncio.sleep(0)  # a command has 25 nodes

    def _machine(self, machine: Machine, type_id: ua.NodeId) -> NodeData:
        identifier = ua.NodeId(machine.id, OWN)
        attributes = sp.object_attributes(
            sp.names(ua.QualifiedName(machine.id, OWN), convert.localized(machine.label or machine.id)), has_events=True
        )
        node = self._space.get(identifier)
        if node is not None:
            self._space.dress(node, attributes)
            self._space.retype(node, type_id)
            self._place(machine, node, type_id)
            return node
        is_bridge = not machine.parts
        parent = self._tree.standard_node("ObjectsFolder") if is_bridge else self._machines()
        node = self._space.add(parent, identifier, attributes, type_id, reference=sp.ORGANIZES)
        self._place(machine, node, type_id)
        self._space.link(self._tree.standard_node("Server"), node, sp.HAS_NOTIFIER, type_id)
        self._changes.give_version(identifier)
        return node

    def _machines(self) -> NodeData:
        index = self._namespaces.machinery
        return self._tree.node(ua.NodeId("Machines", OWN) if index is None else ua.NodeId(MACHINES, index))

    def _place(self, machine: Machine, node: NodeData, type_id: ua.NodeId) -> None:
        """Put the machine into its area, and out of the one it was in."""
        if not machine.parts:
            return
        area = self._area(machine.place.levels)
        for reference in [one for one in node.references if _is_area(one)]:
            if reference.NodeId == area.nodeid:
                return
            before = self._tree.node(reference.NodeId)
            self._space.unlink(before, node, sp.ORGANIZES)
            if _may_go(before):
                self._take_out(before)
        self._space.link(area, node, sp.ORGANIZES, type_id)

    def _area(self, levels: Iterable[str]) -> NodeData:
        node, path = self._tree.node(ua.NodeId("Areas", OWN)), "Areas"
        for level in levels:
            path = f"{path}:{level}"
            node = self._tree.object(node, ua.NodeId(path, OWN), level, FOLDER, reference=sp.ORGANIZES)
        return node

    def _identify(self, machine: Machine, node: NodeData) -> None:
        """DI:Identification, a MachineIdentificationType where Machinery is shown."""
        di, machinery = self._namespaces.di, self._namespaces.machinery
        known: Mapping[str, tuple[ua.QualifiedName, ua.NodeId]] = {}
        type_id, browse_name = OBJECT, ua.QualifiedName("Identification", TYPES if di is None else di)
        if machinery is not None:
            type_id = ua.NodeId(IDENTIFICATION_TYPE, machinery)
            known = self._space.properties(type_id)
        identifier = ua.NodeId(f"{machine.id}.Identification", OWN)
        add_in = self._space.get(identifier) or self._space.add(
            node,
            identifier,
            sp.object_attributes(sp.names(browse_name, ua.LocalizedText("Identification"))),
            type_id,
            reference=sp.HAS_ADD_IN,
        )
        wanted = dict.fromkeys(MANDATORY if known else ()) | dict(machine.identification)
        for name, text in wanted.items():
            if machine.tag(f"Identification/{name}") is None:
                qualified, data_type = known.get(name, (ua.QualifiedName(name, TYPES), ua.NodeId(12)))
                self._tree.fixed_property(add_in, name, _identification(qualified, data_type, text))

    def _state_machine(self, machine: Machine, node: NodeData, tag: Tag | None, name: str, type_id: int) -> None:
        """A building block of Machinery, a state machine that only looks at a tag; none without the tag."""
        index = self._namespaces.machinery
        if tag is None or index is None or self._space.get(ua.NodeId(f"{machine.id}.{name}", OWN)):
            return
        enumeration = tag.definition.enumeration or {}
        blocks = self._tree.named(node, f"{machine.id}.MachineryBuildingBlocks", index, FOLDER)
        state = self._tree.named(
            blocks,
            f"{machine.id}.{name}",
            index,
            ua.NodeId(type_id, index),
            reference=sp.HAS_ADD_IN,
        )
        original = self._tree.value_of(tag)
        names = {number: text for text, number in enumeration.items()}
        state_ids = {number: self._state(ua.NodeId(type_id, index), text) for number, text in names.items()}
        current = self._tree.look(
            state,
            "CurrentState",
            ua.VariantType.LocalizedText,
            Mirror(original, lambda now: convert.mirrored(now, ua.VariantType.LocalizedText, texts(names))),
            variable=True,
        )
        self._tree.look(
            current,
            "Id",
            ua.VariantType.NodeId,
            Mirror(original, lambda now: convert.mirrored(now, ua.VariantType.NodeId, state_ids)),
        )
        self._tree.look(current, "Number", ua.VariantType.UInt32, Mirror(original, lambda now: convert.number(now)))

    def _state(self, type_id: ua.NodeId, name: str) -> ua.NodeId | None:
        found = self._space.child(type_id, name)
        return found.NodeId if found else None

    # --- tags --------------------------------------------------------------------------------------------------------

    def _tag(self, machine: Machine, node: NodeData, tag: Tag) -> None:
        parent = self._tree.folder(machine.id, node, tag.name.split("/")[:-1], OWN)
        self._values.bind(tag.slot, self._tree.variable(parent, tag))
        self._history.follow(tag)

    # --- types -------------------------------------------------------------------------------------------------------

    def _machine_type(self, machine: Machine) -> NodeData:
        words = re.findall(r"[A-Za-z0-9]+", machine.type_name)
        identifier = ua.NodeId(".".join(words) or "Machine", TYPES)
        name = "".join(word[:1].upper() + word[1:] for word in words) + "Type"
        return self._type(self._tree.node(ua.NodeId("MachineType", TYPES)), identifier, name)

    def _type(self, parent: NodeData, identifier: ua.NodeId, name: str) -> NodeData:
        node = self._space.get(identifier)
        if node is not None:
            return node
        named = sp.names(ua.QualifiedName(name, TYPES), ua.LocalizedText(name))
        return self._space.add(parent, identifier, sp.object_type_attributes(named), None, reference=sp.HAS_SUBTYPE)

    def _declare(self, kind: NodeData, tag: Tag) -> None:
        """The tag in the machine's type: optional, since a mapping may say so per machine."""
        prefix = str(kind.nodeid.Identifier)
        identifier = ua.NodeId(f"{prefix}.{tag.name.replace('/', '.')}", TYPES)
        if self._space.get(identifier) is None:
            parent = self._tree.folder(prefix, kind, tag.name.split("/")[:-1], TYPES)
            self._tree.declare(parent, identifier, tag.definition)

    # --- what goes ---------------------------------------------------------------------------------------------------

    def _retire(self, tags: Iterable[Tag]) -> None:
        gone = bad(StatusCode.BadOutOfService, GONE, self._clock.now())
        for tag in tags:
            self._values.release(tag.slot)
            self._tree.value_of(tag).set(gone)
            self._retired[tag.id] = None

    def _retire_commands(self, before: Machine, after: Machine | None = None) -> None:
        here = {command.name for command in after.commands} if after else set()
        gone = [command for command in before.commands if command.name not in here]
        for command in gone:
            self._retired.update(dict.fromkeys(self._commands.retire(before.id, command, GONE)))

    def _prune(self) -> None:
        """Take out the nodes of what went first, and folders that are empty then."""
        while len(self._retired) > self._retired_limit:
            identifier, _ = self._retired.popitem(last=False)
            self._commands.forget(identifier)
            self._take_out(self._tree.node(node_id(identifier)))
        self._space.forget_unread()

    def _take_out(self, node: NodeData) -> None:
        for parent in self._tree.take_out(node):
            if _may_go(parent):
                self._take_out(parent)


def _identification(browse_name: ua.QualifiedName, data_type: ua.NodeId, text: str | None) -> Attributes:
    attributes = property_attributes(browse_name, data_type, None, ua.VariantType.Null)
    attributes[ua.AttributeIds.Value] = sp.held(convert.from_text(text, data_type))
    return attributes


def _is_area(reference: ua.ReferenceDescription) -> bool:
    identifier = reference.NodeId.Identifier
    return not reference.IsForward and isinstance(identifier, str) and identifier.startswith("Areas")


def _may_go(node: NodeData) -> bool:
    """A machine, one of its folders or an area, that is empty."""
    is_ours = node.nodeid.NamespaceIndex == OWN and node.nodeid.Identifier not in RESERVED
    return is_ours and not any(_has_content(one) for one in node.references)


def _has_content(reference: ua.ReferenceDescription) -> bool:
    """A child that keeps its parent alive: anything of ours but properties and what only mirrors a tag."""
    name = reference.BrowseName.Name
    return (
        reference.IsForward
        and reference.NodeId.NamespaceIndex == OWN
        and reference.ReferenceTypeId in (sp.HAS_COMPONENT, sp.ORGANIZES)
        and name != "MachineryBuildingBlocks"
    )


__all__ = ["OWN", "TYPES", "Namespaces", "Nodes", "faults", "node_id", "shape"]
