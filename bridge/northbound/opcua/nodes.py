"""The address space: machines as objects, tags as variables.

    Objects
     |- Machines (Machinery)     every machine, as OPC 40001-1 wants it
     |   '- <machine>            DI:Identification · MachineryBuildingBlocks/MachineryItemState · Monitoring · …
     |- Areas                    the same machines by place: enterprise / site / area / line
     '- Bridge                   the bridge itself, shaped as a machine

Rules:
1. The NodeId of a tag is its id, `ns=2;s=<machine>.<Group>.<Tag>`, for ever; folders and properties are ids in between.
2. What vanishes keeps its nodes, BadOutOfService, until `retired_limit` of them are kept; what returns finds them.
3. What tags of one definition share (names, unit, range, type) is made once per build and shared.
Source: OPC UA Part 3 and 8; OPC 40001-1 (Machinery 1.03); OPC 10000-100 (DI 1.04).
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncua import ua

from bridge.model.path import SEGMENT
from bridge.model.plant import ITEM_STATE
from bridge.model.status import StatusCode
from bridge.model.value import bad
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.stack import space as sp
from bridge.northbound.opcua.stack.values import Mirror, PlainValue, TagValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from asyncua.server.address_space import NodeData

    from bridge.model.plant import Machine, Plant, PlantChange
    from bridge.model.tag import Tag, TagDefinition
    from bridge.northbound.opcua.stack.space import Attributes, Space
    from bridge.northbound.opcua.stack.values import TagValues
    from bridge.ports import Clock

OWN, TYPES = 2, 3
"""Namespace indices that never change: our instances, our types."""
MAX_ID = 120
"""Characters of a NodeId: PLC strings hold 254 bytes, some clients' fields far fewer."""
CHUNK = 250
"""Tags built before the loop may turn."""
GONE = "The machine or tag is no longer configured or present"

MACHINES, IDENTIFICATION_TYPE, ITEM_STATE_TYPE = 1001, 1012, 1002
"""Numeric ids in http://opcfoundation.org/UA/Machinery/."""
MANDATORY = ("Manufacturer", "SerialNumber", "ProductInstanceUri")

_Q, _T = ua.VariantType.QualifiedName, ua.VariantType.LocalizedText


def _standard(name: str) -> ua.NodeId:
    return ua.NodeId(getattr(ua.ObjectIds, name))


