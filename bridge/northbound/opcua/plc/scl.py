"""Siemens S7-1500: an external source file in SCL.

Types as the OPC UA client of an S7-1500 maps them (Siemens, Communication function manual, "Mapping of data types"):
String is WString there, because a String of the CPU has the Windows code page; DateTime is LDT.
A NodeId is the system type OPC_UA_NodeId: NamespaceIndex, Identifier as WString[254], IdentifierType 1 for a text.
OPC_UA_NodeGetHandleList takes NamespaceIndex 0 of a NodeId as "element 0 of its NamespaceIndexes".
"""

from __future__ import annotations

import re
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
from bridge.northbound.opcua.plc.literals import DOUBLE_BYTE, assignment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bridge.northbound.opcua.plc.sheet import Node, Order, Sheet

USE = (
    "In TIA Portal: External source files, Add new external file, Generate blocks from source.",
    "The lists of nodes are in the order of the structures, as OPC_UA_ReadList and OPC_UA_WriteList want them.",
    "A set point has no structure: nobody shall write all of them at once, with the zeros of a start.",
    "Written after the manuals; no TIA Portal has compiled it. Tell us what yours says.",
)
TYPES = {
    DataType.Boolean: "Bool",
    DataType.Int32: "DInt",
    DataType.UInt32: "UDInt",
    DataType.Int64: "LInt",
    DataType.Double: "LReal",
    DataType.String: f"WString[{LONGEST_TEXT}]",
    DataType.DateTime: "LDT",
}
_KINDS = {
    "answer": f'"{ANSWER_TYPE}"',
    "time": f"Time := T#{TIMEOUT_S}s",
    "step": "Int",
    "timer": "TON_TIME",
}
TEXT_ID = 1
"""IdentifierType of OPC_UA_NodeId for a text."""
_ATTRIBUTES = ("{ S7_Optimized_Access := 'TRUE' }", "VERSION : 0.1")


def lines(one: Sheet) -> Iterator[str]:
    """The source, line by line."""
    yield from _type(ANSWER_TYPE, one.answer, "What a command's object shows; the same for every command")
    yield from _type(f"{one.name}_Values", one.values, "What the machine shows, set points too", with_ids=True)
    for order in one.orders:
        title = f"Written to {order.command}: {order.remark}" if order.remark else f"Written to {order.command}"
        yield from _type(f"{one.name}_{order.name}_Order", order.written, title, with_ids=True)
    yield from _constants(one)
    yield from _nodes(one)
    yield from _block()


def _type(name: str, nodes: Sequence[Node], title: str, *, with_ids: bool = False) -> Iterator[str]:
    yield f"// {title}"
    yield f'TYPE "{name}"'
    yield "VERSION : 0.1"
    yield "   STRUCT"
    for node in nodes:
        said = " | ".join(filter(None, (node.id if with_ids else "", node.remark)))
        initial = assignment(node.initial, prefix="WSTRING#", digits=DOUBLE_BYTE)
        yield f"      {node.name} : {TYPES[node.data_type]}{initial};{f'   // {said}' if said else ''}"
    yield "   END_STRUCT;"
    yield "END_TYPE"
    yield ""


def _constants(one: Sheet) -> Iterator[str]:
    if not one.constants:
        return
    yield "// Numbers of the texts of enumerations"
    yield f'DATA_BLOCK "{one.name}_Numbers"'
    yield from _ATTRIBUTES
    yield "NON_RETAIN"
    yield "   VAR"
    yield from (f"      {constant.name} : UDInt := {constant.number};" for constant in one.constants)
    yield "   END_VAR"
    yield "BEGIN"
    yield "END_DATA_BLOCK"
    yield ""


def _nodes(one: Sheet) -> Iterator[str]:
    lists = dict(_lists(one))
    yield "// NodeIds; the elements of a list stand in the order of its structure"
    yield f'DATA_BLOCK "{one.name}_Nodes"'
    yield from _ATTRIBUTES
    yield "NON_RETAIN"
    yield "   VAR"
    yield f"      NamespaceUris : Array[0..0] of WString[{LONGEST_TEXT}];"
    for name, nodes in lists.items():
        yield f"      {name} : Array[0..{len(nodes) - 1}] of OPC_UA_NodeId;"
    yield "   END_VAR"
    yield "BEGIN"
    yield f"   NamespaceUris[0] := WSTRING#'{one.server.namespace}';"
    for name, nodes in lists.items():
        for index, node in enumerate(nodes):
            element = f"   {name}[{index}]"
            yield f"{element}.Identifier := WSTRING#'{node.id}';"
            yield f"{element}.IdentifierType := {TEXT_ID};"
    for order in one.orders:
        yield f"   // {order.id}: also {order.also}"
    yield "END_DATA_BLOCK"
    yield ""


def _lists(one: Sheet) -> Iterator[tuple[str, Sequence[Node]]]:
    """The lists that have elements."""
    if one.values:
        yield "Values", one.values
    if one.set_points:
        yield "SetPoints", one.set_points
    for order in one.orders:
        yield from _of_order(order)


def _of_order(order: Order) -> Iterator[tuple[str, Sequence[Node]]]:
    yield f"{order.name}_Order", order.written
    yield f"{order.name}_Answer", order.read


def _block() -> Iterator[str]:
    yield "// Carries out one command; one instance for each command"
    yield f'FUNCTION_BLOCK "{BLOCK}"'
    yield from _ATTRIBUTES
    for section, variables in (("VAR_INPUT", INPUTS), ("VAR_OUTPUT", OUTPUTS), ("VAR", STATICS)):
        yield f"   {section}"
        yield from (f"      {variable.name} : {_kind(variable)};   // {variable.remark}" for variable in variables)
        yield "   END_VAR"
    yield "BEGIN"
    yield from _indented(BODY.replace("@", "#").replace("$'", "WSTRING#'").splitlines())
    yield "END_FUNCTION_BLOCK"


def _kind(variable: Variable) -> str:
    return TYPES[variable.kind] if isinstance(variable.kind, DataType) else _KINDS[variable.kind]


def _indented(body: Iterable[str]) -> Iterator[str]:
    """Hexadecimal numbers as SCL writes them, in groups of four digits."""
    for line in body:
        yield "   " + re.sub(r"16#([0-9A-F]{4})([0-9A-F]{4})", r"16#\1_\2", line)
