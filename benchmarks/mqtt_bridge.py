"""MQTT in to UNS out: the product's projection, table and UNS face, fed by a source that only this measurement has.

`python -m benchmarks.mqtt_bridge FOLDER MACHINES BROKER_PORT QOS` runs until it is stopped. Every change is sent: its
publish_interval is 0.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path
from typing import Any

import orjson

from benchmarks import mqtt, sites
from bridge.config.site import Site, load_site
from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.observation import Observation
from bridge.ports import Health
from bridge.runtime.faces import uns_face
from bridge.runtime.inventory import InventoryStore
from bridge.runtime.plant_keeper import PlantKeeper
from bridge.transport.clock import SystemClock


class NoEvents:
    """A log in which nothing ever is."""

    def append(self, event: object) -> None:
        """Forget it."""

    async def read(self, name: str, limit: int) -> Any:
        """Never."""
        await asyncio.Event().wait()


class Well:
    """As much of Operations as the face asks for."""

    def __init__(self, clock: SystemClock) -> None:
        self._health = Health(True, True, (), "", clock.now(), "")

    def health(self) -> Health:
        """Nothing is wrong."""
        return self._health


class MqttSource:
    """Messages of a light client, as observations."""

    def __init__(self, keeper: PlantKeeper, clock: SystemClock, broker_port: int, machines: int) -> None:
        self._keeper, self._clock = keeper, clock
        keys = list(keeper._routes)  # as its sources name the machines
        self._keys = {b"sensor/machine-%03d/data" % number: key[1] for number, key in enumerate(keys[:machines])}
        self._client = mqtt.Client(broker_port, "bench-in")
        self._client.socket.setblocking(False)
        self._client.subscribe("sensor/+/data")

    def read(self) -> None:
        """What is there."""
        received = self._clock.now()
        for topic, payload in self._client.read():
            machine = self._keys.get(topic)
            if machine is not None:
                observation = Observation("panel", machine, "live_values", orjson.loads(payload), received)
                self._keeper.publish(observation)

    def fileno(self) -> int:
        return self._client.socket.fileno()


def site(folder: Path, machines: int, broker_port: int, qos: int) -> Site:
    """Only the UNS face."""
    described = sites.read_site("http://127.0.0.1:1", machines, "benchmark/flat", ("uns",), broker_port)
    described["northbound"]["uns"] |= {"qos": qos, "meta": False, "publish_interval": 0}
    path = folder / "bridge.yaml"
    path.write_text(json.dumps(described))
    return load_site([path])


async def main(folder: str, machines: str, broker_port: str, qos: str) -> None:
    chosen = site(Path(folder), int(machines), int(broker_port), int(qos))
    clock, log = SystemClock(), NoEvents()
    inventory = InventoryStore(Path(folder) / "inventory.json", 0)
    keeper = PlantKeeper(chosen, inventory, Slots(chosen.file.limits.tags), clock, log.append)
    table = Table(keeper.first_plant(), clock, log)  # type: ignore[arg-type]
    keeper.attach(table)
    face = uns_face(chosen, clock)
    source = MqttSource(keeper, clock, int(broker_port), int(machines))
    asyncio.get_running_loop().add_reader(source.fileno(), source.read)
    gc.collect()
    gc.freeze()
    await face.run(table, None, Well(clock))  # type: ignore[arg-type]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
