"""The public conformance kit (github.com/joyautomation/sparkplug-tck-go) on `plantbridge run`.

Skipped where `sparkplug-tck` is not on PATH: `go build ./cmd/sparkplug-tck` makes it. It grades what it saw:

- harness: the kit is the broker, and sees CONNECT, SUBSCRIBE and DISCONNECT. It pairs every NBIRTH with the last
  CONNECT and wants each DBIRTH one after the NBIRTH; so births come in the last session, and there is one machine.
  It takes a connection that closes without DISCONNECT for one that said it, so with MQTT 3.1.1 there is one session.
- passive: the kit listens at mosquitto. It pairs the first NDEATH with the first NBIRTH, lets no other NBIRTH begin at
  seq 0, wants seq in NCMD and retain in a STATE it is subscribed to. So there is one session without a rebirth, which
  with MQTT 5, whose planned end says NDEATH twice, ends by a kill; and the kit hears what edge nodes say, nothing else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from bridge.northbound.sparkplug.codec import MetricEncoder, MetricType, payload, stamp
from bridge.transport.mqtt import BrokerConfig, Link, Message
from tests.broker import Mosquitto, free_port

ROOT = Path(__file__).parents[2]
KIT = shutil.which("sparkplug-tck")
NODE = "acme:essen/bridge-1"
STATE = "spBv1.0/STATE/scada"
SITE = """
version: 1
bridge: {{name: bridge-1, enterprise: acme, site: essen, state_directory: state}}
sources:
  panel-1: {{type: qitech, url: "http://127.0.0.1:1", profile: 3.x, writes: true, allow_hazards: [heat, motion]}}
machines:
{machines}
northbound:
  opcua: {{enabled: false}}
  uns: {{enabled: false}}
  status: {{port: {status}}}
  sparkplug:
    primary_host_id: {host}
    commands: {{enabled: true}}
    broker: {{port: {mqtt}, protocol: "{protocol}"}}
"""
ACL = "topic readwrite #\nuser kit\n" + "".join(
    f"topic read spBv1.0/+/{kind}/#\n" for kind in ("NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH")
)
"""Who has no name may do everything."""
MACHINE = "  - {{id: {id}, area: a, line: l, source: panel-1, machine: {{slug: {slug}, serial: {serial}}}}}"

pytestmark = [
    pytest.mark.skipif(KIT is None, reason="sparkplug-tck is not on PATH"),
    pytest.mark.timeout(180),
    pytest.mark.parametrize("protocol", ["3.1.1", "5"]),
]


class Running:
    """A bridge as a user starts it."""

    def __init__(self, process: asyncio.subprocess.Process, status: int) -> None:
        self.process = process
        self._status = status

    async def why_not_ready(self) -> list[str]:
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"http://127.0.0.1:{self._status}/readyz")
            except httpx.TransportError:
                return ["not started"]
        return list(answer.json()["why_not_ready"])

    async def until(self, holds: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds(await self.why_not_ready()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            assert await self.process.wait() == 0


@asynccontextmanager
async def plantbridge(folder: Path, mqtt: int, protocol: str, host: str, *machines: str) -> AsyncIterator[Running]:
    status = free_port()
    listed = [
        MACHINE.format(id=f"{slug.partition('_')[0]}-1", slug=slug, serial=serial)
        for serial, slug in enumerate(machines, 1)
    ]
    site = SITE.format(machines="\n".join(listed), status=status, mqtt=mqtt, protocol=protocol, host=host)
    (folder / "bridge.yaml").write_text(site)
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge", "run", "--simulate", str(folder / "bridge.yaml")),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    try:
        yield Running(process, status)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def kit(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    assert KIT is not None
    process = await asyncio.create_subprocess_exec(
        KIT, "-duration", "170s", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def verdict(process: asyncio.subprocess.Process) -> str:
    """What the kit found, after it had time to take the last packet."""
    await asyncio.sleep(1)
    process.send_signal(signal.SIGINT)
    out, error = await process.communicate()
    lines = out.decode().splitlines()
    failed = [line for line in lines if line.startswith("✗")]
    assert not failed, "\n".join(failed)
    assert process.returncode == 0, error.decode()
    return lines[-1]


async def listening(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    await process.stderr.readline()


def ncmd(name: str) -> Message:
    metric = MetricEncoder(name, MetricType.Boolean).encode(stamp(1), True, with_type=True)
    return Message("spBv1.0/acme:essen/NCMD/bridge-1", payload(1, [metric], None))


def waits_for_host(why: list[str]) -> bool:
    """Everything is there but the primary host."""
    return len(why) == 1 and "primary host" in why[0]


async def heard(link: Link, kind: str, count: int = 1) -> None:
    async with asyncio.timeout(60):
        while count:
            message = await link.next_message()
            count -= message.topic.split("/")[2] == kind


async def test_harness(tmp_path: Path, protocol: str) -> None:
    port = free_port()
    options = ("-harness", "-profile", "edge-node", "-listen", f"127.0.0.1:{port}")
    async with kit(*options) as tck:
        await listening(tck)
        if protocol == "5":
            async with plantbridge(tmp_path, port, protocol, "scada", "extruder_v2") as bridge:
                await bridge.until(waits_for_host)
                await bridge.stop()
        async with (
            plantbridge(tmp_path, port, protocol, "scada", "extruder_v2") as bridge,
            Link.connect(BrokerConfig(port=port, protocol="3.1.1"), "host") as host,
        ):
            await bridge.until(waits_for_host)
            await host.subscribe("spBv1.0/+/+/#")
            host.publish(Message(STATE, b'{"online": true, "timestamp": 1000}', qos=1, retain=True))
            await heard(host, "DDATA", 20)
            for _ in range(2):
                host.publish(ncmd("Node Control/Rebirth"))
                await heard(host, "DBIRTH")
                await heard(host, "DDATA", 20)
            await bridge.stop()
            await heard(host, "NDEATH")
            summary = await verdict(tck)  # before our host's own DISCONNECT
    assert int(summary.split()[0]) > 500, summary


@pytest.mark.peer("mosquitto")
async def test_passive(tmp_path: Path, protocol: str) -> None:
    """Several machines, seq over many rounds, an end that is planned, or not."""
    (tmp_path / "acl").write_text(ACL)
    lines = ("allow_anonymous true", f"acl_file {tmp_path / 'acl'}")
    async with (
        Mosquitto(lines) as server,
        kit("-broker", f"tcp://127.0.0.1:{server.port}", "-username", "kit", "-password", "kit") as tck,
    ):
        await listening(tck)
        machines = ("extruder_v2", "winder_v1", "laser_v1")
        async with (
            plantbridge(tmp_path, server.port, protocol, "scada", *machines) as bridge,
            Link.connect(server.config, "host") as host,
        ):
            await bridge.until(waits_for_host)
            await host.subscribe("spBv1.0/+/+/#")
            host.publish(Message(STATE, b'{"online": true, "timestamp": 1000}', qos=1, retain=True))
            await heard(host, "DDATA", 300)
            if protocol == "5":
                bridge.process.kill()
            else:
                await bridge.stop()
            await heard(host, "NDEATH")
        summary = await verdict(tck)
    assert int(summary.split()[0]) > 100, summary
