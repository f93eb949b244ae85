"""Every kind of compile fault: where it is reported, what it says, what was expected and what was probably meant."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bridge.mapping.compile import command_definition
from bridge.mapping.match import matches
from bridge.model.tag import Alarm
from bridge.model.value import DataType
from tests.mapping.rig import HEAD, compiled, faults, mapping_file

A = "Monitoring/A"
SET = "write: {send: {S: $value}}"


def tag(rule: str, name: str = A) -> str:
    return f"tags:\n  {name}: {{{rule}}}\n"


ARG = ("commands", "X", "args", "Y")


def arg(rule: str) -> str:
    return f"commands: {{X: {{send: $Y, args: {{Y: {{{rule}}}}}}}}}"


RECIPE = (
    "tags:\n"
    "  Monitoring/A: {{from: live.a, type: Double}}\n"
    "  Setpoints/Speed: {{from: state.s, type: Double, unit: r/min, range: [0, 44], description: Of the screw,\n"
    "                    write: {{send: {{S: $value}}, hazard: [motion]}}}}\n"
    "  Setpoints/Mode: {{from: state.m, enum: {{Standby: 0, Heat: 1}},\n"
    "                   write: {{send: {{M: $value}}, hazard: {{Standby: [], Heat: [heat]}}, safe: [Standby]}}}}\n"
    "commands: {{X: {{set: {{{}}}}}}}\n"
)
"""A mapping with a recipe; what it sets is left out."""
X_SET, X_ARGS = ("commands", "X", "set"), ("commands", "X", "args")

FAULTS = [
    # names
    (
        tag("from: live.a, type: Double", "Monitring/A"),
        ("tags", "Monitring/A"),
        "not a group",
        "Monitoring",
        "Monitoring",
    ),
    (tag("from: live.a, type: Double", "Alarms/A"), ("tags", "Alarms/A"), "active or not", "Boolean", ""),
    (
        tag("from: live.a, type: Boolean, write: {send: {a: $value}}", "Alarms/A"),
        ("tags", "Alarms/A"),
        "active or not",
        "no write",
        "",
    ),
    (tag("from: live.a, type: Double, alarm: {}"), ("tags", A, "alarm"), "neither on nor off", "limits", ""),
    (tag("from: live.a, type: Boolean, alarm: {when: [X]}"), ("tags", A, "alarm", "when"), "while it is true", "", ""),
    (tag("from: live.a, enum: {Ok: 0}, alarm: {}"), ("tags", A, "alarm"), "does not say which", "when", ""),
    (
        tag("from: live.a, enum: {Fault: 0}, alarm: {when: [Fualt]}"),
        ("tags", A, "alarm", "when"),
        "'Fualt'",
        "",
        "Fault",
    ),
    (tag("from: live.a, type: Boolean", "Alarms/ActiveCount"), ("tags", "Alarms/ActiveCount"), "by the bridge", "", ""),
    (tag("from: live.a, type: Double", "Monitoring"), ("tags", "Monitoring"), "is no tag name", "<Group>/<Tag>", ""),
    (tag("from: live.a, type: Double", "Monitoring/Größe"), ("tags", "Monitoring/Größe"), "no tag name", "letters", ""),
    (tag("from: live.a, type: UInt32", "Status/ItemState"), ("tags", "Status/ItemState"), "made by the bridge", "", ""),
    (
        "tags: {Monitoring/A: {from: live.a, type: Double}, Monitoring/a: {from: live.a, type: Double}}",
        ("tags", "Monitoring/a"),
        "differ only in case",
        "",
        "",
    ),
    (
        "tags: {Monitoring/A: {from: live.a, type: Double}, Monitoring/A/B: {from: live.a, type: Double}}",
        ("tags", A),
        "also the folder of Monitoring/A/B",
        "a name of its own",
        "",
    ),
    (
        "tags: {Setpoints/M: {from: state.m, enum: {X: 0}}, Setpoints/MText: {from: state.m, type: String}}",
        ("tags", "Setpoints/MText"),
        "also made by enum or limits",
        "another name",
        "",
    ),
    (
        (
            "for_each: {n: [a, b]}\n"
            "tags: {Monitoring/<n>: {from: live.x, type: Double}, Monitoring/a: {from: live.x, type: Double}}"
        ),
        ("tags", "Monitoring/a"),
        "declared twice",
        "",
        "",
    ),
    # for_each
    (
        "for_each: {zone: [a]}\n" + tag("from: live.a, type: Double", "Monitoring/<zoen>"),
        ("tags", "Monitoring/<zoen>"),
        "<zoen> is not in for_each",
        "",
        "zone",
    ),
    (
        "for_each: {zone: [a]}\n" + tag("from: live.<zone.key>, type: Double", "Monitoring/<zone>"),
        ("tags", "Monitoring/<zone>"),
        "<zone.key> stands for nothing",
        "variable",
        "",
    ),
    ("for_each: {zone: [a]}\ncommands: {X/<zoen>: {send: x}}", ("commands", "X/<zoen>"), "not in for_each", "", "zone"),
    (
        "for_each: {zone: [a]}\ncommands: {X/<zone>: {send: <zone.key>}}",
        ("commands", "X/<zone>"),
        "stands for nothing",
        "variable",
        "",
    ),
    # from and type
    (tag("type: Double"), ("tags", A), "nothing about where the value comes from", "from:", ""),
    (tag("from: live..a, type: Double"), ("tags", A, "from"), "not a path", "state.mode_state.mode", ""),
    (tag("from: lvie.a, type: Double"), ("tags", A, "from"), "'lvie' is no channel", "live, state", "live"),
    (tag("from: [live.a, state.a], type: Double"), ("tags", A, "from"), "different channels", "one channel", ""),
    (tag("from: {x: live.a}, type: Double"), ("tags", A, "from"), "of no use without expr", "expr", ""),
    (tag("from: live.a"), ("tags", A), "has no type", "type: Double", ""),
    (tag("from: live.a, type: String, enum: {X: 0}"), ("tags", A, "type"), "an enum is UInt32", "UInt32", ""),
    (tag('from: live.a, type: String, unit: "1"'), ("tags", A, "unit"), "String has no unit", "numeric", ""),
    (tag("from: live.a, type: Boolean, range: [0, 1]"), ("tags", A, "range"), "Boolean has no range", "numeric", ""),
    (tag("from: live.a, type: String, scale: 2"), ("tags", A, "scale"), "String has no scale", "numeric", ""),
    (tag("from: live.a, enum: {X: 0}, limits: {high: 1}"), ("tags", A, "limits"), "has no limits", "numeric", ""),
    (tag("from: live.a, type: String, offset: 1"), ("tags", A, "offset"), "String has no offset", "numeric", ""),
    (tag("from: live.a, enum: {X: 0}, deadband: 1"), ("tags", A, "deadband"), "an enum has no deadband", "numeric", ""),
    (tag("from: live.a, type: Double, deadband: -1"), ("tags", A, "deadband"), "is negative", "0 or more", ""),
    # statuses that contradict their key
    (tag("from: live.a, type: Double, absent: Good"), ("tags", A, "absent"), "Good is not Bad", "begins with Bad", ""),
    (
        tag("from: live.a, type: Double, bad_when: {path: live.b, eq: 1, status: UncertainSubNormal}"),
        ("tags", A, "bad_when"),
        "UncertainSubNormal is not Bad",
        "begins with Bad",
        "",
    ),
    (
        tag("from: live.a, type: Double, uncertain_when: [{path: live.b, eq: 1, status: Good}]"),
        ("tags", A, "uncertain_when"),
        "Good is not Uncertain",
        "begins with Uncertain",
        "",
    ),
    (tag("from: live.a, type: Int32, precision: 2"), ("tags", A, "precision"), "no digits", "Double", ""),
    # numbers
    (tag("from: live.a, type: Double, range: [5, 5]"), ("tags", A, "range"), "low end", "[low, high]", ""),
    (tag("from: live.a, type: Double, deadband: 1%"), ("tags", A, "deadband"), "percentage needs a range", "range", ""),
    (
        tag("from: live.a, type: Double, range: [0, 1], deadband: 101%"),
        ("tags", A, "deadband"),
        "'101%' is no deadband",
        "1%",
        "",
    ),
    (tag("from: live.a, enum: {X: 0, Y: 0}"), ("tags", A, "enum"), "one number", "its own", ""),
    (tag("from: live.a, enum: {X: -1}"), ("tags", A, "enum"), "negative", "from 0", ""),
    (
        tag("from: live.a, type: Double, limits: {low: 5, high: 1}"),
        ("tags", A, "limits"),
        "not in order",
        "low_low",
        "",
    ),
    (tag("from: live.a, type: Double, limits: {}"), ("tags", A, "limits"), "not in order", "low_low", ""),
    (tag("from: state.a, type: Double, min_interval: 5s"), ("tags", A, "min_interval"), "last change", "periodic", ""),
    # expressions and conditions
    (tag("from: live.a, type: Double, expr: v +"), ("tags", A, "expr"), "", "CEL", ""),
    (tag("from: live.a, type: Double, expr: w * 2.0"), ("tags", A, "expr"), "w is not given by from", "CEL", ""),
    (tag("from: live.a, type: Double, time: live..t"), ("tags", A, "time"), "not a path", "", ""),
    (tag("from: live.a, type: Double, quality: {from: q, map: {}}"), ("tags", A, "quality"), "no channel", "live", ""),
    (
        tag("from: live.a, type: Double, bad_when: {path: stat.b, eq: 1}"),
        ("tags", A, "bad_when", "path"),
        "'stat' is no channel",
        "live, state",
        "state",
    ),
    (
        tag("from: live.a, type: Double, uncertain_when: {all: [{path: state.b, eq: 1, for: 5s}]}"),
        ("tags", A, "uncertain_when", "all"),
        "for is said inside all",
        "for beside all",
        "",
    ),
    (
        tag("from: live.a, type: Double, uncertain_when: {expr: a > b, from: {a: live.a}}"),
        ("tags", A, "uncertain_when", "expr"),
        "b is not given by from",
        "CEL",
        "",
    ),
    (
        tag("from: live.a, type: Double, uncertain_when: {expr: a > 1.0, from: {a: lvie.a}}"),
        ("tags", A, "uncertain_when", "from"),
        "'lvie' is no channel",
        "live",
        "live",
    ),
    # writes
    (tag("from: state.a, type: Double, write: {send: {S: 5}}"), ("tags", A, "write", "send"), "not sent", "$value", ""),
    (
        tag("from: state.a, type: Double, write: {send: {S: $value, T: $other}}"),
        ("tags", A, "write", "send"),
        "$other stands for nothing",
        "$value",
        "",
    ),
    (
        tag(f"from: state.a, type: Double, scale: 2, {SET}"),
        ("tags", A, "scale"),
        "written as it is sent",
        "own unit",
        "",
    ),
    (tag(f"from: state.a, type: Double, expr: v, {SET}"), ("tags", A, "expr"), "written as it is sent", "own unit", ""),
    (
        tag('from: state.a, enum: {X: 0}, map: {"1": X}, write: {send: $value}'),
        ("tags", A, "map"),
        "written as it is sent",
        "own unit",
        "",
    ),
    (
        tag("from: state.a, enum: {Standby: 0}, write: {send: $value, hazard: {Standbi: [heat]}}"),
        ("tags", A, "write", "hazard"),
        "'Standbi' is no text of the enum",
        "Standby",
        "Standby",
    ),
    (
        tag("from: state.a, enum: {X: 0, Y: 1}, write: {send: $value, hazard: {X: []}}"),
        ("tags", A, "write", "hazard"),
        "Y is not mentioned",
        "each text",
        "",
    ),
    (
        tag("from: state.a, enum: {Standby: 0}, write: {send: $value, safe: [Stand]}"),
        ("tags", A, "write", "safe"),
        "'Stand' is no text",
        "Standby",
        "Standby",
    ),
    (
        tag("from: state.a, type: Double, write: {send: $value, confirm_path: stat.a}"),
        ("tags", A, "write", "confirm_path"),
        "no channel",
        "state",
        "state",
    ),
    (
        tag("from: state.a, type: Double, write: {send: $value, requires: {Monitoring/B: true}}"),
        ("tags", A, "write", "requires"),
        "no tag Monitoring/B",
        "tag",
        A,
    ),
    (
        tag("from: state.a, enum: {Heat: 1}, write: {send: $value, confirm: {Monitoring/A: Heet}}"),
        ("tags", A, "write", "confirm"),
        "'Heet' is no text of Monitoring/A",
        "Heat",
        "Heat",
    ),
    (
        tag("from: state.a, type: Double, write: {send: $value, confirm: {Monitoring/A: $valve}}"),
        ("tags", A, "write", "confirm"),
        "$valve stands for nothing",
        "$value",
        "",
    ),
    # earlier names
    (tag("from: live.a, type: Double, was: Monitoring/A"), ("tags", A, "was"), "is the name of a tag", "earlier", ""),
    (
        (
            "tags: {Monitoring/A: {from: live.a, type: Double, was: Monitoring/O}, "
            "Monitoring/B: {from: live.b, type: Double, was: [Monitoring/O]}}"
        ),
        ("tags", "Monitoring/B", "was"),
        "Monitoring/O was also Monitoring/A",
        "earlier",
        "",
    ),
    # commands
    ("commands: {Go Home: {send: x}}", ("commands", "Go Home"), "no command name", "letters", ""),
    (
        "commands: {X: {send: $Sped, args: {Speed: [0, 1]}}}",
        ("commands", "X", "send"),
        "$Sped is no arg",
        "Speed",
        "Speed",
    ),
    ("commands: {X: {send: x, args: {Kp: [0, 1]}}}", ("commands", "X", "args", "Kp"), "is never sent", "$Kp", ""),
    ("commands: {X: {send: x, confirm: {Status/H: true}}}", ("commands", "X", "confirm"), "no tag Status/H", "", ""),
    (
        "commands: {X: {send: x, confirm: {any: [{Status/H: true}]}}}",
        ("commands", "X", "confirm"),
        "no tag Status/H",
        "",
        "",
    ),
    ("commands: {X: {send: x, requires: {Status/H: true}}}", ("commands", "X", "requires"), "no tag Status/H", "", ""),
    (arg("type: Double, person: true"), (*ARG, "person"), "a person is a text", "type: String", ""),
    (arg("person: true, enum: [anna]"), (*ARG, "person"), "a person is a text", "without enum", ""),
    (arg("type: Int32, default: 1.5"), (*ARG, "default"), "1.5 is none of the type Int32", "Int32", ""),
    (arg("type: Boolean, default: 1"), (*ARG, "default"), "1 is none of the type Boolean", "", ""),
    (arg("type: String, default: 5"), (*ARG, "default"), "5 is none of the type String", "", ""),
    (arg("type: Double, range: [0, 9], default: 10"), (*ARG, "default"), "out of range", "0 to 9", ""),
    (arg("enum: [front, back], default: frnt"), (*ARG, "default"), "not accepted", "front, back", "front"),
    (arg("type: DateTime, default: '2026-01-01T00:00:00Z'"), (*ARG, "default"), "none of", "now, or no default", ""),
    (
        (
            "tags: {Status/H: {from: state.h, type: String}}\n"
            "commands: {X: {send: $Who, args: {Who: {type: String, person: true}}, confirm: {Status/H: $Who}}}"
        ),
        ("commands", "X", "confirm"),
        "$Who stands for nothing",
        "",
        "",
    ),
    # recipes
    (
        RECIPE.format("Setpoints/Sped: 1"),
        (*X_SET, "Setpoints/Sped"),
        "no tag Setpoints/Sped",
        "write:",
        "Setpoints/Speed",
    ),
    (RECIPE.format("Monitoring/A: 1"), (*X_SET, A), "is not writable", "a tag with write:", ""),
    (RECIPE.format("Setpoints/Speed: 45"), (*X_SET, "Setpoints/Speed"), "45 is out of range", "0 to 44", ""),
    (RECIPE.format("Setpoints/Speed: fast"), (*X_SET, "Setpoints/Speed"), "expected a number", "Double", ""),
    (RECIPE.format("Setpoints/Mode: Heet"), (*X_SET, "Setpoints/Mode"), "'Heet' is no text", "Heat", "Heat"),
    (
        RECIPE.format("Setpoints/Speed: $V, Setpoints/Mode: $V"),
        (*X_SET, "Setpoints/Mode"),
        "$V also sets Setpoints/Speed",
        "of its own",
        "",
    ),
    (RECIPE.format("Setpoints/Speed: $V}, args: {W: [0, 1]"), (*X_ARGS, "W"), "is never sent", "$W in set", ""),
    (RECIPE.format("Setpoints/Speed: $V}, args: {V: [0, 45]"), (*X_ARGS, "V"), "is wider", "within [0, 44]", ""),
    (
        RECIPE.format("Setpoints/Speed: $V}, args: {V: {type: Int32}"),
        (*X_ARGS, "V", "type"),
        "is Int32",
        "Double, as Setpoints/Speed takes it",
        "",
    ),
    (RECIPE.format("Setpoints/Speed: $V}, args: {V: {unit: Hz}"), (*X_ARGS, "V", "unit"), "is Hz", "r/min", ""),
    (RECIPE.format("Setpoints/Speed: $V}, args: {V: {default: 45}"), (*X_ARGS, "V", "default"), "range", "0 to 44", ""),
    (
        RECIPE.format("Setpoints/Mode: $M}, args: {M: {enum: [Heet]}"),
        (*X_ARGS, "M", "enum"),
        "'Heet' is not accepted",
        "some of Standby, Heat",
        "Heat",
    ),
    (RECIPE.format("Setpoints/Mode: $M}, args: {M: [0, 1]"), (*X_ARGS, "M"), "has no range", "", ""),
    (
        (
            "for_each: {zone: [Front]}\n"
            "tags: {Setpoints/T/Front: {from: state.t, type: Double, write: {send: {S: $value}}}}\n"
            "commands: {X/<zone>: {set: {Setpoints/T/<zone>: 1, Setpoints/T/Front: 2}}}"
        ),
        ("commands", "X/<zone>", "set"),
        "names a set point twice",
        "once",
        "",
    ),
    # the file
    ("item_state: {from: Setpoints/M, map: {}}", ("item_state", "from"), "no tag Setpoints/M", "tag", ""),
    (
        (
            "tags: {Setpoints/M: {from: state.m, enum: {Heat: 0}}}\n"
            "item_state: {from: Setpoints/M, map: {Heet: Executing}}"
        ),
        ("item_state", "map"),
        "'Heet' is no text of Setpoints/M",
        "Heat",
        "Heat",
    ),
    (
        "identification: {Manufactorer: QiTech}",
        ("identification", "Manufactorer"),
        "no field of MachineIdentificationType",
        "Manufacturer",
        "Manufacturer",
    ),
]


@pytest.mark.parametrize(("text", "path", "problem", "expected", "meant"), FAULTS)
def test_fault_is_told_at_its_place(text: str, path: tuple[str, ...], problem: str, expected: str, meant: str) -> None:
    found = [fault for fault in faults(text) if fault.path == path and problem in fault.problem]
    assert len(found) == 1, faults(text)
    assert expected in found[0].expected
    assert found[0].hint == (f'did you mean "{meant}"?' if meant else "")


def test_every_fault_is_told_at_once() -> None:
    found = faults(
        "tags:\n"
        "  Monitoring/A: {from: lvie.a, type: Double}\n"
        "  Monitoring/B: {from: live.b}\n"
        "  Monitoring/C: {from: live.c, type: Double, range: [2, 1]}\n"
        "commands: {X: {send: $Y}}\n"
        "item_state: {from: Status/X, map: {}}\n"
    )
    assert [fault.path[:2] for fault in found] == [
        ("tags", "Monitoring/A"),
        ("tags", "Monitoring/B"),
        ("tags", "Monitoring/C"),
        ("commands", "X"),
        ("item_state", "from"),
    ]


def test_unknown_channel_of_alive_by() -> None:
    head = HEAD.replace("alive_by: live", "alive_by: life")
    assert [(fault.path, fault.hint) for fault in faults("", head=head)] == [
        (("channels", "state", "alive_by"), 'did you mean "live"?')
    ]


def test_mapping_without_channels_takes_any() -> None:
    head = "version: 1\nmapping: test/machine\n"
    assert not faults(tag("from: anything.a, type: Double"), head=head)


@pytest.mark.parametrize(
    "text",
    [
        "tags: {Monitoring/A: {from: live.a, type: Dobule}}",
        "tags: {Monitoring/A: {from: live.a, type: Double, unit: celsius}}",
        "tags: {Monitoring/A: {from: live.a, type: Double, absent: BadLuck}}",
        "tags: {Monitoring/A: {from: live.a, type: Double, max_age: soon}}",
        "tags: {Monitoring/A: {from: live.a, type: Double, colour: red}}",
        "tags: {Monitoring/A: {from: live.a, type: Double, write: {send: x, hazard: [fire]}}}",
        "examples: [{given: {channel: live, payload: {}}}]",
        "examples: [{write: {A: 1}, call: {B: {}}, expect_send: x}]",
        "for_each: {n: {count: 0}}",
        "commands: {X: {}}",
        "commands: {X: {send: x, set: {Setpoints/A: 1}}}",
        "commands: {X: {set: {}}}",
        "commands: {X: {set: {Setpoints/A: 1}, confirm: {Setpoints/A: 1}}}",
        "commands: {X: {set: {Setpoints/A: 1}, hazard: [heat]}}",
        "commands: {X: {set: {Setpoints/A: 1}, absolute: false}}",
        "commands: {X: {set: {Setpoints/A: 1}, safe: true}}",
        f"commands: {{X: {{set: {{{', '.join(f'Setpoints/A{n}: 1' for n in range(31))}}}}}}}",
    ],
)
def test_what_a_key_cannot_be_is_refused_by_the_schema(text: str) -> None:
    with pytest.raises(ValidationError):
        mapping_file(text)


# -- overrides of one machine -----------------------------------------------------------------------------------------

SPEED = (
    "tags: {Setpoints/Speed: {from: state.s, type: Double, unit: r/min, range: [0, 44], write: {send: {S: $value}}}}"
)


def test_override_changes_one_key_and_keeps_the_others() -> None:
    definition = compiled(SPEED, {"Setpoints/Speed": {"range": [0, 35]}}).tags[0].definition
    assert definition.eu_range == (0, 35)
    assert definition.unit is not None and definition.unit.code == "r/min"
    assert definition.writable


def test_override_of_an_expanded_tag_touches_only_that_one() -> None:
    text = "for_each: {zone: [Front, Back]}\ntags: {Monitoring/T/<zone>: {from: live.<zone>, type: Double}}"
    ranges = {
        spec.definition.name: spec.definition.eu_range
        for spec in compiled(text, {"Monitoring/T/Back": {"range": [0, 9]}}).tags
    }
    assert ranges == {"Monitoring/T/Front": None, "Monitoring/T/Back": (0, 9)}


def test_override_of_an_unknown_tag_is_told() -> None:
    (found,) = faults(SPEED, {"Setpoints/Sped": {"range": [0, 35]}})
    assert found.path == ("overrides", "Setpoints/Sped")
    assert found.hint == 'did you mean "Setpoints/Speed"?'


def test_override_that_is_no_rule_is_told() -> None:
    (found,) = faults(SPEED, {"Setpoints/Speed": {"rang": [0, 35]}})
    assert found.path == ("overrides", "Setpoints/Speed", "rang")


def test_a_recipes_constant_outside_a_machines_own_range_is_told_at_that_range() -> None:
    (found,) = faults(RECIPE.format("Setpoints/Speed: 40"), {"Setpoints/Speed": {"range": [0, 35]}})
    assert found.path == ("overrides", "Setpoints/Speed", "range")
    assert found.problem == "the command X sets it to 40"


def test_a_machines_own_range_that_leaves_nothing_of_a_recipes_argument_is_told() -> None:
    text = RECIPE.format("Setpoints/Speed: $V}, args: {V: [20, 30]")
    (found,) = faults(text, {"Setpoints/Speed": {"range": [0, 10]}})
    assert found.path == ("overrides", "Setpoints/Speed", "range")
    assert "leaves no value for $V of the command X" in found.problem


@pytest.mark.parametrize(
    ("recipe", "bounds"),
    [
        ("Setpoints/Speed: $V", (0, 25)),
        ("Setpoints/Speed: $V}, args: {V: [20, 30]", (20, 25)),
        ("Setpoints/Speed: $V}, args: {V: {range: [1, 5]}", (1, 5)),
    ],
)
def test_a_machines_own_range_narrows_its_recipes(recipe: str, bounds: tuple[float, float]) -> None:
    (command,) = compiled(RECIPE.format(recipe), {"Setpoints/Speed": {"range": [0, 25]}}).commands
    assert command.arguments[0].eu_range == bounds


def test_a_machines_own_range_narrows_a_range_of_writes() -> None:
    text = tag("from: state.a, type: Double, range: [0, 100], write: {send: $value, range: [5, 50]}")
    assert compiled(text, {A: {"range": [0, 20]}}).tags[0].definition.eu_range == (5, 20)


# -- what a faultless mapping is --------------------------------------------------------------------------------------


def test_enum_and_limits_make_their_tags() -> None:
    mapping = compiled(
        "tags:\n"
        "  Setpoints/M: {from: state.m, enum: {X: 0}, label: {en: Mode, de: Modus}}\n"
        "  Monitoring/T/Front: {from: live.t, type: Double, unit: Cel, limits: {low_low: -5, high: 250}}\n"
    )
    mode, temperature = mapping.tags
    assert mode.text is not None
    assert (mode.text.name, mode.text.label["de"]) == ("Setpoints/MText", "Modus (text)")
    assert [(alarm.name, alarm.description) for alarm, _ in temperature.alarms] == [
        ("Alarms/T/Front/LowLow", "Front is at or below -5 °C"),
        ("Alarms/T/Front/High", "Front is at or above 250 °C"),
    ]


def test_limits_and_told_alarms_say_what_they_judge_and_how_severe_it_is() -> None:
    mapping = compiled(
        "tags:\n"
        "  Monitoring/T: {from: live.t, type: Double, limits: {low_low: 1, high: 9, severity: 300, delay: 5s}}\n"
        "  Status/Mode: {from: live.m, enum: {Ok: 0, Fault: 1}, alarm: {when: [Fault], severity: 900}}\n"
        "  Status/Dry: {from: live.d, type: Boolean, alarm: {}}\n"
        "  Alarms/Own: {from: live.o, type: Boolean, alarm: {delay: 2s}}\n"
        "  Alarms/Plain: {from: live.p, type: Boolean}\n"
    )
    made = {one.name: one.alarm for spec in mapping.tags for one, _ in spec.alarms}
    assert made == {
        "Alarms/T/LowLow": Alarm(500, "Monitoring/T", "low_low", 5.0),
        "Alarms/T/High": Alarm(300, "Monitoring/T", "high", 5.0),
        "Alarms/Mode": Alarm(900, "Status/Mode"),
        "Alarms/Dry": Alarm(500, "Status/Dry"),
    }
    own = {spec.definition.name: spec.definition.alarm for spec in mapping.tags}
    assert (own["Alarms/Own"], own["Alarms/Plain"], own["Status/Dry"]) == (Alarm(delay=2.0), Alarm(), None)


def test_range_of_a_write_is_what_faces_see() -> None:
    text = tag("from: state.a, type: Double, range: [0, 100], write: {send: $value, range: [5, 50]}")
    assert compiled(text).tags[0].definition.eu_range == (5, 50)


def test_hazards_of_all_texts_are_the_tags() -> None:
    text = tag("from: state.a, enum: {X: 0, Y: 1}, write: {send: $value, hazard: {X: [heat], Y: [motion, power]}}")
    assert compiled(text).tags[0].definition.hazards == {"heat", "motion", "power"}


def test_mapping_without_match_matches_nothing() -> None:
    head = "version: 1\nmapping: test/machine\nchannels: {live: {}}\n"
    assert not matches(compiled("", head=head).match, {"vendor": 1})


@pytest.mark.parametrize(
    ("match", "identity", "does"),
    [
        ("{vendor: 1, machine: 4}", {"vendor": 1, "machine": 4, "serial": 7}, True),
        ("{vendor: 1, machine: 4}", {"vendor": 1}, False),
        ("{vendor: 1, machine: [2, 98]}", {"vendor": 1, "machine": 98}, True),
        ('{vendor: 1, profile: "2.x"}', {"vendor": 1, "profile": "3.x"}, False),
    ],
)
def test_mapping_matches_by_identity(match: str, identity: dict[str, str | int], does: bool) -> None:
    head = f"version: 1\nmapping: test/machine\nmatch: {match}\nchannels: {{live: {{}}}}\n"
    assert matches(compiled("", head=head).match, identity) is does


def test_earlier_names_are_kept() -> None:
    text = tag("from: live.a, type: Double, was: [Monitoring/Old, Monitoring/Older]")
    assert compiled(text).was == {"Monitoring/Old": A, "Monitoring/Older": A}


def test_a_recipes_arguments_are_what_its_set_points_take() -> None:
    (command,) = compiled(RECIPE.format("Setpoints/Speed: $Speed, Setpoints/Mode: $Mode")).commands
    speed, mode = command.arguments
    assert (speed.name, speed.data_type, speed.eu_range) == ("Speed", DataType.Double, (0, 44))
    assert speed.unit is not None and speed.unit.code == "r/min"
    assert speed.description == "Of the screw"
    assert (mode.data_type, mode.enumeration, mode.numbers) == (
        DataType.String,
        ("Standby", "Heat"),
        {"Standby": 0, "Heat": 1},
    )


@pytest.mark.parametrize(
    ("recipe", "hazards"),
    [
        ("Setpoints/Speed: $V, Setpoints/Mode: Standby", {"motion"}),
        ("Setpoints/Speed: $V, Setpoints/Mode: Heat", {"motion", "heat"}),
        ("Setpoints/Mode: $M", {"heat"}),
        ("Setpoints/Mode: $M}, args: {M: {enum: [Standby]}", set()),
    ],
)
def test_a_recipe_has_the_hazards_of_what_it_sets(recipe: str, hazards: set[str]) -> None:
    (command,) = compiled(RECIPE.format(recipe)).commands
    assert command_definition(command, "values").hazards == hazards


def test_what_a_recipe_declares_wins() -> None:
    text = RECIPE.format("Setpoints/Speed: $V}, args: {V: {range: [1, 5], description: Slow, default: 2}")
    (argument,) = compiled(text).commands[0].arguments
    assert (argument.eu_range, argument.description, argument.default) == ((1, 5), "Slow", 2.0)
    assert argument.unit is not None and argument.unit.code == "r/min"


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("send: 1, when_offline: queue, safe: true", "safe says that it moves"),
        ("set: {Setpoints/X: 1}, when_offline: queue", "set says that it moves"),
        ("send: 1, when_offline: queue, hazard: [heat]", "hazard says that it moves"),
        ("send: 1, when_offline: queue, requires: {Setpoints/X: 1}", "requires says that it moves"),
        ("send: 1, max_delay: 1h", "of no use without when_offline: queue"),
        ("send: 1, when_offline: queue, max_delay: 8d", "less than or equal to"),
        ("send: 1, when_offline: keep", "'refuse' or 'queue'"),
    ],
)
def test_only_a_record_is_queued(rule: str, word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        mapping_file(f"commands: {{X: {{{rule}}}}}")


def test_pending_bookings_is_the_bridges_own_tag() -> None:
    [fault] = faults("tags: {Job/PendingBookings: {from: live.a, type: UInt32}}")
    assert "made by the bridge" in fault.problem
