"""Monitored items for events, and the way of an event to them.

    Subscriptions.notify(notification) -> EventItem of every subscription -> its bounded queue -> the next publish

A queue that is full loses its oldest event, and says so once: an EventQueueOverflowEventType in front of those that are
left (Part 4, 7.22.3). asyncua's own way copies every field of every event for every item, and loses them silently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncua import ua

from bridge.northbound.opcua.stack.event_filter import Notification, compile_filter, supertypes

if TYPE_CHECKING:
    from asyncua.server.address_space import AddressSpace
    from asyncua.server.internal_subscription import InternalSubscription

    from bridge.northbound.opcua.stack.event_filter import CompiledFilter

SERVER = ua.NodeId(ua.ObjectIds.Server)
OVERFLOW_TYPE = ua.NodeId(ua.ObjectIds.EventQueueOverflowEventType)
DEFAULT_QUEUE = 100
"""Events kept where a client asks for 0 (Part 4, 7.21: the server's choice)."""

_CODES = ua.StatusCodes


@dataclass(slots=True)
class EventItem:
    """One monitored item on a node's EventNotifier."""

    id: int
    node_id: ua.NodeId
    client_handle: int
    queue_size: int
    filter: CompiledFilter
    mode: ua.MonitoringMode
    overflow: ua.EventFieldList | None = None
    """What stands in front of the queue where events were lost since the last publish."""
    held: list[ua.EventFieldList] = field(default_factory=list)
    """What has come while the item is sampled but not reported."""

    def concerns(self, event: Notification) -> bool:
        """Whether it looks at where the event comes from: the Server object sees all."""
        return self.mode != ua.MonitoringMode.Disabled and self.node_id in (SERVER, event.source)


class EventItems:
    """Those of one subscription."""

    def __init__(self, isub: InternalSubscription, aspace: AddressSpace) -> None:
        self._isub = isub
        self._aspace = aspace
        self._items: dict[int, EventItem] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, identifier: int) -> bool:
        return identifier in self._items

    @property
    def ids(self) -> list[int]:
        """The items' ids."""
        return list(self._items)

    def create(self, identifier: int, params: ua.MonitoredItemCreateRequest) -> ua.MonitoredItemCreateResult:
        """A new item with this id, or why there is none."""
        node_id, asked = params.ItemToMonitor.NodeId, params.RequestedParameters
        code = self._notifier_fault(node_id)
        if code is not None:
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(code))
        answer = compile_filter(asked.Filter, self._aspace)
        if answer.compiled is None:
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(answer.code), FilterResult=answer.result)
        size = self._queue_size(asked.QueueSize)
        self._items[identifier] = EventItem(
            identifier, node_id, asked.ClientHandle, size, answer.compiled, params.MonitoringMode
        )
        return ua.MonitoredItemCreateResult(
            MonitoredItemId=identifier, RevisedQueueSize=size, FilterResult=answer.result
        )

    def _notifier_fault(self, node_id: ua.NodeId) -> int | None:
        found = self._aspace.read_attribute_value(node_id, ua.AttributeIds.EventNotifier)
        if not found.StatusCode.is_good():
            return int(found.StatusCode.value)
        return None if found.Value.Value & ua.EventNotifier.SubscribeToEvents.mask else int(_CODES.BadNotSupported)

    def _queue_size(self, asked: int) -> int:
        return max(1, min(int(asked) or DEFAULT_QUEUE, self._isub.max_queue_size))

    def modify(self, identifier: int, asked: ua.MonitoringParameters) -> ua.MonitoredItemModifyResult:
        """Another filter, queue or handle; all or nothing."""
        item = self._items[identifier]
        result = None
        if asked.Filter is not None:
            answer = compile_filter(asked.Filter, self._aspace)
            result = answer.result
            if answer.compiled is None:
                return ua.MonitoredItemModifyResult(StatusCode=ua.StatusCode(answer.code), FilterResult=result)
            item.filter = answer.compiled
        item.client_handle, item.queue_size = asked.ClientHandle, self._queue_size(asked.QueueSize)
        return ua.MonitoredItemModifyResult(RevisedQueueSize=item.queue_size, FilterResult=result)

    def set_mode(self, identifier: int, mode: ua.MonitoringMode) -> None:
        """Disabled forgets what has come, Sampling holds it, Reporting tells it."""
        item = self._items[identifier]
        item.mode = mode
        if mode == ua.MonitoringMode.Disabled:
            self._forget(item)
        elif mode == ua.MonitoringMode.Reporting and item.held:
            held, item.held = item.held, []
            self._isub._triggered_events.setdefault(identifier, []).extend(held)

    def _forget(self, item: EventItem) -> None:
        item.held, item.overflow = [], None
        self._isub._triggered_events.pop(item.id, None)

    def delete(self, identifier: int) -> None:
        """The item ends; what waits for it goes with it."""
        self._forget(self._items.pop(identifier))

    def take(self, event: Notification, only: int | None = None, *, is_framing: bool = False) -> None:
        """An event happened; `only`: it is for this item alone (ConditionRefresh2).

        `is_framing`: it begins or ends a refresh, and goes to every item, whatever it filters (Part 9, 5.5.7).
        """
        for item in self._items.values():
            if only not in (None, item.id) or item.mode == ua.MonitoringMode.Disabled:
                continue
            if is_framing or (item.concerns(event) and item.filter.wants(event)):
                self._put(item, ua.EventFieldList(item.client_handle, item.filter.fields(event)))

    def _put(self, item: EventItem, fields: ua.EventFieldList) -> None:
        if item.mode == ua.MonitoringMode.Reporting:
            queue = self._isub._triggered_events.setdefault(item.id, [])
        else:
            queue = item.held
        has_overflowed = bool(queue) and queue[0] is item.overflow
        if len(queue) - has_overflowed >= item.queue_size:
            if not has_overflowed:
                item.overflow = ua.EventFieldList(item.client_handle, item.filter.fields(self._overflow()))
                queue.insert(0, item.overflow)
            del queue[1]
        queue.append(fields)

    def _overflow(self) -> Notification:
        return Notification(
            OVERFLOW_TYPE,
            supertypes(self._aspace, OVERFLOW_TYPE),
            SERVER,
            {
                ((0, "EventType"),): ua.Variant(OVERFLOW_TYPE, ua.VariantType.NodeId),
                ((0, "SourceNode"),): ua.Variant(SERVER, ua.VariantType.NodeId),
                ((0, "SourceName"),): ua.Variant("Server", ua.VariantType.String),
                ((0, "Message"),): ua.Variant(
                    ua.LocalizedText("Events were lost: more came than the queue of this item holds", "en"),
                    ua.VariantType.LocalizedText,
                ),
                ((0, "Severity"),): ua.Variant(500, ua.VariantType.UInt16),
            },
        )
