"""laser_v1 (6): the diameter gauge."""

from __future__ import annotations

from math import sin
from typing import Any

from bridge.sim.qitech import units
from bridge.sim.qitech.machines.base import Handlers, Machine
from bridge.sim.qitech.serde import boolean, f64


class Laser(Machine):
    """A filament that breathes around 1.75 mm under a two-axis gauge.

    Quirk kept: until SetTargetDiameter was sent once, in_tolerance is judged against 0 mm though 1.75 is shown.
    """

    def reset(self) -> None:
        """1.75 mm, ± 0.05 mm."""
        self.target = 1.75
        self.lower_tolerance = 0.05
        self.higher_tolerance = 0.05
        self.global_warning = True
        self.judged_target = 0.0
        self.filament = getattr(self, "filament", True)
        self.filament_mm = getattr(self, "filament_mm", 1.75)
        self.x_diameter: float | None = None
        self.y_diameter: float | None = None
        self.diameter = 0.0
        self.in_tolerance = False

    def physics(self, dt: float) -> None:
        """Measure, and announce when the judgement flips."""
        self._measure()
        judgement = self._judge()
        if judgement != self.in_tolerance:
            self.in_tolerance = judgement
            self.announce()

    def _measure(self) -> None:
        if not self.filament:
            self.diameter, self.x_diameter, self.y_diameter = 0.0, None, None
            return
        drift = 0.012 * sin(self.uptime / 7.0)
        self.x_diameter = self.filament_mm + drift + self.rng.gauss(0.0, 0.003)
        self.y_diameter = self.filament_mm + drift * 0.8 + self.rng.gauss(0.0, 0.003)
        self.diameter = (self.x_diameter + self.y_diameter) / 2

    def _judge(self) -> bool:
        low, high = self.judged_target - self.lower_tolerance, self.judged_target + self.higher_tolerance
        return low <= self.diameter <= high

    def live_values(self) -> dict[str, Any]:
        """mm; roundness is a ratio. 0.0 and null while nothing is measured."""
        x, y = self.x_diameter, self.y_diameter
        roundness = min(x, y) / max(x, y) if x and y else None
        return {"diameter": self.diameter, "x_diameter": x, "y_diameter": y, "roundness": roundness}

    def state(self) -> dict[str, Any]:
        """global_warning came with 2.16."""
        laser: dict[str, Any] = {
            "higher_tolerance": self.higher_tolerance,
            "lower_tolerance": self.lower_tolerance,
            "target_diameter": self.target,
            "in_tolerance": self.in_tolerance,
        }
        if self.release.since(2, 16):
            laser["global_warning"] = self.global_warning
        return {"is_default_state": False, "laser_state": laser}

    def handlers(self) -> Handlers:
        """Nothing is checked or clamped."""
        handlers = {
            "SetTargetDiameter": (f64, self._set_target),
            "SetLowerTolerance": (f64, self.setter("lower_tolerance", units.millimeter)),
            "SetHigherTolerance": (f64, self.setter("higher_tolerance", units.millimeter)),
        }
        if self.release.since(2, 16):
            handlers["SetGlobalWarning"] = (boolean, self.setter("global_warning"))
        return handlers

    def _set_target(self, value: float) -> None:
        self.target = self.judged_target = units.millimeter(value)
        self.announce()
