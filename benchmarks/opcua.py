"""What the OPC UA face costs and delivers, beside asyncua, node-opcua-server and open62541: the same clients, by turns.

A turn is a server with this many variables that change so often, and node-opcua clients that subscribe or read.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import PEERS, Child, Unavailable, free_port, node_package, program, progress, python
from benchmarks.sites import PASSWORD, USER

OURS, ASYNCUA, NODE_OPCUA, OPEN62541 = "plantbridge", "asyncua", "node-opcua-server", "open62541"
SERVERS = (OURS, ASYNCUA, NODE_OPCUA, OPEN62541)
SETTLE_S = 3.0
SAMPLING_MS = 50
SUBSCRIBE_S = 180.0
OPEN62541_SERVER = Path(__file__).parent / "peers" / "open62541_server.py"


@dataclass(frozen=True)
class Case:
    """What clients ask, and what changes."""

    name: str
    tags: int
    hz: float
    publishing_ms: float
    clients: int = 1
    items: int = 0
    """Of each client; 0 is all."""
    reads: bool = False


CASES = (
    Case("1 000 × 10 Hz", 1_000, 10, 100),
    Case("10 000 × 1 Hz", 10_000, 1, 100),
    Case("10 000 × 10 Hz", 10_000, 10, 100),
    Case("10 000 × 20 Hz", 10_000, 20, 50),
    Case("sparse, 10 clients × 100 ms", 100, 10, 100, clients=10, items=1),
    Case("read 1 000 nodes", 1_000, 1, 100, reads=True),
)
ENCRYPTED = ("10 000 × 10 Hz", "sparse, 10 clients × 100 ms", "read 1 000 nodes")
"""Cases that are also measured with Sign & Encrypt."""


@dataclass
class Served:
    """One turn."""

    case: str
    server: str
    encrypted: bool
    per_s: float
    """Notifications, or values read."""
    cpu_percent: float
    """Of the server's process, its changes of values included; of one core."""
    cpu_us: float
    """The same for each of them."""
    message_ms: float
    """The same for each notification message."""
    client_percent: float
    p50_ms: float
    beyond_p99_ms: float
    """Age at arrival, less the publishing interval."""


def run(folder: Path, seconds: float, open62541: Path | None, absent: dict[str, str], *, quick: bool) -> list[Served]:
    """Every case with every server, or with two; `absent` is told why one is not there. Raises Unavailable."""
    program("node")
    for name in ("node-opcua-client", "node-opcua-certificate-manager"):
        node_package(name)
    rows: list[Served] = []
    for case in CASES:
        for encrypted in (False, True) if case.name in ENCRYPTED else (False,):
            progress(f"opcua: {case.name}{', encrypted' if encrypted else ''}")
            for server in SERVERS[: 2 if quick else None]:
                here = folder / f"opcua-{len(rows)}-{time.monotonic_ns()}"
                here.mkdir()
                try:
                    rows.append(_turn(here, case, server, encrypted, seconds, open62541))
                    progress(f"  {server}: {rows[-1].per_s:.0f}/s, {rows[-1].cpu_us} µs each")
                except (Unavailable, RuntimeError) as why:
                    absent[f"OPC UA, {server}{', encrypted' if encrypted else ''}"] = str(why)
                    progress(f"  {server}: {why}")
    return rows


def _turn(folder: Path, case: Case, server: str, encrypted: bool, seconds: float, open62541: Path | None) -> Served:
    port = free_port()
    command = _command(server, case.tags, port, folder, encrypted, open62541)
    with Child(server, command, folder / "server.log", talks=True) as serving:
        serving.ask(timeout_s=SUBSCRIBE_S)
        serving.ask(f"change {case.hz if case.reads else 1}")  # subscribing to a server that is busy takes minutes
        client = Child("the client", ["node", PEERS / "opcua_load.js", _plan(folder, case, server, port, encrypted)],
                       folder / "client.log", talks=True)  # fmt: skip
        with client:
            client.ask(timeout_s=SUBSCRIBE_S)
            serving.ask(f"change {case.hz}")
            time.sleep(SETTLE_S)
            client.ask("begin")
            before, began = serving.cpu_s(), time.perf_counter()
            time.sleep(seconds)
            spent, took = serving.cpu_s() - before, time.perf_counter() - began
            return _served(case, server, encrypted, client.ask("report"), spent, took)


def _served(case: Case, server: str, encrypted: bool, seen: dict[str, float], spent: float, took: float) -> Served:
    count = seen["read"] if case.reads else seen["notifications"]
    return Served(
        case.name,
        server,
        encrypted,
        round(count / seen["seconds"]),
        round(spent / took * 100, 1),
        round(spent / count * 1e6, 2) if count else 0.0,
        round(spent / seen["messages"] * 1e3, 3) if seen["messages"] else 0.0,
        round(seen["cpu_s"] / seen["seconds"] * 100, 1),
        seen["p50"],
        round(seen["p99"] - case.publishing_ms, 1) if seen["p99"] else 0.0,
    )


def _plan(folder: Path, case: Case, server: str, port: int, encrypted: bool) -> str:
    login = {"user": USER, "password": PASSWORD} if server == OURS and encrypted else {}
    plan = {
        "url": f"opc.tcp://127.0.0.1:{port}/",
        "ids": str(folder / "ids.json"),
        "store": str(folder / "client"),
        "clients": case.clients,
        "items": case.items or case.tags,
        "publishing": case.publishing_ms,
        "sampling": SAMPLING_MS,
        "encrypted": encrypted,
        "read": case.reads,
    }
    return json.dumps({**plan, **login})


def _command(
    server: str, tags: int, port: int, folder: Path, encrypted: bool, open62541: Path | None
) -> list[str | Path]:
    arguments = (str(tags), str(port), str(folder), "encrypted" if encrypted else "none")
    if server == NODE_OPCUA:
        node_package(server)
        return ["node", PEERS / "opcua_server.js", *arguments]
    if server == OPEN62541:
        if open62541 is None or encrypted:
            raise Unavailable("unencrypted, and with --open62541 PYTHON, whose environment has o6")
        return [open62541, OPEN62541_SERVER, *arguments]
    return [*python("benchmarks.opcua_server", server, *arguments)]
