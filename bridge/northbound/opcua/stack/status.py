"""ServerStatus, ServiceLevel and the limits a client can read, written into namespace 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncua import ua

from bridge.northbound.opcua.stack.decoding import MAX_ELEMENTS
from bridge.northbound.opcua.stack.history import MAX_NODES, MAX_VALUES

if TYPE_CHECKING:
    from datetime import datetime

    from asyncua.server.address_space import AddressSpace

    from bridge.northbound.opcua.config import OpcuaLimits

IDS = ua.ObjectIds
SHUTDOWN_REASON = "The bridge is being stopped"

_CHANGES = ("InsertData", "ReplaceData", "UpdateData", "DeleteRaw", "DeleteAtTime", "InsertAnnotation")
_EVENT_CHANGES = ("InsertEvent", "ReplaceEvent", "UpdateEvent", "DeleteEvent")
_HISTORY: dict[str, bool | int] = {
    "AccessHistoryDataCapability": True,
    "AccessHistoryEventsCapability": True,
    "ServerTimestampSupported": True,
    "MaxReturnDataValues": MAX_VALUES,
    "MaxReturnEventValues": MAX_VALUES,
    **{f"{what}Capability": False for what in (*_CHANGES, *_EVENT_CHANGES)},
}
"""Part 11, 5.4.2: the past can be read, and not be changed."""


class ServerStatus:
    """The Server object's status. asyncua writes it from its own clock and never says Shutdown."""

    def __init__(self, aspace: AddressSpace, started: datetime, build: ua.BuildInfo) -> None:
        self._aspace = aspace
        self._started = started
        self._build = build
        self._level: int | None = None

    async def tick(self, now: datetime) -> None:
        """Still running."""
        await self._write(now, ua.ServerState.Running, 0, "")

    async def shutdown(self, now: datetime, seconds: int) -> None:
        """About to end, in so many seconds (Part 5, 12.10)."""
        await self._write(now, ua.ServerState.Shutdown, seconds, SHUTDOWN_REASON)

    async def service_level(self, now: datetime, level: int) -> None:
        """0 to 255; 200 and above is full service (Part 4, 6.6.2.4.2). Its time is that of its last change."""
        if level == self._level:
            return
        self._level = level
        await self._put(now, IDS.Server_ServiceLevel, level, ua.VariantType.Byte)

    async def _write(self, now: datetime, state: ua.ServerState, seconds: int, reason: str) -> None:
        words = ua.LocalizedText(reason, "en") if reason else ua.LocalizedText()
        status = ua.ServerStatusDataType(
            StartTime=self._started,
            CurrentTime=now,
            State=state,
            BuildInfo=self._build,
            SecondsTillShutdown=ua.UInt32(seconds),
            ShutdownReason=words,
        )
        kinds = ua.VariantType
        await self._put(now, IDS.Server_ServerStatus, status, kinds.ExtensionObject)
        await self._put(now, IDS.Server_ServerStatus_StartTime, self._started, kinds.DateTime)
        await self._put(now, IDS.Server_ServerStatus_CurrentTime, now, kinds.DateTime)
        await self._put(now, IDS.Server_ServerStatus_SecondsTillShutdown, seconds, kinds.UInt32)
        await self._put(now, IDS.Server_ServerStatus_ShutdownReason, words, kinds.LocalizedText)
        await self._put(now, IDS.Server_ServerStatus_State, state, kinds.Int32)

    async def _put(self, now: datetime, identifier: int, value: Any, kind: ua.VariantType) -> None:
        data = ua.DataValue(ua.Variant(value, kind), ua.StatusCode(), now, now)
        await self._aspace.write_attribute_value(ua.NodeId(identifier), ua.AttributeIds.Value, data)


_CAPABILITIES = "Server_ServerCapabilities_"
_PER_CALL = ("Read", "Write", "MethodCall", "Browse", "RegisterNodes", "TranslateBrowsePathsToNodeIds")
ADVERTISED: dict[str, tuple[str, ...]] = {
    "sessions": ("MaxSessions",),
    "subscriptions": ("MaxSubscriptions",),
    "subscriptions_per_session": ("MaxSubscriptionsPerSession",),
    "monitored_items": ("MaxMonitoredItems",),
    "monitored_items_per_session": ("MaxMonitoredItemsPerSubscription",),
    "queue_size": ("MaxMonitoredItemsQueueSize",),
    "continuation_points": ("MaxBrowseContinuationPoints",),
    "operations": (
        *(f"OperationLimits_MaxNodesPer{one}" for one in _PER_CALL),
        "OperationLimits_MaxMonitoredItemsPerCall",
    ),
}
"""Limits of the configuration that OPC UA has nodes for (Part 5, 6.3.2 and 6.3.11), below ServerCapabilities.

Of the others there is none: `connections`, `references_per_node`, `message_size` (told in CreateSession) and so on.
"""
NOT_OFFERED = ("HistoryUpdateData", "HistoryUpdateEvents", "NodeManagement")
"""asyncua says 10 000 for these; nothing is said of what is not there."""


