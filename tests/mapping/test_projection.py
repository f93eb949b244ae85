import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.model.observation import Observation
from bridge.model.status import StatusCode as S
from bridge.model.value import DataValue
from tests.mapping.rig import START, Rig


def rig(*tags: str, more: str = "") -> Rig:
    return Rig("tags:\n" + "".join(f"  {tag}\n" for tag in tags) + more)


# -- what is passed on ------------------------------------------------------------------------------------------------


def test_value_has_the_vendors_time_and_ours() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double}")
    vendor_time = datetime(2026, 3, 4, 5, 6, 0, 250_000, tzinfo=UTC)
    said = machine.see("live", {"a": 1.5}, source_time=vendor_time)["Monitoring/A"]
    assert (said.value, said.status, said.reason, said.since) == (1.5, S.Good, "", None)
    assert said.source_timestamp == vendor_time
    assert said.server_timestamp == machine.now


def test_time_of_receipt_stands_in_for_a_vendor_without_one() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double}")
    assert machine.see("live", {"a": 1.5})["Monitoring/A"].source_timestamp == machine.now


def test_same_value_is_not_said_again() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double}", "Monitoring/B: {from: live.b, type: String}")
    assert len(machine.see("live", {"a": 1, "b": "x"})) == 2
    assert machine.see("live", {"a": 1.0, "b": "x"}) == {}


def test_channel_changes_only_its_own_tags() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double}", "Setpoints/B: {from: state.b, type: Double}")
    assert set(machine.see("live", {"a": 1, "b": 2})) == {"Monitoring/A"}
    assert set(machine.see("state", {"a": 1, "b": 2})) == {"Setpoints/B"}


def test_channel_nobody_asked_for_is_passed_over_and_not_kept() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double}")
    for number in range(100):
        assert machine.see(f"invented{number}", {"a": 1}) == {}
    assert not machine.projection._payloads


def test_historical_observation_changes_nothing() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double}")
    machine.see("live", {"a": 1})
    assert machine.see("live", {"a": 2}, historical=True) == {}
    assert machine.see("live", {"a": 1}) == {}


def late(machine: Rig, channel: str, payload: Any, at: datetime | None = None) -> dict[str, DataValue]:
    """What a historical observation says, by tag name."""
    item = Observation("vendor", "machine", channel, payload, machine.now, source_time=at, historical=True)
    return {machine.names[slot]: value for slot, value in machine.projection.late(item)}


def test_late_value_is_said_with_its_own_time_and_moves_nothing() -> None:
    machine = rig(
        "Monitoring/A: {from: live.a, type: Double, scale: 2, deadband: 5, max_age: 10s}",
        "Monitoring/B: {from: live.b, type: Double}",
    )
    machine.see("live", {"a": 1, "b": 1})
    at = machine.now - timedelta(hours=3)
    for _ in range(2):  # each is a value of its own, not a change of the one before
        assert late(machine, "live", {"a": 1.5}, at) == {"Monitoring/A": DataValue(3.0, S.Good, at, machine.now)}
    assert machine.see("live", {"a": 1, "b": 1}) == {}
    assert late(machine, "other", {"a": 1}, at) == {}


def test_late_value_is_judged_as_any_other_and_null_is_told() -> None:
    machine = rig(
        "Monitoring/A: {from: live.a, type: Double, range: [0, 10], bad_when: {path: live.broken, eq: true, for: 5s}}",
        "Status/Mode: {from: live.mode, enum: {Off: 0, On: 1}}",
    )
    machine.see("live", {"a": 1, "broken": True, "mode": "On"})
    said = late(machine, "live", {"a": 11, "broken": True, "mode": "Off"})
    assert said["Monitoring/A"].status is S.UncertainEngineeringUnitsExceeded
    assert (said["Status/Mode"].value, said["Status/ModeText"].value) == (0, "Off")
    assert late(machine, "live", {"a": None})["Monitoring/A"].status is S.BadNoData


# -- deadband ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("special", ["", ", precision: 6"])
def test_deadband_measures_from_the_last_value_said(special: str) -> None:
    machine = rig(f"Monitoring/A: {{from: live.a, type: Double, deadband: 0.5{special}}}")
    said = [machine.see("live", {"a": a}).get("Monitoring/A") for a in (10.0, 10.4, 10.49, 10.5, 10.1, 9.9)]
    assert [one.value if one else None for one in said] == [10.0, None, None, 10.5, None, 9.9]


