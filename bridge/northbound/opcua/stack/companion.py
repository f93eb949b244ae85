"""Companion specifications, read from their NodeSet2 files.

asyncua's importer asks of every node what the whole hierarchy of reference types is, again and again: a second of a
start for DI and Machinery. Here it only parses; what it finds is written as `standard` writes the nodes of Part 5.
What comes out is the same: tests/northbound/opcua/test_standard.py compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.common.xmlimporter import XmlImporter

from bridge.northbound.opcua.stack.standard import Filler

if TYPE_CHECKING:
    from asyncua import Server

_ONE_WAY = ua.NodeId(ua.ObjectIds.HasInterface)
"""asyncua leaves an interface without references to all that have it."""
_BAD_PARENT = ua.StatusCode(ua.StatusCodes.BadParentNodeIdInvalid)
_BAD_REFERENCE = ua.StatusCode(ua.StatusCodes.BadTargetNodeIdInvalid)


async def read_in(server: Server, nodeset: str) -> None:
    """Add the nodes of a NodeSet2 document. Raises ValueError where another that it needs is not there."""
    await _Importer(server).import_xml(xmlstring=nodeset)


class _Importer(XmlImporter):
    """It is its own server for what it adds."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, auto_load_definitions=False)
        self._aspace = server.iserver.aspace
        self._filler = Filler(self._aspace)

    def _get_server(self) -> _Importer:
        return self

    async def add_nodes(self, items: list[ua.AddNodesItem]) -> list[ua.AddNodesResult]:
        waiting = list(self._filler.try_add_nodes(items, check=False))
        return [
            ua.AddNodesResult(_BAD_PARENT if item in waiting else ua.StatusCode(), item.RequestedNewNodeId)
            for item in items
        ]

    async def add_references(self, items: list[ua.AddReferencesItem]) -> list[ua.StatusCode]:
        waiting = list(self._filler.try_add_references(items))
        return [_BAD_REFERENCE if item in waiting else ua.StatusCode() for item in items]

    async def _add_missing_reverse_references(self, new_nodes: list[ua.NodeId]) -> set[Any]:
        """The other direction of every reference of these nodes, where the file gives one only."""
        for node_id in new_nodes:
            for one in list(self._aspace[node_id].references):
                if one.ReferenceTypeId != _ONE_WAY:
                    self._filler.refer_back(node_id, one)
        return set()


__all__ = ["read_in"]
