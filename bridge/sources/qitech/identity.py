"""Identity: what QiTech calls a machine, and how the bridge writes it down."""

from __future__ import annotations

from typing import NamedTuple


class Identity(NamedTuple):
    """The panel's `machine_identification_unique`: three u16.

    The vendor is 1 (QiTech) for every machine known today.
    """

    vendor: int
    machine: int
    serial: int

    @property
    def key(self) -> str:
        """The form used in observations: "1/4/57922"."""
        return f"{self.vendor}/{self.machine}/{self.serial}"

    @property
    def namespace(self) -> str:
        """The machine's Socket.IO namespace, decimal."""
        return f"/machine/{self.vendor}/{self.machine}/{self.serial}"

    @property
    def unique(self) -> dict[str, object]:
        """As in the panel's JSON: {"machine_identification": {"vendor", "machine"}, "serial"}."""
        return {"machine_identification": {"vendor": self.vendor, "machine": self.machine}, "serial": self.serial}