def test_percent_deadband_is_of_the_range() -> None:
    machine = rig('Monitoring/A: {from: live.a, type: Double, range: [0, 200], deadband: "1%"}')
    machine.see("live", {"a": 100.0})
    assert machine.see("live", {"a": 101.9}) == {}
    assert machine.see("live", {"a": 102.0})


def test_change_of_status_is_said_within_the_deadband() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double, range: [0, 10], deadband: 5}")
    machine.see("live", {"a": 9.0})
    assert machine.see("live", {"a": 11.0})["Monitoring/A"].status is S.UncertainEngineeringUnitsExceeded
    assert machine.see("live", {"a": 9.5})["Monitoring/A"].status is S.Good


def test_without_a_deadband_every_change_is_said() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double}")
    machine.see("live", {"a": 1.0})
    assert machine.see("live", {"a": math.nextafter(1.0, 2.0)})


# -- from raw to value ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "raw", "value"),
    [
        ("type: Double, scale: 0.1", 125, 12.5),
        ("type: Double, offset: -273.15", 300.0, 26.85),
        ("type: Double, scale: 2, offset: 1", 10.0, 21.0),
        ("type: Int32, scale: 10", 5, 50),
        ("type: Double, precision: 2", 1.23456, 1.23),
        ("type: Double, precision: 6", 12.300000000000002, 12.3),
        ("type: Double, expr: v * 2.0 + 1.0", 4, 9.0),
        ("type: String, expr: \"v > 5.0 ? 'high' : 'low'\"", 6, "high"),
        ("type: Boolean, expr: v > 0.0", 0.5, True),
        ('type: Boolean, map: {"1": true, "0": false}', 1, True),
        ('type: Boolean, map: {"true": false, "false": true}', True, False),
        ("type: String, map: {on: running}", "on", "running"),
        ("type: Int64", 2**62, 2**62),
        ("enum: {Standby: 0, Heat: 3}", "Heat", 3),
        ("enum: {Standby: 0, Heat: 3}", 3, 3),
        ("enum: {Standby: 0, Heat: 3}, map: {h: Heat}", "h", 3),
        ("enum: {Off: 0, Low: 1}, null_is: Off", None, 0),
        ("type: Double, null_is: 0", None, 0.0),
    ],
)
def test_raw_becomes_a_value(rule: str, raw: object, value: object) -> None:
    machine = rig(f"Monitoring/A: {{from: live.a, {rule}}}")
    machine.see("live", {"a": raw})
    said = machine.value("Monitoring/A")
    assert said == pytest.approx(value) if isinstance(value, float) else said == value
    assert type(said) is type(value)


@pytest.mark.parametrize(
    ("rule", "raw", "reason"),
    [
        ("type: Double", math.nan, "NaN"),
        ("type: Double", math.inf, "NaN or infinite"),
        ("type: Double", 10**400, "300 digits"),
        ("type: Double, scale: 1e308", 1e10, "NaN or infinite"),
        ("type: Double", "12", "expected a number, got the text '12'"),
        ("type: Double", True, "expected a number, got true"),
        ("type: Int32", 1.5, "whole number"),
        ("type: Int32, scale: 1000", 2**30, "does not fit"),
        ("type: String", "\ud83d", "lone surrogate"),
        ("type: Boolean", 1, "expected true or false"),
        ("enum: {A: 0}", "B", "expected one of A, got the text 'B'"),
        ("enum: {A: 0}", 7, "got the number 7"),
        ("enum: {A: 0}", False, "got false"),
        ("type: Boolean, map: {on: true}", "off", "'off' is not in map"),
        ("type: Double, expr: v * 2.0", "text", "expr gave no value"),
        ("type: Double, expr: v > 1.0", 2.0, "expected a number, got true"),
        ("type: DateTime", "2026-01-01T00:00:00", "no time zone"),
    ],
)
def test_raw_that_is_no_value_is_bad_with_a_reason(rule: str, raw: object, reason: str) -> None:
    machine = rig(f"Monitoring/A: {{from: live.a, {rule}}}")
    said = machine.see("live", {"a": raw})["Monitoring/A"]
    assert (said.value, said.status) == (None, S.BadOutOfRange)
    assert reason in said.reason
    assert said.since == machine.now


def test_infinity_made_by_scaling_is_not_good_on_the_fast_path() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double, scale: 1e300}")
    assert machine.see("live", {"a": 1e300})["Monitoring/A"].status is S.BadOutOfRange


