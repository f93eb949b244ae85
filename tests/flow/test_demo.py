"""`plantbridge demo` as a user starts it: a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from bridge.transport.mqtt import BrokerConfig
from tests.broker import Broker, free_port
from tests.docker.test_files import used_metrics
from tests.flow.plantfloor import MqttView, until

START_S = 100.0


class Demo:
    """The process and what its first line said."""

    def __init__(self, process: asyncio.subprocess.Process, where: dict[str, Any]) -> None:
        self.process = process
        self.where = where

    async def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def demo(folder: Path, *options: str) -> AsyncIterator[Demo]:
    ports = {name: free_port() for name in ("opcua", "mqtt", "status")}
    arguments = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bridge",
        "demo",
        "--json",
        "--state-dir",
        str(folder / "state"),
        *arguments,
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
        assert line, (await process.communicate())[1].decode()
        yield Demo(process, json.loads(line))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class DemoBroker(Broker):
    """The demo's own broker, for the view."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.port = int(url.rpartition(":")[2])

    @property
    def config(self) -> BrokerConfig:
        return BrokerConfig(host="127.0.0.1", port=self.port)

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None


class States:
    """ServerStatus.State as a subscriber sees it."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def datachange_notification(self, node: object, value: int, data: object) -> None:
        self.seen.append(int(value))


async def test_the_first_line_says_where_everything_is_and_all_of_it_is_there(tmp_path: Path) -> None:
    async with demo(tmp_path) as running:
        where = running.where
        assert set(where) >= {"opcua", "mqtt", "status", "operator", "machines"}
        assert where["operator"]["user"] == "operator"
        async with Client(where["opcua"]) as client:
            node = client.get_node(f"ns=2;s={where['machines'][0]}.Monitoring.Temperature.Front")
            async with asyncio.timeout(30):
                while True:
                    value = await node.read_data_value(raise_on_bad_status=False)
                    if value.StatusCode.is_good():
                        break
                    await asyncio.sleep(0.05)
            assert value.Value.VariantType is ua.VariantType.Double
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{where['status']}/healthz")).status_code == 200
            async with asyncio.timeout(30):
                while (await http.get(f"{where['status']}/readyz")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            exposed = set(re.findall(r"^(plantbridge_\w+)", (await http.get(f"{where['status']}/metrics")).text, re.M))
            assert used_metrics() <= exposed, "docker/ shows metrics that no bridge has"
        async with MqttView(DemoBroker(where["mqtt"])) as view:
            await until(lambda: any(topic.endswith("/Monitoring/Pressure") for topic in view.uns), 30)
        assert await running.interrupt() == 0


async def test_ctrl_c_is_heard_by_everybody(tmp_path: Path) -> None:
    async with demo(tmp_path) as running, MqttView(DemoBroker(running.where["mqtt"])) as view:
        client = Client(running.where["opcua"])
        states = States()
        await client.connect()
        subscription = await client.create_subscription(100, states)
        await subscription.subscribe_data_change(client.get_node(ua.ObjectIds.Server_ServerStatus_State))
        await until(lambda: states.seen == [0])
        assert await running.interrupt() == 0
        await until(lambda: int(ua.ServerState.Shutdown) in states.seen)
        await until(lambda: "NDEATH" in view.kinds())
        client.disconnect_socket()


async def test_the_operator_can_log_in_over_an_encrypted_channel(tmp_path: Path) -> None:
    from bridge.northbound.opcua import certificates

    async with demo(tmp_path) as running:
        operator = running.where["operator"]
        own = certificates.load_or_make(tmp_path / "client", "urn:test:client", ("localhost",), _now())
        client = Client(running.where["opcua"])
        client.application_uri = "urn:test:client"
        client.set_user(operator["user"])
        client.set_password(operator["password"])
        await client.set_security(
            SecurityPolicyBasic256Sha256,
            certificate=str(tmp_path / "client" / "own" / "certificate.der"),
            private_key=str(_key_file(tmp_path / "client" / "own")),
            mode=ua.MessageSecurityMode.SignAndEncrypt,
        )
        assert own.certificate
        async with client:
            assert await client.get_node("ns=2;s=Bridge.Version").read_value()


def _now() -> Any:
    from bridge.transport.clock import SystemClock

    return SystemClock().now()


def _key_file(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if "key" in path.name)


@pytest.mark.parametrize("door", ["opcua", "mqtt", "status"])
async def test_a_taken_port_is_named(tmp_path: Path, door: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        others = [
            word
            for name in ("opcua", "mqtt", "status")
            if name != door
            for word in (f"--{name}-port", str(free_port()))
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bridge",
            "demo",
            "--state-dir",
            str(tmp_path / "state"),
            f"--{door}-port",
            str(port),
            *others,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(START_S):
            out, err = await process.communicate()
    assert process.returncode == 1
    assert str(port) in err.decode()
    assert "Traceback" not in err.decode() + out.decode()
