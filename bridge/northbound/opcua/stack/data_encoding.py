"""DataEncoding: in which of its encodings the value of a structure is wanted (Part 4, 5.10.2 and 5.12.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncua import ua

from bridge.northbound.opcua.stack.event_filter import supertypes

if TYPE_CHECKING:
    from asyncua.server.address_space import AddressSpace

OFFERED = ua.QualifiedName("Default Binary")
_STRUCTURE = ua.NodeId(ua.ObjectIds.Structure)


def is_wanted(encoding: ua.QualifiedName | None) -> bool:
    """One is asked for; nearly nobody does."""
    return encoding is not None and bool(encoding.Name)


def fault(aspace: AddressSpace, asked: ua.ReadValueId) -> int | None:
    """The status code that refuses what is asked; None where this node's attribute may be given so, or is not there."""
    node = aspace.get(asked.NodeId) if is_wanted(asked.DataEncoding) else None
    if node is None or asked.AttributeId not in node.attributes:
        return None
    data_type = node.attributes.get(ua.AttributeIds.DataType)
    if asked.AttributeId != ua.AttributeIds.Value or data_type is None or data_type.value is None:
        return int(ua.StatusCodes.BadDataEncodingInvalid)
    if _STRUCTURE not in supertypes(aspace, data_type.value.Value.Value):
        return int(ua.StatusCodes.BadDataEncodingInvalid)
    return None if asked.DataEncoding == OFFERED else int(ua.StatusCodes.BadDataEncodingUnsupported)
