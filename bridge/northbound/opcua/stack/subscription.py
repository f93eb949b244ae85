"""Subscriptions that cost what clients ask for, not what changes.

    TagValue.set -> TagItem.changed: one dict entry
    every publishing interval -> TagItems.collect -> the newest value (queue size 1), or one per sampling interval

asyncua evaluates, deep-copies and queues every change for every item. Here a tag's item only notes that it has news,
and is looked at when its subscription publishes. Items on other attributes and nodes keep asyncua's way, without
the copy.
Filters: Part 4, 7.22.2; absolute deadband against the value last sent, percent deadband of EURange (Part 8, 6.2).
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections import deque
from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemData, MonitoredItemService, MonitoredItemValues
from asyncua.server.subscription_service import SubscriptionService
from asyncua.ua.uaprotocol_auto import DataChangeFilter  # what is decoded; ua has a subclass of it

from bridge.northbound.opcua.stack.event_items import EventItems
from bridge.northbound.opcua.stack.values import TagValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncua.server.address_space import AddressSpace

    from bridge.northbound.opcua.config import OpcuaLimits
    from bridge.northbound.opcua.stack.event_filter import Notification
    from bridge.ports import Clock

_log = logging.getLogger(__name__)

MIN_PUBLISHING_MS, MAX_PUBLISHING_MS = 50.0, 3_600_000.0
MAX_LIFETIME_MS = 600_000.0
"""A subscription whose client is silent is given up after ten minutes at most."""
MAX_UNACKNOWLEDGED = 50
"""Messages kept for Republish, per subscription."""
OVERFLOW = 0x480
"""StatusCode info bits: InfoType DataValue, Overflow (Part 4, 7.39.1)."""


@dataclasses.dataclass(slots=True)
class Wish:
    """What a client asked for an item, revised."""

    client_handle: int
    sampling_ms: float
    queue_size: int
    trigger: ua.DataChangeTrigger
    deadband: float


class TagItem:
    """One monitored item on a tag's value."""

    __slots__ = (
        "_due",
        "_monotonic",
        "_news",
        "_overflow",
        "_queue",
        "_sent",
        "_tick",
        "id",
        "mode",
        "node_id",
        "tag",
        "wish",
    )

    def __init__(
        self,
        identifier: int,
        node_id: ua.NodeId,
        tag: TagValue,
        wish: Wish,
        mode: ua.MonitoringMode,
        news: dict[int, TagItem],
        monotonic: Callable[[], float],
    ) -> None:
        self.id = identifier
        self.node_id = node_id
        self.tag = tag
        self.wish = wish
        self.mode = mode
        self._news = news
        self._monotonic = monotonic
        self._queue: deque[ua.DataValue] = deque()
        self._tick = -1
        self._sent: ua.DataValue | None = None
        self._due = 0.0
        self._overflow = False

    def changed(self) -> None:
        """The tag has a new value."""
        self._news[self.id] = self
        if self.wish.queue_size > 1:
            self._sample()

    def _sample(self) -> None:
        tick = int(self._monotonic() * 1000 / self.wish.sampling_ms)
        if self._queue and tick == self._tick:
            self._queue[-1] = self.tag.value
            return
        self._tick = tick
        self._queue.append(self.tag.value)
        if len(self._queue) > self.wish.queue_size:
            self._queue.popleft()
            self._overflow = True

    def take(self, now: float, publishing_ms: float) -> list[ua.MonitoredItemNotification] | None:
        """What is to be sent now; None when it is not yet time."""
        if self.mode != ua.MonitoringMode.Reporting or now < self._due:
            return None
        if self.wish.sampling_ms > publishing_ms:  # half a publishing interval of grace: the loop's steps are not exact
            self._due = now + (self.wish.sampling_ms - publishing_ms / 2) / 1000
        values = list(self._queue) or [self.tag.value]
        self._queue.clear()
        if self._overflow:
            values[0], self._overflow = _with_overflow(values[0]), False
        return [self._notification(value) for value in values if self._is_news(value)]

    def _notification(self, value: ua.DataValue) -> ua.MonitoredItemNotification:
        self._sent = value
        return ua.MonitoredItemNotification(ClientHandle=self.wish.client_handle, Value=value)

    def _is_news(self, value: ua.DataValue) -> bool:
        sent, wish = self._sent, self.wish
        if sent is None or sent.StatusCode != value.StatusCode:
            return True
        if wish.trigger == ua.DataChangeTrigger.Status:
            return False
        if wish.trigger == ua.DataChangeTrigger.StatusValueTimestamp and sent.SourceTimestamp != value.SourceTimestamp:
            return True
        before, after = sent.Value.Value, value.Value.Value
        if before == after:
            return False
        return not wish.deadband or before is None or after is None or abs(after - before) > wish.deadband

    def forget(self) -> None:
        """Begin anew: the next value is sent, whatever was sent before."""
        self._sent = None
        self._due = 0.0
        self._queue.clear()
        self._news[self.id] = self


