from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sim.trackmymachines.client import Client, server


@pytest.fixture
async def tmm() -> AsyncIterator[Client]:
    """An empty timeline at 12:00 on 27 May 2025, written to with the read-write key."""
    async with server() as client:
        yield client
