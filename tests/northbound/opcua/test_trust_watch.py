"""Sessions are looked at when other files decide, and a disk that fails ends none of them."""

import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from bridge.northbound.opcua.certificates import prepare
from bridge.northbound.opcua.trust import TrustStore
from bridge.northbound.opcua.trust_watch import TrustWatch
from bridge.transport.clock import SystemClock
from tests.northbound.opcua.house import identity


class Sessions:
    """Those of one client, as the server has them."""

    def __init__(self, der: bytes) -> None:
        self.der = der
        self.cut: list[int] = []

    def client_certificates(self) -> set[bytes]:
        return {self.der}

    async def cut_off(self, certificate: bytes, status: int, sentence: str) -> list[str]:
        self.cut.append(status)
        return ["10.0.0.7"]


async def here(work: Callable[..., object], *arguments: object) -> object:
    return work(*arguments)


async def test_a_disk_that_fails_for_a_moment_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(tmp_path)
    client = identity("watched", days=30)
    (tmp_path / "trusted" / "one.der").write_bytes(client.der)
    store = TrustStore(tmp_path, SystemClock(), trust_required=True)
    sessions: Any = Sessions(client.der)
    watch = TrustWatch(store, SystemClock())
    seen = await watch._look(sessions, here, None)

    def fail(*_: object) -> object:
        raise OSError(24, "Too many open files")

    with caplog.at_level(logging.ERROR), monkeypatch.context() as patch:
        patch.setattr(store, "stamp", fail)
        assert await watch._look(sessions, here, seen) == seen
        assert await watch._look(sessions, here, seen) == seen
    assert [one.levelname for one in caplog.records] == ["ERROR"]
    assert not sessions.cut
    (tmp_path / "trusted" / "one.der").unlink()
    await watch._look(sessions, here, seen)
    assert len(sessions.cut) == 1


async def test_a_client_that_was_trusted_only_between_two_looks_is_cut_off(tmp_path: Path) -> None:
    prepare(tmp_path)
    client, file = identity("watched", days=30), tmp_path / "trusted" / "one.der"
    os.utime(file.parent, (0, 0))  # else all of it may happen within one tick of the file system's clock
    sessions: Any = Sessions(client.der)
    watch = TrustWatch(TrustStore(tmp_path, SystemClock(), trust_required=True), SystemClock())
    sessions.client_certificates = set
    seen = await watch._look(sessions, here, None)
    file.write_bytes(client.der)
    del sessions.client_certificates
    file.unlink()
    await watch._look(sessions, here, seen)
    assert len(sessions.cut) == 1


class Later(SystemClock):
    """A clock that can be put forward."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()


@pytest.mark.parametrize("required", [True, False])
async def test_a_certificate_that_ends_ends_the_sessions_that_came_with_it(tmp_path: Path, required: bool) -> None:
    prepare(tmp_path)
    client, clock = identity("watched", days=30), Later()
    (tmp_path / "trusted" / "one.der").write_bytes(client.der)
    sessions: Any = Sessions(client.der)
    watch = TrustWatch(TrustStore(tmp_path, clock, trust_required=required), clock)
    seen = await watch._look(sessions, here, None)
    clock.ahead = timedelta(days=29)
    seen = await watch._look(sessions, here, seen)
    assert not sessions.cut
    clock.ahead = timedelta(days=31)
    await watch._look(sessions, here, seen)
    assert sessions.cut == [ua.StatusCodes.BadCertificateTimeInvalid]
