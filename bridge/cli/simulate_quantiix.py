"""`plantbridge simulate quantiix`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.examples import examples
from bridge.cli.simulators import cloud_options, serve, switched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.sim.faults import Fault
    from bridge.sim.quantiix import Quantiix


def _faults() -> Mapping[str, Fault]:
    from bridge.sim.quantiix import FAULTS

    return FAULTS


@click.command(
    "quantiix",
    epilog=examples(
        "plantbridge simulate quantiix --machines 100",
        "plantbridge simulate quantiix --set window=sliding --set open_end=null --control-port 3022",
        "curl -X POST http://127.0.0.1:3022/_sim/faults/end_tokens",
    ),
)
@click.option("--port", type=click.IntRange(0, 65535), default=3020, show_default=True, help="0 takes a free one.")
@click.option(
    "--machines",
    type=click.IntRange(0, 5000),
    default=4,
    show_default=True,
    help="MACHINE_001 and so on; 0 is allowed.",
)
@click.option("--email", default="user@example.com", show_default=True, help="Of the account.")
@click.option("--password", default="your_password", show_default=True, help="Of the account.")
@cloud_options(_faults)
def quantiix(as_json: bool, **options: Any) -> None:
    """Simulate the Quantiix developer API until interrupted.

    Faults are switched on at the control port: POST /_sim/faults/<name> with a JSON object of arguments.
    """
    with suppress(asyncio.CancelledError):
        asyncio.run(_run(as_json, options))


async def _run(as_json: bool, options: dict[str, Any]) -> None:
    simulator = _simulator(options)
    await serve(simulator, lambda: _described(simulator), lambda: _told(simulator), as_json)


def _simulator(options: dict[str, Any]) -> Quantiix:
    from bridge.sim.clock import VirtualClock
    from bridge.sim.quantiix import Behaviour, Quantiix, default_machines

    machines = default_machines(options.pop("machines"))
    behaviour = switched(Behaviour(), options.pop("switches"))
    return Quantiix(machines, clock=VirtualClock(None, options.pop("speed")), behaviour=behaviour, **options)


def _described(simulator: Quantiix) -> dict[str, Any]:
    (account,) = simulator.accounts.values()
    return {
        "url": simulator.url,
        "control": simulator.control.url if simulator.control else None,
        "email": account.email,
        "password": account.password,
        "machines": list(simulator.machines),
    }


def _told(simulator: Quantiix) -> list[str]:
    facts = _described(simulator)
    ids = facts["machines"]
    shown = ids if len(ids) <= 5 else [*ids[:4], "…", ids[-1]]
    lines = [
        f"A simulated Quantiix listens on {facts['url']}",
        f"  machines      {' '.join(shown) or 'none'}",
        f"  credentials   {facts['email']} {facts['password']}",
    ]
    if simulator.control is not None:
        lines.append(f"  faults        curl -X POST {simulator.control.url}/faults/end_tokens")
        lines.append(f"  journal       curl {simulator.control.url}/journal")
    return lines
