"""The dialects declarations are written in."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING

from bridge.northbound.opcua.plc import scl, structured_text
from bridge.northbound.opcua.plc.names import remark
from bridge.northbound.opcua.plc.sheet import Server, Sheet, sheet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.model.plant import Machine


class Dialect(StrEnum):
    """Which PLC reads it."""

    SCL = "scl"
    """Siemens S7-1500, an external source file of TIA Portal."""
    ST = "st"
    """IEC 61131-3 structured text as TwinCAT 3 and CODESYS take it."""


_WRITERS = {Dialect.SCL: scl, Dialect.ST: structured_text}
HASH = 12
"""Hexadecimal digits: enough to see that two files differ."""


def declarations(machine: Machine, server: Server, dialect: Dialect, only: Iterable[str] = ()) -> str:
    """The source text for one machine, the same for the same input. Raises NotDeclared."""
    one, writer = sheet(machine, server, only), _WRITERS[dialect]
    body = "\n".join(writer.lines(one))
    digest = hashlib.sha256(body.encode()).hexdigest()[:HASH]
    return "\n".join((*_header(one, dialect, digest, writer.USE), "", body, ""))


def _header(one: Sheet, dialect: Dialect, digest: str, use: tuple[str, ...]) -> list[str]:
    server = one.server
    set_points, orders = len(one.set_points), len(one.orders)
    written = f"{set_points} set points, {orders} commands" if set_points or orders else "nothing"
    label = f" ({remark(one.label)})" if one.label else ""
    said = (
        f"Machine {one.machine}{label} for a PLC program, dialect {dialect}. Do not edit it, make it anew:",
        f"plantbridge docs plc {one.machine} --dialect {dialect} --state-dir <state directory of the bridge>",
        "",
        f"bridge     {server.bridge}, plantbridge {server.version}",
        f"mapping    {one.mapping}",
        f"written    {written}; writes and allow_hazards of the machine's source decide",
        f"hash       {digest}, the same while nothing below has changed",
        f"endpoint   {server.endpoint} with Basic256Sha256, SignAndEncrypt, user name and password",
        f"namespace  {server.namespace}, index {server.index}; a program asks for the index by this name",
        "",
        *use,
    )
    return [f"// {line}".rstrip() for line in said]


__all__ = ["Dialect", "Server", "declarations"]
