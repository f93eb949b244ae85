"""Winders: winder_v1 (id 2, HMI "Winder V2"), winder_v1_spool and winder_v1_7031 (id 98).

A puller, a spool whose radius grows, a traverse that homes when Standby is left, a tension arm.
"""

from __future__ import annotations

from math import pi, sin
from typing import Any

from bridge.sim.qitech import units
from bridge.sim.qitech.catalogue import Identity
from bridge.sim.qitech.machines.base import Handlers, Machine, clamp, ramp
from bridge.sim.qitech.serde import IDENTITY, Ignored, Panic, boolean, f64, one_of, option, unit

TRAVERSE_MM_S = 25.0
HOMING_MM_S = 40.0
SPOOL_CORE_M = 0.05
FILAMENT_LAYER_M2 = 0.00175 * 0.00175 / 0.08
"""Cross-section of the filament per metre of spool width: what one metre adds to the wound ring."""


class Traverse:
    """The guide that lays the filament."""

    def __init__(self) -> None:
        self.position = 60.0
        self.reset()

    def reset(self) -> None:
        """Limits 22 and 92 mm, not homed: the position is unknown."""
        self.limit_inner = 22.0
        self.limit_outer = 92.0
        self.step_size = 1.75
        self.padding = 0.88
        self.laserpointer = False
        self.is_homed = False
        self.doing = "idle"
        self.outwards = True

    def move(self, dt: float, spool_rpm: float) -> None:
        """Go where it is going."""
        if self.doing == "home":
            self._go(0.0, HOMING_MM_S * dt, homed=True)
        elif self.doing in ("in", "out"):
            self._go(self.limit_inner if self.doing == "in" else self.limit_outer, TRAVERSE_MM_S * dt)
        elif self.doing == "traverse":
            self._lay(self.step_size * spool_rpm / 60 * dt)

    def _go(self, target: float, step: float, homed: bool = False) -> None:
        self.position = ramp(self.position, target, step)
        if self.position == target:
            self.doing = "idle"
            self.is_homed = self.is_homed or homed

    def _lay(self, step: float) -> None:
        low, high = self.limit_inner + self.padding, self.limit_outer - self.padding
        self.position = ramp(self.position, high if self.outwards else low, step)
        if self.position in (low, high):
            self.outwards = self.position == low


