"""Topics: rendering, strictness, collisions."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.hub.slots import Slots
from bridge.model.path import Place
from bridge.model.plant import Machine, Plant
from bridge.model.tag import Tag, TagDefinition, tag_id
from bridge.model.value import DataType
from bridge.northbound.uns.topic import (
    DEFAULT_TEMPLATE,
    MAX_TOPIC,
    Namespace,
    branch,
    is_valid,
    template_fault,
)
from tests.one_of_everything import bridge_machine, machine, plant

NAMESPACE = Namespace(DEFAULT_TEMPLATE, "acme", "essen", "edge-1")


def with_tags(identifier: str, *names: str, place: Place | None = None) -> Machine:
    tags = tuple(
        Tag(tag_id(identifier, name), slot, identifier, TagDefinition(name, DataType.Double))
        for slot, name in enumerate(names)
    )
    return Machine(identifier, place or Place("acme", "essen"), "test", (), tags)


def faults(*machines: Machine, namespace: Namespace = NAMESPACE) -> list[str]:
    return list(namespace.faults(Plant(bridge_machine(Slots()), {one.id: one for one in machines})))


def test_branch_has_every_level_of_the_place() -> None:
    place = Place("acme", "essen", "extrusion", "line-1")
    assert branch(DEFAULT_TEMPLATE, place, "extruder-1") == "acme/essen/extrusion/line-1/extruder-1"


def test_empty_levels_are_left_out() -> None:
    assert branch(DEFAULT_TEMPLATE, Place("acme", "essen", "winding"), "winder-2") == "acme/essen/winding/winder-2"
    assert branch(DEFAULT_TEMPLATE, Place("", "essen"), "x") == "essen/x"


def test_template_may_hold_literals_and_mixed_levels() -> None:
    place = Place("acme", "essen", "a", "l")
    assert (
        branch("umh/v1/{enterprise}/{area}-{line}/{machine}/_historian", place, "x") == "umh/v1/acme/a-l/x/_historian"
    )


def test_name_in_braces_is_never_filled_in_twice() -> None:
    assert branch(DEFAULT_TEMPLATE, Place("{machine}", ""), "x") == "{machine}/x"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{enterprise}/{cell}/{machine}", "unknown placeholder {cell}"),
        ("{enterprise}/{site}", "without {machine}"),
        ("/{machine}", "level ''"),
        ("{machine}/", "level ''"),
        ("a//{machine}", "level ''"),
        ("a b/{machine}", "level 'a b'"),
        ("+/{machine}", "level '+'"),
        ("{machine/x", "without {machine}"),
        ("{machine}}", "level '{machine}}'"),
    ],
)
def test_template_that_cannot_be_used_says_why(template: str, problem: str) -> None:
    fault = template_fault(template)
    assert fault is not None
    assert problem in fault


def test_default_template_can_be_used() -> None:
    assert template_fault(DEFAULT_TEMPLATE) is None


def test_bridge_has_its_own_branch() -> None:
    assert NAMESPACE.bridge == "acme/essen/_bridge/edge-1"
    assert NAMESPACE.branch(bridge_machine(Slots())) == "acme/essen/_bridge/edge-1"
    assert NAMESPACE.online == "acme/essen/_bridge/edge-1/online"


def test_event_goes_below_its_machine_or_the_bridge() -> None:
    assert NAMESPACE.event(machine(Slots()), "SourceLost") == (
        "acme/essen/extrusion/line-1/extruder-1/event/SourceLost"
    )
    assert NAMESPACE.event(None, "Bridge started/+#") == "acme/essen/_bridge/edge-1/event/Bridge-started"


def test_plant_with_one_of_everything_has_no_fault() -> None:
    assert list(NAMESPACE.faults(plant(Slots()))) == []


def test_topics_that_differ_only_in_case_collide() -> None:
    [fault] = faults(with_tags("m", "Monitoring/Pressure", "Monitoring/pressure"))
    assert "m.Monitoring.pressure and m.Monitoring.Pressure" in fault


def test_machines_whose_branches_meet_collide() -> None:
    flat = Namespace("{area}{line}/{machine}", "acme", "essen", "edge-1")
    assert flat.branch(with_tags("x", place=Place("acme", "essen", "ab", "c"))) == "abc/x"
    first = with_tags("x", "A/B", place=Place("", "", "ab", "c"))
    other = with_tags("X", "A/B", place=Place("", "", "a", "bc"))
    assert any("x.A.B" in fault and "X.A.B" in fault for fault in faults(first, other, namespace=flat))


@pytest.mark.parametrize("order", [1, -1])
def test_value_that_is_also_a_folder_collides(order: int) -> None:
    names = ["Monitoring/Temperature", "Monitoring/temperature/Front"][::order]
    [fault] = faults(with_tags("m", *names))
    assert fault.startswith("m.Monitoring.temperature.Front hangs below m.Monitoring.Temperature")


@pytest.mark.parametrize("name", ["Event", "cmd/Standby", "_meta", "_snapshot/Now", "backfill"])
def test_reserved_names_below_a_machine_are_refused(name: str) -> None:
    [fault] = faults(with_tags("m", name))
    assert f"m.{name.replace('/', '.')}" in fault


def test_template_of_the_united_manufacturing_hub() -> None:
    template = "umh/v1/{enterprise}/{site}/{area}/{line}/{machine}/_historian"
    assert template_fault(template) is None
    umh = Namespace(template, "acme", "essen", "edge-1")
    assert list(umh.faults(plant(Slots()))) == []
    assert umh.branch(machine(Slots())) == "umh/v1/acme/essen/extrusion/line-1/extruder-1/_historian"


def test_level_that_is_not_a_plain_segment_is_a_fault() -> None:
    found = faults(with_tags("m", "A/B", place=Place("acme", "Essen Süd")))
    assert found
    assert all("'Essen Süd'" in fault for fault in found)


def test_too_long_a_topic_is_a_fault() -> None:
    name = "/".join(["A" * 60] * 4)
    [fault] = faults(with_tags("m", name))
    assert f"longer than {MAX_TOPIC}" in fault


def test_bad_bridge_name_is_a_fault() -> None:
    assert any("'my bridge'" in fault for fault in faults(namespace=Namespace(DEFAULT_TEMPLATE, "a", "b", "my bridge")))


def test_moved_machine_has_another_branch() -> None:
    one = machine(Slots())
    moved = replace(one, place=Place("acme", "essen", "hall-2"))
    assert NAMESPACE.branch(one) != NAMESPACE.branch(moved)


@given(
    levels=st.lists(st.text("abAB-_ +#/$é{}", max_size=4), min_size=4, max_size=4),
    name=st.text("abAB/ #", min_size=1, max_size=8),
)
def test_plant_without_faults_has_only_topics_any_broker_takes(levels: list[str], name: str) -> None:
    one = with_tags("m", name, place=Place(*levels))
    if not faults(one):
        topic = f"{NAMESPACE.branch(one)}/{name}"
        assert is_valid(topic)
        assert not set("+#$ ") & set(topic)
        assert "//" not in f"/{topic}/"
