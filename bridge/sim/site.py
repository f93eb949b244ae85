"""A site whose sources are all simulated: the same configuration, the same ids, no machine needed.

source's configuration + Cast -> the vendor's `played` -> the configuration, pointed at the simulator
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from bridge.config.site_changes import with_sources
from bridge.sim.cast import Cast, NamedMachine, NoSimulator
from bridge.sim.qitech import site as qitech
from bridge.sim.quantiix import site as quantiix
from bridge.sim.trackmymachines import site as trackmymachines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.config.site import Site

Play = Callable[[Any, Cast], AbstractAsyncContextManager[Any]]
"""Takes a source's configuration; gives it pointed at a simulator on loopback, while the context lasts."""

SIMULATORS: Mapping[str, Play] = {
    "qitech": qitech.played,
    "quantiix": quantiix.played,
    "trackmymachines": trackmymachines.played,
}
"""Who plays which vendor, by source type."""


@asynccontextmanager
async def simulated(site: Site) -> AsyncIterator[Site]:
    """The site with every source pointing at its simulator. Raises NoSimulator."""
    async with AsyncExitStack() as stack:
        sources = {}
        for name, config in site.file.sources.items():
            if config.type == "replay":
                sources[name] = config  # no machine is needed for it either
                continue
            play = SIMULATORS.get(config.type)
            if play is None:
                raise NoSimulator(f"the source {name} cannot be simulated: nothing plays {config.type}")
            sources[name] = await stack.enter_async_context(play(config, cast_of(site, name)))
        yield with_sources(site, sources)


def cast_of(site: Site, source: str) -> Cast:
    """What the site expects of a source."""
    machines = tuple(
        NamedMachine(machine.id, machine.label, part.identity)
        for machine in site.machines
        for part in machine.parts
        if part.part.source == source
    )
    return Cast(machines, tuple(sorted(set(site.people.values()))))


__all__ = ["SIMULATORS", "NoSimulator", "cast_of", "simulated"]
