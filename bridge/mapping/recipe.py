"""A recipe: a command that sets several set points (`set:`), checked against what they take. Pure.

An argument is what its set points take: type, unit, texts and description of the first, the range that all accept.
What `args` says of it wins, but must fit them. A machine's own narrower range narrows its recipes too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.errors import did_you_mean
from bridge.mapping.actions import placeholders
from bridge.mapping.convert import converter
from bridge.mapping.schema import ArgumentRule
from bridge.model.command import Argument, ArgumentRange
from bridge.model.value import DataType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bridge.mapping.compile import Report
    from bridge.mapping.schema import CommandRule, Scalar
    from bridge.mapping.tag_spec import KeyPath, TagSpec
    from bridge.model.tag import TagDefinition
    from bridge.model.value import Value

OVERRIDES = "overrides"
"""First key of the paths of what a machine says itself."""


class Recipe(NamedTuple):
    """What a recipe takes, sets in this order (each with "$<argument>" or a value of its type), and may do."""

    arguments: tuple[Argument, ...]
    sets: tuple[tuple[TagSpec, Scalar], ...]
    hazards: frozenset[str]


def argument_of(name: str, definition: TagDefinition) -> Argument:
    """An argument that takes what a set point takes; an enum takes its texts."""
    numbers = dict(definition.enumeration or {})
    return Argument(
        name,
        DataType.String if numbers else definition.data_type,
        ArgumentRange(*definition.eu_range) if definition.eu_range else None,
        tuple(numbers),
        definition.unit,
        definition.description,
        numbers,
    )


def compile_recipe(rule: CommandRule, specs: Mapping[str, TagSpec], key_path: KeyPath, report: Report) -> Recipe:
    """The recipe of a command that says `set`; what is wrong with it goes to `report`."""
    return _RecipeCompiler(rule, specs, key_path, report).compile()


class _RecipeCompiler:
    def __init__(self, rule: CommandRule, specs: Mapping[str, TagSpec], key_path: KeyPath, report: Report) -> None:
        self._rule = rule
        self._specs = specs
        self._key_path = key_path
        self._report = report
        self._set_by: dict[str, list[TagSpec]] = {}

    def compile(self) -> Recipe:
        sets = tuple(self._sets())
        for unused in self._rule.args:
            if unused not in self._set_by:
                self._report((*self._key_path, "args", unused), "is never sent", f"${unused} in set", "")
        arguments = tuple(self._argument(word, specs) for word, specs in self._set_by.items())
        texts = {argument.name: argument.enumeration for argument in arguments}
        hazards = [_hazards(spec, _texts(wanted, texts)) for spec, wanted in sets]
        return Recipe(arguments, sets, frozenset().union(*hazards))

    def _sets(self) -> Iterator[tuple[TagSpec, Scalar]]:
        for name, wanted in (self._rule.set or {}).items():
            spec = self._set_point(name)
            if spec is None:
                continue
            word = next(placeholders(wanted), None)
            if word is None:
                yield spec, self._constant(spec, wanted)
            else:
                self._set_by.setdefault(word, []).append(spec)
                yield spec, wanted

    def _set_point(self, name: str) -> TagSpec | None:
        spec = self._specs.get(name)
        if spec is not None and spec.rule.write is not None:
            return spec
        writable = [one for one, found in self._specs.items() if found.rule.write is not None]
        problem = f"there is no tag {name}" if spec is None else f"{name} is not writable"
        self._at(name, problem, "a tag with write:", did_you_mean(name, writable))
        return None

    def _at(self, name: str, problem: str, expected: str, hint: str = "") -> None:
        """A fault of one set point of `set`."""
        self._report((*self._key_path, "set", name), problem, expected, hint)

    # -- constants ----------------------------------------------------------------------------------------------------

    def _constant(self, spec: TagSpec, wanted: Scalar) -> Scalar:
        definition = spec.definition
        if definition.enumeration:
            if wanted not in definition.enumeration:
                texts, hint = ", ".join(definition.enumeration), did_you_mean(str(wanted), definition.enumeration)
                self._at(definition.name, f"{wanted!r} is no text of {definition.name}", texts, hint)
            return wanted
        try:
            value: Any = converter(definition.data_type)(wanted)
        except ValueError as error:
            self._at(definition.name, str(error), definition.data_type.value)
            return wanted
        bounds = definition.eu_range
        if bounds is not None and not bounds.low <= value <= bounds.high:
            self._out_of_range(spec, f"{value:g}", f"{bounds.low:g} to {bounds.high:g}")
        return value if definition.data_type is not DataType.DateTime else wanted

    def _out_of_range(self, spec: TagSpec, value: str, accepted: str) -> None:
        if spec.key_path[0] == OVERRIDES:
            problem = f"the command {self._key_path[1]} sets it to {value}"
            self._report((*spec.key_path, "range"), problem, f"a range that holds {value}", "")
        else:
            self._at(spec.definition.name, f"{value} is out of range", accepted)

    # -- arguments ----------------------------------------------------------------------------------------------------

    def _argument(self, word: str, specs: Sequence[TagSpec]) -> Argument:
        first, *others = specs
        argument = argument_of(word, first.definition)
        for other in others:
            argument = self._shared(argument, argument_of(word, other.definition), first, other)
        declared = self._rule.args.get(word)
        if declared is None:
            return argument
        if isinstance(declared, tuple):
            return self._ranged(argument, declared, specs, (*self._key_path, "args", word))
        return self._declared(argument, declared, specs)

    def _shared(self, argument: Argument, other: Argument, first: TagSpec, spec: TagSpec) -> Argument:
        """The argument when it sets another set point too."""
        kinds = [(one.data_type, one.enumeration, one.unit) for one in (argument, other)]
        if kinds[0] != kinds[1]:
            problem = f"${argument.name} also sets {first.definition.name}, which takes another type, unit or texts"
            self._at(spec.definition.name, problem, "an argument of its own")
        return replace(argument, eu_range=overlap(argument.eu_range, other.eu_range))

    def _declared(self, argument: Argument, rule: ArgumentRule, specs: Sequence[TagSpec]) -> Argument:
        said, here = rule.model_fields_set, (*self._key_path, "args", argument.name)
        takes = f"as {specs[0].definition.name} takes it"
        if "type" in said and rule.type is not argument.data_type:
            self._report((*here, "type"), f"is {rule.type.value}", f"{argument.data_type.value}, {takes}", "")
        if rule.unit is not None and (argument.unit is None or rule.unit != argument.unit.code):
            unit = argument.unit.code if argument.unit else "no unit"
            self._report((*here, "unit"), f"is {rule.unit}", f"{unit}, {takes}", "")
        if rule.enum is not None:
            argument = self._with_texts(argument, rule.enum, (*here, "enum"))
        if rule.range is not None:
            argument = self._ranged(argument, rule.range, specs, (*here, "range"))
        if rule.person:
            self._report((*here, "person"), "a set point is no person", "no person", "")
        return replace(
            argument,
            description=rule.description or argument.description,
            default=self._default(argument, rule.default, (*here, "default")),
        )

    def _default(self, argument: Argument, default: Scalar | None, key_path: KeyPath) -> Value:
        if default is None:
            return None
        if argument.enumeration:
            if default not in argument.enumeration:
                texts, hint = ", ".join(argument.enumeration), did_you_mean(str(default), argument.enumeration)
                self._report(key_path, f"{default!r} is not accepted", texts, hint)
            return default
        try:
            value: Value = converter(argument.data_type)(default)
        except ValueError as error:
            self._report(key_path, str(error), argument.data_type.value, "")
            return None
        bounds = argument.eu_range
        if bounds is not None and isinstance(value, int | float) and not bounds.low <= value <= bounds.high:
            self._report(key_path, "is out of range", f"{bounds.low:g} to {bounds.high:g}", "")
        return value

    def _with_texts(self, argument: Argument, texts: Iterable[str], key_path: KeyPath) -> Argument:
        known = argument.enumeration
        for text in texts:
            if text not in known:
                expected = f"some of {', '.join(known)}" if known else "no enum: the set point is none"
                self._report(key_path, f"{text!r} is not accepted", expected, did_you_mean(text, known))
        numbers = {text: argument.numbers[text] for text in texts if text in known}
        return replace(argument, enumeration=tuple(numbers), numbers=numbers)

    def _ranged(
        self, argument: Argument, bounds: tuple[float, float], specs: Sequence[TagSpec], key_path: KeyPath
    ) -> Argument:
        if argument.enumeration or not argument.data_type.is_numeric:
            self._report(key_path, "has no range: its set point is no number", "no range", "")
            return argument
        accepted, declared = argument.eu_range, ArgumentRange(*bounds)
        narrower = overlap(accepted, declared) or declared
        overridden = [spec for spec in specs if spec.key_path[0] == OVERRIDES]
        if narrower.low > narrower.high and overridden:
            problem = f"leaves no value for ${argument.name} of the command {self._key_path[1]}"
            self._report((*overridden[0].key_path, "range"), problem, f"some of {bounds[0]:g} to {bounds[1]:g}", "")
        elif accepted is not None and narrower != declared and not overridden:
            expected = f"a range within [{accepted.low:g}, {accepted.high:g}]"
            self._report(key_path, "is wider than what its set point accepts", expected, "")
        return replace(argument, eu_range=narrower)


def overlap(one: ArgumentRange | None, other: ArgumentRange | None) -> ArgumentRange | None:
    """What both accept; None where neither has a range."""
    if one is None or other is None:
        return one or other
    return ArgumentRange(max(one.low, other.low), min(one.high, other.high))


def _texts(wanted: Scalar, of_arguments: Mapping[str, Sequence[str]]) -> Sequence[Scalar]:
    """The texts an enum may be set to."""
    word = next(placeholders(wanted), None)
    return [wanted] if word is None else of_arguments[word]


def _hazards(spec: TagSpec, texts: Sequence[Scalar]) -> frozenset[str]:
    hazard = spec.rule.write.hazard if spec.rule.write else []
    if isinstance(hazard, dict):
        return frozenset(one for text in texts for one in hazard.get(str(text), []))
    return frozenset(hazard)
