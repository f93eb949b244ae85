"""The catalogue of QiTech Control as a table: which machine exists in which profile, and which mutations it takes.

Source: facts of qitechgmbh/control 2.14.0 to 3.0.0 (section 5), written down here a second time on purpose: the
mappings are compared with it.
"""

from __future__ import annotations

from typing import NamedTuple

BOTH = ("2.x", "3.x")
OLD = ("2.x",)


class Kind(NamedTuple):
    """One machine type."""

    number: int
    slug: str
    profiles: tuple[str, ...]
    mutations: frozenset[str] = frozenset()


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


EXTRUDER = names("""
    SetExtruderMode SetInverterRotationDirection SetInverterTargetRpm SetInverterTargetPressure SetInverterRegulation
    SetFrontHeatingTargetTemperature SetBackHeatingTargetTemperature SetMiddleHeatingTemperature
    SetNozzleHeatingTemperature SetExtruderPressureLimit SetExtruderPressureLimitIsEnabled SetPressurePidSettings
    SetTemperaturePidSettings StartPressurePidAutoTune StopPressurePidAutoTune ResetInverter
    SetNozzleTemperatureTargetEnabled
""")
WINDER = names("""
    SetMode SetTraverseLimitInner SetTraverseLimitOuter SetTraverseStepSize SetTraversePadding GotoTraverseLimitInner
    GotoTraverseLimitOuter GotoTraverseHome EnableTraverseLaserpointer SetPullerRegulationMode SetPullerTargetSpeed
    SetPullerForward SetPullerGearRatio SetSpoolRegulationMode SetSpoolMinMaxMinSpeed SetSpoolMinMaxMaxSpeed
    SetSpoolForward SetSpoolAdaptiveTensionTarget SetSpoolAdaptiveRadiusLearningRate SetSpoolAdaptiveMaxSpeedMultiplier
    SetSpoolAdaptiveAccelerationFactor SetSpoolAdaptiveDeaccelerationUrgencyMultiplier SetSpoolAutomaticRequiredMeters
    SetSpoolAutomaticAction ResetSpoolProgress ZeroTensionArmAngle SetPullerAdaptiveMaxSpeedChangePercent
    SetPullerAdaptiveStepPercent SetPullerAdaptiveAdjustmentIntervalMeters SetPullerAdaptiveAcceptedDifference
""")
LASER = names("SetTargetDiameter SetLowerTolerance SetHigherTolerance SetGlobalWarning")


def aquapath(*sides: str) -> frozenset[str]:
    """The mutations of an Aquapath with circuits of these names."""
    ends = names("""
        Temperature Flow Revolutions HeatingTolerance CoolingTolerance PidKp PidKi PidKd ThermalFlowSettleDuration
        PumpCooldownMinTemperature
    """)
    of_sides = {f"Set{side}{end}" for side in sides for end in ends}
    return frozenset({"SetAquaPathMode", "SetAmbientTemperatureCalibration", *of_sides})


OUTPUTS = names("SetOutput SetAllOutputs")
LEDS = names("SetLed SetAllLeds")
RATE = names("measurement_rate_hz")

