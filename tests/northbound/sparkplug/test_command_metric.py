"""A machine's commands as metrics: names, births, and what became of commands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bridge.hub.slots import Slots
from bridge.model.command import Argument, CommandDefinition
from bridge.model.value import DataType, to_milliseconds
from bridge.northbound.sparkplug.command_metric import DOOR, Answer, CommandMetrics
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.fault import plant_faults
from bridge.northbound.sparkplug.plan import Plan
from bridge.northbound.sparkplug.topic import EdgeNode
from tests.northbound.fake_desk import CONFIRMED, REFUSED
from tests.northbound.sparkplug import schema
from tests.one_of_everything import DEFINITIONS, NOW, machine, plant

NOW_MS = to_milliseconds(NOW)
OPEN = SparkplugConfig.model_validate({"commands": {"enabled": True}})
NODE = EdgeNode("acme:essen", "bridge-1")


def decoded(metrics: Any) -> dict[str, Any]:
    return {metric.name: metric for metric in schema.decode(b"".join(metrics)).metrics}


def properties(metric: Any) -> dict[str, Any]:
    return {
        key: getattr(one, one.WhichOneof("value"))
        for key, one in zip(metric.properties.keys, metric.properties.values, strict=True)
    }


def test_every_command_has_a_trigger_its_arguments_and_its_answers() -> None:
    names = set(CommandMetrics(machine(Slots())).names)
    assert names == {
        "Commands/Standby/Execute",
        "Commands/SetPid/Front/Execute",
        "Commands/SetPid/Front/Args/Kp",
        "Commands/SetPid/Front/Args/Zone",
        *(
            f"Commands/{one}/{word}"
            for one in ("Standby", "SetPid/Front", "DCMD")
            for word in ("Result", "Sentence", "Count")
        ),
    }


def test_machine_that_takes_nothing_has_no_command_metrics() -> None:
    mute = replace(machine(Slots(), definitions=DEFINITIONS[:9]), commands=(), _by_name={})
    assert CommandMetrics(mute).names == ()
    assert list(CommandMetrics(mute).birth(NOW_MS)) == []


def test_birth_tells_what_may_be_written_and_that_nothing_was() -> None:
    born = decoded(CommandMetrics(machine(Slots())).birth(NOW_MS))
    execute, kp = born["Commands/Standby/Execute"], born["Commands/SetPid/Front/Args/Kp"]
    assert (execute.datatype, execute.boolean_value) == (11, False)
    assert properties(execute) == {"readOnly": False, "documentation": "Motors and heaters off"}
    assert (kp.datatype, kp.is_null) == (10, True)
    assert properties(kp) == {"readOnly": False, "engLow": 0.0, "engHigh": 100.0}
    assert properties(born["Commands/SetPid/Front/Args/Zone"])["documentation"] == "front, back"
    assert born["Commands/Standby/Result"].is_null
    assert born["Commands/Standby/Count"].long_value == 0
    assert properties(born["Commands/Standby/Result"]) == {"readOnly": True}
    assert all(metric.timestamp == NOW_MS for metric in born.values())


def test_answer_is_said_once_with_the_time_it_came() -> None:
    metrics = CommandMetrics(machine(Slots()))
    metrics.tell(Answer("Standby", REFUSED), NOW_MS)
    said = decoded(metrics.data())
    assert said["Commands/Standby/Result"].string_value == "refused"
    assert said["Commands/Standby/Sentence"].string_value == "The panel said no"
    assert said["Commands/Standby/Count"].long_value == 1
    assert said["Commands/Standby/Execute"].boolean_value is False
    assert {metric.timestamp for metric in said.values()} == {NOW_MS}
    assert metrics.data() == []


def test_answers_carry_their_types_where_all_data_does() -> None:
    for typed in (False, True):
        metrics = CommandMetrics(machine(Slots()), datatype_in_data=typed)
        metrics.tell(Answer("Standby", REFUSED), NOW_MS)
        assert {one.HasField("datatype") for one in decoded(metrics.data()).values()} == {typed}


def test_answers_are_said_in_order_of_time_and_counted() -> None:
    metrics = CommandMetrics(machine(Slots()))
    for subject, moment in (("SetPid/Front", 30), (DOOR, 10), ("Standby", 20), (DOOR, 40), ("Gone", 50)):
        metrics.tell(Answer(subject, CONFIRMED), NOW_MS + moment)
    said = schema.decode(b"".join(metrics.data())).metrics
    assert [one.timestamp - NOW_MS for one in said] == sorted(one.timestamp - NOW_MS for one in said)
    assert {one.name: one.long_value for one in said if one.name.endswith("Count")} == {
        "Commands/Standby/Count": 1,
        "Commands/SetPid/Front/Count": 1,
        "Commands/DCMD/Count": 2,
    }


def test_birth_repeats_the_last_answer_and_leaves_nothing_unsaid() -> None:
    metrics = CommandMetrics(machine(Slots()))
    metrics.tell(Answer("Standby", CONFIRMED), NOW_MS)
    born = decoded(metrics.birth(NOW_MS + 500))
    assert (born["Commands/Standby/Result"].string_value, born["Commands/Standby/Result"].timestamp) == (
        "confirmed",
        NOW_MS,
    )
    assert metrics.data() == []


def test_no_metric_is_a_folder_at_once() -> None:
    assert plant_faults(NODE, plant(Slots()), (), takes_commands=True) == []


def test_command_that_would_make_a_metric_a_folder_is_a_fault() -> None:
    odd = CommandDefinition("Standby/Execute", "values")
    whole = plant(Slots(), replace(machine(Slots()), commands=(*machine(Slots()).commands, odd), _by_name={}))
    (fault,) = plant_faults(NODE, whole, (), takes_commands=True)
    assert "'Commands/Standby/Execute' is a metric and a folder" in fault
    assert plant_faults(NODE, whole, ()) == []


def test_argument_that_appears_is_news_only_while_the_door_is_open() -> None:
    slots = Slots()
    before = plant(slots)
    one = before.machines["extruder-1"]
    standby = replace(one.commands[0], arguments=(Argument("Slowly", DataType.Boolean),))
    after = plant(slots, replace(one, commands=(standby, *one.commands[1:]), _by_name={}))
    for config, died in ((OPEN, ("extruder-1",)), (SparkplugConfig(), ())):
        plan = Plan(before.bridge, config)
        plan.follow(plan.difference(before))
        change = after.changes_since(before)
        assert change is not None
        assert plan.follow(change._replace(removed=())).die == died
