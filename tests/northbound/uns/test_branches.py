"""What a new plant means for topics."""

import logging
from dataclasses import replace

import pytest

from bridge.hub.slots import Slots
from bridge.model.path import Place
from bridge.model.plant import Machine, Plant
from bridge.northbound.uns.branches import Branches
from bridge.northbound.uns.topic import DEFAULT_TEMPLATE, Namespace
from tests.one_of_everything import DEFINITIONS, bridge_machine, machine

HOME = Place("acme", "essen")


class Shown:
    """Branches that were shown a first plant with these machines."""

    def __init__(self, *machines: Machine, slots: Slots) -> None:
        self.slots = slots
        self.bridge = bridge_machine(slots)
        self.branches = Branches(Namespace(DEFAULT_TEMPLATE, "acme", "essen", "edge-1"))
        self.first = self.branches.change_to(self.plant(*machines))

    def plant(self, *machines: Machine) -> Plant:
        return Plant(self.bridge, {one.id: one for one in machines})


def test_first_plant_describes_everything_and_empties_nothing() -> None:
    slots = Slots()
    one = machine(slots)
    first = Shown(one, slots=slots).first
    assert [branch.machine.id for branch in first.described] == ["Bridge", "extruder-1"]
    assert not first.gone
    assert not first.moved


def test_machine_that_vanished_leaves_no_topic() -> None:
    slots = Slots()
    one, two = machine(slots), machine(slots, "winder-2", DEFINITIONS[:1])
    shown = Shown(one, two, slots=slots)
    change = shown.branches.change_to(shown.plant(one))
    assert change.gone == {
        "acme/essen/extrusion/line-1/winder-2/Monitoring/Pressure",
        "acme/essen/extrusion/line-1/winder-2/_meta",
    }
    assert change.slots_gone == {tag.slot for tag in two.tags}
    assert not change.described
    assert not change.slots_gone & shown.branches.topics.keys()


def test_machine_that_moved_is_emptied_there_and_told_here() -> None:
    slots = Slots()
    one = machine(slots, definitions=DEFINITIONS[:1])
    shown = Shown(one, slots=slots)
    moved = replace(one, place=Place("acme", "essen", "hall-2"))
    change = shown.branches.change_to(shown.plant(moved))
    assert change.gone == {
        "acme/essen/extrusion/line-1/extruder-1/Monitoring/Pressure",
        "acme/essen/extrusion/line-1/extruder-1/_meta",
    }
    assert change.moved == {one.tags[0].slot}
    assert not change.slots_gone
    assert shown.branches.address(one.tags[0], HOME) == "acme/essen/hall-2/extruder-1/Monitoring/Pressure"


def test_tag_that_was_dropped_is_emptied_alone() -> None:
    slots = Slots()
    shown = Shown(machine(slots), slots=slots)
    change = shown.branches.change_to(shown.plant(machine(slots, definitions=DEFINITIONS[1:])))
    assert change.gone == {"acme/essen/extrusion/line-1/extruder-1/Monitoring/Pressure"}
    assert [branch.machine.id for branch in change.described] == ["extruder-1"]
    assert not change.moved


def test_new_machine_that_takes_over_a_topic_keeps_it() -> None:
    slots = Slots()
    one = machine(slots, "a", DEFINITIONS[:1], Place("acme", "essen"))
    shown = Shown(one, slots=slots)
    other = machine(slots, "Monitoring", DEFINITIONS[:0], Place("acme", "essen", "a"))
    change = shown.branches.change_to(shown.plant(other))
    assert "acme/essen/a/Monitoring/_meta" not in change.gone
    assert "acme/essen/a/Monitoring/Pressure" in change.gone


def test_new_session_describes_everything_again_and_still_knows_what_is_gone() -> None:
    slots = Slots()
    one, two = machine(slots), machine(slots, "winder-2")
    shown = Shown(one, two, slots=slots)
    shown.branches.begin_session()
    change = shown.branches.change_to(shown.plant(one))
    assert [branch.machine.id for branch in change.described] == ["Bridge", "extruder-1"]
    assert len(change.gone) == len(two.tags) + 1


def test_address_is_home_until_a_plant_was_shown() -> None:
    slots = Slots()
    one = machine(slots)
    branches = Branches(Namespace(DEFAULT_TEMPLATE, "acme", "essen", "edge-1"))
    assert branches.address(one.tags[0], HOME) == "acme/essen/extruder-1/Monitoring/Pressure"
    branches.learn(Plant(bridge_machine(slots), {one.id: one}))
    assert branches.address(one.tags[0], HOME) == "acme/essen/extrusion/line-1/extruder-1/Monitoring/Pressure"


def test_machine_no_broker_would_take_is_left_out_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    slots = Slots()
    one = machine(slots, place=Place("acme", "Essen #1"))
    shown = Shown(one, slots=slots)
    assert not shown.branches.topics.keys() & {tag.slot for tag in one.tags}
    assert len(caplog.records) == 1
