"""What of a machine takes commands, and how it is described."""

import json
from dataclasses import replace

import pytest

from bridge.hub.slots import Slots
from bridge.model.command import Argument, ArgumentRange, CommandDefinition
from bridge.model.value import DataType
from bridge.northbound.uns.commandable import Commandable, command_faults, commandables, described
from bridge.northbound.uns.topic import command_name, is_answer_topic
from tests.one_of_everything import DEFINITIONS, machine

ROOT = "acme/essen/extrusion/line-1/extruder-1"
ROOTS = frozenset({ROOT, "acme/essen/cmd/m", "acme/essen/_bridge/edge-1"})


def test_writable_tags_and_commands_take_commands() -> None:
    found = commandables(machine(Slots()))
    assert {name: one.target for name, one in found.items()} == {
        "Setpoints/Mode": "extruder-1.Setpoints.Mode",
        "Setpoints/ScrewSpeed": "extruder-1.Setpoints.ScrewSpeed",
        "Setpoints/Enabled": "extruder-1.Setpoints.Enabled",
        "Standby": "extruder-1.Commands.Standby",
        "SetPid/Front": "extruder-1.Commands.SetPid.Front",
    }


def test_machine_without_anything_writable_takes_none() -> None:
    assert commandables(replace(machine(Slots(), definitions=DEFINITIONS[:9]), commands=(), _by_name={})) == {}


@pytest.mark.parametrize(
    ("name", "expected", "example"),
    [
        ("Setpoints/ScrewSpeed", 'Double from 0 to 44 r/min, bare or as {"value": …}', {"value": 22.0, "id": "4711"}),
        (
            "Setpoints/Mode",
            'one of Standby, Heat, Extrude, bare or as {"value": …}',
            {"value": "Standby", "id": "4711"},
        ),
        ("Standby", "no arguments: true, or a JSON object", {"id": "4711"}),
        (
            "SetPid/Front",
            "args with Kp (Double from 0 to 100), Zone (one of front, back)",
            {"args": {"Kp": 50.0, "Zone": "front"}, "id": "4711"},
        ),
    ],
)
def test_person_is_told_what_is_expected(name: str, expected: str, example: object) -> None:
    one = commandables(machine(Slots()))[name]
    assert one.expected == expected
    assert json.loads(one.example) == example


def test_example_leaves_out_what_may_be_left_out() -> None:
    """Somebody will paste it: no quantity, time or person of ours shall be booked by that."""
    arguments = (
        Argument("Part", DataType.String),
        Argument("Quantity", DataType.Double, ArgumentRange(-1, 1e9), default=-1.0),
        Argument("Who", DataType.String, person=True),
    )
    assert json.loads(Commandable("Start", "m.Commands.Start", arguments).example) == {
        "args": {"Part": "text"},
        "id": "4711",
    }


def test_description_has_topics_arguments_and_examples() -> None:
    document = described(ROOT, commandables(machine(Slots())))
    assert document["Setpoints/ScrewSpeed"] == {
        "topic": f"{ROOT}/cmd/Setpoints/ScrewSpeed",
        "arguments": {"value": {"type": "Double", "range": [0, 44], "unit": "r/min"}},
        "example": {"value": 22.0, "id": "4711"},
    }
    assert document["Standby"] == {
        "topic": f"{ROOT}/cmd/Standby",
        "arguments": {},
        "example": {"id": "4711"},
        "description": "Motors and heaters off",
        "safe": True,
    }
    assert document["SetPid/Front"]["hazards"] == ["protection"]
    assert document["SetPid/Front"]["arguments"]["Zone"] == {"type": "String", "enum": ["front", "back"]}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Setpoints/screwspeed", "share a topic"),
        ("Tell/Result", "is an answer's"),
        ("x" * 180, "too long"),
        ("Über/x", "is not a topic"),
    ],
)
def test_command_that_cannot_be_offered_is_a_fault(name: str, told: str) -> None:
    odd = replace(machine(Slots()), commands=(CommandDefinition(name, "values"),), _by_name={})
    (fault,) = command_faults(odd, ROOT)
    assert told in fault
    assert [*command_faults(machine(Slots()), ROOT)] == []


@pytest.mark.parametrize(
    ("topic", "found"),
    [
        (f"{ROOT}/cmd/Standby", (ROOT, "Standby")),
        (f"{ROOT}/cmd/SetPid/Front", (ROOT, "SetPid/Front")),
        (f"{ROOT}/cmd/cmd/x", (ROOT, "cmd/x")),
        ("acme/essen/cmd/m/cmd/Standby", ("acme/essen/cmd/m", "Standby")),
        (f"{ROOT}/cmd/Standby/result", None),
        (f"{ROOT}/cmd/result", None),
        (f"{ROOT}/cmd", None),
        (f"{ROOT}/Monitoring/Pressure", None),
        ("acme/essen/else/cmd/Standby", None),
        (f"{ROOT}/cmd/" + "x/" * 100 + "x", None),
        (f"{ROOT}/cmd/\x00", None),
    ],
)
def test_name_of_a_command_is_what_hangs_below_cmd(topic: str, found: object) -> None:
    assert command_name(topic, ROOTS) == found


@pytest.mark.parametrize(
    ("topic", "usable"),
    [
        ("answers/hmi-1", True),
        ("acme/essen/hmi/answers", True),
        (f"{ROOT}/cmd/Standby/result", True),
        (f"{ROOT}/cmd/Standby", False),
        (f"{ROOT}/cmd/result", False),
        (f"{ROOT}/Monitoring/Pressure", False),
        (ROOT, False),
        ("acme/essen/_bridge/edge-1/online", False),
        ("answers/+", False),
        ("answers/#", False),
        ("$SYS/broker", False),
        ("", False),
        ("a\x00b", False),
        ("a\nb", False),
        ("a\ud800", False),
        (f"{ROOT}/_snapshot/result", True),
        (f"{ROOT}/_snapshot", False),
        (f"{ROOT}/_snapshot/x/result", False),
        ("elsewhere/press-9/cmd/Start", False),
        ("elsewhere/press-9/cmd/Start/result", True),
        ("spBv1.0/STATE/host", False),
        ("a" * 2000, False),
        ("a/" * 100 + "a", False),
    ],
)
def test_answer_goes_only_where_it_can_do_no_harm(topic: str, usable: bool) -> None:
    assert is_answer_topic(topic, ROOTS) is usable


def test_what_may_be_left_out_says_so() -> None:
    arguments = (
        Argument("Part", DataType.String),
        Argument("Who", DataType.String, default="shift@acme.example", person=True),
        Argument("Count", DataType.Int32, default=0),
    )
    one = Commandable("StartStep", "m.Commands.StartStep", arguments)
    assert one.expected == (
        "args with Part (String), Who (String: badge number, user name or e-mail address; may be left out), "
        "Count (Int32; 0 when left out)"
    )
    assert described(ROOT, {"StartStep": one})["StartStep"]["arguments"] == {
        "Part": {"type": "String"},
        "Who": {"type": "String", "person": True, "optional": True},
        "Count": {"type": "Int32", "optional": True, "default": 0},
    }
