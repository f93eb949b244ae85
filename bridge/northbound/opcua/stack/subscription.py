"""Subscriptions that cost what clients ask for, not what changes.

    TagValue.set -> TagItem.changed: one dict entry
    every publishing interval -> TagItems.take -> bytes of the newest value, or of one per sampling interval (queue)

asyncua evaluates, deep-copies and queues every change for every item. Here a tag's item only notes that it has news,
and is looked at when its subscription has a Publish request to answer; the value's bytes are made once for everybody
(wire.py). Items on other attributes and nodes keep asyncua's way, without the copy.
Filters: Part 4, 7.22.2; absolute deadband against the value last sent, percent deadband of EURange (Part 8, 6.2).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
from bisect import bisect_right
from datetime import UTC, datetime
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Protocol

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemData, MonitoredItemService, MonitoredItemValues
from asyncua.server.subscription_service import SubscriptionService
from asyncua.ua.ua_binary import extensionobject_to_binary, struct_to_binary
from asyncua.ua.uaprotocol_auto import DataChangeFilter  # what is decoded; ua has a subclass of it

from bridge.northbound.opcua.stack import data_encoding, ranges, services, wire
from bridge.northbound.opcua.stack.event_items import EventItems
from bridge.northbound.opcua.stack.space import Gone
from bridge.northbound.opcua.stack.tag_item import HANDLE, TagItem, Wish
from bridge.northbound.opcua.stack.values import TagValue
from bridge.northbound.opcua.stack.wire import SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncua.server.address_space import AddressSpace

    from bridge.northbound.opcua.config import OpcuaLimits
    from bridge.northbound.opcua.stack.event_filter import Notification
    from bridge.northbound.opcua.stack.services import Message, Parked
    from bridge.ports import Clock

_log = logging.getLogger(__name__)

MIN_PUBLISHING_MS, MAX_PUBLISHING_MS = 50.0, 3_600_000.0
MAX_LIFETIME_MS = 600_000.0
"""A subscription whose client is silent is given up after ten minutes at most."""
MAX_UNACKNOWLEDGED = 50
"""Messages kept for Republish, per subscription."""
MAX_KEPT = 4 * 2**20
"""Bytes of those, per subscription."""
MAX_SEQUENCE = 2**32 - 1
MAX_PER_MESSAGE = 2_500
"""Notifications in one message, whatever the client allows; the next one follows at once. The client decodes a message
while the next one is made, and the loop is held for a quarter of the time that 10 000 would hold it."""
BESIDES = 300 + 4 * MAX_UNACKNOWLEDGED
"""Bytes of a PublishResponse that are no notifications, but for the results of acknowledgements."""


class PublishChannel(Protocol):
    """The connection a subscription publishes on."""

    def get_publish_request(self, subscription_id: int) -> Parked | None:
        """The request that has waited longest; None, and the subscription is told of the next one."""

    def give_back(self, request: Parked) -> None:
        """It was not needed, and is the first again."""

    def keep_farewell(self, message: Message, session_id: ua.NodeId) -> None:
        """The last message of a subscription that has ended, for its session's next request."""

    async def forward_publish_response(self, result: Message, requestdata: Parked) -> None:
        """Answer a Publish request."""

    @property
    def max_response(self) -> int | None:
        """Bytes of an answer, if they are bounded."""


class _SharedValues(MonitoredItemValues):
    """Keeps values by reference: nobody in this process changes a DataValue that is in the address space."""

    old_dvalue: ua.DataValue | None
    current_dvalue: ua.DataValue | None

    def set_current_datavalue(self, cur_val: ua.DataValue) -> None:
        self.old_dvalue = self.current_dvalue
        self.current_dvalue = cur_val


