"""A broker that fails in every way: the bridge returns by itself, says so once, and nothing is lost."""

from __future__ import annotations

import asyncio
import gc
import random
from pathlib import Path

import psutil
import pytest

from tests.flow.chaos import KEEP_ALIVE_S, Chaos, chaos

pytestmark = pytest.mark.peer("mosquitto", "mosquitto_passwd")

PASS = ("freeze", "silence")
"""What ends before anybody notices, where it is shorter than the keep-alive."""
OUTAGES = {"full": 2}
"""Of the others there is one."""
LONG_S = 2.5 * KEEP_ALIVE_S
GROWTH = 40 << 20
"""Bytes that simulators, clients and bridge together may take more at the end than after the first quarter."""


async def fail(one: Chaos, name: str, seconds: float) -> None:
    """One fault, with something happening in it; then everything must be as it should."""
    meanwhile = [asyncio.create_task(one.book()), asyncio.create_task(one.change_at_machine())]
    await one.faults[name](seconds)
    passes = name in PASS and seconds < KEEP_ALIVE_S
    await one.settle(*() if passes else (False, True) * OUTAGES.get(name, 1))
    await asyncio.gather(*meanwhile)


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        ("5", ("kill", "wrong_password", "no_name", "slow", "full")),
        ("3.1.1", ("lose_memory", "freeze", "port_closed", "restart", "move")),
    ],
)
async def test_the_bridge_returns_from_whatever_its_broker_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, names: tuple[str, ...]
) -> None:
    async with chaos(tmp_path, monkeypatch, protocol) as one:
        for name in names:
            await fail(one, name, 0.3)
        await one.check_all()


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_long_life_with_a_bad_broker(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seed: int,
    broker_faults: int,
    protocol: str,
) -> None:
    chance, sizes = random.Random(f"{seed}/{protocol}"), list[int]()
    with capsys.disabled():
        print(f"\nseed {seed}, MQTT {protocol}: repeat with --seed {seed} --broker-faults {broker_faults}")
        async with chaos(tmp_path, monkeypatch, protocol) as one:
            for number in range(broker_faults):
                name = chance.choice(sorted(one.faults))
                seconds = chance.choice((0.0, 0.3, 1.0, 3.0, LONG_S))
                print(f"{number} {name} {seconds:g} s, {sizes[-1] >> 20 if sizes else 0} MiB", flush=True)
                await fail(one, name, seconds)
                gc.collect()
                sizes.append(psutil.Process().memory_info().rss)
            await one.check_all()
    assert max(sizes[-len(sizes) // 4 :]) - sizes[len(sizes) // 4] < GROWTH, [size >> 20 for size in sizes]
