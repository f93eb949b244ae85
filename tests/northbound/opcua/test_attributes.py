"""A node's attributes are what a dictionary of them would be."""

import pytest
from asyncua import ua

from bridge.northbound.opcua.stack.attributes import NodeAttributes
from bridge.northbound.opcua.stack.space import constant

A = ua.AttributeIds
NODE_ID = ua.NodeId("a", 2)
NAME, OTHER, VALUE = (constant(text, ua.VariantType.String) for text in ("name", "other", "value"))


def test_what_is_shared_and_what_is_its_own() -> None:
    shared = {A.BrowseName: NAME}
    one, two = NodeAttributes(NODE_ID, shared, VALUE), NodeAttributes(ua.NodeId("b", 2), shared)
    assert set(one) == {A.NodeId, A.BrowseName, A.Value}
    assert set(two) == {A.NodeId, A.BrowseName}
    assert (len(one), len(two)) == (3, 2)
    assert one[A.NodeId].value.Value.Value == NODE_ID
    assert one[A.NodeId] is one[A.NodeId]  # a callback that is added to it can be taken off again
    assert one[A.BrowseName] is two[A.BrowseName]
    assert one.get(A.Value) is VALUE
    assert two.get(A.Value) is None
    assert A.Value not in two
    assert A.Executable not in one
    with pytest.raises(KeyError):
        one[A.Executable]
    one[A.BrowseName] = OTHER
    two[A.Value] = OTHER
    assert (one[A.BrowseName], two[A.BrowseName], two[A.Value]) == (OTHER, NAME, OTHER)
    assert shared == {A.BrowseName: NAME}
    assert set(one) == {A.NodeId, A.BrowseName, A.Value}


def test_a_value_may_be_shared_too() -> None:
    made = NodeAttributes(NODE_ID, {A.Value: VALUE})
    assert made[A.Value] is VALUE
    assert list(made) == [A.NodeId, A.Value]


def test_attributes_are_not_taken_away() -> None:
    with pytest.raises(TypeError):
        del NodeAttributes(NODE_ID, {})[A.NodeId]
