"""A whole bridge in this process, with a real broker, and what its three faces say."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from bridge.model.plant import ALIVE
from bridge.model.quality import sparkplug_quality, uns_quality
from bridge.model.tag import Tag
from bridge.model.value import DataType, DataValue, to_milliseconds
from bridge.ports import Clock
from bridge.runtime.bridge import Bridge
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import Link
from tests.broker import Broker, free_port
from tests.flow.lines import LinePeer
from tests.sites import make_site

FACES = """
northbound:
  opcua: {{port: {opcua}, unsecured_read_only: true, hosts: [127.0.0.1]}}
  sparkplug: {{publish_interval: 100ms, datatype_in_data: true, broker: {{host: 127.0.0.1, port: {mqtt}}}}}
  uns: {{publish_interval: 100ms, broker: {{host: 127.0.0.1, port: {mqtt}}}}}
  status: {{port: 0}}
"""

HEAD = """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
"""


async def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - any condition of any part; there is no one event
            await asyncio.sleep(0.01)


class PlantFloor:
    """A running bridge and where to find it."""

    def __init__(self, bridge: Bridge, opcua_url: str) -> None:
        self.bridge = bridge
        self.opcua_url = opcua_url

    def tag(self, identifier: str) -> Tag:
        """A tag that must be there."""
        tag = self.bridge.table.plant.find(identifier)
        assert tag is not None, identifier
        return tag

    def value(self, identifier: str) -> DataValue:
        """What the table holds."""
        return self.bridge.table.read(self.tag(identifier))

    def tags(self) -> list[Tag]:
        """Every tag of every machine, the bridge's own included."""
        return [tag for machine in self.bridge.table.plant.everything() for tag in machine.tags]


@contextlib.asynccontextmanager
async def running_bridge(
    folder: Path,
    rest: str,
    broker: Broker | None,
    *,
    reloadable: bool = False,
    faces: str = "",
    opcua: int = 0,
    clock: Clock | None = None,
) -> AsyncIterator[PlantFloor]:
    """A bridge whose sources and machines are in `rest`, stopped as `plantbridge run` stops it.

    `faces` replaces the usual ones; then `opcua` is the port they name. `clock` is the bridge's.
    """
    opcua = opcua or free_port()
    text = HEAD + rest + (faces or FACES.format(opcua=opcua, mqtt=broker.port if broker else 0))
    site = make_site(folder, text)
    bridge = Bridge(
        site,
        clock or SystemClock(),
        (lambda: make_site(folder, (folder / "bridge.yaml").read_text())) if reloadable else None,
    )
    task = asyncio.create_task(bridge.run())
    try:
        await _started(bridge, task, opcua)
        yield PlantFloor(bridge, f"opc.tcp://127.0.0.1:{opcua}")
    finally:
        bridge.stop()
        await task


async def _started(bridge: Bridge, task: asyncio.Task[None], opcua: int) -> None:
    async with asyncio.timeout(30):
        while not task.done():
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", opcua)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.02)
    await task


