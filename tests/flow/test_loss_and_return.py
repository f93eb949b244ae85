"""Lose a panel, a machine, a stream; start without it; restart: what every face must show."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge.model.status import StatusCode
from bridge.sim.qitech.panel import Panel, SimulatedMachine
from tests.broker import broker, free_port
from tests.flow.plantfloor import MqttView, PlantFloor, running_bridge, until

EXTRUDER = SimulatedMachine("extruder_v1", 57922)
WINDER = SimulatedMachine("winder_v1", 57923)
LASER = SimulatedMachine("laser_v1", 1)


def site(*ports: int, profile: str = "auto") -> str:
    """A site with one panel on each port; panel-1 has extruder-1, panel-2 has winder-2."""
    names = [f"panel-{number}" for number in range(1, len(ports) + 1)]
    sources = "".join(
        f'  {name}: {{type: qitech, url: "http://127.0.0.1:{port}", profile: {profile}, poll_period: 200ms}}\n'
        for name, port in zip(names, ports, strict=True)
    )
    machines = "  - {id: extruder-1, area: a, source: panel-1, machine: {slug: extruder_v1, serial: 57922}}\n"
    if len(ports) > 1:
        machines += "  - {id: winder-2, area: a, source: panel-2, machine: {slug: winder_v1, serial: 57923}}\n"
    return f"sources:\n{sources}machines:\n{machines}"


def panel(*machines: SimulatedMachine, port: int, release: str) -> Panel:
    return Panel(machines, release=release, port=port)


@asynccontextmanager
async def two_panels(tmp_path: Path, release: str) -> AsyncIterator[tuple[Panel, Panel, PlantFloor, MqttView]]:
    ports = (free_port(), free_port())
    async with (
        broker() as mqtt,
        MqttView(mqtt) as view,
        panel(EXTRUDER, port=ports[0], release=release) as first,
        panel(WINDER, port=ports[1], release=release) as second,
        running_bridge(tmp_path, site(*ports), mqtt) as floor,
    ):
        yield first, second, floor, view


def is_good(floor: PlantFloor, *identifiers: str) -> bool:
    return all(floor.value(identifier).status is StatusCode.Good for identifier in identifiers)


def quality(view: MqttView, topic: str) -> str | None:
    """What the UNS says of a tag's quality."""
    document = json.loads(view.uns.get(topic) or b"{}")
    return document.get("quality")


EXTRUDER_TAGS = ("extruder-1.Monitoring.Temperature.Front", "extruder-1.Setpoints.ScrewSpeed")
WINDER_TAGS = ("winder-2.Monitoring.SpoolSpeed", "winder-2.Setpoints.Mode")


@pytest.mark.parametrize("release", ["2.17", "3.0"])
async def test_a_killed_panel_greys_its_tags_and_no_others_until_values_flow(tmp_path: Path, release: str) -> None:
    async with two_panels(tmp_path, release) as (first, second, floor, view):
        await until(lambda: is_good(floor, *EXTRUDER_TAGS, "winder-2.Setpoints.Mode"))
        vendor_tags = [
            tag
            for tag in floor.tags()
            if tag.machine == "extruder-1" and tag.group in ("Monitoring", "Setpoints") and is_good(floor, tag.id)
        ]
        others = [tag for tag in floor.tags() if tag.machine == "winder-2" and is_good(floor, tag.id)]
        first.faults.down()
        await until(lambda: not any(is_good(floor, tag.id) for tag in vendor_tags))
        assert all(floor.value(tag.id).reason for tag in vendor_tags)
        assert floor.value("extruder-1.Monitoring.Temperature.Front").value is not None
        assert all(is_good(floor, tag.id) for tag in others)
        topic = floor.bridge.faces["uns"].address(floor.tag(EXTRUDER_TAGS[0]))
        await until(lambda: quality(view, topic) == "Uncertain")
        assert json.loads(view.uns[topic])["reason"]
        first.faults.restart(0.1)
        await until(lambda: is_good(floor, *EXTRUDER_TAGS), 30)
        assert floor.value("extruder-1.Setpoints.ScrewSpeed").value == 0.0
        assert first.forbidden_requests == second.forbidden_requests == 0
        assert first.crashes == second.crashes == []


@pytest.mark.parametrize("release", ["2.17", "3.0"])
async def test_start_with_the_panel_down_and_values_flow_once_it_is_up(tmp_path: Path, release: str) -> None:
    port = free_port()
    async with broker() as mqtt, running_bridge(tmp_path, site(port), mqtt) as floor:
        await until(lambda: floor.value(EXTRUDER_TAGS[0]).status is StatusCode.BadNotConnected)
        assert floor.value("extruder-1.Connection.values.StateText").value == "Lost"
        assert floor.value("extruder-1.Connection.values.Advice").value
        async with panel(EXTRUDER, port=port, release=release) as late:
            await until(lambda: is_good(floor, *EXTRUDER_TAGS), 30)
            assert late.forbidden_requests == 0


