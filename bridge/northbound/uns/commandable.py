"""What of a machine can be commanded by topic, and how a person is told to do it. Pure.

<machine>/cmd/Setpoints/ScrewSpeed     a set point: one argument, "value"
<machine>/cmd/SetPid/Front             a command, with its own arguments
<machine>/cmd/…/result                 answers; never a command
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from bridge.model.command import Argument, ArgumentRange
from bridge.model.tag import tag_id
from bridge.model.value import DataType
from bridge.northbound.uns.topic import CMD, RESULT, is_valid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.model.command import CommandDefinition
    from bridge.model.plant import Machine
    from bridge.model.tag import Tag

VALUE = "value"
"""The one argument of a set point."""


@dataclass(frozen=True, slots=True)
class Commandable:
    """Something that takes commands. `name` is its topic below cmd/, `target` the command's."""

    name: str
    target: str
    arguments: tuple[Argument, ...]
    definition: CommandDefinition | None = None
    """None for a set point."""

    @property
    def expected(self) -> str:
        """What its payload must be, in words."""
        if not self.arguments:
            return "no arguments: true, or a JSON object"
        if len(self.arguments) == 1:
            return f"{_in_words(self.arguments[0])}, bare or as {{{VALUE!r}: …}}".replace("'", '"')
        return "args with " + ", ".join(f"{one.name} ({_in_words(one)})" for one in self.arguments)

    @property
    def example(self) -> str:
        """A payload that would be understood: with what must be given."""
        if not self.arguments:
            document: dict[str, Any] = {"id": "4711"}
        elif len(self.arguments) == 1:
            document = {VALUE: _sample(self.arguments[0]), "id": "4711"}
        else:
            needed = [one for one in self.arguments if one.initial is None and not one.person]
            document = {"args": {one.name: _sample(one) for one in needed}, "id": "4711"}
        return orjson.dumps(document).decode()


def commandables(machine: Machine) -> dict[str, Commandable]:
    """Everything of a machine that takes commands, by name; set points first."""
    points = (_of_set_point(tag) for tag in machine.tags if tag.definition.writable)
    commands = (
        Commandable(one.name, tag_id(machine.id, f"Commands/{one.name}"), one.arguments, one)
        for one in machine.commands
    )
    found: dict[str, Commandable] = {}
    for one in (*points, *commands):
        found.setdefault(one.name, one)
    return found


def command_faults(machine: Machine, root: str) -> Iterator[str]:
    """What of a machine this door cannot offer, one sentence each."""
    points = {tag.name.lower(): tag.id for tag in machine.tags if tag.definition.writable}
    for one in machine.commands:
        if one.name.lower() in points:
            yield f"{machine.id}: the command {one.name} and the set point {points[one.name.lower()]} share a topic"
    for name in commandables(machine):
        if name.rpartition("/")[2].lower() == RESULT:
            yield f"{machine.id}: {name}: a topic that ends in {RESULT!r} is an answer's"
        if not is_valid(f"{root}/{CMD}/{name}/{RESULT}"):
            yield f"{machine.id}: {root}/{CMD}/{name}/{RESULT} is not a topic, or too long"


def described(branch: str, offered: Mapping[str, Commandable]) -> dict[str, Any]:
    """The commands of a machine for its _meta.

    Shape: {"<name>": {"topic", "arguments": {"<argument>": {"type", "range"?, "enum"?, "unit"?, "description"?,
    "optional"?, "person"?, "default"?}}, "example", "label"?, "description"?, "hazards"?, "safe"?}}
    """
    return {name: _described(f"{branch}/{CMD}/{name}", one) for name, one in offered.items()}


def _described(topic: str, one: Commandable) -> dict[str, Any]:
    document: dict[str, Any] = {
        "topic": topic,
        "arguments": {argument.name: _described_argument(argument) for argument in one.arguments},
        "example": orjson.loads(one.example),
    }
    if one.definition is not None:
        more = {
            "label": dict(one.definition.label),
            "description": one.definition.description,
            "hazards": sorted(one.definition.hazards),
            "safe": one.definition.safe,
        }
        document.update({key: content for key, content in more.items() if content})
    return document


def _described_argument(argument: Argument) -> dict[str, Any]:
    document = {
        "type": argument.data_type.value,
        "range": argument.eu_range and list(argument.eu_range),
        "enum": list(argument.enumeration),
        "unit": argument.unit and argument.unit.symbol,
        "description": argument.description,
        "person": argument.person,
        "optional": argument.initial is not None,
    }
    described = {key: content for key, content in document.items() if content}
    return (
        described if argument.person or argument.default is None else {**described, "default": argument.default_words}
    )


def _of_set_point(tag: Tag) -> Commandable:
    one = tag.definition
    bounds = one.eu_range and ArgumentRange(*one.eu_range)
    texts = tuple(one.enumeration or ())
    return Commandable(tag.name, tag.id, (Argument(VALUE, one.data_type, bounds, texts, one.unit, one.description),))


def _in_words(argument: Argument) -> str:
    words = _accepted(argument)
    if argument.person:
        return f"{words}: badge number, user name or e-mail address; may be left out"
    return words if argument.default is None else f"{words}; {argument.default_words} when left out"


def _accepted(argument: Argument) -> str:
    if argument.enumeration:
        return "one of " + ", ".join(argument.enumeration[:20])
    if argument.eu_range is not None:
        unit = f" {argument.unit.symbol}" if argument.unit is not None and argument.unit.symbol else ""
        return f"{argument.data_type.value} from {argument.eu_range.low:g} to {argument.eu_range.high:g}{unit}"
    return argument.data_type.value


def _sample(argument: Argument) -> bool | int | float | str:
    if argument.enumeration:
        return argument.enumeration[0]
    if argument.data_type is DataType.Boolean:
        return True
    if argument.data_type is DataType.DateTime:
        return "2026-01-31T12:00:00Z"
    if argument.data_type is DataType.String:
        return "0451" if argument.person else "text"
    low, high = argument.eu_range or (0, 1)
    middle = (low + high) / 2
    return middle if argument.data_type is DataType.Double else int(middle)
