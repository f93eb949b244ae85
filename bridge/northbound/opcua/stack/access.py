"""Who is at the other end, and what asyncua is told about it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from asyncua import ua
from asyncua.crypto.permission_rules import USER_TYPES, PermissionRuleset, User, UserRole

from bridge.northbound.opcua.config import Role

if TYPE_CHECKING:
    from asyncua.server.internal_server import InternalServer


class Channel(Protocol):
    """The secure channel a request came in on."""

    @property
    def is_secured(self) -> bool:
        """Signed and encrypted."""

    @property
    def may_be_unsecured(self) -> bool:
        """This connection may use services without security (loopback, and configured)."""

    @property
    def peer_certificate(self) -> bytes | None:
        """The certificate whose key opened the channel, DER."""

    @property
    def peer(self) -> str:
        """The client's address."""

    def cut_off(self, status: int, sentence: str) -> None:
        """Close the connection, and say why."""


CHANNEL: ContextVar[Channel | None] = ContextVar("channel", default=None)
"""The channel of the request being processed. asyncua hands the connection to nobody; this is how a session sees it."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who a user certificate belongs to."""

    name: str
    role: Role


CERTIFIED: ContextVar[Account | None] = ContextVar("certified", default=None)
"""Who has just proved, in the request being processed, to have the key of a user certificate."""


@dataclass
class Visitor(User):
    """A logged-in client. Its asyncua role is never Admin: that one passes every check."""

    rights: Role = Role.OBSERVER
    peer: str = ""

    @property
    def requester(self) -> str:
        """Who this is, for people and for telling writers apart."""
        return f"{self.name or 'anonymous'}@{self.peer}"


class Ruleset(PermissionRuleset):
    """Which services a session may use at all; what it may write or call is decided per item."""

    def __init__(self) -> None:
        self._allowed = {ua.NodeId(identifier) for identifier in USER_TYPES}

    def check_validity(self, user: User, action_type: ua.NodeId, body: Any) -> bool:
        """Whether the service is one of those that change nothing in the address space."""
        return user.role == UserRole.User and action_type in self._allowed


class KnownLogin(Protocol):
    """Answers, fast, whether a login has just been verified."""

    def __call__(self, name: str, password: str) -> Role | None:
        """The role of the user, if this password was verified for it before."""


class Admission:
    """asyncua's user manager: the last gate, behind the processor's slow and patient check."""

    def __init__(self, known: KnownLogin) -> None:
        self._known = known

    def get_user(
        self,
        iserver: InternalServer,
        username: str | None = None,
        password: str | None = None,
        certificate: Any = None,
    ) -> Visitor | None:
        """The visitor, or None."""
        channel = CHANNEL.get()
        if channel is None:
            return None
        certified = CERTIFIED.get()
        if certified is not None and channel.is_secured:
            return Visitor(UserRole.User, certified.name, certified.role, channel.peer)
        if username is None:
            anonymous = channel.may_be_unsecured and not channel.is_secured
            return Visitor(UserRole.User, None, Role.OBSERVER, channel.peer) if anonymous else None
        role = self._known(username, password or "") if channel.is_secured else None
        return None if role is None else Visitor(UserRole.User, username, role, channel.peer)
