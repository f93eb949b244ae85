"""The shape of a payload: which fields it has, of which kind; and mapping rules for fields nobody maps yet. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Keys = tuple[str | int, ...]
Shape = dict[Keys, str]
"""Kind of each field: "Boolean", "Double", "String", "DateTime", or "null" where it has no value now."""

MAX_FIELDS, MAX_ITEMS, DEEPEST = 500, 8, 6
"""Fields of a payload, entries of a list, and levels that are looked at: a vendor may send anything."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_WORD = re.compile(r"[A-Za-z0-9]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)\Z")


def shape_of(payload: Any, *, by_index: bool = True) -> Shape:
    """The fields of a payload, at most MAX_FIELDS. Not `by_index`: the entries of a list are one, with index 0."""
    found: Shape = {}
    _walk(payload, (), found, by_index)
    return found


def _walk(value: Any, keys: Keys, found: Shape, by_index: bool) -> None:
    if len(found) >= MAX_FIELDS or len(keys) > DEEPEST:
        return
    kind = value.__class__
    if kind is float or kind is int:
        found[keys] = "Double"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str):
                _walk(item, (*keys, key), found, by_index)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value[:MAX_ITEMS]):
            _walk(item, (*keys, index if by_index else 0), found, by_index)
    else:
        found[keys] = kind_of(value)


def kind_of(value: Any) -> str:
    """The data type a mapping would give it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, int | float):
        return "Double"
    return "DateTime" if isinstance(value, str) and _TIME.match(value) else "String"


def path_of(channel: str, keys: Iterable[str | int]) -> str:
    """As a mapping writes it: "state.zones[0]['a b']"."""
    steps = (
        f"[{key}]" if isinstance(key, int) else f".{key}" if _NAME.match(key) else f"['{key.replace(chr(39), '')}']"
        for key in keys
    )
    return channel + "".join(steps)


def tag_name(keys: Iterable[str | int]) -> str:
    """A name below Monitoring/ for a field: "Monitoring/MotorStatus/ScrewRpm"."""
    levels = ("".join(word[0].upper() + word[1:] for word in _WORD.findall(str(key))) or "Field" for key in keys)
    return "/".join(("Monitoring", *levels)) if keys else "Monitoring/Value"


def rules_of(
    channel: str, shape: Shape, examples: Mapping[Keys, Any] | None = None, taken: set[str] | None = None
) -> list[str]:
    """Lines below `tags:`, one for each field that has a kind; what was seen stands behind it.

    `taken` has names that are used already, in lower case, and gets these.
    """
    lines, taken = [], set[str]() if taken is None else taken
    for keys, kind in shape.items():
        if kind == "null":
            continue
        name = tag_name(keys)
        while name.lower() in taken:
            name += "2"
        taken.add(name.lower())
        seen = "" if examples is None else f"   # seen: {_printable(examples.get(keys))}"
        path = path_of(channel, keys)
        quoted = json.dumps(path, ensure_ascii=not path.isprintable()) if "[" in path else path
        lines.append(f"  {name}: {{from: {quoted}, type: {kind}}}{seen}")
    return lines


def _printable(value: Any) -> str:
    return "".join(char if char.isprintable() else " " for char in str(value)[:40])


def value_at(payload: Any, keys: Keys) -> Any:
    """What stands at these keys of a payload whose shape has them."""
    for key in keys:
        payload = payload[key]
    return payload
