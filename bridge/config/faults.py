"""Faults: what pydantic found wrong, in a person's words and at the person's line.

A custom check says more than "value error" by raising `PydanticCustomError(kind, problem, {"expected": …, "hint": …})`.
A value is shown as it is written in the file, so that nothing from the environment appears.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from bridge.config.keypath import KeyPath, quoted
from bridge.config.shapes import Branch, Place, Shape, either, one_of
from bridge.errors import Fault, did_you_mean
from bridge.transport.duration import duration_words

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from bridge.config.documents import Document

_SECRET_KEY = re.compile(r"pass|secret|token|credential|api_?key", re.IGNORECASE)

_PLAIN_WORDS = {
    "bool": "true or false",
    "bytes": "text",
    "complex": "a number",
    "dataclass": "a mapping of keys to values",
    "date": "a date like 2026-01-31",
    "datetime": "a date and time like 2026-01-31T06:30:00Z",
    "decimal": "a number",
    "dict": "a mapping of keys to values",
    "float": "a number",
    "frozen": "a list",
    "int": "a whole number",
    "iterable": "a list",
    "list": "a list",
    "mapping": "a mapping of keys to values",
    "model": "a mapping of keys to values",
    "none": "nothing",
    "set": "a list",
    "string": "text",
    "time": "a time like 06:30",
    "timezone": "a date and time with its offset from UTC",
    "tuple": "a list",
    "url": "a URL like http://host:port",
    "uuid": "a UUID",
}
"""By the first word of pydantic's error types ("int_parsing", "model_attributes_type")."""

_LIMITS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "time_delta_parsing": "a duration",
    "time_delta_type": "a duration",
}

_BOUNDS = frozenset({"gt", "ge", "lt", "le"})


@dataclass(frozen=True, slots=True)
class _Found:
    """A pydantic error and the place it belongs to."""

    error: ErrorDetails
    place: Place


def faults_of(error: ValidationError, model: type[BaseModel], document: Document, prefix: KeyPath = ()) -> list[Fault]:
    """Every fault in a validation error of the data at `prefix`, in the order of the file."""
    shape = Shape.of(model)
    data = document.written(prefix)
    details = error.errors(include_url=False)
    found = [_Found(entry, shape.locate(entry["loc"], data)) for entry in details]
    faults = [_moved(entry, document, prefix) for entry in _settled(found)]
    return sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.column))


def shown(value: Any, path: KeyPath = ()) -> str:
    """`is 12`, `is "abc"`, `is a list`: a value in a sentence; only its kind below a key that names a secret."""
    if isinstance(value, dict):
        return "is a mapping"
    if isinstance(value, list):
        return "is a list"
    if value is None or value == "":
        return "is empty"
    if any(_SECRET_KEY.search(str(step)) for step in path):
        return "is text" if isinstance(value, str) else "is not text"
    if isinstance(value, bool):
        return f"is {str(value).lower()}"
    return f"is {quoted(value) if isinstance(value, str) else value}"


@dataclass(frozen=True, slots=True)
class _Settled:
    """One thing to tell: an error outside any union, or the sum of what a union's members said at one place."""

    errors: Sequence[_Found]

    @property
    def first(self) -> _Found:
        return self.errors[0]


def _settled(found: Sequence[_Found], depth: int = 0) -> Iterator[_Settled]:
    """The errors to tell. Of a union, those of the member that was most likely meant."""

    def union(entry: _Found) -> tuple[KeyPath, int] | None:
        branches = entry.place.branches
        return (branches[depth].path, branches[depth].union) if len(branches) > depth else None

    for key, group in groupby(found, key=union):
        entries = list(group)
        if key is None:
            yield from (_Settled([entry]) for entry in entries)
        else:
            yield from _of_union(entries, depth)


def _of_union(entries: Sequence[_Found], depth: int) -> Iterator[_Settled]:
    members: dict[Branch, list[_Found]] = {}
    for entry in entries:
        members.setdefault(entry.place.branches[depth], []).append(entry)
    inside = [
        member
        for branch, member in members.items()
        if any(len(entry.place.path) > len(branch.path) or _is_missing(entry) for entry in member)
    ]
    if inside:
        yield from _settled(min(inside, key=len), depth + 1)
    else:
        yield _Settled(entries)


def _is_missing(entry: _Found) -> bool:
    return entry.error["type"] in {"missing", "extra_forbidden", "union_tag_invalid", "union_tag_not_found"}


