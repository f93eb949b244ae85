"""aquapath_v1 (9): two cooling-water circuits. 2.x calls them front and back, 3.x left and right.

Each circuit has a pump, a heater, a fan cooler and a reservoir; first-order temperatures, flow that follows the pump.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.sim.qitech import units
from bridge.sim.qitech.machines.base import Handlers, Machine, approach, clamp
from bridge.sim.qitech.serde import Ignored, boolean, f64, one_of

HEATER_W = 700.0
NOMINAL_FLOW_L_MIN = 12.0
MAX_TARGET_C = 80.0
TEMPERATURE_TAU_S = 40.0


class Circuit:
    """One side."""

    def __init__(self) -> None:
        self.temperature = 24.0
        self.low_flow = False
        """Fault: the pump finds no water."""
        self.reset()

    def reset(self) -> None:
        """Defaults."""
        self.target = 24.0
        self.should_flow = False
        self.flow = 0.0
        self.max_revolutions = 100.0
        self.revolutions = 0.0
        self.heating_tolerance = 0.4
        self.cooling_tolerance = 0.8
        self.gains = {"kp": 0.16, "ki": 0.02, "kd": 0.0}
        self.thermal_delay = 5.0
        self.cooldown_min_temperature = 45.0
        self.heating = False
        self.cooling_mode: str | None = None
        self.power = 0.0
        self.energy_wh = 0.0

    def regulate(self, on: bool, ambient: float, dt: float) -> None:
        """One step: pump, heater or fan, water."""
        pumping = on and self.should_flow and not self.low_flow
        self.flow = approach(self.flow, NOMINAL_FLOW_L_MIN if pumping else 0.0, dt, 0.8)
        error = self.target - self.temperature
        self.heating = pumping and error > self.heating_tolerance
        cooling = pumping and -error > self.cooling_tolerance
        self.cooling_mode = None if not cooling else "Max" if -error > 10 else "Ramp" if -error > 3 else "Low"
        fan = {None: 0.0, "Low": 0.3, "Ramp": 0.6, "Max": 1.0}[self.cooling_mode] * self.max_revolutions
        self.revolutions = approach(self.revolutions, fan, dt, 1.5)
        self.power = HEATER_W * clamp(0.2 + error / 20, 0.0, 1.0) if self.heating else 0.0
        goal = self.target + 5.0 if self.heating else self.target - 5.0 if cooling else self.temperature
        if not pumping:
            goal = ambient
        self.temperature = approach(self.temperature, goal, dt, TEMPERATURE_TAU_S if pumping else 900.0)
        self.energy_wh += self.power * dt / 3600


class Aquapath(Machine):
    """Both circuits behind one mode."""

    def reset(self) -> None:
        """Standby; ambient calibration 22 °C."""
        self.mode = "Standby"
        self.ambient = 22.0
        names = ("left", "right") if self.release.major >= 3 else ("front", "back")
        self.circuits: dict[str, Circuit] = getattr(self, "circuits", None) or {name: Circuit() for name in names}
        for circuit in self.circuits.values():
            circuit.reset()

    def physics(self, dt: float) -> None:
        """Regulate both sides; a pump that finds no water stops itself, with a notice."""
        for name, circuit in self.circuits.items():
            circuit.regulate(self.mode == "Auto", self.ambient, dt)
            if circuit.low_flow and circuit.should_flow and self.mode == "Auto":
                self._stop_pump(name, circuit)

    def _stop_pump(self, name: str, circuit: Circuit) -> None:
        circuit.should_flow = False
        self.notice(f"{name.capitalize()} pump turned off", "The flow was too low, so the pump was turned off.")
        self.announce()

    def notice(self, title: str, message: str) -> None:
        """NoticeEvent, since 2.16, on Socket.IO only."""
        if self.release.since(2, 16):
            self.outbox.append(("NoticeEvent", {"title": title, "message": message}))

    def live_values(self) -> dict[str, Any]:
        """l/min, °C, %, W, Wh by side."""
        live: dict[str, Any] = {}
        for name, circuit in self.circuits.items():
            live |= {f"{name}_{field}": value for field, value in self._side(circuit).items()}
        return live

    def _side(self, circuit: Circuit) -> dict[str, Any]:
        side: dict[str, Any] = {
            "flow": max(0.0, circuit.flow + (self.rng.gauss(0.0, 0.02) if circuit.flow > 0.1 else 0.0)),
            "temperature": circuit.temperature + self.rng.gauss(0.0, 0.01),
        }
        if self.release.major == 2:
            side["temp_reservoir"] = circuit.temperature - 0.5 + self.rng.gauss(0.0, 0.01)
        side["revolutions"] = circuit.revolutions
        side["power"] = circuit.power
        side["total_energy"] = circuit.energy_wh
        if self.release.since(2, 16):
            side |= {
                "heating": circuit.heating,
                "cooling_mode": circuit.cooling_mode,
                "pump_cooldown_active": False,
                "pump_cooldown_remaining": 0.0,
                "heating_startup_wait_active": False,
                "heating_startup_wait_remaining": 0.0,
            }
        return side

    def state(self) -> dict[str, Any]:
        """Both fan fields carry the maximum."""
        state: dict[str, Any] = {
            "is_default_state": False,
            "mode_state": {"mode": self.mode},
            "flow_states": self._each(lambda c: {"flow": c.flow, "should_flow": c.should_flow}),
            "temperature_states": self._each(lambda c: {"temperature": c.temperature, "target_temperature": c.target}),
            "fan_states": self._each(
                lambda c: {"revolutions": c.max_revolutions, "max_revolutions": c.max_revolutions}
            ),
            "tolerance_states": self._each(lambda c: {"heating": c.heating_tolerance, "cooling": c.cooling_tolerance}),
        }
        return state | (self._newer_state() if self.release.since(2, 16) else {})

    def _newer_state(self) -> dict[str, Any]:
        return {
            "ambient_temperature_calibration": self.ambient,
            "default_heating_tolerance": 0.4,
            "default_cooling_tolerance": 0.8,
            "default_pid_kp": 0.16,
            "default_pid_ki": 0.02,
            "default_pid_kd": 0.0,
            "cooling_mode_states": self._each(lambda c: {"mode": c.cooling_mode}),
            "pid_states": self._each(lambda c: dict(c.gains)),
            "thermal_safety_states": self._each(
                lambda c: {
                    "thermal_delay": c.thermal_delay,
                    "cooldown_min_temperature": c.cooldown_min_temperature,
                }
            ),
        }

    def _each(self, show: Callable[[Circuit], dict[str, Any]]) -> dict[str, Any]:
        return {name: show(circuit) for name, circuit in self.circuits.items()}

    def handlers(self) -> Handlers:
        """Section 5.4 of the facts, once per side."""
        handlers: dict[str, Any] = {"SetAquaPathMode": (one_of("Standby", "Auto"), self.setter("mode"))}
        if self.release.since(2, 16):
            handlers["SetAmbientTemperatureCalibration"] = (f64, self._set_ambient)
        for name, circuit in self.circuits.items():
            handlers |= self._side_handlers(name.capitalize(), circuit)
        return handlers

    def _side_handlers(self, side: str, circuit: Circuit) -> Handlers:
        handlers: dict[str, Any] = {
            f"Set{side}Temperature": (f64, self._into(circuit, "target", self._clamp_target)),
            f"Set{side}Flow": (boolean, self._into(circuit, "should_flow", None)),
            f"Set{side}Revolutions": (f64, self._into(circuit, "max_revolutions", None)),
            f"Set{side}HeatingTolerance": (f64, self._into(circuit, "heating_tolerance", _clamped(0.0, 10.0))),
            f"Set{side}CoolingTolerance": (f64, self._into(circuit, "cooling_tolerance", _clamped(0.0, 10.0))),
        }
        if not self.release.since(2, 16):
            return handlers
        for gain in ("kp", "ki", "kd"):
            handlers[f"Set{side}Pid{gain.capitalize()}"] = (f64, self._gain_setter(circuit, gain))
        handlers[f"Set{side}ThermalFlowSettleDuration"] = (
            f64,
            self._in_standby(self._into(circuit, "thermal_delay", _clamped(0.0, 30.0))),
        )
        handlers[f"Set{side}PumpCooldownMinTemperature"] = (
            f64,
            self._in_standby(self._into(circuit, "cooldown_min_temperature", _clamped(10.0, 80.0))),
        )
        return handlers

    def _into(
        self, circuit: Circuit, attribute: str, convert: Callable[[float], float] | None
    ) -> Callable[[Any], None]:
        def act(value: Any) -> None:
            setattr(circuit, attribute, value if convert is None else convert(value))
            self.announce()

        return act

    def _gain_setter(self, circuit: Circuit, gain: str) -> Callable[[float], None]:
        def act(value: float) -> None:
            circuit.gains[gain] = clamp(value, 0.0, 5.0)
            self.announce()

        return act

    def _in_standby(self, act: Callable[[Any], None]) -> Callable[[Any], None]:
        def guarded(value: Any) -> None:
            if self.mode != "Standby":
                raise Ignored("only in Standby")
            act(value)

        return guarded

    def _clamp_target(self, value: float) -> float:
        return clamp(units.celsius(value), self.ambient, MAX_TARGET_C)

    def _set_ambient(self, value: float) -> None:
        self.ambient = clamp(units.celsius(value), 10.0, 80.0)
        for circuit in self.circuits.values():
            circuit.target = max(circuit.target, self.ambient)
        self.announce()


def _clamped(low: float, high: float) -> Callable[[float], float]:
    return lambda value: clamp(value, low, high)
