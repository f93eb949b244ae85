"""wago_power_v1 (10): a 24 V supply. 2.x only; its events are "State" and "LiveValues", without "Event"."""

from __future__ import annotations

from typing import Any

from bridge.sim.qitech.machines.base import Handlers, Machine, approach
from bridge.sim.qitech.serde import one_of

FIRST_READ_S = 0.033


class WagoPower(Machine):
    """Nothing is measured until the first read; until then the state is called the default one, as recorded."""

    state_name = "State"
    live_name = "LiveValues"
    drains = True

    def reset(self) -> None:
        """Off."""
        self.mode = "Off"
        self.voltage = 0.0
        self.current_ma = 0.0

    @property
    def has_read(self) -> bool:
        """The first measurement is in. A machine gets one cycle of 33 ms before it is listed."""
        return self.uptime > 2 * FIRST_READ_S

    def physics(self, dt: float) -> None:
        """The supply comes up at once, the load's current a little later."""
        on = self.mode == "On24V"
        self.voltage = approach(self.voltage, 24.0 if on else 0.0, dt, 0.05)
        self.current_ma = approach(self.current_ma, 5000.0 if on else 0.0, dt, 0.1)

    def live_values(self) -> dict[str, Any] | None:
        """V and mA."""
        return {"voltage": self.voltage, "current": self.current_ma} if self.has_read else None

    def state(self) -> dict[str, Any]:
        """Mode stands alone, unlike on the other machines."""
        return {"mode": self.mode, "is_default_state": not self.has_read}

    def handlers(self) -> Handlers:
        """SetMode."""
        return {"SetMode": (one_of("Off", "On24V"), self.setter("mode"))}
