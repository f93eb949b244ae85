"""`plantbridge run` as a process: what signals do to it."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import httpx

from tests.broker import free_port

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
