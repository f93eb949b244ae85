"""Outline: a site's plant, addresses and settings as plain data, to be compared with another; no values, no secrets.

Shape: {"configuration": hash, "settings": {"sources.panel.url": …}, "faces": [name],
"mappings": {name: {"tags.Monitoring/Pressure": {"scale": …}, "commands.Standby": {…}}},
"machines": {id: {"type", "place", "behind": {"label": …, "parts.main.machine": …}, "sources": [name],
"commands": [name], "tags": {id: {"name", "type", "unit", "range", "enum", "description", "access",
"addresses": {face: address}}}}}}; the bridge itself is the machine "Bridge".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.config.site import Site
    from bridge.mapping.schema import MappingFile
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
    overrides = {one.id: one.overrides for one in site.machines}
    for machine in plant.machines.values():
        machines[machine.id]["behind"] |= _flat("tags", dict(overrides.get(machine.id, {})))
    return {
        "configuration": configuration,
        "settings": told,
        "mappings": _mappings(plant, site),
        "faces": list(faces),
        "machines": machines,
    }


def _machine(machine: Machine, faces: Mapping[str, Northbound]) -> Outline:
    return {
        "type": machine.type_name,
        "place": "/".join(machine.place.levels),
        "behind": dict(_behind(machine)),
        "sources": sorted({part.source for part in machine.parts}),
        "commands": sorted(command.name for command in machine.commands),
        "tags": {tag.id: _tag(tag, faces) for tag in machine.tags},
    }


def _behind(machine: Machine) -> Iterator[tuple[str, str]]:
    """What may change while every address stays."""
    yield "label", machine.label
    for part in machine.parts:
        yield f"parts.{part.name}.source", part.source
        yield f"parts.{part.name}.machine", part.source_machine
        yield f"parts.{part.name}.mapping", part.mapping


def _mappings(plant: Plant, site: Site) -> Outline:
    """The rules by which values and commands of the plant are made, where they say more than their defaults."""
    used = {part.mapping for machine in plant.machines.values() for part in machine.parts}
    return {file.mapping: dict(_rules(file)) for file in site.library.fingerprint if file.mapping in used}


def _rules(file: MappingFile) -> Iterator[tuple[str, Any]]:
    said = file.model_dump(mode="json", include={"channels", "tags", "each", "commands"}, exclude_defaults=True)
    for kind, rules in said.items():
        yield from ((f"{kind}.{name}", dict(_flat("", rule))) for name, rule in rules.items() if rule is not None)
    if file.item_state is not None:
        yield "item_state", dict(_flat("", file.item_state.model_dump(mode="json", exclude_defaults=True)))


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
