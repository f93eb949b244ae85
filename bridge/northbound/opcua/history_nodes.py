"""The HistoricalDataConfiguration of tags with a history (Part 11, 5.2.3).

All are kept in the same way, so that one object serves them all, and a tag costs one reference. It is referred to and
does not refer back: what is below it would otherwise be as much as all tags with a history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncua import ua

from bridge.northbound.opcua.stack import space as sp
from bridge.northbound.opcua.tree import OWN, node_id, property_attributes, standard

if TYPE_CHECKING:
    from asyncua.server.address_space import NodeData

    from bridge.model.tag import Tag
    from bridge.northbound.opcua.tree import Tree

_V = ua.VariantType
CONFIGURATION: Final = "HistoricalConfiguration"
DEFINITION: Final = "Every change, after the tag's deadband; a value stands until the next one"
_ITEMS: Final[dict[str, tuple[object, ua.VariantType]]] = {
    "Stepped": (True, _V.Boolean),
    "Definition": (DEFINITION, _V.String),
}
_AGGREGATES: Final[dict[str, tuple[object, ua.VariantType]]] = {
    "TreatUncertainAsBad": (True, _V.Boolean),
    "PercentDataBad": (100, _V.Byte),
    "PercentDataGood": (100, _V.Byte),
    "UseSlopedExtrapolation": (False, _V.Boolean),
}
"""Mandatory, though no aggregate is offered: the defaults of Part 13, 4.2.1.2, but that lines are not sloped."""


class HistoryNodes:
    """Refers tags to the configuration of their history; made when the first one has any."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._made: NodeData | None = None

    def follow(self, tag: Tag) -> None:
        """Give this tag, which has a variable, its reference, or take it away."""
        has_history = tag.definition.history
        if has_history or self._made is not None:
            variable = self._tree.node(node_id(tag.id))
            self._tree.space.point(variable, self._configuration(), sp.HAS_HISTORY, wanted=has_history)

    def _configuration(self) -> NodeData:
        if self._made is None:
            parent = self._tree.standard_node("HistoryServerCapabilities")
            self._made = self._object(parent, CONFIGURATION, "HA Configuration", "HistoricalDataConfigurationType")
            self._properties(self._made, _ITEMS)
            name = "AggregateConfiguration"
            below = self._object(self._made, f"{CONFIGURATION}.{name}", name, "AggregateConfigurationType")
            self._properties(below, _AGGREGATES)
        return self._made

    def _object(self, parent: NodeData, identifier: str, name: str, type_name: str) -> NodeData:
        named = sp.names(ua.QualifiedName(name, 0), ua.LocalizedText(name, "en"))
        return self._tree.space.add(
            parent, ua.NodeId(identifier, OWN), sp.object_attributes(named), standard(type_name)
        )

    def _properties(self, node: NodeData, items: dict[str, tuple[object, ua.VariantType]]) -> None:
        for name, (value, kind) in items.items():
            attributes = property_attributes(ua.QualifiedName(name, 0), ua.NodeId(kind.value), value, kind)
            self._tree.fixed_property(node, name, attributes)
