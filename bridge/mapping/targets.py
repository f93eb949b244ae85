"""Targets: what of a machine can be commanded, and the vendor's payload for it. Pure (see `bridge.ports.Target`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.mapping.actions import render
from bridge.mapping.compile import CommandSpec, CompiledMapping, TagSpec, confirm_alternatives
from bridge.model.action import Action, Expectation
from bridge.model.command import Argument, ArgumentRange
from bridge.model.plant import Part
from bridge.model.tag import Tag, tag_id
from bridge.model.value import DataType, Value

VALUE = "value"
"""Name of a set point's one argument."""


class _Readback:
    """Turns names and values of tags into what a vendor's payload must then say."""

    def __init__(self, mapping: CompiledMapping) -> None:
        self._specs = {spec.definition.name: spec for spec in mapping.tags}

    def expectations(self, confirm: Any, arguments: Mapping[str, Value]) -> tuple[tuple[Expectation, ...], ...]:
        """`confirm` of a rule, with `$name` replaced: alternatives of conjunctions."""
        return tuple(
            tuple(self._expectation(name, render(wanted, arguments)) for name, wanted in alternative.items())
            for alternative in confirm_alternatives(confirm)
        )

    def _expectation(self, name: str, wanted: Value) -> Expectation:
        spec = self._specs[name]
        return Expectation(str(spec.sources[0][1]), _raw(spec, wanted))


def _raw(spec: TagSpec, value: Value) -> Value:
    """A tag's value as the vendor sends it: an enum's text for its number."""
    enumeration = spec.rule.enum
    if enumeration and isinstance(value, int) and not isinstance(value, bool):
        return next((text for text, number in enumeration.items() if number == value), value)
    return value


class SetPointTarget:
    """A tag that can be written."""

    def __init__(self, machine: str, part: Part, tag: Tag, spec: TagSpec, mapping: CompiledMapping) -> None:
        self._part = part
        self._spec = spec
        self._mapping = mapping
        self.id = tag.id
        self.machine = machine
        self.lane = (part.source, part.source_machine)
        self.set_point: Tag | None = tag
        self.arguments: Sequence[Argument] = (_value_argument(tag),)

    def action(self, arguments: Mapping[str, Value]) -> Action:
        """What is sent for this value."""
        rule = self._spec.rule.write
        assert rule is not None  # noqa: S101
        value = arguments[VALUE]
        hazards = rule.hazard.get(str(value), []) if isinstance(rule.hazard, dict) else rule.hazard
        return Action(
            *self.lane,
            render(rule.send, {VALUE: value}),
            self._confirm(value, arguments),
            frozenset(hazards),
            rule.absolute,
            safe=str(value) in rule.safe,
            requires={tag_id(self.machine, name): wanted for name, wanted in rule.requires.items()},
        )

    def _confirm(self, value: Value, arguments: Mapping[str, Value]) -> tuple[tuple[Expectation, ...], ...]:
        rule = self._spec.rule.write
        assert rule is not None  # noqa: S101
        if rule.confirm is not None:
            return _Readback(self._mapping).expectations(rule.confirm, arguments)
        paths = [rule.confirm_path] if rule.confirm_path else [str(path) for _, path in self._spec.sources]
        return tuple((Expectation(path, value),) for path in paths)


class CommandTarget:
    """A command of a machine."""

    set_point: Tag | None = None

    def __init__(self, machine: str, part: Part, spec: CommandSpec, mapping: CompiledMapping) -> None:
        self._spec = spec
        self._mapping = mapping
        self.id = command_id(machine, spec.name)
        self.machine = machine
        self.lane = (part.source, part.source_machine)
        self.arguments: Sequence[Argument] = spec.arguments

    def action(self, arguments: Mapping[str, Value]) -> Action:
        """What is sent for these arguments."""
        rule = self._spec.rule
        return Action(
            *self.lane,
            render(rule.send, arguments),
            _Readback(self._mapping).expectations(rule.confirm, arguments),
            frozenset(rule.hazard),
            rule.absolute,
            safe=rule.safe,
            requires={tag_id(self.machine, name): wanted for name, wanted in rule.requires.items()},
        )


def command_id(machine: str, name: str) -> str:
    """The target of command `name` of a machine: "extruder-1.Commands.Standby"."""
    return tag_id(machine, f"Commands/{name}")


def targets_of(
    machine: str, part: Part, mapping: CompiledMapping, tags: Mapping[str, Tag]
) -> Iterator[SetPointTarget | CommandTarget]:
    """Everything that can be commanded of one part."""
    for spec in mapping.tags:
        tag = tags.get(spec.definition.name)
        if spec.rule.write is not None and tag is not None and tag.definition.writable:
            yield SetPointTarget(machine, part, tag, spec, mapping)
    for command in mapping.commands:
        yield CommandTarget(machine, part, command, mapping)


def _value_argument(tag: Tag) -> Argument:
    definition = tag.definition
    numbers = dict(definition.enumeration or {})
    return Argument(
        VALUE,
        DataType.String if numbers else definition.data_type,
        ArgumentRange(*definition.eu_range) if definition.eu_range else None,
        tuple(numbers),
        definition.unit,
        definition.description,
        numbers,
    )
