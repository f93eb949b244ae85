"""Targets: what of a machine can be commanded, and the vendor's payload for it. Pure (see `bridge.ports.Target`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bridge.mapping.actions import render
from bridge.mapping.compile import CommandSpec, CompiledMapping, TagSpec, confirm_alternatives
from bridge.mapping.recipe import argument_of
from bridge.model.action import Action, Expectation
from bridge.model.command import Argument
from bridge.model.plant import Part
from bridge.model.tag import Tag, tag_id
from bridge.model.value import Value
from bridge.ports import Item

VALUE = "value"
"""Name of a set point's one argument."""


class _Readback:
    """Turns names and values of tags into what a vendor's payload must then say."""

    def __init__(self, machine: str, mapping: CompiledMapping) -> None:
        self._machine = machine
        self._mapping = mapping
        self._specs = {spec.definition.name: spec for spec in mapping.tags}

    def expectations(self, confirm: Any, arguments: Mapping[str, Value]) -> tuple[tuple[Expectation, ...], ...]:
        """`confirm` of a rule, with `$name` replaced: alternatives of conjunctions."""
        return tuple(
            tuple(self._expectation(name, render(wanted, arguments)) for name, wanted in alternative.items())
            for alternative in confirm_alternatives(confirm)
        )

    def _expectation(self, name: str, wanted: Value) -> Expectation:
        spec = self._specs[name]
        path = str(spec.sources[0][1])
        return Expectation(path, _raw(spec, wanted), tag_id(self._machine, name), self._mapping.is_sampled(path))


def _raw(spec: TagSpec, value: Value) -> Value:
    """A tag's value as the vendor sends it: an enum's text for its number."""
    enumeration = spec.rule.enum
    if enumeration and isinstance(value, int) and not isinstance(value, bool):
        return next((text for text, number in enumeration.items() if number == value), value)
    return value


class SetPointTarget:
    """A tag that can be written."""

    max_delay: float | None = None

    def __init__(self, machine: str, part: Part, tag: Tag, spec: TagSpec, mapping: CompiledMapping) -> None:
        self._part = part
        self._spec = spec
        self._mapping = mapping
        self.id = tag.id
        self.machine = machine
        self.lane = (part.source, part.source_machine)
        self.set_point: Tag | None = tag
        self.arguments: Sequence[Argument] = (argument_of(VALUE, tag.definition),)

    def items(self, arguments: Mapping[str, Value]) -> Sequence[Item]:
        """What is sent for this value."""
        value = arguments[VALUE]
        return (Item(self._action(value, arguments), self.set_point, value),)

    def _action(self, value: Value, arguments: Mapping[str, Value]) -> Action:
        rule = self._spec.rule.write
        assert rule is not None  # noqa: S101
        hazards = rule.hazard.get(str(value), []) if isinstance(rule.hazard, dict) else rule.hazard
        return Action(
            *self.lane,
            render(rule.send, {VALUE: value}),
            self._confirm(value, arguments),
            frozenset(hazards),
            rule.absolute,
            rule.confirm_within,
            safe=str(value) in rule.safe,
            requires=_required(self.machine, rule.requires),
        )

    def _confirm(self, value: Value, arguments: Mapping[str, Value]) -> tuple[tuple[Expectation, ...], ...]:
        rule = self._spec.rule.write
        assert rule is not None  # noqa: S101
        if rule.confirm is not None:
            return _Readback(self.machine, self._mapping).expectations(rule.confirm, arguments)
        paths = [rule.confirm_path] if rule.confirm_path else [str(path) for _, path in self._spec.sources]
        return tuple((Expectation(path, value, self.id, self._mapping.is_sampled(path)),) for path in paths)


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
        self.max_delay: float | None = spec.rule.max_delay if spec.is_booking else None

    def items(self, arguments: Mapping[str, Value]) -> Sequence[Item]:
        """What is sent for these arguments."""
        rule = self._spec.rule
        action = Action(
            *self.lane,
            render(rule.send, arguments),
            _Readback(self.machine, self._mapping).expectations(rule.confirm, arguments),
            self._spec.hazards,
            rule.absolute,
            rule.confirm_within,
            safe=rule.safe,
            requires=_required(self.machine, rule.requires),
        )
        return (Item(action),)


class RecipeTarget:
    """A command that sets several set points."""

    set_point: Tag | None = None
    max_delay: float | None = None

    def __init__(self, machine: str, part: Part, spec: CommandSpec, set_points: Sequence[SetPointTarget]) -> None:
        self._spec = spec
        self._set_points = set_points
        self.id = command_id(machine, spec.name)
        self.machine = machine
        self.lane = (part.source, part.source_machine)
        self.arguments: Sequence[Argument] = spec.arguments

    def items(self, arguments: Mapping[str, Value]) -> Sequence[Item]:
        """What each set point is sent, in order."""
        return tuple(self._items(arguments))

    def _items(self, arguments: Mapping[str, Value]) -> Iterator[Item]:
        requires = _required(self.machine, self._spec.rule.requires)
        for target, (_, wanted) in zip(self._set_points, self._spec.sets, strict=True):
            (item,) = target.items({VALUE: render(wanted, arguments)})
            yield replace(item, action=replace(item.action, requires={**requires, **item.action.requires}))
            requires.pop(target.id, None)  # what the recipe itself has set need not be as it was before


def command_id(machine: str, name: str) -> str:
    """The target of command `name` of a machine: "extruder-1.Commands.Standby"."""
    return tag_id(machine, f"Commands/{name}")


def targets_of(
    machine: str, part: Part, mapping: CompiledMapping, tags: Mapping[str, Tag]
) -> Iterator[SetPointTarget | CommandTarget | RecipeTarget]:
    """Everything that can be commanded of one part."""
    set_points: dict[str, SetPointTarget] = {}
    for spec in mapping.tags:
        tag = tags.get(spec.definition.name)
        if spec.rule.write is not None and tag is not None and tag.definition.writable:
            set_points[spec.definition.name] = SetPointTarget(machine, part, tag, spec, mapping)
    yield from set_points.values()
    for command in mapping.commands:
        needed = [spec.definition.name for spec, _ in command.sets]
        if not needed:
            yield CommandTarget(machine, part, command, mapping)
        elif set_points.keys() >= set(needed):
            yield RecipeTarget(machine, part, command, [set_points[name] for name in needed])


def _required(machine: str, requires: Mapping[str, Value]) -> dict[str, Value]:
    """By tag id."""
    return {tag_id(machine, name): wanted for name, wanted in requires.items()}
