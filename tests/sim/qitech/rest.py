"""REST in a line, for these tests."""

from __future__ import annotations

from typing import Any

import httpx

from bridge.sim.qitech import Panel

IDS = {"winder_v1": 2, "extruder_v1": 4, "laser_v1": 6, "mock": 7, "buffer_v1": 8, "aquapath_v1": 9, "extruder_v2": 22}


def identity(machine: int, serial: int) -> dict[str, Any]:
    return {"machine_identification": {"vendor": 1, "machine": machine}, "serial": serial}


async def get(panel: Panel, path: str, **options: Any) -> httpx.Response:
    verify = options.pop("verify", panel.url.startswith("https"))  # to read the system's certificates takes 80 ms
    async with httpx.AsyncClient(base_url=panel.url, verify=verify, timeout=30) as client:
        return await client.get(path, **options)


async def shown(panel: Panel, slug: str, serial: int) -> Any:
    """State and live values over REST."""
    answer = await get(panel, f"/api/v2/machine/{slug}/{serial}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def mutate(panel: Panel, machine: int, serial: int, *mutations: Any) -> list[httpx.Response]:
    """One v1 request per mutation."""
    async with httpx.AsyncClient(base_url=panel.url, verify=panel.url.startswith("https"), timeout=30) as client:
        return [
            await client.post(
                "/api/v1/machine/mutate",
                json={"machine_identification_unique": identity(machine, serial), "data": mutation},
            )
            for mutation in mutations
        ]
