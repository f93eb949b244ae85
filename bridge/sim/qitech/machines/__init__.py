"""The simulated machines, one file per family."""

from __future__ import annotations

from random import Random

from bridge.sim.qitech.catalogue import MACHINE_IDS, Identity, Release
from bridge.sim.qitech.machines.base import Machine
from bridge.sim.qitech.machines.extruder import Extruder
from bridge.sim.qitech.machines.laser import Laser
from bridge.sim.qitech.machines.mock import Mock
from bridge.sim.qitech.machines.winder import Winder

KINDS: dict[str, type[Machine]] = {
    "winder_v1": Winder,
    "winder_v1_spool": Winder,
    "winder_v1_7031": Winder,
    "extruder_v1": Extruder,
    "extruder_v2": Extruder,
    "laser_v1": Laser,
    "mock": Mock,
}


def build(slug: str, serial: int, release: Release, seed: int) -> Machine:
    """A machine of this slug. Raises ValueError for a slug or serial no panel could have."""
    if slug not in KINDS:
        raise ValueError(f"unknown QiTech machine {slug!r}; known: {', '.join(sorted(KINDS))}")
    if not 0 <= serial <= 65535:
        raise ValueError(f"serial {serial} is no u16")
    identity = Identity(MACHINE_IDS[slug], serial)
    machine = KINDS[slug](slug, identity, release, Random(f"{seed}/{identity}"))
    if not release.supports(slug):
        machine.error = f"Machine {identity} is not supported by this release"
    return machine
