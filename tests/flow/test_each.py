"""Tags that appear with the data, seen from outside on three faces; and after a restart before the vendor speaks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bridge.model.observation import Observation
from bridge.model.status import StatusCode
from bridge.runtime.operations import BridgeOperations
from tests.broker import broker
from tests.flow.lines import LinePeer
from tests.flow.plantfloor import MqttView, PlantFloor, SparkplugHost, compare, running_bridge, until

SITE = """
sources: {panel: {type: qitech, url: "http://127.0.0.1:9", profile: 3.x}}
machines: [{id: agent-1, source: panel, machine: {slug: mock, serial: 1}, mapping: test/agent}]
mappings: [agent.yaml]
"""
MAPPING = """
version: 1
mapping: test/agent
channels: {readings: {on_change: true}}
tags:
  Monitoring/Seventh: {from: "readings[metric='zone 7/temp',device_uuid=u-1].value", type: Double, unit: Cel}
  Monitoring/Never: {from: "readings[metric='zone 7/temp',device_uuid=u-3].value", type: Double}
each:
  readings:
    in: readings
    key: [device_uuid, metric]
    settle: 500ms
    stale_after: 15min
    bad_after: 1h
    tag: {"Monitoring/<device>/<metric>": {from: value, unit_from: unit, label: "<metric>"}}
"""
ROWS = [
    {"device_uuid": uuid, "device": "Presse Süd", "metric": f"zone {number}/temp", "value": number / 3, "unit": "°C"}
    for uuid in ("u-1", "u-2")
    for number in range(100)
]


@pytest.mark.peer("mosquitto")
@pytest.mark.peer("node")
async def test_two_hundred_tags_are_one_birth_and_are_there_again_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(MAPPING)
    async with broker() as mqtt, LinePeer("sparkplug_decoder.js") as decoder:
        async with (
            MqttView(mqtt) as view,
            running_bridge(tmp_path, SITE, mqtt) as floor,
            LinePeer("opcua_reader.js", floor.opcua_url) as reader,
        ):
            await until(lambda: "NBIRTH" in view.kinds())
            version = await read_version(reader)
            for row in ROWS:
                say(floor, [row])
            await until(lambda: len(found(floor)) == 200)
            await agree(floor, reader, SparkplugHost(view, decoder), view)
            births = [kind for kind in view.kinds() if kind in ("NBIRTH", "DBIRTH/agent-1")]
            assert births == ["NBIRTH", "DBIRTH/agent-1", "DBIRTH/agent-1"]  # it lives; it has tags
            assert await read_version(reader) > version
            before = found(floor)
            [tag_of_a_row] = [tag for tag in floor.bridge.table.plant.machines["agent-1"].tags if tag.id == before[0]]
            why = BridgeOperations(floor.bridge).explain(tag_of_a_row)["freshness"]
            assert (why["uncertain_after"], why["bad_after"]) == (900, 3600)  # of the rule: its channel has none
            check_chosen(floor)
            described = meta(view)
            tag = described["Monitoring/Presse-Sued/zone-7/temp"]
            assert (tag["unit"], tag["unece"], tag["label"]) == ("°C", "CEL", {"en": "zone 7/temp"})
            assert tag["node_id"] == "ns=2;s=agent-1.readings.u-1.zone~207~2ftemp"
            folders = {name.split("/")[1] for name in described if name.endswith("/temp")}
            assert len(folders) == 2
        async with (
            MqttView(mqtt) as view,
            running_bridge(tmp_path, SITE, mqtt) as floor,
            LinePeer("opcua_reader.js", floor.opcua_url) as reader,
        ):
            await until(lambda: "NBIRTH" in view.kinds())
            assert found(floor) == before
            read = await reader.ask(json.dumps([f"ns=2;s={identifier}" for identifier in before]))
            assert {one["value"] for one in read} == {None}
            assert not any(StatusCode(one["status"]).is_good for one in read)
            say(floor, ROWS)
            await agree(floor, reader, SparkplugHost(view, decoder), view)
            assert meta(view) == described
            assert view.kinds().count("DBIRTH/agent-1") == 1


def check_chosen(floor: PlantFloor) -> None:
    """Tags that the mapping has of one row: as that row's own tag, and why."""
    seventh, never = (floor.tag(f"agent-1.Monitoring.{name}") for name in ("Seventh", "Never"))
    assert floor.value(seventh.id).value == ROWS[7]["value"]
    why = BridgeOperations(floor.bridge).explain(seventh)
    assert why["from"] == ["readings[metric='zone 7/temp',device_uuid='u-1'].value"]
    assert why["payload"]["row"]["value"] == ROWS[7]["value"]
    assert why["freshness"]["uncertain_after"] == 900
    why = BridgeOperations(floor.bridge).explain(never)
    assert (why["payload"], why["paths"][0]["found"]) == ({"row": None}, "absent")
    assert why["paths"][0]["path"] == why["from"][0]
    assert why["change"] == "No row of the list has said so yet"


def say(floor: PlantFloor, rows: list[dict[str, Any]]) -> None:
    floor.bridge.keeper.publish(
        Observation("panel", "1/7/1", "readings", rows, floor.bridge.clock.now(), period=3600.0)
    )


def found(floor: PlantFloor) -> list[str]:
    return [tag.id for tag in floor.bridge.table.plant.machines["agent-1"].tags if tag.definition.is_found]


def meta(view: MqttView) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(view.uns["acme/essen/agent-1/_meta"])["tags"]
    return described


async def read_version(reader: LinePeer) -> str:
    """The NodeVersion of the machine: it changes with its nodes."""
    (one,) = await reader.ask(json.dumps(["ns=2;s=agent-1.NodeVersion"]))
    assert isinstance(one["value"], str)
    return one["value"]


async def agree(floor: PlantFloor, reader: LinePeer, host: SparkplugHost, view: MqttView) -> None:
    """Until every face says what the table holds."""
    differences = ["nothing was compared"]
    for _ in range(600):
        differences = await compare(floor, reader, host, view)
        if not differences:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("\n".join(differences[:20]))
