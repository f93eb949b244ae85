"""One mapping, three faces, provably the same: after random vendor traffic every face agrees with the table at rest."""

from __future__ import annotations

import asyncio
import copy
import math
import random
from pathlib import Path
from typing import Any

import pytest

from bridge.model.observation import Condition, FoundMachine, Inventory, Observation
from bridge.model.status import StatusCode
from tests.broker import broker
from tests.flow.lines import LinePeer
from tests.flow.plantfloor import MqttView, PlantFloor, SparkplugHost, compare, running_bridge, until

SOURCES = """
sources:
  panel: {type: qitech, url: "http://127.0.0.1:9", profile: 3.x}
machines:
  - {id: extruder-1, area: extrusion, line: line-1, source: panel, machine: {slug: extruder_v1, serial: 57922}}
  - {id: winder-1, area: extrusion, source: panel, machine: {slug: winder_v1, serial: 57923}}
"""

LIVE = {
    "motor_status": {"screw_rpm": 10.0, "frequency": 12.0, "voltage": 230.0, "current": 1.5, "power": 345.0},
    "pressure": 12.5,
    "nozzle_temperature": 180.0,
    "front_temperature": 190.0,
    "back_temperature": 170.0,
    "middle_temperature": 185.0,
    "nozzle_power": 20.0,
    "front_power": 30.0,
    "back_power": 10.0,
    "middle_power": 0.0,
    "combined_power": 405.0,
    "total_energy_kwh": 1.25,
}
STATE = {
    "is_default_state": False,
    "rotation_state": {"forward": True},
    "mode_state": {"mode": "Heat"},
    "regulation_state": {"uses_rpm": True},
    "pressure_state": {"target_bar": 100.0, "wiring_error": False},
    "screw_state": {"target_rpm": 12.300000000000002},
    "heating_states": {
        zone: {"target_temperature": 200.0, "wiring_error": False} for zone in ("nozzle", "front", "back", "middle")
    },
}
WINDER_LIVE = {
    "traverse_position": None,
    "puller_speed": 1.0,
    "spool_rpm": 12.0,
    "tension_arm_angle": 45.0,
    "spool_progress": 3.5,
}
CHANNELS = (
    ("1/4/57922", "live_values", LIVE),
    ("1/4/57922", "state", STATE),
    ("1/2/57923", "live_values", WINDER_LIVE),
)
ODD = (None, math.nan, math.inf, -math.inf, "", "Extrude", "Standby", "nonsense", True, 0, -1, 1e300, 2**70, [], {}, 5)


def mutated(payload: Any, chance: random.Random) -> Any:
    """A payload with some leaves moved, some odd, some missing."""
    if isinstance(payload, dict):
        return {key: mutated(value, chance) for key, value in payload.items() if chance.random() > 0.03}
    if chance.random() < 0.06:
        return copy.deepcopy(chance.choice(ODD))
    if isinstance(payload, bool):
        return chance.random() < 0.3
    if isinstance(payload, float):
        return payload * chance.uniform(0.5, 1.6)
    return payload


class Vendor:
    """Says random things, as a source would."""

    def __init__(self, floor: PlantFloor, seed: int) -> None:
        self._floor = floor
        self._chance = random.Random(seed)

    def say(self) -> None:
        """A burst of observations, now and then a loss, a machine that appears, one that vanishes."""
        keeper, chance = self._floor.bridge.keeper, self._chance
        now = self._floor.bridge.clock.now()
        for _ in range(chance.randrange(1, 30)):
            machine, channel, payload = chance.choice(CHANNELS)
            seen = Observation("panel", machine, channel, mutated(payload, chance), now, period=3600.0)
            keeper.publish(seen)
        event = chance.random()
        if event < 0.25:
            machine, channel, _ = chance.choice(CHANNELS)
            status = chance.choice((StatusCode.UncertainNoCommunicationLastUsableValue, StatusCode.BadDeviceFailure))
            keeper.publish(Condition("panel", status, "The stream broke", now, machine, chance.choice((channel, None))))
        elif event < 0.35:
            serial = chance.randrange(5)
            identity = {"vendor": 1, "machine": 7, "serial": serial, "slug": "mock", "profile": "2.x"}
            keeper.publish(Inventory("panel", appeared=(FoundMachine(f"1/7/{serial}", identity),)))
            live = {"amplitude_sum": chance.random(), "amplitude1": 0.5}
            keeper.publish(Observation("panel", f"1/7/{serial}", "live_values", live, now, period=3600.0))
        elif event < 0.4:
            keeper.publish(Inventory("panel", vanished=("1/2/57923",)))


@pytest.mark.peer("mosquitto")
@pytest.mark.peer("node")
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_three_decoded_views_are_equal_at_rest_after_random_traffic(tmp_path: Path, seed: int) -> None:
    async with (
        broker() as mqtt,
        MqttView(mqtt) as view,
        running_bridge(tmp_path, SOURCES, mqtt) as floor,
        LinePeer("opcua_reader.js", floor.opcua_url) as reader,
        LinePeer("sparkplug_decoder.js") as decoder,
    ):
        host = SparkplugHost(view, decoder)
        vendor = Vendor(floor, seed)
        await until(lambda: "NBIRTH" in view.kinds())
        for _ in range(15):
            vendor.say()
            await _rests(floor, reader, host, view)


async def _rests(floor: PlantFloor, reader: LinePeer, host: SparkplugHost, view: MqttView) -> None:
    """The views become equal. The bridge's own tags go on meanwhile: a comparison may meet one on its way."""
    differences: list[str] = []
    for _ in range(600):
        await asyncio.sleep(0.05)
        differences = await compare(floor, reader, host, view)
        if not differences:
            return
    raise AssertionError("\n".join(differences[:20]))
