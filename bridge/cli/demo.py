"""`plantbridge demo`: a simulated plant with every face, on one command."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.examples import examples
from bridge.northbound.sparkplug.codec import NAMESPACE

if TYPE_CHECKING:
    from bridge.config.broker import EmbeddedBrokerConfig
    from bridge.config.site import Site
    from bridge.runtime.bridge import Bridge

OPERATOR = "operator"
WRITTEN_TAG = "extruder-1.Setpoints.ScrewSpeed"
WRITTEN_VALUE = 30
SHOWN_TAG = "extruder-1.Monitoring.Temperature.Front"


@click.command(
    epilog=examples(
        "plantbridge demo",
        "plantbridge demo --opcua-port 4841 --mqtt-port 1884 --status-port 8081 --state-dir /tmp/demo",
        "plantbridge demo --json | head -1                # where everything is, for a script",
        "plantbridge watch --state-dir demo-state 'extruder-1.*'   # one machine, three vendors; in another terminal",
    )
)
@click.option("--opcua-port", type=click.IntRange(1, 65535), default=4840, show_default=True, help="OPC UA server.")
@click.option("--mqtt-port", type=click.IntRange(1, 65535), default=1883, show_default=True, help="Embedded broker.")
@click.option("--status-port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Admin API.")
@click.option(
    "--state-dir", type=click.Path(path_type=Path), default=Path("demo-state"), show_default=True, help="State."
)
@click.option("--listen", default="127.0.0.1", show_default=True, help="Address OPC UA and MQTT listen on.")
@click.option("--json", "as_json", is_flag=True, help="First line on standard output is one JSON object.")
def command(opcua_port: int, mqtt_port: int, status_port: int, state_dir: Path, listen: str, as_json: bool) -> None:
    """Start a simulated extrusion line with OPC UA, Sparkplug and Unified Namespace, and say where to look.

    Its machines stand at a QiTech panel. The extruder also has its job from TrackMyMachines and its availability from
    Quantiix, and is still one machine on every face. Behind an Iotistica gateway stand three more, whose tags appear
    with the data.

    Nothing real is touched. Set points may be written: by OPC UA with the printed login, and by MQTT.
    On loopback there is also an OPC UA endpoint without encryption or login, read only, and
    the broker lets anybody in. Elsewhere both want the printed login. The admin API stays on loopback.
    """
    from bridge.runtime.collector import resting_collector
    from bridge.runtime.logging import set_up_logging

    set_up_logging("warning")
    password = secrets.token_hex(6)  # a "-" in front would read as an option where it is pasted
    environment = _environment(opcua_port, mqtt_port, status_port, state_dir, listen, password)
    with resting_collector():
        asyncio.run(_demo(environment, password, as_json))


def _environment(
    opcua_port: int, mqtt_port: int, status_port: int, state_dir: Path, listen: str, password: str
) -> dict[str, str]:
    from bridge.northbound.opcua.config import is_loopback
    from bridge.northbound.opcua.passwords import hash_password

    return {
        "DEMO_LISTEN": listen,
        "DEMO_MQTT_HOST": reachable(listen),
        "DEMO_STATUS_HOST": listen if is_loopback(listen) else "127.0.0.1",
        "DEMO_OPCUA_PORT": str(opcua_port),
        "DEMO_MQTT_PORT": str(mqtt_port),
        "DEMO_STATUS_PORT": str(status_port),
        "DEMO_STATE_DIRECTORY": str(state_dir.resolve()),
        "DEMO_UNSECURED": "true" if is_loopback(listen) else "false",
        "DEMO_OPERATOR_HASH": hash_password(password),
        "DEMO_OPERATOR_PASSWORD": password,
    }


def demo_site(environment: dict[str, str]) -> Site:
    """The demo's site; ports and so on come from `environment`."""
    from bridge.config.library import shipped_folder
    from bridge.config.site import load_site

    situation = "demo" if environment["DEMO_UNSECURED"] == "true" else "demo-network"
    return load_site([shipped_folder("examples") / situation / "bridge.yaml"], environment)


async def _demo(environment: dict[str, str], password: str, as_json: bool) -> None:
    from bridge.cli.run import serve
    from bridge.cli.simulators import private_broker
    from bridge.sim.site import simulated

    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(simulated(demo_site(environment), private_broker))

        async def started(bridge: Bridge) -> None:
            await _announce(bridge, password, as_json)

        await serve(site, None, started)
    if not as_json:
        click.echo("Stopped.")


async def _announce(bridge: Bridge, password: str, as_json: bool) -> None:
    opcua, broker = bridge.site.file.northbound.opcua, bridge.site.file.broker
    while not await _answers(opcua.host, opcua.port):  # noqa: ASYNC110 - what counts is what a client sees
        await asyncio.sleep(0.05)
    where: dict[str, Any] = {
        "opcua": client_url("opc.tcp", opcua.host, opcua.port),
        "mqtt": client_url("mqtt", broker.host, broker.port),
        "status": bridge.admin_url,
        "page": page_url(bridge),
        "operator": {"user": OPERATOR, "password": password},
        "state_dir": str(bridge.state.path),
        "machines": list(bridge.table.plant.machines),
        "write_example": _write_example(bridge),
    }
    if as_json:
        click.echo(json.dumps(where))
    else:
        click.echo(_guide(bridge, where, password))


