"""A PLC that asks the same again after the bridge was restarted: it is answered, and not done again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asyncua import Client

from bridge.sim.qitech.panel import Panel
from tests.broker import free_port
from tests.flow.commanded import ENGINEER, EXTRUDER, PASSWORD, mutations, plc_floor
from tests.northbound.opcua.house import identity
from tests.northbound.opcua.test_handshake_objects import edge, until

PID = "extruder-1.Commands.SetPid.Front"
GAINS = {"Kp": 0.5, "Ki": 0.1, "Kd": 0.0}


@asynccontextmanager
async def plc(port: int) -> AsyncIterator[Callable[..., Awaitable[list[str]]]]:
    """An Engineer's edges of the handshake; gives the statuses of its writes."""
    who = identity("plc")
    client = Client(f"opc.tcp://127.0.0.1:{port}", timeout=30)
    client.application_uri = who.uri
    client.set_user(ENGINEER)
    client.set_password(PASSWORD)
    await client.set_security_string(f"Basic256Sha256,SignAndEncrypt,{who.certificate_file},{who.key_file}")
    async with client:

        async def ask(state: int, **fields: Any) -> list[str]:
            statuses = await edge(client, PID, **fields)
            await until(client, PID, State=state)
            return statuses

        yield ask


async def test_the_same_request_after_a_restart_is_answered_and_not_done_again(tmp_path: Path) -> None:
    port = free_port()
    async with Panel([EXTRUDER], release="3.0", port=free_port()) as panel:
        async with plc_floor(tmp_path, panel, opcua=port), plc(port) as ask:
            assert await ask(2, RequestId=7, **GAINS) == ["Good"] * 5
        once = mutations(panel)
        assert len(once) == 1
        async with plc_floor(tmp_path, panel, opcua=port), plc(port) as ask:
            for _ in range(2):  # first the desk knows what was asked, then the object does too
                assert await ask(3, RequestId=7, **{**GAINS, "Kp": 0.6}) == ["Good"] * 4 + ["BadInvalidArgument"]
                assert await ask(2, RequestId=7, **GAINS) == ["Good"] * 5
            assert mutations(panel) == once
            assert await ask(2, RequestId=8, **GAINS) == ["Good"] * 5
            assert len(mutations(panel)) == 2
