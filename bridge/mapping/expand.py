"""`for_each`: one rule written once, expanded over zones, sides, array indices.

`<zone>` is the item's name and `<zone.key>` one of its attributes, as text, in names and in any string of a rule;
`$zone.key` as a whole value is the attribute with its own type.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bridge.mapping.schema import CountRule, ForEach, Scalar

_TEXT = re.compile(r"<([a-z][a-z0-9_]*)(?:\.([a-z][a-z0-9_]*))?>")
_TYPED = re.compile(r"\$([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)\Z")


class Item(NamedTuple):
    """One thing a variable stands for."""

    name: str
    attributes: Mapping[str, Scalar]


Binding = Mapping[str, Item]
"""What each variable stands for in one expansion."""


def items(rule: ForEach) -> list[Item]:
    """The items of one `for_each` variable."""
    if isinstance(rule, CountRule):
        return [Item(str(rule.start + index), {"index": index}) for index in range(rule.count)]
    if isinstance(rule, list):
        return [Item(name, {}) for name in rule]
    return [Item(name, attributes) for name, attributes in rule.items()]


def variables(text: str) -> list[str]:
    """Names of the variables a text uses, each once, in order."""
    return list(dict.fromkeys(match[1] for match in _TEXT.finditer(text)))


def bindings(name: str, for_each: Mapping[str, ForEach]) -> Iterator[Binding]:
    """Every way to bind the variables that `name` uses. Raises KeyError for one that `for_each` does not know."""
    used = variables(name)
    for chosen in itertools.product(*(items(for_each[variable]) for variable in used)):
        yield dict(zip(used, chosen, strict=True))


def fill_text(text: str, binding: Binding) -> str:
    """`text` with its `<x>` and `<x.y>` replaced. Raises KeyError with what is unknown."""

    def replacement(match: re.Match[str]) -> str:
        variable, attribute = match.groups()
        if variable not in binding:
            raise KeyError(match[0])
        item = binding[variable]
        if attribute is None:
            return item.name
        if attribute not in item.attributes:
            raise KeyError(match[0])
        return str(item.attributes[attribute])

    return _TEXT.sub(replacement, text)


def fill(value: Any, binding: Binding) -> Any:
    """`value` with every string in it filled, keys included. Raises KeyError with what is unknown."""
    if isinstance(value, str):
        typed = _TYPED.match(value)
        if typed and typed[1] in binding:
            attributes = binding[typed[1]].attributes
            if typed[2] not in attributes:
                raise KeyError(value)
            return attributes[typed[2]]
        return fill_text(value, binding)
    if isinstance(value, dict):
        return {fill(key, binding): fill(inner, binding) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, binding) for inner in value]
    return value
