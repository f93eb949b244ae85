"""Alarms as conditions (Part 9): their events, ConditionRefresh, Acknowledge and AddComment.

A condition has an id and no node of its own: clients know it by its events (Part 9, 5.5.2 allows it). Limits are
ExclusiveLimitAlarmType, what a vendor says OffNormalAlarmType, a lost source SystemOffNormalAlarmType.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua

from bridge.model.alarm import ALARM_ACKNOWLEDGED, ALARM_ACTIVE, ALARM_INACTIVE, AlarmCondition, AlarmKind
from bridge.model.event import Event
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.config import Role
from bridge.northbound.opcua.stack.event_filter import Notification, Path
from bridge.northbound.opcua.tree import OWN, standard

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.northbound.opcua.events import EventTypes
    from bridge.northbound.opcua.stack.access import Visitor
    from bridge.ports import Clock, Operations

_V = ua.VariantType
TYPES: Final = {
    AlarmKind.LIMIT: "ExclusiveLimitAlarmType",
    AlarmKind.STATE: "OffNormalAlarmType",
    AlarmKind.SOURCE: "SystemOffNormalAlarmType",
}
_LIMITS: Final = {"low_low": "LowLowLimit", "low": "LowLimit", "high": "HighLimit", "high_high": "HighHighLimit"}


def type_of(event: Event) -> ua.NodeId:
    """The condition type of an alarm's event."""
    return standard(TYPES[AlarmKind(str(event.data["alarm"]))])


def condition_fields(event: Event) -> dict[Path, ua.Variant]:
    """What an alarm's event has besides an ordinary event's fields."""
    data = event.data
    is_source = data["alarm"] == AlarmKind.SOURCE
    group = "SystemConditionClassType" if is_source else "ProcessConditionClassType"
    active, acked = bool(data["active"]), bool(data["acked"])
    level = str(data.get("level") or "")
    told = ua.Variant(event.time, _V.DateTime)
    said = data.get("commented")
    fields: dict[str, ua.Variant] = {
        "ConditionClassId": ua.Variant(standard(group), _V.NodeId),
        "ConditionClassName": _text(group.removesuffix("Type")),
        "ConditionName": ua.Variant(convert.text(str(data["name"])), _V.String),
        "BranchId": ua.Variant(ua.NodeId(), _V.NodeId),
        "Retain": ua.Variant(bool(data["retain"]), _V.Boolean),
        "Quality": ua.Variant(ua.StatusCode(), _V.StatusCode),
        "Quality/SourceTimestamp": told,
        "Severity": ua.Variant(data["severity"], _V.UInt16),
        "LastSeverity": ua.Variant(data.get("last_severity") or 0, _V.UInt16),
        "LastSeverity/SourceTimestamp": told,
        "Comment": _text(str(data.get("comment") or "")),
        "Comment/SourceTimestamp": ua.Variant(datetime.fromisoformat(str(said)), _V.DateTime) if said else told,
        "ClientUserId": ua.Variant(
            convert.text(str(data.get("commented_by") or data.get("acked_by") or "")), _V.String
        ),
        "InputNode": ua.Variant(ua.NodeId(str(data["tag"]), OWN), _V.NodeId),
        "SuppressedOrShelved": ua.Variant(False, _V.Boolean),
        **_state("EnabledState", "Enabled", True),
        **_state("AckedState", "Acknowledged" if acked else "Unacknowledged", acked),
        **_state("ActiveState", "Active" if active else "Inactive", active),
    }
    words = "Active" if active else "Inactive"
    fields["ActiveState/EffectiveDisplayName"] = _text(f"{words}/{level}" if level else words)
    if level:
        state = standard(f"ExclusiveLimitStateMachineType_{level}")
        fields["LimitState/CurrentState"] = _text(level)
        fields["LimitState/CurrentState/Id"] = ua.Variant(state, _V.NodeId)
    for key, name in _LIMITS.items():
        limit = data.get(key)
        if isinstance(limit, int | float):
            fields[name] = ua.Variant(float(limit), _V.Double)
    return {tuple((0, step) for step in name.split("/")): value for name, value in fields.items()}


