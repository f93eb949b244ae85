"""The nodes of commands: each one twice, as a handshake object of variables and as a method.

    <machine>.Commands.Standby            object   Execute · RequestId · State · Busy · Done · Error · …
    <machine>.Commands.Standby.Args.Speed variable written before Execute
    <machine>.Commands.StandbyCall        method   InputArguments · OutputArguments

Ids are texts made of names, as everywhere: no order of creation is in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncua import ua

from bridge.model.path import SEGMENT
from bridge.model.tag import Owner, Range, Tag, TagDefinition
from bridge.model.value import DataType
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.arguments import described
from bridge.northbound.opcua.handshake import State
from bridge.northbound.opcua.offers import CommandObject, Method
from bridge.northbound.opcua.orders import request_id_of
from bridge.northbound.opcua.stack import space as sp
from bridge.northbound.opcua.tree import OWN, TYPES, node_id, property_attributes, standard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asyncua.server.address_space import NodeData

    from bridge.model.command import Argument, CommandDefinition
    from bridge.model.plant import Machine
    from bridge.northbound.opcua.offers import Offers
    from bridge.northbound.opcua.stack.values import TagValue
    from bridge.northbound.opcua.tree import Tree
    from bridge.ports import Clock, Taken

NO_SLOT = -1
"""These variables are the face's own: the table does not know them."""
COMMAND_TYPE = "CommandType"
OTHER_ARGUMENTS = "The command takes other arguments now"


def _field(
    name: str,
    data_type: DataType,
    description: str,
    *,
    writable: bool = False,
    enumeration: dict[str, int] | None = None,
) -> TagDefinition:
    return TagDefinition(
        name, data_type, enumeration=enumeration, description=description, writable=writable, owner=Owner.BRIDGE
    )


FIELDS = (
    _field("Execute", DataType.Boolean, "False, then True, starts; False acknowledges the result", writable=True),
    _field("RequestId", DataType.UInt32, "Chosen by the client; the same again is not done again", writable=True),
    _field("State", DataType.UInt32, "What it is doing", enumeration={state.name: int(state) for state in State}),
    _field("Busy", DataType.Boolean, "It is being carried out"),
    _field("Done", DataType.Boolean, "It was carried out"),
    _field("Error", DataType.Boolean, "It was not carried out, or nobody knows: see ErrorText"),
    _field("AckRequestId", DataType.UInt32, "The RequestId the result belongs to"),
    _field("ErrorCode", DataType.UInt32, "Number of the OPC UA StatusCode; 0 is Good"),
    _field("VendorCode", DataType.Int32, "HTTP status of the machine's answer; 0 where there was none"),
    _field("ErrorText", DataType.String, "What happened, in a sentence"),
    _field("Results/Result", DataType.String, "confirmed, changed, accepted, rejected, refused, unknown, …"),
    _field("Results/Actual", DataType.String, "What the machine took instead, where it took something else"),
    _field("Results/VendorText", DataType.String, "The vendor's own words: what it made, or why it refused"),
    _field("ExecutionCount", DataType.UInt32, "Commands accepted since the bridge started"),
    _field("StartedAt", DataType.DateTime, "When the last one started"),
    _field("FinishedAt", DataType.DateTime, "When it ended"),
)
OUTPUTS = (
    ua.Argument("ErrorText", standard("String"), -1, Description=convert.localized("What happened, in a sentence")),
    ua.Argument("VendorCode", standard("Int32"), -1, Description=convert.localized("HTTP status; 0: there was none")),
    ua.Argument("Result", standard("String"), -1, Description=convert.localized("confirmed, changed, accepted, …")),
)


def object_id(machine: str, command: CommandDefinition) -> str:
    """The id of a command's handshake object, which is the command's target too."""
    return f"{machine}.Commands.{command.name.replace('/', '.')}"


def method_id(machine: str, command: CommandDefinition) -> str:
    """The id of its method."""
    return f"{object_id(machine, command)}Call"


