"""A site's Quantiix account, played by the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.sim.cast import Cast
from bridge.sim.quantiix.machines import Machine, default_machines
from bridge.sim.quantiix.server import Quantiix
from bridge.sources.quantiix.config import QuantiixConfig

UNNAMED = 4
"""Machines of an account of which the site names none."""


@asynccontextmanager
async def played(config: QuantiixConfig, cast: Cast) -> AsyncIterator[QuantiixConfig]:
    """The source's configuration, pointed at an account with its credentials, its limit and these machines."""
    account = Quantiix(
        machines_of(cast),
        email=config.email,
        password=config.password.get_secret_value(),
        requests_per_minute=config.requests_per_minute,
    )
    async with account:
        yield config.model_copy(update={"url": account.url, "ca_file": None})


def machines_of(cast: Cast) -> list[Machine]:
    """The machines that are named, with their ids and labels; a small shop where none is."""
    named = [Machine(str(machine.identity["unique_id"]), machine.label or machine.id) for machine in cast.machines]
    return named or default_machines(UNNAMED)
