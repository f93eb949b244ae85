"""The machines of an account."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Machine:
    """One machine, in the vendor's words; `factory_id` is a string of digits."""

    unique_id: str
    display_name: str
    factory_id: str = "10"
    factory_name: str = "Main Production Floor"
    silent: bool = False
    """Nothing is known of it: its box is not connected."""

    def as_json(self) -> dict[str, str]:
        """As machineInfo lists it."""
        return {
            "machineDisplayName": self.display_name,
            "machineUniqueId": self.unique_id,
            "factoryId": self.factory_id,
            "factoryName": self.factory_name,
        }


_KINDS = ("CNC Lathe", "CNC Mill", "Press", "Saw")


def default_machines(count: int) -> list[Machine]:
    """A shop of so many machines: MACHINE_001 and so on."""
    return [
        Machine(f"MACHINE_{number + 1:03}", f"{_KINDS[number % len(_KINDS)]} {number // len(_KINDS) + 1}")
        for number in range(count)
    ]
