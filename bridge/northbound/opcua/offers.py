"""What a client may write and call beside set points: the handshake objects and methods there are now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncua import ua

from bridge.model.command import ENGINEERS_HAZARDS, Role
from bridge.model.email import without_emails
from bridge.model.secret import is_secret
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, bad
from bridge.northbound.opcua.arguments import EXECUTE, REQUEST_ID
from bridge.northbound.opcua.handshake import ARGS, Handshake
from bridge.northbound.opcua.tree import OWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.model.command import Argument, CommandDefinition
    from bridge.model.value import Value
    from bridge.northbound.opcua.stack.values import TagValue
    from bridge.ports import Clock

_UNSEEN = object()


def _may_use(role: Role, command: CommandDefinition) -> bool:
    """Whether this role may use the command at all; the desk decides once more, with the rest it knows."""
    if role is Role.OPERATOR:
        return not command.hazards & ENGINEERS_HAZARDS
    return role is Role.ENGINEER


class CommandObject:
    """A command's handshake and the variables that show it."""

    def __init__(self, target: str, command: CommandDefinition, values: Mapping[str, TagValue], clock: Clock) -> None:
        self.target = target
        self.command = command
        self.is_resting = False
        """Somebody waits for the moment at which it may become Idle."""
        self.handshake = Handshake({one.name: one.initial for one in command.arguments}, clock)
        self._values = values
        self._secret = {f"{ARGS}{one.name}" for one in command.arguments if is_secret(one.name)}
        self._clock = clock
        self._seen: dict[str, object] = {}
        self._is_retired = False

    def show(self) -> None:
        """Bring the variables up to date: at once, and State last, so that nobody sees it before the results."""
        if self._is_retired:
            return
        for name, value in (*self.handshake.inputs().items(), *self.handshake.shown().items()):
            self._show(name, value)

    def _show(self, name: str, value: Value) -> None:
        if self._seen.get(name, _UNSEEN) == value:
            return
        self._seen[name] = value
        now = self._clock.now()
        if name in self._secret:
            self._values[name].set(bad(StatusCode.BadUserAccessDenied, "A secret is written and never shown", now))
            return
        absent = StatusCode.BadWaitingForInitialData if name.startswith(ARGS) else StatusCode.BadNoData
        value = without_emails(value) if isinstance(value, str) else value  # everybody may read it
        shown = bad(absent, "No value", now) if value is None else DataValue(value, StatusCode.Good, now, now)
        self._values[name].set(shown)

    def retire(self, reason: str) -> None:
        """The machine or its command is gone."""
        self._is_retired = True
        gone = bad(StatusCode.BadOutOfService, reason, self._clock.now())
        for value in self._values.values():
            value.set(gone)


@dataclass(frozen=True, slots=True)
class Field:
    """A variable of a handshake object that clients write."""

    owner: CommandObject
    path: str
    argument: Argument

    @property
    def is_execute(self) -> bool:
        """It starts the command; the others have no side effect."""
        return self.argument is EXECUTE


def _fields(one: CommandObject) -> Iterator[Field]:
    for argument in (EXECUTE, REQUEST_ID):
        yield Field(one, argument.name, argument)
    for argument in one.command.arguments:
        yield Field(one, f"{ARGS}{argument.name}", argument)


@dataclass(frozen=True, slots=True)
class Method:
    """A command as a method of the object `parent`."""

    parent: ua.NodeId
    target: str
    command: CommandDefinition


class Offers:
    """Fields and methods by the text of their NodeIds."""

    def __init__(self) -> None:
        self._objects: dict[str, CommandObject] = {}
        self._fields: dict[str, Field] = {}
        self._methods: dict[str, Method] = {}

    def get(self, identifier: str) -> CommandObject | None:
        """The handshake object with this id."""
        return self._objects.get(identifier)

    def add(self, identifier: str, one: CommandObject, method_id: str, method: Method) -> None:
        """Offer a command."""
        self._objects[identifier] = one
        self._methods[method_id] = method
        for field in _fields(one):
            self._fields[f"{identifier}.{field.path.replace('/', '.')}"] = field

    def remove(self, identifier: str, method_id: str) -> CommandObject | None:
        """Offer it no longer."""
        one = self._objects.pop(identifier, None)
        self._methods.pop(method_id, None)
        for field in _fields(one) if one else ():
            self._fields.pop(f"{identifier}.{field.path.replace('/', '.')}", None)
        return one

    def field(self, node_id: ua.NodeId) -> Field | None:
        """What is written by writing this node."""
        return self._fields.get(node_id.Identifier) if node_id.NamespaceIndex == OWN else None

    def method(self, node_id: ua.NodeId) -> Method | None:
        """What is called by calling this node."""
        return self._methods.get(node_id.Identifier) if node_id.NamespaceIndex == OWN else None

    def may_use(self, role: Role, node_id: ua.NodeId) -> bool:
        """Whether this role may write or call this node, if anybody may."""
        field, method = self.field(node_id), self.method(node_id)
        command = field.owner.command if field else method.command if method else None
        return role is not Role.OBSERVER if command is None else _may_use(role, command)
