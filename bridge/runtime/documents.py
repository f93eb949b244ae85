"""Pages made from the plant as it is: address space, tags, tags as Ignition imports them, data flow, topics."""

from __future__ import annotations

import asyncio
import csv
import io
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson

from bridge.errors import NotDeclared
from bridge.northbound.opcua.ignition import ignition_tags
from bridge.northbound.opcua.server import OpcuaServer
from bridge.northbound.uns.publisher import UnsPublisher
from bridge.runtime.flow import flow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.model.plant import Plant
    from bridge.model.tag import Tag
    from bridge.ports import Northbound

IGNITION_CONNECTION = "plantbridge"
"""The name an OPC UA connection has in Ignition, where nobody says another."""


class Document(StrEnum):
    """What can be made."""

    NODESET = "nodeset"
    TAGS = "tags"
    IGNITION = "ignition"
    FLOW = "flow"
    ASYNCAPI = "asyncapi"


async def document(kind: str, plant: Plant, faces: Mapping[str, Northbound], connection: str = "") -> str:
    """The page, as text. Raises NotDeclared, which says what there is.

    Ten thousand tags take a second: a thread makes it of the plant, which does not change, so that values flow on.
    """
    if kind not in set(Document):
        raise NotDeclared(f'there is no document "{kind}"; expected {", ".join(Document)}')
    if kind == Document.NODESET:
        return await _opcua(faces).nodeset(plant)
    return await asyncio.to_thread(_written, kind, plant, faces, connection)


def _written(kind: str, plant: Plant, faces: Mapping[str, Northbound], connection: str) -> str:
    if kind == Document.TAGS:
        return tag_sheet(plant, faces)
    if kind == Document.FLOW:
        return flow(plant, faces)
    if kind == Document.ASYNCAPI:
        return _asyncapi(plant, faces)
    return ignition_tags(plant, _opcua(faces).server(), connection or IGNITION_CONNECTION)


def _opcua(faces: Mapping[str, Northbound]) -> OpcuaServer:
    face = faces.get("opcua")
    if not isinstance(face, OpcuaServer):
        raise NotDeclared("this bridge has no OPC UA server; northbound: opcua: enabled: true gives it one")
    return face


def _asyncapi(plant: Plant, faces: Mapping[str, Northbound]) -> str:
    face = faces.get("uns")
    if not isinstance(face, UnsPublisher):
        raise NotDeclared("this bridge publishes no plain topics; northbound: uns: enabled: true does")
    return orjson.dumps(face.asyncapi(plant), option=orjson.OPT_INDENT_2).decode() + "\n"


def tag_sheet(plant: Plant, faces: Mapping[str, Northbound]) -> str:
    """Every tag as a row of CSV (RFC 4180), for a spreadsheet."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    columns = ("Tag", "Machine", "Type", "Access", "Unit", "UNECE", "Low", "High", "Enumeration", "History")
    rows.writerow((*columns, "Description", *faces))
    for machine in plant.everything():
        for tag in machine.tags:
            rows.writerow([_safe(cell) for cell in (*_row(tag), *(face.address(tag) for face in faces.values()))])
    return text.getvalue()


def _row(tag: Tag) -> tuple[object, ...]:
    definition = tag.definition
    low, high = definition.eu_range or ("", "")
    numbers = sorted((definition.enumeration or {}).items(), key=lambda item: item[1])
    return (
        tag.id,
        tag.machine,
        definition.data_type.value,
        "write" if definition.writable else "read",
        definition.unit.symbol if definition.unit else "",
        definition.unit.unece if definition.unit else "",
        low,
        high,
        ", ".join(f"{number} {name}" for name, number in numbers),
        "yes" if definition.history else "",
        ": ".join(word for word in (definition.display_name, definition.description) if word),
    )


def _safe(cell: object) -> object:
    """A text that begins like a formula would be run by a spreadsheet."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