@pytest.mark.parametrize(
    ("payload", "reason"),
    [({"a": None}, "none now (null)"), ({}, "did not send"), (None, "did not send"), ([], "did not send")],
)
def test_absent_field_has_no_value(payload: object, reason: str) -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double}")
    said = machine.see("live", payload)["Monitoring/A"]
    assert (said.value, said.status) == (None, S.BadNoData)
    assert reason in said.reason


def test_absent_field_has_the_status_its_rule_gives() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double, absent: BadSensorFailure}")
    machine.see("live", {"a": None})
    assert machine.status("Monitoring/A") is S.BadSensorFailure


def test_missing_field_is_not_what_null_is() -> None:
    machine = rig("Monitoring/A: {from: live.a, enum: {Off: 0}, null_is: Off}")
    machine.see("live", {})
    assert machine.status("Monitoring/A") is S.BadNoData


def test_first_alternative_that_is_present_is_taken() -> None:
    machine = rig("Monitoring/A: {from: [live.front, live.left], type: Double}")
    machine.see("live", {"left": 2.0})
    assert machine.value("Monitoring/A") == 2.0
    machine.see("live", {"front": 1.0, "left": 2.0})
    assert machine.value("Monitoring/A") == 1.0
    machine.see("live", {"front": None, "left": 2.0})
    assert machine.status("Monitoring/A") is S.BadNoData


def test_expression_takes_named_fields_of_several_channels() -> None:
    machine = rig("Monitoring/A: {from: {x: live.x, y: state.y}, type: Double, expr: x + y}")
    machine.see("live", {"x": 1})
    assert machine.status("Monitoring/A") is S.BadNoData
    machine.see("state", {"y": 2})
    assert machine.value("Monitoring/A") == 3.0
    machine.see("state", {"y": None})
    assert machine.status("Monitoring/A") is S.BadNoData


def test_array_is_read_by_index() -> None:
    machine = Rig(
        "for_each: {n: {count: 3, start: 1}}\n"
        'tags: {Monitoring/In/<n>: {from: "live.inputs[<n.index>]", type: Boolean}}\n'
    )
    machine.see("live", {"inputs": [True, False]})
    assert machine.value("Monitoring/In/1") is True
    assert machine.value("Monitoring/In/2") is False
    assert machine.status("Monitoring/In/3") is S.BadNoData


# -- quality ----------------------------------------------------------------------------------------------------------

PRESSURE = (
    "Monitoring/Pressure: {from: live.p, type: Double, deadband: 1, bad_when: {path: state.broken, eq: true, "
    "status: BadSensorFailure, reason: Wire}}"
)


def test_condition_on_another_channel_is_seen_when_that_channel_speaks() -> None:
    machine = rig(PRESSURE)
    machine.see("live", {"p": 5.0})
    said = machine.see("state", {"broken": True})["Monitoring/Pressure"]
    assert (said.value, said.status, said.reason) == (None, S.BadSensorFailure, "Wire")
    assert machine.see("state", {"broken": False})["Monitoring/Pressure"].value == 5.0


def test_status_keeps_the_time_since_when_it_holds() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double, uncertain_when: {path: live.a, lt: 5}}")
    since = machine.see("live", {"a": 1.0})["Monitoring/A"].since
    said = machine.see("live", {"a": 2.0})["Monitoring/A"]
    assert said.since == since == START + timedelta(seconds=1)
    assert said.server_timestamp == START + timedelta(seconds=2)
    assert machine.see("live", {"a": 6.0})["Monitoring/A"].since is None


def test_bad_comes_before_absent_and_uncertain() -> None:
    machine = rig(
        "Monitoring/A: {from: live.a, type: Double, bad_when: {path: live.a, is_null: true, status: BadNoData, "
        "reason: Not homed}, uncertain_when: {path: live.u, eq: true}}"
    )
    assert machine.see("live", {"a": None, "u": True})["Monitoring/A"].reason == "Not homed"


def test_first_uncertain_condition_that_holds_is_the_reason() -> None:
    machine = rig(
        "Monitoring/A: {from: live.a, type: Double, uncertain_when: [{path: live.a, lt: 5, reason: low}, "
        "{path: live.a, lt: 9, status: UncertainLastUsableValue, reason: lowish}]}"
    )
    assert machine.see("live", {"a": 1.0})["Monitoring/A"][:2] == (1.0, S.UncertainSubNormal)
    said = machine.see("live", {"a": 6.0})["Monitoring/A"]
    assert (said.status, said.reason) == (S.UncertainLastUsableValue, "lowish")


