"""Single nodes: folders, objects, variables, properties, and what they share.

What tags of one definition share (names, unit, range, type) is made once per build and shared.
Source: OPC UA Part 3 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncua import ua

from bridge.model.status import StatusCode
from bridge.model.value import bad
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.stack import space as sp
from bridge.northbound.opcua.stack.values import Mirror, PlainValue, TagValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asyncua.server.address_space import NodeData

    from bridge.model.tag import Tag, TagDefinition
    from bridge.model.value import DataValue
    from bridge.northbound.opcua.stack.space import Attributes, Space
    from bridge.ports import Clock

OWN, TYPES = 2, 3
"""Namespace indices that never change: our instances, our types."""

_T = ua.VariantType.LocalizedText
OPTIONAL = frozenset({"EURange", "EngineeringUnits", "EnumStrings", "EnumValues"})
"""Properties a variable has by its mapping: what its values mean."""


def standard(name: str) -> ua.NodeId:
    """The NodeId of a node of namespace 0."""
    return ua.NodeId(getattr(ua.ObjectIds, name))


_NOTHING = sp.constant(None, ua.VariantType.Null)
OBJECT, FOLDER, PROPERTY = standard("BaseObjectType"), standard("FolderType"), standard("PropertyType")
_SPARSE_ENUMERATION = standard("MultiStateValueDiscreteType")


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
        named,
        convert.data_type_id(definition.data_type),
        writable=writable,
        history=definition.history,
        fastest_ms=fastest_ms,
    )
    return Shape(attributes, standard(type_name), tuple(properties))


def _property(name: str, value: object, data_type: str) -> Property:
    kind = _T if data_type == "LocalizedText" else ua.VariantType.ExtensionObject
    attributes = property_attributes(ua.QualifiedName(name, 0), standard(data_type), value, kind)
    return Property(name, attributes | {ua.AttributeIds.AccessLevel: sp.MAY_CHANGE})


def property_attributes(
    browse_name: ua.QualifiedName, data_type: ua.NodeId, value: object, kind: ua.VariantType
) -> Attributes:
    """A property that has this value for ever."""
    named = sp.names(browse_name, ua.LocalizedText(browse_name.Name))
    attributes = sp.variable_attributes(named, data_type, is_array=isinstance(value, list))
    attributes[ua.AttributeIds.Value] = sp.constant(value, kind)
    return attributes


@dataclass(slots=True)
class _Shared:
    """What one build makes once."""

    waiting: DataValue
    """What a tag has before its first value."""
    shapes: dict[int, tuple[TagDefinition, Shape]] = field(default_factory=dict)
    """By identity of the definition; the definition is kept so that its identity stays its own."""
    levels: dict[str, Attributes] = field(default_factory=dict)
    folders: dict[tuple[int, str], NodeData] = field(default_factory=dict)
    """By namespace index and identifier: most tags are in the folder of the one before."""


class Tree:
    """Makes nodes; what is there already is found."""

    def __init__(self, space: Space, clock: Clock, fastest_ms: float) -> None:
        self.space = space
        self._clock = clock
        self._fastest_ms = fastest_ms
        self.renew()

    def renew(self) -> None:
        """A build begins or ends: share nothing with the one before."""
        self._shared = _Shared(bad(StatusCode.BadWaitingForInitialData, "", self._clock.now()))

    # --- variables ---------------------------------------------------------------------------------------------------

    def variable(self, parent: NodeData, tag: Tag) -> TagValue:
        """The variable of a tag below `parent`, and where its values go."""
        looks, identifier = self.shape(tag.definition), node_id(tag.id)
        variable = self._same_variable(identifier, tag)
        if variable is None:
            value: TagValue = PlainValue(self._shared.waiting, tag.definition.data_type)
            variable = self.space.add(parent, identifier, looks.attributes, looks.type_id, value=value)
        else:
            value = self.value_of(tag)
            self.space.dress(variable, looks.attributes, value)
            self.space.retype(variable, looks.type_id)
            self._withdraw(variable, {one.name for one in looks.properties})
        self._properties(variable, tag, looks, value)
        return value

    def _same_variable(self, identifier: ua.NodeId, tag: Tag) -> NodeData | None:
        """The node, where its values are of the tag's type.

        One that a reload took away and a later one brings back with another type is another variable.
        """
        variable = self.space.get(identifier)
        value = None if variable is None else self.value_of(tag)
        if variable is not None and isinstance(value, PlainValue) and value.data_type is not tag.definition.data_type:
            self.take_out(variable)
            return None
        return variable

    def _withdraw(self, variable: NodeData, wanted: set[str]) -> None:
        """Properties that its mapping does not give it any more."""
        for name in OPTIONAL - wanted:
            node = self.space.get(ua.NodeId(f"{variable.nodeid.Identifier}.{name}", OWN))
            if node is not None:
                self.take_out(node)

    def _properties(self, variable: NodeData, tag: Tag, looks: Shape, value: TagValue) -> None:
        for one in looks.properties:
            self.fixed_property(variable, one.name, one.attributes)
        if looks.type_id == _SPARSE_ENUMERATION:
            self._value_as_text(variable, tag, value)

    def _value_as_text(self, variable: NodeData, tag: Tag, value: TagValue) -> None:
        words = texts({number: name for name, number in (tag.definition.enumeration or {}).items()})
        text = Mirror(value, lambda now: convert.mirrored(now, _T, words))
        node = self.space.get(ua.NodeId(f"{tag.id}.ValueAsText", OWN))
        if node is None:
            self.look(variable, "ValueAsText", _T, text)
        else:
            before = self.space.replace(node, text)
            if isinstance(before, Mirror):
                value.unwatch(before)

    def declare(self, parent: NodeData, identifier: ua.NodeId, definition: TagDefinition) -> None:
        """A variable of a type, with the properties its own type makes mandatory: importers look for them."""
        looks = self.shape(definition)
        node = self.space.add(parent, identifier, looks.attributes, looks.type_id, value=_NOTHING, is_declaration=True)
        properties = [(one.name, one.attributes) for one in looks.properties]
        if looks.type_id == _SPARSE_ENUMERATION:
            text = property_attributes(
                ua.QualifiedName("ValueAsText", 0), ua.NodeId(_T.value), None, ua.VariantType.Null
            )
            properties.append(("ValueAsText", text))
        for name, attributes in properties:
            property_id = ua.NodeId(f"{identifier.Identifier}.{name}", TYPES)
            self.space.add(
                node,
                property_id,
                attributes,
                PROPERTY,
                reference=sp.HAS_PROPERTY,
                is_declaration=True,
                is_mandatory=True,
            )

    def value_of(self, tag: Tag) -> TagValue:
        """Where the values of a tag that has a variable go."""
        value = self.node(node_id(tag.id)).attributes[ua.AttributeIds.Value]
        if not isinstance(value, TagValue):
            raise TypeError(f"{tag.id} is not a tag's node")
        return value

    def shape(self, definition: TagDefinition) -> Shape:
        """What variables of this definition look like."""
        known = self._shared.shapes.get(id(definition))
        if known is None:
            made = shape(definition, writable=definition.writable, fastest_ms=self._fastest_ms)
            known = self._shared.shapes[id(definition)] = (definition, made)
        return known[1]

    def fixed_property(self, parent: NodeData, name: str, attributes: Attributes) -> None:
        """A property of `parent` with the id "<parent>.<name>"."""
        identifier = ua.NodeId(f"{parent.nodeid.Identifier}.{name}", OWN)
        node = self.space.get(identifier)
        if node is None:
            self.space.add(parent, identifier, attributes, PROPERTY, reference=sp.HAS_PROPERTY)
        elif name in OPTIONAL:
            self.space.restate(parent, node, attributes)
        else:
            self.space.dress(node, attributes)

    def look(
        self,
        parent: NodeData,
        name: str,
        kind: ua.VariantType,
        value: TagValue,
        *,
        variable: bool = False,
        identifier: ua.NodeId | None = None,
    ) -> NodeData:
        """A property, or a variable, that shows `value` in its own way; by default its id is "<parent>.<name>"."""
        attributes = sp.variable_attributes(
            sp.names(ua.QualifiedName(name, 0), ua.LocalizedText(name)), ua.NodeId(kind.value)
        )
        return self.space.add(
            parent,
            identifier or ua.NodeId(f"{parent.nodeid.Identifier}.{name}", OWN),
            attributes,
            standard("FiniteStateVariableType") if variable else PROPERTY,
            reference=sp.HAS_COMPONENT if variable else sp.HAS_PROPERTY,
            value=value,
        )

    # --- objects -----------------------------------------------------------------------------------------------------

    def folder(self, prefix: str, node: NodeData, levels: list[str], index: int) -> NodeData:
        """The object of a group, or the folder of a level below it."""
        path = prefix
        for depth, level in enumerate(levels):
            path = f"{path}.{level}"
            below = self._shared.folders.get((index, path))
            if below is None:
                kind = FOLDER if depth else OBJECT
                below = self._shared.folders[index, path] = self._folder(ua.NodeId(path, index), node, level, kind)
            node = below
        return node

    def _folder(self, identifier: ua.NodeId, parent: NodeData, name: str, type_id: ua.NodeId) -> NodeData:
        is_declaration = identifier.NamespaceIndex == TYPES
        return self.space.get(identifier) or self.space.add(
            parent, identifier, self.level(name), type_id, is_declaration=is_declaration
        )

    def level(self, name: str) -> Attributes:
        """What every object called so looks like."""
        attributes = self._shared.levels.get(name)
        if attributes is None:
            named = sp.names(ua.QualifiedName(name, TYPES), convert.localized(name))
            attributes = self._shared.levels[name] = sp.object_attributes(named)
        return attributes

    def node(self, identifier: ua.NodeId) -> NodeData:
        """The node. Raises KeyError."""
        node = self.space.get(identifier)
        if node is None:
            raise KeyError(str(identifier))
        return node

    def take_out(self, node: NodeData) -> list[NodeData]:
        """Remove a node with everything of ours below it; the parents it had."""
        self._shared.folders.clear()
        parents = [self.node(one.NodeId) for one in node.references if not one.IsForward]
        self.space.remove(list(self._subtree(node)), parents, self._clock.now())
        return parents

    def _subtree(self, node: NodeData) -> Iterator[ua.NodeId]:
        yield node.nodeid
        for reference in node.references:
            is_below = reference.IsForward and reference.ReferenceTypeId != sp.HAS_HISTORY
            if is_below and reference.NodeId.NamespaceIndex == OWN:
                yield from self._subtree(self.node(reference.NodeId))

    def standard_node(self, name: str) -> NodeData:
        """A node of namespace 0."""
        return self.node(standard(name))

    def object(
        self, parent: NodeData, identifier: ua.NodeId, name: str, type_id: ua.NodeId, *, reference: ua.NodeId
    ) -> NodeData:
        """An object called `name`."""
        node = self.space.get(identifier)
        if node is not None:
            return node
        return self.space.add(parent, identifier, self.level(name), type_id, reference=reference)

    def named(
        self,
        parent: NodeData,
        identifier: str,
        index: int,
        type_id: ua.NodeId,
        *,
        reference: ua.NodeId = sp.HAS_COMPONENT,
    ) -> NodeData:
        """An object whose BrowseName belongs to a companion specification."""
        known = self.space.get(ua.NodeId(identifier, OWN))
        if known is not None:
            return known
        name = identifier.rpartition(".")[2]
        named = sp.names(ua.QualifiedName(name, index), ua.LocalizedText(name))
        return self.space.add(
            parent, ua.NodeId(identifier, OWN), sp.object_attributes(named), type_id, reference=reference
        )


def texts(names: Mapping[int, str]) -> dict[int, ua.LocalizedText]:
    """The names as OPC UA sends them."""
    return {number: convert.localized(name) for number, name in names.items()}
