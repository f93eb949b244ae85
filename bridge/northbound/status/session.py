"""Sessions: who is logged in at a browser. The cookie's value is random; what it stands for is here, and bounded."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from bridge.model.command import Role

if TYPE_CHECKING:
    from bridge.ports import Clock

LASTS_S: Final = 12 * 3600.0
"""A shift and its handing over; each use begins it anew."""

MOST: Final = 64
"""Sessions at once; the one that was used longest ago makes room."""

ADMIN: Final = "admin"
"""Who comes with the admin token."""

_ROLES: Final = tuple(Role)
"""From the least to the most."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `user` is the login that was checked; "" for the holder of the admin token."""

    role: Role
    user: str = ""

    @property
    def name(self) -> str:
        """As journals and events call them."""
        return self.user or ADMIN

    def may(self, role: Role) -> bool:
        """Whether this role is among what they may do."""
        return _ROLES.index(self.role) >= _ROLES.index(role)


class Logins(Protocol):
    """The site's users, as they are now."""

    @property
    def any(self) -> bool:
        """Somebody can log in with a password."""

    async def verify(self, name: str, password: str, peer: str) -> Role | None:
        """The role of this user; None for a wrong name or password, or one who must wait after many wrong ones."""

    def role(self, name: str) -> Role | None:
        """The role a user has now; None for one who is not there any more."""

    def credential(self, name: str) -> str:
        """What is another one when the password is."""


class NoLogins:
    """A site without users: the admin token alone opens."""

    any = False

    async def verify(self, name: str, password: str, peer: str) -> Role | None:
        """Nobody is known."""
        return None

    def role(self, name: str) -> Role | None:
        """Nobody is known."""
        return None

    def credential(self, name: str) -> str:
        """Nobody has one."""
        return ""


@dataclass(slots=True)
class _Session:
    user: str
    credential: str
    until: float


class Sessions:
    """Who is logged in."""

    def __init__(self, clock: Clock, logins: Logins) -> None:
        self._clock = clock
        self._logins = logins
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, user: str) -> str:
        """Begin a session of this user ("" for the admin token's holder); the cookie's value."""
        key = secrets.token_urlsafe(32)
        credential = self._logins.credential(user) if user else ""
        self._sessions[key] = _Session(user, credential, self._clock.monotonic() + LASTS_S)
        if len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return key

    def close(self, key: str) -> None:
        """End it."""
        self._sessions.pop(key, None)

    def who(self, key: str) -> Principal | None:
        """Whose session it is, with the role they have now; None where it has ended, or user or password are others."""
        session = self._sessions.get(key)
        if session is None:
            return None
        role, now = self._role(session), self._clock.monotonic()
        if role is None or now >= session.until:
            self.close(key)
            return None
        session.until = now + LASTS_S
        self._sessions.move_to_end(key)
        return Principal(role, session.user)

    def _role(self, session: _Session) -> Role | None:
        if not session.user:
            return Role.ENGINEER
        is_same = self._logins.credential(session.user) == session.credential
        return self._logins.role(session.user) if is_same else None
