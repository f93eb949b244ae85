"""Ten thousand random payloads and ten thousand damaged ones, from the topic to the desk: a command or a counted error.

Seeded: a failure says which payload it was.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.codec.wire import length_delimited
from bridge.northbound.sparkplug.session import REBIRTH
from bridge.transport.mqtt import Message
from tests.broker import broker
from tests.northbound.fake_desk import FakeDesk
from tests.northbound.sparkplug import schema
from tests.northbound.sparkplug.test_node import NCMD, new_node, until
from tests.northbound.sparkplug.test_node_commands import DCMD, OPEN, now_ms, serving
from tests.one_of_everything import filled_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bridge.northbound.sparkplug.node import SparkplugNode

ROUNDS = 10_000
MODE = length_delimited(b"\x0a", b"Setpoints/Mode")
TOPICS = (NCMD, DCMD, DCMD, DCMD.replace("extruder-1", "nobody"))


def valid() -> list[bytes]:
    """What hosts may send: every type, by name and by alias, with everything the schema has."""
    names = ("Setpoints/ScrewSpeed", "Setpoints/Mode", "Commands/SetPid/Front/Args/Kp", "Commands/Standby/Execute")
    plain = [(kind, 1) for kind in range(1, 9)] + [(9, 1.5), (10, 30.0), (11, True), (12, "Heat"), (13, 10**12)]
    payloads = [schema.encode(*((name, kind, value) for name in names), timestamp=now_ms()) for kind, value in plain]
    payloads += [schema.encode((REBIRTH, 11, True)), schema.encode((REBIRTH, 3, 1), ("bdSeq", 4, 0))]
    rich = schema.Payload(timestamp=1, seq=3, uuid="u", body=b"b")
    for alias in range(40):
        rich.metrics.add(alias=alias, datatype=10, double_value=1.0).properties.keys.append("k")
        rich.metrics[-1].properties.values.add(type=20).propertyset_value.keys.append("k")
    rich.metrics.add(name="Setpoints/Mode", datatype=16).dataset_value.rows.add().elements.add(int_value=1)
    rich.metrics.add(name="Setpoints/Mode", datatype=19).template_value.metrics.add(name="x", bytes_value=b"x")
    rich.metrics.add(name="Setpoints/Mode", datatype=32, bytes_value=b"\1\0\0\0\x80").metadata.md5 = "x"
    return [*payloads, rich.SerializeToString()]


def damaged(dice: random.Random, payloads: list[bytes]) -> bytes:
    """A valid payload after some accidents."""
    data = bytearray(dice.choice(payloads))
    for _ in range(dice.randint(1, 2)):
        at, size = dice.randrange(len(data) + 1), dice.randint(0, 12)
        accident = dice.randrange(6)
        if accident == 0 and at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        elif accident == 1:
            del data[at : at + size]
        elif accident == 2:
            data[at:at] = dice.randbytes(size)
        elif accident == 3:
            data[at:at] = data[at : at + 3 * size]
        elif accident == 4:
            del data[at:]
        else:
            data[at:] = dice.choice(payloads)[dice.randrange(60) :]
    return bytes(data)


class Ledger:
    """What became of each message: it changes at least one of these, or asks for nothing."""

    def __init__(self, node: SparkplugNode, desk: FakeDesk) -> None:
        self._node, self._desk = node, desk

    def entries(self) -> tuple[int, int, int]:
        return self._node.malformed_total, self._node.command_errors_total, len(self._desk.commands)


def asks_for_nothing(data: bytes) -> bool:
    """Triggers that are false, and arguments of a trigger that is in the same message."""
    metrics = codec.decode(data).metrics
    return all(one.name == REBIRTH or "/Execute" in (one.name or "") for one in metrics)


@pytest.mark.parametrize("aliases", [False, True])
@pytest.mark.parametrize("what", ["random", "random metrics", "damaged"])
async def test_any_bytes_are_a_command_or_a_counted_error(tmp_path: Path, what: str, aliases: bool) -> None:
    dice, payloads = random.Random(f"{what} {aliases}"), valid()
    make: dict[str, Callable[[], bytes]] = {
        "random": lambda: dice.randbytes(dice.randint(0, 200)),
        "random metrics": lambda: length_delimited(
            b"\x12", b"\x0a\x0eSetpoints/Mode" + dice.randbytes(dice.randint(0, 9))
        ),
        "damaged": lambda: damaged(dice, payloads),
    }
    table, _ = filled_table()
    desk = FakeDesk()
    async with broker() as server:
        node = new_node(server, tmp_path, commands=OPEN, aliases=aliases)
        async with serving(node, table, desk):
            await until(lambda: node.is_online)
            ledger = Ledger(node, desk)
            for turn in range(ROUNDS):
                data, before, wanted = make[what](), ledger.entries(), node.session.rebirth_at
                node._receive(Message(TOPICS[turn % 4], data))
                after = ledger.entries()
                is_entered = after != before or node.session.rebirth_at != wanted
                assert is_entered or asks_for_nothing(data), (turn, data.hex())
                assert all(then >= now for then, now in zip(after, before, strict=True))
                if turn % 50 == 0:
                    await asyncio.sleep(0)  # answers come in
            assert node.malformed_total > ROUNDS // 10
            if what == "damaged":
                assert min(len(desk.commands), node.command_errors_total) > ROUNDS // 20, "not all are refused at once"
            alive = schema.encode(("Setpoints/ScrewSpeed", 10, 31.5), timestamp=now_ms())
            await until(lambda: node.is_online and not node._door._waiting)
            node._receive(Message(DCMD, alive))
            assert desk.asked[-1] == ("extruder-1.Setpoints.ScrewSpeed", {"value": 31.5})
    assert all(_is_plain(value) for command in desk.commands for value in command.arguments.values())


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) or hasattr(value, "tzinfo")
