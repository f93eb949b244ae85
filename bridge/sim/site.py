"""A site whose sources are all simulated: the same configuration, the same ids, no machine needed."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from bridge.config.site_changes import with_sources
from bridge.errors import BridgeError
from bridge.sim.qitech.catalogue import MACHINE_IDS
from bridge.sim.qitech.panel import DEFAULT_MACHINES, Panel, SimulatedMachine
from bridge.sources.qitech.config import QitechConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.config.site import Site, SourceConfig


class NoSimulator(BridgeError):
    """A machine of the site has no simulator: take it out, or run without --simulate."""


@asynccontextmanager
async def simulated(site: Site) -> AsyncIterator[Site]:
    """The site with every source pointing at a simulator on loopback, while the context lasts."""
    async with AsyncExitStack() as stack:
        sources: dict[str, SourceConfig] = {}
        for name, config in site.file.sources.items():
            if not isinstance(config, QitechConfig):
                raise NoSimulator(f"the source {name} cannot be simulated: nothing plays {config.type}")
            release = "3.0" if config.profile == "3.x" else "2.17"
            panel = Panel(machines_of(site, name, release), release=release, username="machine")
            await stack.enter_async_context(panel)
            sources[name] = at_panel(config, panel)
        yield with_sources(site, sources)


def machines_of(site: Site, source: str, release: str) -> list[SimulatedMachine]:
    """The machines a site names at a source; a believable line where it names none. Raises NoSimulator."""
    slugs = {number: slug for slug, number in MACHINE_IDS.items()}
    slugs[98] = "winder_v1_7031" if release == "3.0" else "winder_v1_spool"  # one id, two names
    named = []
    for machine in site.machines:
        for part in machine.parts:
            if part.part.source == source:
                number = int(part.identity["machine"])
                if number not in slugs:
                    raise NoSimulator(f"{machine.id} cannot be simulated: no simulator plays machine type {number}")
                named.append(SimulatedMachine(slugs[number], int(part.identity["serial"])))
    return named or list(DEFAULT_MACHINES)


def at_panel(config: QitechConfig, panel: Panel) -> QitechConfig:
    """A source's configuration, pointed at a simulated panel."""
    access = {"url": panel.url, "username": "machine", "password": panel.password, "ca_file": None, "verify": True}
    return type(config).model_validate({**config.model_dump(), **access})