OBJECT, FOLDER, PROPERTY = _standard("BaseObjectType"), _standard("FolderType"), _standard("PropertyType")
VARIABLE = _standard("BaseDataVariableType")


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Where the companion specifications are; None where they are not shown."""

    di: int | None = None
    machinery: int | None = None


@dataclass(frozen=True, slots=True)
class Property:
    """A property shared by every tag of one definition."""

    name: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Shape:
    """What every tag of one definition looks like."""

    attributes: Attributes
    type_id: ua.NodeId
    properties: tuple[Property, ...]


def node_id(tag_id: str) -> ua.NodeId:
    """The NodeId of a tag."""
    return ua.NodeId(tag_id, OWN)


def shape(definition: TagDefinition, *, writable: bool, fastest_ms: float) -> Shape:
    """The type, names and properties of a variable (Part 8, 5.3)."""
    unit, limits, enumeration = definition.unit, definition.eu_range, definition.enumeration
    properties = []
    type_name = "BaseDataVariableType"
    if definition.data_type.is_numeric and enumeration is None:
        if limits is not None:
            type_name = "AnalogUnitRangeType" if unit else "AnalogItemType"
            properties.append(_property("EURange", convert.eu_range(limits), "Range"))
        elif unit is not None:
            type_name = "AnalogUnitType"
        if unit is not None:
            properties.append(_property("EngineeringUnits", convert.eu_information(unit), "EUInformation"))
    elif enumeration is not None and convert.is_dense(enumeration):
        type_name = "MultiStateDiscreteType"
        properties.append(_property("EnumStrings", convert.enum_strings(enumeration), "LocalizedText"))
    elif enumeration is not None:
        type_name = "MultiStateValueDiscreteType"
        properties.append(_property("EnumValues", convert.enum_values(enumeration), "EnumValueType"))
    named = sp.names(
        ua.QualifiedName(definition.name.rpartition("/")[2], TYPES),
        convert.localized(definition.display_name),
        convert.text(definition.description),
    )
    attributes = sp.variable_attributes(
        named, convert.data_type_id(definition.data_type), writable=writable, fastest_ms=fastest_ms
    )
    return Shape(attributes, _standard(type_name), tuple(properties))


def _property(name: str, value: object, data_type: str) -> Property:
    kind = _T if data_type == "LocalizedText" else ua.VariantType.ExtensionObject
    return Property(name, _property_attributes(ua.QualifiedName(name, 0), _standard(data_type), value, kind))


def _property_attributes(
    browse_name: ua.QualifiedName, data_type: ua.NodeId, value: object, kind: ua.VariantType
) -> Attributes:
    named = sp.names(browse_name, ua.LocalizedText(browse_name.Name))
    attributes = sp.variable_attributes(named, data_type, is_array=isinstance(value, list))
    attributes[ua.AttributeIds.Value] = sp.constant(value, kind)
    return attributes


def faults(plant: Plant) -> list[str]:
    """What of this plant cannot be shown: ids too long, and tags that are folders of other tags."""
    found = []
    for machine in plant.everything():
        for tag in machine.tags:
            if len(tag.id) > MAX_ID:
                found.append(f"{tag.id}: a NodeId may have {MAX_ID} characters, this has {len(tag.id)}")
            if not all(SEGMENT.match(level) for level in tag.name.split("/")):
                found.append(f"{tag.id}: a level of the name has characters a NodeId must not have")
            parents = (tag.name[: match.start()] for match in re.finditer("/", tag.name))
            found.extend(
                f"{tag.id}: {parent} is itself a tag and cannot be a folder"
                for parent in parents
                if machine.tag(parent)
            )
    return found


@dataclass(slots=True)
class _Shared:
    """What one build makes once."""

    shapes: dict[int, tuple[TagDefinition, Shape]] = field(default_factory=dict)
    """By identity of the definition; the definition is kept so that its identity stays its own."""
    levels: dict[str, Attributes] = field(default_factory=dict)


class Nodes:
    """Builds and changes the address space as the plant changes."""

    def __init__(
        self,
        space: Space,
        values: TagValues,
        namespaces: Namespaces,
        clock: Clock,
        *,
        fastest_ms: float = 50.0,
        retired_limit: int = 20_000,
        is_writable: Callable[[Tag], bool] = lambda _: False,
    ) -> None:
        self._space = space
        self._values = values
        self._namespaces = namespaces
        self._clock = clock
        self._fastest_ms = fastest_ms
        self._retired_limit = retired_limit
        self._is_writable = is_writable
        self._retired: OrderedDict[str, None] = OrderedDict()
        self._shared = _Shared()
        self._built = 0

    @property
    def retired(self) -> int:
        """Tags that are kept although they are gone."""
        return len(self._retired)

    def begin(self) -> None:
        """The folders and the base type. Once, before the first `apply`."""
        objects, types = self._standard_node("ObjectsFolder"), self._standard_node("BaseObjectType")
        self._object(objects, ua.NodeId("Areas", OWN), "Areas", FOLDER, reference=sp.ORGANIZES)
        if self._namespaces.machinery is None:
            self._object(objects, ua.NodeId("Machines", OWN), "Machines", FOLDER, reference=sp.ORGANIZES)
        self._type(types, ua.NodeId("MachineType", TYPES), "BridgeMachineType")

    async def apply(self, change: PlantChange) -> None:
        """Follow the plant. The loop turns after every CHUNK tags."""
        self._shared = _Shared()
        for machine in change.removed:
            self._retire(machine.tags)
        for before, after in change.changed:
            here = {tag.id for tag in after.tags}
            self._retire(tag for tag in before.tags if tag.id not in here)
        for machine in (*change.added, *(one.after for one in change.changed)):
            await self._welcome(machine)
        self._prune()
        self._shared = _Shared()

    # --- machines ----------------------------------------------------------------------------------------------------

    async def _welcome(self, machine: Machine) -> None:
        kind = self._machine_type(machine)
        node = self._machine(machine, kind.nodeid)
        for tag in machine.tags:
            self._declare(kind, tag)
            self._tag(machine, node, tag)
            self._retired.pop(tag.id, None)
            self._built += 1
            if not self._built % CHUNK:
                await asyncio.sleep(0)
        if machine.identification:
            self._identify(machine, node)
        if machine.tag(ITEM_STATE) is not None and self._namespaces.machinery is not None:
            self._item_state(machine, node)

    def _machine(self, machine: Machine, type_id: ua.NodeId) -> NodeData:
        identifier = ua.NodeId(machine.id, OWN)
        attributes = sp.object_attributes(
            sp.names(ua.QualifiedName(machine.id, OWN), convert.localized(machine.label or machine.id))
        )
        node = self._space.get(identifier)
        if node is not None:
            self._space.dress(node, attributes)
            self._place(machine, node, type_id)
            return node
        is_bridge = not machine.parts
        parent = self._standard_node("ObjectsFolder") if is_bridge else self._machines()
        node = self._space.add(parent, identifier, attributes, type_id, reference=sp.ORGANIZES)
        self._place(machine, node, type_id)
        return node

    def _machines(self) -> NodeData:
        index = self._namespaces.machinery
        return self._node(ua.NodeId("Machines", OWN) if index is None else ua.NodeId(MACHINES, index))

    def _place(self, machine: Machine, node: NodeData, type_id: ua.NodeId) -> None:
        """Put the machine into its area, and out of the one it was in."""
        if not machine.parts:
            return
        area = self._area(machine.place.levels)
        for reference in [one for one in node.references if _is_area(one)]:
            if reference.NodeId == area.nodeid:
                return
            node.references.remove(reference)
            before = self._node(reference.NodeId)
            before.references = [one for one in before.references if one.NodeId != node.nodeid]
        self._space.link(area, node, sp.ORGANIZES, type_id)

    def _area(self, levels: Iterable[str]) -> NodeData:
        node, path = self._node(ua.NodeId("Areas", OWN)), "Areas"
        for level in levels:
            path = f"{path}:{level}"
            node = self._object(node, ua.NodeId(path, OWN), level, FOLDER, reference=sp.ORGANIZES)
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
                self._fixed_property(add_in, name, _identification(qualified, data_type, text))

    def _fixed_property(self, parent: NodeData, name: str, attributes: Attributes) -> None:
        identifier = ua.NodeId(f"{parent.nodeid.Identifier}.{name}", OWN)
        node = self._space.get(identifier)
        if node is None:
            self._space.add(parent, identifier, attributes, PROPERTY, reference=sp.HAS_PROPERTY)
        else:
            self._space.dress(node, attributes)

    def _item_state(self, machine: Machine, node: NodeData) -> None:
        """MachineryItemState, a state machine that only looks at the tag Status/ItemState."""
        index = self._namespaces.machinery
        tag = machine.tag(ITEM_STATE)
        if tag is None or index is None or self._space.get(ua.NodeId(f"{machine.id}.MachineryItemState", OWN)):
            return
        enumeration = tag.definition.enumeration or {}
        blocks = self._named(node, f"{machine.id}.MachineryBuildingBlocks", index, FOLDER)
        state = self._named(
            blocks,
            f"{machine.id}.MachineryItemState",
            index,
            ua.NodeId(ITEM_STATE_TYPE, index),
            reference=sp.HAS_ADD_IN,
        )
        original = self._value_of(tag)
        names = {number: name for name, number in enumeration.items()}
        state_ids = {number: self._state(index, name) for number, name in names.items()}
        current = self._look(
            state,
            "CurrentState",
            _T,
            Mirror(original, lambda now: convert.mirrored(now, _T, _texts(names))),
            variable=True,
        )
        self._look(
            current,
            "Id",
            ua.VariantType.NodeId,
            Mirror(original, lambda now: convert.mirrored(now, ua.VariantType.NodeId, state_ids)),
        )
        self._look(current, "Number", ua.VariantType.UInt32, Mirror(original, lambda now: convert.number(now)))

    def _state(self, index: int, name: str) -> ua.NodeId | None:
        found = self._space.child(ua.NodeId(ITEM_STATE_TYPE, index), name)
        return found.NodeId if found else None

    def _look(
        self, parent: NodeData, name: str, kind: ua.VariantType, value: TagValue, *, variable: bool = False
    ) -> NodeData:
        attributes = sp.variable_attributes(
            sp.names(ua.QualifiedName(name, 0), ua.LocalizedText(name)), ua.NodeId(kind.value)
        )
        return self._space.add(
            parent,
            ua.NodeId(f"{parent.nodeid.Identifier}.{name}", OWN),
            attributes,
            _standard("FiniteStateVariableType") if variable else PROPERTY,
            reference=sp.HAS_COMPONENT if variable else sp.HAS_PROPERTY,
            value=value,
        )

    # --- tags --------------------------------------------------------------------------------------------------------

    def _tag(self, machine: Machine, node: NodeData, tag: Tag) -> None:
        looks, identifier = self._shape(tag), node_id(tag.id)
        variable = self._space.get(identifier)
        if variable is None:
            value: TagValue = PlainValue(
                bad(StatusCode.BadWaitingForInitialData, "", self._clock.now()), tag.definition.data_type
            )
            parent = self._folder(machine.id, node, tag.name.split("/")[:-1], OWN)
            variable = self._space.add(parent, identifier, looks.attributes, looks.type_id, value=value)
        else:
            value = self._value_of(tag)
            self._space.dress(variable, looks.attributes, value)
        self._values.bind(tag.slot, value)
        self._properties(variable, tag, looks, value)

    def _properties(self, variable: NodeData, tag: Tag, looks: Shape, value: TagValue) -> None:
        for one in looks.properties:
            self._fixed_property(variable, one.name, one.attributes)
        enumeration = tag.definition.enumeration
        if looks.type_id == _standard("MultiStateValueDiscreteType") and enumeration is not None:
            identifier = ua.NodeId(f"{tag.id}.ValueAsText", OWN)
            if self._space.get(identifier) is None:
                words = _texts({number: name for name, number in enumeration.items()})
                self._look(variable, "ValueAsText", _T, Mirror(value, lambda now: convert.mirrored(now, _T, words)))

    def _value_of(self, tag: Tag) -> TagValue:
        value = self._node(node_id(tag.id)).attributes[ua.AttributeIds.Value]
        if not isinstance(value, TagValue):
            raise TypeError(f"{tag.id} is not a tag's node")
        return value

    def _shape(self, tag: Tag) -> Shape:
        known = self._shared.shapes.get(id(tag.definition))
        if known is None:
            made = shape(tag.definition, writable=self._is_writable(tag), fastest_ms=self._fastest_ms)
            known = self._shared.shapes[id(tag.definition)] = (tag.definition, made)
        return known[1]

    def _folder(self, prefix: str, node: NodeData, levels: list[str], index: int) -> NodeData:
        """The object of a group, or the folder of a level below it."""
        path = prefix
        for depth, level in enumerate(levels):
            path = f"{path}.{level}"
            identifier = ua.NodeId(path, index)
            below = self._space.get(identifier)
            if below is None:
                below = self._space.add(
                    node,
                    identifier,
                    self._level(level),
                    FOLDER if depth else OBJECT,
                    is_declaration=index == TYPES,
                )
            node = below
        return node

    def _level(self, name: str) -> Attributes:
        attributes = self._shared.levels.get(name)
        if attributes is None:
            named = sp.names(ua.QualifiedName(name, TYPES), convert.localized(name))
            attributes = self._shared.levels[name] = sp.object_attributes(named)
        return attributes

    # --- types -------------------------------------------------------------------------------------------------------

    def _machine_type(self, machine: Machine) -> NodeData:
        words = re.findall(r"[A-Za-z0-9]+", machine.type_name)
        identifier = ua.NodeId(".".join(words) or "Machine", TYPES)
        name = "".join(word[:1].upper() + word[1:] for word in words) + "Type"
        return self._type(self._node(ua.NodeId("MachineType", TYPES)), identifier, name)

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
            looks = self._shape(tag)
            parent = self._folder(prefix, kind, tag.name.split("/")[:-1], TYPES)
            self._space.add(parent, identifier, looks.attributes, looks.type_id, value=_NOTHING, is_declaration=True)

    # --- what goes ---------------------------------------------------------------------------------------------------

    def _retire(self, tags: Iterable[Tag]) -> None:
        gone = bad(StatusCode.BadOutOfService, GONE, self._clock.now())
        for tag in tags:
            self._values.release(tag.slot)
            self._value_of(tag).set(gone)
            self._retired[tag.id] = None

    def _prune(self) -> None:
        """Take out the nodes of the tags that went first, and folders that are empty then."""
        while len(self._retired) > self._retired_limit:
            tag_id, _ = self._retired.popitem(last=False)
            self._take_out(self._node(node_id(tag_id)))

    def _take_out(self, node: NodeData) -> None:
        parents = [self._node(one.NodeId) for one in node.references if not one.IsForward]
        self._space.remove(list(self._subtree(node)), parents)
        for parent in parents:
            if _is_ours(parent) and not any(_has_content(one) for one in parent.references):
                self._take_out(parent)

    def _subtree(self, node: NodeData) -> Iterator[ua.NodeId]:
        yield node.nodeid
        for reference in node.references:
            if reference.IsForward and reference.NodeId.NamespaceIndex == OWN:
                yield from self._subtree(self._node(reference.NodeId))

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _node(self, identifier: ua.NodeId) -> NodeData:
        node = self._space.get(identifier)
        if node is None:
            raise KeyError(str(identifier))
        return node

    def _standard_node(self, name: str) -> NodeData:
        return self._node(_standard(name))

    def _object(
        self, parent: NodeData, identifier: ua.NodeId, name: str, type_id: ua.NodeId, *, reference: ua.NodeId
    ) -> NodeData:
        node = self._space.get(identifier)
        if node is not None:
            return node
        return self._space.add(parent, identifier, self._level(name), type_id, reference=reference)

    def _named(
        self,
        parent: NodeData,
        identifier: str,
        index: int,
        type_id: ua.NodeId,
        *,
        reference: ua.NodeId = sp.HAS_COMPONENT,
    ) -> NodeData:
        """An object whose BrowseName belongs to a companion specification."""
        known = self._space.get(ua.NodeId(identifier, OWN))
        if known is not None:
            return known
        name = identifier.rpartition(".")[2]
        named = sp.names(ua.QualifiedName(name, index), ua.LocalizedText(name))
        return self._space.add(
            parent, ua.NodeId(identifier, OWN), sp.object_attributes(named), type_id, reference=reference
        )


_NOTHING = sp.constant(None, ua.VariantType.Null)


def _texts(names: Mapping[int, str]) -> dict[int, ua.LocalizedText]:
    return {number: convert.localized(name) for number, name in names.items()}


def _identification(browse_name: ua.QualifiedName, data_type: ua.NodeId, text: str | None) -> Attributes:
    attributes = _property_attributes(browse_name, data_type, None, ua.VariantType.Null)
    attributes[ua.AttributeIds.Value] = sp.held(convert.from_text(text, data_type))
    return attributes


def _is_area(reference: ua.ReferenceDescription) -> bool:
    identifier = reference.NodeId.Identifier
    return not reference.IsForward and isinstance(identifier, str) and identifier.startswith("Areas")


def _is_ours(node: NodeData) -> bool:
    """A machine or one of its folders: what may go when it is empty."""
    identifier = node.nodeid.Identifier
    return node.nodeid.NamespaceIndex == OWN and isinstance(identifier, str) and not identifier.startswith("Areas")


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