class TagItems(MonitoredItemService):
    """The monitored items of one subscription."""

    def __init__(self, isub: Subscription, aspace: AddressSpace, clock: Clock, fastest_ms: float) -> None:
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
        self.events = EventItems(isub, aspace, lambda: isub.events_left(isub.session_id))
        self._timestamps = ua.TimestampsToReturn.Both
        """Of the request being answered."""
        self._restamped: dict[int, ua.TimestampsToReturn] = {}
        """Items of asyncua's that are not sent with both times."""
        self._watched: dict[int, Any] = {}
        """The attribute's value that one of asyncua's items is on, by its handle; None where its node is gone."""
        self._homeless: dict[int, TagItem] = {}
        """Items that were enabled while their node was not there."""
        self._ranges: dict[int, str] = {}
        """The part of the value that is asked for, by item; of nodes that are no tags."""
        self.keeping_oldest: set[int] = set()
        """Items of asyncua's whose newest values give way."""
        self._left: list[bytes] = []
        """Notifications that had no room in the last message."""

    @property
    def has_news(self) -> bool:
        """Something may be there to be sent."""
        return bool(self._news or self._left)

    def __len__(self) -> int:
        return len(self._tags) + len(self._monitored_items) + len(self.events)

    def take(self, most: int) -> tuple[list[bytes], int]:
        """Notifications to be sent now, in parts that are to be joined, and how many they are."""
        parts, self._left = self._left[:most], self._left[most:]
        count = len(parts)
        return parts, count if count == most else count + self._collect(parts, most - count)

    def _collect(self, parts: list[bytes], room: int) -> int:
        """Add what items have to tell, `room` notifications at most; how many."""
        now, publishing_ms = self._clock.monotonic(), self.isub.data.RevisedPublishingInterval
        later: list[TagItem] = []
        left = room
        while left and self._news:
            for item in (news := iter(self._next(left))):
                if item.direct_ms <= publishing_ms:  # as item.take() would, without its calls: nearly every item is one
                    tag = item.tag
                    data = tag.made
                    if data is None:
                        data = tag.made = tag.encode(tag.now)
                    alike = data[:SOURCE]
                    if alike != item.sent:
                        item.sent = alike
                        parts += (item.handle, data)
                        left -= 1
                elif not item.is_due(now, publishing_ms):
                    later.append(item)
                else:
                    fresh = item.take()
                    parts += fresh[:left]
                    self._left += fresh[left:]
                    left = max(0, left - len(fresh))
                if not left:
                    self._put_back(list(news))
        self._news.update((item.id, item) for item in later)
        return room - left

    def _next(self, most: int) -> list[TagItem]:
        """Items that have news, the earliest first; they have none after that."""
        news = self._news
        taken = list(islice(news.values(), most))
        if len(taken) == len(news):
            news.clear()
        else:
            for item in taken:
                del news[item.id]
        return taken

    def _put_back(self, items: list[TagItem]) -> None:
        """They have news still, and are the first again."""
        if items:
            others = dict(self._news)
            self._news.clear()
            self._news.update((item.id, item) for item in items)
            self._news.update(others)

    def fitted(self, parts: list[bytes], room: int, *, least: int) -> tuple[list[bytes], int]:
        """Of what `take` and `encoded` gave, what has room, and `least` notifications in any case; the others wait."""
        rest = iter(parts)  # `take` gives a plain item's handle and value apart
        whole = [part + next(rest) if len(part) == HANDLE.size else part for part in rest]
        count = max(least, bisect_right(list(accumulate(map(len, whole))), room))
        self._left = whole[count:] + self._left
        return whole[:count], count

    def encoded(self, queue: dict[int, list[ua.MonitoredItemNotification]], most: int) -> list[bytes]:
        """Notifications of asyncua's items, taken out of their queue."""
        taken: list[bytes] = []
        for identifier in list(queue):
            if len(taken) >= most:
                break
            if self._monitored_items[identifier].mode != ua.MonitoringMode.Reporting:
                continue  # asyncua tells what is only sampled, too
            wanted = self._restamped.get(identifier, ua.TimestampsToReturn.Both)
            part = self._ranges.get(identifier)
            waiting, room = queue.pop(identifier), most - len(taken)
            if waiting[room:]:
                queue[identifier] = waiting[room:]
            taken += (
                HANDLE.pack(one.ClientHandle) + wire.encoded(wire.restamped(ranges.part(one.Value, part), wanted))
                for one in waiting[:room]
            )
        return taken

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        """New items."""
        self._timestamps = _valid(params.TimestampsToReturn)
        for item in params.ItemsToCreate:
            _without_null_filter(item.RequestedParameters)
        return await super().create_monitored_items(params)

    def modify_monitored_items(self, params: ua.ModifyMonitoredItemsParameters) -> list[ua.MonitoredItemModifyResult]:
        """Items with other parameters."""
        self._timestamps = _valid(params.TimestampsToReturn)
        for item in params.ItemsToModify:
            _without_null_filter(item.RequestedParameters)
        return super().modify_monitored_items(params)

    async def _create_data_change_monitored_item(
        self, params: ua.MonitoredItemCreateRequest
    ) -> ua.MonitoredItemCreateResult:
        code = data_encoding.fault(self.aspace, params.ItemToMonitor)
        if code is not None:
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(code))
        tag = self._tag_value(params.ItemToMonitor)
        if tag is not None:
            return self._create_tag_item(tag, params)
        code = _plain_filter_fault(params.RequestedParameters.Filter)
        if code is not None:
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(code))
        part = params.ItemToMonitor.IndexRange
        if part and not ranges.is_valid(part):
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadIndexRangeInvalid))
        result = await super()._create_data_change_monitored_item(params)
        if result.StatusCode.is_good():
            target, data = params.ItemToMonitor, self._monitored_items[result.MonitoredItemId]
            self._watched[data.callback_handle] = self.aspace[target.NodeId].attributes[target.AttributeId]
            if part:
                self._ranges[result.MonitoredItemId] = part
            self._note(result.MonitoredItemId, params.RequestedParameters)
        return result

    def _note(self, identifier: int, asked: ua.MonitoringParameters) -> None:
        """What asyncua does not look at."""
        if asked.DiscardOldest:
            self.keeping_oldest.discard(identifier)
        else:
            self.keeping_oldest.add(identifier)
        if self._timestamps == ua.TimestampsToReturn.Both:
            self._restamped.pop(identifier, None)
        else:
            self._restamped[identifier] = self._timestamps

    def _create_events_monitored_item(self, params: ua.MonitoredItemCreateRequest) -> ua.MonitoredItemCreateResult:
        code = data_encoding.fault(self.aspace, params.ItemToMonitor)
        if code is not None:
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(code))
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
        part = params.ItemToMonitor.IndexRange
        if part:
            codes = ua.StatusCodes
            code = codes.BadIndexRangeNoData if ranges.is_valid(part) else codes.BadIndexRangeInvalid
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(code))
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
        return Wish(
            asked.ClientHandle,
            self._sampling(asked.SamplingInterval),
            self._revised(asked),
            asked.DiscardOldest,
            trigger,
            deadband,
            self._timestamps,
        )

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
        if data_type is None:  # its node was taken out
            return False
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
        data.filter = asked.Filter
        self._note(params.MonitoredItemId, asked)
        return ua.MonitoredItemModifyResult(
            RevisedSamplingInterval=self.isub.data.RevisedPublishingInterval, RevisedQueueSize=data.queue_size
        )

    def _modify_tag_item(self, item: TagItem, asked: ua.MonitoringParameters) -> ua.MonitoredItemModifyResult:
        wish = self._wish(asked, item.node_id)
        if isinstance(wish, int):
            return ua.MonitoredItemModifyResult(StatusCode=ua.StatusCode(wish))
        item.adopt(wish)
        return ua.MonitoredItemModifyResult(RevisedSamplingInterval=wish.sampling_ms, RevisedQueueSize=wish.queue_size)

    async def _set_monitoring_mode(self, mode: ua.MonitoringMode, mid: int) -> ua.StatusCode:
        item = self._tags.get(mid)
        if mid in self.events:
            self.events.set_mode(mid, mode)
            return ua.StatusCode()
        if item is None:
            if mode == ua.MonitoringMode.Disabled:
                self.isub._triggered_datachanges.pop(mid, None)
            return await super()._set_monitoring_mode(mode, mid)
        was = item.mode
        item.report(mode)
        if mode == ua.MonitoringMode.Disabled:
            self._stop(item)
        elif was == ua.MonitoringMode.Disabled:
            item.tag = self._there(item) or self._lost(item)  # its node may have been made anew meanwhile
            item.tag.watch(item)
            item.forget()
        return ua.StatusCode()

    def _delete_monitored_items(self, mid: int) -> ua.StatusCode:
        if mid in self.events:
            self.events.delete(mid)
            return ua.StatusCode()
        item = self._tags.pop(mid, None)
        if item is None:
            self.isub._triggered_datachanges.pop(mid, None)
            self._restamped.pop(mid, None)
            self._ranges.pop(mid, None)
            self.keeping_oldest.discard(mid)
            data = self._monitored_items.get(mid)
            if data is not None:
                _callbacks(self._watched.pop(data.callback_handle, None)).pop(data.callback_handle, None)
                # asyncua would look for it at a node that may be gone.
                self.aspace._handle_to_attribute_map.pop(data.callback_handle, None)
            return super()._delete_monitored_items(mid)
        self._stop(item)
        return ua.StatusCode()

    def _stop(self, item: TagItem) -> None:
        item.tag.unwatch(item)
        self._news.pop(item.id, None)
        self._homeless.pop(item.id, None)

    def _there(self, item: TagItem) -> TagValue | None:
        return self._tag_value(ua.ReadValueId(item.node_id, ua.AttributeIds.Value))

    def _lost(self, item: TagItem) -> Gone:
        """What stands for the value of a node that went while the item was disabled, and nobody looked."""
        self._homeless[item.id] = item
        return Gone(self._clock.now())

    async def look_again(self) -> None:
        """Nodes were made anew or taken out: asyncua's items on them go on, or hear that there is none."""
        for handle, watched in list(self._watched.items()):
            target = self._monitored_items[self._monitored_datachange[handle]].read_value_id
            node = self.aspace.get(target.NodeId)
            found = node.attributes.get(target.AttributeId) if node else None
            if found is watched:
                continue
            _callbacks(watched).pop(handle, None)
            _callbacks(found)[handle] = self.datachange_callback
            self._watched[handle] = found
            await self.trigger_datachange(handle, target.NodeId, target.AttributeId)
        for item in list(self._homeless.values()):
            here = self._there(item)
            if here is not None:
                del self._homeless[item.id]
                item.tag.hand_over(here)

    def tell_again(self) -> None:
        """Every item that reports is to tell its value, whatever it told before."""
        for item in self._tags.values():
            item.tell_again()
        waiting = self.isub._triggered_datachanges
        for identifier, data in self._monitored_items.items():
            if data.mode == ua.MonitoringMode.Reporting and data.read_value_id and identifier not in waiting:
                target = data.read_value_id
                value = self.aspace.read_attribute_value(target.NodeId, target.AttributeId)
                waiting[identifier] = [ua.MonitoredItemNotification(data.client_handle, value)]

    def delete_all_monitored_items(self) -> None:
        """The subscription ends."""
        self.delete_monitored_items([*self._tags, *self._monitored_items, *self.events.ids])


