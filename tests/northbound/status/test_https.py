"""The page over HTTPS, as a browser and as the command line see it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import httpx
import pytest
from pydantic import SecretStr

from bridge.cli.admin import Access, AdminClient, Unreachable
from bridge.errors import AddressTaken
from bridge.northbound.status.config import StatusConfig
from bridge.northbound.status.server import StatusServer
from bridge.runtime.crippled import status_config
from bridge.runtime.state_directory import StateDirectory
from bridge.transport.clock import SystemClock
from tests.certificates import Authority, Issued
from tests.northbound.status.test_commands import Desk
from tests.northbound.status.test_page import Users
from tests.northbound.status.test_status import TOKEN
from tests.one_of_everything import filled_table


@asynccontextmanager
async def serving(config: StatusConfig) -> AsyncIterator[str]:
    server = StatusServer(config, SecretStr(TOKEN), SystemClock(), Users())
    task = asyncio.create_task(server.run(filled_table()[0], None, Desk()))  # type: ignore[arg-type]
    try:
        yield await server.listening()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def config(issued: Issued) -> StatusConfig:
    return StatusConfig(port=0, cert_file=str(issued.certificate), key_file=str(issued.key))


async def test_login_goes_through_tls_and_so_does_its_cookie(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(cafile=authority.file)
    async with serving(config(authority.issue("127.0.0.1"))) as url, httpx.AsyncClient(verify=context) as client:
        assert url.startswith("https://127.0.0.1:")
        answer = await client.post(
            f"{url}/api/v1/login", json={"user": "otto", "password": "otto's own"}, headers={"Origin": url}
        )
        assert (answer.json()["role"], "Secure" in answer.headers["set-cookie"]) == ("Operator", True)
        assert (await client.get(f"{url}/api/v1/tags")).status_code == 200


async def test_command_line_knows_the_certificate_from_the_state_directory_and_takes_no_other(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued, other = authority.issue("bridge.acme.example"), authority.issue("elsewhere")
    state = StateDirectory(tmp_path)
    (tmp_path / "admin.token").write_text(TOKEN)
    async with serving(config(issued)) as url:
        state.announce(url, str(issued.certificate))
        assert await AdminClient(Access.found(None, None, tmp_path)).tags(["pressure"])
        state.announce(url, str(other.certificate))
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await AdminClient(Access.found(None, None, tmp_path)).tags([])
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await AdminClient(Access(url, TOKEN)).tags([])
        state.announce(url, str(tmp_path / "none.pem"))
        with pytest.raises(click.ClickException, match=r"none\.pem"):
            await AdminClient(Access.found(None, None, tmp_path)).tags([])


async def test_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("bridge")
    issued.key.write_text("no key")
    with pytest.raises(AddressTaken, match=r"bridge\.key are no certificate and its key"):
        async with asyncio.timeout(30):
            await StatusServer(config(issued), SecretStr(TOKEN), SystemClock()).run(None, None, None)  # type: ignore[arg-type]


def test_a_faulty_configuration_is_shown_where_the_page_would_be_or_on_loopback(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("bridge")
    said = {"host": "0.0.0.0", "port": 8443, "cert_file": issued.certificate.name, "key_file": issued.key.name}
    found = status_config({"northbound": {"status": said}}, tmp_path)
    assert (found.host, found.cert_file) == ("0.0.0.0", str(issued.certificate))
    issued.key.unlink()
    assert status_config({"northbound": {"status": said}}, tmp_path) == StatusConfig(port=8443)
    beside = {"northbound": {"status": {"host": "0.0.0.0", "port": 8081}}}
    assert status_config(beside, tmp_path) == StatusConfig(port=8081)
    for faulty in ({}, None, {"northbound": {"status": 7}}, {"northbound": {"status": {"port": "x"}}}):
        assert status_config(faulty, tmp_path) == StatusConfig()
