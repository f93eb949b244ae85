"""A broker that is away, and a bridge that is restarted meanwhile: every value of a tag with a history arrives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.model.observation import Observation
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug import node as sparkplug_node
from bridge.northbound.uns import publisher as uns_publisher
from bridge.sim.qitech.panel import Panel, SimulatedMachine
from tests.broker import Broker, Mosquitto, free_port
from tests.flow.plantfloor import MqttView, PlantFloor, running_bridge, until

TAG = "mock-1.Monitoring.AmplitudeSum"
NAME = "Monitoring/AmplitudeSum"
LIVE = "acme/essen/lab/mock-1/Monitoring/AmplitudeSum"
VALUES = [number / 100 for number in range(2, 60)]
PAST = "acme/essen/lab/mock-1/backfill"


def site(port: int) -> str:
    """A machine that its panel does not list: what it says, the test says."""
    return f"""
sources:
  panel: {{type: qitech, url: "http://127.0.0.1:{port}", profile: 3.x}}
machines:
  - id: mock-1
    area: lab
    source: panel
    machine: {{slug: mock, serial: 1}}
    tags: {{{NAME}: {{history: true}}}}
"""


class View(MqttView):
    """Keeps every message, not only the newest of each topic."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.all: list[tuple[str, bytes]] = []

    async def _collect(self) -> None:
        async for message in self._link.messages():
            self.all.append((message.topic, message.payload))

    def past(self) -> list[Any]:
        """Values on the backfill topic."""
        documents = [json.loads(payload) for topic, payload in self.all if topic == PAST]
        return [entry["value"] for document in documents for entry in document["values"]]

    def live(self) -> list[Any]:
        """Good values on the live topic."""
        documents = [json.loads(payload) for topic, payload in self.all if topic == LIVE and payload]
        return [one["value"] for one in documents if one["quality"] == "Good"]

    def metrics(self, historical: bool) -> list[Any]:
        """Values of the metric in Sparkplug's messages, null left out."""
        found = []
        for topic, payload in self.all:
            if topic.startswith("spBv1.0/") and topic.endswith("/mock-1"):
                found += [
                    metric.value
                    for metric in codec.decode(payload).metrics
                    if metric.name == NAME and metric.is_historical is historical and not metric.is_null
                ]
        return found


def say(floor: PlantFloor, *values: float) -> None:
    """What the panel would have said."""
    for value in values:
        floor.bridge.keeper.publish(
            Observation("panel", "1/7/1", "live_values", {"amplitude_sum": value}, floor.bridge.clock.now())
        )


def owed(floor: PlantFloor) -> float:
    metrics = floor.bridge.metrics()
    return metrics["history_owed_uns"] + metrics["history_owed_sparkplug"]


@pytest.mark.peer("mosquitto")
async def test_values_of_an_outage_with_a_restart_arrive_on_both_mqtt_faces_and_live_ones_never_go_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uns_publisher, "BACK_OFF_S", (0.05, 0.2))
    monkeypatch.setattr(sparkplug_node, "BACK_OFF_S", (0.05, 0.2))
    port = free_port()
    text = site(port)
    async with Mosquitto() as broker, Panel((SimulatedMachine("winder_v1", 57923),), release="3.0", port=port):
        async with running_bridge(tmp_path, text, broker) as floor:
            await until(lambda: len(floor.bridge.table.plant.machines) == 2)  # the panel was heard
            async with View(broker) as view:
                say(floor, 0.01)
                await until(lambda: 0.01 in view.live() and 0.01 in view.metrics(False))
                await until(lambda: not owed(floor))
                assert 0.01 not in (*view.past(), *view.metrics(True))
            await broker.stop()
            say(floor, *VALUES[:30])
        async with running_bridge(tmp_path, text, broker) as floor:
            await until(lambda: len(floor.bridge.table.plant.machines) == 2)
            say(floor, *VALUES[30:])
            await broker.start()
            async with View(broker) as view:
                await until(lambda: {VALUES[-2]} <= {*view.past()} & {*view.metrics(True)})
                say(floor, 2.0)
                await until(lambda: 2.0 in view.live() and 2.0 in view.metrics(False))
                await until(lambda: not owed(floor))
    for past in (view.past(), view.metrics(True)):
        assert [*dict.fromkeys(value for value in past if value in VALUES[:-1])] == VALUES[:-1]
    for live in (view.live(), view.metrics(False)):
        assert live == sorted(live)
        assert {*live} <= {VALUES[-1], 2.0}
