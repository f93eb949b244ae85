"""The standard address space (Part 5), written without asking of each of its 6 000 nodes whether it may be added.

asyncua generates the items from the OPC Foundation's nodeset and then adds them like a stranger's: parent scanned for
the same name, every reference compared with every other. That takes 0.7 s of a start and 50 MB. Here an item is taken
as it is, ids and values that are equal are one object, a node's attributes are made when somebody asks for one (hardly
any of Part 5 is ever asked), and the generated code is let go. What comes out is the same:
tests/northbound/opcua/test_standard.py compares.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import asyncua.server
from asyncua import ua
from asyncua.server.address_space import NodeData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


class Shared:
    """One DataValue for all that are equal: what is in the address space is replaced, never changed."""

    def __init__(self) -> None:
        self._values: dict[tuple[ua.VariantType, Any], ua.DataValue] = {}

    def same(self, value: Any, kind: ua.VariantType) -> ua.DataValue:
        """The DataValue with this value."""
        known = self._values.get((kind, value))
        if known is None:
            known = self._values[kind, value] = ua.DataValue(ua.Variant(value, kind))
        return known


class GivenAttributes(MutableMapping[ua.AttributeIds, LeanValue]):
    """A node's attributes: what its item gave, until somebody asks for one of them. asyncua sees a dictionary."""

    __slots__ = ("_browse_name", "_given", "_made", "_node_class", "_node_id", "_shared")

    def __init__(self, item: ua.AddNodesItem, shared: Shared) -> None:
        self._node_id = item.RequestedNewNodeId
        self._browse_name = item.BrowseName
        self._node_class = item.NodeClass
        self._given = item.NodeAttributes
        self._shared = shared
        self._made: dict[ua.AttributeIds, LeanValue] | None = None

    def _all(self) -> dict[ua.AttributeIds, LeanValue]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> dict[ua.AttributeIds, LeanValue]:
        given, same = self._given, self._shared.same
        specified = given.SpecifiedAttributes
        attributes = {
            A.NodeId: LeanValue(ua.DataValue(ua.Variant(self._node_id, V.NodeId))),
            A.BrowseName: LeanValue(ua.DataValue(ua.Variant(self._browse_name, V.QualifiedName))),
            A.NodeClass: LeanValue(same(self._node_class, V.Int32)),
        }
        for bit, name, attribute in _WORDS:
            if specified & bit:
                attributes[attribute] = LeanValue(_text(getattr(given, name)))
        for bit, name, attribute in _COMMON:
            if specified & bit:
                attributes[attribute] = LeanValue(same(getattr(given, name), _TYPES[name]))
        for bit, name, attribute in _OWN:
            if specified & bit:
                attributes[attribute] = LeanValue(ua.DataValue(_variant(name, getattr(given, name))))
        return attributes

    def __getitem__(self, attribute: ua.AttributeIds) -> LeanValue:
        return self._all()[attribute]

    def __setitem__(self, attribute: ua.AttributeIds, value: LeanValue) -> None:
        self._all()[attribute] = value

    def __delitem__(self, attribute: ua.AttributeIds) -> None:
        del self._all()[attribute]

    def __iter__(self) -> Iterator[ua.AttributeIds]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


@dataclass(slots=True)
class _End:
    """A node that references lead to and come from."""

    node: NodeData
    browse_name: ua.QualifiedName
    display_name: ua.LocalizedText
    node_class: ua.NodeClass
    type_id: ua.NodeId
    known: set[tuple[Any, ...]]
    """Type and target of every reference of the node, as `_mark` writes them."""


