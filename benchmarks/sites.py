"""The configurations that are measured."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bridge.model.command import HAZARDS
from bridge.northbound.opcua.passwords import hash_password

MAPPINGS = Path(__file__).parent / "mappings"
SLUG = "extruder_v1"
SERIALS = 20_000
"""The first machine's serial number."""

LIVE_TAGS = (
    *(f"{kind}/{zone}" for kind in ("Temperature", "Power") for zone in ("Nozzle", "Front", "Middle", "Back")),
    "Pressure",
    "ScrewSpeed",
)
"""What mappings/load.yaml declares, below Monitoring/."""

TAGS_PER_PLAIN_MACHINE = 100

SET_POINTS = 10
"""Of each machine of mappings/commanded.yaml."""

USER, PASSWORD = "bench", "only on loopback"
"""Who may write by OPC UA."""

OPCUA_INTERVAL_MS = 500
SPARKPLUG_INTERVAL_MS = 250
UNS_INTERVAL_MS = 1000


def machine_ids(count: int) -> list[str]:
    """Names of the machines."""
    return [f"machine-{number:03}" for number in range(count)]


def live_node_ids(machines: int) -> list[str]:
    """NodeIds of every live tag."""
    return [
        f"ns=2;s={machine}.Monitoring.{tag.replace('/', '.')}" for machine in machine_ids(machines) for tag in LIVE_TAGS
    ]


def write(folder: Path, site: dict[str, Any], *, opcua_port: int, status_port: int) -> Path:
    """A site as bridge.yaml, with these ports. JSON is YAML."""
    faces = site["northbound"]
    ports = {"opcua": {**faces["opcua"], "port": opcua_port}, "status": {"port": status_port}}
    path = folder / "bridge.yaml"
    path.write_text(json.dumps({**site, "northbound": {**faces, **ports}}, indent=1))
    return path


def read_site(url: str, machines: int, mapping: str, faces: Collection[str], broker_port: int) -> dict[str, Any]:
    """This many machines at one panel, which are only read, and only these faces."""
    broker = {"host": "127.0.0.1", "port": broker_port}
    return {
        "version": 1,
        "bridge": {"name": "bench", "enterprise": "acme", "site": "lab", "state_directory": "state"},
        "sources": {"panel": {"type": "qitech", "url": url, "profile": "3.x"}},
        "machines": list(_machines(machines, mapping)),
        "mappings": [str(MAPPINGS)],
        "broker": {"enabled": False},
        "northbound": {
            "opcua": {"unsecured_read_only": True, "enabled": "opcua" in faces},
            "sparkplug": {"broker": broker, "enabled": "sparkplug" in faces},
            "uns": {"broker": broker, "enabled": "uns" in faces},
        },
    }


def written_site(panels: Mapping[str, str], broker_port: int) -> dict[str, Any]:
    """One commanded extruder, named as its panel, at each of these panels (by name, their urls); every door is open."""
    broker = {"host": "127.0.0.1", "port": broker_port}
    source = {"type": "qitech", "writes": True, "allow_hazards": list(HAZARDS)}
    extruder = {"slug": SLUG, "serial": SERIALS}
    return {
        "version": 1,
        "bridge": {"name": "bench", "enterprise": "acme", "site": "lab", "state_directory": "state"},
        "sources": {f"source-{name}": {**source, "url": url} for name, url in panels.items()},
        "machines": [
            {"id": name, "area": "hall", "line": "one", "source": f"source-{name}", "machine": extruder}
            for name in panels
        ],
        "discovery": "adopt",  # a panel's other machine is for who measures the panel by itself
        "broker": {"enabled": False},
        "northbound": {
            "opcua": {
                "hosts": ["127.0.0.1"],
                "trust": "any_with_login",
                "users": [{"name": USER, "role": "Engineer", "password_hash": hash_password(PASSWORD)}],
            },
            "sparkplug": {"broker": broker, "commands": {"enabled": True}},
            "uns": {"broker": broker, "commands": {"enabled": True}},
        },
    }


def desk_site(machines: int) -> dict[str, Any]:
    """Machines with set points, at a panel that is not there: its part is played by a script."""
    return {
        "version": 1,
        "bridge": {"name": "bench", "enterprise": "acme", "site": "lab", "state_directory": "state"},
        "sources": {"panel": {"type": "qitech", "url": "http://127.0.0.1:1", "writes": True}},
        "machines": list(_machines(machines, "benchmark/commanded")),
        "mappings": [str(MAPPINGS)],
        "northbound": {"opcua": {}},
    }


def _machines(count: int, mapping: str) -> Iterator[dict[str, Any]]:
    for number, name in enumerate(machine_ids(count)):
        selector = {"slug": SLUG, "serial": SERIALS + number}
        yield {"id": name, "area": "hall", "line": "one", "source": "panel", "machine": selector, "mapping": mapping}
