"""Shapes of variables and what cannot be shown: no server."""

from dataclasses import replace

from asyncua import ua

from bridge.model.plant import Plant
from bridge.model.tag import Range, TagDefinition
from bridge.model.units import UNITS
from bridge.model.value import DataType
from bridge.northbound.opcua import nodes
from tests.one_of_everything import DEFINITIONS, filled_table, machine


def test_faults_name_tags_that_are_folders_and_ids_that_are_too_long() -> None:
    table, slots = filled_table()
    clash = (TagDefinition("Status/A", DataType.Double), TagDefinition("Status/A/B", DataType.Double))
    long = (TagDefinition("Status/" + "/".join(["x" * 60, "y" * 60]), DataType.Double),)
    plant = Plant(table.plant.bridge, {"a": machine(slots, "a", clash), "b": machine(slots, "b", long)})
    assert [fault.partition(":")[0] for fault in nodes.faults(plant)] == [
        "a.Status.A.B",
        plant.machines["b"].tags[0].id,
    ]
    assert nodes.faults(table.plant) == []


def test_range_without_unit_is_an_analog_item() -> None:
    definition = replace(DEFINITIONS[2], eu_range=Range(0, 1))
    assert nodes.shape(definition, writable=False, fastest_ms=50).type_id == ua.NodeId(ua.ObjectIds.AnalogItemType)
    both = replace(definition, unit=UNITS["bar"])
    assert len(nodes.shape(both, writable=False, fastest_ms=50).properties) == 2
