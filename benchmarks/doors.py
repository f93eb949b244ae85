"""Commands from outside: what one takes by each door, from the client's write to the answer it waits for.

client -> door -> desk -> journal -> POST -> panel -> event (3.x) or reading (2.x) -> journal -> door -> client

The yardstick is the panel by itself (vendor.py), in the same run and by turns with the doors.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import aiohttp
from asyncua import Client, Node, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from benchmarks import sites, vendor
from benchmarks.bridge import RunningBridge
from benchmarks.disk import fsyncs
from benchmarks.percentiles import p50_p99_ms
from benchmarks.processes import Child, progress, python, running_broker
from bridge.northbound.opcua import certificates
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.codec import MetricType, stamp
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import BrokerConfig, Link, Message

RELEASES = ("3.0", "2.17")
ROUNDS = 4
"""Every door has its turn so often, so that what else the computer does hits all of them."""

PLC_CYCLE_S = 0.01
"""How often the handshake's State is read."""

CLIENT_URI = "urn:plantbridge:benchmark"
LIVE_RATE_HZ = 30.0
WARM_UP = 5
DISK, VENDOR = "one fsync", "vendor alone"
"""Rows to compare the doors with."""

Ask = Callable[[float], Awaitable[float]]
"""Asks for a value; the seconds until the door said "confirmed". Raises RuntimeError where it said otherwise."""


class Floor(NamedTuple):
    """Where a running bridge is, and one of its machines."""

    bridge: RunningBridge
    broker_port: int
    machine: str

    @property
    def speed(self) -> str:
        """A set point's tag id."""
        return f"{self.machine}.Setpoints.ScrewSpeed"

    @property
    def pid(self) -> str:
        """A command's target."""
        return f"{self.machine}.Commands.SetPid.Front"


@dataclass
class DoorTime:
    """One door at one release of the panel, milliseconds."""

    release: str
    door: str
    commands: int
    p50_ms: float
    p99_ms: float
    beyond_vendor_p50_ms: float | None
    """The median less the vendor's own; None for what is no door."""


@asynccontextmanager
async def opcua_client(floor: Floor) -> AsyncIterator[Client]:
    """A session that may write: encrypted, and logged in as an engineer."""
    certificates.load_or_make(floor.bridge.folder / "client", CLIENT_URI, ("localhost",), SystemClock().now())
    own = floor.bridge.folder / "client" / "own"
    logging.getLogger("asyncua").setLevel(logging.ERROR)
    client = Client(floor.bridge.opcua_url, timeout=15)
    client.application_uri = CLIENT_URI
    client.set_user(sites.USER)
    client.set_password(sites.PASSWORD)
    certificate, key = str(own / "certificate.der"), str(own / "key.pem")
    encrypted = ua.MessageSecurityMode.SignAndEncrypt
    await client.set_security(SecurityPolicyBasic256Sha256, certificate=certificate, private_key=key, mode=encrypted)
    async with client:
        yield client


def double(value: float) -> ua.DataValue:
    """A value without a status and times of the client's."""
    return ua.DataValue(ua.Variant(value, ua.VariantType.Double))


@asynccontextmanager
async def opcua_write(floor: Floor) -> AsyncIterator[Ask]:
    async with opcua_client(floor) as client:
        node = client.get_node(f"ns=2;s={floor.speed}")

        async def ask(value: float) -> float:
            began = time.perf_counter()
            await node.write_value(double(value))
            return time.perf_counter() - began

        yield ask


@asynccontextmanager
async def opcua_method(floor: Floor) -> AsyncIterator[Ask]:
    async with opcua_client(floor) as client:
        method = client.get_node(f"ns=2;s={floor.pid}Call")
        parent = await method.get_parent()
        assert parent is not None

        async def ask(value: float) -> float:
            began = time.perf_counter()
            *_, result = await parent.call_method(method, value, 0.0, 0.0)
            took = time.perf_counter() - began
            _require(result)
            return took

        yield ask


