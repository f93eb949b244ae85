"""IEC 61131-3 structured text, as TwinCAT 3 and CODESYS take it.

Types as PLCopen's mapping and Beckhoff's client (TF6100, "Data types") have them: DateTime is DT, String is STRING.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.model.value import DataType
from bridge.northbound.opcua.plc.handshake_block import (
    ANSWER_TYPE,
    BLOCK,
    BODY,
    INPUTS,
    LONGEST_TEXT,
    OUTPUTS,
    STATICS,
    TIMEOUT_S,
    Variable,
)
from bridge.northbound.opcua.plc.literals import assignment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.northbound.opcua.plc.sheet import Node, Sheet

USE = (
    "TwinCAT 3: each TYPE is a DUT, the VAR_GLOBAL list a GVL, the FUNCTION_BLOCK a POU: paste them there.",
    "The lists of NodeIds are in the order of the structures: element 1 belongs to the first member.",
    "A set point has no structure: nobody shall write all of them at once, with the zeros of a start.",
    "Parsed by tools for IEC 61131-3; no TwinCAT has compiled it. Tell us what yours says.",
)
TYPES = {
    DataType.Boolean: "BOOL",
    DataType.Int32: "DINT",
    DataType.UInt32: "UDINT",
    DataType.Int64: "LINT",
    DataType.Double: "LREAL",
    DataType.String: f"STRING({LONGEST_TEXT})",
    DataType.DateTime: "DT",
}
_KINDS = {"answer": ANSWER_TYPE, "time": f"TIME := T#{TIMEOUT_S}s", "step": "INT", "timer": "TON"}
ID = "STRING(120)"
"""The bridge makes no NodeId longer than this."""


def lines(one: Sheet) -> Iterator[str]:
    """The source, line by line."""
    yield from _type(ANSWER_TYPE, one.answer, "What a command's object shows; the same for every command")
    yield from _type(f"{one.name}_Values", one.values, "What the machine shows, set points too")
    for order in one.orders:
        title = f"Written to {order.command}: {order.remark}" if order.remark else f"Written to {order.command}"
        yield from _type(f"{one.name}_{order.name}_Order", order.written, title)
    yield from _globals(one)
    yield from _block()


def _type(name: str, nodes: Sequence[Node], title: str) -> Iterator[str]:
    yield f"// {title}"
    yield f"TYPE {name} :"
    yield "STRUCT"
    for node in nodes:
        kind = f"{TYPES[node.data_type]}{assignment(node.initial)}"
        yield f"    {node.name} : {kind};{f'   // {node.remark}' if node.remark else ''}"
    yield "END_STRUCT"
    yield "END_TYPE"
    yield ""


def _globals(one: Sheet) -> Iterator[str]:
    yield "VAR_GLOBAL CONSTANT"
    yield f"    {one.name}_Endpoint : STRING(254) := '{one.server.endpoint}';"
    yield f"    {one.name}_Namespace : STRING(254) := '{one.server.namespace}';"
    for constant in one.constants:
        yield f"    {one.name}_{constant.name} : UDINT := {constant.number};"
    yield from _ids(f"{one.name}_Values", one.values)
    yield from _ids(f"{one.name}_SetPoints", one.set_points)
    for order in one.orders:
        yield from _ids(f"{one.name}_{order.name}_Order", order.written)
        yield from _ids(f"{one.name}_{order.name}_Answer", order.read)
        yield f"    // {order.id}: also {order.also}"
    yield "END_VAR"
    yield ""


def _ids(name: str, nodes: Sequence[Node]) -> Iterator[str]:
    if not nodes:
        return
    yield f"    {name}_Nodes : ARRAY[1..{len(nodes)}] OF {ID} := ["
    for number, node in enumerate(nodes, 1):
        yield f"        '{node.id}'{'' if number == len(nodes) else ','}"
    yield "    ];"


def _block() -> Iterator[str]:
    yield "// Carries out one command; one instance for each command"
    yield f"FUNCTION_BLOCK {BLOCK}"
    for section, variables in (("VAR_INPUT", INPUTS), ("VAR_OUTPUT", OUTPUTS), ("VAR", STATICS)):
        yield section
        yield from (f"    {variable.name} : {_kind(variable)};   // {variable.remark}" for variable in variables)
        yield "END_VAR"
    yield from BODY.replace("@", "").replace("$'", "'").splitlines()
    yield "END_FUNCTION_BLOCK"


def _kind(variable: Variable) -> str:
    return TYPES[variable.kind] if isinstance(variable.kind, DataType) else _KINDS[variable.kind]
