"""A server with many Doubles, in a process of its own, until it is stopped.

`python -m benchmarks.opcua_server plantbridge|asyncua TAGS PORT FOLDER none|encrypted`. plantbridge is the table and
the OPC UA face of the product, without a source; asyncua is its Server as its examples use it. "change HZ" on standard
input gives every tag a new value so often: the time, in seconds. The ids of its variables are in FOLDER/ids.json.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asyncua import Server, ua

from benchmarks.sites import PASSWORD, USER
from bridge.hub.log import EventLogStore
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.path import Place
from bridge.model.plant import BRIDGE_MACHINE_ID, Machine, Part, Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Tag, TagDefinition, tag_id
from bridge.model.value import DataType, DataValue, make
from bridge.northbound.opcua.certificates import load_or_make
from bridge.northbound.opcua.config import OpcuaConfig, OpcuaUser, Role, Trust
from bridge.northbound.opcua.passwords import hash_password
from bridge.northbound.opcua.server import OpcuaServer
from bridge.runtime.collector import settled
from bridge.transport.clock import SystemClock

PER_MACHINE = 100
APPLICATION = "urn:plantbridge:benchmark"
HOSTS = ("localhost", "127.0.0.1")

Write = Callable[[], Awaitable[None]]
"""Gives every tag a new value."""


def plant(slots: Slots, tags: int) -> Plant:
    """Machines of a hundred Doubles."""

    def machine(name: str, count: int, parts: tuple[Part, ...]) -> Machine:
        definitions = [TagDefinition(f"Monitoring/T{number}", DataType.Double) for number in range(count)]
        ids = [tag_id(name, one.name) for one in definitions]
        made = tuple(Tag(key, slots.slot(key), name, one) for key, one in zip(ids, definitions, strict=True))
        return Machine(name, Place("acme", "essen"), "load", parts, made)

    machines = [
        machine(name, PER_MACHINE, (Part("values", "load", name, "load"),))
        for name in (f"m{number:04}" for number in range(tags // PER_MACHINE))
    ]
    return Plant(machine(BRIDGE_MACHINE_ID, 0, ()), {one.id: one for one in machines})


@asynccontextmanager
async def plantbridge(tags: int, port: int, folder: Path, *, encrypted: bool) -> AsyncIterator[tuple[list[str], Write]]:
    """The product's table and OPC UA face."""
    clock, users = SystemClock(), (OpcuaUser(name=USER, password_hash=hash_password(PASSWORD), role=Role.OBSERVER),)
    config = OpcuaConfig(
        port=port,
        hosts=HOSTS,
        users=users if encrypted else (),
        trust=Trust.ANY_WITH_LOGIN,
        unsecured_read_only=not encrypted,
        sampling_interval_ms=10,
    )
    async with EventLogStore(folder / "log.db", clock, max_rows=1000) as log:
        table = Table(plant(Slots(), tags), clock, log)
        server = OpcuaServer(config, clock, folder)
        serving = asyncio.create_task(server.run(table, None, None))  # type: ignore[arg-type]
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        every = [tag for one in table.plant.machines.values() for tag in one.tags]
        slots = [tag.slot for tag in every]

        async def write() -> None:
            now, value, good = datetime.now(UTC).replace(microsecond=0), time.time(), StatusCode.Good
            table.update([(slot, make(DataValue, (value, good, now, now, "", None))) for slot in slots])

        try:
            if serving.done():
                serving.result()
            settled()  # as `plantbridge run` does
            yield [f"ns=2;s={tag.id}" for tag in every], write
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def bare_asyncua(
    tags: int, port: int, folder: Path, *, encrypted: bool
) -> AsyncIterator[tuple[list[str], Write]]:
    """asyncua's own server, values written by its fast way."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    if encrypted:
        own = folder / "pki" / "own"
        load_or_make(folder / "pki", APPLICATION, HOSTS, datetime.now(UTC))
        await server.set_application_uri(APPLICATION)
        await server.load_certificate(str(own / "certificate.der"))
        await server.load_private_key(str(own / "key.pem"))
        server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    else:
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(APPLICATION)
    ids = []
    for group in range(tags // PER_MACHINE):
        parent = await server.nodes.objects.add_folder(index, f"m{group}")
        for number in range(group * PER_MACHINE, (group + 1) * PER_MACHINE):
            ids.append((await parent.add_variable(ua.NodeId(f"t{number}", index), f"t{number}", 0.0)).nodeid)  # noqa: PERF401

    async def write() -> None:
        now, value = datetime.now(UTC), time.time()
        for number, one in enumerate(ids):
            await server.write_attribute_value(
                one, ua.DataValue(ua.Variant(value, ua.VariantType.Double), SourceTimestamp=now, ServerTimestamp=now)
            )
            if not number % 500:
                await asyncio.sleep(0)

    async with server:
        yield [one.to_string() for one in ids], write


KINDS: dict[str, Any] = {"plantbridge": plantbridge, "asyncua": bare_asyncua}


async def change(write: Write, hz: float) -> None:
    """Until cancelled; cycles that are late are not made up for."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        await write()
        due = max(due + 1 / hz, loop.time())
        await asyncio.sleep(due - loop.time())


async def main(kind: str, tags: str, port: str, folder: str, security: str) -> None:
    place = Path(folder)
    async with KINDS[kind](int(tags), int(port), place, encrypted=security == "encrypted") as (ids, write):
        (place / "ids.json").write_text(json.dumps(ids))
        say({"ready": True})
        writing: asyncio.Task[None] | None = None
        while words := await asyncio.to_thread(sys.stdin.readline):
            if writing is not None:
                writing.cancel()
            writing = asyncio.create_task(change(write, float(words.split()[1])))
            say({"changing": words.split()[1]})


def say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
