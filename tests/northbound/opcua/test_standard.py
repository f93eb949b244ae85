"""Our way of writing the standard address space against asyncua's own."""

import pytest
from asyncua import ua
from asyncua.server.address_space import AddressSpace, NodeData, NodeManagementService
from asyncua.server.standard_address_space import standard_address_space

from bridge.northbound.opcua.stack import standard


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
