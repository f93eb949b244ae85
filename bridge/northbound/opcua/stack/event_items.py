"""Monitored items for events, and the way of an event to them.

    Subscriptions.notify(notification) -> EventItem of every subscription -> its bounded queue -> the next publish

The queues of one session have a bound together: a client that asks for more gets shorter ones, and is told (Part 4,
5.13.2: the queue size is revised). So nothing need be counted when events come.

A queue that is full loses its oldest event, and says so once: an EventQueueOverflowEventType in front of those that are
left (Part 4, 7.22.3). asyncua's own way copies every field of every event for every item, and loses them silently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncua import ua

from bridge.northbound.opcua.stack.event_filter import Notification, compile_filter, supertypes

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncua.server.address_space import AddressSpace
    from asyncua.server.internal_subscription import InternalSubscription

    from bridge.northbound.opcua.stack.event_filter import CompiledFilter

SERVER = ua.NodeId(ua.ObjectIds.Server)
OVERFLOW_TYPE = ua.NodeId(ua.ObjectIds.EventQueueOverflowEventType)
DEFAULT_QUEUE = 100
"""Events kept where a client asks for 0 (Part 4, 7.21: the server's choice)."""
WEIGHT = 10
"""An event without its fields weighs as much as so many fields."""

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

    width: int = 0
    """Fields of the widest event that may wait: those of an earlier filter may."""

    @property
    def reserved(self) -> int:
        """Fields its queue may come to."""
        return reserved(self.width, self.queue_size)

    def concerns(self, event: Notification) -> bool:
        """Whether it looks at where the event comes from: the Server object sees all."""
        return self.mode != ua.MonitoringMode.Disabled and self.node_id in (SERVER, event.source)


def reserved(width: int, queue_size: int) -> int:
    """Fields such a queue may come to, with the event that says that others were lost."""
    return (queue_size + 1) * (width + WEIGHT)


class EventItems:
    """Those of one subscription."""

    def __init__(self, isub: InternalSubscription, aspace: AddressSpace, left: Callable[[], int]) -> None:
        """`left` tells how many fields the session's other queues leave."""
        self._left = left
        self.reserved = 0
        """Fields all its queues may come to."""
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
        width = answer.compiled.width
        size = self._queue_size(asked.QueueSize, width)
        if not size:
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(_CODES.BadTooManyMonitoredItems))
        self._items[identifier] = EventItem(
            identifier, node_id, asked.ClientHandle, size, answer.compiled, params.MonitoringMode, width=width
        )
        self.reserved += reserved(width, size)
        return ua.MonitoredItemCreateResult(
            MonitoredItemId=identifier, RevisedQueueSize=size, FilterResult=answer.result
        )

    def _notifier_fault(self, node_id: ua.NodeId) -> int | None:
        found = self._aspace.read_attribute_value(node_id, ua.AttributeIds.EventNotifier)
        if not found.StatusCode.is_good():
            return int(found.StatusCode.value)
        return None if found.Value.Value & ua.EventNotifier.SubscribeToEvents.mask else int(_CODES.BadNotSupported)

    def _queue_size(self, asked: int, width: int, instead_of: int = 0) -> int:
        """What there is room for, beside what the item has; 0 where there is none for a single event."""
        most = (self._left() + instead_of) // reserved(width, 0) - 1
        return min(max(1, min(int(asked) or DEFAULT_QUEUE, self._isub.max_queue_size)), max(0, most))

    def modify(self, identifier: int, asked: ua.MonitoringParameters) -> ua.MonitoredItemModifyResult:
        """Another filter, queue or handle; all or nothing."""
        item = self._items[identifier]
        compiled, result = item.filter, None
        if asked.Filter is not None:
            answer = compile_filter(asked.Filter, self._aspace)
            result = answer.result
            if answer.compiled is None:
                return ua.MonitoredItemModifyResult(StatusCode=ua.StatusCode(answer.code), FilterResult=result)
            compiled = answer.compiled
        before, width = item.reserved, max(item.width, compiled.width)
        size = self._queue_size(asked.QueueSize, width, before)
        if not size:
            return ua.MonitoredItemModifyResult(StatusCode=ua.StatusCode(_CODES.BadTooManyMonitoredItems))
        item.client_handle, item.queue_size, item.filter, item.width = asked.ClientHandle, size, compiled, width
        self.reserved += item.reserved - before
        for queue in (item.held, self._isub._triggered_events.get(identifier)):
            if queue:
                self._trim(item, queue)
        return ua.MonitoredItemModifyResult(RevisedQueueSize=size, FilterResult=result)

    def set_mode(self, identifier: int, mode: ua.MonitoringMode) -> None:
        """Disabled forgets what has come, Sampling holds it, Reporting tells it."""
        item = self._items[identifier]
        item.mode = mode
        if mode == ua.MonitoringMode.Disabled:
            self._forget(item)
        elif mode == ua.MonitoringMode.Reporting and item.held:
            queue, held = self._queue(item), item.held
            item.held = []
            queue += held
            self._trim(item, queue)

    def _queue(self, item: EventItem) -> list[ua.EventFieldList]:
        """Where its events wait."""
        if item.mode == ua.MonitoringMode.Reporting:
            return self._isub._triggered_events.setdefault(item.id, [])
        return item.held

    def _trim(self, item: EventItem, queue: list[ua.EventFieldList]) -> None:
        """The oldest give way, and their loss is told in front."""
        has_overflowed = bool(queue) and queue[0] is item.overflow
        excess = len(queue) - has_overflowed - item.queue_size
        if excess <= 0:
            return
        if not has_overflowed:
            item.overflow = ua.EventFieldList(item.client_handle, item.filter.fields(self._overflow()))
            queue.insert(0, item.overflow)
        del queue[1 : 1 + excess]

    def _forget(self, item: EventItem) -> None:
        item.held, item.overflow = [], None
        self._isub._triggered_events.pop(item.id, None)

    def delete(self, identifier: int) -> None:
        """The item ends; what waits for it goes with it."""
        item = self._items.pop(identifier)
        self.reserved -= item.reserved
        self._forget(item)

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
        queue = self._queue(item)
        queue.append(fields)
        self._trim(item, queue)

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
