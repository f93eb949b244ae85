"""The standard address space (Part 5), written without asking of each of its 6 000 nodes whether it may be added.

asyncua generates the items from the OPC Foundation's nodeset and then adds them like a stranger's: parent scanned for
the same name, every reference compared with every other. That takes 0.7 s of a start and 50 MB. Here an item is taken
as it is, values that are equal are one object, and an attribute costs a quarter. What comes out is the same:
tests/northbound/opcua/test_standard.py compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.server.address_space import NodeData
from asyncua.server.standard_address_space import standard_address_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from asyncua.server.address_space import AddressSpace

A = ua.AttributeIds
V = ua.VariantType

_TYPES = {
    "AccessLevel": V.Byte,
    "ContainsNoLoops": V.Boolean,
    "DataType": V.NodeId,
    "EventNotifier": V.Byte,
    "Executable": V.Boolean,
    "Historizing": V.Boolean,
    "IsAbstract": V.Boolean,
    "MinimumSamplingInterval": V.Double,
    "Symmetric": V.Boolean,
    "UserAccessLevel": V.Byte,
    "UserExecutable": V.Boolean,
    "UserWriteMask": V.UInt32,
    "ValueRank": V.Int32,
    "WriteMask": V.UInt32,
}
"""Attributes with a few values only, which many nodes share."""

_TEXTS = ("DisplayName", "Description", "InverseName")


def _bits(names: Iterable[str]) -> list[tuple[int, str, ua.AttributeIds]]:
    return [(int(getattr(ua.NodeAttributesMask, name)), name, getattr(A, name)) for name in names]


_COMMON, _WORDS = _bits(_TYPES), _bits(_TEXTS)
_OWN = _bits(("ArrayDimensions", "DataTypeDefinition", "Value"))
_HAS_TYPE = ua.NodeId(ua.ObjectIds.HasTypeDefinition)
_TYPED = (ua.NodeClass.Object, ua.NodeClass.Variable)
_NO_TYPE = ua.NodeId()
_NO_TEXT = ua.DataValue(ua.Variant(ua.LocalizedText(), V.LocalizedText))


class LeanValue:
    """An attribute's value, as asyncua's `AttributeValue`, without a dictionary for itself and for callbacks."""

    __slots__ = ("_callbacks", "value", "value_callback", "value_setter")

    def __init__(self, value: ua.DataValue) -> None:
        self.value: ua.DataValue | None = value
        self.value_callback: Callable[..., ua.DataValue] | None = None
        self.value_setter: Callable[..., None] | None = None
        self._callbacks: dict[int, Callable[..., Any]] | None = None

    @property
    def datachange_callbacks(self) -> dict[int, Callable[..., Any]]:
        """Who wants to know that the value was written, by handle."""
        if self._callbacks is None:
            self._callbacks = {}
        return self._callbacks


class Filler:
    """What the generated code and the importer talk to."""

    def __init__(self, aspace: AddressSpace) -> None:
        self._aspace = aspace
        self._shared: dict[tuple[ua.VariantType, Any], ua.DataValue] = {}
        self._known: dict[ua.NodeId, set[tuple[ua.NodeId, ua.NodeId]]] = {}
        """Type and target of every reference of the nodes that were touched."""

    def try_add_nodes(self, items: Iterable[ua.AddNodesItem], check: bool) -> Iterator[ua.AddNodesItem]:
        """Add nodes; gives back those whose parent or type is not there."""
        for item in items:
            if not self._add(item):
                yield item

    def try_add_references(self, items: Iterable[ua.AddReferencesItem]) -> Iterator[ua.AddReferencesItem]:
        """Add references; gives back those with an end that is not there."""
        for item in items:
            source, target = self._aspace.get(item.SourceNodeId), self._aspace.get(item.TargetNodeId)
            if source is None or target is None:
                yield item
            else:
                self._refer(source, item.ReferenceTypeId, target, forward=item.IsForward)

    def refer_back(self, source: ua.NodeId, reference: ua.ReferenceDescription) -> None:
        """The other direction of a reference, for nodes that are there."""
        target, back = self._aspace.get(reference.NodeId), self._aspace.get(source)
        if target is not None and back is not None:
            self._refer(target, reference.ReferenceTypeId, back, forward=not reference.IsForward)

    def _add(self, item: ua.AddNodesItem) -> bool:
        get = self._aspace.get
        has_parent, has_type = not item.ParentNodeId.is_null(), not item.TypeDefinition.is_null()
        parent, kind = get(item.ParentNodeId) if has_parent else None, get(item.TypeDefinition) if has_type else None
        if (has_parent and parent is None) or (has_type and kind is None):
            return False
        node = NodeData(item.RequestedNewNodeId)
        node.attributes = self._attributes(item)
        self._aspace[node.nodeid] = node
        if parent is not None:
            self._refer(parent, item.ReferenceTypeId, node, forward=True, target_type=item.TypeDefinition)
            self._refer(node, item.ReferenceTypeId, parent, forward=False)
        if kind is not None:
            self._refer(node, _HAS_TYPE, kind, forward=True)
        return True

    def _attributes(self, item: ua.AddNodesItem) -> dict[ua.AttributeIds, LeanValue]:
        given = item.NodeAttributes
        specified = given.SpecifiedAttributes
        attributes = {
            A.NodeId: LeanValue(ua.DataValue(ua.Variant(item.RequestedNewNodeId, V.NodeId))),
            A.BrowseName: LeanValue(ua.DataValue(ua.Variant(item.BrowseName, V.QualifiedName))),
            A.NodeClass: LeanValue(self._same(item.NodeClass, V.Int32)),
        }
        for bit, name, attribute in _WORDS:
            if specified & bit:
                attributes[attribute] = LeanValue(_text(getattr(given, name)))
        for bit, name, attribute in _COMMON:
            if specified & bit:
                attributes[attribute] = LeanValue(self._same(getattr(given, name), _TYPES[name]))
        for bit, name, attribute in _OWN:
            if specified & bit:
                attributes[attribute] = LeanValue(ua.DataValue(_variant(name, getattr(given, name))))
        return attributes

    def _same(self, value: Any, kind: ua.VariantType) -> ua.DataValue:
        """One DataValue for all that are equal: what is in the address space is replaced, never changed."""
        known = self._shared.get((kind, value))
        if known is None:
            known = self._shared[kind, value] = ua.DataValue(ua.Variant(value, kind))
        return known

    def _refer(
        self,
        source: NodeData,
        kind: ua.NodeId,
        target: NodeData,
        *,
        forward: bool,
        target_type: ua.NodeId | None = None,
    ) -> None:
        """A reference, unless there is one of this type to this target. `target_type` where it is known already."""
        known = self._known.get(source.nodeid)
        if known is None:
            known = self._known[source.nodeid] = {(one.ReferenceTypeId, one.NodeId) for one in source.references}
        if (kind, target.nodeid) in known:
            return
        known.add((kind, target.nodeid))
        node_class = _value(target, A.NodeClass)
        if target_type is None:
            target_type = _type_of(target) if node_class in _TYPED else _NO_TYPE
        source.references.append(
            ua.ReferenceDescription(
                ReferenceTypeId=kind,
                IsForward=forward,
                NodeId=target.nodeid,
                BrowseName=_value(target, A.BrowseName),
                DisplayName=_value(target, A.DisplayName),
                NodeClass=node_class,
                TypeDefinition=target_type,
            )
        )


def _text(text: ua.LocalizedText) -> ua.DataValue:
    return ua.DataValue(ua.Variant(text, V.LocalizedText)) if text.Text or text.Locale else _NO_TEXT


def _variant(name: str, value: Any) -> ua.Variant:
    if name == "ArrayDimensions":
        return ua.Variant(value, V.UInt32, is_array=True)
    if name == "Value":
        return ua.Variant(value, None, is_array=False)
    return ua.Variant(value, V.ExtensionObject) if isinstance(value, ua.DataTypeDefinition) else ua.Variant()


def _value(node: NodeData, attribute: ua.AttributeIds) -> Any:
    return node.attributes[attribute].value.Value.Value


def _type_of(node: NodeData) -> ua.NodeId:
    found = (one.NodeId for one in node.references if one.IsForward and one.ReferenceTypeId == _HAS_TYPE)
    return next(found, _NO_TYPE)


def fill(aspace: AddressSpace) -> None:
    """Put the standard nodes into an empty address space. Takes a third of a second; asyncua's own way thrice that."""
    standard_address_space.fill_address_space(Filler(aspace))
