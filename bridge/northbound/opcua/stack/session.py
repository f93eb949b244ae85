"""A client's session: what it may ask, how much at once, and only about what is its own."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_session import InternalSession, SessionState

from bridge.northbound.opcua.stack import conditions, data_encoding, ranges, wire
from bridge.northbound.opcua.stack.access import CHANNEL, Channel, Visitor
from bridge.northbound.opcua.stack.browsing import Browser
from bridge.northbound.opcua.stack.history import MAX_NODES
from bridge.northbound.opcua.stack.services import Message, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from bridge.northbound.opcua.stack.engine import GuardedInternalServer
    from bridge.northbound.opcua.stack.event_items import EventItems
    from bridge.northbound.opcua.stack.subscription import PublishChannel, Subscription

_log = logging.getLogger(__name__)

MIN_NONCE = 32
"""Part 4, 5.7.2: bytes of a client's nonce."""

_FOR_THE_USER = {
    ua.AttributeIds.UserAccessLevel: 0xFF & ~ua.AccessLevel.CurrentWrite.mask,
    ua.AttributeIds.UserExecutable: False,
}
"""Attributes that depend on who asks, and what is left of them for somebody who may only look."""


class GuardedSession(InternalSession):
    """A session that came over the network."""

    iserver: GuardedInternalServer

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # asyncua counts its tokens up from 1000, and whoever knows a token may take the session over.
        self.iserver.unregister_external_session(self)
        self.auth_token = ua.NodeId(secrets.token_bytes(32), 0, ua.NodeIdType.ByteString)
        self.iserver.register_external_session(self)
        self.reader = Reader(self.auth_token)
        self.channel: Channel | None = CHANNEL.get()
        self.peer_certificate = self.channel.peer_certificate if self.channel else None
        self.peer = self.channel.peer if self.channel else ""
        """The address it was made from."""
        self.max_response_size = 0
        """Bytes of a response's body the client takes; 0 is no bound (Part 4, 5.6.2)."""
        self.farewells: deque[Message] = deque(maxlen=self.iserver.limits.subscriptions_per_session)
        """Last messages of subscriptions that ended while nobody asked."""
        self._browser = Browser(self.aspace, self.iserver.limits)

    async def create_session(
        self, params: ua.CreateSessionParameters, sockname: tuple[str, int] | None = None
    ) -> ua.CreateSessionResult:
        """Let a client begin. Raises ServiceError with the reason why its certificate is not let in.

        asyncua validates the certificate of this request and never the one whose key opened the channel, so a copy of
        somebody's trusted certificate would do. They must be the same (Part 4, 5.6.2).
        """
        if self.channel is not None and self.channel.is_secured:
            shown = params.ClientCertificate or b""
            if not self.peer_certificate or not shown.startswith(self.peer_certificate):
                raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
            if len(params.ClientNonce or b"") < MIN_NONCE:
                raise ServiceError(ua.StatusCodes.BadNonceInvalid)
            described = params.ClientDescription
            await self.iserver.check_certificate(self.peer_certificate, described.ApplicationUri, self.channel.peer)
            self.iserver.reached_as(params.EndpointUrl or "", is_known=True)
        result = await super().create_session(params, sockname)
        self.max_response_size = params.MaxResponseMessageSize
        result.MaxRequestMessageSize = self.iserver.limits.message_size
        return result

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        """Values of attributes."""
        self._bound(params.NodesToRead)
        if not params.MaxAge >= 0:  # NaN is not either
            raise ServiceError(ua.StatusCodes.BadMaxAgeInvalid)
        if params.TimestampsToReturn == ua.TimestampsToReturn.Invalid:
            raise ServiceError(ua.StatusCodes.BadTimestampsToReturnInvalid)
        results = self.iserver.attribute_service.read(params)
        if any(one.AttributeId in _FOR_THE_USER for one in params.NodesToRead):
            results = [self._as_seen(*pair) for pair in zip(params.NodesToRead, results, strict=True)]
        if any(one.IndexRange for one in params.NodesToRead):  # asyncua would return the whole array
            wanted = (one.IndexRange for one in params.NodesToRead)
            results = [ranges.part(*pair) for pair in zip(results, wanted, strict=True)]
        if any(data_encoding.is_wanted(one.DataEncoding) for one in params.NodesToRead):  # asyncua does not look at it
            results = [self._as_encoded(*pair) for pair in zip(params.NodesToRead, results, strict=True)]
        if params.TimestampsToReturn != ua.TimestampsToReturn.Both:
            results = [wire.restamped(one, params.TimestampsToReturn) for one in results]
        return results

    def _as_encoded(self, asked: ua.ReadValueId, result: ua.DataValue) -> ua.DataValue:
        code = data_encoding.fault(self.aspace, asked)
        return result if code is None else ua.DataValue(StatusCode=ua.StatusCode(code))

    def _as_seen(self, asked: ua.ReadValueId, result: ua.DataValue) -> ua.DataValue:
        """UserAccessLevel and UserExecutable as this session's user has them: clients grey out by them."""
        mask = _FOR_THE_USER.get(asked.AttributeId)
        if (
            mask is None
            or not result.StatusCode.is_good()
            or self.iserver.writes.may_use(self._visitor(), asked.NodeId)
        ):
            return result
        return ua.DataValue(ua.Variant(result.Value.Value & mask, result.Value.VariantType))

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        """Every item is answered by the room of writes; nothing is stored here."""
        self._bound(params.NodesToWrite)
        return await self.iserver.writes.write(self._visitor(), params.NodesToWrite)

    async def call(self, params: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        """As `write`, for methods; those of conditions are answered by the room of conditions."""
        self._bound(params)
        room, visitor = self.iserver.conditions, self._visitor()
        if room is None or not any(one.MethodId in conditions.METHODS for one in params):
            return await self.iserver.writes.call(visitor, params)
        others = [one for one in params if one.MethodId not in conditions.METHODS]
        answers = iter(await self.iserver.writes.call(visitor, others) if others else ())
        return [
            conditions.call(room, self, visitor, one) if one.MethodId in conditions.METHODS else next(answers)
            for one in params
        ]

    def event_items(self, subscription: int) -> EventItems | None:
        """The event items of one of this session's subscriptions."""
        if not self._is_own(subscription):
            return None
        return self.iserver.subscriptions[subscription].monitored_item_srv.events

    async def history_read(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """What was. Raises ServiceError."""
        self._bound(params.NodesToRead)
        if len(params.NodesToRead) > MAX_NODES:
            raise ServiceError(ua.StatusCodes.BadTooManyOperations)
        stamps = ua.TimestampsToReturn
        if params.TimestampsToReturn in (stamps.Neither, stamps.Invalid) and not params.ReleaseContinuationPoints:
            raise ServiceError(ua.StatusCodes.BadTimestampsToReturnInvalid)
        if self.iserver.history is None:
            raise ServiceError(ua.StatusCodes.BadServiceUnsupported)
        return await self.iserver.history.read(params)

    async def browse(self, params: ua.BrowseParameters) -> list[ua.BrowseResult]:
        """References of nodes, in portions."""
        self._bound(params.NodesToBrowse)
        return await self._browser.browse(params)

    async def browse_next(self, parameters: ua.BrowseNextParameters) -> list[ua.BrowseResult]:
        """The next portions."""
        self._bound(parameters.ContinuationPoints)
        return self._browser.browse_next(parameters)

    async def register_nodes(self, nodes: list[ua.NodeId]) -> list[ua.NodeId]:
        """The same ids: they are as fast as any handle."""
        self._bound(nodes)
        return nodes

    async def unregister_nodes(self, nodes: list[ua.NodeId]) -> None:
        """Nothing was kept."""
        self._bound(nodes)

    async def translate_browsepaths_to_nodeids(self, params: list[ua.BrowsePath]) -> list[ua.BrowsePathResult]:
        """Nodes at the ends of browse paths."""
        self._bound(params)
        if any(len(path.RelativePath.Elements) not in range(1, 65) for path in params):
            raise ServiceError(ua.StatusCodes.BadInvalidArgument)
        return await super().translate_browsepaths_to_nodeids(params)

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        """A new subscription of this session's user."""
        if len(self._own_subscriptions()) >= self.iserver.limits.subscriptions_per_session:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        result = await super().create_subscription(params, callback, request_callback)
        self.iserver.subscriptions[result.SubscriptionId].owner = self.user.name
        return result

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        """New items in a subscription of this session."""
        self._bound(params.ItemsToCreate)
        _check(params.TimestampsToReturn)
        self._own(params.SubscriptionId)
        limits, wanted = self.iserver.limits, len(params.ItemsToCreate)
        mine = sum(len(one.monitored_item_srv) for one in self._own_subscriptions())
        if (
            mine + wanted > limits.monitored_items_per_session
            or self.iserver.subscription_service.item_count + wanted > limits.monitored_items
        ):
            raise ServiceError(ua.StatusCodes.BadTooManyMonitoredItems)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(
        self, params: ua.ModifyMonitoredItemsParameters
    ) -> list[ua.MonitoredItemModifyResult]:
        """Change items of this session."""
        self._bound(params.ItemsToModify)
        _check(params.TimestampsToReturn)
        self._own(params.SubscriptionId)
        return await super().modify_monitored_items(params)

    async def delete_monitored_items(self, params: ua.DeleteMonitoredItemsParameters) -> list[ua.StatusCode]:
        """End items of this session."""
        self._bound(params.MonitoredItemIds)
        self._own(params.SubscriptionId)
        return await super().delete_monitored_items(params)

    async def set_monitoring_mode(self, params: ua.SetMonitoringModeParameters) -> list[ua.StatusCode]:
        """Switch items of this session."""
        self._bound(params.MonitoredItemIds)
        self._own(params.SubscriptionId)
        return await super().set_monitoring_mode(params)

    async def set_publishing_mode(self, params: ua.SetPublishingModeParameters) -> list[ua.StatusCode]:
        """Switch subscriptions of this session; those of others do not exist for it."""
        self._bound(params.SubscriptionIds)
        mine = [identifier for identifier in params.SubscriptionIds if self._is_own(identifier)]
        for identifier in mine:
            await self.iserver.subscriptions[identifier].set_publishing_mode(params.PublishingEnabled)
        unknown = ua.StatusCode(ua.StatusCodes.BadSubscriptionIdInvalid)
        return [ua.StatusCode() if identifier in mine else unknown for identifier in params.SubscriptionIds]

    def modify_subscription(self, params: ua.ModifySubscriptionParameters) -> ua.ModifySubscriptionResult:
        """Another interval, lifetime or number of keep-alives."""
        self._own(params.SubscriptionId)
        return super().modify_subscription(params)

    async def delete_subscriptions(self, ids: list[int]) -> list[ua.StatusCode]:
        """End subscriptions of this session; those of others do not exist for it."""
        if self.state is not SessionState.Closed:  # closing ends what there is, if any
            self._bound(ids)
        mine = [identifier for identifier in ids if self._is_own(identifier)]
        results = dict(zip(mine, await super().delete_subscriptions(mine), strict=True))
        unknown = ua.StatusCode(ua.StatusCodes.BadSubscriptionIdInvalid)
        return [results.get(identifier, unknown) for identifier in ids]

    def publish(self, acks: Iterable[ua.SubscriptionAcknowledgement] | None = None) -> tuple[int, list[int]]:
        """Take acknowledgements; the number of this session's subscriptions and a status code per acknowledgement."""
        return self.subscription_count(), self.acknowledge(
            (one.SubscriptionId, one.SequenceNumber) for one in acks or ()
        )

    def subscription_count(self) -> int:
        """How many subscriptions it has. Raises ServiceError BadNoSubscription."""
        own = len(self._own_subscriptions())
        if not own:
            raise ServiceError(ua.StatusCodes.BadNoSubscription)
        return own

    def has_subscriptions(self) -> bool:
        """Whether anything would answer its Publish requests."""
        return bool(self._own_subscriptions())

    def acknowledge(self, received: Iterable[tuple[int, int]]) -> list[int]:
        """Messages need not be kept any longer; a status code for each subscription and sequence number."""
        return [self._acknowledge(*one) for one in received]

    def _acknowledge(self, subscription: int, sequence: int) -> int:
        if not self._is_own(subscription):
            return int(ua.StatusCodes.BadSubscriptionIdInvalid)
        known = self.iserver.subscriptions[subscription].acknowledge(sequence)
        return int(ua.StatusCodes.Good if known else ua.StatusCodes.BadSequenceNumberUnknown)

    def republish(self, params: ua.RepublishParameters) -> ua.NotificationMessage:
        """A message once more. Raises ServiceError BadMessageNotAvailable."""
        self._own(params.SubscriptionId)
        message = super().republish(params)
        if not message.NotificationData:
            raise ServiceError(ua.StatusCodes.BadMessageNotAvailable)
        return message

    async def transfer_subscriptions(
        self, params: ua.TransferSubscriptionsParameters, callback: Callable[..., Any]
    ) -> list[ua.TransferResult]:
        """Take over subscriptions of an earlier session of the same user."""
        self._bound(params.SubscriptionIds)
        again = bool(params.SendInitialValues)
        return [await self._take_over(int(one), callback.__self__, again) for one in params.SubscriptionIds]  # type: ignore[attr-defined]

    async def _take_over(self, identifier: int, channel: PublishChannel, again: bool) -> ua.TransferResult:
        subscription = self.iserver.subscriptions.get(identifier)
        code = self._take_over_fault(subscription)
        if subscription is None or code:
            return ua.TransferResult(StatusCode=ua.StatusCode(code))
        kept = await subscription.move(self.session_id, channel, tell_again=again)
        return ua.TransferResult(AvailableSequenceNumbers=kept)

    def _take_over_fault(self, subscription: Subscription | None) -> int:
        """Why this session may not have it; 0 where it may."""
        if subscription is None:
            return int(ua.StatusCodes.BadSubscriptionIdInvalid)
        if self.user.name is None or subscription.owner != self.user.name:
            return int(ua.StatusCodes.BadUserAccessDenied)
        own, limits = self._own_subscriptions(), self.iserver.limits
        if subscription in own:
            return 0
        items = sum(len(one.monitored_item_srv) for one in (*own, subscription))
        room = self.iserver.subscription_service.events_left(self.session_id)
        if (
            len(own) >= limits.subscriptions_per_session
            or items > limits.monitored_items_per_session
            or subscription.monitored_item_srv.events.reserved > room
        ):
            return int(ua.StatusCodes.BadTooManySubscriptions)
        return 0

    def _visitor(self) -> Visitor:
        if not isinstance(self.user, Visitor):
            raise ServiceError(ua.StatusCodes.BadUserAccessDenied)
        return self.user

    def _bound(self, items: Collection[Any] | None) -> None:
        if not items:
            raise ServiceError(ua.StatusCodes.BadNothingToDo)
        if len(items) > self.iserver.limits.operations:
            raise ServiceError(ua.StatusCodes.BadTooManyOperations)

    def _own_subscriptions(self) -> list[Subscription]:
        return [one for one in self.iserver.subscriptions.values() if one.session_id == self.session_id]

    def _is_own(self, identifier: int) -> bool:
        subscription = self.iserver.subscriptions.get(identifier)
        return subscription is not None and subscription.session_id == self.session_id

    def _own(self, identifier: int) -> None:
        if not self._is_own(identifier):
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)


def _check(timestamps: ua.TimestampsToReturn) -> None:
    if timestamps == ua.TimestampsToReturn.Invalid:
        raise ServiceError(ua.StatusCodes.BadTimestampsToReturnInvalid)
