"""The site's users as the status page's logins: those of the OPC UA server, as they are after the last reload."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bridge.northbound.opcua.passwords import Passwords

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.config.site import Site
    from bridge.model.command import Role
    from bridge.northbound.opcua.config import OpcuaUser
    from bridge.ports import Clock

WORKERS = 2
"""Passwords that are checked at once; each takes 50 ms and 16 MB on purpose."""


class SiteLogins:
    """Who may log in at the page (see `bridge.northbound.status.session.Logins`)."""

    def __init__(self, site: Callable[[], Site], clock: Clock) -> None:
        self._site = site
        self._clock = clock
        self._users: tuple[OpcuaUser, ...] = ()
        self._passwords = Passwords((), clock)
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="login")

    @property
    def any(self) -> bool:
        """Somebody has a password."""
        return any(user.password_hash for user in self._now())

    async def verify(self, name: str, password: str, peer: str) -> Role | None:
        """The role of this user; None for a wrong name or password, or one who must wait after many wrong ones."""
        users = self._now()
        is_theirs = await self._passwords.verify(name, password, peer, self._workers)
        return next((user.role for user in users if user.name == name), None) if is_theirs else None

    def role(self, name: str) -> Role | None:
        """The role a user has now; None for one who is not there any more, or has no password any more."""
        return next((user.role for user in self._now() if user.name == name and user.password_hash), None)

    def credential(self, name: str) -> str:
        """The hash of the password."""
        found = next((user.password_hash for user in self._now() if user.name == name), None)
        return found.get_secret_value() if found else ""

    def _now(self) -> tuple[OpcuaUser, ...]:
        users = self._site().file.northbound.opcua.users
        if users != self._users:
            self._users, self._passwords = users, Passwords(users, self._clock)
        return users