def test_contradiction_between_channels_has_to_last() -> None:
    machine = rig(
        "Setpoints/Mode: {from: state.mode, enum: {Heat: 1, Extrude: 2}, uncertain_when: {all: [{path: state.mode, "
        'eq: Extrude}, {path: live.rpm, eq: 0}], for: 5s, status: UncertainLastUsableValue, reason: "?"}}'
    )
    machine.see("state", {"mode": "Extrude"})
    assert machine.see("live", {"rpm": 0}) == {}
    assert machine.see("live", {"rpm": 0}, after=4.9) == {}
    said = machine.see("live", {"rpm": 0}, after=0.1)
    assert said["Setpoints/Mode"][:2] == (2, S.UncertainLastUsableValue)
    assert said["Setpoints/ModeText"][:2] == ("Extrude", S.UncertainLastUsableValue)
    assert machine.see("live", {"rpm": 1})["Setpoints/Mode"].status is S.Good


def test_field_tells_the_quality() -> None:
    machine = rig(
        "Monitoring/A: {from: live.a, type: Double, quality: {from: state.q, map: {GOOD: Good, "
        'STALE: UncertainLastUsableValue, "0": BadDeviceFailure}}}'
    )
    machine.see("live", {"a": 1.0})
    for said, status, value in [
        ("STALE", S.UncertainLastUsableValue, 1.0),
        ("GOOD", S.Good, 1.0),
        (0, S.BadDeviceFailure, None),
        ("unheard of", S.Good, 1.0),
    ]:
        machine.see("state", {"q": said})
        assert machine.values["Monitoring/A"][:2] == (value, status)


def test_reading_outside_its_range_is_uncertain_but_kept() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double, range: [0, 350]}")
    said = machine.see("live", {"a": 351.0})["Monitoring/A"]
    assert (said.value, said.status) == (351.0, S.UncertainEngineeringUnitsExceeded)
    assert said.reason == "Outside the range 0 to 350"
    machine.see("live", {"a": 350})
    assert machine.value("Monitoring/A") == 350.0


def test_set_point_outside_our_range_is_what_the_machine_has() -> None:
    machine = rig("Setpoints/A: {from: state.a, type: Double, range: [0, 44], write: {send: {S: $value}}}")
    machine.see("state", {"a": 80.0})
    assert machine.value("Setpoints/A") == 80.0


# -- time -------------------------------------------------------------------------------------------------------------


def test_time_is_taken_from_a_field() -> None:
    machine = rig("Monitoring/A: {from: live.a, time: live.t, type: Double}")
    said = machine.see("live", {"a": 1, "t": "2026-03-04T05:00:00Z"})["Monitoring/A"]
    assert said.source_timestamp == datetime(2026, 3, 4, 5, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "said", ["2026-03-04T05:06:13.1Z", "nonsense", None, 10**400, math.nan, [], "0001-01-01T00:00:00Z"]
)
def test_time_that_cannot_be_believed_is_not(said: object) -> None:
    machine = rig("Monitoring/A: {from: live.a, time: live.t, type: Double}")
    assert machine.see("live", {"a": 1, "t": said})["Monitoring/A"].source_timestamp == machine.now


def test_time_a_little_ahead_is_believed() -> None:
    machine = rig("Monitoring/A: {from: live.a, time: live.t, type: Double}")
    said = machine.see("live", {"a": 1, "t": "2026-03-04T05:06:12Z"})["Monitoring/A"]
    assert said.source_timestamp == START + timedelta(seconds=5)


def test_value_that_is_too_old_is_uncertain() -> None:
    machine = rig("Monitoring/A: {from: live.a, time: live.t, type: Double, max_age: 10s}")
    payload = {"a": 1.0, "t": "2026-03-04T05:06:08Z"}
    machine.see("live", payload)
    assert machine.value("Monitoring/A") == 1.0
    assert machine.see("live", payload, after=10) == {}
    said = machine.see("live", payload, after=0.5)["Monitoring/A"]
    assert (said.value, said.status) == (1.0, S.UncertainLastUsableValue)
    assert "05:06:08" in said.reason


def test_min_interval_holds_back_values_but_not_a_status() -> None:
    machine = rig("Monitoring/A: {from: live.a, type: Double, min_interval: 5s}")
    assert machine.see("live", {"a": 1})
    assert machine.see("live", {"a": 2}) == {}
    assert machine.see("live", {"a": None})["Monitoring/A"].status is S.BadNoData
    assert machine.see("live", {"a": 3})["Monitoring/A"].value == 3
    assert machine.see("live", {"a": 4}) == {}
    assert machine.see("live", {"a": 4}, after=5)["Monitoring/A"].value == 4


