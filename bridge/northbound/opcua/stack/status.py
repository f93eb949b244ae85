"""ServerStatus, ServiceLevel and the limits a client can read, written into namespace 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncua import ua

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


async def advertise(aspace: AddressSpace, limits: OpcuaLimits, fastest_ms: float, now: datetime) -> None:
    """Write the limits we enforce where clients look for them (Part 5, 6.3.2 and 6.3.11)."""
    counts = {
        IDS.Server_ServerCapabilities_MaxSessions: limits.sessions,
        IDS.Server_ServerCapabilities_MaxSubscriptions: limits.subscriptions,
        IDS.Server_ServerCapabilities_MaxMonitoredItems: limits.monitored_items,
        IDS.Server_ServerCapabilities_MaxSubscriptionsPerSession: limits.subscriptions_per_session,
        IDS.Server_ServerCapabilities_MaxMonitoredItemsPerSubscription: limits.monitored_items_per_session,
        IDS.Server_ServerCapabilities_MaxMonitoredItemsQueueSize: limits.queue_size,
        IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead: limits.operations,
        IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite: limits.operations,
        IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerMethodCall: limits.operations,
        IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse: limits.operations,
        IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds: limits.operations,
        IDS.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall: limits.operations,
    }
    history = "OperationLimits_MaxNodesPerHistoryRead"
    counts |= {getattr(IDS, f"Server_ServerCapabilities_{history}{what}"): MAX_NODES for what in ("Data", "Events")}
    for identifier, count in counts.items():
        await _write(aspace, identifier, ua.Variant(count, ua.VariantType.UInt32), now)
    for name, value in _HISTORY.items():
        kind = ua.VariantType.Boolean if isinstance(value, bool) else ua.VariantType.UInt32
        await _write(aspace, getattr(IDS, f"HistoryServerCapabilities_{name}"), ua.Variant(value, kind), now)
    notifier = ua.Variant(
        ua.EventNotifier.SubscribeToEvents.mask | ua.EventNotifier.HistoryRead.mask, ua.VariantType.Byte
    )
    await _write(aspace, IDS.Server, notifier, now, ua.AttributeIds.EventNotifier)
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
