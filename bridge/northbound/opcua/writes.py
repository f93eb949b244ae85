"""What a client's writes and calls are answered: today that nothing can be written, per item and with the reason.

The next step gives `Writes` its hook: a handler that turns a write of a set point into a Command and awaits its Ticket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from asyncua import ua

from bridge.northbound.opcua.config import Role
from bridge.northbound.opcua.nodes import OWN

if TYPE_CHECKING:
    from bridge.model.plant import Plant
    from bridge.model.tag import Tag
    from bridge.northbound.opcua.stack.access import Visitor

Handler = Callable[["Visitor", "Tag", ua.DataValue], Awaitable[ua.StatusCode]]
"""Carries out one write of a set point. It never stores the value: only the vendor's readback does."""


class Writes:
    """Answers writes and calls, item by item, in order."""

    def __init__(
        self, plant: Callable[[], Plant], exists: Callable[[ua.NodeId], bool], handler: Handler | None = None
    ) -> None:
        self._plant = plant
        self._exists = exists
        self._handler = handler

    async def write(self, visitor: Visitor, items: list[ua.WriteValue]) -> list[ua.StatusCode]:
        """One status per item, in order."""
        return [await self._write(visitor, item) for item in items]

    async def _write(self, visitor: Visitor, item: ua.WriteValue) -> ua.StatusCode:
        codes = ua.StatusCodes
        if not self._exists(item.NodeId):
            return ua.StatusCode(codes.BadNodeIdUnknown)
        tag = self._set_point(item)
        if tag is None:
            return ua.StatusCode(codes.BadNotWritable)
        if visitor.rights is Role.OBSERVER:
            return ua.StatusCode(codes.BadUserAccessDenied)
        if self._handler is None:
            return ua.StatusCode(codes.BadNotWritable)
        if item.IndexRange or _is_stamped(item.Value):
            return ua.StatusCode(codes.BadWriteNotSupported)
        return await self._handler(visitor, tag, item.Value)

    def _set_point(self, item: ua.WriteValue) -> Tag | None:
        identifier = item.NodeId.Identifier
        if item.AttributeId != ua.AttributeIds.Value or item.NodeId.NamespaceIndex != OWN:
            return None
        tag = self._plant().find(identifier) if isinstance(identifier, str) else None
        return tag if tag is not None and tag.definition.writable else None

    async def call(self, visitor: Visitor, requests: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        """One result per request, in order."""
        return [ua.CallMethodResult(StatusCode=self._call(visitor, request)) for request in requests]

    def _call(self, visitor: Visitor, request: ua.CallMethodRequest) -> ua.StatusCode:
        codes = ua.StatusCodes
        if not self._exists(request.ObjectId):
            return ua.StatusCode(codes.BadNodeIdUnknown)
        if not self._exists(request.MethodId):
            return ua.StatusCode(codes.BadMethodInvalid)
        return ua.StatusCode(codes.BadUserAccessDenied if visitor.rights is Role.OBSERVER else codes.BadNotExecutable)


def _is_stamped(value: ua.DataValue) -> bool:
    """A client that sends a status or times of its own would make them ours (Part 4, 5.10.4.2)."""
    status = value.StatusCode.value if value.StatusCode else 0
    return bool(status or value.SourceTimestamp or value.ServerTimestamp)
