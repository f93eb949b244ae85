"""The whole examination: every subject at once, told in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bridge.ports import Brokered, Rights
from bridge.runtime.doctor import brokers, opcua, sources
from bridge.runtime.doctor.finding import Chart
from bridge.runtime.doctor.house import house
from bridge.runtime.faces import plant_faces, plant_faults
from bridge.runtime.offline import OfflinePlant

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from bridge.config.site import Site
    from bridge.ports import Clock
    from bridge.runtime.doctor.finding import Finding, Findings

AT_ONCE = 8
"""Subjects that are looked at together."""


async def examine(site: Site, clock: Clock, running: Mapping[str, Any] | None, tell: Callable[[Finding], None]) -> None:
    """Look at everything a site depends on, and `tell` of it as soon as it is known, one subject after the other.

    `running`: what a running bridge's admin API says of its health (/api/v1/health), if one runs.
    """
    for finding in house(site, is_running=running is not None):
        tell(finding)
    turns = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_in_turn(turns, one)) for one in _subjects(site, clock, running)]
        for task in tasks:
            for finding in await task:
                tell(finding)
    for finding in _own_words(running) if running is not None else ():
        tell(finding)


async def _in_turn(turns: asyncio.Semaphore, work: Coroutine[None, None, list[Finding]]) -> list[Finding]:
    async with turns:
        return await work


def _subjects(
    site: Site, clock: Clock, running: Mapping[str, Any] | None
) -> Iterator[Coroutine[None, None, list[Finding]]]:
    said = {source["name"]: source for source in running["sources"]} if running else {}
    for name, config in site.file.sources.items():
        if config.type != "replay":
            yield _all(sources.examine(site, name, clock, said.get(name)))
    faces = plant_faces(site, clock, site.state_directory)
    plant_faults(faces.values(), OfflinePlant(site, with_inventory=True).plant)  # so that they know the machines
    rights = {name: face.rights() for name, face in faces.items() if isinstance(face, Brokered)}
    is_running = running is not None
    for user, broker in brokers.brokers(site):
        yield _all(brokers.examine(user, broker, rights.get(user, Rights()), site, clock, is_running=is_running))
    if site.file.northbound.opcua.enabled:
        yield _all(opcua.examine(site, clock, is_running=is_running))


async def _all(findings: Findings) -> list[Finding]:
    return [finding async for finding in findings]


def _own_words(running: Mapping[str, Any]) -> Iterator[Finding]:
    """What the running bridge says of its faces and of its configuration."""
    chart = Chart("running bridge")
    for face in running["faces"]:
        if face["detail"]:
            yield chart.fault(face["name"], face["detail"], "See what was found above")
        else:
            yield chart.ok(face["name"], "it runs")
    for fault in running["refused"]:
        yield chart.fault("configuration", fault, "Mend the file: plantbridge check")
