"""The commands of a site with their arguments and where each is found, for `plantbridge tags --commands`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.model.tag import Tag, TagDefinition, tag_id
from bridge.model.value import DataType

if TYPE_CHECKING:
    from bridge.model.command import Argument, CommandDefinition
    from bridge.model.plant import Machine
    from bridge.runtime.offline import OfflinePlant


def command_row(machine: Machine, command: CommandDefinition, offline: OfflinePlant) -> dict[str, Any]:
    """Its id, what it takes, and where it is given: by method, handshake, DCMD and topic; null where that is off.

    Shape: {"command", "description", "safe", "hazards": [], "arguments": [{"name", "type", "unit", "range", "enum",
    "required", "default", "person", "description"}], "node_id", "method", "sparkplug", "uns"}
    """
    identifier = tag_id(machine.id, f"Commands/{command.name}")
    node = _addresses(machine, f"Commands/{command.name}", offline).get("opcua")
    return {
        "command": identifier,
        "description": command.description or command.label.get("en", ""),
        "safe": command.safe,
        "hazards": sorted(command.hazards),
        "arguments": [_argument(one) for one in command.arguments],
        "node_id": node,
        "method": node and f"{node}Call",
        "sparkplug": _addresses(machine, f"Commands/{command.name}/Execute", offline).get("sparkplug"),
        "uns": _addresses(machine, f"cmd/{command.name}", offline).get("uns"),
    }


def _addresses(machine: Machine, name: str, offline: OfflinePlant) -> dict[str, str]:
    """Where a tag of this name would be, on the faces that take commands."""
    tag = Tag(tag_id(machine.id, name), 0, machine.id, TagDefinition(name, DataType.Boolean))
    return {face: address for face, address in offline.addresses(tag).items() if face in offline.doors}


def _argument(one: Argument) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": one.data_type.value,
        "unit": one.unit.symbol if one.unit else None,
        "range": list(one.eu_range) if one.eu_range else None,
        "enum": list(one.enumeration) or None,
        "required": one.initial is None,
        "default": None if one.person else one.default_words,
        "person": one.person,
        "description": one.description,
    }


def argument_words(one: dict[str, Any]) -> str:
    """One of a row's arguments in a word: "Kp: Double 0…100", "RecipeVersion: String = 1"."""
    parts = [f"{one['name']}: {one['type']}"]
    if one["range"]:
        parts.append("…".join(f"{end:g}" for end in one["range"]))
    if one["enum"]:
        parts.append("|".join(one["enum"]))
    if one["unit"]:
        parts.append(one["unit"])
    if one["person"]:
        parts.append("(person)")
    elif not one["required"]:
        parts.append(f"= {one['default'] if one['default'] != '' else 'empty'}")
    return " ".join(parts)
