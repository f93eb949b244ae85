"""The machines themselves: what mutations do, what is clamped, refused, silent or deadly, and how values follow."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.sim.qitech.catalogue import MACHINE_IDS, RELEASES, Release
from bridge.sim.qitech.machines import KINDS, build
from bridge.sim.qitech.machines.base import Machine
from bridge.sim.qitech.machines.laser import Laser
from bridge.sim.qitech.machines.wago_power import WagoPower
from bridge.sim.qitech.serde import Ignored, Panic

NEW = Release.parse("3.0")
OLD = Release.parse("2.17")


def make(slug: str, release: str = "2.17", seed: int = 1) -> Machine:
    machine = build(slug, 7, Release.parse(release), seed)
    machine.advance(0.1)
    machine.outbox.clear()
    return machine


def live(machine: Machine) -> dict[str, Any]:
    values = machine.shown_live_values()
    assert values is not None
    return values


def at(values: Any, path: str) -> Any:
    for part in path.split("."):
        values = values[part]
    return values


def announced(machine: Machine) -> list[str]:
    names = [name for name, _ in machine.outbox]
    machine.outbox.clear()
    return names


def run(machine: Machine, seconds: float, step: float = 0.1) -> None:
    for _ in range(round(seconds / step)):
        machine.advance(step)


EXTRUDER = [
    ({"SetExtruderMode": "Heat"}, "mode_state.mode", "Heat"),
    ({"SetInverterRotationDirection": False}, "rotation_state.forward", False),
    ({"SetInverterTargetRpm": 20}, "screw_state.target_rpm", 20.0),
    ({"SetInverterTargetPressure": 55}, "pressure_state.target_bar", 55.0),
    ({"SetInverterRegulation": False}, "regulation_state.uses_rpm", False),
    ({"SetFrontHeatingTargetTemperature": 180.5}, "heating_states.front.target_temperature", 180.5),
    ({"SetBackHeatingTargetTemperature": 150}, "heating_states.back.target_temperature", 150.0),
    ({"SetMiddleHeatingTemperature": 160}, "heating_states.middle.target_temperature", 160.0),
    ({"SetNozzleHeatingTemperature": 190}, "heating_states.nozzle.target_temperature", 190.0),
    ({"SetExtruderPressureLimit": 120}, "extruder_settings_state.pressure_limit", 120.0),
    ({"SetExtruderPressureLimitIsEnabled": False}, "extruder_settings_state.pressure_limit_enabled", False),
    (
        {"SetNozzleTemperatureTargetEnabled": False},
        "extruder_settings_state.nozzle_temperature_target_enabled",
        False,
    ),
    ({"SetPressurePidSettings": {"ki": 0.1, "kp": 0.2, "kd": 0.3}}, "pid_settings.pressure.kp", 0.2),
    (
        {"SetTemperaturePidSettings": {"ki": 1, "kp": 2, "kd": 3, "zone": "front"}},
        "pid_settings.temperature.front.kd",
        3.0,
    ),
]
WINDER = [
    ({"SetTraverseLimitInner": 20}, "traverse_state.limit_inner", 20.0),
    ({"SetTraverseLimitInner": 20}, "traverse_state.position_in", 20.0),
    ({"SetTraverseLimitOuter": 80.5}, "traverse_state.limit_outer", 80.5),
    ({"SetTraverseStepSize": 2}, "traverse_state.step_size", 2.0),
    ({"SetTraversePadding": 1}, "traverse_state.padding", 1.0),
    ({"EnableTraverseLaserpointer": True}, "traverse_state.laserpointer", True),
    ({"SetPullerRegulationMode": "Diameter"}, "puller_state.regulation", "Diameter"),
    ({"SetPullerTargetSpeed": 2.5}, "puller_state.target_speed", 2.5),
    ({"SetPullerForward": False}, "puller_state.forward", False),
    ({"SetPullerGearRatio": "OneToFive"}, "puller_state.gear_ratio", "OneToFive"),
    ({"SetSpoolRegulationMode": "MinMax"}, "spool_speed_controller_state.regulation_mode", "MinMax"),
    ({"SetSpoolMinMaxMinSpeed": 10}, "spool_speed_controller_state.minmax_min_speed", 10.0),
    ({"SetSpoolMinMaxMaxSpeed": 150}, "spool_speed_controller_state.minmax_max_speed", 150.0),
    ({"SetSpoolForward": False}, "spool_speed_controller_state.forward", False),
    ({"SetSpoolAdaptiveTensionTarget": 7}, "spool_speed_controller_state.adaptive_tension_target", 1.0),
    ({"SetSpoolAdaptiveRadiusLearningRate": -1}, "spool_speed_controller_state.adaptive_radius_learning_rate", 0.0),
    ({"SetSpoolAdaptiveMaxSpeedMultiplier": 0}, "spool_speed_controller_state.adaptive_max_speed_multiplier", 0.1),
    ({"SetSpoolAdaptiveAccelerationFactor": 100}, "spool_speed_controller_state.adaptive_acceleration_factor", 1.0),
    (
        {"SetSpoolAdaptiveDeaccelerationUrgencyMultiplier": 0},
        "spool_speed_controller_state.adaptive_deacceleration_urgency_multiplier",
        1.0,
    ),
    ({"SetSpoolAutomaticRequiredMeters": 500}, "spool_automatic_action_state.spool_required_meters", 500.0),
    ({"SetSpoolAutomaticAction": "Hold"}, "spool_automatic_action_state.spool_automatic_action_mode", "Hold"),
    ({"SetPullerAdaptiveMaxSpeedChangePercent": -1}, "puller_state.adaptive_speed_delta_max", 0.0),
    ({"SetPullerAdaptiveStepPercent": 2}, "puller_state.adaptive_change_per_step", 1.0),
    ({"SetPullerAdaptiveAdjustmentIntervalMeters": 3}, "puller_state.adaptive_adjustment_distance", 3.0),
    ({"SetPullerAdaptiveAcceptedDifference": 0.1}, "puller_state.allowed_diameter_deviation", 0.1),
    ("ZeroTensionArmAngle", "tension_arm_state.zeroed", True),
    ({"ZeroTensionArmAngle": None}, "tension_arm_state.zeroed", True),
]
LASER = [
    ({"SetTargetDiameter": 2.85}, "laser_state.target_diameter", 2.85),
    ({"SetLowerTolerance": 0.1}, "laser_state.lower_tolerance", 0.1),
    ({"SetHigherTolerance": 0.2}, "laser_state.higher_tolerance", 0.2),
    ({"SetGlobalWarning": False}, "laser_state.global_warning", False),
]
AQUAPATH = [
    ({"SetAquaPathMode": "Auto"}, "mode_state.mode", "Auto"),
    ({"SetFrontTemperature": 40}, "temperature_states.front.target_temperature", 40.0),
    ({"SetFrontTemperature": 10}, "temperature_states.front.target_temperature", 22.0),
    ({"SetBackTemperature": 95}, "temperature_states.back.target_temperature", 80.0),
    ({"SetBackFlow": True}, "flow_states.back.should_flow", True),
    ({"SetFrontRevolutions": 250}, "fan_states.front.max_revolutions", 250.0),
    ({"SetFrontRevolutions": 50}, "fan_states.front.revolutions", 50.0),
    ({"SetFrontHeatingTolerance": 11}, "tolerance_states.front.heating", 10.0),
    ({"SetBackCoolingTolerance": -1}, "tolerance_states.back.cooling", 0.0),
    ({"SetFrontPidKp": 6}, "pid_states.front.kp", 5.0),
    ({"SetBackThermalFlowSettleDuration": 31}, "thermal_safety_states.back.thermal_delay", 30.0),
    ({"SetBackPumpCooldownMinTemperature": 5}, "thermal_safety_states.back.cooldown_min_temperature", 10.0),
    ({"SetAmbientTemperatureCalibration": 30}, "ambient_temperature_calibration", 30.0),
    ({"SetAmbientTemperatureCalibration": 30}, "temperature_states.back.target_temperature", 30.0),
]
OTHERS = [
    ("mock", {"SetFrequency3": 500.5}, "frequency3", 500.50000000000006),
    ("mock", {"SetMode": "Running"}, "mode_state.mode", "Running"),
    ("wago_power_v1", {"SetMode": "On24V"}, "mode", "On24V"),
    ("test_machine", {"action": "SetLed", "value": {"index": 2, "on": True}}, "led_on", [False, False, True, False]),
    ("test_machine", {"action": "SetAllLeds", "value": {"on": True}}, "led_on", [True] * 4),
    ("wago_do_test_machine", {"action": "SetAllLeds", "value": {"on": True}}, "led_on", [True] * 8),
    ("ip20_test_machine", {"action": "SetAllOutputs", "value": {"on": True}}, "outputs", [True] * 8),
    (
        "wago_750_501_test_machine",
        {"action": "SetOutput", "value": {"index": 1, "on": True}},
        "outputs",
        [False, True],
    ),
    ("wago_750_531_machine", {"action": "SetAllOutputs", "value": {"on": True}}, "outputs_on", [True] * 4),
    ("wago_750_553_machine", {"action": "SetAllOutputs", "value": {"value": 2}}, "outputs_ma", [20.0] * 4),
    (
        "wago_8ch_io_test_machine",
        {"action": "SetOutput", "value": {"index": 7, "value": True}},
        "digital_output",
        [False] * 7 + [True],
    ),
    ("test_machine_stepper", {"action": "SetTargetSpeed", "value": {"target": -5}}, "target_speed", -5),
    ("bottlecaps_test_machine", {"action": "SetStepperFreq", "value": {"factor": 3}}, "stepper_freq", 3),
    (
        "bottlecaps_test_machine",
        {"action": "SetOverrideInput", "value": {"index": 0, "on": True}},
        "override_inputs",
        [True] + [False] * 7,
    ),
    ("motor_test_machine", {"type": "SetMotorOn", "payload": True}, "motor_enabled", True),
    ("motor_test_machine", {"type": "SetMotorVelocity", "payload": -9}, "motor_velocity", -9),
    ("analog_input_test_machine", {"measurement_rate_hz": 10}, "MeasurementRateHz", 10.0),
    ("wago_serial", {"SendMessage": "hello"}, "current_message", "hello"),
]
CASES = [
    *[("extruder_v1", *case) for case in EXTRUDER],
    *[("extruder_v2", *case) for case in EXTRUDER],
    *[("winder_v1", *case) for case in WINDER],
    *[("laser_v1", *case) for case in LASER],
    *[("aquapath_v1", *case) for case in AQUAPATH],
    *OTHERS,
]


@pytest.mark.parametrize(("slug", "mutation", "path", "value"), CASES)
def test_mutation_shows_at_its_place_and_is_announced(slug: str, mutation: Any, path: str, value: Any) -> None:
    machine = make(slug)
    machine.mutate(mutation)
    assert announced(machine) == [machine.state_name]
    shown = at(machine.state(), path)
    assert shown == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)


SILENT = [
    ("winder_v1", {"SetTraverseLimitInner": 500}),
    ("winder_v1", {"SetTraverseLimitOuter": 22.5}),
    ("winder_v1", "GotoTraverseHome"),
    ("winder_v1", "GotoTraverseLimitInner"),
    ("winder_v1", {"GotoTraverseHome": 1}),
    ("winder_v1", {"SetMode": "wind"}),
    ("test_machine", {"action": "SetLed", "value": {"index": 4, "on": True}}),
    ("test_machine", {"action": "SetLed", "value": {"index": -1, "on": True}}),
    ("test_machine", {"SetLed": {"index": 0, "on": True}}),
    ("wago_750_553_machine", {"action": "SetOutput", "value": {"index": 4, "value": 1}}),
    ("test_machine_stepper", {"action": "SetTargetSpeed", "value": {"target": 40000}}),
    ("test_machine_stepper", {"action": "SetFreq", "value": {"factor": 256}}),
    ("bottlecaps_test_machine", {"action": "SetOverrideInput", "value": {"index": 8, "on": True}}),
    ("analog_input_test_machine", {"measurement_rate_hz": 1.5}),
    ("wago_750_430_di_machine", {"action": "SetLed", "value": {"index": 0, "on": True}}),
    ("motor_test_machine", {"type": "SetMotorVelocity", "payload": 1.5}),
    ("wago_power_v1", {"SetMode": "On12V"}),
    ("wago_serial", {"SendMessage": 1}),
]


@pytest.mark.parametrize(("slug", "mutation"), SILENT)
def test_bad_mutation_is_ignored_without_an_event(slug: str, mutation: Any) -> None:
    machine = make(slug)
    before = machine.state()
    with pytest.raises(Ignored):
        machine.mutate(mutation)
    assert machine.state() == before | {
        key: value for key, value in machine.state().items() if key == "is_default_state"
    }
    assert announced(machine) == []


@pytest.mark.parametrize(
    ("slug", "mutation"),
    [
        ("winder_v1", {"SetPullerTargetDiameter": 1.75}),
        ("winder_v1_spool", {"SetPullerTargetDiameter": 1.75}),
        ("buffer_v1", {"SetBufferMode": "FillingBuffer"}),
        ("buffer_v1", {"SetBufferMode": "EmptyingBuffer"}),
        ("wago_8ch_io_test_machine", {"action": "SetOutput", "value": {"index": 8, "value": True}}),
        ("analog_input_test_machine", {"measurement_rate_hz": 0}),
        ("wago_ai_test_machine", {"measurement_rate_hz": -1}),
        (
            "winder_v1",
            {
                "SetPullerAdaptiveReferenceMachine": {
                    "machine_identification": {"vendor": 1, "machine": 6},
                    "serial": 9,
                }
            },
        ),
    ],
)
def test_deadly_mutation_panics(slug: str, mutation: Any) -> None:
    with pytest.raises(Panic):
        make(slug).mutate(mutation)


def test_every_slug_of_the_catalogue_has_a_machine() -> None:
    assert KINDS.keys() == MACHINE_IDS.keys()


@pytest.mark.parametrize("slug", KINDS)
@pytest.mark.parametrize("release", RELEASES)
def test_every_machine_shows_and_advances_in_every_release(slug: str, release: str) -> None:
    machine = make(slug, release)
    run(machine, 2)
    assert isinstance(machine.shown_state(), dict)
    for stream in machine.streams():
        stream.data()
    assert (machine.error is None) is Release.parse(release).supports(slug)


def test_same_seed_measures_the_same_and_another_does_not() -> None:
    first, second, third = (live(make("extruder_v1", seed=seed)) for seed in (1, 1, 2))
    assert first == second
    assert first != third


# -- extruder


def test_zones_heat_towards_their_targets_with_power_and_count_energy() -> None:
    extruder = make("extruder_v1")
    extruder.mutate({"SetFrontHeatingTargetTemperature": 200})
    run(extruder, 10)
    assert live(extruder)["front_power"] == 0.0  # Standby heats nothing
    extruder.mutate({"SetExtruderMode": "Heat"})
    run(extruder, 20)
    warming = live(extruder)
    assert warming["front_power"] == pytest.approx(700)
    assert 30 < warming["front_temperature"] < 199
    assert warming["nozzle_power"] == 0.0
    run(extruder, 600, 1.0)
    hot = live(extruder)
    assert hot["front_temperature"] == pytest.approx(200, abs=3)
    assert 0 < hot["front_power"] < 700
    assert hot["combined_power"] == pytest.approx(hot["front_power"])
    assert hot["total_energy_kwh"] > warming["total_energy_kwh"] > 0


def test_screw_ramps_in_extrude_only_and_pressure_follows() -> None:
    extruder = make("extruder_v1")
    extruder.mutate({"SetInverterTargetRpm": 30})
    run(extruder, 1)
    assert live(extruder)["motor_status"]["screw_rpm"] == 0.0
    extruder.mutate({"SetExtruderMode": "Extrude"})
    run(extruder, 1)
    assert 5 < live(extruder)["motor_status"]["screw_rpm"] < 29
    run(extruder, 15)
    running = live(extruder)
    assert running["motor_status"]["screw_rpm"] == pytest.approx(30)
    assert running["pressure"] == pytest.approx(66, abs=2)
    motor = running["motor_status"]
    assert motor["power"] == pytest.approx(motor["voltage"] * motor["current"])


def test_pressure_regulation_reaches_its_target() -> None:
    extruder = make("extruder_v1")
    for mutation in (
        {"SetInverterRegulation": False},
        {"SetInverterTargetPressure": 60},
        {"SetExtruderMode": "Extrude"},
    ):
        extruder.mutate(mutation)
    run(extruder, 60)
    assert live(extruder)["pressure"] == pytest.approx(60, abs=3)


def test_inverter_status_is_announced_when_it_changes() -> None:
    extruder = make("extruder_v1")
    extruder.mutate({"SetInverterTargetRpm": 30})
    extruder.mutate({"SetExtruderMode": "Extrude"})
    announced(extruder)
    run(extruder, 0.5)
    assert announced(extruder) == ["StateEvent"]
    assert extruder.state()["inverter_status_state"]["forward_running"] is True


def test_overpressure_falls_back_to_heat_without_a_word() -> None:
    extruder = make("extruder_v1")
    extruder.mutate({"SetExtruderPressureLimit": 50})
    extruder.mutate({"SetInverterTargetRpm": 44})
    extruder.mutate({"SetExtruderMode": "Extrude"})
    run(extruder, 1)
    announced(extruder)
    while extruder.state()["mode_state"]["mode"] == "Extrude":
        assert live(extruder)["pressure"] < 60
        extruder.advance(0.1)
        words = announced(extruder)
    assert extruder.state()["mode_state"]["mode"] == "Heat"
    assert words == []


def test_wiring_error_reads_zero_and_is_not_announced() -> None:
    extruder = make("extruder_v1")
    extruder.break_sensor("front", True)  # type: ignore[attr-defined]
    run(extruder, 1)
    assert live(extruder)["front_temperature"] == 0.0
    assert live(extruder)["back_temperature"] != 0.0
    assert extruder.state()["heating_states"]["front"]["wiring_error"] is True
    assert announced(extruder) == []


def test_autotune_needs_extrude_by_pressure_and_ends_unannounced() -> None:
    extruder = make("extruder_v1")
    start = {"StartPressurePidAutoTune": {"tune_delta": 1, "frequency_step_hz": 2}}
    extruder.mutate(start)
    assert extruder.state()["pid_autotune_state"]["state"] == "not_started"
    for mutation in ({"SetInverterRegulation": False}, {"SetExtruderMode": "Extrude"}, start):
        extruder.mutate(mutation)
    assert extruder.state()["pid_autotune_state"] == {"state": "running", "progress": 0.0, "result": None}
    announced(extruder)
    run(extruder, 15)
    assert extruder.state()["pid_autotune_state"]["progress"] == pytest.approx(50, abs=1)
    run(extruder, 16)
    assert extruder.state()["pid_autotune_state"]["state"] == "completed"
    assert announced(extruder) == []


def test_reset_inverter_is_taken_without_an_event() -> None:
    extruder = make("extruder_v1")
    extruder.mutate({"ResetInverter": True})
    assert announced(extruder) == []


@pytest.mark.parametrize(
    ("release", "autotune", "nozzle"),
    [("2.14", False, False), ("2.15", False, True), ("2.16", True, True), ("3.0", True, True)],
)
def test_extruder_fields_by_release(release: str, autotune: bool, nozzle: bool) -> None:
    extruder = make("extruder_v1", release)
    state = extruder.state()
    assert ("pid_autotune_state" in state) is autotune
    assert ("nozzle_temperature_target_enabled" in state["extruder_settings_state"]) is nozzle
    assert ("StartPressurePidAutoTune" in extruder.handlers()) is autotune


def test_restart_forgets_set_points_but_not_the_heat() -> None:
    extruder = make("extruder_v1")
    extruder.mutate({"SetFrontHeatingTargetTemperature": 200})
    extruder.mutate({"SetExtruderMode": "Heat"})
    run(extruder, 60)
    extruder.boot()
    state = extruder.state()
    assert state["mode_state"]["mode"] == "Standby"
    assert state["heating_states"]["front"]["target_temperature"] == 0.0
    assert live(extruder)["front_temperature"] > 50
    assert live(extruder)["total_energy_kwh"] == 0.0


# -- winder


def test_wind_is_refused_with_an_event_until_homed_and_zeroed() -> None:
    winder = make("winder_v1")
    winder.mutate({"SetMode": "Wind"})
    assert announced(winder) == ["StateEvent"]
    assert winder.state()["mode_state"] == {"mode": "Standby", "can_wind": False}
    winder.mutate({"SetMode": "Hold"})
    assert winder.state()["traverse_state"]["is_going_home"] is True
    assert live(winder)["traverse_position"] is None
    announced(winder)
    run(winder, 5)
    assert announced(winder) == ["StateEvent"]
    assert live(winder)["traverse_position"] == 0.0
    winder.mutate({"SetMode": "Wind"})
    assert winder.state()["mode_state"]["mode"] == "Hold"
    winder.mutate("ZeroTensionArmAngle")
    assert winder.state()["mode_state"]["can_wind"] is True
    winder.mutate({"SetMode": "Wind"})
    assert winder.state()["mode_state"]["mode"] == "Wind"


def wound(release: str = "2.17") -> Machine:
    winder = make("winder_v1", release)
    for mutation in ("ZeroTensionArmAngle", {"SetPullerTargetSpeed": 30}, {"SetMode": "Hold"}):
        winder.mutate(mutation)
    run(winder, 5)
    winder.mutate({"SetMode": "Wind"})
    return winder


def test_winding_turns_the_spool_lays_the_filament_and_counts_metres() -> None:
    winder = wound()
    run(winder, 60)
    values = live(winder)
    assert values["puller_speed"] == pytest.approx(30)
    assert values["spool_progress"] == pytest.approx(30, rel=0.1)
    assert 50 < values["spool_rpm"] < 100
    assert 0 < values["traverse_position"] < 92
    assert winder.state()["traverse_state"]["is_traversing"] is True
    announced(winder)
    winder.mutate("ResetSpoolProgress")
    assert announced(winder) == []
    assert live(winder)["spool_progress"] == 0.0


def test_full_spool_does_what_was_asked() -> None:
    winder = wound()
    winder.mutate({"SetSpoolAutomaticRequiredMeters": 10})
    winder.mutate({"SetSpoolAutomaticAction": "Pull"})
    run(winder, 30)
    assert winder.state()["mode_state"]["mode"] == "Pull"


def test_goto_moves_the_traverse_once_homed() -> None:
    winder = make("winder_v1")
    winder.mutate({"SetMode": "Hold"})
    run(winder, 5)
    winder.mutate("GotoTraverseLimitOuter")
    assert winder.state()["traverse_state"]["is_going_out"] is True
    run(winder, 5)
    assert live(winder)["traverse_position"] == 92.0
    assert winder.state()["traverse_state"]["is_going_out"] is False


REFERENCE = {"machine_identification": {"vendor": 1, "machine": 2}, "serial": 7}


@pytest.mark.parametrize(("release", "after_null"), [("2.17", None), ("3.0", REFERENCE)])
def test_reference_machine_is_cleared_by_null_on_2x_only(release: str, after_null: Any) -> None:
    winder = make("winder_v1", release)
    winder.neighbours = lambda: {winder.identity}
    winder.mutate({"SetPullerAdaptiveReferenceMachine": REFERENCE})
    assert winder.state()["puller_reference_machine"] == REFERENCE
    winder.mutate({"SetPullerAdaptiveReferenceMachine": None})
    assert winder.state()["puller_state"]["adaptive_reference_machine"] == after_null


def test_winder_of_2_14_has_a_connected_machine_instead() -> None:
    winder = make("winder_v1", "2.14")
    winder.mutate({"SetConnectedMachine": REFERENCE})
    state = winder.state()
    assert state["connected_machine_state"] == {"machine_identification_unique": REFERENCE, "is_available": True}
    assert "target_diameter" in state["puller_state"]
    assert not [key for key in state["puller_state"] if key.startswith(("adaptive_", "allowed_"))]
    with pytest.raises(Ignored):
        winder.mutate({"SetPullerAdaptiveStepPercent": 0.1})


def test_default_flag_is_consumed_by_the_first_look() -> None:
    winder = build("winder_v1", 7, OLD, 1)
    assert [winder.state()["is_default_state"] for _ in range(2)] == [True, False]


# -- laser


def test_in_tolerance_is_judged_against_zero_until_a_target_was_sent() -> None:
    laser = make("laser_v1")
    run(laser, 1)
    state = laser.state()["laser_state"]
    assert (state["target_diameter"], state["in_tolerance"]) == (1.75, False)
    laser.mutate({"SetTargetDiameter": 1.75})
    announced(laser)
    run(laser, 1)
    assert announced(laser) == ["StateEvent"]
    assert laser.state()["laser_state"]["in_tolerance"] is True


def test_laser_without_filament_measures_zero_and_null() -> None:
    laser = make("laser_v1")
    assert isinstance(laser, Laser)
    assert live(laser)["diameter"] == pytest.approx(1.75, abs=0.05)
    assert 0.9 < live(laser)["roundness"] <= 1
    laser.filament = False
    run(laser, 1)
    assert live(laser) == {"diameter": 0.0, "x_diameter": None, "y_diameter": None, "roundness": None}


def test_global_warning_came_with_2_16() -> None:
    assert "global_warning" not in make("laser_v1", "2.15").state()["laser_state"]
    assert "global_warning" in make("laser_v1", "2.16").state()["laser_state"]


# -- aquapath


@pytest.mark.parametrize(("release", "sides"), [("2.17", ("front", "back")), ("3.0", ("left", "right"))])
def test_aquapath_names_its_sides_by_release(release: str, sides: tuple[str, str]) -> None:
    aquapath = make("aquapath_v1", release)
    assert tuple(aquapath.state()["temperature_states"]) == sides
    assert f"{sides[0]}_flow" in live(aquapath)
    assert (f"{sides[0]}_temp_reservoir" in live(aquapath)) is (release == "2.17")
    aquapath.mutate({f"Set{sides[1].capitalize()}Flow": True})
    assert aquapath.state()["flow_states"][sides[1]]["should_flow"] is True


def test_aquapath_pumps_heats_and_counts_watt_hours_in_auto() -> None:
    aquapath = make("aquapath_v1")
    for mutation in ({"SetFrontFlow": True}, {"SetFrontTemperature": 40}):
        aquapath.mutate(mutation)
    run(aquapath, 5)
    assert live(aquapath)["front_flow"] == 0.0
    aquapath.mutate({"SetAquaPathMode": "Auto"})
    run(aquapath, 10)
    heating = live(aquapath)
    assert heating["front_flow"] == pytest.approx(12, abs=0.2)
    assert heating["front_heating"] is True
    assert heating["front_power"] > 100
    run(aquapath, 600, 1.0)
    assert live(aquapath)["front_temperature"] == pytest.approx(40, abs=1)
    assert live(aquapath)["front_total_energy"] > heating["front_total_energy"] > 0
    assert live(aquapath)["back_flow"] == 0.0
    aquapath.mutate({"SetFrontTemperature": 25})
    run(aquapath, 5)
    assert live(aquapath)["front_cooling_mode"] == "Max"
    assert live(aquapath)["front_revolutions"] > 50


def test_settle_duration_is_ignored_outside_standby() -> None:
    aquapath = make("aquapath_v1")
    aquapath.mutate({"SetAquaPathMode": "Auto"})
    announced(aquapath)
    with pytest.raises(Ignored):
        aquapath.mutate({"SetFrontThermalFlowSettleDuration": 3})
    assert announced(aquapath) == []


def test_pump_without_water_stops_itself_with_a_notice() -> None:
    aquapath = make("aquapath_v1")
    for mutation in ({"SetFrontFlow": True}, {"SetAquaPathMode": "Auto"}):
        aquapath.mutate(mutation)
    announced(aquapath)
    aquapath.circuits["front"].low_flow = True  # type: ignore[attr-defined]
    run(aquapath, 0.1)
    assert announced(aquapath) == ["NoticeEvent", "StateEvent"]
    assert aquapath.state()["flow_states"]["front"]["should_flow"] is False


def test_older_aquapath_has_fewer_fields() -> None:
    aquapath = make("aquapath_v1", "2.15")
    assert "pid_states" not in aquapath.state()
    assert "front_heating" not in live(aquapath)


# -- wago_power


def test_wago_power_has_no_values_until_its_first_read() -> None:
    supply = build("wago_power_v1", 7, OLD, 1)
    assert isinstance(supply, WagoPower)
    assert supply.shown_live_values() is None
    assert supply.state() == {"mode": "Off", "is_default_state": True}
    run(supply, 1)
    assert live(supply) == {"voltage": 0.0, "current": 0.0}
    supply.mutate({"SetMode": "On24V"})
    run(supply, 2)
    assert live(supply) == {"voltage": pytest.approx(24), "current": pytest.approx(5000)}


def test_mock_waves_run_in_running_only() -> None:
    mock = make("mock")
    run(mock, 1)
    assert set(live(mock).values()) == {0.0}
    mock.mutate({"SetMode": "Running"})
    run(mock, 1)
    waves = live(mock)
    assert waves["amplitude_sum"] == pytest.approx(sum(waves[f"amplitude{i}"] for i in (1, 2, 3)))
    assert waves["amplitude1"] != 0.0


@pytest.mark.parametrize(("slug", "serial"), [("extruder_v9", 1), ("extruder_v1", 70000), ("extruder_v1", -1)])
def test_machine_no_panel_could_have_is_refused(slug: str, serial: int) -> None:
    with pytest.raises(ValueError, match=r"extruder_v1|u16"):
        build(slug, serial, NEW, 1)
