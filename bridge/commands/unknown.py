"""What to say of a target that takes no commands: the nearest that does, or those there are. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bridge.commands.check import NotAccepted
from bridge.errors import did_you_mean
from bridge.model.status import StatusCode
from bridge.model.tag import tag_id

if TYPE_CHECKING:
    from bridge.model.plant import Machine, Plant

LISTED = 20
"""Names in a sentence; nobody reads more."""


def no_target(plant: Plant, identifier: str) -> NotAccepted:
    """The refusal of a command whose target does not exist, or takes none."""
    name, _, rest = identifier.partition(".")
    machine = plant.machines.get(name)
    if plant.find(identifier) is not None:
        why = f": {_closed(machine)}" if machine is not None and not _offered(machine) else ""
        return NotAccepted(StatusCode.BadNotWritable, f"Nothing may be written to {identifier}{why}")
    if machine is None:
        near = _near(name, list(plant.machines))
    elif not (offered := _offered(machine)):
        near = f": {_closed(machine)}"
    else:
        group = rest.partition(".")[0] + "."  # what all of a group begin with makes none of them near
        within = [one.removeprefix(group) for one in offered if one.startswith(group)]
        near = _near(rest.removeprefix(group), within) if within else _near(rest, offered)
    return NotAccepted(StatusCode.BadNotFound, f"There is no {identifier}{near}")


def _offered(machine: Machine) -> list[str]:
    """Set points and commands, without the machine's name."""
    ids = [tag.id for tag in machine.tags if tag.definition.writable]
    ids += [tag_id(machine.id, f"Commands/{command.name}") for command in machine.commands]
    return [identifier.partition(".")[2] for identifier in ids]


def _closed(machine: Machine) -> str:
    sources = ", ".join(sorted({part.source for part in machine.parts}))
    return f"{machine.id} takes no commands; they want writes: true at the source {sources}"


def _near(word: str, known: Sequence[str]) -> str:
    if hint := did_you_mean(word, known):
        return f"; {hint}"
    more = ", …" if len(known) > LISTED else ""
    return f"; there are {', '.join(known[:LISTED])}{more}" if known else ""
