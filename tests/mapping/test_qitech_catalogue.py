"""The shipped mappings against the catalogue of QiTech Control."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.config.library import MappingLibrary
from bridge.mapping.compile import CompiledMapping
from bridge.mapping.match import matches
from bridge.sources.qitech.catalogue import MACHINE_TYPES
from tests.mapping.qitech import CATALOGUE, HAZARDS, LEFT_OUT

SHIPPED = MappingLibrary.load([])
SAFE = {
    "qitech/extruder": {"SetExtruderMode": "Standby"},
    "qitech/extruder_v3": {"SetExtruderMode": "Standby"},
    "qitech/winder": {"SetMode": "Standby"},
    "qitech/winder_spool": {"SetMode": "Standby"},
    "qitech/aquapath_2x": {"SetAquaPathMode": "Standby"},
    "qitech/aquapath_3x": {"SetAquaPathMode": "Standby"},
    "qitech/wago_power": {"SetMode": "Off"},
    "qitech/mock": {"SetMode": "Standby"},
}


def sends(mapping: CompiledMapping) -> Iterator[tuple[Any, frozenset[str]]]:
    """Every template a mapping can send, with the hazards it has."""
    for spec in mapping.tags:
        if spec.rule.write:
            yield spec.rule.write.send, spec.definition.hazards
    for command in mapping.commands:
        if not command.sets:
            yield command.rule.send, command.hazards


def mutation(send: Any) -> str:
    """The vendor's name of a mutation, in each of its three notations."""
    if isinstance(send, str):
        return send
    for key in ("action", "type"):
        if key in send:
            return str(send[key])
    (name,) = send
    return str(name)


def mapping_of(name: str) -> CompiledMapping:
    return SHIPPED.compiled(name)


@pytest.mark.parametrize("name", CATALOGUE)
def test_machine_has_exactly_one_mapping_in_each_profile_it_exists_in(name: str) -> None:
    kind = CATALOGUE[name]
    for profile in kind.profiles:
        identity = {"vendor": 1, "machine": kind.number, "serial": 7, "slug": kind.slug, "profile": profile}
        matching = [one for one in SHIPPED.names if matches(mapping_of(one).match, identity)]
        assert matching == [name]
        assert SHIPPED.choose(identity) is mapping_of(name)


def test_every_mapping_is_of_the_catalogue_and_the_source_knows_every_machine() -> None:
    assert {name for name in SHIPPED.names if name.startswith("qitech/")} == set(CATALOGUE)
    assert {kind.number for kind in CATALOGUE.values()} == set(MACHINE_TYPES)


@pytest.mark.parametrize("name", CATALOGUE)
def test_mapping_can_send_exactly_the_mutations_of_its_machine(name: str) -> None:
    assert {mutation(send) for send, _ in sends(mapping_of(name))} == CATALOGUE[name].mutations


@pytest.mark.parametrize("name", CATALOGUE)
def test_mutation_left_out_stands_nowhere(name: str) -> None:
    text = json.dumps([send for send, _ in sends(mapping_of(name))])
    assert [word for word in LEFT_OUT if word in text] == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_index_of_an_output_is_fixed_and_exists(name: str) -> None:
    """No argument of a person's becomes an index: above 7 it would end the process of an 8-channel machine."""
    for send, _ in sends(mapping_of(name)):
        value = send.get("value") if isinstance(send, dict) else None
        if isinstance(value, dict) and "index" in value:
            assert value["index"] in range(8)


@pytest.mark.parametrize("name", ["qitech/analog_input_test_machine", "qitech/wago_ai_test_machine"])
def test_measurement_rate_is_at_least_one(name: str) -> None:
    (rate,) = [spec for spec in mapping_of(name).tags if spec.rule.write]
    assert rate.definition.eu_range is not None
    assert rate.definition.eu_range.low >= 1
    assert rate.definition.data_type.value == "Int32"


@pytest.mark.parametrize("name", CATALOGUE)
def test_dangerous_mutation_carries_its_hazards(name: str) -> None:
    harmless = [
        (mutation(send), hazard)
        for send, hazards in sends(mapping_of(name))
        for hazard, mutations in HAZARDS.items()
        if mutation(send) in mutations and "$" in json.dumps(send) and hazard not in hazards
    ]
    assert harmless == []


@pytest.mark.parametrize("name", SAFE)
def test_safe_direction_is_a_safe_command_and_a_safe_text(name: str) -> None:
    mapping = mapping_of(name)
    assert SAFE[name] in [command.rule.send for command in mapping.commands if command.rule.safe]
    (mode,) = [spec for spec in mapping.tags if spec.definition.name == "Setpoints/Mode"]
    assert mode.rule.write is not None
    assert mode.rule.write.safe == list(SAFE[name].values())


