"""The bridge under measurement: a process like any other."""

from __future__ import annotations

import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from benchmarks import sites
from benchmarks.processes import Child, free_port, python

_SAMPLE = re.compile(r"^plantbridge_(\w+) (\S+)$", re.MULTILINE)
URL = b"opc.tcp://127.0.0.1/"
HELLO = (
    b"HELF"
    + (32 + len(URL)).to_bytes(4, "little")
    + b"".join(number.to_bytes(4, "little") for number in (0, 65_535, 65_535, 0, 0, len(URL)))
    + URL
)
"""OPC UA Part 6, 7.1.2.3. A socket may be bound long before it is served: only an answer counts."""


class RunningBridge:
    """`python -m bridge run`, in a folder of its own."""

    def __init__(self, folder: Path, site: dict[str, Any]) -> None:
        self.folder = folder
        self.opcua_port, self.status_port = free_port(), free_port()
        path = sites.write(folder, site, opcua_port=self.opcua_port, status_port=self.status_port)
        self.began = time.monotonic()
        self.process = Child(
            "the bridge", python("bridge", "run", path, "--log-level", "warning"), folder / "bridge.log"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.stop()

    @property
    def opcua_url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.opcua_port}/"

    def metrics(self) -> dict[str, float]:
        """What its status page counts; nothing while it is not up."""
        self.process.require_running()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}/metrics", timeout=10) as answer:
                return {name: float(value) for name, value in _SAMPLE.findall(answer.read().decode())}
        except (OSError, urllib.error.URLError):
            return {}

    def updates(self) -> float:
        return self.metrics().get("table_updates_total", 0.0)

    def wait_for_opcua(self, timeout_s: float = 120.0) -> float:
        """Seconds from the start of the process until OPC UA answers."""
        while (waited := time.monotonic() - self.began) < timeout_s:
            self.process.require_running()
            if _answers(self.opcua_port):
                return time.monotonic() - self.began
            time.sleep(0.005)
        raise RuntimeError(f"the bridge's OPC UA port does not answer within {waited:.0f} s")

    def wait_for_flow(self, per_second: float, timeout_s: float = 60.0) -> None:
        """Until nearly everything flows."""
        end = time.monotonic() + timeout_s
        before, since = self.updates(), time.monotonic()
        while time.monotonic() < end:
            time.sleep(1.0)
            now, at = self.updates(), time.monotonic()
            rate = (now - before) / (at - since)
            if rate >= 0.9 * per_second:
                return
            before, since = now, at
        raise RuntimeError(f"only {rate:.0f} of {per_second:.0f} updates/s arrive")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as sock:
            sock.settimeout(60.0)
            sock.sendall(HELLO)
            return sock.recv(8)[:4] == b"ACKF"
    except OSError:
        return False