class Filler:
    """What the generated code and the importer talk to."""

    def __init__(self, aspace: AddressSpace) -> None:
        self._aspace = aspace
        self._shared = Shared()
        self._ends: dict[ua.NodeId, _End] = {}

    def try_add_nodes(self, items: Iterable[ua.AddNodesItem], check: bool) -> Iterator[ua.AddNodesItem]:
        """Add nodes; gives back those whose parent or type is not there."""
        for item in items:
            if not self._add(item):
                yield item

    def try_add_references(self, items: Iterable[ua.AddReferencesItem]) -> Iterator[ua.AddReferencesItem]:
        """Add references; gives back those with an end that is not there."""
        for item in items:
            source, target = self._end(item.SourceNodeId), self._end(item.TargetNodeId)
            if source is None or target is None:
                yield item
            else:
                _refer(source, item.ReferenceTypeId, target, forward=item.IsForward)

    def refer_back(self, source: ua.NodeId, reference: ua.ReferenceDescription) -> None:
        """The other direction of a reference, for nodes that are there."""
        target, back = self._end(reference.NodeId), self._end(source)
        if target is not None and back is not None:
            _refer(target, reference.ReferenceTypeId, back, forward=not reference.IsForward)

    def _add(self, item: ua.AddNodesItem) -> bool:
        has_parent, has_type = not item.ParentNodeId.is_null(), not item.TypeDefinition.is_null()
        parent = self._end(item.ParentNodeId) if has_parent else None
        kind = self._end(item.TypeDefinition) if has_type else None
        if (has_parent and parent is None) or (has_type and kind is None):
            return False
        node = NodeData(item.RequestedNewNodeId)
        node.attributes = GivenAttributes(item, self._shared)
        self._aspace[node.nodeid] = node
        type_id = item.TypeDefinition if has_type else _NO_TYPE
        end = _End(node, item.BrowseName, item.NodeAttributes.DisplayName, item.NodeClass, type_id, set())
        self._ends[node.nodeid] = end
        if parent is not None:
            _refer(parent, item.ReferenceTypeId, end, forward=True)
            _refer(end, item.ReferenceTypeId, parent, forward=False)
        if kind is not None:
            _refer(end, _HAS_TYPE, kind, forward=True)
        return True

    def _end(self, node_id: ua.NodeId) -> _End | None:
        """The node as an end of references; None where it is not there."""
        known = self._ends.get(node_id)
        if known is None:
            node = self._aspace.get(node_id)
            if node is None:
                return None
            known = self._ends[node_id] = _End(
                node,
                _value(node, A.BrowseName),
                _value(node, A.DisplayName),
                _value(node, A.NodeClass),
                _type_of(node),
                {_mark(one.ReferenceTypeId, one.NodeId) for one in node.references},
            )
        return known


def _mark(kind: ua.NodeId, target: ua.NodeId) -> tuple[Any, ...]:
    """A reference in a set: a NodeId is hashed in Python, what it is made of is not."""
    return kind.NamespaceIndex, kind.Identifier, target.NamespaceIndex, target.Identifier


def _refer(source: _End, kind: ua.NodeId, target: _End, *, forward: bool) -> None:
    """A reference, unless there is one of this type to this target."""
    target_id = target.node.nodeid
    mark = _mark(kind, target_id)
    if mark in source.known:
        return
    source.known.add(mark)
    source.node.references.append(
        ua.ReferenceDescription(
            ReferenceTypeId=kind,
            IsForward=forward,
            NodeId=target_id,
            BrowseName=target.browse_name,
            DisplayName=target.display_name,
            NodeClass=target.node_class,
            TypeDefinition=target.type_id if target.node_class in _TYPED else _NO_TYPE,
        )
    )
    if forward and kind == _HAS_TYPE:
        source.type_id = target_id


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


_GENERATED = "asyncua.server.standard_address_space"
_one_at_a_time = threading.Lock()


def fill(aspace: AddressSpace) -> None:
    """Put the standard nodes into an empty address space. Takes a fifth of a second."""
    with _one_at_a_time, _generated() as fill_address_space:
        fill_address_space(Filler(aspace))


@contextmanager
def _generated() -> Iterator[Callable[[Filler], None]]:
    """The code asyncua generated, made to share equal NodeIds; afterwards it is gone, with its 9 MB."""
    package, numeric_id = import_module(_GENERATED), cache(ua.NumericNodeId)
    names = [name for name in sys.modules if name == _GENERATED or name.startswith(f"{_GENERATED}.")]
    for name in names:
        vars(sys.modules[name])["NumericNodeId"] = numeric_id
    try:
        yield package.fill_address_space
    finally:
        for name in names:
            del sys.modules[name]
        del asyncua.server.standard_address_space
