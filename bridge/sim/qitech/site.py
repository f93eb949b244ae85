"""A site's QiTech panel, played by the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.sim.cast import Cast, NoSimulator
from bridge.sim.qitech.catalogue import MACHINE_IDS
from bridge.sim.qitech.panel import DEFAULT_MACHINES, USERNAME, Panel, SimulatedMachine
from bridge.sources.qitech.config import QitechConfig


@asynccontextmanager
async def played(config: QitechConfig, cast: Cast) -> AsyncIterator[QitechConfig]:
    """The source's configuration, pointed at a panel with these machines. Raises NoSimulator."""
    release = "3.0" if config.profile == "3.x" else "2.17"
    async with Panel(machines_of(cast, release), release=release, username=USERNAME) as panel:
        access = {"url": panel.url, "username": USERNAME, "password": panel.password, "ca_file": None, "verify": True}
        yield QitechConfig.model_validate({**config.model_dump(), **access})


def machines_of(cast: Cast, release: str) -> list[SimulatedMachine]:
    """The machines that are named; a believable line where none is."""
    slugs = {number: slug for slug, number in MACHINE_IDS.items()}
    slugs[98] = "winder_v1_7031" if release == "3.0" else "winder_v1_spool"  # one id, two names
    named = []
    for machine in cast.machines:
        number = int(machine.identity["machine"])
        if number not in slugs:
            raise NoSimulator(f"{machine.id} cannot be simulated: no simulator plays machine type {number}")
        named.append(SimulatedMachine(slugs[number], int(machine.identity["serial"])))
    return named or list(DEFAULT_MACHINES)
