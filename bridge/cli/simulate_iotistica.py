"""`plantbridge simulate iotistica`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.examples import examples
from bridge.cli.simulators import cloud_options, private_broker, serve, switched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.sim.faults import Fault
    from bridge.sim.iotistica import Iotistica, MqttAccess


def _faults() -> Mapping[str, Fault]:
    from bridge.sim.iotistica import FAULTS

    return FAULTS


@click.command(
    "iotistica",
    epilog=examples(
        "plantbridge simulate iotistica --agents 3 --devices 10",
        "plantbridge simulate iotistica --set profile=documented --set alerts=fails --control-port 3032",
        "plantbridge simulate iotistica --set encoding=mixed --set deflate=yes --broker 127.0.0.1:1883",
        'curl -d \'{"agent": "hall-1-gateway", "device": "extruder-1"}\' http://127.0.0.1:3032/_sim/faults/lose_device',
        "curl -d '{\"requests\": 300}' http://127.0.0.1:3032/_sim/faults/spend   # then every answer is 500: throttled",
    ),
)
@click.option("--port", type=click.IntRange(0, 65535), default=3030, show_default=True, help="0 takes a free one.")
@click.option("--agents", type=click.IntRange(0, 500), default=1, show_default=True, help="Gateways of the tenant.")
@click.option("--devices", type=click.IntRange(0, 2000), default=2, show_default=True, help="Behind each of them.")
@click.option("--tenant", default="self-hosted", show_default=True, help="As topics have it.")
@click.option("--broker", metavar="HOST:PORT", help="Agents publish there.  [default: one of its own]")
@click.option(
    "--mqtt-port",
    type=click.IntRange(0, 65535),
    default=3031,
    show_default=True,
    help="Of the broker of its own; 0 takes a free one.",
)
@click.option("--username", default="bridge", show_default=True, help="Of the user.")
@click.option("--password", default="Simulated-1", show_default=True, help="Of the user.")
@click.option("--role", type=click.Choice(["viewer", "admin"]), default="admin", show_default=True, help="Of the user.")
@click.option("--device-key", default="", help="Key of every agent, for the routes that want one.  [default: none]")
@cloud_options(_faults)
def iotistica(as_json: bool, **options: Any) -> None:
    """Simulate an Iotistica cloud and its agents until interrupted: REST, WebSocket and MQTT.

    It answers as the vendor's public code does (profile=actual) or as its published page says (profile=documented).
    Faults are switched on at the control port: POST /_sim/faults/<name> with a JSON object of arguments.
    """
    with suppress(asyncio.CancelledError):
        asyncio.run(_run(as_json, options))


async def _run(as_json: bool, options: dict[str, Any]) -> None:
    async with AsyncExitStack() as stack:
        broker = await _access(options.pop("broker"), options.pop("mqtt_port"), stack)
        simulator = _simulator(options, broker)
        await serve(simulator, lambda: _described(simulator, broker), lambda: _told(simulator, broker), as_json)


async def _access(text: str | None, port: int, stack: AsyncExitStack) -> MqttAccess:
    from bridge.sim.iotistica import MqttAccess

    if text is None:
        return MqttAccess(port=await stack.enter_async_context(private_broker(port)))
    host, _, number = text.rpartition(":")
    if not host or not (number.isascii() and number.isdigit() and 0 < int(number[:6]) <= 65535):
        raise click.BadParameter(f"{text!r}: expected HOST:PORT such as 127.0.0.1:1883", param_hint="--broker")
    return MqttAccess(host, int(number))


def _simulator(options: dict[str, Any], broker: MqttAccess) -> Iotistica:
    from bridge.sim.clock import VirtualClock
    from bridge.sim.iotistica import Behaviour, Iotistica, default_agent

    clock, seed = VirtualClock(None, options.pop("speed")), options["seed"]
    devices = options.pop("devices")
    agents = [default_agent(number, devices, seed, clock.now()) for number in range(options.pop("agents"))]
    behaviour = switched(Behaviour(), options.pop("switches"))
    return Iotistica(agents, clock=clock, behaviour=behaviour, broker=broker, **options)


def _described(simulator: Iotistica, broker: MqttAccess) -> dict[str, Any]:
    (user,) = simulator.accounts.users
    return {
        "url": simulator.url,
        "profile": simulator.behaviour.profile,
        "control": simulator.control.url if simulator.control else None,
        "username": user.username,
        "password": user.password,
        "mqtt": f"mqtt://{broker.host}:{broker.port}",
        "tenant": simulator.tenant.id,
        "agents": [agent.uuid for agent in simulator.tenant.agents],
    }


def _told(simulator: Iotistica, broker: MqttAccess) -> list[str]:
    facts = _described(simulator, broker)
    agents = facts["agents"]
    shown = agents if len(agents) <= 3 else [*agents[:2], "…", agents[-1]]
    lines = [
        f"A simulated Iotistica ({facts['profile']}) listens on {facts['url']}",
        f"  agents        {' '.join(shown) or 'none'}",
        f"  broker        {facts['mqtt']}   (i/{facts['tenant']}/a/+/#)",
        f"  credentials   {facts['username']} {facts['password']}",
    ]
    if simulator.control is not None:
        lines.append(f"  faults        curl -X POST {simulator.control.url}/faults/end_tokens")
        lines.append(f"  journal       curl {simulator.control.url}/journal")
    return lines