def page_url(bridge: Bridge) -> str:
    """Where a browser finds the status page, logged in: what follows "#" is not sent, and the page removes it."""
    return f"{bridge.admin_url}/#token={bridge.state.admin_token().get_secret_value()}"


def _write_example(bridge: Bridge) -> dict[str, Any]:
    """A set point that will be confirmed, by OPC UA or by MQTT."""
    tag = bridge.table.plant.find(WRITTEN_TAG)
    topic = bridge.faces["uns"].address(tag) if tag else ""
    return {"tag": WRITTEN_TAG, "topic": topic.replace("/Setpoints/", "/cmd/Setpoints/"), "value": WRITTEN_VALUE}


async def _answers(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(reachable(host), port)
    except OSError:
        return False
    writer.close()
    return True


def reachable(host: str) -> str:
    """The address at which a client on this computer finds what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def client_url(scheme: str, host: str, port: int) -> str:
    """Where a client finds what listens on `host`; an IPv6 address stands in brackets (RFC 3986, 3.2.2)."""
    address = reachable(host)
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"


def _program(name: str) -> str:
    """How to call a program that came with plantbridge: by its path where the shell would not find it."""
    beside = Path(sys.executable).parent / name
    return name if shutil.which(name) or not beside.exists() else os.path.relpath(beside)


def _subscriptions(url: str, broker: EmbeddedBrokerConfig, branch: str) -> list[str]:
    """Commands that subscribe: mosquitto's where it is installed, else those of the embedded broker's package."""
    if shutil.which("mosquitto_sub") is None:
        return [f"{_program('amqtt_sub')} --url {url} -t '{topic}/#'" for topic in (branch, NAMESPACE)]
    login = f" -u {OPERATOR} -P <password>" if broker.users else ""
    access = f"-h {reachable(broker.host)} -p {broker.port}{login}"
    return [
        f"mosquitto_sub {access} -v -t '{branch}/#'",
        f"mosquitto_sub {access} -F '%t %l bytes' -t '{NAMESPACE}/#'",
    ]


def _writes(where: dict[str, Any], broker: EmbeddedBrokerConfig, state: str) -> list[str]:
    """Commands that write the example, by the admin API and by MQTT."""
    example = where["write_example"]
    ours = f"{_program('plantbridge')} write --state-dir {state} {example['tag']} {example['value']}"
    if shutil.which("mosquitto_pub") is None:
        pub = f"{_program('amqtt_pub')} --url {where['mqtt']} -t {example['topic']} -m {example['value']}"
        return [ours, pub]
    login = f" -u {OPERATOR} -P <password>" if broker.users else ""
    access = f"-h {reachable(broker.host)} -p {broker.port}{login}"
    return [ours, f"mosquitto_pub {access} -q 1 -t {example['topic']} -m {example['value']}   # answer: …/result"]


def _guide(bridge: Bridge, where: dict[str, Any], password: str) -> str:
    plant = bridge.table.plant
    tag = plant.find(SHOWN_TAG)
    own = bridge.site.file.bridge
    broker = bridge.site.file.broker
    open_endpoint = bridge.site.file.northbound.opcua.unsecured_read_only
    note = "   also without encryption and login, read only, because this is loopback" if open_endpoint else ""
    who = "the same login" if broker.users else "anybody on this computer"
    lines = [
        "plantbridge demo: a simulated extrusion line. Ctrl-C stops it.",
        "extruder-1 is one machine of three vendors: values and set points come from QiTech (Monitoring, Setpoints),",
        "its job from TrackMyMachines (Job), its availability from Quantiix (KPI). Lose one: only its part turns grey.",
        "",
        f"  OPC UA     {where['opcua']}   user {OPERATOR}, password {password} (Basic256Sha256, SignAndEncrypt)",
        f"          {note}" if note else "",
        f"  MQTT       {where['mqtt']}   embedded broker, MQTT 3.1.1, {who}",
        f"  Admin API  {where['status']}   token in {bridge.state.path / 'admin.token'}",
        f"  Page       {where['page']}   the same in a browser, logged in",
        f"  Machines   {', '.join(plant.machines)}",
        "",
        "Read a value, subscribe, watch:",
        f"  {_program('uaread')} -u {where['opcua']} -n 'ns=2;s={SHOWN_TAG}'" if tag and open_endpoint else "",
        *(f"  {command}" for command in _subscriptions(where["mqtt"], broker, f"{own.enterprise}/{own.site}")),
        f"  {_program('plantbridge')} watch --state-dir {bridge.state.path} 'extruder-1.Mon*' 'extruder-1.Job.*'",
        f"  curl {where['status']}/readyz",
        "",
        "Change something, and be told what really happened:",
        *(f"  {command}" for command in _writes(where, broker, str(bridge.state.path))),
    ]
    return "\n".join(line for index, line in enumerate(lines) if line or (index and lines[index - 1]))