_TOLD = {
    IDS.Server_Auditing: ua.Variant(False, ua.VariantType.Boolean),
    IDS.Server_ServerDiagnostics_EnabledFlag: ua.Variant(False, ua.VariantType.Boolean),
    IDS.Server_ServerCapabilities_LocaleIdArray: ua.Variant(["en"], ua.VariantType.String, is_array=True),
    IDS.Server_ServerCapabilities_ServerProfileArray: ua.Variant([], ua.VariantType.String, is_array=True),
    IDS.Server_ServerCapabilities_SoftwareCertificates: ua.Variant([], ua.VariantType.ExtensionObject, is_array=True),
    IDS.Server_ServerCapabilities_MaxQueryContinuationPoints: ua.Variant(0, ua.VariantType.UInt16),
    IDS.Server_ServerCapabilities_MaxHistoryContinuationPoints: ua.Variant(0, ua.VariantType.UInt16),
}
"""Mandatory properties that asyncua leaves without a value (Part 5, 6.3.1 to 6.3.3). Commands are told as audit events,
but not every service is; no profile is certified; continuation points of history have no limit (0): none is kept."""


async def advertise(aspace: AddressSpace, limits: OpcuaLimits, fastest_ms: float, now: datetime) -> None:
    """Write the limits we enforce where clients look for them."""
    for field, names in ADVERTISED.items():
        for name in names:
            kind = ua.VariantType.UInt16 if name == "MaxBrowseContinuationPoints" else ua.VariantType.UInt32
            count = ua.Variant(getattr(limits, field), kind)
            await _write(aspace, getattr(IDS, _CAPABILITIES + name), count, now)
    for name in NOT_OFFERED:
        nothing = ua.Variant(0, ua.VariantType.UInt32)
        await _write(aspace, getattr(IDS, f"{_CAPABILITIES}OperationLimits_MaxNodesPer{name}"), nothing, now)
    for what in ("Data", "Events"):
        nodes = ua.Variant(MAX_NODES, ua.VariantType.UInt32)
        await _write(aspace, getattr(IDS, f"{_CAPABILITIES}OperationLimits_MaxNodesPerHistoryRead{what}"), nodes, now)
    longest = ua.Variant(MAX_ELEMENTS, ua.VariantType.UInt32)
    await _write(aspace, IDS.Server_ServerCapabilities_MaxArrayLength, longest, now)
    for name in ("MaxStringLength", "MaxByteStringLength"):  # nothing longer fits into a request
        await _write(
            aspace, getattr(IDS, _CAPABILITIES + name), ua.Variant(limits.message_size, longest.VariantType), now
        )
    for identifier, told in _TOLD.items():
        await _write(aspace, identifier, told, now)
    for name, value in _HISTORY.items():
        kind = ua.VariantType.Boolean if isinstance(value, bool) else ua.VariantType.UInt32
        await _write(aspace, getattr(IDS, f"HistoryServerCapabilities_{name}"), ua.Variant(value, kind), now)
    notifier = ua.Variant(
        ua.EventNotifier.SubscribeToEvents.mask | ua.EventNotifier.HistoryRead.mask, ua.VariantType.Byte
    )
    await _write(aspace, IDS.Server, notifier, now, ua.AttributeIds.EventNotifier)
    never = ua.Variant(False, ua.VariantType.Boolean)  # conditions cannot be disabled: see `conditions`
    await _write(aspace, IDS.ConditionType_Disable, never, now, ua.AttributeIds.Executable)
    fastest = ua.Variant(fastest_ms, ua.VariantType.Double)
    await _write(aspace, IDS.Server_ServerCapabilities_MinSupportedSampleRate, fastest, now)


async def _write(
    aspace: AddressSpace,
    identifier: int,
    value: ua.Variant,
    now: datetime,
    attribute: ua.AttributeIds = ua.AttributeIds.Value,
) -> None:
    data = ua.DataValue(value, ua.StatusCode(), now, now)
    await aspace.write_attribute_value(ua.NodeId(identifier), attribute, data)