class Winder(Machine):
    """All winders. Wind is refused unless the traverse is homed and the tension arm zeroed."""

    def reset(self) -> None:
        """Standby, 1 m/min forward, Adaptive, 250 m, NoAction."""
        self.mode = "Standby"
        self.traverse: Traverse = getattr(self, "traverse", None) or Traverse()
        self.traverse.reset()
        self.zeroed = False
        self.regulation = "Speed"
        self.target_speed = 1.0
        self.puller_forward = True
        self.gear_ratio = "OneToOne"
        self.adaptive_speed_delta_max = 0.1
        self.adaptive_adjustment_distance = 1.0
        self.adaptive_change_per_step = 0.01
        self.allowed_diameter_deviation = 0.05
        self.target_diameter = 1.75
        self.reference: dict[str, Any] | None = None
        self.required_meters = 250.0
        self.automatic_action = "NoAction"
        self.spool_regulation = "Adaptive"
        self.minmax_min = 0.0
        self.minmax_max = 150.0
        self.tension_target = 0.7
        self.radius_learning_rate = 0.5
        self.max_speed_multiplier = 4.0
        self.acceleration_factor = 0.2
        self.deacceleration_urgency = 15.0
        self.spool_forward = True
        self.puller_speed = 0.0
        self.spool_rpm = 0.0
        self.spool_progress = 0.0
        self.fresh = True

    # -- physics

    def physics(self, dt: float) -> None:
        """Pull, wind, lay, finish the spool."""
        before = (self.traverse.doing, self.traverse.is_homed)
        self._pull(dt)
        self.traverse.move(dt, self.spool_rpm)
        self._finish_spool()
        if (self.traverse.doing, self.traverse.is_homed) != before:
            self.announce()

    def _pull(self, dt: float) -> None:
        wanted = self.target_speed if self.mode in ("Pull", "Wind") else 0.0
        if self.regulation == "Diameter":
            wanted *= 1.0 + 0.02 * sin(self.uptime / 5.0)
        self.puller_speed = ramp(self.puller_speed, abs(wanted), 10.0 * dt)
        radius = (SPOOL_CORE_M**2 + FILAMENT_LAYER_M2 * self.spool_progress / pi) ** 0.5
        rpm = self.puller_speed / (2 * pi * radius) if self.mode == "Wind" else 0.0
        if self.spool_regulation == "MinMax" and self.mode == "Wind":
            rpm = clamp(rpm, self.minmax_min, max(self.minmax_min, self.minmax_max))
        self.spool_rpm = rpm
        if self.mode == "Wind":
            self.spool_progress += self.puller_speed * dt / 60

    def _finish_spool(self) -> None:
        if self.mode == "Wind" and self.automatic_action != "NoAction" and self.spool_progress >= self.required_meters:
            self.spool_progress = 0.0
            self._enter(self.automatic_action)
            self.announce()

    # -- what may be done

    @property
    def can_wind(self) -> bool:
        """Homed, zeroed, powered, and not on its way somewhere."""
        ready = self.traverse.is_homed and self.zeroed and self.mode != "Standby"
        return ready and self.traverse.doing in ("idle", "traverse")

    @property
    def can_go(self) -> bool:
        """In or out."""
        return self.traverse.is_homed and self.can_go_home

    @property
    def can_go_home(self) -> bool:
        """Powered, not winding, not homing."""
        return self.mode in ("Hold", "Pull") and self.traverse.doing != "home"

    def _enter(self, mode: str) -> None:
        if self.mode == "Standby" and mode != "Standby":
            self.traverse.is_homed, self.traverse.doing = False, "home"
        elif mode == "Standby":
            self.traverse.doing = "idle"
        elif mode == "Wind":
            self.traverse.doing = "traverse"
        elif self.traverse.doing == "traverse":
            self.traverse.doing = "idle"
        self.mode = mode

    # -- what is shown

    def live_values(self) -> dict[str, Any]:
        """30 Hz. Speeds are absolute; the traverse position is null until homed."""
        swing = {"Standby": 0.0, "Hold": 0.0, "Pull": 3.0, "Wind": 8.0}[self.mode]
        return {
            "traverse_position": self.traverse.position if self.traverse.is_homed else None,
            "puller_speed": self.puller_speed,
            "spool_rpm": self.spool_rpm,
            "tension_arm_angle": 20.0 + swing * sin(self.uptime * 1.3) + self.rng.gauss(0.0, 0.05),
            "spool_progress": self.spool_progress,
        }

    def state(self) -> dict[str, Any]:
        """Key order as recorded. Building the state consumes the default flag."""
        fresh, self.fresh = self.fresh, False
        state = {
            "is_default_state": fresh,
            "traverse_state": self._traverse_state(),
            "puller_state": self._puller_state(),
            "spool_automatic_action_state": {
                "spool_required_meters": self.required_meters,
                "spool_automatic_action_mode": self.automatic_action,
            },
            "mode_state": {"mode": self.mode, "can_wind": self.can_wind},
            "tension_arm_state": {"zeroed": self.zeroed},
            "spool_speed_controller_state": self._spool_state(),
        }
        if self.release.since(2, 16):
            state["puller_reference_machine"] = self.reference
        else:
            state["connected_machine_state"] = {
                "machine_identification_unique": self.reference,
                "is_available": self.reference is not None,
            }
        return state

    def _traverse_state(self) -> dict[str, Any]:
        traverse = self.traverse
        return {
            "limit_inner": traverse.limit_inner,
            "limit_outer": traverse.limit_outer,
            "position_in": traverse.limit_inner,
            "position_out": traverse.limit_outer,
            "is_going_in": traverse.doing == "in",
            "is_going_out": traverse.doing == "out",
            "is_homed": traverse.is_homed,
            "is_going_home": traverse.doing == "home",
            "is_traversing": traverse.doing == "traverse",
            "laserpointer": traverse.laserpointer,
            "step_size": traverse.step_size,
            "padding": traverse.padding,
            "can_go_in": self.can_go,
            "can_go_out": self.can_go,
            "can_go_home": self.can_go_home,
        }

    def _puller_state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"regulation": self.regulation, "target_speed": self.target_speed}
        if not self.release.since(2, 16):
            state["target_diameter"] = self.target_diameter
        state["forward"] = self.puller_forward
        state["gear_ratio"] = self.gear_ratio
        if self.release.since(2, 16):
            state["adaptive_speed_delta_max"] = self.adaptive_speed_delta_max
            state["adaptive_adjustment_distance"] = self.adaptive_adjustment_distance
            state["adaptive_change_per_step"] = self.adaptive_change_per_step
            state["allowed_diameter_deviation"] = self.allowed_diameter_deviation
            state["adaptive_reference_machine"] = self.reference
        return state

    def _spool_state(self) -> dict[str, Any]:
        return {
            "regulation_mode": self.spool_regulation,
            "minmax_min_speed": self.minmax_min,
            "minmax_max_speed": self.minmax_max,
            "adaptive_tension_target": self.tension_target,
            "adaptive_radius_learning_rate": self.radius_learning_rate,
            "adaptive_max_speed_multiplier": self.max_speed_multiplier,
            "adaptive_acceleration_factor": self.acceleration_factor,
            "adaptive_deacceleration_urgency_multiplier": self.deacceleration_urgency,
            "forward": self.spool_forward,
        }

    # -- what it understands

    def handlers(self) -> Handlers:
        """Section 5.2 of the facts."""
        return {
            "SetMode": (one_of("Standby", "Hold", "Pull", "Wind"), self._set_mode),
            **self._traverse_handlers(),
            **self._puller_handlers(),
            **self._spool_handlers(),
            **self._reference_handlers(),
            "ZeroTensionArmAngle": (unit, lambda _: self.setter("zeroed")(True)),
        }

    def _traverse_handlers(self) -> Handlers:
        return {
            "SetTraverseLimitInner": (
                f64,
                lambda mm: self._set_limits(units.millimeter(mm), self.traverse.limit_outer),
            ),
            "SetTraverseLimitOuter": (
                f64,
                lambda mm: self._set_limits(self.traverse.limit_inner, units.millimeter(mm)),
            ),
            "SetTraverseStepSize": (f64, lambda mm: self._set_traverse("step_size", units.millimeter(mm))),
            "SetTraversePadding": (f64, lambda mm: self._set_traverse("padding", units.millimeter(mm))),
            "EnableTraverseLaserpointer": (boolean, lambda on: self._set_traverse("laserpointer", on)),
            "GotoTraverseLimitInner": (unit, lambda _: self._go("in", self.can_go)),
            "GotoTraverseLimitOuter": (unit, lambda _: self._go("out", self.can_go)),
            "GotoTraverseHome": (unit, lambda _: self._go("home", self.can_go_home)),
        }

    def _puller_handlers(self) -> Handlers:
        return {
            "SetPullerRegulationMode": (one_of("Speed", "Diameter"), self.setter("regulation")),
            "SetPullerTargetSpeed": (f64, self.setter("target_speed", units.meter_per_minute)),
            "SetPullerForward": (boolean, self.setter("puller_forward")),
            "SetPullerGearRatio": (one_of("OneToOne", "OneToFive", "OneToTen"), self.setter("gear_ratio")),
            "SetPullerTargetDiameter": (f64, _todo),
        }

    def _spool_handlers(self) -> Handlers:
        return {
            "SetSpoolRegulationMode": (one_of("Adaptive", "MinMax"), self.setter("spool_regulation")),
            "SetSpoolMinMaxMinSpeed": (f64, self.setter("minmax_min", units.rpm)),
            "SetSpoolMinMaxMaxSpeed": (f64, self.setter("minmax_max", units.rpm)),
            "SetSpoolForward": (boolean, self.setter("spool_forward")),
            "SetSpoolAdaptiveTensionTarget": (f64, self.setter("tension_target", lambda v: clamp(v, 0.0, 1.0))),
            "SetSpoolAdaptiveRadiusLearningRate": (f64, self.setter("radius_learning_rate", lambda v: max(v, 0.0))),
            "SetSpoolAdaptiveMaxSpeedMultiplier": (f64, self.setter("max_speed_multiplier", lambda v: max(v, 0.1))),
            "SetSpoolAdaptiveAccelerationFactor": (
                f64,
                self.setter("acceleration_factor", lambda v: clamp(v, 0.01, 1.0)),
            ),
            "SetSpoolAdaptiveDeaccelerationUrgencyMultiplier": (
                f64,
                self.setter("deacceleration_urgency", lambda v: max(v, 1.0)),
            ),
            "SetSpoolAutomaticRequiredMeters": (f64, self.setter("required_meters")),
            "SetSpoolAutomaticAction": (one_of("NoAction", "Pull", "Hold"), self.setter("automatic_action")),
            "ResetSpoolProgress": (unit, lambda _: setattr(self, "spool_progress", 0.0)),
        }

    def _reference_handlers(self) -> Handlers:
        if not self.release.since(2, 16):
            return {
                "SetConnectedMachine": (IDENTITY, self.setter("reference")),
                "DisconnectMachine": (IDENTITY, lambda _: self.setter("reference")(None)),
            }
        return {
            "SetPullerAdaptiveMaxSpeedChangePercent": (
                f64,
                self.setter("adaptive_speed_delta_max", lambda v: max(v, 0.0)),
            ),
            "SetPullerAdaptiveStepPercent": (
                f64,
                self.setter("adaptive_change_per_step", lambda v: clamp(v, 0.0, 1.0)),
            ),
            "SetPullerAdaptiveAdjustmentIntervalMeters": (f64, self.setter("adaptive_adjustment_distance")),
            "SetPullerAdaptiveAcceptedDifference": (f64, self.setter("allowed_diameter_deviation", units.millimeter)),
            "SetPullerAdaptiveReferenceMachine": (option(IDENTITY), self._set_reference),
        }

    def _set_mode(self, mode: str) -> None:
        if mode != self.mode and (mode != "Wind" or self.can_wind):
            self._enter(mode)
        self.announce()

    def _set_limits(self, inner: float, outer: float) -> None:
        if outer <= inner + 0.9:
            raise Ignored("the traverse needs 0.9 mm")
        self.traverse.limit_inner, self.traverse.limit_outer = inner, outer
        self.announce()

    def _set_traverse(self, attribute: str, value: Any) -> None:
        setattr(self.traverse, attribute, value)
        self.announce()

    def _go(self, where: str, allowed: bool) -> None:
        if not allowed:
            raise Ignored("the traverse cannot go there now")
        self.traverse.doing = where
        self.announce()

    def _set_reference(self, reference: dict[str, Any] | None) -> None:
        if self.release.major == 2 and reference is not None and _identity(reference) not in self.neighbours():
            raise Panic("SetPullerAdaptiveReferenceMachine names a machine that is not there")
        if self.release.major == 2 or reference is not None:
            self.reference = reference
        self.announce()


def _identity(reference: dict[str, Any]) -> Identity:
    kind = reference["machine_identification"]
    return Identity(kind["machine"], reference["serial"], kind["vendor"])


def _todo(_: float) -> None:
    raise Panic("SetPullerTargetDiameter: not yet implemented")
