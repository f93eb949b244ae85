"""buffer_v1 (8), 2.x only: a machine under construction. Two of its three modes end the process."""

from __future__ import annotations

from typing import Any

from bridge.sim.qitech.machines.base import Handlers, Machine
from bridge.sim.qitech.serde import IDENTITY, Panic, one_of


class Buffer(Machine):
    """Live values are an empty object."""

    def live_values(self) -> dict[str, Any]:
        """Nothing, 30 times a second."""
        return {}

    def state(self) -> dict[str, Any]:
        """Always Standby."""
        return {"mode_state": {"mode": "Standby"}}

    def handlers(self) -> Handlers:
        """SetBufferMode to anything but Standby hits a todo!()."""
        return {
            "SetBufferMode": (one_of("Standby", "FillingBuffer", "EmptyingBuffer"), self._set_mode),
            "SetConnectedMachine": (IDENTITY, lambda _: None),
            "DisconnectMachine": (IDENTITY, lambda _: None),
        }

    def _set_mode(self, mode: str) -> None:
        if mode != "Standby":
            raise Panic(f"SetBufferMode {mode}: not yet implemented")
        self.announce()
