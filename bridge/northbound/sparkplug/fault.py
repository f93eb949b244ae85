"""What of a plant Sparkplug cannot carry: ids and metric names, and how they collide. Pure.

Source: Sparkplug 3.0, tck-id-intro-group-id-chars, -edge-node-id-chars, -device-id-chars,
tck-id-case-sensitivity-sparkplug-ids, tck-id-case-sensitivity-metric-names; a name that is both a metric and a folder
cannot be shown by hosts.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from bridge.northbound.sparkplug.command_metric import CommandMetrics
from bridge.northbound.sparkplug.session import BD_SEQ, NEXT_SERVER, REBIRTH
from bridge.northbound.sparkplug.topic import id_fault, metric_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.model.plant import Machine, Plant
    from bridge.northbound.sparkplug.topic import EdgeNode


def plant_faults(node: EdgeNode, plant: Plant, own_metrics: Iterable[str], takes_commands: bool = False) -> list[str]:
    """Every fault, in sentences. `own_metrics` are those the node adds to its birth itself."""
    own = (BD_SEQ, REBIRTH, NEXT_SERVER, *own_metrics)
    faults_of = cache(lambda names: list(_name_faults(names)))  # a hundred machines of one mapping have the same names
    return [
        *filter(None, (id_fault("group id", node.group_id), id_fault("edge node id", node.edge_node_id))),
        *filter(None, (id_fault("device id", identifier) for identifier in plant.machines)),
        *_same_but_for_case("device ids", plant.machines),
        *(f"the edge node: {fault}" for fault in _name_faults((*own, *(tag.name for tag in plant.bridge.tags)))),
        *(
            f"{machine.id}: {fault}"
            for machine in plant.machines.values()
            for fault in faults_of(_names(machine, takes_commands))
        ),
    ]


def _names(machine: Machine, takes_commands: bool) -> tuple[str, ...]:
    tags = tuple(tag.name for tag in machine.tags)
    return (*tags, *CommandMetrics(machine).names) if takes_commands else tags


def _name_faults(names: tuple[str, ...]) -> Iterator[str]:
    yield from filter(None, map(metric_fault, names))
    yield from _same_but_for_case("metric names", names)
    folders = {
        "/".join(levels[:depth]): name
        for name in names
        for levels in [name.lower().split("/")]
        for depth in range(1, len(levels))
    }
    for name in names:
        below = folders.get(name.lower())
        if below is not None:
            yield f"{name!r} is a metric and a folder of {below!r}"


def _same_but_for_case(what: str, names: Iterable[str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other is not name:
            yield f"the {what} {other!r} and {name!r} are the same but for upper and lower case"