def _moved(settled: _Settled, document: Document, prefix: KeyPath) -> Fault:
    """The fault at its place in the whole document."""
    error, place = settled.first.error, settled.first.place
    path = (*prefix, *place.path)
    match error["type"]:
        case "missing":
            return document.fault(path, "is missing", place.shape.words)
        case "extra_forbidden":
            return _unknown_key(document, path, place.siblings)
        case "union_tag_not_found":
            key = _discriminator(error)
            return document.fault((*path, *key), "is missing", one_of(place.shape.choices))
        case "union_tag_invalid":
            key = _discriminator(error)
            given = _inside(error["input"], key)
            return _unknown_word(document, (*path, *key), given, place.shape.choices)
        case "literal_error" | "enum" if len(settled.errors) == 1 and place.shape.choices:
            return _unknown_word(document, path, error["input"], place.shape.choices)
    return _wrong_value(settled, document, path)


def _discriminator(error: ErrorDetails) -> KeyPath:
    """The key that says which member is meant; none where a function decides."""
    name = str(error.get("ctx", {}).get("discriminator", ""))
    return (name.strip("'"),) if name.startswith("'") else ()


def _unknown_key(document: Document, path: KeyPath, known: Sequence[str]) -> Fault:
    hint = did_you_mean(str(path[-1]), known)
    expected = "" if hint else one_of(sorted(known))
    return document.fault(path, "unknown key", expected, hint, at_key=True)


def _unknown_word(document: Document, path: KeyPath, given: Any, choices: Sequence[str]) -> Fault:
    value = _value(document, path, given)
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    return document.fault(path, shown(value, path), one_of(list(choices)), hint)


def _wrong_value(settled: _Settled, document: Document, path: KeyPath) -> Fault:
    place = settled.first.place
    value = path[-1] if place.at_key else _value(document, path, settled.first.error["input"])
    own = next((entry.error for entry in settled.errors if _is_custom(entry.error)), None)
    problem = _sentence(own) if own else _given(value, path, settled.first.error)
    expected = either([_expected(entry, value) for entry in settled.errors])
    choices = [choice for entry in settled.errors for choice in entry.place.shape.choices]
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    if own:
        hint = str(own.get("ctx", {}).get("hint", hint))
    return document.fault(path, problem, expected, hint, at_key=place.at_key)


def _value(document: Document, path: KeyPath, given: Any) -> Any:
    """The value as written in this file; one that came from elsewhere (an extended base) as it was given."""
    return document.written(path) if document.says(path) else given


def _inside(data: Any, key: KeyPath) -> Any:
    return data.get(key[0]) if key and isinstance(data, dict) else None


def _given(value: Any, path: KeyPath, error: ErrorDetails) -> str:
    if not path:
        return "the file is empty" if value is None else f"the file {shown(value)}"
    words = shown(value, path)
    return f"the key {words}" if error["loc"] and error["loc"][-1] == "[key]" else words


def _is_custom(error: ErrorDetails) -> bool:
    """Said by a check of ours, or by a type that pydantic_core does not know."""
    kind = error["type"]
    return kind not in _LIMITS and kind.partition("_")[0] not in _PLAIN_WORDS and kind not in {"literal_error", "enum"}


def _sentence(error: ErrorDetails) -> str:
    text = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return " ".join(text.split()) or "is not allowed"


def _expected(found: _Found, value: Any) -> str:
    kind: str = found.error["type"]
    context: Mapping[str, Any] = found.error.get("ctx", {})
    if kind in _LIMITS:
        return _limit(kind, context, value)
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return "text, in quotes"
    if kind in {"literal_error", "enum"}:
        return one_of(found.place.shape.choices) or str(context.get("expected", ""))
    if _is_custom(found.error):
        return str(context.get("expected", ""))
    return found.place.shape.words or _PLAIN_WORDS[kind.partition("_")[0]]


def _limit(kind: str, context: Mapping[str, Any], value: Any) -> str:
    if context.get("min_length") == 1:
        return "some text" if isinstance(value, str) else "at least one entry"
    if isinstance(value, str):  # a bound for numbers, and a text: a duration, which is seconds inside
        context = {key: duration_words(bound) if key in _BOUNDS else bound for key, bound in context.items()}
    return _LIMITS[kind].format_map(context) if context else _LIMITS[kind]
