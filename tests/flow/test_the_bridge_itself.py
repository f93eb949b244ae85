"""The bridge itself: one model, four outputs (design.md section 3)."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest
from asyncua import Client

from bridge.model.tag import Owner
from bridge.runtime import self_report
from bridge.runtime.counters import NOT_SHOWN, counters
from bridge.sim.qitech.panel import Panel
from tests.broker import broker, free_port
from tests.flow.plantfloor import FACES, MqttView, running_bridge, until
from tests.flow.test_loss_and_return import EXTRUDER, EXTRUDER_TAGS, is_good, site

ALL = ("opcua", "sparkplug", "uns")


async def test_sources_faces_counters_and_readiness_are_on_every_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_report, "COUNTERS_EVERY_S", 0.2)
    async with broker() as mqtt, MqttView(mqtt) as view, Panel([EXTRUDER], release="3.0") as panel:
        port = int(panel.url.rpartition(":")[2])
        async with running_bridge(tmp_path, site(port), mqtt) as floor, Client(floor.opcua_url) as client:

            async def reads(name: str, wanted: object) -> None:
                """Until it does: an address space is a moment behind the table."""
                node, read = client.get_node(f"ns=2;s=Bridge.{name}"), object()
                async with asyncio.timeout(30):
                    while read != wanted:
                        read = await node.read_value()

            await until(lambda: floor.value("Bridge.Ready").value is True)
            await until(lambda: is_good(floor, *EXTRUDER_TAGS))
            await until(lambda: floor.value("Bridge.Faces.uns.Messages").value)
            await until(lambda: floor.value("Bridge.Faces.opcua.Sessions").value == 1)
            await reads("WhyNotReady", "")
            await reads("Faces.sparkplug.Running", True)
            await reads("Faces.sparkplug.Trouble", "")
            assert floor.value("Bridge.Counters.Updates").value > 0
            assert floor.value("Bridge.Sources.panel-1.LastUpdate").value
            assert floor.value("Bridge.Uptime").value >= 0
            topic = "acme/essen/_bridge/bridge-1/Faces/opcua/Sessions"
            await until(lambda: json.loads(view.uns.get(topic, b"{}")).get("value") == 1)
            panel.faults.down()
            await until(lambda: floor.value("Bridge.Ready").value is False, 30)
            assert "panel-1: " in str(floor.value("Bridge.WhyNotReady").value)
            due = floor.value("Bridge.Sources.panel-1.NextTry").value
            assert due is None or due > floor.bridge.started


async def test_every_metric_is_a_tag_or_left_out_on_purpose(tmp_path: Path) -> None:
    mqtt, opcua = free_port(), free_port()
    faces = f"broker: {{enabled: true, port: {mqtt}}}\n" + FACES.format(opcua=opcua, mqtt=mqtt)
    async with running_bridge(tmp_path, "sources: {}\n", None, faces=faces, opcua=opcua) as floor:
        shown = {metric: name for name, metric, _ in counters(ALL, has_broker=True)}
        metrics = {metric.partition("{")[0] for metric in floor.bridge.metrics()}
        assert metrics - set(shown) - set(NOT_SHOWN) == set()
        assert set(shown) - metrics == set()
        assert set(NOT_SHOWN).isdisjoint(shown)
        for name in shown.values():
            assert floor.tag(f"Bridge.{name.replace('/', '.')}").definition.owner is Owner.BRIDGE


RESERVED = ("_count", "_sum", "_bucket", "_gauge", "_counter")
UNITS = ("ms", "milliseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "percent")
LABELS = {
    "info": {"version", "configuration"},
    "source_state": {"source", "type", "state"},
    "source_reconnects_total": {"source"},
    "source_last_update_seconds": {"source"},
    "face_running": {"face"},
    "schema_drift_total": {"kind"},
}
"""Each has as many values as there are sources or faces in the files, or words in an enumeration."""


async def test_metrics_are_as_prometheus_wants_them(tmp_path: Path) -> None:
    """The rules of `promtool check metrics`, and no label that grows with the plant.

    Source: prometheus/prometheus, util/promlint; https://prometheus.io/docs/practices/naming/.
    """
    mqtt, opcua = free_port(), free_port()
    faces = f"broker: {{enabled: true, port: {mqtt}}}\n" + FACES.format(opcua=opcua, mqtt=mqtt)
    async with (
        running_bridge(tmp_path, "sources: {}\n", None, faces=faces, opcua=opcua) as floor,
        httpx.AsyncClient() as client,
    ):
        lines = (await client.get(f"{floor.bridge.admin_url}/metrics")).text.splitlines()
    kinds = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE "))
    assert {line.split()[2] for line in lines if line.startswith("# HELP ")} == set(kinds)
    assert len(kinds) > 60
    for name, kind in kinds.items():
        short = name.removeprefix("plantbridge_")
        assert short != name
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
        assert name.endswith("_total") == (kind == "counter")
        assert not name.endswith(RESERVED)
        assert not set(name.split("_")) & set(UNITS)
        found = {key for line in lines if line.startswith(f"{name}{{") for key in re.findall(r'(\w+)="', line)}
        assert found <= LABELS.get(short, set())
