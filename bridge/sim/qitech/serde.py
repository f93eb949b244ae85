"""How the panel reads a mutation: Rust's serde, with its strictness, and without a word when it fails.

A decoder takes a JSON value and gives the value meant, or raises `Ignored`. Numbers: an f64 takes JSON integers, a
bool is never a number, integer types check their range. A struct ignores unknown keys and wants all of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Decoder = Callable[[Any], Any]


class Ignored(Exception):
    """The machine could not read the mutation, or refuses it; like the panel it says nothing."""


class Panic(Exception):
    """The machine's code panics: the whole control process is gone."""


class _Unit:
    """The content of a variant that has none."""


UNIT = _Unit()


def f64(value: Any) -> float:
    """A floating point number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Ignored(f"{value!r} is no f64")
    return float(value)


def boolean(value: Any) -> bool:
    """A bool, strictly."""
    if not isinstance(value, bool):
        raise Ignored(f"{value!r} is no bool")
    return value


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise Ignored(f"{value!r} is no string")
    return value


def unit(value: Any) -> None:
    """Nothing: the variant alone, or null as its content."""
    if value is not UNIT and value is not None:
        raise Ignored("a unit variant has no content")


def integer(low: int, high: int) -> Decoder:
    """An integer type with its range, such as u16."""

    def decode(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Ignored(f"{value!r} is not within {low}..{high}")
        return value

    return decode


u8 = integer(0, 2**8 - 1)
u16 = integer(0, 2**16 - 1)
i16 = integer(-(2**15), 2**15 - 1)
i32 = integer(-(2**31), 2**31 - 1)
usize = integer(0, 2**64 - 1)


def one_of(*names: str) -> Decoder:
    """An enum of unit variants: "Heat", or {"Heat": null} as serde also takes it."""

    def decode(value: Any) -> str:
        name, content = external(value)
        unit(content)
        if name not in names:
            raise Ignored(f"{name!r} is none of {names}")
        return name

    return decode


def option(inner: Decoder) -> Decoder:
    """Null, or what `inner` reads."""
    return lambda value: None if value is None else inner(value)


def struct(**fields: Decoder) -> Decoder:
    """An object with these keys."""

    def decode(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or fields.keys() - value.keys():
            raise Ignored(f"{value!r} lacks one of {sorted(fields)}")
        return {name: decoder(value[name]) for name, decoder in fields.items()}

    return decode


def external(value: Any) -> tuple[str, Any]:
    """External tagging: {"SetX": content} or, for a variant without content, the bare string "GotoX"."""
    if isinstance(value, str):
        return value, UNIT
    if isinstance(value, dict) and len(value) == 1:
        [(name, content)] = value.items()
        return name, content
    raise Ignored(f"{value!r} is no variant")


def adjacent(tag: str, content: str) -> Callable[[Any], tuple[str, Any]]:
    """Adjacent tagging: {"<tag>": "SetLed", "<content>": {...}}."""

    def read(value: Any) -> tuple[str, Any]:
        if not isinstance(value, dict) or not isinstance(value.get(tag), str):
            raise Ignored(f"{value!r} has no {tag}")
        return value[tag], value.get(content, UNIT)

    return read


IDENTITY = struct(machine_identification=struct(vendor=u16, machine=u16), serial=u16)
"""machine_identification_unique."""
