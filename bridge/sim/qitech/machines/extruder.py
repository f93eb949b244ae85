"""Extruders: extruder_v1 (id 4, HMI "Extruder V2") and extruder_v2 (id 22, HMI "Extruder V3").

Four heating zones behind first-order thermal models, a screw that ramps, a melt pressure that follows it.
"""

from __future__ import annotations

from typing import Any

from bridge.sim.qitech import units
from bridge.sim.qitech.machines.base import Handlers, Machine, approach, clamp, ramp
from bridge.sim.qitech.serde import boolean, f64, one_of, struct, text

AMBIENT_C = 22.0
NOMINAL_W = {"nozzle": 200.0, "front": 700.0, "back": 700.0, "middle": 700.0}
HEADROOM_C = 400.0
"""How far above the room a zone would get at full power for ever."""
HEATING_TAU_S = 120.0
RELAY_CUT_C = 300.0
SCREW_RAMP_RPM_S = 15.0
BAR_PER_RPM = 2.2
AUTOTUNE_S = 30.0

_GAINS = struct(ki=f64, kp=f64, kd=f64)


class Zone:
    """One heating zone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.temperature = AMBIENT_C
        self.wiring_error = False
        self.reset()

    def reset(self) -> None:
        """Defaults after a restart; the metal keeps its temperature."""
        self.target = 0.0
        self.duty = 0.0
        self.gains = {"ki": 0.1, "kp": 0.1, "kd": 0.1}

    def heat(self, on: bool, dt: float) -> None:
        """Regulate, then let the metal follow."""
        allowed = on and not self.wiring_error and self.temperature <= RELAY_CUT_C
        hold = (self.target - AMBIENT_C) / HEADROOM_C
        self.duty = clamp(hold + 0.05 * (self.target - self.temperature), 0.0, 1.0) if allowed else 0.0
        self.temperature = approach(self.temperature, AMBIENT_C + HEADROOM_C * self.duty, dt, HEATING_TAU_S)

    @property
    def power(self) -> float:
        """W."""
        return self.duty * NOMINAL_W[self.name]


class Extruder(Machine):
    """Both extruders; they differ in name, maximum speed and the habit of the default flag."""

    def reset(self) -> None:
        """Standby, everything 0, limit 100 bar enabled, regulated by speed, forward."""
        self.mode = "Standby"
        self.forward = True
        self.uses_rpm = True
        self.target_rpm = 0.0
        self.target_bar = 0.0
        self.pressure_limit = 100.0
        self.pressure_limit_enabled = True
        self.nozzle_target_enabled = True
        self.pressure_gains = {"ki": 0.0, "kp": 0.0, "kd": 0.0}
        self.autotune = "not_started"
        self.autotune_elapsed = 0.0
        self.autotune_result: dict[str, float] | None = None
        self.energy_kwh = 0.0
        self.screw_rpm = 0.0
        self.pressure = getattr(self, "pressure", 0.0)
        self.pressure_wiring_error = getattr(self, "pressure_wiring_error", False)
        self.zones: dict[str, Zone] = getattr(self, "zones", None) or {name: Zone(name) for name in NOMINAL_W}
        self.fresh = self.slug == "extruder_v2"
        for zone in self.zones.values():
            zone.reset()
        self._inverter = self._inverter_status()

    def break_sensor(self, name: str, broken: bool) -> None:
        """Fault: a zone's sensor, or the one of the pressure. Nothing is announced. Raises ValueError."""
        if name == "pressure":
            self.pressure_wiring_error = broken
        elif name in self.zones:
            self.zones[name].wiring_error = broken
        else:
            raise ValueError(f"no sensor {name!r}; there are pressure, {', '.join(self.zones)}")

    def physics(self, dt: float) -> None:
        """Heat, turn, press, watch the limit, count energy."""
        for zone in self.zones.values():
            zone.heat(self.mode != "Standby", dt)
        self._turn(dt)
        self._watch_pressure()
        self._tune(dt)
        self.energy_kwh += self._combined_power() * dt / 3.6e6
        status = self._inverter_status()
        if status != self._inverter:
            self._inverter = status
            self.announce()

    def _turn(self, dt: float) -> None:
        if self.mode != "Extrude":
            wanted = 0.0
        elif self.uses_rpm:
            wanted = self.target_rpm
        else:
            wanted = clamp(self.screw_rpm + 0.2 * (self.target_bar - self.pressure), 0.0, 100.0)
        self.screw_rpm = ramp(self.screw_rpm, wanted, SCREW_RAMP_RPM_S * dt)
        self.pressure = approach(self.pressure, self.screw_rpm * BAR_PER_RPM, dt, 2.0)

    def _watch_pressure(self) -> None:
        # The real machine announces nothing here: clients learn of the fall-back with the next unrelated StateEvent.
        if self.mode == "Extrude" and self.pressure_limit_enabled and self.pressure > self.pressure_limit:
            self.mode = "Heat"

    def _tune(self, dt: float) -> None:
        if self.autotune != "running":
            return
        self.autotune_elapsed += dt
        if self.mode != "Extrude":
            self.autotune = "failed"
        elif self.autotune_elapsed >= AUTOTUNE_S:
            self.autotune = "completed"
            self.autotune_result = {"ki": 0.05, "kp": 0.4, "kd": 0.02}

    def _combined_power(self) -> float:
        return sum(zone.power for zone in self.zones.values()) + self._motor()["power"]

    def _motor(self) -> dict[str, float]:
        frequency = self.screw_rpm * 50.0 / 44.0
        voltage = frequency * 8.0
        current = 0.6 + self.pressure * 0.02 if self.screw_rpm > 0.0 else 0.0
        return {
            "screw_rpm": self.screw_rpm,
            "frequency": frequency,
            "voltage": voltage,
            "current": current,
            "power": voltage * current,
        }

    def _inverter_status(self) -> dict[str, bool]:
        running = self.screw_rpm > 0.0
        return {
            "running": running,
            "forward_running": running and self.forward,
            "reverse_running": running and not self.forward,
            "up_to_frequency": running and self.uses_rpm and self.screw_rpm == self.target_rpm,
            "overload_warning": False,
            "no_function": False,
            "output_frequency_detection": False,
            "abc_fault": False,
            "fault_occurence": False,
        }

    def live_values(self) -> dict[str, Any]:
        """30 Hz. A zone with a wiring error reads 0.0, not NaN; so does the pressure."""
        motor = self._motor()
        live: dict[str, Any] = {"motor_status": motor, "pressure": self._measured_pressure()}
        for name in ("nozzle", "front", "back", "middle"):
            live[f"{name}_temperature"] = self._measured_temperature(self.zones[name])
        for name in ("nozzle", "front", "back", "middle"):
            live[f"{name}_power"] = self.zones[name].power
        live["combined_power"] = self._combined_power()
        live["total_energy_kwh"] = self.energy_kwh
        return live

    def _measured_pressure(self) -> float:
        return 0.0 if self.pressure_wiring_error else max(0.0, self.pressure + self.rng.gauss(0.0, 0.05))

    def _measured_temperature(self, zone: Zone) -> float:
        return 0.0 if zone.wiring_error else zone.temperature + self.rng.gauss(0.0, 0.02)

    def state(self) -> dict[str, Any]:
        """As recorded; fields that came later are missing on earlier releases."""
        fresh, self.fresh = self.fresh, False
        state = {
            "is_default_state": fresh,
            "rotation_state": {"forward": self.forward},
            "mode_state": {"mode": self.mode},
            "regulation_state": {"uses_rpm": self.uses_rpm},
            "pressure_state": {"target_bar": self.target_bar, "wiring_error": self.pressure_wiring_error},
            "screw_state": {"target_rpm": self.target_rpm},
            "heating_states": {
                name: {"target_temperature": zone.target, "wiring_error": zone.wiring_error}
                for name, zone in self.zones.items()
            },
            "extruder_settings_state": self._settings(),
            "inverter_status_state": self._inverter_status(),
            "pid_settings": self._pid_settings(),
        }
        if self.release.since(2, 16):
            state["pid_autotune_state"] = {
                "state": self.autotune,
                "progress": min(100.0, 100.0 * self.autotune_elapsed / AUTOTUNE_S),
                "result": self.autotune_result,
            }
        return state

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "pressure_limit": self.pressure_limit,
            "pressure_limit_enabled": self.pressure_limit_enabled,
        }
        if self.release.since(2, 15):
            settings["nozzle_temperature_target_enabled"] = self.nozzle_target_enabled
        return settings

    def _pid_settings(self) -> dict[str, Any]:
        zones = (self.zones[name] for name in ("front", "middle", "back", "nozzle"))
        return {
            "temperature": {zone.name: {**zone.gains, "zone": zone.name} for zone in zones},
            "pressure": dict(self.pressure_gains),
        }

    def handlers(self) -> Handlers:
        """Section 5.1 of the facts; two of the four heating setters have no "Target" in their names."""
        handlers = {
            "SetExtruderMode": (one_of("Standby", "Heat", "Extrude"), self.setter("mode")),
            "SetInverterRotationDirection": (boolean, self.setter("forward")),
            "SetInverterTargetRpm": (f64, self.setter("target_rpm", units.rpm)),
            "SetInverterTargetPressure": (f64, self.setter("target_bar", units.bar)),
            "SetInverterRegulation": (boolean, self.setter("uses_rpm")),
            "SetFrontHeatingTargetTemperature": (f64, self._zone_setter("front")),
            "SetBackHeatingTargetTemperature": (f64, self._zone_setter("back")),
            "SetMiddleHeatingTemperature": (f64, self._zone_setter("middle")),
            "SetNozzleHeatingTemperature": (f64, self._zone_setter("nozzle")),
            "SetExtruderPressureLimit": (f64, self.setter("pressure_limit", units.bar)),
            "SetExtruderPressureLimitIsEnabled": (boolean, self.setter("pressure_limit_enabled")),
            "SetPressurePidSettings": (_GAINS, self.setter("pressure_gains")),
            "SetTemperaturePidSettings": (struct(ki=f64, kp=f64, kd=f64, zone=text), self._set_zone_gains),
            "ResetInverter": (boolean, lambda _: None),
        }
        if self.release.since(2, 15):
            handlers["SetNozzleTemperatureTargetEnabled"] = (boolean, self.setter("nozzle_target_enabled"))
        if self.release.since(2, 16):
            handlers["StartPressurePidAutoTune"] = (struct(tune_delta=f64, frequency_step_hz=f64), self._start_tuning)
            handlers["StopPressurePidAutoTune"] = (struct(), self._stop_tuning)
        return handlers

    def _zone_setter(self, name: str) -> Any:
        def act(value: float) -> None:
            self.zones[name].target = units.celsius(value)
            self.announce()

        return act

    def _set_zone_gains(self, settings: dict[str, Any]) -> None:
        zone = self.zones.get(settings.pop("zone"))
        if zone is not None:
            zone.gains = settings
            self.announce()

    def _start_tuning(self, _: dict[str, float]) -> None:
        if self.mode == "Extrude" and not self.uses_rpm:
            self.autotune, self.autotune_elapsed, self.autotune_result = "running", 0.0, None
        self.announce()

    def _stop_tuning(self, _: dict[str, Any]) -> None:
        if self.autotune == "running":
            self.autotune, self.autotune_elapsed = "not_started", 0.0
        self.announce()
