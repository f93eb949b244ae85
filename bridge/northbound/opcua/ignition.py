"""Tags of a plant as Ignition imports them: JSON, a folder per machine and group, each tag with its item path. Pure.

Source: Ignition 8.1, Tag Export and Import; tag properties `valueSource`, `opcServer`, `opcItemPath`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from bridge.model.value import DataType

if TYPE_CHECKING:
    from bridge.model.plant import Machine, Plant
    from bridge.model.tag import Tag
    from bridge.northbound.opcua.plc.sheet import Server

_TYPES: Final = {
    DataType.Boolean: "Boolean",
    DataType.Int32: "Int4",
    DataType.UInt32: "Int8",
    DataType.Int64: "Int8",
    DataType.Double: "Float8",
    DataType.String: "String",
    DataType.DateTime: "DateTime",
}


def ignition_tags(plant: Plant, server: Server, connection: str) -> str:
    """The whole plant below one folder; `connection` is the name of the OPC UA connection in Ignition."""
    machines = [_machine(machine, server, connection) for machine in plant.everything()]
    return json.dumps(_folder(server.bridge, machines), indent=1, ensure_ascii=False) + "\n"


def _machine(machine: Machine, server: Server, connection: str) -> dict[str, Any]:
    root = _folder(machine.id, [])
    for tag in machine.tags:
        *levels, name = tag.name.split("/")
        here = root
        for level in levels:
            below = next((one for one in here["tags"] if one["name"] == level and one["tagType"] == "Folder"), None)
            if below is None:
                below = _folder(level, [])
                here["tags"].append(below)
            here = below
        here["tags"].append(_tag(name, tag, server, connection))
    return root


def _folder(name: str, tags: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "tagType": "Folder", "tags": tags}


def _tag(name: str, tag: Tag, server: Server, connection: str) -> dict[str, Any]:
    definition = tag.definition
    made: dict[str, Any] = {
        "name": name,
        "tagType": "AtomicTag",
        "valueSource": "opc",
        "opcServer": connection,
        "opcItemPath": f"ns={server.index};s={tag.id}",
        "dataType": _TYPES[definition.data_type],
        "readOnly": not definition.writable,
    }
    if definition.unit:
        made["engUnit"] = definition.unit.symbol
    if definition.eu_range:
        made["engLow"], made["engHigh"] = definition.eu_range
    words = [definition.display_name, definition.description]
    made["documentation"] = ": ".join(word for word in words if word)
    return made
