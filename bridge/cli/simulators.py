"""What the verbs that run one vendor's simulator share."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import asynccontextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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


def cloud_options(load_faults: Callable[[], Mapping[str, Fault]]) -> Callable[[Any], Any]:
    """What every simulated cloud takes: where it listens, its virtual clock, its switches, `--json` and `--faults`."""
    control = "Loopback port of the fault switches; 0: a free one."
    options = (
        click.option("--listen", "host", default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.option("--control-port", type=click.IntRange(0, 65535), help=control),
        click.option("--seed", type=int, default=1, show_default=True, help="Same seed and start: the same again."),
        click.option(
            "--speed", type=click.FloatRange(0, 1e6), default=1.0, show_default=True, help="Virtual seconds per second."
        ),
        click.option(
            "--set", "switches", multiple=True, metavar="NAME=VALUE", help="What the vendor's pages leave open."
        ),
        json_option,
        faults_option(load_faults),
    )
    return lambda function: reduce(lambda made, option: option(made), reversed(options), function)


class Switchable(Protocol):
    """Switches of what a vendor's pages leave open."""

    def with_switches(self, switches: Mapping[str, Any]) -> Self:
        """Another setting of some of them. Raises ValueError."""
        ...


Switches = TypeVar("Switches", bound=Switchable)


def switched(default: Switches, texts: Sequence[str]) -> Switches:
    """The setting that `--set` asks for."""
    try:
        return default.with_switches({name: value for name, _, value in (text.partition("=") for text in texts)})
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--set") from None


@asynccontextmanager
async def private_broker(port: int = 0) -> AsyncIterator[int]:
    """A broker on loopback for a vendor that needs one, while the context lasts; its port. Raises AddressTaken."""
    from bridge.config.broker import EmbeddedBrokerConfig
    from bridge.runtime.broker import EmbeddedBroker

    async with EmbeddedBroker(EmbeddedBrokerConfig(enabled=True, port=port)) as broker:
        yield broker.port


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
