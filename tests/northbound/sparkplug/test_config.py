"""The configuration, and the faults a plant may have for this face."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from bridge.hub.slots import Slots
from bridge.model.tag import TagDefinition
from bridge.model.value import DataType
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.node import SparkplugNode
from bridge.transport.clock import SystemClock
from tests.one_of_everything import machine, plant

if TYPE_CHECKING:
    from pathlib import Path


def node(config: SparkplugConfig, directory: Path, enterprise: str = "acme", site: str = "essen") -> SparkplugNode:
    return SparkplugNode(config, SystemClock(), directory, enterprise, site, "bridge-1")


def test_every_key_is_described() -> None:
    assert all(field.description for field in SparkplugConfig.model_fields.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"groupid": "x"},
        {"group_id": "{plant}"},
        {"edge_node_id": "{}"},
        {"publish_interval": 0},
        {"primary_host": "scada"},
        {"broker": []},
        {"broker": [{"host": "x"}] * 9},
        {"max_packet_size": 10},
        {"birth_jitter": -1},
        {"primary_host_timeout": 0},
        {"broker": {"protocol": "4"}},
        {"group_id": "plant/{site}"},
        {"edge_node_id": "{bridge}+"},
        {"primary_host_id": ""},
        {"primary_host_id": "a/b"},
        {"legacy_host_state": True},
        {"primary_host_timeout": 30},
    ],
)
def test_wrong_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SparkplugConfig.model_validate(wrong)


def test_broker_is_one_or_a_list() -> None:
    assert [one.host for one in SparkplugConfig().brokers] == ["127.0.0.1"]
    listed = SparkplugConfig.model_validate({"broker": [{"host": "a"}, {"host": "b", "port": 8883}]})
    assert [(one.host, one.port) for one in listed.brokers] == [("a", 1883), ("b", 8883)]


def test_group_called_state_is_a_fault(tmp_path: Path) -> None:
    (fault,) = node(SparkplugConfig(group_id="STATE"), tmp_path).faults(plant(Slots()))
    assert "STATE" in fault


def test_primary_host_id_is_a_level_of_a_topic() -> None:
    with pytest.raises(ValidationError, match="primary host id 'scada/1'"):
        SparkplugConfig(primary_host_id="scada/1")


def test_ids_are_rendered_from_their_templates(tmp_path: Path) -> None:
    assert str(node(SparkplugConfig(), tmp_path).node) == "acme:essen/bridge-1"
    custom = SparkplugConfig(group_id="{site}", edge_node_id="{enterprise}-{bridge}")
    assert str(node(custom, tmp_path).node) == "essen/acme-bridge-1"


def test_address_names_group_node_device_and_metric(tmp_path: Path) -> None:
    whole = plant(Slots())
    face = node(SparkplugConfig(), tmp_path)
    assert face.address(whole.machines["extruder-1"].tags[0]) == "acme:essen/bridge-1/extruder-1 Monitoring/Pressure"
    assert face.address(whole.bridge.tags[0]) == "acme:essen/bridge-1 Version"


def test_plant_with_one_of_everything_has_no_fault(tmp_path: Path) -> None:
    assert node(SparkplugConfig(), tmp_path).faults(plant(Slots())) == []


def test_forbidden_characters_in_ids_are_faults(tmp_path: Path) -> None:
    """tck-id-intro-group-id-chars, tck-id-intro-device-id-chars"""
    whole = plant(Slots(), machine(Slots(), "a/b"))
    faults = node(SparkplugConfig(), tmp_path, enterprise="acme+co").faults(whole)
    assert len(faults) == 2
    assert "group id" in faults[0]
    assert "device id 'a/b'" in faults[1]


def test_case_sensitivity_sparkplug_ids(tmp_path: Path) -> None:
    slots = Slots()
    (fault,) = node(SparkplugConfig(), tmp_path).faults(
        plant(slots, machine(slots, "Line-1"), machine(slots, "line-1"))
    )
    assert "Line-1" in fault
    assert "line-1" in fault


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("Monitoring/Flow", "Monitoring/flow"), "upper and lower case"),
        (("Status/State", "Status/state/Mode"), "a folder"),
        (("Monitoring/a.b",), "hosts refuse"),
    ],
)
def test_case_sensitivity_metric_names_and_folders(names: tuple[str, ...], told: str, tmp_path: Path) -> None:
    definitions = tuple(TagDefinition(name, DataType.Double) for name in names)
    (fault,) = node(SparkplugConfig(), tmp_path).faults(plant(Slots(), machine(Slots(), "m", definitions)))
    assert told in fault


def test_bridge_s_tags_may_not_take_the_node_s_own_names(tmp_path: Path) -> None:
    whole = plant(Slots())
    definitions = (TagDefinition("bdseq", DataType.Int64), TagDefinition("Properties/OS", DataType.String))
    taken = type(whole)(machine(Slots(), "Bridge", definitions), {})
    assert len(node(SparkplugConfig(), tmp_path).faults(taken)) == 2
