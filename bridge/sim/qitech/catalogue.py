"""Which machines a panel of a given release knows: ids, slugs, routes.

Kept apart from the source room's own table on purpose: two independent readings make the tests honest.
Source: qitechgmbh/control, tags 2.14.0 to 2.17.0 and 3.0.0 (server/src/rest/rest_api.rs, machines/src/lib.rs).
"""

from __future__ import annotations

from dataclasses import dataclass

VENDOR_ID = 1
VENDOR = "QiTech"

MACHINE_IDS = {
    "winder_v1": 2,
    "extruder_v1": 4,
    "laser_v1": 6,
    "mock": 7,
    "buffer_v1": 8,
    "aquapath_v1": 9,
    "wago_power_v1": 10,
    "wago_do_test_machine": 14,
    "motor_test_machine": 17,
    "extruder_v2": 22,
    "test_machine": 51,
    "ip20_test_machine": 52,
    "analog_input_test_machine": 53,
    "wago_ai_test_machine": 54,
    "test_machine_stepper": 55,
    "bottlecaps_test_machine": 57,
    "digital_input_test_machine": 64,
    "wago_8ch_io_test_machine": 65,
    "wago_750_501_test_machine": 66,
    "wago_750_430_di_machine": 67,
    "wago_750_460_machine": 68,
    "wago_750_553_machine": 70,
    "wago_750_531_machine": 71,
    "winder_v1_spool": 98,
    "winder_v1_7031": 98,
    "wago_serial": 103,  # our word: the vendor's code has no slug for it, and panics when it looks for one
}
"""Slug to machine id; the vendor is always 1."""

RELEASES = ("2.14", "2.15", "2.16", "2.17", "3.0")

_ROUTED_2 = frozenset(
    (
        "laser_v1",
        "winder_v1",
        "mock",
        "extruder_v1",
        "aquapath_v1",
        "test_machine",
        "wago_power_v1",
        "ip20_test_machine",
        "analog_input_test_machine",
    )
)
_ROUTED_3 = frozenset(("laser_v1", "winder_v1", "winder_v1_7031", "extruder_v1", "aquapath_v1"))
_ACTIVE_3 = frozenset(("winder_v1", "winder_v1_7031", "extruder_v1", "extruder_v2", "laser_v1", "aquapath_v1"))


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """A release of the control software, as far as its interfaces differ."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Release:
        """One of RELEASES, also with a patch number ("2.17.0"). Raises ValueError naming the known ones."""
        short = ".".join(text.split(".")[:2])
        if short not in RELEASES:
            raise ValueError(f"unknown QiTech release {text!r}; known: {', '.join(RELEASES)}")
        major, minor = short.split(".")
        return cls(int(major), int(minor))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    def since(self, major: int, minor: int) -> bool:
        """This release is that one or a later one."""
        return (self.major, self.minor) >= (major, minor)

    @property
    def routed(self) -> frozenset[str]:
        """The slugs with a /api/v2/machine/{slug}/{serial} route; every other slug is 404 with an empty body."""
        return _ROUTED_3 if self.major >= 3 else _ROUTED_2

    @property
    def queue_capacity(self) -> int:
        """Messages that wait for one machine. 2.x has no limit: ours is far above what a test sends."""
        return 2 if self.major >= 3 else 100_000

    @property
    def event_capacity(self) -> int:
        """Events that wait for the one Socket.IO consumer. 3.x drops what comes when it is full; 2.x has no limit."""
        return 64 if self.major >= 3 else 100_000

    def supports(self, slug: str) -> bool:
        """The release has a driver for it. `mock` is served by every release: only the vendor's mock build has it."""
        if slug == "winder_v1_spool":
            return self.major == 2 and self.minor >= 16
        if slug == "winder_v1_7031" or slug == "mock":
            return slug == "mock" or self.major >= 3
        return self.major == 2 or slug in _ACTIVE_3

    def has_slug(self, slug: str) -> bool:
        """The release can name it. Where it cannot, listing the machines panics."""
        if slug == "wago_serial":
            return False
        return slug != "test_machine_stepper" or (self.major == 2 and self.minor != 15)


@dataclass(frozen=True, slots=True)
class Identity:
    """How the panel names a machine everywhere but in URLs."""

    machine: int
    serial: int
    vendor: int = VENDOR_ID

    def as_json(self) -> dict[str, object]:
        """{"machine_identification": {"vendor", "machine"}, "serial"}."""
        return {
            "machine_identification": {"vendor": self.vendor, "machine": self.machine},
            "serial": self.serial,
        }

    def __str__(self) -> str:
        return f"{self.vendor}/{self.machine}/{self.serial}"
