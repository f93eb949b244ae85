"""Methods of conditions, which belong to types of namespace 0: ConditionRefresh, ConditionRefresh2, Acknowledge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from asyncua import ua

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.northbound.opcua.stack.access import Visitor
    from bridge.northbound.opcua.stack.event_filter import Notification
    from bridge.northbound.opcua.stack.event_items import EventItems

REFRESH = ua.NodeId(ua.ObjectIds.ConditionType_ConditionRefresh)
REFRESH_2 = ua.NodeId(ua.ObjectIds.ConditionType_ConditionRefresh2)
ACKNOWLEDGE = ua.NodeId(ua.ObjectIds.AcknowledgeableConditionType_Acknowledge)
METHODS = frozenset({REFRESH, REFRESH_2, ACKNOWLEDGE})

_CODES = ua.StatusCodes
_ARGUMENTS: dict[ua.NodeId, tuple[ua.VariantType, ...]] = {
    REFRESH: (ua.VariantType.UInt32,),
    REFRESH_2: (ua.VariantType.UInt32, ua.VariantType.UInt32),
    ACKNOWLEDGE: (ua.VariantType.ByteString, ua.VariantType.LocalizedText),
}


class ConditionRoom(Protocol):
    """Where conditions are."""

    def retained(self) -> Sequence[Notification]:
        """What somebody should still look at."""

    def refresh(self, type_name: str) -> Notification:
        """RefreshStartEventType or RefreshEndEventType."""

    def acknowledge(self, visitor: Visitor, condition: ua.NodeId, event: Any, comment: str) -> int:
        """A status code."""


class Subscribed(Protocol):
    """A session, as its own subscriptions' event items by id."""

    def event_items(self, subscription: int) -> EventItems | None:
        """None where it is not the session's own."""


def call(
    room: ConditionRoom, session: Subscribed, visitor: Visitor, asked: ua.CallMethodRequest
) -> ua.CallMethodResult:
    """Answer one call of one of METHODS."""
    wanted, given = _ARGUMENTS[asked.MethodId], asked.InputArguments or []
    if len(given) != len(wanted):
        code = _CODES.BadArgumentsMissing if len(given) < len(wanted) else _CODES.BadTooManyArguments
        return _result(code)
    wrong = [one.VariantType != kind or one.is_array for one, kind in zip(given, wanted, strict=True)]
    if any(wrong):
        result = _result(_CODES.BadInvalidArgument)
        result.InputArgumentResults = [ua.StatusCode(_CODES.BadTypeMismatch if one else 0) for one in wrong]
        return result
    values = [one.Value for one in given]
    if asked.MethodId == ACKNOWLEDGE:
        comment = values[1].Text if values[1] is not None else None
        return _result(room.acknowledge(visitor, asked.ObjectId, values[0], comment or ""))
    return _result(_refresh(room, session.event_items(values[0]), values[1] if len(values) > 1 else None))


def _refresh(room: ConditionRoom, items: EventItems | None, only: int | None) -> int:
    if items is None:
        return int(_CODES.BadSubscriptionIdInvalid)
    if only is not None and only not in items:
        return int(_CODES.BadMonitoredItemIdInvalid)
    items.take(room.refresh("RefreshStartEventType"), only, is_framing=True)
    for one in room.retained():
        items.take(one, only)
    items.take(room.refresh("RefreshEndEventType"), only, is_framing=True)
    return 0


def _result(code: int) -> ua.CallMethodResult:
    return ua.CallMethodResult(StatusCode=ua.StatusCode(code))
