"""Nodes written straight into asyncua's address space.

`add_variable` costs 2 ms a node in a large folder because it checks what we know already; here a node is a dict of
attributes, most of them shared between thousands of nodes, and two references. Nothing here checks for duplicates:
`bridge.northbound.opcua.nodes` asks `get` first.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncua import ua
from asyncua.server.address_space import NodeData

from bridge.model.status import StatusCode
from bridge.model.value import bad
from bridge.northbound.opcua.stack import wire
from bridge.northbound.opcua.stack.attributes import NodeAttributes
from bridge.northbound.opcua.stack.event_filter import Answer, compile_filter, supertypes
from bridge.northbound.opcua.stack.standard import LeanValue
from bridge.northbound.opcua.stack.values import TagValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from asyncua.server.address_space import AddressSpace

    from bridge.model.value import DataValue

A = ua.AttributeIds
Attributes = dict[ua.AttributeIds, LeanValue | TagValue]

HAS_COMPONENT = ua.NodeId(ua.ObjectIds.HasComponent)
HAS_PROPERTY = ua.NodeId(ua.ObjectIds.HasProperty)
ORGANIZES = ua.NodeId(ua.ObjectIds.Organizes)
HAS_ADD_IN = ua.NodeId(ua.ObjectIds.HasAddIn)
HAS_NOTIFIER = ua.NodeId(ua.ObjectIds.HasNotifier)
HAS_HISTORY = ua.NodeId(ua.ObjectIds.HasHistoricalConfiguration)
HAS_SUBTYPE = ua.NodeId(ua.ObjectIds.HasSubtype)
_HAS_TYPE = ua.NodeId(ua.ObjectIds.HasTypeDefinition)
_HAS_RULE = ua.NodeId(ua.ObjectIds.HasModellingRule)
_NO_TYPE = ua.NodeId()
_OPTIONAL = ua.NodeId(ua.ObjectIds.ModellingRule_Optional)
_MANDATORY = ua.NodeId(ua.ObjectIds.ModellingRule_Mandatory)


def constant(value: Any, variant_type: ua.VariantType) -> LeanValue:
    """An attribute that never changes and may be shared by many nodes."""
    return LeanValue(ua.DataValue(ua.Variant(value, variant_type)))


def held(value: ua.DataValue) -> LeanValue:
    """An attribute with this DataValue."""
    return LeanValue(value)


_NO_MASK = constant(0, ua.VariantType.UInt32)
_LEVELS = {
    (writable, history): constant(
        ua.AccessLevel.CurrentRead.mask
        | (ua.AccessLevel.CurrentWrite.mask if writable else 0)
        | (ua.AccessLevel.HistoryRead.mask if history else 0),
        ua.VariantType.Byte,
    )
    for writable in (False, True)
    for history in (False, True)
}
MAY_CHANGE = constant(ua.AccessLevel.CurrentRead.mask | ua.AccessLevel.SemanticChange.mask, ua.VariantType.Byte)
"""AccessLevel of a property whose change is told by SemanticChangeEvents (Part 3, 8.57)."""
_SCALAR = constant(-1, ua.VariantType.Int32)
_ARRAY = constant(1, ua.VariantType.Int32)
_FALSE = constant(False, ua.VariantType.Boolean)
_TRUE = constant(True, ua.VariantType.Boolean)
_EVERY_CHANGE = constant(0.0, ua.VariantType.Double)
_NO_EVENTS = constant(0, ua.VariantType.Byte)
_EVENTS = constant(ua.EventNotifier.SubscribeToEvents.mask | ua.EventNotifier.HistoryRead.mask, ua.VariantType.Byte)
_CLASS = {one: constant(one, ua.VariantType.Int32) for one in ua.NodeClass}
_NO_TEXT = constant(ua.LocalizedText(), ua.VariantType.LocalizedText)


def names(browse_name: ua.QualifiedName, display_name: ua.LocalizedText, description: str = "") -> Attributes:
    """BrowseName, DisplayName and Description: to be made once for nodes that share them."""
    return {
        A.BrowseName: constant(browse_name, ua.VariantType.QualifiedName),
        A.DisplayName: constant(display_name, ua.VariantType.LocalizedText),
        A.Description: constant(ua.LocalizedText(description, display_name.Locale), ua.VariantType.LocalizedText)
        if description
        else _NO_TEXT,
        A.WriteMask: _NO_MASK,
        A.UserWriteMask: _NO_MASK,
    }


def object_attributes(named: Attributes, *, has_events: bool = False) -> Attributes:
    """Attributes of an object; one that has events can be subscribed to, and asked for earlier ones."""
    notifier = _EVENTS if has_events else _NO_EVENTS
    return {**named, A.NodeClass: _CLASS[ua.NodeClass.Object], A.EventNotifier: notifier}


def object_type_attributes(named: Attributes) -> Attributes:
    """Attributes of an object type."""
    return {**named, A.NodeClass: _CLASS[ua.NodeClass.ObjectType], A.IsAbstract: _FALSE}


def method_attributes(named: Attributes, *, executable: bool = True) -> Attributes:
    """Attributes of a method."""
    may = _TRUE if executable else _FALSE
    return {**named, A.NodeClass: _CLASS[ua.NodeClass.Method], A.Executable: may, A.UserExecutable: may}


def variable_attributes(
    named: Attributes,
    data_type: ua.NodeId,
    *,
    is_array: bool = False,
    writable: bool = False,
    history: bool = False,
    fastest_ms: float = 0.0,
) -> Attributes:
    """Attributes of a variable or property, all but its value."""
    level = _LEVELS[writable, history]
    return {
        **named,
        A.NodeClass: _CLASS[ua.NodeClass.Variable],
        A.DataType: constant(data_type, ua.VariantType.NodeId),
        A.ValueRank: _ARRAY if is_array else _SCALAR,
        A.AccessLevel: level,
        A.UserAccessLevel: level,
        A.MinimumSamplingInterval: constant(fastest_ms, ua.VariantType.Double) if fastest_ms else _EVERY_CHANGE,
        A.Historizing: _TRUE if history else _FALSE,
    }


class Added(NamedTuple):
    """A node that was made."""

    parent: ua.NodeId
    node_id: ua.NodeId


@dataclass(slots=True)
class Record:
    """What was made and taken out."""

    added: list[Added] = field(default_factory=list)
    removed: list[tuple[ua.NodeId, ua.NodeId]] = field(default_factory=list)
    """Parent and node."""
    linked: list[tuple[ua.NodeId, ua.NodeId]] = field(default_factory=list)
    unlinked: list[tuple[ua.NodeId, ua.NodeId]] = field(default_factory=list)
    """Parent and node, of references beside the one a node was made with."""
    restated: list[ua.NodeId] = field(default_factory=list)
    """Variables whose values mean something else: another unit, range or enumeration."""


class Gone(TagValue):
    """Stands for the value of a node that was taken out, until it comes back: items stay, and hear BadNodeIdUnknown.

    Part 4, 5.7.4.1 says so of nodes that DeleteNodes takes out.
    """

    __slots__ = ()

    def __init__(self, now: datetime) -> None:
        super().__init__(bad(StatusCode.BadOutOfService, "", now), lambda then: wire.encoded(self._convert(then)))

    def _convert(self, now: DataValue) -> ua.DataValue:
        unknown = ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown)
        return ua.DataValue(ua.Variant(), unknown, now.source_timestamp, now.server_timestamp)


class Space:
    """The address space, for writing."""

    def __init__(self, aspace: AddressSpace, forget: Callable[[], None]) -> None:
        """`forget` is called when what is known of nodes that were there is no longer true."""
        self._aspace = aspace
        self._forget = forget
        self._type_references: dict[ua.NodeId, ua.ReferenceDescription] = {}
        self._optional, self._mandatory = (self._to(_HAS_RULE, rule) for rule in (_OPTIONAL, _MANDATORY))
        self._pointers: dict[tuple[ua.NodeId, ua.NodeId], ua.ReferenceDescription] = {}
        self._gone: dict[ua.NodeId, Gone] = {}
        """What stands for nodes that are gone, as long as a client has an item on them."""
        self._record: Record | None = None
        self._last_back: tuple[NodeData, ua.NodeId, ua.ReferenceDescription] | None = None

    @contextmanager
    def recorded(self) -> Iterator[Record]:
        """Note what is made and taken out meanwhile."""
        self._record = record = Record()
        try:
            yield record
        finally:
            self._record = None

    def get(self, node_id: ua.NodeId) -> NodeData | None:
        """The node, if it is there."""
        return self._aspace.get(node_id)

    def add(
        self,
        parent: NodeData,
        node_id: ua.NodeId,
        attributes: Mapping[ua.AttributeIds, LeanValue | TagValue],
        type_id: ua.NodeId | None,
        *,
        reference: ua.NodeId = HAS_COMPONENT,
        value: LeanValue | TagValue | None = None,
        is_declaration: bool = False,
        is_mandatory: bool = False,
    ) -> NodeData:
        """A new node below `parent`; a declaration is a part of a type.

        `attributes` is kept, and may be shared by many: never change it afterwards.
        """
        node = NodeData(node_id)
        self.dress(node, attributes, value)
        if type_id is not None:
            node.references.append(self._type_reference(type_id))
        if is_declaration:
            node.references.append(self._mandatory if is_mandatory else self._optional)
        self._aspace[node_id] = node
        if self._record is not None:
            self._record.added.append(Added(parent.nodeid, node_id))
        self._refer(parent, node, reference, type_id)
        gone = self._gone.pop(node_id, None) if self._gone else None
        if gone is not None and isinstance(value, TagValue):
            gone.hand_over(value)
        return node

    def dress(
        self,
        node: NodeData,
        attributes: Mapping[ua.AttributeIds, LeanValue | TagValue],
        value: LeanValue | TagValue | None = None,
    ) -> None:
        """Give a node its attributes."""
        self._last_back = None if self._last_back and self._last_back[0] is node else self._last_back
        node.attributes = NodeAttributes(node.nodeid, attributes, value)

    def replace(self, node: NodeData, value: TagValue) -> LeanValue | TagValue:
        """Let the node have this value, and clients' items on it go on with it; the one before."""
        before: LeanValue | TagValue = node.attributes[A.Value]
        self._forget()
        node.attributes[A.Value] = value
        if isinstance(before, TagValue):
            before.hand_over(value)
        return before

    def restate(self, variable: NodeData, node: NodeData, attributes: Attributes) -> None:
        """Give a property that says what the values of `variable` mean its attributes, with its value now."""
        before, after = _attribute(node, A.Value), attributes[A.Value].value
        self.dress(node, attributes)
        if self._record is not None and after is not None and after.Value is not None and before != after.Value.Value:
            self._record.restated.append(variable.nodeid)

    def link(self, parent: NodeData, node: NodeData, reference: ua.NodeId, type_id: ua.NodeId | None = None) -> None:
        """A reference from `parent` to `node`, and back."""
        self._refer(parent, node, reference, type_id)
        if self._record is not None:
            self._record.linked.append((parent.nodeid, node.nodeid))

    def unlink(self, parent: NodeData, node: NodeData, reference: ua.NodeId) -> None:
        """Take that reference away, and the one back."""
        for one, other in ((parent, node), (node, parent)):
            one.references = [
                ref for ref in one.references if (ref.NodeId, ref.ReferenceTypeId) != (other.nodeid, reference)
            ]
        if self._record is not None:
            self._record.unlinked.append((parent.nodeid, node.nodeid))

    def point(self, node: NodeData, target: NodeData, reference: ua.NodeId, *, wanted: bool) -> None:
        """A reference to `target`, which does not refer back: one object for all nodes that have it."""
        found = [one for one in node.references if one.ReferenceTypeId == reference]
        if wanted is bool(found):
            return
        if wanted:
            key = reference, target.nodeid
            if key not in self._pointers:
                self._pointers[key] = self._to(*key)
            node.references.append(self._pointers[key])
        else:
            node.references.remove(found[0])
        if self._record is not None:
            (self._record.linked if wanted else self._record.unlinked).append((node.nodeid, node.nodeid))

    def retype(self, node: NodeData, type_id: ua.NodeId) -> None:
        """Give a node that is there another type definition, where it has another."""
        wanted = self._type_reference(type_id)
        references = [wanted if one.ReferenceTypeId == _HAS_TYPE else one for one in node.references]
        if references == node.references:
            return
        node.references = references
        if self._record is not None:
            self._record.linked.append((node.nodeid, type_id))
            self._record.unlinked.append((node.nodeid, type_id))

    def _refer(self, parent: NodeData, node: NodeData, reference: ua.NodeId, type_id: ua.NodeId | None) -> None:
        parent.references.append(_describe(reference, node, forward=True, type_id=type_id))
        node.references.append(self._back(parent, reference))

    def _back(self, parent: NodeData, reference: ua.NodeId) -> ua.ReferenceDescription:
        """The reference back to `parent`: one object for children that come one after the other."""
        last = self._last_back
        if last is None or last[0] is not parent or last[1] != reference:
            last = self._last_back = (parent, reference, _describe(reference, parent, forward=False))
        return last[2]

    def remove(self, node_ids: Iterable[ua.NodeId], referrers: Iterable[NodeData], now: datetime) -> None:
        """Take nodes out, and every reference to them that `referrers` have; whoever has items on them is told."""
        gone = set(node_ids)
        self._forget()
        for node_id in gone:
            node = self._aspace.get(node_id)
            if node is None:
                continue
            value = node.attributes.get(A.Value)
            if isinstance(value, TagValue) and value.readers:
                self._gone[node_id] = Gone(now)
                value.hand_over(self._gone[node_id])
            del self._aspace[node_id]
        for node in referrers:
            if self._record is not None:
                here = (one.NodeId for one in node.references if one.IsForward and one.NodeId in gone)
                self._record.removed.extend((node.nodeid, node_id) for node_id in here)
            node.references = [one for one in node.references if one.NodeId not in gone]

    def forget_unread(self) -> None:
        """Of what is gone, keep only what clients still have items on: no more than monitored items are allowed."""
        self._gone = {node_id: gone for node_id, gone in self._gone.items() if gone.readers}

    def child(self, node_id: ua.NodeId, browse_name: str) -> ua.ReferenceDescription | None:
        """The forward reference of a node to the child of this name."""
        node = self._aspace.get(node_id)
        for reference in node.references if node else ():
            if reference.IsForward and reference.BrowseName.Name == browse_name:
                return reference
        return None

    def properties(self, type_id: ua.NodeId) -> dict[str, tuple[ua.QualifiedName, ua.NodeId]]:
        """The properties an object type and its supertypes declare: name -> BrowseName and data type."""
        found: dict[str, tuple[ua.QualifiedName, ua.NodeId]] = {}
        node = self._aspace.get(type_id)
        for reference in node.references if node else ():
            if reference.IsForward and reference.ReferenceTypeId == HAS_PROPERTY:
                data_type = self._aspace.read_attribute_value(reference.NodeId, A.DataType).Value.Value
                found[reference.BrowseName.Name] = (reference.BrowseName, data_type)
            elif not reference.IsForward and reference.ReferenceTypeId == HAS_SUBTYPE:
                found = {**self.properties(reference.NodeId), **found}
        return found

    def supertypes(self, type_id: ua.NodeId) -> frozenset[ua.NodeId]:
        """A type and everything above it."""
        return supertypes(self._aspace, type_id)

    def type_of(self, node_id: ua.NodeId) -> ua.NodeId:
        """Its type definition; null where it has none, or is not there."""
        node = self._aspace.get(node_id)
        found = (one.NodeId for one in (node.references if node else ()) if one.ReferenceTypeId == _HAS_TYPE)
        return next(found, ua.NodeId())

    def compiled(self, asked: Any) -> Answer:
        """An event filter, ready for use or refused."""
        return compile_filter(asked, self._aspace)

    def _type_reference(self, type_id: ua.NodeId) -> ua.ReferenceDescription:
        reference = self._type_references.get(type_id)
        if reference is None:
            reference = self._type_references[type_id] = self._to(_HAS_TYPE, type_id)
        return reference

    def _to(self, reference: ua.NodeId, target: ua.NodeId) -> ua.ReferenceDescription:
        return _describe(reference, self._aspace[target], forward=True)


def _describe(
    reference: ua.NodeId, target: NodeData, *, forward: bool, type_id: ua.NodeId | None = None
) -> ua.ReferenceDescription:
    return ua.ReferenceDescription(
        ReferenceTypeId=reference,
        IsForward=forward,
        NodeId=target.nodeid,
        BrowseName=_attribute(target, A.BrowseName),
        DisplayName=_attribute(target, A.DisplayName),
        NodeClass=_attribute(target, A.NodeClass),
        TypeDefinition=type_id or _NO_TYPE,
    )


def _attribute(node: NodeData, attribute: ua.AttributeIds) -> Any:
    value = node.attributes[attribute].value
    return value.Value.Value if value and value.Value else None