async def test_a_machine_plugged_in_appears_on_all_faces_vanishes_and_returns(tmp_path: Path) -> None:
    port = free_port()
    async with (
        broker() as mqtt,
        MqttView(mqtt) as view,
        panel(EXTRUDER, LASER, port=port, release="3.0") as one,
        running_bridge(tmp_path, site(port), mqtt) as floor,
    ):
        one.faults.unplug("laser_v1", 1)
        await until(lambda: is_good(floor, *EXTRUDER_TAGS))
        one.faults.plug("laser_v1", 1)
        name = "panel-1-laser_v1-1"
        diameter = f"{name}.Monitoring.Diameter"
        await until(lambda: name in floor.bridge.table.plant.machines and floor.value(diameter).value is not None, 30)
        topic = floor.bridge.faces["uns"].address(floor.tag(diameter))
        await until(lambda: topic in view.uns and f"DBIRTH/{name}" in view.kinds())
        one.faults.unplug("laser_v1", 1)
        await until(lambda: floor.value(diameter).status.is_uncertain)
        assert floor.value(f"{name}.Connection.values.Reason").value
        await until(lambda: floor.value(diameter).status.is_bad and f"DDEATH/{name}" in view.kinds(), 30)
        assert floor.value(diameter).reason
        one.faults.plug("laser_v1", 1)
        await until(lambda: floor.value(diameter).value is not None, 30)
        await until(lambda: view.kinds().count(f"DBIRTH/{name}") == 2)


async def test_after_a_restart_with_the_panel_down_found_machines_are_there(tmp_path: Path) -> None:
    port = free_port()
    name = "panel-1-laser_v1-1"
    async with broker() as mqtt:
        async with (
            panel(EXTRUDER, LASER, port=port, release="3.0"),
            running_bridge(tmp_path, site(port), mqtt) as floor,
        ):
            await until(lambda: name in floor.bridge.table.plant.machines)
        async with running_bridge(tmp_path, site(port), mqtt) as floor:
            assert floor.value(f"{name}.Monitoring.Diameter").status.is_bad
            assert floor.bridge.faces["opcua"].address(floor.tag(f"{name}.Monitoring.Diameter"))


async def test_somebody_leaving_the_stream_is_noticed_and_repaired(tmp_path: Path) -> None:
    port = free_port()
    async with (
        broker() as mqtt,
        panel(EXTRUDER, port=port, release="3.0") as one,
        running_bridge(tmp_path, site(port), mqtt) as floor,
    ):
        await until(lambda: is_good(floor, *EXTRUDER_TAGS))
        one.faults.silence("extruder_v1", 57922)
        await until(lambda: not is_good(floor, *EXTRUDER_TAGS), 30)
        await until(lambda: is_good(floor, *EXTRUDER_TAGS), 30)


async def test_wiring_errors_are_bad_with_a_reason_and_only_that_zone(tmp_path: Path) -> None:
    port = free_port()
    async with (
        broker() as mqtt,
        panel(EXTRUDER, port=port, release="2.17") as one,
        running_bridge(tmp_path, site(port), mqtt) as floor,
    ):
        await until(lambda: is_good(floor, *EXTRUDER_TAGS))
        one.faults.wiring_error("extruder_v1", 57922, "front")
        await until(lambda: floor.value(EXTRUDER_TAGS[0]).status is StatusCode.BadSensorFailure, 30)
        assert "wiring" in floor.value(EXTRUDER_TAGS[0]).reason
        assert is_good(floor, "extruder-1.Monitoring.Temperature.Back")


async def test_the_goodbye_is_heard_on_every_face(tmp_path: Path) -> None:
    port = free_port()
    async with broker() as mqtt, MqttView(mqtt) as view, panel(EXTRUDER, port=port, release="2.17") as one:
        async with running_bridge(tmp_path, site(port), mqtt) as floor:
            await until(lambda: is_good(floor, *EXTRUDER_TAGS) and "DBIRTH/extruder-1" in view.kinds())
            topic = floor.bridge.faces["uns"].address(floor.tag(EXTRUDER_TAGS[0]))
            await until(lambda: topic in view.uns)
        await until(lambda: view.kinds()[-1] == "NDEATH")
        assert "DDEATH/extruder-1" in view.kinds()
        await until(lambda: quality(view, topic) == "Uncertain")
        assert json.loads(view.uns["acme/essen/_bridge/bridge-1/online"])["online"] is False
        assert one.crashes == []