@asynccontextmanager
async def opcua_handshake(floor: Floor) -> AsyncIterator[Ask]:
    async with opcua_client(floor) as client:
        arguments = [client.get_node(f"ns=2;s={floor.pid}.Args.{name}") for name in ("Kp", "Ki", "Kd")]
        execute, state, result = (
            client.get_node(f"ns=2;s={floor.pid}.{name}") for name in ("Execute", "State", "Results.Result")
        )

        async def ask(value: float) -> float:
            await execute.write_value(_boolean(False))
            began = time.perf_counter()
            written = [double(value), double(0.0), double(0.0), _boolean(True)]
            await client.write_values([*arguments, execute], written)
            await _not_busy(state)
            took = time.perf_counter() - began
            _require(await result.read_value())
            return took

        yield ask


async def _not_busy(state: Node) -> None:
    """Done is 2, Error is 3."""
    while await state.read_value() < 2:  # noqa: ASYNC110 - as a PLC does
        await asyncio.sleep(PLC_CYCLE_S)


def _boolean(value: bool) -> ua.DataValue:
    return ua.DataValue(ua.Variant(value, ua.VariantType.Boolean))


@asynccontextmanager
async def dcmd(floor: Floor) -> AsyncIterator[Ask]:
    topic = f"spBv1.0/acme:lab/{{}}/bench/{floor.machine}"
    metric = codec.MetricEncoder("Setpoints/ScrewSpeed", MetricType.Double)
    async with Link.connect(_broker(floor), "bench-host") as link:
        messages = link.messages()
        await link.subscribe(topic.format("DDATA"), 1)

        async def ask(value: float) -> float:
            now = int(time.time() * 1000)
            began = time.perf_counter()
            said = metric.encode(stamp(now), value, with_type=True)
            link.publish(Message(topic.format("DCMD"), codec.payload(now, [said], None), qos=0))
            async for message in messages:
                answer = codec.decode(message.payload).metric("Commands/DCMD/Result")
                if answer is not None:
                    took = time.perf_counter() - began
                    _require(answer.resolve(MetricType.String))
                    return took
            raise RuntimeError("the broker is gone")

        yield ask


@asynccontextmanager
async def uns(floor: Floor) -> AsyncIterator[Ask]:
    topic = f"acme/lab/hall/one/{floor.machine}/cmd/Setpoints/ScrewSpeed"
    async with Link.connect(_broker(floor), "bench-commander") as link:
        messages = link.messages()
        await link.subscribe(f"{topic}/result", 1)

        async def ask(value: float) -> float:
            began = time.perf_counter()
            link.publish(Message(topic, json.dumps({"value": value}).encode(), qos=1))
            answer = json.loads((await anext(messages)).payload)
            took = time.perf_counter() - began
            _require(answer["result"])
            return took

        yield ask


def _broker(floor: Floor) -> BrokerConfig:
    return BrokerConfig(host="127.0.0.1", port=floor.broker_port)


@asynccontextmanager
async def admin(floor: Floor) -> AsyncIterator[Ask]:
    async with admin_session(floor) as session:

        async def ask(value: float) -> float:
            began = time.perf_counter()
            async with session.post("/api/v1/commands", json={"target": floor.speed, "value": value}) as answer:
                said = await answer.json()
            took = time.perf_counter() - began
            _require(said["result"])
            return took

        yield ask


