"""Reads that are asked again and again: what a request's bytes mean is kept, and a tag's value is bytes already.

    parameters of a Read -> Plan: a TagValue for every value of a tag, the rest by asyncua -> ReadResponse

SCADA clients poll the same list of nodes for ever; decoding it costs ten times what its answer costs. A plan holds no
answer and nothing that depends on who asks: rights are looked at when it is used, by the session.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from bridge.northbound.opcua.stack import services, wire
from bridge.northbound.opcua.stack.data_encoding import is_wanted
from bridge.northbound.opcua.stack.decoding import BUDGET, Budget
from bridge.northbound.opcua.stack.values import TagValue

if TYPE_CHECKING:
    from asyncua.server.address_space import AddressSpace

    from bridge.northbound.opcua.stack.session import GuardedSession

MAX_SIZE = 8 * 2**20
"""Bytes that all plans may take, roughly."""
OTHER_SIZE = 500
"""Bytes of a node that is not a tag's value, in a plan."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request asks for."""

    timestamps: ua.TimestampsToReturn
    tags: list[TagValue | None]
    """In the order of the request; None is the next of `others`."""
    others: ua.ReadParameters | None
    size: int

    async def results(self, session: GuardedSession) -> list[bytes]:
        """Encoded DataValues. Raises ServiceError."""
        if self.others is None:
            encoded = [tag.wire for tag in self.tags if tag is not None]
            if self.timestamps == ua.TimestampsToReturn.Both:
                return encoded
            return [wire.stamped(one, self.timestamps) for one in encoded]
        rest = iter(await session.read(self.others))
        return [
            wire.encoded(next(rest)) if tag is None else wire.stamped(tag.wire, self.timestamps) for tag in self.tags
        ]


class Plans:
    """The plans used last, for all sessions."""

    def __init__(self, aspace: AddressSpace, operations: int) -> None:
        self._aspace = aspace
        self._operations = operations
        self._plans: OrderedDict[bytes, Plan] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._plans)

    def forget(self) -> None:
        """Nodes have gone or changed."""
        self._plans.clear()
        self._size = 0

    def plan(self, parameters: bytes) -> Plan | None:
        """The plan for these parameters; None where asyncua must answer, in most cases with what is wrong."""
        known = self._plans.get(parameters)
        if known is not None:
            self._plans.move_to_end(parameters)
            return known
        head = services.read_head(parameters)
        if head is None or not head.max_age >= 0 or not 1 <= head.nodes <= self._operations:
            return None
        if head.timestamps not in tuple(ua.TimestampsToReturn)[:4]:
            return None
        BUDGET.set(Budget(head.nodes))
        try:
            params = struct_from_binary(ua.ReadParameters, Buffer(parameters))
        except Exception:  # whatever is wrong with it, asyncua says so
            return None
        made = self._make(params, len(parameters))
        self._keep(parameters, made)
        return made

    def _make(self, params: ua.ReadParameters, size: int) -> Plan:
        tags = [self._tag(one) for one in params.NodesToRead]
        rest = [one for one, tag in zip(params.NodesToRead, tags, strict=True) if tag is None]
        others = ua.ReadParameters(params.MaxAge, params.TimestampsToReturn, rest) if rest else None
        return Plan(params.TimestampsToReturn, tags, others, size + len(rest) * OTHER_SIZE)

    def _tag(self, asked: ua.ReadValueId) -> TagValue | None:
        if asked.AttributeId != ua.AttributeIds.Value or asked.IndexRange or is_wanted(asked.DataEncoding):
            return None
        node = self._aspace.get(asked.NodeId)
        value = node.attributes.get(ua.AttributeIds.Value) if node else None
        return value if isinstance(value, TagValue) else None

    def _keep(self, parameters: bytes, made: Plan) -> None:
        self._plans[parameters] = made
        self._size += made.size
        while self._size > MAX_SIZE:
            _, gone = self._plans.popitem(last=False)
            self._size -= gone.size
