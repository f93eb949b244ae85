"""One connection's requests: which are let through, in what order, and how many at once.

message -> channel open? -> service allowed on this channel? -> token is this connection's? -> asyncua
Publish, Read -> the same questions, and no object per field (services.py): ten sessions send a hundred a second
Write, Call -> a task of their own, at most 32, so that Publish and keep-alive go on meanwhile
ActivateSession -> identity checked in a worker -> asyncua
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.crypto.uacrypto import InvalidSignature
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import nodeid_from_binary, struct_to_binary, uatcp_to_binary

from bridge.northbound.opcua.stack import chunks, services
from bridge.northbound.opcua.stack.access import CERTIFIED, CHANNEL
from bridge.northbound.opcua.stack.channel import ChannelFault, GuardedConnection
from bridge.northbound.opcua.stack.decoding import BUDGET, Budget, decode

if TYPE_CHECKING:
    from bridge.northbound.opcua.stack.channel import ServerLimits
    from bridge.northbound.opcua.stack.engine import GuardedInternalServer
    from bridge.northbound.opcua.stack.services import Asked, Message, Parked
    from bridge.northbound.opcua.stack.session import GuardedSession
    from bridge.northbound.opcua.stack.subscription import Subscription

_log = logging.getLogger(__name__)

MAX_DETACHED = 32
MAX_UNKNOWN = 65_535
"""Bytes of one request before the login; a CreateSession with a chain of certificates takes 10 kB."""
ELEMENTS_PER_OPERATION = 6
"""Elements of all lists of a request, per operation that is allowed: a call has a few arguments."""
MIN_BUFFER = 8192
"""Part 6, 7.1.2.3: the smallest buffer a peer may announce."""


def _requests(*names: str) -> frozenset[int]:
    return frozenset(getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary") for name in names)


DISCOVERY = _requests("GetEndpoints", "FindServers", "CloseSecureChannel")
"""What a channel without security may be used for when no unsecured endpoint is configured (Part 4, 5.4)."""
REFUSED = _requests(
    "RegisterServer",
    "RegisterServer2",
    "AddNodes",
    "DeleteNodes",
    "AddReferences",
    "DeleteReferences",
    "HistoryUpdate",
    "QueryFirst",
    "QueryNext",
    "SetTriggering",
    "Cancel",
)
"""asyncua takes the first two from anybody and without bound; the others are not offered."""
DETACHED = _requests("Write", "Call", "HistoryRead")
EVERYDAY = _requests("Read", "Publish")
CREATE, ACTIVATE, CLOSE = (_requests(f"{one}Session") for one in ("Create", "Activate", "Close"))
WITHOUT_SESSION = DISCOVERY | CREATE | ACTIVATE
BROWSE_NEXT, REGISTER, UNREGISTER = (_requests(one) for one in ("BrowseNext", "RegisterNodes", "UnregisterNodes"))
DELETE = _requests("DeleteSubscriptions")
OURS = BROWSE_NEXT | REGISTER | UNREGISTER
"""What asyncua does not answer, or answers without a bound."""


class GuardedProcessor(UaProcessor):
    """One client's connection. It is the `Channel` that sessions see."""

    iserver: GuardedInternalServer
    session: GuardedSession | None
    _limits: ServerLimits
    _connection: GuardedConnection
    _session_watchdog_task: asyncio.Task[None] | None

    def __init__(
        self, internal_server: GuardedInternalServer, transport: asyncio.Transport, limits: ServerLimits
    ) -> None:
        super().__init__(internal_server, transport, limits)
        self._connection = GuardedConnection(SecurityPolicyNone(), self._limits)
        self._detached: set[asyncio.Task[None]] = set()
        self._greeted = False
        self.peer = str(self.name[0]) if self.name else ""
        self._is_local = _is_loopback(self.peer)

    @property
    def is_over(self) -> bool:
        """The secure channel was not renewed in time."""
        return self._connection.is_over

    @property
    def is_secured(self) -> bool:
        """Signed and encrypted."""
        return bool(self._connection.security_policy.Mode == ua.MessageSecurityMode.SignAndEncrypt)

    @property
    def may_be_unsecured(self) -> bool:
        """An unsecured endpoint is configured, and the client is on this machine."""
        return self.iserver.unsecured_read_only and self._is_local

    @property
    def peer_certificate(self) -> bytes | None:
        """DER of the certificate whose key opened the channel."""
        certificate: bytes | None = self._connection.security_policy.peer_certificate
        return certificate

    async def process(self, header: ua.Header, body: Buffer) -> bool:
        """One message; False closes the connection."""
        CHANNEL.set(self)
        try:
            if not self._is_in_order(header.MessageType) or self._is_too_much(header):
                return False
            go_on = await self._process_one(header, body)
            if header.MessageType == ua.MessageType.Hello:
                self.iserver.reached_as(self._limits.endpoint_url, is_known=False)
            return go_on and self._limits.max_send_buffer >= MIN_BUFFER
        except ChannelFault as fault:
            self.cut_off(fault.status, str(fault))
            return False
        except Exception as error:
            # Whatever a peer sent to get here, the specification's answer is to close (Part 6, 6.7.6).
            _log.debug("Closing the connection of %s: %r", self.peer, error)
            return False

    async def _process_one(self, header: ua.Header, body: Buffer) -> bool:
        is_request = header.MessageType == ua.MessageType.SecureMessage and not self._connection.has_expired
        opened = chunks.unwrapped(self._connection, body._data) if is_request else None
        if opened is None:
            return bool(await super().process(header, body))
        request_id, data = opened
        if await self._is_everyday(request_id, data):
            return True
        return await self.process_message(ua.SequenceHeader(RequestId=request_id), Buffer(data))

    async def _is_everyday(self, request_id: int, data: bytes) -> bool:
        """Whether it was a Publish or a Read as clients send it for ever, and is done."""
        session = self.session
        if session is None:
            return False
        if (asked := session.reader.publish(data)) is not None:
            return await self._publish(session, asked, request_id)
        if (asked := session.reader.read(data)) is not None:
            return await self._read(session, asked, request_id)
        return False

    async def _read(self, session: GuardedSession, asked: Asked, request_id: int) -> bool:
        """A Read request; False, with nothing done, where asyncua must answer it."""
        plan = self.iserver.plans.plan(asked.parameters) if self._may(session, services.READ) else None
        if plan is None:
            return False
        try:
            results = await plan.results(session)
        except ServiceError:
            return False
        self.session_last_activity = time.monotonic()
        session.touch()
        self._send(services.read_response(asked.handle, results), request_id, asked.handle)
        return True

    async def _publish(self, session: GuardedSession, asked: Asked, request_id: int) -> bool:
        """A Publish request; False, with nothing done, where asyncua must answer it."""
        received = services.acknowledgements(asked.parameters)
        if received is None or not self._may(session, services.PUBLISH):
            return False
        if session.farewells:
            parked = services.Parked(asked.handle, asked.timeout, request_id, session.acknowledge(received))
            session.touch()
            await self.forward_publish_response(session.farewells.popleft(), parked)
            return True
        try:
            subscriptions = session.subscription_count()
        except ServiceError:
            return False
        self.session_last_activity = time.monotonic()
        session.touch()
        request = services.Parked(asked.handle, asked.timeout, request_id, session.acknowledge(received))
        while self._publish_results_subs:
            late = next(iter(self._publish_results_subs))
            del self._publish_results_subs[late]
            subscription = self._served(late)
            if subscription is not None and await subscription.publish_results(request):
                return True
        if len(self._publish_requests) >= self.publish_request_limit(subscriptions):
            self._evict_publish_request()
        self._publish_requests.append(request)
        return True

    def _may(self, session: GuardedSession, kind: ua.NodeId) -> bool:
        """Whether this session may use the service on this channel, now."""
        rules = self._connection.security_policy.permissions
        return (
            session.is_activated()
            and session.channel is self
            and (self.is_secured or self.may_be_unsecured)
            and (rules is None or bool(rules.check_validity(session.user, kind, None)))
        )

    def get_publish_request(self, subscription_id: int) -> Parked | None:
        """As asyncua, but only for this session's: one that outlived an earlier session must not take its requests."""
        if self._served(subscription_id) is None:
            return None
        request: Parked | None = super().get_publish_request(subscription_id)
        return request

    def _served(self, identifier: int) -> Subscription | None:
        subscription = self.iserver.subscriptions.get(identifier)
        if subscription is None or self.session is None or subscription.session_id != self.session.session_id:
            return None
        return subscription

    def give_back(self, request: Parked) -> None:
        """It was not needed, and is the first again."""
        self._publish_requests.appendleft(request)

    def keep_farewell(self, message: Message, session_id: ua.NodeId) -> None:
        """The last message of a subscription that has ended, for its session's next request."""
        if self.session is not None and self.session.session_id == session_id:
            self.session.farewells.append(message)

    async def forward_publish_response(self, result: Message, requestdata: Parked) -> None:
        """Answer a Publish request."""
        data = result.response(requestdata.requesthdr.RequestHandle, requestdata.results)
        self._send(data, requestdata.seqhdr.RequestId, requestdata.RequestHandle)

    def _is_in_order(self, kind: bytes) -> bool:
        """HEL once and first; MSG and CLO only on an open channel. asyncua takes them in any order."""
        if kind == ua.MessageType.Hello:
            first, self._greeted = not self._greeted, True
            return first
        if kind == ua.MessageType.SecureOpen:
            return self._greeted
        return kind in (ua.MessageType.SecureMessage, ua.MessageType.SecureClose) and self._connection.is_open()

    def _is_too_much(self, header: ua.Header) -> bool:
        """Strangers' messages are small: decoding costs a microsecond a byte, and the loop stands still meanwhile."""
        is_known = self.session is not None and self.session.is_activated()
        return not is_known and self._connection._incoming_size + header.body_size > MAX_UNKNOWN

    async def process_message(self, seqhdr: ua.SequenceHeader, body: Buffer) -> bool:
        """One request; Write and Call do not keep the others waiting."""
        BUDGET.set(Budget(ELEMENTS_PER_OPERATION * self.iserver.limits.operations))
        kind = _service(nodeid_from_binary(body.copy()))
        if kind in EVERYDAY and await self._is_everyday(seqhdr.RequestId, bytes(body)):  # it came in several chunks
            return True
        if kind in DETACHED and len(self._detached) < MAX_DETACHED:
            task = asyncio.create_task(self._process_detached(seqhdr, body), name=f"opcua request of {self.peer}")
            self._detached.add(task)
            task.add_done_callback(self._detached.discard)
            return True
        return bool(await super().process_message(seqhdr, body))

    async def _process_detached(self, seqhdr: ua.SequenceHeader, body: Buffer) -> None:
        try:
            go_on = await super().process_message(seqhdr, body)
        except Exception as error:
            _log.debug("Closing the connection of %s: %r", self.peer, error)
            go_on = False
        if not go_on:
            self._transport.close()

    async def _process_message(
        self, typeid: ua.NodeId, requesthdr: ua.RequestHeader, seqhdr: ua.SequenceHeader, body: Buffer
    ) -> bool:
        kind = _service(typeid)
        if kind in REFUSED:
            raise ServiceError(ua.StatusCodes.BadServiceUnsupported)
        if not (self.is_secured or self.may_be_unsecured or kind in DISCOVERY):
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
        if kind in CREATE:
            return await self._create(typeid, requesthdr, seqhdr, body)
        if kind in ACTIVATE:
            return await self._activate(typeid, requesthdr, seqhdr, body)
        if kind not in WITHOUT_SESSION:
            self._check_token(requesthdr)
        if kind in CLOSE:
            self._void_parked(ua.StatusCodes.BadSessionClosed)
        if kind in OURS:
            self.send_response(requesthdr.RequestHandle, seqhdr, await self._answer(kind, body))
            return True
        go_on = bool(await super()._process_message(typeid, requesthdr, seqhdr, body))
        if kind in DELETE and self.session is not None and not self.session.has_subscriptions():
            self._void_parked(ua.StatusCodes.BadNoSubscription)
        return go_on

    async def _answer(self, kind: int | None, body: Buffer) -> Any:
        """The response to one of OURS. Raises ServiceError."""
        session = self.session
        if session is None or not session.is_activated():
            raise ServiceError(ua.StatusCodes.BadSessionNotActivated)
        session.touch()
        if kind in BROWSE_NEXT:
            asked = decode(ua.BrowseNextParameters, body)
            return ua.BrowseNextResponse(Parameters=ua.BrowseNextResult(await session.browse_next(asked)))
        nodes = decode(ua.RegisterNodesParameters, body).NodesToRegister
        if kind in UNREGISTER:
            await session.unregister_nodes(nodes)
            return ua.UnregisterNodesResponse()
        return ua.RegisterNodesResponse(Parameters=ua.RegisterNodesResult(await session.register_nodes(nodes)))

    def _check_token(self, requesthdr: ua.RequestHeader) -> None:
        """Of this connection's session, which has not gone on with another connection (Part 4, 5.7.3)."""
        session = self.session
        if session is None or requesthdr.AuthenticationToken != session.auth_token or session.channel is not self:
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)

    async def _create(
        self, typeid: ua.NodeId, requesthdr: ua.RequestHeader, seqhdr: ua.SequenceHeader, body: Buffer
    ) -> bool:
        """One session a connection: a second one ends the first, a failed one leaves nothing."""
        await self._drop_session()
        if self.iserver.session_count >= self.iserver.limits.sessions and not await self.iserver.make_room():
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        try:
            return bool(await super()._process_message(typeid, requesthdr, seqhdr, body))
        except BaseException:
            await self._drop_session()
            raise

    async def _drop_session(self) -> None:
        session, self.session = self.session, None
        self._void_parked(ua.StatusCodes.BadSessionClosed)
        self._end_watchdog()
        if session is not None:
            await session.close_session(True)

    async def _activate(
        self, typeid: ua.NodeId, requesthdr: ua.RequestHeader, seqhdr: ua.SequenceHeader, body: Buffer
    ) -> bool:
        held = self.session
        CERTIFIED.set(None)
        session = await self._admit(requesthdr, decode(ua.ActivateSessionParameters, body.copy()))
        try:
            go_on = bool(await super()._process_message(typeid, requesthdr, seqhdr, body))
        except InvalidSignature as error:
            self._go_back_to(held)
            raise ServiceError(ua.StatusCodes.BadApplicationSignatureInvalid) from error
        except BaseException:
            self._go_back_to(held)
            raise
        session.channel = self
        return go_on

    def _go_back_to(self, held: GuardedSession | None) -> None:
        """Undo what asyncua does before it looks at the signature: it takes the session over."""
        if self.session is not held:
            self._end_watchdog()
            self.session = held

    def _end_watchdog(self) -> None:
        watchdog, self._session_watchdog_task = self._session_watchdog_task, None
        if watchdog is not None:
            watchdog.cancel()

    async def _admit(self, requesthdr: ua.RequestHeader, params: ua.ActivateSessionParameters) -> GuardedSession:
        """The session that may be activated with this identity. Raises ServiceError."""
        session = self.session or self.iserver.external_session(requesthdr.AuthenticationToken)
        if session is None or session.auth_token != requesthdr.AuthenticationToken:
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        if session.peer_certificate != self.peer_certificate:
            raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
        token = params.UserIdentityToken
        if isinstance(token, ua.UserNameIdentityToken) and self.is_secured:
            self._check_policy(token, ua.UserTokenType.UserName)
            await self._log_in(session, token)
        elif isinstance(token, ua.X509IdentityToken) and self.is_secured:
            self._check_policy(token, ua.UserTokenType.Certificate)
            self._certify(session, token, params.UserTokenSignature)
        elif self.is_secured or not _is_anonymous(token):
            raise ServiceError(ua.StatusCodes.BadIdentityTokenRejected)
        return session

    def _check_policy(self, token: ua.UserIdentityToken, kind: ua.UserTokenType) -> None:
        """It answers to what this endpoint offers (Part 4, 7.41: policyId)."""
        policy = self._connection.security_policy
        if token.PolicyId != self.iserver.token_policy(policy.URI, policy.Mode, kind):
            raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid)

    async def _log_in(self, session: GuardedSession, token: ua.UserNameIdentityToken) -> None:
        try:
            name, password = self.iserver.decrypt_user_token(session, token)
        except Exception as error:
            raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid) from error
        self._check_same_user(session, name)
        if not await self.iserver.log_in(name, password, self.peer):
            raise ServiceError(ua.StatusCodes.BadUserAccessDenied)

    def _certify(self, session: GuardedSession, token: ua.X509IdentityToken, signature: ua.SignatureData) -> None:
        account = self.iserver.user_of(token.CertificateData or b"")
        if account is None:
            raise ServiceError(ua.StatusCodes.BadUserAccessDenied)
        self._check_same_user(session, account.name)
        # The token's policy is the endpoint's (engine.py), and with it the algorithm; asyncua takes rsa-sha1 too.
        if signature.Algorithm != self._connection.security_policy.AsymmetricSignatureURI:
            raise ServiceError(ua.StatusCodes.BadUserSignatureInvalid)
        try:
            self.iserver.verify_x509_token(session, token, signature)
        except Exception as error:
            raise ServiceError(ua.StatusCodes.BadUserSignatureInvalid) from error
        CERTIFIED.set(account)

    def _check_same_user(self, session: GuardedSession, name: str) -> None:
        """A session that is taken over stays its user's."""
        if self.session is None and session.is_activated() and name != session.user.name:
            raise ServiceError(ua.StatusCodes.BadIdentityTokenRejected)

    def send_response(self, requesthandle: int, seqhdr: Any, response: Any, msgtype: Any = None) -> None:
        """Send a response."""
        if msgtype is not None and msgtype != ua.MessageType.SecureMessage:
            super().send_response(requesthandle, seqhdr, response, msgtype)
            return
        response.ResponseHeader.RequestHandle = requesthandle
        self._send(struct_to_binary(response), seqhdr.RequestId, requesthandle)

    @property
    def max_response(self) -> int | None:
        """Bytes of a response this client takes, by its Hello and its session; None where it gave no bound."""
        limits = self._limits
        by_chunks = limits.max_response_chunks * chunks.room(self._connection) if limits.max_response_chunks else 0
        by_session = self.session.max_response_size if self.session is not None else 0
        return min(filter(None, (limits.max_response_size, by_chunks, by_session)), default=None)

    def _send(self, data: bytes, request_id: int, handle: int) -> None:
        """Send, and cut off a client that does not read what it asked for."""
        if self._transport.is_closing():
            return
        most = self.max_response
        if most is not None and len(data) > most:
            fault = ua.ServiceFault()
            fault.ResponseHeader.RequestHandle = handle
            fault.ResponseHeader.ServiceResult = ua.StatusCode(ua.StatusCodes.BadResponseTooLarge)
            data = struct_to_binary(fault)
        self._transport.write(chunks.wrapped(self._connection, data, request_id))
        if self._transport.get_write_buffer_size() > self.iserver.limits.send_buffer:
            _log.warning("Cutting off the OPC UA client %s, which does not read", self.peer)
            self._transport.abort()

    def cut_off(self, status: int, sentence: str) -> None:
        """Close the connection, and say why (Part 6, 7.1.2.5); a client that does not read is not waited for."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
            return
        message = ua.ErrorMessage(ua.StatusCode(status), sentence)
        self._transport.write(uatcp_to_binary(ua.MessageType.Error, message))
        self._transport.close()

    def _void_parked(self, status: int) -> None:
        """Nothing will answer the Publish requests that wait.

        The session ends, and they do not serve the next one (Part 4, 5.6.4); or its last subscription is deleted
        (5.13.8.1).
        """
        parked = list(self._publish_requests)
        self._publish_requests.clear()
        self._publish_results_subs.clear()
        for request in parked:
            response = ua.ServiceFault()
            response.ResponseHeader.ServiceResult = ua.StatusCode(status)
            self.send_response(request.requesthdr.RequestHandle, request.seqhdr, response)

    def _should_close_session_on_transport_loss(self) -> bool:
        moved = self.session is not None and self.session.channel is not self
        return not moved and bool(super()._should_close_session_on_transport_loss())

    async def close(self) -> None:
        """The connection is gone: nobody waits for answers any more, and parked Publish requests are void."""
        self._publish_requests.clear()
        detached = list(self._detached)
        for task in detached:
            task.cancel()
        await asyncio.gather(*detached, return_exceptions=True)
        await super().close()


def _service(type_id: ua.NodeId) -> int | None:
    identifier = type_id.Identifier if type_id.NamespaceIndex == 0 else None
    return identifier if isinstance(identifier, int) else None


def _is_anonymous(token: Any) -> bool:
    return (
        token is None
        or isinstance(token, ua.AnonymousIdentityToken)
        or (isinstance(token, ua.ExtensionObject) and token.TypeId == ua.NodeId(ua.ObjectIds.Null))
    )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
