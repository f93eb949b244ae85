"""The configurations that are measured."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

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


def write_site(
    folder: Path,
    *,
    url: str,
    machines: int,
    mapping: str,
    faces: Collection[str],
    opcua_port: int,
    status_port: int,
    broker_port: int,
) -> Path:
    """bridge.yaml of this many machines at one panel, and only these faces. JSON is YAML."""
    broker = {"host": "127.0.0.1", "port": broker_port}
    site: dict[str, Any] = {
        "version": 1,
        "bridge": {"name": "bench", "enterprise": "acme", "site": "lab", "state_directory": "state"},
        "sources": {"panel": {"type": "qitech", "url": url, "profile": "3.x"}},
        "machines": list(_machines(machines, mapping)),
        "mappings": [str(MAPPINGS)],
        "broker": {"enabled": False},
        "northbound": {
            "opcua": {"port": opcua_port, "unsecured_read_only": True, "enabled": "opcua" in faces},
            "sparkplug": {"broker": broker, "enabled": "sparkplug" in faces},
            "uns": {"broker": broker, "enabled": "uns" in faces},
            "status": {"port": status_port},
        },
    }
    path = folder / "bridge.yaml"
    path.write_text(json.dumps(site, indent=1))
    return path


def _machines(count: int, mapping: str) -> Iterator[dict[str, Any]]:
    for number, name in enumerate(machine_ids(count)):
        selector = {"slug": SLUG, "serial": SERIALS + number}
        yield {"id": name, "area": "hall", "line": "one", "source": "panel", "machine": selector, "mapping": mapping}
