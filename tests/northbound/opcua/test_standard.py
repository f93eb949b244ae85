"""Our way of writing the standard address space, and companion specifications into it, against asyncua's own."""

import sys
from pathlib import Path

import pytest
from asyncua import Server, ua
from asyncua.server.address_space import AddressSpace, NodeData, NodeManagementService
from asyncua.server.internal_server import InternalServer
from asyncua.server.standard_address_space import standard_address_space

from bridge.northbound.opcua.server import NODESETS, _nodeset
from bridge.northbound.opcua.stack import companion, standard
from bridge.northbound.opcua.stack.standard import fill  # the bridge's own, not the tests' copies of what it made


@pytest.fixture(scope="module")
def ours() -> AddressSpace:
    space = AddressSpace()
    standard.fill(space)
    return space


def values(node: NodeData) -> dict[ua.AttributeIds, ua.DataValue | None]:
    return {attribute: held.value for attribute, held in node.attributes.items()}


def test_every_node_attribute_and_reference_is_the_same(ours: AddressSpace) -> None:
    """One test: to write theirs takes seconds, in each process that needs it."""
    theirs = AddressSpace()
    standard_address_space.fill_address_space(NodeManagementService(theirs))
    assert len(ours.keys()) > 6000
    assert set(ours.keys()) == set(theirs.keys())
    for node_id in set(theirs.keys()):
        assert values(ours[node_id]) == values(theirs[node_id]), node_id
        assert ours[node_id].references == theirs[node_id].references, node_id


def test_a_shared_value_that_is_written_stays_with_the_others(ours: AddressSpace) -> None:
    one, other = (ours[ua.NodeId(number)] for number in (ua.ObjectIds.ServerType, ua.ObjectIds.BaseObjectType))
    before = one.attributes[ua.AttributeIds.WriteMask].value
    assert before is other.attributes[ua.AttributeIds.WriteMask].value
    one.attributes[ua.AttributeIds.WriteMask].value = ua.DataValue(ua.Variant(1, ua.VariantType.UInt32))
    assert other.attributes[ua.AttributeIds.WriteMask].value is before
    one.attributes[ua.AttributeIds.WriteMask].value = before


def test_the_generated_code_is_let_go_and_attributes_can_be_written() -> None:
    space = AddressSpace()
    fill(space)
    assert not [name for name in sys.modules if "standard_address_space" in name]
    attributes = space[ua.NodeId(ua.ObjectIds.ServerType)].attributes
    attributes[ua.AttributeIds.WriteMask] = written = standard.LeanValue(ua.DataValue(ua.Variant(1)))
    assert attributes[ua.AttributeIds.WriteMask] is written
    assert ua.AttributeIds.Value not in attributes
    assert ua.AttributeIds.BrowseName in attributes
    del attributes[ua.AttributeIds.WriteMask]
    assert ua.AttributeIds.WriteMask not in attributes


class Standard(InternalServer):
    """A server with nothing of ours but its way to the nodes of Part 5."""

    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:
        standard.fill(self.aspace)


async def test_companion_specifications_come_out_as_asyncua_imports_them() -> None:
    ours, theirs = Server(iserver=Standard()), Server(iserver=Standard())
    for server in (ours, theirs):
        await server.init()
    with pytest.raises(ValueError, match="required XML-Models"):
        await companion.read_in(ours, _nodeset(NODESETS[1][1]))
    for _, file in NODESETS:
        await companion.read_in(ours, _nodeset(file))
        await theirs.import_xml(xmlstring=_nodeset(file), auto_load_definitions=False)
    assert await ours.get_namespace_array() == await theirs.get_namespace_array()
    imported = {key for key in theirs.iserver.aspace.keys() if key.NamespaceIndex >= 2}  # noqa: SIM118
    assert len(imported) > 500
    assert set(ours.iserver.aspace.keys()) == set(theirs.iserver.aspace.keys())
    for node_id in set(theirs.iserver.aspace.keys()):
        our, their = ours.iserver.aspace[node_id], theirs.iserver.aspace[node_id]
        assert our.references == their.references, node_id
        if node_id in imported:
            assert contents(our) == contents(their), node_id


def contents(node: NodeData) -> dict[ua.AttributeIds, object]:
    """Without the time: asyncua stamps what it imports."""
    return {attribute: value.Value for attribute, value in values(node).items() if value is not None}