@asynccontextmanager
async def admin_session(floor: Floor) -> AsyncIterator[aiohttp.ClientSession]:
    """The admin API, with its token."""
    token = (floor.bridge.folder / "state" / "admin.token").read_text().strip()
    address, headers = f"http://127.0.0.1:{floor.bridge.status_port}", {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(address, headers=headers, connector=connector) as session:
        yield session


def _require(result: object) -> None:
    if result != "confirmed":
        raise RuntimeError(f"a command was not confirmed but {result}")


DOORS: dict[str, Callable[[Floor], AbstractAsyncContextManager[Ask]]] = {
    "OPC UA write": opcua_write,
    "OPC UA method": opcua_method,
    "OPC UA handshake": opcua_handshake,
    "Sparkplug DCMD": dcmd,
    "UNS topic": uns,
    "admin API": admin,
}


def run(folder: Path, commands: int) -> list[DoorTime]:
    """So many commands by each door, at each release. Raises Unavailable."""
    found = []
    for release in RELEASES:
        progress(f"doors: {commands} commands by each, panel {release}")
        here = folder / f"doors-{release}"
        here.mkdir()
        with ExitStack() as stack:
            broker_port = stack.enter_context(running_broker(here))
            panel = stack.enter_context(panel_of(here / "panel.log", release))
            url = str(panel.ask()["url"])
            bridge = stack.enter_context(RunningBridge(here, sites.written_site({"extruder": url}, broker_port)))
            bridge.wait_for_opcua()
            floor = Floor(bridge, broker_port, "extruder")
            took = asyncio.run(_measure(floor, url, release, commands))
        found.extend(_rows(release, took))
        for row in found[-len(took) :]:
            progress(f"  {row.door}: p50 {row.p50_ms} ms, p99 {row.p99_ms} ms")
    return found


@contextmanager
def panel_of(log: Path, release: str) -> Iterator[Child]:
    """A panel of two extruders: the bridge's, and one for who talks to the panel directly."""
    with Child("the panel", python("benchmarks.panel", 2, LIVE_RATE_HZ, release), log, talks=True) as panel:
        yield panel


def _rows(release: str, took: dict[str, list[float]]) -> list[DoorTime]:
    own = p50_p99_ms(took[VENDOR])[0]
    rows = []
    for door, seconds in took.items():
        p50, p99 = p50_p99_ms(seconds)
        rows.append(DoorTime(release, door, len(seconds), p50, p99, round(p50 - own, 2) if door in DOORS else None))
    return rows


async def _measure(floor: Floor, url: str, release: str, commands: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {DISK: [], VENDOR: [], **{door: [] for door in DOORS}}
    await ready(floor)
    values = (1 + number % 400 / 10 for number in count())
    for _ in range(ROUNDS):
        with closing(fsyncs(floor.bridge.folder / "fsync")) as disk:
            took[DISK].extend(islice(disk, commands // ROUNDS))
        async with vendor.connected(url, release) as alone:
            await _ask(alone.set_speed, values, took[VENDOR], commands // ROUNDS)
        for door, connect in DOORS.items():
            async with connect(floor) as ask:
                await _ask(ask, values, took[door], commands // ROUNDS)
    return took


async def _ask(ask: Ask, values: Iterator[float], took: list[float], commands: int) -> None:
    for number in range(WARM_UP + commands):
        async with asyncio.timeout(30):
            seconds = await ask(next(values))
        if number >= WARM_UP:
            took.append(seconds)


async def ready(floor: Floor) -> None:
    """Until the machine's values are good and both doors at the broker are open."""
    async with asyncio.timeout(60):
        async with admin_session(floor) as session:
            while not await _is_good(session, floor):  # noqa: ASYNC110 - it is asked, it does not tell
                await asyncio.sleep(0.1)
        async with Link.connect(_broker(floor), "bench-ready") as link:
            messages = link.messages()
            await link.subscribe("acme/lab/_bridge/bench/online", 1)
            while not json.loads((await anext(messages)).payload)["online"]:
                pass
            await link.subscribe(f"spBv1.0/acme:lab/DDATA/bench/{floor.machine}", 1)
            while not (await anext(messages)).topic.startswith("spBv1.0/"):
                pass


async def _is_good(session: aiohttp.ClientSession, floor: Floor) -> bool:
    async with session.get(f"/api/v1/tags/{floor.speed}") as answer:
        return answer.status == 200 and (await answer.json())["status"] == "Good"
