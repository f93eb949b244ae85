"""Finds the real peers that are not Python packages: mosquitto, node with the packages of tests/peers, and Chromium.

A test says `@pytest.mark.peer("mosquitto")`, `peer("node")` or `peer("chromium")`. Where the peer is absent
the test is skipped; with PLANTBRIDGE_PEERS=required in the environment it is an error instead. See tests/conftest.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
"""Where node finds its packages: run scripts with this as working directory, or put them there."""

PLUGIN = "mosquitto_dynamic_security"
"""The peer that refuses subscriptions, which mosquitto's acl_file does not."""

CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""What distributions call it; the first is enough, and small."""

ADMIN_PATHS = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"))
"""Where distributions put daemons that are not on a user's PATH."""

LONGEST_LINE = 2**22
"""Of what a script prints."""


def program(name: str) -> str | None:
    """The path of an installed program."""
    return shutil.which(name) or shutil.which(name, path=ADMIN_PATHS)


def plugin() -> Path | None:
    """Where distributions put mosquitto's dynamic security plugin: beside mosquitto."""
    return next(Path("/usr/lib").glob(f"**/{PLUGIN}.so"), None)


def node_packages() -> tuple[str, ...]:
    """The packages tests/peers/package.json names."""
    return tuple(json.loads((PEERS / "package.json").read_text(encoding="utf-8"))["dependencies"])


def chromium() -> str | None:
    """The path of a Chromium, for Playwright."""
    return next((path for name in CHROMIUM if (path := program(name))), None)


def missing(peer: str) -> str | None:
    """Why this peer cannot be used, or None."""
    if peer == "chromium":
        return None if chromium() else "chromium is not installed (Debian: chromium-headless-shell)"
    if peer == PLUGIN:
        return None if plugin() else f"mosquitto's plugin {PLUGIN} is not installed"
    if program(peer) is None:
        return f"{peer} is not installed"
    if peer == "node":
        absent = [name for name in node_packages() if not (PEERS / "node_modules" / name).is_dir()]
        if absent:
            return f"{', '.join(absent)}: not installed in tests/peers (npm install)"
    return None


def are_required() -> bool:
    """An absent peer is an error, not a skip."""
    return os.environ.get("PLANTBRIDGE_PEERS") == "required"


async def start_node(script: str, *arguments: str) -> asyncio.subprocess.Process:
    """Run a script of tests/peers (its file name, or JavaScript source) with pipes; the caller ends it."""
    node = program("node")
    if node is None:
        raise FileNotFoundError("node is not installed")
    source = (script,) if script.endswith((".js", ".cjs", ".mjs")) else ("-e", script)
    return await asyncio.create_subprocess_exec(
        node,
        *source,
        *arguments,
        cwd=PEERS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        limit=LONGEST_LINE,
    )


async def run_node(script: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run a script to its end and return what it printed. Raises AssertionError with its complaint if it failed."""
    process = await start_node(script, *arguments)
    output, complaint = await process.communicate(stdin)
    assert process.returncode == 0, complaint.decode()
    return output
