"""The attributes of one node among thousands that look alike: theirs by reference, and what is its own.

A dictionary of thirteen for each of 50 000 tags takes 40 MB; here a node has four references. asyncua asks it as it
asks a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from asyncua import ua

from bridge.northbound.opcua.stack.standard import LeanValue

_NODE_ID, _VALUE = ua.AttributeIds.NodeId, ua.AttributeIds.Value


class NodeAttributes(MutableMapping[ua.AttributeIds, Any]):
    """Attributes by id. `shared` belongs to many nodes and is never changed here."""

    __slots__ = ("_node_id", "_own", "_shared", "_value")

    def __init__(self, node_id: ua.NodeId, shared: Mapping[ua.AttributeIds, Any], value: Any = None) -> None:
        self._node_id = node_id
        self._shared = shared
        self._value = shared.get(_VALUE) if value is None else value
        self._own: dict[ua.AttributeIds, Any] | None = None

    def __getitem__(self, attribute: ua.AttributeIds) -> Any:
        if attribute == _VALUE and self._value is not None:
            return self._value
        if self._own is not None and attribute in self._own:
            return self._own[attribute]
        if attribute == _NODE_ID:
            self[attribute] = made = LeanValue(ua.DataValue(ua.Variant(self._node_id, ua.VariantType.NodeId)))
            return made
        return self._shared[attribute]

    def __setitem__(self, attribute: ua.AttributeIds, value: Any) -> None:
        if attribute == _VALUE:
            self._value = value
        elif self._own is None:
            self._own = {attribute: value}
        else:
            self._own[attribute] = value

    def __delitem__(self, attribute: ua.AttributeIds) -> None:
        raise TypeError("Nodes here keep their attributes")

    def __iter__(self) -> Iterator[ua.AttributeIds]:
        yield _NODE_ID
        own = {} if self._own is None else self._own
        yield from (one for one in {**self._shared, **own} if one not in (_NODE_ID, _VALUE))
        if self._value is not None:
            yield _VALUE

    def __len__(self) -> int:
        return sum(1 for _ in self)
