"""A site whose sources are all simulated: the same configuration, the same ids, no machine needed.

source's configuration + Cast -> the vendor's `played` -> the configuration, pointed at the simulator
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from bridge.config.site_changes import with_sources
from bridge.sim.cast import Cast, NamedMachine, NoSimulator, OpenBroker
from bridge.sim.iotistica import site as iotistica
from bridge.sim.qitech import site as qitech
from bridge.sim.quantiix import site as quantiix
from bridge.sim.trackmymachines import site as trackmymachines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.config.site import Site

Play = Callable[[Any, Cast], AbstractAsyncContextManager[Any]]
"""Takes a source's configuration; gives it pointed at a simulator on loopback, while the context lasts."""

SIMULATORS: Mapping[str, Play] = {
    "iotistica": iotistica.played,
    "qitech": qitech.played,
    "quantiix": quantiix.played,
    "trackmymachines": trackmymachines.played,
}
"""Who plays which vendor, by source type."""


@asynccontextmanager
async def simulated(site: Site, open_broker: OpenBroker | None = None) -> AsyncIterator[Site]:
    """The site with every source pointing at its simulator; `open_broker` for vendors that need one.

    Raises NoSimulator.
    """
    async with AsyncExitStack() as stack:
        sources = {}
        for name, config in site.file.sources.items():
            if config.type == "replay":
                sources[name] = config  # no machine is needed for it either
                continue
            play = SIMULATORS.get(config.type)
            if play is None:
                raise NoSimulator(f"the source {name} cannot be simulated: nothing plays {config.type}")
            sources[name] = await stack.enter_async_context(play(config, cast_of(site, name, open_broker)))
        yield with_sources(site, sources)


def cast_of(site: Site, source: str, open_broker: OpenBroker | None = None) -> Cast:
    """What the site expects of a source."""
    machines = tuple(
        NamedMachine(machine.id, machine.label, part.identity)
        for machine in site.machines
        for part in machine.parts
        if part.part.source == source
    )
    people = tuple(sorted(set(site.people.values())))
    return Cast(machines, people, site.file.broker.is_reached_at, open_broker)


__all__ = ["SIMULATORS", "NoSimulator", "cast_of", "simulated"]
