"""`plantbridge run` as a process: what signals do to it."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from bridge.cli.admin import Access, AdminClient
from bridge.cli.main import main
from bridge.northbound.status.config import StatusConfig
from bridge.runtime.crippled import CrippledBridge
from bridge.runtime.state_directory import StateDirectory
from bridge.transport.clock import SystemClock
from tests.broker import free_port
from tests.sites import make_site

if TYPE_CHECKING:
    from pathlib import Path

SITE = """
version: 1
bridge: {{name: bridge-1, enterprise: acme, site: essen}}
sources: {{}}
northbound:
  opcua: {{enabled: false}}
  sparkplug: {{enabled: false}}
  uns: {{enabled: false}}
  status: {{port: {port}}}
"""


def readable_for_others(folder: Path) -> list[str]:
    """Files below a folder that somebody else has made, and everybody may look into."""
    files = list(folder.rglob("*"))
    assert files
    return [path.name for path in files if path.stat().st_mode & 0o077]


async def test_simulation_ends_in_order_when_its_terminal_is_closed(tmp_path: Path) -> None:
    """It does not take over changed files: SIGHUP without a handler would kill it."""
    port = free_port()
    (tmp_path / "bridge.yaml").write_text(SITE.format(port=port))
    (tmp_path / "state-simulated").mkdir(mode=0o755)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "run", "--simulate", str(tmp_path / "bridge.yaml"),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    assert b"changed files are taken over at the next start" in await process.stderr.readline()
    async with asyncio.timeout(60), httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(f"http://127.0.0.1:{port}/healthz")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    _, err = await process.communicate()
    assert (process.returncode, b"Stopping" in err) == (0, True)
    assert readable_for_others(tmp_path / "state-simulated") == []


async def test_a_start_with_faults_lives_for_a_container_and_ends_when_told(tmp_path: Path) -> None:
    """Health checks find it by the state directory, and SIGTERM ends it: the first process has no default for that."""
    file, state = tmp_path / "bridge.yaml", tmp_path / "state"
    file.write_text(SITE.format(port=free_port()).replace("sources: {}", "sources: []"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "run", str(file), "--state-dir", str(state), stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        assert process.stderr is not None
        while b"Until then only the status page is up" not in await process.stderr.readline():
            pass
        assert (state / "admin.json").exists()
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(main, ["health", "--state-dir", str(state), "--live"])
        assert ended.value.code == 0
        client = AdminClient(Access.found(None, None, state))
        assert "sources" in (await client.get("/api/v1/health", {}))["refused"][0]
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert (process.returncode, (state / "admin.json").exists()) == (0, False)


async def test_a_start_with_faults_leaves_a_running_bridge_its_state_directory(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    with state.locked():
        state.announce("http://127.0.0.1:1")
        before = (tmp_path / "state" / "admin.json").read_bytes()
        crippled = CrippledBridge(["a fault"], SystemClock(), lambda: make_site(tmp_path), [tmp_path / "bridge.yaml"])
        waiting = asyncio.create_task(crippled.wait(StatusConfig(port=0), state))
        crippled.ask()
        await asyncio.wait_for(waiting, 30)
        assert (tmp_path / "state" / "admin.json").read_bytes() == before
