"""Everything about one machine that a PLC program names: nodes, constants, commands. Dialects only write it down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.errors import NotDeclared, did_you_mean
from bridge.model.value import DataType
from bridge.northbound.opcua.arguments import described
from bridge.northbound.opcua.command_nodes import FIELDS, object_id
from bridge.northbound.opcua.plc.names import Names, identifier, remark

if TYPE_CHECKING:
    from bridge.model.command import Argument, CommandDefinition
    from bridge.model.plant import Machine
    from bridge.model.tag import Tag
    from bridge.model.value import Value

PREFIX = "PB"
"""Every global name begins with it, so that it can be found, and meets nobody else's."""
ANSWER = (
    "Execute",
    "RequestId",
    "State",
    "AckRequestId",
    "ErrorCode",
    "VendorCode",
    "ErrorText",
    "Results/Result",
    "Results/Actual",
)
"""What the handshake block reads, in this order: a client that reads one by one and has seen State finds the results
that belong to it, because the bridge changes State last."""
_FIELDS = {definition.name: definition for definition in FIELDS}


@dataclass(frozen=True, slots=True)
class Server:
    """Where the OPC UA server is and what its instances are called."""

    bridge: str
    endpoint: str
    namespace: str
    index: int
    version: str


@dataclass(frozen=True, slots=True)
class Node:
    """One variable: its name in a structure of the PLC, the text of its NodeId, its type."""

    name: str
    id: str
    data_type: DataType
    remark: str
    initial: Value = None
    """What is written where the program sets nothing; None: the zero of its type."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The number of one text of an enumeration."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Order:
    """One command's handshake object: what is written, and what is read."""

    name: str
    command: str
    id: str
    """The text of the NodeId of its object."""
    written: tuple[Node, ...]
    """Arguments first, then RequestId, Execute last."""
    read: tuple[Node, ...]
    others: tuple[Node, ...]
    """Variables of the object that the handshake block does not need."""
    remark: str

    @property
    def also(self) -> str:
        """Their names: "Busy, Done, Results.VendorText"."""
        return ", ".join(node.id.removeprefix(f"{self.id}.") for node in self.others)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is declared for one machine."""

    machine: str
    name: str
    """The prefix of its global names."""
    mapping: str
    label: str
    server: Server
    values: tuple[Node, ...]
    """Every tag, set points too: what the machine shows."""
    set_points: tuple[Node, ...]
    """Those of them that may be written, one by one."""
    constants: tuple[Constant, ...]
    answer: tuple[Node, ...]
    """The type of every command's answer."""
    orders: tuple[Order, ...]


def sheet(machine: Machine, server: Server, only: Iterable[str] = ()) -> Sheet:
    """What a PLC needs for this machine; `only` these commands, or all. Raises NotDeclared."""
    names, fields = Names(), Names()
    values = tuple(_value(tag, fields) for tag in machine.tags)
    writable = {tag.id for tag in machine.tags if tag.definition.writable}
    commands = _chosen(machine, tuple(only))
    own = identifier(PREFIX, machine.id)
    return Sheet(
        machine=machine.id,
        name=own,
        mapping=machine.type_name,
        label=machine.label,
        server=server,
        values=values,
        set_points=tuple(node for node in values if node.id in writable),
        constants=tuple(_constants(machine)),
        answer=tuple(_field("", name) for name in ANSWER),
        orders=tuple(_order(machine, command, names) for command in commands),
    )


def _chosen(machine: Machine, only: tuple[str, ...]) -> tuple[CommandDefinition, ...]:
    known = [command.name for command in machine.commands]
    for name in only:
        if name not in known:
            hint = did_you_mean(name, known) or f"it has {', '.join(known) or 'none'}"
            raise NotDeclared(f'{machine.id} has no command "{name}"; {hint}')
    return tuple(command for command in machine.commands if not only or command.name in only)


def _value(tag: Tag, names: Names) -> Node:
    definition = tag.definition
    limits = definition.eu_range
    return Node(
        names.take(tag.name),
        tag.id,
        definition.data_type,
        remark(
            definition.unit.symbol if definition.unit else "",
            f"{limits.low:g} to {limits.high:g}" if limits else "",
            ", ".join(f"{number} {text}" for text, number in (definition.enumeration or {}).items()),
            "may be written" if definition.writable else "",
            definition.label.get("en", ""),
        ),
    )


def _constants(machine: Machine) -> Iterator[Constant]:
    names = Names()
    for tag in machine.tags:
        for text, number in (tag.definition.enumeration or {}).items():
            yield Constant(names.take(tag.name, text), number)


def _order(machine: Machine, command: CommandDefinition, names: Names) -> Order:
    base, fields = object_id(machine.id, command), Names()
    arguments = [_argument(base, argument, fields) for argument in command.arguments]
    return Order(
        name=names.take(command.name),
        command=command.name,
        id=base,
        written=(*arguments, _field(base, "RequestId"), _field(base, "Execute")),
        read=tuple(_field(base, name) for name in ANSWER),
        others=tuple(_field(base, one.name) for one in FIELDS if one.name not in ANSWER),
        remark=remark(command.label.get("en", ""), command.description, _hazards(command)),
    )


def _hazards(command: CommandDefinition) -> str:
    return f"hazards: {', '.join(sorted(command.hazards))}" if command.hazards else ""


def _argument(base: str, argument: Argument, names: Names) -> Node:
    name = names.take("Args", argument.name)
    said = remark(described(argument))
    return Node(name, f"{base}.Args.{argument.name}", argument.data_type, said, argument.initial)


def _field(base: str, name: str) -> Node:
    definition = _FIELDS[name]
    states = ", ".join(f"{number} {text}" for text, number in (definition.enumeration or {}).items())
    return Node(
        name.rpartition("/")[2],
        f"{base}.{name.replace('/', '.')}",
        definition.data_type,
        remark(definition.description, states),
    )
