"""asyncua's server with the guarded parts put in."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto import uacrypto
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession

from bridge.northbound.opcua.stack import decoding, standard, version
from bridge.northbound.opcua.stack.access import Account, Admission, Ruleset, Visitor
from bridge.northbound.opcua.stack.channel import ServerLimits
from bridge.northbound.opcua.stack.reads import Plans
from bridge.northbound.opcua.stack.session import GuardedSession
from bridge.northbound.opcua.stack.subscription import Subscription, Subscriptions
from bridge.northbound.opcua.stack.transport import Listener

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa

    from bridge.northbound.opcua.config import OpcuaConfig
    from bridge.northbound.opcua.stack.access import KnownLogin
    from bridge.northbound.opcua.stack.conditions import ConditionRoom
    from bridge.northbound.opcua.stack.history import HistoryRoom
    from bridge.ports import Clock

_log = logging.getLogger(__name__)

BUFFER = 65_535
NOBODY = User(role=UserRole.Anonymous)
OAEP = {
    "http://www.w3.org/2001/04/xmlenc#rsa-oaep": uacrypto.decrypt_rsa_oaep,
    "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256": uacrypto.decrypt_rsa_oaep_sha256,
}
"""How a password may be encrypted. Not rsa-1_5, whose padding tells too much (Bleichenbacher)."""

SECURED = (
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
)
"""The policies of Part 7 that are not deprecated and that asyncua has."""


class ReachedAs(Protocol):
    """Is told by which URL clients come."""

    def __call__(self, endpoint_url: str, *, is_known: bool) -> None:
        """By this one; `is_known`: the client's certificate was let in."""


