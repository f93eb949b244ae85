"""Methods of conditions, which belong to types of namespace 0 (Part 9, 5.5 to 5.8).

ConditionRefresh, ConditionRefresh2, Acknowledge and AddComment are done. A condition cannot be disabled: Enable says
that it is enabled, Disable that it cannot be. What is optional and not there (Confirm, shelving, suppression) is
answered BadMethodInvalid, as of an object without that method.
"""

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
ADD_COMMENT = ua.NodeId(ua.ObjectIds.ConditionType_AddComment)
ENABLE = ua.NodeId(ua.ObjectIds.ConditionType_Enable)
DISABLE = ua.NodeId(ua.ObjectIds.ConditionType_Disable)
_ABSENT = (
    "AcknowledgeableConditionType_Confirm",
    *(f"ShelvedStateMachineType_{one}" for one in ("TimedShelve", "OneShotShelve", "Unshelve")),
    *(
        f"AlarmConditionType_{one}"
        for one in ("Silence", "Suppress", "Unsuppress", "RemoveFromService", "PlaceInService")
    ),
    "AlarmConditionType_Reset",
)
ABSENT = frozenset(ua.NodeId(getattr(ua.ObjectIds, name)) for name in _ABSENT)
METHODS = frozenset({REFRESH, REFRESH_2, ACKNOWLEDGE, ADD_COMMENT, ENABLE, DISABLE, *ABSENT})

_CODES = ua.StatusCodes
_ARGUMENTS: dict[ua.NodeId, tuple[ua.VariantType, ...]] = {
    REFRESH: (ua.VariantType.UInt32,),
    REFRESH_2: (ua.VariantType.UInt32, ua.VariantType.UInt32),
    ACKNOWLEDGE: (ua.VariantType.ByteString, ua.VariantType.LocalizedText),
    ADD_COMMENT: (ua.VariantType.ByteString, ua.VariantType.LocalizedText),
    ENABLE: (),
    DISABLE: (),
}


class ConditionRoom(Protocol):
    """Where conditions are."""

    def retained(self) -> Sequence[Notification]:
        """What somebody should still look at."""

    def refresh(self, type_name: str) -> Notification:
        """RefreshStartEventType or RefreshEndEventType."""

    def knows(self, condition: ua.NodeId) -> bool:
        """Whether there is such a condition."""

    def acknowledge(self, visitor: Visitor, condition: ua.NodeId, event: Any, comment: str | None) -> int:
        """A status code."""

    def comment(self, visitor: Visitor, condition: ua.NodeId, event: Any, comment: str | None) -> int:
        """A status code."""


class Subscribed(Protocol):
    """A session, as its own subscriptions' event items by id."""

    def event_items(self, subscription: int) -> EventItems | None:
        """None where it is not the session's own."""


def call(
    room: ConditionRoom, session: Subscribed, visitor: Visitor, asked: ua.CallMethodRequest
) -> ua.CallMethodResult:
    """Answer one call of one of METHODS."""
    is_refresh = asked.MethodId in (REFRESH, REFRESH_2)
    if not is_refresh and asked.ObjectId.NamespaceIndex == 0:  # a type, of which nothing can be asked (Part 9, 5.5.6)
        return _result(_CODES.BadNodeIdInvalid)
    if asked.MethodId in ABSENT:
        return _result(_CODES.BadMethodInvalid if room.knows(asked.ObjectId) else _CODES.BadNodeIdUnknown)
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
    if asked.MethodId in (ENABLE, DISABLE):
        code = _CODES.BadConditionAlreadyEnabled if asked.MethodId == ENABLE else _CODES.BadNotExecutable
        return _result(code if room.knows(asked.ObjectId) else _CODES.BadNodeIdUnknown)
    if not is_refresh:
        act = room.acknowledge if asked.MethodId == ACKNOWLEDGE else room.comment
        return _result(act(visitor, asked.ObjectId, values[0], _comment(values[1])))
    return _result(_refresh(room, session.event_items(values[0]), values[1] if len(values) > 1 else None))


def _comment(given: ua.LocalizedText | None) -> str | None:
    """None where neither text nor locale is given: what was said before stays (Part 9, 5.5.6)."""
    if given is None or not (given.Text or given.Locale):
        return None
    return given.Text or ""


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
