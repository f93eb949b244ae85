"""What the vendor's own 2.17 server answered, projected: every field it sends is read, and read right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bridge.config.library import MappingLibrary
from bridge.model.payload_path import MISSING, getter
from bridge.model.status import StatusCode
from bridge.sources.qitech.catalogue import channel_of
from tests.mapping.rig import Rig

FOLDER = Path(__file__).parents[1] / "recorded" / "qitech"
SHIPPED = MappingLibrary.load([])

UNREAD = {
    "is_default_state",  # has no meaning: reading it changes it (2.x)
    "position_in",  # repeat the limits
    "position_out",
    "adaptive_reference_machine",  # repeats puller_reference_machine
    "zone",  # repeats the key it is under
}
"""Fields that are passed over on purpose."""

WITHOUT_VALUE = {
    "Status/PressureAutotune/Kp",  # nothing was tuned
    "Status/PressureAutotune/Ki",
    "Status/PressureAutotune/Kd",
    "Status/Puller/ReferenceMachine",  # none is chosen
    "Status/Puller/ReferenceSerial",
    "Status/Puller/TargetDiameter",  # 2.14 and 2.15
}
"""Tags for which a running 2.17 server has nothing."""


class Said(NamedTuple):
    """One payload of one machine."""

    recording: str
    machine: int
    channel: str
    payload: Any


def recorded() -> Iterator[Said]:
    for file in sorted(FOLDER.glob("*.json")):
        body = json.loads(file.read_text(encoding="utf-8")).get("body")
        yield from snapshots(file.name, body)
        yield from events(file.name, body)


def snapshots(name: str, body: Any) -> Iterator[Said]:
    """GET of a machine; a channel that is null says nothing."""
    if isinstance(body, dict) and isinstance(body.get("machine"), dict) and "state" in body:
        machine = body["machine"]["legacy_id"]["machine_identification"]["machine"]
        for channel in ("state", "live_values"):
            if body[channel] is not None:
                yield Said(name, machine, channel, body[channel])


def events(name: str, body: Any) -> Iterator[Said]:
    """Events of a machine's namespace, wherever they stand in the recording."""
    if isinstance(body, dict):
        namespace = str(body.get("nsp", "")).split("/")
        data = body.get("data")
        if namespace[1:2] == ["machine"] and isinstance(data, list) and data[:1] == ["event"]:
            yield Said(name, int(namespace[3]), channel_of(data[1]["name"]), data[1]["data"])
        for inner in body.values():
            yield from events(name, inner)
    elif isinstance(body, list):
        for inner in body:
            yield from events(name, inner)


RECORDED = list(recorded())
IDS = [f"{one.recording}-{one.channel}-{index}" for index, one in enumerate(RECORDED)]


def rig(machine: int) -> Rig:
    mapping = SHIPPED.choose({"vendor": 1, "machine": machine, "serial": 57922, "profile": "2.x"})
    assert mapping is not None
    return Rig(mapping)


def leaves(payload: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(payload, dict) and payload:
        for key, inner in payload.items():
            yield from leaves(inner, (*above, key))
    elif payload != {}:
        yield above


def test_recordings_show_every_machine_of_the_vendors_mock_build() -> None:
    assert {one.machine for one in RECORDED} == {2, 4, 7, 10}
    assert {(one.machine, one.channel) for one in RECORDED} == {
        (machine, channel) for machine in (2, 4, 7, 10) for channel in ("state", "live_values")
    }


@pytest.mark.parametrize("said", RECORDED, ids=IDS)
def test_every_field_of_a_recording_is_read(said: Said) -> None:
    read = {
        path.keys[: len(keys)]
        for spec in rig(said.machine).mapping.tags
        for _, path in spec.sources
        if path.channel == said.channel
        for keys in [path.keys[:depth] for depth in range(1, len(path.keys) + 1)]
    }
    assert [keys for keys in leaves(said.payload) if keys not in read and keys[-1] not in UNREAD] == []


@pytest.mark.parametrize("said", RECORDED, ids=IDS)
def test_every_tag_of_a_recording_has_the_value_the_vendor_sent(said: Said) -> None:
    machine = rig(said.machine)
    machine.see(said.channel, said.payload)
    for spec in machine.mapping.tags:
        if spec.channel != said.channel:
            continue
        name, now = spec.definition.name, machine.values[spec.definition.name]
        raw = getter(spec.sources[0][1].keys)(said.payload)
        if raw is None or raw is MISSING:
            assert name in WITHOUT_VALUE
            assert now.status is StatusCode.BadNoData
        elif spec.rule.enum:
            assert (now.value, machine.value(f"{name}Text")) == (spec.rule.enum[raw], raw)
        else:
            assert now.value == pytest.approx(raw, abs=1e-6)


@pytest.mark.parametrize("said", RECORDED, ids=IDS)
def test_only_what_the_mock_build_cannot_know_is_doubtful(said: Said) -> None:
    """It has no sensors: its temperatures are 0.0, which on a panel is a broken sensor."""
    machine = rig(said.machine)
    machine.see(said.channel, said.payload)
    doubtful = {name for name, value in machine.values.items() if value.status.is_uncertain}
    zones = {f"Monitoring/Temperature/{zone}" for zone in ("Nozzle", "Front", "Middle", "Back")}
    alarms = {f"Alarms/Temperature/{zone}/HighHigh" for zone in ("Nozzle", "Front", "Middle", "Back")}
    assert doubtful == (zones | alarms if (said.machine, said.channel) == (4, "live_values") else set())


def snapshot(recording: str) -> Rig:
    said = [one for one in RECORDED if one.recording == recording]
    machine = rig(said[0].machine)
    for one in said:
        machine.see(one.channel, one.payload)
    return machine


def test_extruder_that_was_set_shows_its_set_points() -> None:
    machine = snapshot("machine_get_extruder_v1_after_pid.json")
    assert {
        name: machine.value(name)
        for name in (
            "Setpoints/ModeText",
            "Status/ItemState",
            "Setpoints/ScrewSpeed",
            "Setpoints/SpeedRegulation",
            "Setpoints/Temperature/Front",
            "Setpoints/PressureLimit",
            "Setpoints/Pid/Temperature/Front/Kp",
            "Setpoints/Pid/Pressure/Kd",
            "Status/Inverter/ReverseRunning",
            "Status/PressureAutotune/StateText",
        )
    } == {
        "Setpoints/ModeText": "Heat",
        "Status/ItemState": 2,
        "Setpoints/ScrewSpeed": 21.0,
        "Setpoints/SpeedRegulation": False,
        "Setpoints/Temperature/Front": 180.5,
        "Setpoints/PressureLimit": 120.0,
        "Setpoints/Pid/Temperature/Front/Kp": 2.0,
        "Setpoints/Pid/Pressure/Kd": 0.3,
        "Status/Inverter/ReverseRunning": True,
        "Status/PressureAutotune/StateText": "not_started",
    }


def test_power_supply_that_is_on_shows_its_voltage() -> None:
    machine = snapshot("machine_get_wago_power_v1_on.json")
    assert [machine.value(name) for name in ("Setpoints/ModeText", "Monitoring/Voltage", "Monitoring/Current")] == [
        "On24V",
        24.0,
        5000.0,
    ]
