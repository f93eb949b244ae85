"""A mapping's `examples`, run as tests: observations in and tags out, commands in and vendor payloads out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.errors import did_you_mean
from bridge.mapping.actions import render
from bridge.mapping.compile import CommandSpec, CompiledMapping, Report
from bridge.mapping.convert import converter
from bridge.mapping.names import Names
from bridge.mapping.projection import PartProjection
from bridge.mapping.schema import ExampleRule, GivenRule
from bridge.mapping.tag_plan import Pairs, SlotOf
from bridge.mapping.tag_spec import KeyPath
from bridge.model.observation import Observation
from bridge.model.value import DataType, DataValue

_START = datetime(2026, 1, 1, tzinfo=UTC)


def run_examples(mapping: CompiledMapping, report: Report) -> int:
    """Run every example; what does not come out as expected goes to `report`. Gives how many there are."""
    for index, example in enumerate(mapping.examples):
        path: KeyPath = ("examples", index)
        if example.given is not None:
            _run_given(mapping, example, path, report)
        elif example.write is not None:
            _run_write(mapping, example.write, example.expect_send, path, report)
        elif example.call is not None:
            _run_call(mapping, example.call, example.expect_send, path, report)
    return len(mapping.examples)


def _run_given(mapping: CompiledMapping, example: ExampleRule, path: KeyPath, report: Report) -> None:
    names: dict[str, int] = {}
    counter = itertools.count()

    def slot_of(name: str) -> int:
        return names.setdefault(name, next(counter))

    projection = PartProjection(mapping, slot_of)
    taken = Names(names)
    values: dict[int, DataValue] = {}
    received = _START
    for one in _as_given(example):
        if mapping.channels and one.channel not in mapping.channels:
            hint = did_you_mean(one.channel, mapping.channels)
            report((*path, "given"), f"{one.channel!r} is no channel", ", ".join(mapping.channels), hint)
        received += timedelta(seconds=one.after)
        values.update(projection.project(Observation("example", "machine", one.channel, one.payload, received)))
        values.update(_appeared(projection, taken, slot_of))
    for name, expected in (example.expect or {}).items():
        here = (*path, "expect", name)
        if name not in names:
            report(here, "there is no such tag", "the name of a tag of this mapping", did_you_mean(name, names))
        elif (actual := values.get(names[name])) is None:
            report(here, "did not get a value", _wanted(expected), "")
        elif not _agrees(actual, expected):
            report(here, f"is {_shown(actual)}", _wanted(expected), "")


def _appeared(projection: PartProjection, taken: Names, slot_of: SlotOf) -> Pairs:
    """First values of the tags that rows ask for: in an example they are there at once."""
    out: Pairs = []
    for each in projection.each:
        for known in each.newcomers():
            spec = each.spec_of_key(known.key)
            texts = known.texts if spec else each.spec.place(taken, known)
            if texts is not None:
                each.adopt(known, each.spec.tag(known, texts), slot_of)
        each.flush(out)
    return out


def _as_given(example: ExampleRule) -> list[GivenRule]:
    if example.given is None:
        return []
    return example.given if isinstance(example.given, list) else [example.given]


def _agrees(actual: DataValue, expected: Any) -> bool:
    if isinstance(expected, Mapping):
        status = expected.get("status", "Good")
        return actual.status.name == status and ("value" not in expected or _same(actual.value, expected["value"]))
    return actual.status.is_good and _same(actual.value, expected)


def _same(actual: Any, expected: Any) -> bool:
    if isinstance(actual, bool) or isinstance(expected, bool):
        return actual is expected
    if isinstance(actual, float) and isinstance(expected, int | float):
        return abs(actual - expected) <= 1e-9 * max(1.0, abs(expected))
    if isinstance(actual, datetime) and isinstance(expected, datetime | str):
        return actual == (expected if isinstance(expected, datetime) else datetime.fromisoformat(expected))
    return bool(actual == expected)


def _shown(actual: DataValue) -> str:
    return repr(actual.value) if actual.status.is_good else f"{actual.status.name} ({actual.reason})"


def _wanted(expected: Any) -> str:
    return str(dict(expected)) if isinstance(expected, Mapping) else repr(expected)


def _run_write(mapping: CompiledMapping, write: dict[str, Any], sent: Any, path: KeyPath, report: Report) -> None:
    writable = {spec.definition.name: spec for spec in mapping.tags if spec.rule.write}
    for name, value in write.items():
        spec = writable.get(name)
        if spec is None or spec.rule.write is None:
            report((*path, "write", name), "is no set point", "a tag with write:", did_you_mean(name, writable))
            continue
        definition = spec.definition
        texts = tuple(spec.rule.enum or ())
        _check_value(value, definition.data_type, definition.eu_range, texts, (*path, "write", name), report)
        _compare(render(spec.rule.write.send, {"value": value}), sent, path, report)


def _run_call(mapping: CompiledMapping, call: dict[str, Any], sent: Any, path: KeyPath, report: Report) -> None:
    known = {spec.name: spec for spec in mapping.commands}
    for name, arguments in call.items():
        spec = known.get(name)
        if spec is None:
            report((*path, "call", name), "is no command", "a command of this mapping", did_you_mean(name, known))
            continue
        for argument in spec.arguments:
            here = (*path, "call", name, argument.name)
            if (value := arguments.get(argument.name)) is not None:
                _check_value(value, argument.data_type, argument.eu_range, argument.enumeration, here, report)
        names = [argument.name for argument in spec.arguments]
        defaults = {one.name: one.default for one in spec.arguments if one.default is not None}
        for unknown in sorted(set(arguments) - set(names)):
            report((*path, "call", name, unknown), "is no argument", ", ".join(names), did_you_mean(unknown, names))
        try:
            payload = _called(spec, {**defaults, **arguments})
        except KeyError as error:
            report((*path, "call", name), f"the argument {error.args[0]} is missing", ", ".join(names), "")
            continue
        _compare(payload, sent, path, report)


def _called(spec: CommandSpec, arguments: Mapping[str, Any]) -> Any:
    """The payload of a command; of a recipe those of its set points, in order. Raises KeyError."""
    if not spec.sets:
        return render(spec.rule.send, arguments)
    writes = [(one.rule.write, render(wanted, arguments)) for one, wanted in spec.sets]
    return [render(write.send, {"value": value}) for write, value in writes if write is not None]


def _check_value(
    value: Any,
    data_type: DataType,
    eu_range: tuple[float, float] | None,
    texts: tuple[str, ...],
    path: KeyPath,
    report: Report,
) -> None:
    """A value a command is given: it has the type and is one of those accepted."""
    if texts:
        if value not in texts:
            report(path, f"{value!r} is not accepted", ", ".join(texts), did_you_mean(str(value), texts))
        return
    try:
        typed = converter(data_type)(value)
    except ValueError as error:
        report(path, str(error), data_type.value, "")
        return
    if eu_range is not None and not eu_range[0] <= float(typed) <= eu_range[1]:  # type: ignore[arg-type]
        report(path, f"{value!r} is out of range", f"{eu_range[0]:g} to {eu_range[1]:g}", "")


def _compare(payload: Any, sent: Any, path: KeyPath, report: Report) -> None:
    if payload != sent:
        report((*path, "expect_send"), f"{payload!r} would be sent", repr(sent), "")
