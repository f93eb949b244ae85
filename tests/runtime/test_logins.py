"""Logins of the status page are the OPC UA server's users, as the files have them now."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.model.command import Role
from bridge.northbound.opcua.config import OpcuaUser
from bridge.northbound.opcua.passwords import hash_password
from bridge.runtime.logins import SiteLogins
from bridge.transport.clock import SystemClock

PASSWORD = "ein Satz, den niemand rät"
OTTO = OpcuaUser(name="otto", password_hash=SecretStr(hash_password(PASSWORD)), role=Role.OPERATOR)
BADGE = OpcuaUser(name="badge", certificate="0" * 40, role=Role.ENGINEER)


class Files:
    def __init__(self, *users: OpcuaUser) -> None:
        self.users = users

    def site(self) -> Any:
        return SimpleNamespace(
            file=SimpleNamespace(northbound=SimpleNamespace(opcua=SimpleNamespace(users=self.users)))
        )


@pytest.fixture
def files() -> Files:
    return Files(OTTO, BADGE)


@pytest.fixture
def logins(files: Files) -> SiteLogins:
    return SiteLogins(files.site, SystemClock())


async def test_password_of_a_user_gives_the_role(logins: SiteLogins) -> None:
    assert logins.any
    assert await logins.verify("otto", PASSWORD, "10.0.0.1") is Role.OPERATOR
    assert await logins.verify("otto", PASSWORD + " ", "10.0.0.1") is None
    assert await logins.verify("nobody", PASSWORD, "10.0.0.1") is None
    assert (logins.role("otto"), logins.role("nobody")) == (Role.OPERATOR, None)


async def test_who_logs_in_by_certificate_at_the_server_cannot_log_in_here(logins: SiteLogins, files: Files) -> None:
    assert (await logins.verify("badge", "", "10.0.0.1"), logins.role("badge")) == (None, None)
    files.users = (BADGE,)
    assert not logins.any


async def test_guessing_is_slow_even_with_the_right_word_at_last(logins: SiteLogins) -> None:
    for _ in range(4):
        assert await logins.verify("otto", "guess", "10.0.0.1") is None
    assert await logins.verify("otto", PASSWORD, "10.0.0.1") is None
    assert await logins.verify("otto", PASSWORD, "10.0.0.2") is Role.OPERATOR


async def test_a_changed_file_counts_at_once(logins: SiteLogins, files: Files) -> None:
    assert await logins.verify("otto", PASSWORD, "10.0.0.1") is Role.OPERATOR
    files.users = (OTTO.model_copy(update={"role": Role.OBSERVER}),)
    assert logins.role("otto") is Role.OBSERVER
    before = logins.credential("otto")
    files.users = (OTTO.model_copy(update={"password_hash": SecretStr(hash_password("another sentence"))}),)
    assert await logins.verify("otto", PASSWORD, "10.0.0.1") is None
    assert logins.credential("otto") != before
    files.users = ()
    assert (logins.any, logins.role("otto")) == (False, None)