class WriteRoom(Protocol):
    """Where client writes and calls are answered."""

    def may_use(self, visitor: Visitor, node_id: ua.NodeId) -> bool:
        """Whether this visitor's role lets it write or call this node, if anybody may."""

    async def write(self, visitor: Visitor, items: list[ua.WriteValue]) -> list[ua.StatusCode]:
        """One status per item, in order."""

    async def call(self, visitor: Visitor, requests: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        """One result per request, in order."""


@dataclass(frozen=True, slots=True)
class Guards:
    """What the stack asks the room about."""

    check_certificate: Callable[[bytes, str | None, str], Awaitable[None]]
    """Certificate, ApplicationUri, peer: lets a client in or raises ServiceError."""
    reached_as: ReachedAs
    user_of: Callable[[bytes], Account | None]
    """Whose user certificate this is."""
    log_in: Callable[[str, str, str], Awaitable[bool]]
    """Name, password, peer: whether they may come in. Slow and patient."""
    known_login: KnownLogin
    writes: WriteRoom


class GuardedInternalServer(InternalServer):
    """asyncua's services, with our sessions and subscriptions, and limits."""

    subscription_service: Subscriptions

    def __init__(self, config: OpcuaConfig, guards: Guards, clock: Clock) -> None:
        super().__init__(user_manager=Admission(guards.known_login))
        self.limits = config.limits
        self.plans = Plans(self.aspace, config.limits.operations)
        self.unsecured_read_only = config.unsecured_read_only
        self.check_certificate = guards.check_certificate
        self.reached_as = guards.reached_as
        self.user_of = guards.user_of
        self.log_in = guards.log_in
        self.writes = guards.writes
        self.conditions: ConditionRoom | None = None
        self.history: HistoryRoom | None = None
        """Both are set once the address space is there."""
        self.subscription_service = Subscriptions(
            self.aspace, self, config.limits, clock, float(config.sampling_interval_ms)
        )
        self.isession.subscription_service = self.subscription_service
        self.allow_remote_admin = False
        self.disabled_clock = True  # ServerStatus is written by status.py, from our clock
        self.max_connections = config.limits.connections
        self.max_pending_messages_per_connection = 200
        self.supported_tokens = (ua.AnonymousIdentityToken, ua.UserNameIdentityToken, ua.X509IdentityToken)

    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:
        """Part 5's nodes, in our way: see `standard`."""
        await asyncio.to_thread(standard.fill, self.aspace)

    async def get_endpoints(
        self, params: ua.GetEndpointsParameters | None = None, sockname: tuple[str, int] | None = None
    ) -> list[ua.EndpointDescription]:
        """asyncua's, in the words of whoever asks: some clients compare the text, with or without the last slash."""
        endpoints: list[ua.EndpointDescription] = await super().get_endpoints(params, sockname)
        asked = (params.EndpointUrl if params else None) or "/"
        for one in () if asked.endswith("/") else endpoints:
            one.EndpointUrl = one.EndpointUrl.rstrip("/")
            one.Server.DiscoveryUrls = [url.rstrip("/") for url in one.Server.DiscoveryUrls]
        return endpoints

    def node_class(self, node_id: ua.NodeId) -> ua.NodeClass | None:
        """What kind of node it is; None where there is none."""
        node = self.aspace.get(node_id)
        value = node.attributes[ua.AttributeIds.NodeClass].value if node is not None else None
        return None if value is None else ua.NodeClass(value.Value.Value)

    @property
    def subscriptions(self) -> dict[int, Subscription]:
        """Subscriptions by id."""
        return self.subscription_service.subscriptions

    @property
    def session_count(self) -> int:
        """Sessions that came over the network and are not closed."""
        return len(self._external_sessions)

    @property
    def external_sessions(self) -> list[InternalSession]:
        """Those sessions."""
        return list(self._external_sessions.values())

    @property
    def guarded_sessions(self) -> list[GuardedSession]:
        """Those sessions, as what they are."""
        return [one for one in self.external_sessions if isinstance(one, GuardedSession)]

    async def make_room(self) -> bool:
        """End a session that nobody has logged in to; False where there is none.

        It is the oldest one of the address that has most of them: a stranger who opens sessions takes only his own. An
        address has no more of them than connections, one on each; nor fewer: fifty behind one router may begin at once.
        """
        waiting = [one for one in self.guarded_sessions if not one.is_activated()]
        if not waiting:
            return False
        held = Counter(one.peer for one in waiting)
        await max(waiting, key=lambda one: held[one.peer]).close_session(True)  # the first of equals
        return True

    def external_session(self, token: ua.NodeId) -> GuardedSession | None:
        """The session of this authentication token."""
        session = self.lookup_external_session(token)
        return session if isinstance(session, GuardedSession) else None

    def create_session(
        self,
        name: str,
        user: User = NOBODY,
        external: bool = False,
    ) -> InternalSession:
        """A session; one that came over the network is a guarded one."""
        kind = GuardedSession if external else InternalSession
        return kind(self, self.aspace, self.subscription_service, name, user=user, external=external)

    def decrypt_user_token(self, isession: Any, token: ua.UserNameIdentityToken) -> tuple[str, str]:
        """User name and password. Raises ValueError: wrong algorithm, or not made for this session.

        Called on an encrypted channel only, where the password may also come without encryption of its own.
        """
        password = token.Password or b""
        if token.EncryptionAlgorithm:
            decrypt = OAEP.get(token.EncryptionAlgorithm)
            if decrypt is None:
                raise ValueError("This encryption of passwords is not accepted")
            password = _without_nonce(decrypt(self.private_key, password), isession.nonce)
        return token.UserName or "", password.decode("utf-8") if isinstance(password, bytes) else password

    def token_policy(self, policy: str, mode: ua.MessageSecurityMode, kind: ua.UserTokenType) -> str | None:
        """PolicyId of this kind of login on the endpoint with this security; None where it has none."""
        return next(
            (
                token.PolicyId
                for one in self.endpoints
                if (one.SecurityPolicyUri, one.SecurityMode) == (policy, mode)
                for token in one.UserIdentityTokens
                if token.TokenType == kind
            ),
            None,
        )


def _without_nonce(secret: bytes, nonce: bytes) -> bytes:
    """Part 4, 7.36.2.2: length, password, the nonce the server gave last; a replayed one has another nonce."""
    length = int.from_bytes(secret[:4], "little")
    text = secret[4 : 4 + length]
    if len(text) != length or length < len(nonce) or not hmac.compare_digest(text[-len(nonce) :], nonce):
        raise ValueError("The password was not encrypted for this session")
    return text[: -len(nonce)]


class Engine(Server):
    """The server: built by the room, started on a socket that is bound already."""

    iserver: GuardedInternalServer

    def __init__(self, config: OpcuaConfig, guards: Guards, clock: Clock) -> None:
        version.check()
        decoding.install()
        super().__init__(iserver=GuardedInternalServer(config, guards, clock))
        self._offered: list[ua.EndpointDescription] = []
        self.application_type = ua.ApplicationType.Server
        message = config.limits.message_size
        self.limits = ServerLimits(BUFFER, BUFFER, math.ceil(message / BUFFER) + 1, message)
        policies = list(SECURED)
        if config.unsecured_read_only:
            policies.append(ua.SecurityPolicyType.NoSecurity)
        self.set_security_policy(policies, Ruleset())

    def show(self, application_uri: str, name: str) -> None:
        """Who the server is. Before `init`."""
        self._application_uri = application_uri
        self.product_uri = "urn:plantbridge"
        self.name = name
        self.manufacturer_name = "plantbridge"

    def use(self, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> None:
        """The certificate it shows. Before `listen`."""
        self.iserver.certificate = certificate
        self.iserver.private_key = key

    async def change(self, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> None:
        """Show another certificate on connections that are made from now on."""
        self.use(certificate, key)
        await self._offer()

    async def _offer(self) -> None:
        """Policies and endpoints of the certificate there is, put in place of those before all at once."""
        self._policies: list[Any] = []
        self._offered = []
        await self._setup_server_nodes()
        self.iserver.endpoints = self._offered
        if self.bserver is not None:
            self.bserver.set_policies(self._policies)

    def _set_endpoints(self, policy: Any, mode: ua.MessageSecurityMode, level: int) -> None:
        """One endpoint: with login where it is secured, without where it is not. asyncua offers both on every one."""
        shown, self.iserver.endpoints = self.iserver.endpoints, []
        super()._set_endpoints(policy, mode, level)
        (endpoint,), self.iserver.endpoints = self.iserver.endpoints, shown
        self._offered.append(endpoint)
        kinds = ua.UserTokenType
        offered = (kinds.Anonymous,) if mode == ua.MessageSecurityMode.None_ else (kinds.UserName, kinds.Certificate)
        endpoint.UserIdentityTokens = [one for one in endpoint.UserIdentityTokens if one.TokenType in offered]

    async def listen(self, sock: socket.socket) -> None:
        """Start to serve."""
        await self._offer()
        await self.iserver.start()
        self.bserver = Listener(self.iserver, sock, self.limits, self._policies)
        await self.bserver.start()

    def client_certificates(self) -> set[bytes]:
        """Of the sessions there are, DER."""
        return {one.peer_certificate for one in self.iserver.guarded_sessions if one.peer_certificate}

    async def cut_off(self, certificate: bytes, status: int, sentence: str) -> list[str]:
        """End every session of this certificate, with its connection; where each came from."""
        ended = [one for one in self.iserver.guarded_sessions if one.peer_certificate == certificate]
        for session in ended:
            if session.channel is not None:
                session.channel.cut_off(status, sentence)
            await session.close_session(True)
        return [session.channel.peer if session.channel is not None else "" for session in ended]

    async def stop(self) -> None:
        """Close connections, sessions, subscriptions and the socket."""
        if self.bserver is not None:
            await self.bserver.stop()
        for session in self.iserver.external_sessions:
            await session.close_session(True)
        await self.iserver.subscription_service.delete_subscriptions(list(self.iserver.subscriptions))
        await self.iserver.stop()


__all__ = ["Engine", "GuardedInternalServer", "Guards", "ServiceError", "WriteRoom"]