CATALOGUE = {
    "qitech/winder": Kind(2, "winder_v1", BOTH, WINDER),
    "qitech/winder_spool": Kind(98, "winder_v1_spool", BOTH, WINDER),
    "qitech/extruder": Kind(4, "extruder_v1", BOTH, EXTRUDER),
    "qitech/extruder_v3": Kind(22, "extruder_v2", BOTH, EXTRUDER),
    "qitech/laser": Kind(6, "laser_v1", BOTH, LASER),
    "qitech/aquapath_2x": Kind(9, "aquapath_v1", ("2.x",), aquapath("Front", "Back")),
    "qitech/aquapath_3x": Kind(9, "aquapath_v1", ("3.x",), aquapath("Left", "Right")),
    "qitech/wago_power": Kind(10, "wago_power_v1", OLD, names("SetMode")),
    "qitech/buffer": Kind(8, "buffer_v1", OLD),
    "qitech/mock": Kind(7, "mock", OLD, names("SetFrequency1 SetFrequency2 SetFrequency3 SetMode")),
    "qitech/wago_do_test_machine": Kind(14, "wago_do_test_machine", OLD, LEDS),
    "qitech/motor_test_machine": Kind(17, "motor_test_machine", OLD, names("SetMotorOn SetMotorVelocity")),
    "qitech/test_machine": Kind(51, "test_machine", OLD, LEDS),
    "qitech/ip20_test_machine": Kind(52, "ip20_test_machine", OLD, OUTPUTS),
    "qitech/analog_input_test_machine": Kind(53, "analog_input_test_machine", OLD, RATE),
    "qitech/wago_ai_test_machine": Kind(54, "wago_ai_test_machine", OLD, RATE),
    "qitech/test_machine_stepper": Kind(
        55, "test_machine_stepper", OLD, names("SetTargetSpeed SetEnabled SetFreq SetAccFreq")
    ),
    "qitech/bottlecaps_test_machine": Kind(
        57,
        "bottlecaps_test_machine",
        OLD,
        names("SetOverrideInput SetStepperTargetSpeed SetStepperEnabled SetStepperFreq SetStepperAccFreq"),
    ),
    "qitech/digital_input_test_machine": Kind(64, "digital_input_test_machine", OLD),
    "qitech/wago_8ch_io_test_machine": Kind(65, "wago_8ch_io_test_machine", OLD, names("SetOutput")),
    "qitech/wago_750_501_test_machine": Kind(66, "wago_750_501_test_machine", OLD, OUTPUTS),
    "qitech/wago_750_430_di_machine": Kind(67, "wago_750_430_di_machine", OLD),
    "qitech/wago_750_460_machine": Kind(68, "wago_750_460_machine", OLD),
    "qitech/wago_750_553_machine": Kind(70, "wago_750_553_machine", OLD, OUTPUTS),
    "qitech/wago_750_531_machine": Kind(71, "wago_750_531_machine", OLD, OUTPUTS),
    "qitech/wago_serial": Kind(103, "", OLD, names("SendMessage")),
}
"""By the mapping each is to have."""

LEFT_OUT = {
    "SetPullerTargetDiameter": "ends the panel's process, in every release",
    "SetPullerAdaptiveReferenceMachine": "ends it on 2.16 and 2.17 when the machine is not there",
    "SetBufferMode": "ends it when it is to fill or empty from Standby",
    "SetConnectedMachine": "does nothing on a buffer; on a winder of 2.14 and 2.15 names another machine",
    "DisconnectMachine": "as SetConnectedMachine",
    "SetMotorOff": "does nothing",
    "device_machine_identification": "writes terminal EEPROMs",
    "hardware_identification_ethercat": "writes terminal EEPROMs",
}
"""Mutations that no mapping may be able to express."""

HAZARDS = {
    "heat": names("""
        SetExtruderMode SetFrontHeatingTargetTemperature SetBackHeatingTargetTemperature SetMiddleHeatingTemperature
        SetNozzleHeatingTemperature SetAquaPathMode SetFrontTemperature SetBackTemperature SetLeftTemperature
        SetRightTemperature
    """),
    "power": names("SetFrontFlow SetBackFlow SetLeftFlow SetRightFlow SetAquaPathMode"),
    "motion": names("""
        SetInverterTargetRpm SetInverterTargetPressure SetInverterRotationDirection SetInverterRegulation
        GotoTraverseHome GotoTraverseLimitInner GotoTraverseLimitOuter SetPullerTargetSpeed SetPullerForward
        SetPullerGearRatio SetSpoolForward SetSpoolMinMaxMinSpeed SetSpoolMinMaxMaxSpeed SetTraverseLimitInner
        SetTraverseLimitOuter SetMotorOn SetMotorVelocity SetTargetSpeed SetEnabled SetStepperTargetSpeed
        SetStepperEnabled SetOutput SetAllOutputs SetLed SetAllLeds SetExtruderMode StartPressurePidAutoTune
    """),
    "protection": names("""
        SetExtruderPressureLimit SetExtruderPressureLimitIsEnabled SetPressurePidSettings SetTemperaturePidSettings
        StartPressurePidAutoTune SetLowerTolerance SetHigherTolerance SetFrontPidKp SetRightPidKd
        SetBackThermalFlowSettleDuration SetLeftPumpCooldownMinTemperature
    """),
    "loses_data": names("ResetSpoolProgress ZeroTensionArmAngle"),
}
"""Mutations that are dangerous, by what they may do."""