@pytest.mark.parametrize(
    ("name", "tag", "text", "hazards"),
    [
        ("qitech/extruder", "Setpoints/Mode", "Standby", []),
        ("qitech/extruder", "Setpoints/Mode", "Heat", ["heat"]),
        ("qitech/extruder", "Setpoints/Mode", "Extrude", ["heat", "motion"]),
        ("qitech/winder", "Setpoints/Mode", "Standby", ["loses_tension"]),
        ("qitech/winder", "Setpoints/Mode", "Hold", ["motion"]),
        ("qitech/aquapath_3x", "Setpoints/Mode", "Auto", ["heat", "power"]),
        ("qitech/wago_power", "Setpoints/Mode", "On24V", ["power"]),
        ("qitech/wago_power", "Setpoints/Mode", "Off", []),
    ],
)
def test_mode_has_hazards_by_text(name: str, tag: str, text: str, hazards: list[str]) -> None:
    (spec,) = [spec for spec in mapping_of(name).tags if spec.definition.name == tag]
    assert spec.rule.write is not None and isinstance(spec.rule.write.hazard, dict)
    assert spec.rule.write.hazard[text] == hazards


@pytest.mark.parametrize(
    ("name", "tag", "bounds"),
    [
        ("qitech/extruder", "Setpoints/ScrewSpeed", (0, 44)),
        ("qitech/extruder_v3", "Setpoints/ScrewSpeed", (0, 100)),
        ("qitech/extruder", "Setpoints/Pressure", (0, 270)),
        ("qitech/extruder", "Setpoints/Temperature/Nozzle", (0, 300)),
        ("qitech/extruder", "Setpoints/PressureLimit", (0, 350)),
        ("qitech/winder", "Setpoints/Traverse/StepSize", (0.1, 75)),
        ("qitech/winder", "Setpoints/Spool/Adaptive/AccelerationFactor", (0.01, 1)),
        ("qitech/winder", "Setpoints/Puller/Adaptive/MaxSpeedChange", (0, 0.5)),
        ("qitech/laser", "Setpoints/Diameter", (0, 5)),
        ("qitech/aquapath_2x", "Setpoints/Temperature/Front", (10, 80)),
        ("qitech/aquapath_3x", "Setpoints/MaxFanSpeed/Right", (0, 100)),
        ("qitech/wago_750_553_machine", "Setpoints/Output/4", (0, 1)),
    ],
)
def test_set_point_has_the_range_of_the_panels_page(name: str, tag: str, bounds: tuple[float, float]) -> None:
    (spec,) = [spec for spec in mapping_of(name).tags if spec.definition.name == tag]
    assert spec.definition.eu_range == bounds


@pytest.mark.parametrize("name", CATALOGUE)
def test_number_that_can_be_written_has_a_range(name: str) -> None:
    written = [spec for spec in mapping_of(name).tags if spec.rule.write and not spec.rule.enum]
    without = [
        spec.definition.name
        for spec in written
        if spec.definition.data_type.is_numeric and not spec.definition.eu_range
    ]
    assert without == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_command_that_only_moves_or_resets_is_never_repeated(name: str) -> None:
    """Reset*, Zero*, Goto* and auto-tuning have another effect when they are sent a second time."""
    for command in [one for one in mapping_of(name).commands if not one.sets]:
        if mutation(command.rule.send).startswith(("Reset", "Zero", "Goto", "Start", "SendMessage")):
            assert not command.rule.absolute, command.name


UNITLESS = {"Status/Puller/ReferenceMachine", "Status/Puller/ReferenceSerial"}
"""Numbers that are names."""


@pytest.mark.parametrize("name", CATALOGUE)
def test_value_has_unit_and_label_in_both_languages(name: str) -> None:
    mapping = mapping_of(name)
    definitions = [spec.definition for spec in mapping.tags]
    assert [one.name for one in definitions if set(one.label) != {"en", "de"}] == []
    assert [command.name for command in mapping.commands if not _is_bilingual(command.rule.label)] == []
    unitless = {one.name for one in definitions if one.data_type.is_numeric and not one.unit and not one.enumeration}
    assert unitless <= UNITLESS


def _is_bilingual(label: Any) -> bool:
    return isinstance(label, dict) and set(label) == {"en", "de"}


@pytest.mark.parametrize("name", CATALOGUE)
def test_identification_names_maker_model_and_serial_number(name: str) -> None:
    mapping = mapping_of(name)
    assert mapping.identification["Manufacturer"] == "QiTech Industries GmbH"
    assert mapping.identification["SerialNumber"] == "<serial>"
    assert {"Model", "ProductInstanceUri"} <= set(mapping.identification)


def test_identities_of_machine_types_differ() -> None:
    uris = [mapping_of(name).identification["ProductInstanceUri"] for name in CATALOGUE]
    assert len(set(uris)) == len(uris) - 1  # the two profiles of an Aquapath are one machine


@pytest.mark.parametrize(
    "name", [name for name in CATALOGUE if name not in {"qitech/extruder_v3", "qitech/winder_spool"}]
)
def test_every_mutation_and_every_text_is_shown_in_an_example(name: str) -> None:
    mapping = mapping_of(name)
    sent = [example.expect_send for example in mapping.examples if example.given is None]
    shown = [send for one in sent for send in (one if isinstance(one, list) else [one])]
    assert {mutation(send) for send in shown} == CATALOGUE[name].mutations
    texts = {
        (spec.definition.name, text)
        for spec in mapping.tags
        if spec.rule.write and spec.rule.enum
        for text in spec.rule.enum
    }
    written = {pair for example in mapping.examples for pair in (example.write or {}).items()}
    assert texts <= written
    called = {command for example in mapping.examples for command in (example.call or {})}
    assert called == {command.name for command in mapping.commands}
