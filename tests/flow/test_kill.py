"""kill -9 of the whole bridge, at every state of a command: at most one effect, always an answer, always a true one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from asyncua import Client, Node, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from bridge.northbound.opcua import certificates
from bridge.northbound.opcua.passwords import hash_password
from bridge.transport.clock import SystemClock
from tests.broker import free_port
from tests.flow.commanded import PASSWORD
from tests.flow.crash import (
    AT_PANEL,
    KINDS,
    STEPS,
    Asked,
    Chain,
    CommandLine,
    Fate,
    Nursery,
    Tally,
    both,
    chain,
    nursery,
)
from tests.flow.plantfloor import until

SET_POINT = KINDS[0]
RELEASES = ("2.17", "3.0", "2.17", "3.0")
"""Of the panels of chains that run side by side: a life waits more than it works."""


async def die_at(one: Chain, born: Nursery, points: list[tuple[str, str]]) -> None:
    """A life for each point, and one more."""
    for where, moment in points:
        some = [one.command(SET_POINT, "extruder-1"), *one.commands(2)]
        fate = Fate(some[0], where, moment)
        await one.begin(born, fate)
        await one.connected()
        await one.settle()
        await one.doomed(some, fate)
    await one.begin(born)
    await one.connected()
    await one.settle()
    one.check_all()
    assert one.tally.kills == {Fate(None, where, moment).name: 1 for where, moment in points}


@pytest.mark.timeout(300)
async def test_killed_at_each_state_a_command_has_one_effect_at_most_and_a_true_answer(tmp_path: Path) -> None:
    points = [*STEPS, *AT_PANEL]
    async with AsyncExitStack() as stack:
        born = await stack.enter_async_context(nursery())
        chains = [
            await stack.enter_async_context(chain(tmp_path / str(number), str(number), release=release))
            for number, release in enumerate(RELEASES)
        ]
        await both(*(die_at(one, born, points[number :: len(chains)]) for number, one in enumerate(chains)))


OPCUA = """
    port: {port}
    trust: any_with_login
    hosts: [127.0.0.1]
    users: [{{name: anna, role: Operator, password_hash: "{hashed}"}}]
"""
RESET = KINDS[4]
"""Nothing can be read back of it, and twice is not once."""


@asynccontextmanager
async def plc(port: int, folder: Path) -> AsyncIterator[Callable[[str], Node]]:
    """An OPC UA client; gives a node of the handshake object."""
    client = Client(f"opc.tcp://127.0.0.1:{port}", timeout=30)
    client.application_uri = "urn:test:client"
    client.set_user("anna")
    client.set_password(PASSWORD)
    own = folder / "client" / "own"
    await client.set_security(SecurityPolicyBasic256Sha256, str(own / "certificate.der"), str(own / "key.pem"))
    try:
        await client.connect()
        yield lambda name: client.get_node(f"ns=2;s=extruder-1.Commands.{RESET.name}.{name}")
    finally:
        with suppress(OSError, ua.UaError, TimeoutError):  # the bridge may be dead
            await client.disconnect()


async def write(node: Node, value: bool) -> None:
    await node.write_value(ua.DataValue(ua.Variant(value)))


@pytest.mark.timeout(300)
async def test_a_plc_that_holds_execute_over_a_kill_starts_nothing_anew(tmp_path: Path) -> None:
    port, born = free_port(), CommandLine()
    certificates.load_or_make(tmp_path / "client", "urn:test:client", ("localhost",), SystemClock().now())
    opcua = OPCUA.format(port=port, hashed=hash_password(PASSWORD))
    async with chain(tmp_path, "plc", release="2.17", opcua=opcua) as one:
        asked = one.command(RESET, "extruder-1")
        await one.begin(born, Fate(asked, "applied", "when"))
        await one.connected()
        async with plc(port, tmp_path) as node:
            await write(node("Execute"), False)
            executed = asyncio.create_task(write(node("Execute"), True))
            await until(lambda: one.is_dead)
        await asyncio.gather(executed, return_exceptions=True)
        await one.begin(born)
        await one.connected()
        await one.recovered()
        [kept] = one.journal().values()
        assert (kept.state, kept.result) == ("dead", "unknown")
        async with plc(port, tmp_path) as node:
            assert await node("State").read_value() == 0
            with pytest.raises(ua.UaStatusCodeError):
                await write(node("Execute"), True)
            assert (len(one.journal()), one.panel.effects[asked.effect]) == (1, 1)
            await write(node("Execute"), False)
            await write(node("Execute"), True)
            await until(lambda: one.panel.effects[asked.effect] == 2)


def schedule(one: Chain) -> tuple[list[Asked], Fate]:
    """What is asked in one life, and where it ends."""
    random = one.random
    some = one.commands(random.randint(1, 8))
    where, moment = random.choice([*STEPS, *STEPS, *AT_PANEL, ("any time", "")])
    if where == "any time":
        return some, Fate(None, where, str(random.uniform(0.0, 0.5)))
    return some, Fate(random.choice(some), where, moment)


async def soak(one: Chain, born: Nursery, schedules: int, total: Tally) -> None:
    for _ in range(schedules):
        some, fate = schedule(one)
        await one.begin(born, fate)
        if one.random.random() < 0.3:
            await one.online()  # new commands while it still finds out what became of the old ones
        else:
            await one.connected()
            await one.settle()
        await one.doomed(some, fate)
        if total.schedules % 50 == 0:
            print(f"{total.schedules} schedules", flush=True)
    await one.begin(born)
    await one.connected()
    await one.settle()
    one.check_all()


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_killed_by_a_thousand_schedules_a_command_has_one_effect_at_most_and_a_true_answer(
    tmp_path: Path, seed: int, schedules: int, capsys: pytest.CaptureFixture[str]
) -> None:
    total = Tally()
    with capsys.disabled():
        print(f"\nseed {seed}: repeat with --seed {seed} --schedules {schedules}")
        try:
            async with AsyncExitStack() as stack:
                born = await stack.enter_async_context(nursery())
                shares = [schedules // len(RELEASES)] * len(RELEASES)
                shares[0] += schedules - sum(shares)
                work = []
                for number, release in enumerate(RELEASES):
                    folder, its_seed = tmp_path / str(number), f"{seed}/{number}"
                    one = await stack.enter_async_context(chain(folder, its_seed, release=release, tally=total))
                    work.append(soak(one, born, shares[number], total))
                await both(*work)
        finally:
            print(total.told())