# -- text siblings ----------------------------------------------------------------------------------------------------

MODE = "Setpoints/Mode: {from: state.mode, enum: {Standby: 0, Heat: 1}}"


def test_enum_has_its_text_beside_it() -> None:
    machine = rig(MODE)
    said = machine.see("state", {"mode": "Heat"})
    assert said["Setpoints/Mode"].value == 1
    assert said["Setpoints/ModeText"].value == "Heat"
    assert said["Setpoints/ModeText"].source_timestamp == said["Setpoints/Mode"].source_timestamp


def test_number_of_the_enum_has_its_text() -> None:
    machine = rig(MODE)
    machine.see("state", {"mode": 1})
    assert machine.value("Setpoints/ModeText") == "Heat"


def test_unknown_word_of_the_vendor_is_readable_though_it_has_no_number() -> None:
    machine = rig(MODE)
    machine.see("state", {"mode": "Purge"})
    assert machine.status("Setpoints/Mode") is S.BadOutOfRange
    assert machine.value("Setpoints/ModeText") == "Purge"
    machine.see("state", {"mode": "Flush"})
    assert machine.value("Setpoints/ModeText") == "Flush"


@pytest.mark.parametrize("raw", ["half \ud800", 77, ["Heat"]])
def test_what_is_no_word_is_not_shown_as_one(raw: object) -> None:
    machine = rig(MODE)
    machine.see("state", {"mode": raw})
    assert machine.values["Setpoints/ModeText"][:2] == (None, S.BadOutOfRange)


def test_absent_enum_has_no_text() -> None:
    machine = rig(MODE)
    machine.see("state", {})
    assert machine.values["Setpoints/ModeText"][:2] == (None, S.BadNoData)


# -- alarms -----------------------------------------------------------------------------------------------------------

LIMITS = "Monitoring/T: {from: live.t, type: Double, limits: {low: 10, high: 250, high_high: 300}}"


def test_a_deadband_keeps_an_alarm_until_the_value_is_well_inside() -> None:
    machine = rig("Monitoring/T: {from: live.t, type: Double, limits: {low: 10, high: 250, deadband: 5}}")
    high = [machine.see("live", {"t": t}).get("Alarms/T/High") for t in (249, 250, 246, 245, 244.9, 249)]
    assert [one and one.value for one in high] == [False, True, None, None, False, None]
    low = [machine.see("live", {"t": t}).get("Alarms/T/Low") for t in (10, 15, 15.1, 11)]
    assert [one and one.value for one in low] == [True, None, False, None]


def test_an_enum_and_a_boolean_are_alarms_while_they_say_so() -> None:
    machine = rig(
        "Status/M: {from: live.m, enum: {Ok: 0, Fault: 1, Jam: 2}, alarm: {when: [Fault, Jam]}}",
        "Status/Dry: {from: live.d, type: Boolean, alarm: {}}",
    )
    said = [
        machine.see("live", {"m": m, "d": d}) for m, d in (("Ok", False), ("Jam", True), ("Fault", True), (None, None))
    ]
    assert [one.get("Alarms/M") and one["Alarms/M"].value for one in said] == [False, True, None, None]
    assert [one.get("Alarms/Dry") and one["Alarms/Dry"].value for one in said] == [False, True, None, None]
    assert said[3]["Alarms/M"].status is S.BadNoData


def test_limits_raise_and_clear_alarms() -> None:
    machine = rig(LIMITS)
    machine.see("live", {"t": 100.0})
    assert [machine.value(f"Alarms/T/{name}") for name in ("Low", "High", "HighHigh")] == [False, False, False]
    said = machine.see("live", {"t": 300.0})
    assert {name: value.value for name, value in said.items()} == {
        "Monitoring/T": 300.0,
        "Alarms/T/High": True,
        "Alarms/T/HighHigh": True,
    }
    machine.see("live", {"t": 10.0})
    assert machine.value("Alarms/T/Low") is True


def test_alarm_of_a_broken_sensor_is_bad_and_not_active() -> None:
    machine = rig(LIMITS)
    machine.see("live", {"t": 400.0})
    machine.see("live", {"t": None})
    assert machine.status("Alarms/T/HighHigh") is S.BadNoData


# -- item state -------------------------------------------------------------------------------------------------------

ITEM_STATE = "item_state: {from: Setpoints/Mode, map: {Standby: NotExecuting, Heat: Executing}}\n"


