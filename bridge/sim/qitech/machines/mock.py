"""mock (7): three sine waves, in the vendor's mock build only. As recorded."""

from __future__ import annotations

from math import pi, sin
from typing import Any

from bridge.sim.qitech import units
from bridge.sim.qitech.machines.base import Handlers, Machine
from bridge.sim.qitech.serde import f64, one_of


class Mock(Machine):
    """Frequencies in mHz; amplitudes are 0 in Standby."""

    def reset(self) -> None:
        """100, 200 and 500 mHz, Standby."""
        self.frequency1 = 100.0
        self.frequency2 = 200.0
        self.frequency3 = 500.0
        self.mode = "Standby"
        self.running_s = 0.0

    def physics(self, dt: float) -> None:
        """The waves run in Running only."""
        self.running_s = self.running_s + dt if self.mode == "Running" else 0.0

    def _wave(self, frequency_mhz: float) -> float:
        return sin(2 * pi * frequency_mhz / 1000 * self.running_s) if self.mode == "Running" else 0.0

    def live_values(self) -> dict[str, Any]:
        """Sum first, as the panel packs it."""
        waves = [self._wave(frequency) for frequency in (self.frequency1, self.frequency2, self.frequency3)]
        return {"amplitude_sum": sum(waves)} | {f"amplitude{i}": wave for i, wave in enumerate(waves, 1)}

    def state(self) -> dict[str, Any]:
        """The default flag is false from the start, as recorded."""
        return {
            "is_default_state": False,
            "frequency1": self.frequency1,
            "frequency2": self.frequency2,
            "frequency3": self.frequency3,
            "mode_state": {"mode": self.mode},
        }

    def handlers(self) -> Handlers:
        """SetFrequency1..3 in mHz, SetMode."""
        return {
            "SetFrequency1": (f64, self.setter("frequency1", units.millihertz)),
            "SetFrequency2": (f64, self.setter("frequency2", units.millihertz)),
            "SetFrequency3": (f64, self.setter("frequency3", units.millihertz)),
            "SetMode": (one_of("Standby", "Running"), self.setter("mode")),
        }