def _with_overflow(value: ua.DataValue) -> ua.DataValue:
    code = value.StatusCode.value if value.StatusCode else 0
    return dataclasses.replace(value, StatusCode=ua.StatusCode(code | OVERFLOW))


class _SharedValues(MonitoredItemValues):
    """Keeps values by reference: nobody in this process changes a DataValue that is in the address space."""

    old_dvalue: ua.DataValue | None
    current_dvalue: ua.DataValue | None

    def set_current_datavalue(self, cur_val: ua.DataValue) -> None:
        self.old_dvalue = self.current_dvalue
        self.current_dvalue = cur_val


class TagItems(MonitoredItemService):
    """The monitored items of one subscription."""

    def __init__(self, isub: InternalSubscription, aspace: AddressSpace, clock: Clock, fastest_ms: float) -> None:
        # Not super().__init__: it makes a logger per subscription, and loggers live for ever.
        self.logger = logging.getLogger("asyncua.server.monitored_item_service")
        self.isub = isub
        self.aspace = aspace
        self._monitored_items: dict[int, MonitoredItemData] = {}
        self._monitored_events: dict[ua.NodeId, list[int]] = {}
        self._monitored_datachange: dict[int, int] = {}
        self._monitored_item_counter = 111
        self._clock = clock
        self._fastest_ms = fastest_ms
        self._tags: dict[int, TagItem] = {}
        self._news: dict[int, TagItem] = {}
        self.events = EventItems(isub, aspace)

    def __len__(self) -> int:
        return len(self._tags) + len(self._monitored_items) + len(self.events)

    def collect(self, queue: dict[int, list[Any]]) -> None:
        """Move what is due into the subscription's queue of notifications."""
        if not self._news:
            return
        now, publishing_ms = self._clock.monotonic(), self.isub.data.RevisedPublishingInterval
        for identifier, item in list(self._news.items()):
            fresh = item.take(now, publishing_ms)
            if fresh is None:
                continue
            del self._news[identifier]
            if fresh:
                waiting = queue.get(identifier)
                queue[identifier] = (waiting + fresh)[-item.wish.queue_size :] if waiting else fresh

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        """New items."""
        for item in params.ItemsToCreate:
            _without_null_filter(item.RequestedParameters)
        return await super().create_monitored_items(params)

    def modify_monitored_items(self, params: ua.ModifyMonitoredItemsParameters) -> list[ua.MonitoredItemModifyResult]:
        """Items with other parameters."""
        for item in params.ItemsToModify:
            _without_null_filter(item.RequestedParameters)
        return super().modify_monitored_items(params)

    async def _create_data_change_monitored_item(
        self, params: ua.MonitoredItemCreateRequest
    ) -> ua.MonitoredItemCreateResult:
        tag = self._tag_value(params.ItemToMonitor)
        if tag is not None:
            return self._create_tag_item(tag, params)
        code = _plain_filter_fault(params.RequestedParameters.Filter)
        if code is not None:
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(code))
        return await super()._create_data_change_monitored_item(params)

    def _create_events_monitored_item(self, params: ua.MonitoredItemCreateRequest) -> ua.MonitoredItemCreateResult:
        self._monitored_item_counter += 1
        return self.events.create(self._monitored_item_counter, params)

    def _make_monitored_item_common(
        self, params: ua.MonitoredItemCreateRequest
    ) -> tuple[ua.MonitoredItemCreateResult, MonitoredItemData]:
        result, data = super()._make_monitored_item_common(params)
        data.mvalue = _SharedValues()
        return result, data

    def _tag_value(self, target: ua.ReadValueId) -> TagValue | None:
        node = self.aspace.get(target.NodeId) if target.AttributeId == ua.AttributeIds.Value else None
        value = node.attributes.get(ua.AttributeIds.Value) if node else None
        return value if isinstance(value, TagValue) else None

    def _create_tag_item(self, tag: TagValue, params: ua.MonitoredItemCreateRequest) -> ua.MonitoredItemCreateResult:
        if params.ItemToMonitor.IndexRange:
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadIndexRangeNoData))
        node_id = params.ItemToMonitor.NodeId
        wish = self._wish(params.RequestedParameters, node_id)
        if isinstance(wish, int):
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(wish))
        self._monitored_item_counter += 1
        item = TagItem(
            self._monitored_item_counter, node_id, tag, wish, params.MonitoringMode, self._news, self._clock.monotonic
        )
        self._tags[item.id] = item
        if item.mode != ua.MonitoringMode.Disabled:
            tag.watch(item)
            item.forget()
        return ua.MonitoredItemCreateResult(
            MonitoredItemId=item.id,
            RevisedSamplingInterval=wish.sampling_ms,
            RevisedQueueSize=wish.queue_size,
        )

    def _wish(self, asked: ua.MonitoringParameters, node_id: ua.NodeId) -> Wish | int:
        """What was asked, revised; or the status code that refuses it."""
        trigger, deadband = ua.DataChangeTrigger.StatusValue, 0.0
        if asked.Filter is not None:
            if not isinstance(asked.Filter, DataChangeFilter):
                return ua.StatusCodes.BadMonitoredItemFilterUnsupported
            trigger = asked.Filter.Trigger
            found = self._deadband(asked.Filter, node_id)
            if found is None:
                return ua.StatusCodes.BadDeadbandFilterInvalid
            deadband = found
        return Wish(asked.ClientHandle, self._sampling(asked.SamplingInterval), self._revised(asked), trigger, deadband)

    def _revised(self, asked: ua.MonitoringParameters) -> int:
        return max(1, min(int(asked.QueueSize), self.isub.max_queue_size))

    def _sampling(self, asked: float) -> float:
        if asked < 0:  # Part 4, 7.21: the publishing interval
            asked = self.isub.data.RevisedPublishingInterval
        return min(max(asked, self._fastest_ms), MAX_PUBLISHING_MS) if asked == asked else self._fastest_ms

    def _deadband(self, asked: ua.DataChangeFilter, node_id: ua.NodeId) -> float | None:
        """In the tag's unit; None where it makes no sense."""
        if asked.DeadbandType == ua.DeadbandType.None_:
            return 0.0
        size = float(asked.DeadbandValue)
        if not math.isfinite(size) or size < 0 or not self._is_numeric(node_id):
            return None
        if asked.DeadbandType == ua.DeadbandType.Absolute:
            return size
        span = self._span(node_id)
        return None if span is None or size > 100 else size / 100 * span

    def _is_numeric(self, node_id: ua.NodeId) -> bool:
        data_type = self.aspace.read_attribute_value(node_id, ua.AttributeIds.DataType).Value.Value
        return isinstance(data_type.Identifier, int) and 2 <= data_type.Identifier <= 11  # SByte to Double

    def _span(self, node_id: ua.NodeId) -> float | None:
        node = self.aspace.get(node_id)
        for reference in node.references if node else ():
            if reference.IsForward and reference.BrowseName.Name == "EURange":
                eu_range = self.aspace.read_attribute_value(reference.NodeId, ua.AttributeIds.Value).Value.Value
                return abs(eu_range.High - eu_range.Low)
        return None

    def _modify_monitored_item(self, params: ua.MonitoredItemModifyRequest) -> ua.MonitoredItemModifyResult:
        asked, item = params.RequestedParameters, self._tags.get(params.MonitoredItemId)
        if item is not None:
            return self._modify_tag_item(item, asked)
        if params.MonitoredItemId in self.events:
            return self.events.modify(params.MonitoredItemId, asked)
        data = self._monitored_items.get(params.MonitoredItemId)
        code = ua.StatusCodes.BadMonitoredItemIdInvalid if data is None else _plain_filter_fault(asked.Filter)
        if data is None or code is not None:
            return ua.MonitoredItemModifyResult(StatusCode=ua.StatusCode(code))
        data.client_handle = asked.ClientHandle
        data.queue_size = self._revise_queue_size(asked.QueueSize)
        data.filter = asked.Filter or data.filter
        return ua.MonitoredItemModifyResult(
            RevisedSamplingInterval=self.isub.data.RevisedPublishingInterval, RevisedQueueSize=data.queue_size
        )

    def _modify_tag_item(self, item: TagItem, asked: ua.MonitoringParameters) -> ua.MonitoredItemModifyResult:
        wish = self._wish(asked, item.node_id)
        if isinstance(wish, int):
            return ua.MonitoredItemModifyResult(StatusCode=ua.StatusCode(wish))
        item.wish = wish
        return ua.MonitoredItemModifyResult(RevisedSamplingInterval=wish.sampling_ms, RevisedQueueSize=wish.queue_size)

    async def _set_monitoring_mode(self, mode: ua.MonitoringMode, mid: int) -> ua.StatusCode:
        item = self._tags.get(mid)
        if mid in self.events:
            self.events.set_mode(mid, mode)
            return ua.StatusCode()
        if item is None:
            return await super()._set_monitoring_mode(mode, mid)
        was, item.mode = item.mode, mode
        if mode == ua.MonitoringMode.Disabled:
            item.tag.unwatch(item)
            self._news.pop(mid, None)
        elif was == ua.MonitoringMode.Disabled:
            item.tag.watch(item)
            item.forget()
        return ua.StatusCode()

    def _delete_monitored_items(self, mid: int) -> ua.StatusCode:
        if mid in self.events:
            self.events.delete(mid)
            return ua.StatusCode()
        item = self._tags.pop(mid, None)
        if item is None:
            return super()._delete_monitored_items(mid)
        item.tag.unwatch(item)
        self._news.pop(mid, None)
        return ua.StatusCode()

    def delete_all_monitored_items(self) -> None:
        """The subscription ends."""
        self.delete_monitored_items([*self._tags, *self._monitored_items, *self.events.ids])