@pytest.mark.parametrize(("mode", "number"), [("Standby", 2), ("Heat", 3), ("Purge", 0), (None, 0), (1, 3)])
def test_item_state_follows_its_tag(mode: object, number: int) -> None:
    machine = rig(MODE, more=ITEM_STATE)
    machine.see("state", {"mode": mode})
    assert machine.value("Status/ItemState") == number


@pytest.mark.parametrize(("raw", "number"), [(True, 3), (False, 2), (None, 0)])
def test_item_state_of_a_boolean(raw: object, number: int) -> None:
    machine = rig(
        "Setpoints/On: {from: state.on, type: Boolean}",
        more='item_state: {from: Setpoints/On, map: {"true": Executing, "false": NotExecuting}}\n',
    )
    machine.see("state", {"on": raw})
    assert machine.value("Status/ItemState") == number


def test_value_that_is_not_in_the_item_states_map_is_not_available() -> None:
    machine = rig(MODE, more="item_state: {from: Setpoints/Mode, map: {Heat: Executing}}\n")
    machine.see("state", {"mode": "Standby"})
    assert machine.value("Status/ItemState") == 0


# -- silence ----------------------------------------------------------------------------------------------------------


def test_suspended_channel_is_not_spoken_for_by_another() -> None:
    machine = rig(PRESSURE)
    machine.see("live", {"p": 5.0})
    machine.projection.suspend("live")
    assert machine.see("state", {"broken": True}) == {}
    machine.projection.resume("live")
    assert machine.see("live", {"p": 5.0})["Monitoring/Pressure"].status is S.BadSensorFailure


def test_resumed_channel_says_everything_anew() -> None:
    machine = rig(PRESSURE, LIMITS, MODE)
    everything = machine.see("live", {"p": 5.0, "t": 20.0})
    machine.projection.resume("live")
    assert set(machine.see("live", {"p": 5.0, "t": 20.0})) == set(everything)


def test_restate_says_the_last_payload_now() -> None:
    machine = rig(MODE, more=ITEM_STATE)
    machine.see("state", {"mode": "Heat"})
    said = machine.restate("state", after=60)
    assert {name: value.value for name, value in said.items()} == {
        "Setpoints/Mode": 1,
        "Setpoints/ModeText": "Heat",
        "Status/ItemState": 3,
    }
    assert said["Setpoints/Mode"].source_timestamp == machine.now


def test_restate_of_a_channel_that_never_spoke_says_nothing() -> None:
    assert rig(MODE).restate("state") == {}


def test_duration_does_not_run_through_a_silence() -> None:
    machine = rig(
        'Monitoring/A: {from: live.a, type: Double, uncertain_when: {path: live.a, eq: 0, for: 5s, reason: "?"}}'
    )
    machine.see("live", {"a": 0.0})
    machine.projection.suspend("live")
    machine.projection.resume("live")
    machine.see("live", {"a": 0.0}, after=3600)
    assert machine.value("Monitoring/A") == 0.0


def test_slots_of_a_channel_are_all_it_writes() -> None:
    machine = rig(PRESSURE, LIMITS, MODE, more=ITEM_STATE)

    def names(channel: str | None) -> set[str]:
        return {machine.names[slot] for slot in machine.projection.slots(channel)}

    assert names("state") == {"Setpoints/Mode", "Setpoints/ModeText", "Status/ItemState"}
    assert names("live") == {
        "Monitoring/Pressure",
        "Monitoring/T",
        "Alarms/T/Low",
        "Alarms/T/High",
        "Alarms/T/HighHigh",
    }
    assert names(None) == set(machine.slots)
    assert names("other") == set()
    assert machine.projection.channels == {"live", "state"}


def test_plain_and_general_path_agree() -> None:
    """The hot path is an optimisation: a rule that forces the general one gives the same values."""
    payloads: list[Any] = [1, 1.0, 1.05, 2, 2.5, math.nan, 2.5, math.inf, None, "x", True, 100.0, 101.0, 2.5, -0.0, 0.0]
    plain = rig("Monitoring/A: {from: live.a, type: Double, scale: 2, offset: 1, range: [-10, 200], deadband: 0.2}")
    general = rig(
        "Monitoring/A: {from: [live.a, live.b], type: Double, scale: 2, offset: 1, range: [-10, 200], deadband: 0.2}"
    )
    for raw in payloads:
        assert plain.see("live", {"a": raw}) == general.see("live", {"a": raw})