class MqttView:
    """Everything a subscriber on `#` sees: UNS documents by topic, Sparkplug payloads in order."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.uns: dict[str, bytes] = {}
        self.sparkplug: list[tuple[str, bytes]] = []

    async def __aenter__(self) -> MqttView:
        self._stack = contextlib.AsyncExitStack()
        self._link = await self._stack.enter_async_context(Link.connect(self._broker.config, "view"))
        await self._link.subscribe("#", 1)
        self._task = asyncio.create_task(self._collect())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._stack.aclose()

    async def _collect(self) -> None:
        async for message in self._link.messages():
            if message.topic.startswith("spBv1.0/"):
                self.sparkplug.append((message.topic, message.payload))
            else:
                self.uns[message.topic] = message.payload

    def kinds(self) -> list[str]:
        """Message types seen, in order, with the device where there is one."""
        return ["/".join(topic.split("/")[2:3] + topic.split("/")[4:]) for topic, _ in self.sparkplug]


class SparkplugHost:
    """Folds decoded payloads into the newest metric of each node and device, as a host does."""

    def __init__(self, view: MqttView, decoder: LinePeer) -> None:
        self._view = view
        self._decoder = decoder
        self._taken = 0
        self.metrics: dict[tuple[str, str], dict[str, Any]] = {}

    async def catch_up(self) -> None:
        """Take in what has come since."""
        while self._taken < len(self._view.sparkplug):
            topic, payload = self._view.sparkplug[self._taken]
            self._taken += 1
            kind, device = topic.split("/")[2], (topic.split("/")[4:] or [""])[0]
            if kind not in ("NBIRTH", "DBIRTH", "NDATA", "DDATA"):
                continue
            decoded = await self._decoder.ask(base64.b64encode(payload).decode())
            for metric in decoded["metrics"]:
                if metric.get("isHistorical"):
                    continue  # of the past: it is for the historian
                known = self.metrics.setdefault((device, metric["name"]), {})
                if kind.endswith("BIRTH"):
                    known.clear()
                known.update({key: value for key, value in metric.items() if value is not None or key == "value"})


def expected_sparkplug(tag: Tag, value: DataValue) -> dict[str, Any]:
    """What a Sparkplug host must know of a value."""
    return {
        "value": _plain(tag, value),
        "quality": sparkplug_quality(value.status).value,
        "timestamp": to_milliseconds(value.source_timestamp),
    }


def seen_sparkplug(metric: dict[str, Any]) -> dict[str, Any]:
    """What a Sparkplug host knows."""
    value = metric.get("value")
    if isinstance(value, str) and metric["type"] in ("Int64", "UInt64", "DateTime"):
        value = int(value)
    quality = (metric.get("properties") or {}).get("Quality", {"value": 192})["value"]
    return {"value": value, "quality": quality, "timestamp": int(metric["timestamp"])}


def expected_uns(tag: Tag, value: DataValue) -> dict[str, Any]:
    """What a UNS subscriber must read."""
    plain = value.value
    if isinstance(plain, datetime):
        plain = plain.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    stamp = value.source_timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"value": plain, "timestamp": stamp, "quality": uns_quality(value.status).value}


def expected_opcua(tag: Tag, value: DataValue) -> dict[str, Any]:
    """What an OPC UA client must read."""
    plain = _plain(tag, value)
    if tag.definition.data_type is DataType.Int64 and plain is not None:
        plain = str(plain)
    stamp = to_milliseconds(value.source_timestamp)
    return {"value": plain, "status": int(value.status), "sourceTimestamp": stamp}


def _plain(tag: Tag, value: DataValue) -> Any:
    return to_milliseconds(value.value) if isinstance(value.value, datetime) else value.value


async def compare(floor: PlantFloor, reader: LinePeer, host: SparkplugHost, view: MqttView) -> list[str]:
    """Every way in which a face differs from the table; empty when the three views are one."""
    await host.catch_up()
    tags = floor.tags()
    read = await reader.ask(json.dumps([f"ns=2;s={tag.id}" for tag in tags]))
    wrong = []
    for tag, seen in zip(tags, read, strict=True):
        value = floor.bridge.table.read(tag)
        del seen["type"]
        if seen != expected_opcua(tag, value):
            wrong.append(f"OPC UA {tag.id}: {seen} instead of {expected_opcua(tag, value)}")
        wrong.extend(_uns_difference(floor, view, tag, value))
        wrong.extend(_sparkplug_difference(floor, host, tag, value))
    return wrong


def _uns_difference(floor: PlantFloor, view: MqttView, tag: Tag, value: DataValue) -> list[str]:
    topic = floor.bridge.faces["uns"].address(tag)
    document = json.loads(view.uns.get(topic) or b"{}")
    seen = {key: document.get(key) for key in ("value", "timestamp", "quality")}
    return [] if seen == expected_uns(tag, value) else [f"UNS {topic}: {seen} instead of {expected_uns(tag, value)}"]


def _sparkplug_difference(floor: PlantFloor, host: SparkplugHost, tag: Tag, value: DataValue) -> list[str]:
    plant = floor.bridge.table.plant
    device = "" if tag.machine == plant.bridge.id else tag.machine
    if device:
        alive = plant.machines[device].tag(ALIVE)
        if alive is not None and floor.bridge.table.read(alive).value is not True:
            return []  # a dead device's metrics are the host's to mark stale
    metric = host.metrics.get((device, tag.name))
    if metric is None:
        return [f"Sparkplug {device}/{tag.name} was never born"]
    seen, wanted = seen_sparkplug(metric), expected_sparkplug(tag, value)
    return [] if seen == wanted else [f"Sparkplug {device}/{tag.name}: {seen} instead of {wanted}"]
