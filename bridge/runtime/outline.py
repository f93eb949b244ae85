"""Outline: a site's plant, addresses and settings as plain data, to be compared with another; no values, no secrets.

Shape: {"configuration": hash, "settings": {"sources.panel.url": …}, "faces": [name],
"machines": {id: {"type", "place", "sources": [name], "commands": [name], "tags": {id: {"name", "type", "unit", "range",
"enum", "description", "access", "addresses": {face: address}}}}}}; the bridge itself is the machine "Bridge".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.config.site import Site
    from bridge.model.plant import Machine, Plant
    from bridge.model.tag import Tag
    from bridge.ports import Northbound

Outline = dict[str, Any]

LEFT_OUT = ("email", "user_email", "users", "people", "state_directory")
"""Keys of settings that are not compared: they name people, or let them in, or are where the files happen to be."""


async def outline(plant: Plant, faces: Mapping[str, Northbound], site: Site, configuration: str = "") -> Outline:
    """What there is; machine by machine, so that a big plant does not hold up the loop."""
    machines = {}
    for machine in plant.everything():
        machines[machine.id] = _machine(machine, faces)
        await asyncio.sleep(0)
    told = dict(_flat("", site.file.model_dump(mode="json", exclude={"version", "machines"})))
    return {"configuration": configuration, "settings": told, "faces": list(faces), "machines": machines}


def _machine(machine: Machine, faces: Mapping[str, Northbound]) -> Outline:
    return {
        "type": machine.type_name,
        "place": "/".join(machine.place.levels),
        "sources": sorted({part.source for part in machine.parts}),
        "commands": sorted(command.name for command in machine.commands),
        "tags": {tag.id: _tag(tag, faces) for tag in machine.tags},
    }


def _tag(tag: Tag, faces: Mapping[str, Northbound]) -> Outline:
    one = tag.definition
    return {
        "name": tag.name,
        "type": one.data_type.value,
        "unit": one.unit.symbol if one.unit else None,
        "range": list(one.eu_range) if one.eu_range else None,
        "enum": dict(one.enumeration) if one.enumeration else None,
        "description": one.description,
        "access": "write" if one.writable else "read",
        "addresses": {name: face.address(tag) for name, face in faces.items()},
    }


def _flat(above: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Settings by their whole path; secrets are masked by their type already."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in LEFT_OUT:
                yield from _flat(f"{above}.{key}" if above else str(key), item)
    else:
        yield above, value
