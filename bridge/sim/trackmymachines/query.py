"""Query strings as Rack reads them, or as a client might wish they were read.

types=a&types=b           Rack: the last one; lenient: both
types[]=a&types[]=b       both
types=a,b                 both; Rack splits on commas only what is no array
types[]=a,b               Rack: one, "a,b"; lenient: both

Code behind Rack that takes texts only trips over the brackets; code that takes arrays only does not split on commas.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl

_NESTED = re.compile(r"([^\[\]]+)\[([^\[\]]*)\](.*)")


class BadQuery(Exception):
    """Rack's ParameterTypeError: one name used as text and as a list. Rails answers 400."""


class Unreadable(Exception):
    """The vendor's code trips over what it was given (a hash where text was expected). Rails answers 500."""


Value = str | list[str] | dict[str, str]


def rack(query: str) -> dict[str, Value]:
    """The parameters. Raises BadQuery."""
    found: dict[str, Value] = {}
    for name, value in _pairs(query):
        nested = _NESTED.fullmatch(name)
        if nested is None:
            if isinstance(found.get(name, ""), str):
                found[name] = value
            else:
                raise BadQuery(f"expected String (got {type(found[name]).__name__}) for param `{name}'")
        elif nested[2] == "":
            many = found.setdefault(nested[1], [])
            if not isinstance(many, list):
                raise BadQuery(f"expected Array (got String) for param `{nested[1]}'")
            many.append(value)
        else:
            table = found.setdefault(nested[1], {})
            if not isinstance(table, dict):
                raise BadQuery(f"expected Hash (got {type(table).__name__}) for param `{nested[1]}'")
            table[nested[2]] = value
    return found


def text(parameters: dict[str, Value], name: str) -> str:
    """A parameter that is plain text; "" if it is absent or anything else."""
    value = parameters.get(name, "")
    return value if isinstance(value, str) else ""


def rails_list(parameters: dict[str, Value], name: str) -> Sequence[str] | None:
    """A filter; None if it is absent or blank. Raises Unreadable."""
    value = parameters.get(name)
    if isinstance(value, dict):
        raise Unreadable(name)
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    return _present(value)


def array_list(parameters: dict[str, Value], name: str) -> Sequence[str] | None:
    """A filter of one that compares with an array, and takes a text for one value: "A,B" is nobody's name."""
    value = parameters.get(name)
    if isinstance(value, dict):
        raise Unreadable(name)
    return _present([value] if isinstance(value, str) else value)


def comma_list(parameters: dict[str, Value], name: str) -> Sequence[str] | None:
    """A filter of one that splits a text on commas, and trips over an array."""
    if not isinstance(parameters.get(name, ""), str):
        raise Unreadable(name)
    return rails_list(parameters, name)


def lenient_list(query: str, name: str) -> Sequence[str] | None:
    """A filter in every spelling at once; None if it is absent or blank."""
    spellings = (name, f"{name}[]")
    return _present([part.strip() for key, value in _pairs(query) if key in spellings for part in value.split(",")])


def _present(values: Sequence[str] | None) -> Sequence[str] | None:
    return [value for value in values or () if value] or None


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)
