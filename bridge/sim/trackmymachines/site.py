"""A site's TrackMyMachines organisation, played by the simulator."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.sim.cast import Cast, NoSimulator
from bridge.sim.trackmymachines.behaviour import Behaviour
from bridge.sim.trackmymachines.organisation import Machine
from bridge.sim.trackmymachines.server import DEFAULT_USERS, TrackMyMachines
from bridge.sources.trackmymachines.config import TrackMyMachinesConfig

FIRST_NUMBER = 1000
"""Of machines whose number the site does not say."""


@asynccontextmanager
async def played(config: TrackMyMachinesConfig, cast: Cast) -> AsyncIterator[TrackMyMachinesConfig]:
    """The source's configuration, pointed at an organisation with its key, its people and these machines.

    The shop floor runs by itself, and has run for a day. Raises NoSimulator.
    """
    known = [email for email in (config.user_email, *cast.people) if email]
    behaviour = Behaviour(edition=config.edition)
    if config.finish_parameter is not None:
        behaviour = behaviour.with_switches({"finish_parameter": config.finish_parameter})
    try:
        organisation = TrackMyMachines(
            machines_of(cast), users=tuple(dict.fromkeys(known)) or DEFAULT_USERS, behaviour=behaviour, floor=True
        )
    except ValueError as error:
        raise NoSimulator(f"the organisation cannot be simulated: {error}") from None
    organisation.keys.issue("site", config.api_key.get_secret_value(), writes=config.writes)
    async with organisation:
        hosts = {"events_url": organisation.app_url, "step_events_url": organisation.com_url, "ca_file": None}
        yield TrackMyMachinesConfig.model_validate({**config.model_dump(exclude_unset=True), **hosts})


def machines_of(cast: Cast) -> list[Machine] | None:
    """The machines that are named, with what the site says of them; None, for those of the simulator, where none is."""
    numbers = itertools.count(FIRST_NUMBER)
    named = []
    for machine in cast.machines:
        told = machine.identity
        name = str(told.get("display_name") or machine.id)
        named.append(Machine(int(told.get("number") or next(numbers)), name, str(told["foreign_id"])))
    return named or None
