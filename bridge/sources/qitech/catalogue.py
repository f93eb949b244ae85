"""Catalogue: the machine types of QiTech Control, by number.

Slugs mislead (slug "extruder_v1" is the HMI's "Extruder V2"): the number decides, the slug is for URLs and people.
Source: qitechgmbh/control, tags 2.14.0 to 3.0.0: server/src/rest/rest_api.rs (routes), machines/src/*/api.rs (events).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from bridge.sources.qitech.profile import Profile

VENDOR: Final = 1
"""QiTech."""

LASER: Final = 6
"""2.x: leaving its namespace closes the panel's one Socket.IO queue, for every client. Never join it there."""

STREAM_PERIOD: Final = 1 / 30
"""Seconds between LiveValuesEvents (30 Hz, the loop's `> 1/30 s` test)."""


@dataclass(frozen=True, slots=True)
class MachineType:
    """One machine type.

    Args:
        number: the `machine` of its identity.
        slug: its name in URLs of 2.x, and of 3.x unless `slug_3x` says otherwise.
        slug_3x: its slug on 3.x where that differs.
        routed: GET /api/v2/machine/<slug>/<serial> exists on 2.x, and answers with values.
        stall: seconds of silence on its namespace that mean the subscription is lost; None where it may be silent.
    """

    number: int
    slug: str
    slug_3x: str = ""
    routed: bool = False
    stall: float | None = 2.0


_TYPES = (
    MachineType(2, "winder_v1", routed=True),
    MachineType(4, "extruder_v1", routed=True),
    MachineType(LASER, "laser_v1", routed=True),
    MachineType(7, "mock", routed=True),
    MachineType(8, "buffer_v1"),
    MachineType(9, "aquapath_v1", routed=True),
    MachineType(10, "wago_power_v1", routed=True),
    MachineType(14, "wago_do_test_machine"),
    MachineType(17, "motor_test_machine", stall=None),
    MachineType(22, "extruder_v2"),
    MachineType(51, "test_machine", routed=True),
    MachineType(52, "ip20_test_machine", routed=True),
    # Measurements come at a rate the user chooses, which may be one in minutes.
    # 53 has a route on 2.x, but it answers state and live values null for ever: only the stream tells.
    MachineType(53, "analog_input_test_machine", stall=None),
    MachineType(54, "wago_ai_test_machine", stall=None),
    MachineType(55, "test_machine_stepper", stall=None),
    MachineType(57, "bottlecaps_test_machine"),
    MachineType(64, "digital_input_test_machine"),
    MachineType(65, "wago_8ch_io_test_machine"),
    MachineType(66, "wago_750_501_test_machine"),
    MachineType(67, "wago_750_430_di_machine"),
    MachineType(68, "wago_750_460_machine"),
    MachineType(70, "wago_750_553_machine"),
    MachineType(71, "wago_750_531_machine"),
    MachineType(98, "winder_v1_spool", slug_3x="winder_v1_7031"),
    # No slug of the vendor's: the list itself panics when this one is present.
    MachineType(103, "wago_serial", stall=None),
)

MACHINE_TYPES: Final = {kind.number: kind for kind in _TYPES}
"""Every machine type known, by number."""

_NUMBERS: Final = {slug: kind.number for kind in _TYPES for slug in (kind.slug, kind.slug_3x) if slug}


def number_of(slug: str) -> int | None:
    """The machine number of a slug, None for one not known."""
    return _NUMBERS.get(slug)


def slug_of(machine: int, profile: Profile | None = None) -> str:
    """The slug of a machine number; "machine_<number>" where the vendor has none that we know."""
    kind = MACHINE_TYPES.get(machine)
    if kind is None:
        return f"machine_{machine}"
    return kind.slug_3x if profile is Profile.V3 and kind.slug_3x else kind.slug


def slugs() -> tuple[str, ...]:
    """Every slug known, for a person who mistyped one."""
    return tuple(sorted(_NUMBERS))


def is_polled(machine: int, slug: str, profile: Profile) -> bool:
    """Whether this machine is read by GET: a routed one, on 2.x only.

    On 3.x the GET panics the control process (facts 1.1): this answer must be False there, always.
    """
    kind = MACHINE_TYPES.get(machine)
    return profile is Profile.V2 and kind is not None and kind.routed and slug == kind.slug


def is_joined(machine: int, slug: str, profile: Profile, *, joins_lasers: bool) -> bool:
    """Whether this machine's Socket.IO namespace may be joined.

    Not where it is polled, and never a laser's unless the panel has shown itself as a 3.x.
    """
    if machine == LASER and not (profile is Profile.V3 and joins_lasers):
        return False
    return not is_polled(machine, slug, profile)


def stall_of(machine: int) -> float | None:
    """Seconds of silence that mean the subscription is lost; slow for types we do not know, None for never."""
    kind = MACHINE_TYPES.get(machine)
    return 10.0 if kind is None else kind.stall


NOTICE: Final = "NoticeEvent"
"""Something for a person to read ({"title", "message"}); not a value."""

_STATES: Final = frozenset({"StateEvent", "State", NOTICE})


@lru_cache(maxsize=256)
def channel_of(event: str) -> str:
    """The channel of an event: "LiveValuesEvent" and "LiveValues" are live_values, "Measurement" is measurement."""
    return _snake(event.removesuffix("Event") or event)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def is_kept(event: str) -> bool:
    """Whether every event of this name must be seen, not just the newest (states and notices)."""
    return event in _STATES


def period_of(channel: str) -> float | None:
    """Seconds until the next event of a pushed channel; None where it comes on change or at a rate we do not know."""
    return STREAM_PERIOD if channel == "live_values" else None
