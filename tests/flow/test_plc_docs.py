"""What `plantbridge docs plc` prints for a running bridge commands the machine: NodeIds, order of lists, block."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from click.testing import CliRunner

from bridge.cli.main import cli
from bridge.northbound.opcua import certificates
from bridge.sim.qitech.panel import Panel
from bridge.transport.clock import SystemClock
from tests.flow.commanded import EXTRUDER, OPERATOR, PASSWORD, plc_floor
from tests.flow.plantfloor import until
from tests.northbound.opcua.plc_block import Block

MODE = "extruder-1.Setpoints.Mode"


def printed(source: str, name: str) -> list[str]:
    """A list of NodeIds, as a PLC has it."""
    found = re.search(rf"{name}_Nodes : .*?\[$(.*?)^ *\];", source, re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.findall(r"'([^']+)'", found[1])


class Plc:
    """Writes the order and reads the answer in turns, and calls the block, as main.st does."""

    def __init__(self, client: Client, index: int, source: str) -> None:
        self._block = Block(source, SystemClock())
        self._order, self._answer = (
            [client.get_node(ua.NodeId(text, index)) for text in printed(source, f"PB_extruder_1_Standby_{name}")]
            for name in ("Order", "Answer")
        )
        members = re.search(r"^TYPE PB_Answer :\nSTRUCT\n(.*?)^END_STRUCT", source, re.MULTILINE | re.DOTALL)
        assert members is not None
        self._members = re.findall(r"^ *(\w+) :", members[1], re.MULTILINE)

    async def call(self, start: bool) -> Block:
        """Cycle until the block has a result, or is at rest again."""
        async with asyncio.timeout(30):
            while True:
                block = self._block
                written = (ua.Variant(block.RequestId, ua.VariantType.UInt32), ua.Variant(block.Execute))
                for node, value in zip(self._order, written, strict=True):
                    await node.write_value(ua.DataValue(value))
                values: list[Any] = [await node.read_value() for node in self._answer]
                answer = SimpleNamespace(**dict(zip(self._members, values, strict=True)))
                block.cycle(answer, Start=start, Linked=True)
                if (block.Done or block.Error) is start and not block.Busy:
                    return block


async def test_the_printed_block_puts_the_machine_into_standby(tmp_path: Path) -> None:
    async with Panel([EXTRUDER], release="3.0") as panel, plc_floor(tmp_path, panel) as floor:
        panel.machine("extruder_v1", 57922).mutate({"SetExtruderMode": "Heat"})
        await until(lambda: floor.value(MODE).value == 1)
        source = await docs(floor.bridge.state.path, "extruder-1", "--dialect", "st", "--command", "Standby")
        certificates.load_or_make(tmp_path / "client", "urn:test:client", ("localhost",), SystemClock().now())
        own = tmp_path / "client" / "own"
        client = Client(floor.opcua_url, timeout=15)
        client.application_uri = "urn:test:client"
        await client.set_security(SecurityPolicyBasic256Sha256, str(own / "certificate.der"), str(own / "key.pem"))
        client.set_user(OPERATOR)
        client.set_password(PASSWORD)
        async with client:
            namespace = re.search(r"_Namespace : STRING\(254\) := '([^']+)'", source)
            assert namespace is not None
            plc = Plc(client, await client.get_namespace_index(namespace[1]), source)
            block = await plc.call(start=True)
            assert (block.Done, block.Result, block.ErrorText) == (True, "confirmed", "")
            assert floor.value(MODE).value == 0
            block = await plc.call(start=False)
            assert (block.Done, block.Error) == (False, False)
            assert (await plc.call(start=True)).RequestId == 2


async def test_a_running_bridge_prints_what_its_files_print(tmp_path: Path) -> None:
    async with Panel([EXTRUDER], release="3.0") as panel, plc_floor(tmp_path, panel) as floor:
        asked = await docs(floor.bridge.state.path, "extruder-1", "--dialect", "scl")
        from_files = await asyncio.to_thread(
            CliRunner().invoke, cli, ["docs", "plc", "extruder-1", "--dialect", "scl", str(tmp_path / "bridge.yaml")]
        )
        assert asked == from_files.output
        assert json.dumps("PB_Handshake") in asked


async def docs(state: Path, *arguments: str) -> str:
    """What the verb prints about the bridge of this state directory."""
    words = ["docs", "plc", "--state-dir", str(state), *arguments]
    result = await asyncio.to_thread(CliRunner().invoke, cli, words)
    assert result.exit_code == 0, result.output
    return result.output
