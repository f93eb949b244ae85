"""What the verbs that run one vendor's simulator share."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from bridge.sim.faults import Fault


def faults_option(load: Callable[[], Mapping[str, Fault]]) -> Callable[[Any], Any]:
    """`--faults`: list them and leave. `load` imports the simulator, only when asked."""

    def show(context: click.Context, _: click.Parameter, wanted: bool) -> None:
        if not wanted or context.resilient_parsing:
            return
        for fault in load().values():
            arguments = ", ".join(name if required else f"[{name}]" for name, required in fault.arguments.items())
            click.echo(f"{fault.name}({arguments})\n    {' '.join(fault.description.split())}")
        context.exit()

    return click.option(
        "--faults", is_flag=True, is_eager=True, expose_value=False, callback=show, help="List the faults."
    )


def json_option(function: Any) -> Any:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Say where it listens as one JSON object.")(function)


async def serve(
    simulator: AbstractAsyncContextManager[Any],
    described: Callable[[], Mapping[str, Any]],
    told: Callable[[], Sequence[str]],
    as_json: bool,
) -> None:
    """Run a simulator until SIGTERM, having said where it is: as JSON or as lines."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with simulator:
        click.echo(json.dumps(described()) if as_json else "\n".join([*told(), "Ctrl-C ends it."]))
        await stop.wait()
