"""The plant as a picture: which source feeds which machine by which mapping, and where it is shown. Mermaid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.model.plant import BRIDGE_MACHINE_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bridge.model.plant import Machine, Plant
    from bridge.ports import Northbound

MANY = 40
"""Machines from which on those of one source and type are drawn as one: nobody reads more."""
FACES = {"opcua": "OPC UA", "sparkplug": "Sparkplug B", "uns": "Unified Namespace"}


def flow(plant: Plant, faces: Mapping[str, Northbound]) -> str:
    """A flowchart, from left to right; GitHub, GitLab and many wikis draw it in a block ```mermaid."""
    machines = [machine for machine in plant.machines.values() if machine.id != BRIDGE_MACHINE_ID]
    lines = ["flowchart LR", *_sources(machines)]
    groups = _grouped(machines) if len(machines) > MANY else {machine.id: [machine] for machine in machines}
    for number, (name, group) in enumerate(groups.items()):
        lines.append(f'  m{number}["{_label(name, group)}"]')
        for source, mapping in dict.fromkeys((p.source, p.mapping) for one in group for p in one.parts):
            lines.append(f"  {_node('s', source)} -->{_by(mapping)} m{number}")
    for name in faces:
        where = _where(machines, faces[name])
        lines.append(f'  {_node("f", name)}[["{_text(FACES.get(name, name))}{where}"]]')
        lines += [f"  m{number} --> {_node('f', name)}" for number in range(len(groups))]
    return "\n".join(lines) + "\n"


def _sources(machines: Iterable[Machine]) -> Iterator[str]:
    names = dict.fromkeys(part.source for machine in machines for part in machine.parts)
    return (f'  {_node("s", name)}(["{_text(name)}"])' for name in names)


def _grouped(machines: Iterable[Machine]) -> dict[str, list[Machine]]:
    groups: dict[str, list[Machine]] = {}
    for machine in machines:
        sources = " + ".join(dict.fromkeys(part.source for part in machine.parts))
        groups.setdefault(f"{machine.type_name} of {sources}", []).append(machine)
    return groups


def _label(name: str, group: list[Machine]) -> str:
    tags = sum(len(machine.tags) for machine in group)
    count = "" if len(group) == 1 and group[0].id == name else f"{len(group)} machines, "
    return f"{_text(name)}<br/>{count}{tags} tags"


def _by(mapping: str) -> str:
    return f'|"{_text(mapping)}"|' if mapping else ""


def _where(machines: list[Machine], face: Northbound) -> str:
    """The address of a first tag: what the others look like."""
    tag = next((tag for machine in machines for tag in machine.tags), None)
    return "" if tag is None else f"<br/>{_text(face.address(tag))}"


def _node(kind: str, name: str) -> str:
    return f"{kind}_{re.sub(r'[^A-Za-z0-9]', '_', name)}"


def _text(text: str) -> str:
    """Mermaid reads quotes, and the marks of HTML, also in a quoted text."""
    return text.replace("&", "&amp;").replace('"', "#quot;").replace("<", "&lt;").replace(">", "&gt;")