def _without_null_filter(asked: ua.MonitoringParameters) -> None:
    """An ExtensionObject of type 0 is how "no filter" is written."""
    if isinstance(asked.Filter, ua.ExtensionObject) and asked.Filter.TypeId == ua.NodeId():
        asked.Filter = None


def _plain_filter_fault(asked: Any) -> int | None:
    """Why asyncua's own items cannot have this filter; None if they can."""
    if asked is None:
        return None
    if not isinstance(asked, DataChangeFilter):
        return int(ua.StatusCodes.BadMonitoredItemFilterUnsupported)
    return None if asked.DeadbandType == ua.DeadbandType.None_ else int(ua.StatusCodes.BadFilterNotAllowed)


class Subscription(InternalSubscription):
    """A subscription with `TagItems`, and the user it belongs to."""

    monitored_item_srv: TagItems

    def __init__(self, *arguments: Any, clock: Clock, fastest_ms: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # The logger InternalSubscription's own item service has just made would otherwise live for ever.
        logging.Logger.manager.loggerDict.pop(self.monitored_item_srv.logger.name, None)
        self.monitored_item_srv = TagItems(self, self.monitored_item_srv.aspace, clock, fastest_ms)
        self.owner: str | None = None

    def has_published_results(self) -> bool:
        """Whether this publishing cycle sends something. Looks at the tags' items first."""
        if self._publishing_enabled:
            self.monitored_item_srv.collect(self._triggered_datachanges)
        return super().has_published_results()


class Subscriptions(SubscriptionService):
    """All subscriptions, with every parameter a client may choose brought within bounds."""

    subscriptions: dict[int, Subscription]

    def __init__(
        self, aspace: AddressSpace, iserver: Any, limits: OpcuaLimits, clock: Clock, fastest_ms: float
    ) -> None:
        super().__init__(aspace, iserver)
        self._limits = limits
        self._clock = clock
        self._fastest_ms = fastest_ms

    @property
    def item_count(self) -> int:
        """Monitored items of everybody."""
        return sum(len(one.monitored_item_srv) for one in self.subscriptions.values())

    def notify(self, event: Notification) -> None:
        """Tell whoever looks at its source."""
        for subscription in self.subscriptions.values():
            subscription.monitored_item_srv.events.take(event)

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        session_id: ua.NodeId,
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        """Begin a subscription. Raises ServiceError BadTooManySubscriptions."""
        if len(self.subscriptions) >= self._limits.subscriptions:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        self._sub_id_counter += 1
        result = revised(params, self._sub_id_counter)
        subscription = Subscription(
            result,
            self.aspace,
            callback,
            session_id,
            request_callback=request_callback,
            delete_callback=lambda: self.subscriptions.pop(result.SubscriptionId, None),
            no_acks_limit=MAX_UNACKNOWLEDGED,
            max_queue_size=self._limits.queue_size,
            publishing_enabled=params.PublishingEnabled,
            clock=self._clock,
            fastest_ms=self._fastest_ms,
        )
        self.subscriptions[result.SubscriptionId] = subscription
        await subscription.start()
        return result


def revised(params: ua.CreateSubscriptionParameters, identifier: int) -> ua.CreateSubscriptionResult:
    """What a client gets for what it asked (Part 4, 5.13.2): a lifetime of three keep-alives to ten minutes."""
    asked = params.RequestedPublishingInterval
    interval = min(max(asked, MIN_PUBLISHING_MS), MAX_PUBLISHING_MS) if asked == asked else MIN_PUBLISHING_MS
    most = max(3, int(MAX_LIFETIME_MS / interval))
    keep_alive = min(max(params.RequestedMaxKeepAliveCount, 1), max(1, most // 3))
    lifetime = min(max(params.RequestedLifetimeCount, 3 * keep_alive), most)
    return ua.CreateSubscriptionResult(
        SubscriptionId=identifier,
        RevisedPublishingInterval=interval,
        RevisedLifetimeCount=lifetime,
        RevisedMaxKeepAliveCount=keep_alive,
    )
