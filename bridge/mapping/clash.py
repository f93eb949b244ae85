"""Clash: names of two parts that cannot both be in one machine, by the rules that hold within one mapping.

A name is a NodeId, a metric and a topic: two may not be equal, nor differ in case only, nor may one be the folder that
another is in. Earlier names count too (`was`): ids are made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bridge.mapping.compile import ALARM_COUNT
from bridge.mapping.machine import LAST_COMMAND, PartMapping, vendor_definitions
from bridge.model.plant import ITEM_STATE

BRIDGE = ""
"""Who makes what no part may make."""


class Clash(NamedTuple):
    """`name` of a part and `other` of an earlier one, or of the bridge."""

    name: str
    part: str
    other: str
    other_part: str


def clashes(parts: Sequence[PartMapping]) -> list[Clash]:
    """Every name of a later part that an earlier one, or the bridge, leaves no room for."""
    leaves = {name.lower(): (name, BRIDGE) for name in (ITEM_STATE, ALARM_COUNT, LAST_COMMAND)}
    folders: dict[str, tuple[str, str]] = {}
    found = []
    for part in parts:
        own = list(dict.fromkeys(_names(part)))
        for name in own:
            taken = next(_taken(name.lower(), leaves, folders), None)
            if taken is not None:
                found.append(Clash(name, part.part.name, *taken))
        for name in own:
            leaves.setdefault(name.lower(), (name, part.part.name))
            for folder in _folders(name.lower()):
                folders.setdefault(folder, (name, part.part.name))
    return found


def _taken(
    name: str, leaves: dict[str, tuple[str, str]], folders: dict[str, tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Who has this name, is in it, or is a folder of it."""
    for known, keys in ((leaves, (name, *_folders(name))), (folders, (name,))):
        yield from (known[key] for key in keys if key in known)


def _folders(name: str) -> Iterator[str]:
    """The folders a name is in, below its group."""
    while "/" in (name := name.rpartition("/")[0]):
        yield name


def _names(part: PartMapping) -> Iterator[str]:
    for definition in vendor_definitions(part):
        yield definition.name
    if part.mapping is not None:
        for spec in part.mapping.tags:
            yield from spec.id_names.values()
        yield from (f"each/{spec.name}" for spec in part.mapping.each)
        for command in part.mapping.commands:
            yield f"Commands/{command.name}"
