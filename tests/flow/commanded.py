"""A plant that is commanded: simulated panels, a bridge with every door open, and what each knows of a command."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bridge.commands.journal import Entry
from bridge.northbound.opcua.passwords import hash_password
from bridge.sim.qitech.panel import Panel, SimulatedMachine
from tests.broker import Broker, free_port
from tests.flow.opcua_peer import OpcuaPeer
from tests.flow.plantfloor import PlantFloor, running_bridge, until
from tests.flow.test_loss_and_return import is_good
from tests.northbound.opcua.house import APPLICATION, own_certificate

EXTRUDER = SimulatedMachine("extruder_v1", 57922)
WATER = SimulatedMachine("aquapath_v1", 57924)
PASSWORD = "correct horse"
OBSERVER, OPERATOR, ENGINEER = "olga", "otto", "emma"
EVERY_HAZARD = "[heat, motion, power, protection, loses_data, loses_tension]"

USERS = ((OBSERVER, "Observer"), (OPERATOR, "Operator"), (ENGINEER, "Engineer"))
OPCUA = """
northbound:
  opcua:
    port: {opcua}
    pki: {pki}
    application_uri: {application}
    trust: any_with_login
    hosts: [127.0.0.1]
    users:
{users}
  status: {{port: 0}}
"""
MQTT = """
  sparkplug:
    publish_interval: 100ms
    datatype_in_data: true
    commands: {{enabled: {doors}}}
    broker: {{host: 127.0.0.1, port: {mqtt}, protocol: "{protocol}"}}
  uns:
    publish_interval: 100ms
    commands: {{enabled: {doors}}}
    broker: {{host: 127.0.0.1, port: {mqtt}, protocol: "{protocol}"}}
"""
OFF = "  sparkplug: {enabled: false}\n  uns: {enabled: false}\n"


@functools.cache
def _hashed() -> str:
    return hash_password(PASSWORD)


def faces(opcua: int, mqtt: int | None, *, doors: bool = True, protocol: str = "5") -> str:
    """OPC UA with three people; the MQTT faces where there is a broker, with their doors open or closed."""
    users = "\n".join(f'      - {{name: {name}, role: {role}, password_hash: "{_hashed()}"}}' for name, role in USERS)
    rest = OFF if mqtt is None else MQTT.format(mqtt=mqtt, protocol=protocol, doors=str(doors).lower())
    pki = own_certificate().parent  # made once for all bridges: such a key takes seconds
    return OPCUA.format(opcua=opcua, users=users, pki=pki, application=APPLICATION) + rest


def site(*lines: tuple[str, Panel, str]) -> str:
    """One panel each: (name, panel, the rest of its source), with `extruder-<name>` and, if plugged, `water-<name>`."""
    sources = "".join(
        f'  panel-{name}: {{type: qitech, url: "{panel.url}", poll_period: 200ms, {rest}}}\n'
        for name, panel, rest in lines
    )
    machines = "".join(
        f"  - {{id: {kind}-{name}, area: a, source: panel-{name}, "
        f"machine: {{slug: {one.slug}, serial: {one.serial}}}}}\n"
        for name, panel, _ in lines
        for kind, one in (("extruder", EXTRUDER), ("water", WATER))
        if any(known.slug == one.slug for known in panel.known.values())
    )
    return f"sources:\n{sources}machines:\n{machines}commands: {{confirm_within: 1s}}\n"


def open_source(hazards: str = EVERY_HAZARD) -> str:
    """A source that takes commands."""
    return f"writes: true, allow_hazards: {hazards}"


def mutations(panel: Panel) -> list[Any]:
    """What the panel was asked to change, in order."""
    return [json.loads(one.body)["data"] for one in panel.journal if one.method == "POST"]


async def eventually(condition: Callable[[], Awaitable[Any]], timeout_s: float = 30.0) -> Any:
    """What an asynchronous condition gives as soon as that is true."""
    async with asyncio.timeout(timeout_s):
        while not (found := await condition()):  # noqa: ASYNC110 - asked, not listened to
            await asyncio.sleep(0.02)
    return found


async def last_entry(floor: PlantFloor, machine: str, target: str) -> Entry:
    """The newest command for a target in the journal, once it has ended."""

    async def ended() -> Entry | None:
        newest = await floor.bridge.journal.newest(20, machine=machine)
        entry = next((one for one in newest if one.command.target == target), None)
        return entry if entry is not None and entry.outcome is not None else None

    entry = await eventually(ended)
    assert isinstance(entry, Entry)
    return entry


@asynccontextmanager
async def plc_floor(
    folder: Path, *panels: Panel, mqtt: Broker | None = None, opcua: int = 0, protocol: str = "5"
) -> AsyncIterator[PlantFloor]:
    """A bridge with one line per panel, named 1, 2, …; everything is Good when it is entered."""
    port = opcua or free_port()
    rest = site(*((str(number), panel, open_source()) for number, panel in enumerate(panels, 1)))
    text = faces(port, mqtt.port if mqtt else None, protocol=protocol)
    async with running_bridge(folder, rest, mqtt, faces=text, opcua=port) as floor:
        await until(lambda: all(is_good(floor, speed(str(n))) for n in range(1, len(panels) + 1)))
        yield floor


def speed(line: str) -> str:
    """The screw speed's id."""
    return f"extruder-{line}.Setpoints.ScrewSpeed"


def node(identifier: str) -> str:
    """Its NodeId."""
    return f"ns=2;s={identifier}"


def people(floor: PlantFloor) -> OpcuaPeer:
    """node-opcua, to be entered."""
    return OpcuaPeer(floor.opcua_url, PASSWORD)


@asynccontextmanager
async def held(panel: Panel) -> AsyncIterator[None]:
    """The extruder of a 3.x panel takes nothing from its queue: when two mutations wait there, the next gets no answer.

    Facts on QiTech 3.3: the queue holds 2, and a mutation waits for a slot without a time limit.
    """
    identity = panel.machine(EXTRUDER.slug, EXTRUDER.serial).identity
    panel.faults.stall_queue(EXTRUDER.slug, EXTRUDER.serial, True)
    for _ in range(2):
        await panel.backend.send(identity, {"ResetInverter": True})
    try:
        yield
    finally:
        panel.faults.stall_queue(EXTRUDER.slug, EXTRUDER.serial, False)