def _state(name: str, words: str, is_so: bool) -> dict[str, ua.Variant]:
    """A TwoStateVariableType."""
    return {name: _text(words), f"{name}/Id": ua.Variant(is_so, _V.Boolean)}


def _text(words: str) -> ua.Variant:
    return ua.Variant(convert.localized(words), _V.LocalizedText)


class Conditions:
    """Answers condition methods (see `bridge.northbound.opcua.stack.conditions.ConditionRoom`)."""

    def __init__(
        self, operations: Operations, types: EventTypes, clock: Clock, event_id: Callable[[str], bytes]
    ) -> None:
        self._operations = operations
        self._types = types
        self._clock = clock
        self._event_id = event_id

    def retained(self) -> list[Notification]:
        """What somebody should still look at, as it was told last."""
        return [self._types.notification(_told(one), one.since) for one in self._operations.alarms()]

    def refresh(self, type_name: str) -> Notification:
        """The beginning or the end of what a refresh tells."""
        now, server, type_id = self._clock.now(), standard("Server"), standard(type_name)
        fields = {
            "EventId": ua.Variant(uuid.uuid4().bytes, _V.ByteString),
            "EventType": ua.Variant(type_id, _V.NodeId),
            "SourceNode": ua.Variant(server, _V.NodeId),
            "SourceName": ua.Variant("Server", _V.String),
            "Time": ua.Variant(now, _V.DateTime),
            "ReceiveTime": ua.Variant(now, _V.DateTime),
            "Message": _text("Refresh begins" if "Start" in type_name else "Refresh ends"),
            "Severity": ua.Variant(100, _V.UInt16),
        }
        by_path: dict[Path, ua.Variant] = {((0, name),): value for name, value in fields.items()}
        return Notification(type_id, self._types.supertypes(type_id), server, by_path)

    def knows(self, condition: ua.NodeId) -> bool:
        """Whether it is the id of an alarm that stands or is not acknowledged."""
        return self._found(condition) is not None

    def acknowledge(self, visitor: Visitor, condition: ua.NodeId, event: Any, comment: str | None) -> int:
        """Note that this visitor has seen it; a status code."""
        found = self._may(visitor, condition, event)
        if isinstance(found, int):
            return found
        words = None if comment is None else convert.text(comment)
        done = self._operations.acknowledge(found.id, visitor.requester, words)
        return 0 if done else int(ua.StatusCodes.BadConditionBranchAlreadyAcked)

    def comment(self, visitor: Visitor, condition: ua.NodeId, event: Any, comment: str | None) -> int:
        """Note what this visitor says about it; a status code."""
        found = self._may(visitor, condition, event)
        if isinstance(found, int):
            return found
        if comment is not None:
            self._operations.comment(found.id, visitor.requester, convert.text(comment))
        return 0

    def _may(self, visitor: Visitor, condition: ua.NodeId, event: Any) -> AlarmCondition | int:
        """The condition, if this visitor may say something about it and means what it is now; else why not."""
        if visitor.rights is Role.OBSERVER:
            return int(ua.StatusCodes.BadUserAccessDenied)
        found = self._found(condition)
        if found is None:
            return int(ua.StatusCodes.BadNodeIdUnknown)
        if event not in (self._event_id(found.event), self._event_id(found.raised)):
            return int(ua.StatusCodes.BadEventIdUnknown)
        return found

    def _found(self, condition: ua.NodeId) -> AlarmCondition | None:
        known = {one.id: one for one in self._operations.alarms()}
        return known.get(str(condition.Identifier)) if condition.NamespaceIndex == OWN else None


def _told(condition: AlarmCondition) -> Event:
    """The event that told its state last, made again."""
    kind = ALARM_ACTIVE if condition.active else ALARM_ACKNOWLEDGED if condition.acked else ALARM_INACTIVE
    moment: datetime = condition.since
    return Event(
        condition.event, kind, moment, condition.message, condition.severity, "", condition.machine, condition.data()
    )