def _valid(timestamps: ua.TimestampsToReturn) -> ua.TimestampsToReturn:
    if timestamps == ua.TimestampsToReturn.Invalid:
        raise ServiceError(ua.StatusCodes.BadTimestampsToReturnInvalid)
    return timestamps


def _callbacks(attribute: Any) -> dict[int, Any]:
    """Whom asyncua tells that this attribute's value was written; a tag's has watchers instead."""
    return {} if attribute is None or isinstance(attribute, TagValue) else attribute.datachange_callbacks


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
    data: ua.CreateSubscriptionResult
    session_id: ua.NodeId
    pub_request_callback: Any
    _notification_seq: int
    _task: asyncio.Task[None] | None

    def __init__(
        self,
        *arguments: Any,
        clock: Clock,
        fastest_ms: float,
        events_left: Callable[[ua.NodeId], int],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.events_left = events_left
        # The logger InternalSubscription's own item service has just made would otherwise live for ever.
        logging.Logger.manager.loggerDict.pop(self.monitored_item_srv.logger.name, None)
        self.monitored_item_srv = TagItems(self, self.monitored_item_srv.aspace, clock, fastest_ms)
        self.owner: str | None = None
        self.max_per_message = MAX_PER_MESSAGE
        self._kept: dict[int, Message] = self._not_acknowledged_results

    async def publish_results(self, requestdata: Parked | None = None) -> bool:
        """A publishing cycle, or, with `requestdata`, the request this subscription was late for.

        True when the request was answered. What is to be sent is looked at when there is a request for it, so a client
        that is late gets the newest values and what its queues hold, as if it had asked in time.
        """
        if self._publish_cycles_count > self.data.RevisedLifetimeCount:
            await self._say_farewell()
            return bool(await super().publish_results(requestdata))
        if requestdata is None:
            self._keep_alive_count += 1
        must = self._startup or self._keep_alive_count >= self.data.RevisedMaxKeepAliveCount
        if not must and not self._has_news():
            return False
        request = requestdata or self._next_request()
        if request is None:
            self._publish_cycles_count += 1
            return False
        message = self._message(request, must=must)
        if message is None:
            if requestdata is None:
                self._channel.give_back(request)
            return False
        await self._send(message, request)
        return True

    async def _say_farewell(self) -> None:
        """Its lifetime is over (Part 4, 5.14.1.1): BadTimeout, with the next Publish request if there is none now."""
        message = self._status_change(ua.StatusCodes.BadTimeout)
        request = self._next_request()
        if request is None:
            self._channel.keep_farewell(message, self.session_id)
        else:
            await self.pub_result_callback(message, request)

    def _status_change(self, status: int) -> Message:
        told = extensionobject_to_binary(ua.StatusChangeNotification(Status=ua.StatusCode(status)))
        return services.Message(self.data.SubscriptionId, self._notification_seq, datetime.now(UTC), [told])

    async def _send(self, message: Message, request: Parked) -> None:
        await self.pub_result_callback(message, request)
        following: Message | None = message
        while following is not None and following.more:
            await asyncio.sleep(0)  # others' turn
            next_request = self._next_request()
            if next_request is None:
                return  # noted as late: it goes on with the next request
            following = self._message(next_request, must=False)
            if following is None:
                self._channel.give_back(next_request)
            else:
                await self.pub_result_callback(following, next_request)

    @property
    def _channel(self) -> PublishChannel:
        """The connection its messages go to."""
        channel: PublishChannel = self.pub_request_callback.__self__
        return channel

    def _next_request(self) -> Parked | None:
        return self._channel.get_publish_request(self.data.SubscriptionId)

    def _has_news(self) -> bool:
        if self._triggered_statuschanges:
            return True
        queued = self.monitored_item_srv.has_news or self._triggered_datachanges or self._triggered_events
        return self._publishing_enabled and bool(queued)

    def _message(self, request: Parked, *, must: bool) -> Message | None:
        """What is to be sent now; a keep-alive, without notifications, only if it `must` be."""
        most = self._channel.max_response
        notifications, more = self._notifications(None if most is None else most - BESIDES - 4 * len(request.results))
        if not notifications and not must:
            return None
        self._keep_alive_count = self._publish_cycles_count = 0
        self._startup = False
        message = services.Message(
            self.data.SubscriptionId, self._notification_seq, datetime.now(UTC), notifications, more
        )
        if notifications:
            self._notification_seq = self._notification_seq % MAX_SEQUENCE + 1
            self._keep(message)
        message.available = tuple(self._kept)
        return message

    def _notifications(self, room: int | None) -> tuple[list[bytes], bool]:
        """Encoded, and whether there are more. `room`: bytes, where the client has a bound."""
        notifications, more = [], False
        if self._publishing_enabled:
            items, most = self.monitored_item_srv, self.max_per_message
            events, size = self._events(most, room) if self._triggered_events else ([], 0)
            most -= len(events)
            parts, count = items.take(most)
            others = items.encoded(self._triggered_datachanges, most - count) if self._triggered_datachanges else []
            parts, count = parts + others if others else parts, count + len(others)
            is_full = count >= most or bool(self._triggered_events)
            changes = services.data_changes(parts, count)
            if count and room is not None and len(changes) > room - size:
                taken = count
                parts, count = items.fitted(parts, room - size, least=0 if events else 1)
                is_full = is_full or count < taken
                changes = services.data_changes(parts, count)
            if count:
                notifications.append(changes)
            if events:
                notifications.append(extensionobject_to_binary(ua.EventNotificationList(events)))
            more = is_full and self._has_news()
        if self._triggered_statuschanges:
            status = ua.StatusChangeNotification(Status=self._triggered_statuschanges.pop(0))
            notifications.append(extensionobject_to_binary(status))
        return notifications, more

    def _events(self, most: int, room: int | None) -> tuple[list[ua.EventFieldList], int]:
        """Events that wait, and their bytes where `room` counts; what has no room waits on."""
        taken: list[ua.EventFieldList] = []
        size = 0
        for identifier in list(self._triggered_events):
            waiting = self._triggered_events.pop(identifier)
            fitting = waiting[: most - len(taken)]
            if room is not None:
                sizes = list(accumulate((len(struct_to_binary(one)) for one in fitting), initial=size))
                fitting = fitting[: max(bisect_right(sizes, room) - 1, 0 if taken else 1)]
                size = sizes[len(fitting)]
            taken += fitting
            if waiting[len(fitting) :]:
                self._triggered_events[identifier] = waiting[len(fitting) :]
        return taken, size

    def _keep(self, message: Message) -> None:
        """For Republish: as many as we may, and the newest in any case."""
        self._kept[message.sequence] = message
        size = sum(one.size for one in self._kept.values())
        while len(self._kept) > 1 and (len(self._kept) > self._no_acks_limit or size > MAX_KEPT):
            size -= self._kept.pop(next(iter(self._kept))).size

    def acknowledge(self, sequence: int) -> bool:
        """This message need not be kept; False where it was not."""
        return self._kept.pop(sequence, None) is not None

    async def enqueue_datachange_event(self, mid: int, eventdata: ua.MonitoredItemNotification, maxsize: int) -> None:
        """A change of one of asyncua's own items, which drops the oldest without a word."""
        waiting = self._triggered_datachanges.setdefault(mid, [])
        waiting.append(eventdata)
        if len(waiting) <= max(1, maxsize):
            return
        keeps_oldest = mid in self.monitored_item_srv.keeping_oldest
        del waiting[-2 if keeps_oldest else 0]
        if maxsize > 1:
            beside = waiting[-1 if keeps_oldest else 0]
            code = beside.Value.StatusCode.value if beside.Value.StatusCode else 0
            beside.Value = dataclasses.replace(beside.Value, StatusCode=ua.StatusCode(code | wire.OVERFLOW))

    def change(self, data: ua.CreateSubscriptionResult, max_per_message: int) -> None:
        """Go on with other parameters."""
        is_other = data.RevisedPublishingInterval != self.data.RevisedPublishingInterval
        self.data, self.max_per_message = data, max_per_message
        self._keep_alive_count = self._publish_cycles_count = 0
        if is_other and self._task is not None:
            self._task.cancel()
            name = f"opcua subscription {data.SubscriptionId}"
            self._task = asyncio.create_task(self._subscription_loop(), name=name)

    async def move(self, session_id: ua.NodeId, channel: PublishChannel, *, tell_again: bool) -> list[int]:
        """Go on in another session; the numbers of the messages that are kept. Its old one is told (Part 4, 5.14.7)."""
        if session_id != self.session_id:
            request = self._next_request()
            if request is not None:
                message = self._status_change(ua.StatusCodes.GoodSubscriptionTransferred)
                await self._channel.forward_publish_response(message, request)
        self.session_id = session_id
        self.pub_result_callback = channel.forward_publish_response
        self.pub_request_callback = channel.get_publish_request
        self._publish_cycles_count = 0
        if tell_again:
            self.monitored_item_srv.tell_again()
        return sorted(self._kept)

    def republish(self, nb: int) -> ua.NotificationMessage:
        """A message once more, as it was; an empty one where it is not kept. asyncua gives it only once."""
        kept = self._kept.get(nb)
        return kept.again() if kept else ua.NotificationMessage()


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

    def events_left(self, session_id: ua.NodeId) -> int:
        """Fields of events that may wait for this session, beside what is reserved."""
        own = (one for one in self.subscriptions.values() if one.session_id == session_id)
        return self._limits.event_fields_per_session - sum(one.monitored_item_srv.events.reserved for one in own)

    def notify(self, event: Notification) -> None:
        """Tell whoever looks at its source."""
        for subscription in self.subscriptions.values():
            subscription.monitored_item_srv.events.take(event)

    async def look_again(self) -> None:
        """The address space has changed."""
        for subscription in list(self.subscriptions.values()):
            await subscription.monitored_item_srv.look_again()

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
            events_left=self.events_left,
        )
        subscription.max_per_message = _max_per_message(params)
        self.subscriptions[result.SubscriptionId] = subscription
        await subscription.start()
        return result

    def modify_subscription(self, params: ua.ModifySubscriptionParameters) -> ua.ModifySubscriptionResult:
        """Other parameters, brought within the same bounds."""
        data = revised(params, params.SubscriptionId)
        self.subscriptions[params.SubscriptionId].change(data, _max_per_message(params))
        return ua.ModifySubscriptionResult(
            data.RevisedPublishingInterval, data.RevisedLifetimeCount, data.RevisedMaxKeepAliveCount
        )


def _max_per_message(asked: ua.CreateSubscriptionParameters | ua.ModifySubscriptionParameters) -> int:
    return min(asked.MaxNotificationsPerPublish or MAX_PER_MESSAGE, MAX_PER_MESSAGE)


def revised(
    params: ua.CreateSubscriptionParameters | ua.ModifySubscriptionParameters, identifier: int
) -> ua.CreateSubscriptionResult:
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
