"""`plantbridge simulate`: a vendor's simulator alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.examples import examples
from bridge.cli.simulate_iotistica import iotistica
from bridge.cli.simulate_quantiix import quantiix
from bridge.cli.simulate_trackmymachines import trackmymachines
from bridge.cli.simulators import faults_option, json_option, serve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.sim.faults import Fault
    from bridge.sim.qitech import Panel, SimulatedMachine

RELEASES = ("2.14", "2.15", "2.16", "2.17", "3.0")
"""As in `bridge.sim.qitech.RELEASES`, which is imported only when a panel is started."""


@click.group(
    "simulate",
    epilog=examples(
        "plantbridge simulate qitech",
        "plantbridge simulate qitech --release 3.0 --machine extruder_v1:57922 --control-port 3002",
        "plantbridge simulate qitech --faults",
        "plantbridge simulate quantiix --machines 100",
        "plantbridge simulate trackmymachines --speed 60",
        "plantbridge simulate iotistica --agents 3 --devices 10",
    ),
)
def command() -> None:
    """Run a vendor's simulator alone, with faults to switch on."""


command.add_command(iotistica)
command.add_command(quantiix)
command.add_command(trackmymachines)


def _faults() -> Mapping[str, Fault]:
    from bridge.sim.qitech import FAULTS

    return FAULTS


@command.command(
    "qitech",
    epilog=examples(
        "plantbridge simulate qitech --machine extruder_v1:57922 --machine winder_v1:57923",
        "plantbridge simulate qitech --release 3.0 --username machine --tls --control-port 3002",
        "curl -d '{\"delay\": 5}' http://127.0.0.1:3002/_sim/faults/restart",
    ),
)
@click.option("--release", type=click.Choice(RELEASES), default="2.17", show_default=True, help="Control software.")
@click.option("--listen", "host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=3001, show_default=True, help="0 takes a free one.")
@click.option(
    "--control-port", type=click.IntRange(0, 65535), help="Loopback port of the fault switches; 0: a free one."
)
@click.option(
    "--machine", "machines", multiple=True, metavar="SLUG:SERIAL", help="A machine; repeat for more.  [default: a line]"
)
@click.option("--username", help="Ask for Basic auth; the vendor's user is always machine.")
@click.option("--password", help="Password of Basic auth.  [default: a random one, printed]")
@click.option("--tls", is_flag=True, help="Serve https with a throw-away authority; its root is printed.")
@click.option(
    "--rate", type=click.FloatRange(0.1, 1000), default=30.0, show_default=True, help="Live values per second."
)
@json_option
@faults_option(_faults)
def qitech(as_json: bool, machines: tuple[str, ...], **options: Any) -> None:
    """Simulate a QiTech panel until interrupted.

    Faults are switched on at the control port: POST /_sim/faults/<name> with a JSON object of arguments.
    """
    with suppress(asyncio.CancelledError):
        panel = _panel(machines, options)
        asyncio.run(serve(panel, lambda: _described(panel), lambda: _told(panel), as_json))


def _panel(machines: Sequence[str], options: dict[str, Any]) -> Panel:
    from bridge.sim.qitech import DEFAULT_MACHINES, Panel

    chosen = [_machine(text) for text in machines] or DEFAULT_MACHINES
    try:
        return Panel(chosen, live_rate_hz=options.pop("rate"), **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _machine(text: str) -> SimulatedMachine:
    from bridge.sim.qitech import SimulatedMachine

    slug, _, serial = text.rpartition(":")
    if not slug or not (serial.isascii() and serial.isdigit() and int(serial[:6]) <= 65535):
        raise click.BadParameter(f"{text!r}: expected SLUG:SERIAL such as extruder_v1:57922", param_hint="--machine")
    return SimulatedMachine(slug, int(serial))


def _described(panel: Panel) -> dict[str, Any]:
    return {
        "url": panel.url,
        "release": str(panel.release),
        "control": panel.control.url if panel.control else None,
        "username": panel.username,
        "password": panel.password,
        "ca_file": str(panel.ca_file) if panel.ca_file else None,
        "machines": [f"{machine.slug}:{identity.serial}" for identity, machine in panel.known.items()],
    }


def _told(panel: Panel) -> list[str]:
    facts = _described(panel)
    lines = [f"A simulated QiTech panel {facts['release']} listens on {facts['url']}"]
    lines.append(f"  machines      {' '.join(facts['machines'])}")
    if panel.username is not None:
        lines.append(f"  credentials   {panel.username}:{panel.password}")
    if panel.ca_file is not None:
        lines.append(f"  authority     {panel.ca_file}")
    if panel.control is not None:
        lines.append(f"  faults        curl -d '{{\"delay\": 5}}' {panel.control.url}/faults/restart")
        lines.append(f"  journal       curl {panel.control.url}/journal")
    return lines
