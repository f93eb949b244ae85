"""The embedded broker: a bridge that is started again, with a client that does not read beside one that does."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from bridge.runtime import amqtt_rim
from bridge.runtime.bridge import Bridge
from bridge.sim.qitech.panel import Panel
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import BrokerConfig
from tests.broker import free_port
from tests.flow.chaos import EXTRUDER, Observer
from tests.flow.plantfloor import HEAD, until
from tests.sites import make_site

SITE = """
sources: {{panel: {{type: qitech, url: "{panel}", poll_period: 200ms}}}}
machines: [{{id: extruder-1, area: a, source: panel, machine: {{slug: extruder_v1, serial: 57922}}}}]
northbound:
  opcua: {{enabled: false}}
  sparkplug: {{publish_interval: 100ms, broker: {{port: {port}}}}}
  uns: {{publish_interval: 100ms, broker: {{port: {port}}}}}
  status: {{port: 0}}
broker: {{enabled: true, port: {port}}}
"""
DEAF = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04deaf" + b"\x82\x06\x00\x01\x00\x01#\x00"
"""CONNECT without keep-alive, and SUBSCRIBE to everything (MQTT 3.1.1, 3.1 and 3.8)."""


class Embedded:
    """Where clients find it."""

    def __init__(self) -> None:
        self.port = free_port()

    def config_of(self, user: str, protocol: str) -> BrokerConfig:
        return BrokerConfig.model_validate({"port": self.port, "protocol": protocol})


async def test_a_bridge_that_is_started_again_serves_who_reads_whoever_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(amqtt_rim, "MAX_WAITING", 100)
    server = Embedded()
    observer = Observer(server, "3.1.1")  # type: ignore[arg-type]
    watching = asyncio.create_task(observer.run())
    seen: list[int | None] = []
    try:
        async with Panel([EXTRUDER], release="3.0", port=free_port()) as panel:
            for turn in range(2):
                bridge = Bridge(
                    make_site(tmp_path, HEAD + SITE.format(panel=panel.url, port=server.port)), SystemClock()
                )
                task = asyncio.create_task(bridge.run())
                try:
                    await until(lambda: bridge.listening.is_set() or task.done())  # noqa: B023
                    with socket.socket() as deaf:
                        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                        deaf.setblocking(False)
                        await asyncio.get_running_loop().sock_connect(deaf, ("127.0.0.1", server.port))
                        await asyncio.get_running_loop().sock_sendall(deaf, DEAF)
                        await until(lambda: observer.host.is_online and "extruder-1" in observer.host.tags)
                        await until(lambda: not bridge.faces["uns"].trouble)  # type: ignore[attr-defined] # noqa: B023
                        assert bridge.faces["sparkplug"].trouble == ""  # type: ignore[attr-defined]
                        seen.append(observer.host.bd_seq)
                        broken = observer.broken + observer.host.broken
                        assert [rule for rule in broken if "QoS" not in rule] == []  # amqtt raises it
                        assert observer.connections == turn + 1
                finally:
                    bridge.stop()
                    await task
                await until(lambda: not observer.is_there)
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    assert seen == [0, 1]
    told = [one.getMessage() for one in caplog.records if "northbound" in one.name and one.levelname == "WARNING"]
    assert told == []