def _ids(machine: str, command: CommandDefinition) -> Iterator[str]:
    base, method = object_id(machine, command), method_id(machine, command)
    yield from (
        base,
        f"{base}.Args",
        f"{base}.Results",
        method,
        f"{method}.InputArguments",
        f"{method}.OutputArguments",
    )
    yield from (f"{base}.{one.name.replace('/', '.')}" for one in FIELDS)
    yield from (f"{base}.Args.{argument.name}" for argument in command.arguments)


def faults(machine: Machine, longest: int) -> Iterator[str]:
    """What of this machine's commands cannot be shown: ids that are too long, not allowed or there already."""
    if not machine.commands:
        return
    taken = {tag.id for tag in machine.tags}
    taken |= {before for tag in machine.tags for before in _folders(tag.id)}
    for command in machine.commands:
        name = object_id(machine.id, command)
        words = (*command.name.split("/"), *(argument.name for argument in command.arguments))
        if not all(SEGMENT.match(word) for word in words):
            yield f"{name}: a name has characters a NodeId must not have"
        ids = list(_ids(machine.id, command))
        if len(set(ids)) < len(ids):
            yield f"{name}: two of its arguments have the same name"
        if taken.intersection(ids):
            yield f"{name}: {min(taken.intersection(ids))} is there already"
        if any(other is not command and other.name.startswith(f"{command.name}/") for other in machine.commands):
            yield f"{name}: a command cannot be the folder of another"
        if len(max(ids, key=len)) > longest:
            yield f"{name}: a NodeId may have {longest} characters, {max(ids, key=len)} has {len(max(ids, key=len))}"
        taken.update(ids)


def _folders(identifier: str) -> Iterator[str]:
    while identifier.count(".") > 1:
        identifier = identifier.rpartition(".")[0]
        if identifier.count(".") > 1:  # not the group itself, which commands share
            yield identifier


