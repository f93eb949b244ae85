"""Shape: what a model wants at a place, read from its pydantic-core schema.

pydantic reports where an error is with names of union members mixed into the path; only the schema says which steps
are the person's keys and which are pydantic's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel

Schema = Mapping[str, Any]

_WRAPPERS = {
    "definitions": "schema",
    "nullable": "schema",
    "default": "schema",
    "function-before": "schema",
    "function-after": "schema",
    "function-wrap": "schema",
    "model": "schema",
    "dataclass": "schema",
    "model-field": "schema",
    "dataclass-field": "schema",
    "typed-dict-field": "schema",
    "lax-or-strict": "lax_schema",
    "json-or-python": "python_schema",
}
_FIELDS = {"model-fields", "typed-dict", "dataclass-args"}
_ITEMS = {"list", "set", "frozenset", "generator"}
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "none": "nothing",
    "date": "a date like 2026-01-31",
    "time": "a time like 06:30",
    "datetime": "a date and time like 2026-01-31T06:30:00Z",
    "timedelta": "a duration",
    "url": "a URL",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozenset": "a list",
    "dict": "a mapping of keys to values",
    "tagged-union": "a mapping of keys to values",
    **dict.fromkeys(_FIELDS, "a mapping of keys to values"),
}


class Branch(NamedTuple):
    """A member of a union that pydantic tried: which union, at which path, and the member's label."""

    path: tuple[str | int, ...]
    union: int
    label: str


@dataclass(slots=True)
class Place:
    """Where an error is in the data, and what was wanted there."""

    path: tuple[str | int, ...]
    shape: Shape
    at_key: bool = False
    siblings: list[str] = field(default_factory=list)
    """The keys known beside the last step."""
    branches: list[Branch] = field(default_factory=list)


class Shape:
    """A schema with wrappers (defaults, validators, references) taken off; empty where nothing is known."""

    def __init__(self, schema: Schema | None, definitions: Mapping[str, Schema] | None = None) -> None:
        self._definitions = dict(definitions or {})
        self.name = ""
        """The model's class name, as pydantic labels it in a union."""
        self.schema: Schema = self._unwrapped(schema or {})

    @classmethod
    def of(cls, model: type[BaseModel]) -> Shape:
        """The shape of a whole model."""
        return cls(model.__pydantic_core_schema__)

    def locate(self, loc: tuple[str | int, ...], data: Any) -> Place:
        """Follow a pydantic error location down from here, with the data beside it."""
        place = Place((), self)
        for step in loc:
            data = place.shape.walk(place, step, data)
        return place

    def walk(self, place: Place, step: str | int, data: Any) -> Any:
        """Move `place` one step on; the data there (None where the step is not in the data)."""
        if step == "[key]" and _below(data, step) is None:  # pydantic's mark for an error in a key of a dict
            place.at_key = True
            place.shape = Shape(None)
            return data
        if self.kind == "tagged-union":
            place.shape = self._tagged(step)
            return data
        if self.kind == "union":
            place.branches.append(Branch(place.path, id(self.schema), str(step)))
            place.shape = self._member(str(step))
            return data
        below = _below(data, step)
        if self.kind in {"", "any", "function-plain"} and below is None:
            return data  # nothing is known here: a step that is not in the data is pydantic's own
        place.path += (step,)
        place.siblings = self.keys
        place.shape = self._child(step)
        return below

    @property
    def kind(self) -> str:
        """The schema's type, "" where nothing is known."""
        return str(self.schema.get("type", ""))

    @property
    def keys(self) -> list[str]:
        """The keys a mapping may have here, if they are fixed."""
        if self.kind not in _FIELDS:
            return []
        return [_alias(name, entry) for name, entry in self._fields()]

    @property
    def choices(self) -> list[str]:
        """The words allowed here, if they are a fixed set: of a Literal, an enum, or a union's tags."""
        match self.kind:
            case "literal":
                return [_word(value) for value in self.schema["expected"]]
            case "enum":
                return [_word(member.value) for member in self.schema["members"]]
            case "tagged-union":
                return [_word(tag) for tag in self.schema["choices"]]
        return []

    @property
    def words(self) -> str:
        """What is wanted here, in plain words; "" where nothing is known."""
        if self.kind == "union":
            return either([shape.words for shape in self._members()])
        if self.kind in {"literal", "enum"}:
            return one_of(self.choices)
        return _WORDS.get(self.kind, "")

    def _unwrapped(self, schema: Schema) -> Schema:
        while schema:
            kind = schema.get("type", "")
            if kind == "definitions":
                self._definitions.update((entry["ref"], entry) for entry in schema["definitions"])
            if kind in {"model", "dataclass"}:
                self.name = schema["cls"].__name__
            if kind == "definition-ref":
                schema = self._definitions.get(schema["schema_ref"], {})
            elif kind == "chain":
                schema = schema["steps"][0]
            elif kind in _WRAPPERS:
                schema = schema[_WRAPPERS[kind]]
            else:
                break
        return schema

    def _fields(self) -> Iterator[tuple[str, Schema]]:
        fields = self.schema["fields"]
        if isinstance(fields, Mapping):
            yield from fields.items()
        else:
            yield from ((entry["name"], entry) for entry in fields)

    def _child(self, step: str | int) -> Shape:
        schema: Schema | None = None
        if self.kind in _FIELDS:
            schema = next((entry for name, entry in self._fields() if step in {name, _alias(name, entry)}), None)
        elif self.kind in _ITEMS:
            schema = self.schema.get("items_schema")
        elif self.kind == "tuple" and isinstance(step, int):
            items = self.schema["items_schema"]
            schema = items[min(step, len(items) - 1)] if items else None
        elif self.kind == "dict":
            schema = self.schema.get("values_schema")
        return Shape(schema, self._definitions)

    def _tagged(self, tag: str | int) -> Shape:
        choices: Mapping[Any, Schema] = self.schema["choices"]
        schema = next((entry for name, entry in choices.items() if _word(name) == str(tag)), None)
        return Shape(schema, self._definitions)

    def _members(self) -> list[Shape]:
        entries = (entry[0] if isinstance(entry, tuple) else entry for entry in self.schema["choices"])
        return [Shape(entry, self._definitions) for entry in entries]

    def _member(self, label: str) -> Shape:
        """The member pydantic calls `label`: a class name, "str", "constrained-int", "list[str]", "function-…"."""
        members = self._members()
        for member in members:
            if label in {member.name, member.kind, f"constrained-{member.kind}"} or label.startswith(f"{member.kind}["):
                return member
        return members[0] if len(members) == 1 else Shape(None)


def either(words: list[str]) -> str:
    """`a, b or c`, each once."""
    distinct = [word for word in dict.fromkeys(words) if word]
    return " or ".join(filter(None, [", ".join(distinct[:-1]), distinct[-1]])) if distinct else ""


def one_of(words: list[str], limit: int = 12) -> str:
    """`one of a, b, c`, cut after `limit`."""
    if len(words) == 1:
        return words[0]
    return "one of " + ", ".join(words[:limit]) + (", …" if len(words) > limit else "") if words else ""


def _alias(name: str, entry: Schema) -> str:
    alias = entry.get("validation_alias")
    return alias if isinstance(alias, str) else name


def _word(value: Any) -> str:
    value = getattr(value, "value", value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _below(data: Any, step: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(step)
    if isinstance(data, list) and isinstance(step, int) and 0 <= step < len(data):
        return data[step]
    return None