class CommandNodes:
    """Builds and retires them."""

    def __init__(self, tree: Tree, offers: Offers, clock: Clock, recall: Callable[[str], Taken | None]) -> None:
        """`recall` gives the newest command that an object of this id was accepted with, also before a restart."""
        self._recall = recall
        self._tree = tree
        self._offers = offers
        self._clock = clock
        self._built: dict[str, tuple[Argument, ...]] = {}
        """Arguments of every handshake object that has nodes, by its id."""

    def begin(self) -> None:
        """The type of handshake objects. Once."""
        tree = self._tree
        named = sp.names(ua.QualifiedName(COMMAND_TYPE, TYPES), ua.LocalizedText(COMMAND_TYPE))
        base, identifier = tree.standard_node("BaseObjectType"), ua.NodeId(COMMAND_TYPE, TYPES)
        attributes = sp.object_type_attributes(named)
        kind = tree.space.add(base, identifier, attributes, None, reference=sp.HAS_SUBTYPE)
        for definition in FIELDS:
            parent = tree.folder(COMMAND_TYPE, kind, definition.name.split("/")[:-1], TYPES)
            tree.declare(parent, ua.NodeId(f"{COMMAND_TYPE}.{definition.name.replace('/', '.')}", TYPES), definition)

    def build(self, machine: str, node: NodeData, command: CommandDefinition) -> tuple[str, str]:
        """The nodes of one command, made or found; the ids of its two."""
        identifier, call = object_id(machine, command), method_id(machine, command)
        if self._built.get(identifier, command.arguments) != command.arguments:
            self._rebuild(machine, command)
        self._built[identifier] = command.arguments
        *levels, _ = ("Commands", *command.name.split("/"))
        parent = self._tree.folder(machine, node, levels, OWN)
        values = self._object(parent, machine, identifier, command)
        self._method(parent, call, command)
        one = self._offers.get(identifier)
        if one is None:
            one = CommandObject(identifier, command, values, self._clock)
            self._remember(one)
            one.show()
        one.command = command
        self._offers.add(identifier, one, call, Method(parent.nodeid, identifier, command))
        return identifier, call

    def _remember(self, one: CommandObject) -> None:
        taken = self._recall(one.target)
        request_id = 0 if taken is None else request_id_of(taken.id)
        if taken is not None and request_id:
            one.handshake.remember(taken.id, request_id, taken.at)

    def _rebuild(self, machine: str, command: CommandDefinition) -> None:
        """Begin anew: who looks at an argument must not find it to be another."""
        for identifier in self.retire(machine, command, OTHER_ARGUMENTS):
            self._tree.take_out(self._tree.node(node_id(identifier)))

    def _object(
        self, parent: NodeData, machine: str, identifier: str, command: CommandDefinition
    ) -> dict[str, TagValue]:
        tree = self._tree
        attributes = sp.object_attributes(_names(identifier, command))
        node = tree.space.get(node_id(identifier))
        if node is None:
            node = tree.space.add(parent, node_id(identifier), attributes, ua.NodeId(COMMAND_TYPE, TYPES))
        else:
            tree.space.dress(node, attributes)
        values = {}
        for definition in (*FIELDS, *(_definition(argument) for argument in command.arguments)):
            tag = Tag(f"{identifier}.{definition.name.replace('/', '.')}", NO_SLOT, machine, definition)
            below = tree.folder(identifier, node, definition.name.split("/")[:-1], OWN)
            values[definition.name] = tree.variable(below, tag)
        return values

    def _method(self, parent: NodeData, identifier: str, command: CommandDefinition) -> None:
        attributes = sp.method_attributes(_names(identifier, command))
        node = self._tree.space.get(node_id(identifier))
        if node is None:
            node = self._tree.space.add(parent, node_id(identifier), attributes, None)
        else:
            self._tree.space.dress(node, attributes)
        inputs = [_argument(argument) for argument in command.arguments]
        for name, arguments in (("InputArguments", inputs), ("OutputArguments", list(OUTPUTS))):
            if arguments:
                self._tree.fixed_property(node, name, _arguments(name, arguments))

    def retire(self, machine: str, command: CommandDefinition, reason: str) -> tuple[str, str]:
        """Offer it no longer; its nodes stay, BadOutOfService. The ids of its two."""
        identifier, call = object_id(machine, command), method_id(machine, command)
        one = self._offers.remove(identifier, call)
        if one is not None:
            one.retire(reason)
        method = self._tree.space.get(node_id(call))
        if method is not None:
            self._tree.space.dress(method, sp.method_attributes(_names(call, command), executable=False))
        return identifier, call

    def forget(self, identifier: str) -> None:
        """Its nodes are taken out."""
        self._built.pop(identifier, None)


def _names(identifier: str, command: CommandDefinition) -> sp.Attributes:
    name = identifier.rpartition(".")[2]
    label = command.label.get("en") or command.name.rpartition("/")[2]
    return sp.names(ua.QualifiedName(name, TYPES), convert.localized(label), convert.text(command.description))


def _definition(argument: Argument) -> TagDefinition:
    return TagDefinition(
        f"Args/{argument.name}",
        argument.data_type,
        argument.unit,
        Range(*argument.eu_range) if argument.eu_range else None,
        description=described(argument),
        writable=True,
        owner=Owner.BRIDGE,
    )


def _argument(argument: Argument) -> ua.Argument:
    return ua.Argument(
        Name=argument.name,
        DataType=convert.data_type_id(argument.data_type),
        ValueRank=-1,
        Description=convert.localized(described(argument)),
    )


def _arguments(name: str, arguments: Sequence[ua.Argument]) -> sp.Attributes:
    kind = ua.VariantType.ExtensionObject
    return property_attributes(ua.QualifiedName(name, 0), standard("Argument"), list(arguments), kind)
