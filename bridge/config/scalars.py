"""Scalars: what a word in a YAML file means.

The core schema of YAML 1.2.2 (10.3.2), not that of 1.1: only true and false are Booleans, so that `on`, `off`, `yes`,
`no` stay words (an enum may have them); `1:30` and `2026-01-01` stay words; `1e3` is a number. On top of that every
number is finite and every integer fits 64 bits, so that nothing behind this can overflow.
"""

from __future__ import annotations

import math
import re

from bridge.config.keypath import quoted

Scalar = str | int | float | bool | None

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0x[0-9a-fA-F]+\Z|0o[0-7]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_DIGITS = 20
"""2**64 has 20 digits: a longer integer is not even converted."""

_TAG = "tag:yaml.org,2002:"
_TAGGED: dict[str, type] = {"int": int, "float": float, "bool": bool, "null": type(None)}


def resolved(word: str) -> Scalar:
    """What a plain (unquoted) word means. Raises ValueError for a number that cannot be used."""
    if word in _NULL:
        return None
    if word in _BOOLEAN:
        return _BOOLEAN[word]
    if _INTEGER.match(word) or _BASED.match(word):
        return _integer(word)
    if _FLOAT.match(word) or _NOT_FINITE.match(word):
        return _number(word)
    return word


def tagged(word: str, tag: str) -> Scalar:
    """What a word means under an explicit tag (`!!str 12`). Raises ValueError for a tag we do not know."""
    name = tag.removeprefix(_TAG)
    if tag == "!" or name == "str":
        return word
    if name not in _TAGGED:
        raise ValueError(f"the tag {quoted(tag)} is not supported")
    value = resolved(word)
    if not isinstance(value, _TAGGED[name]):
        raise ValueError(f"this is not what its tag !!{name} says")
    return value


def _integer(word: str) -> int:
    if len(word.lstrip("+-0xo")) <= _DIGITS:
        value = int(word, 0) if _BASED.match(word) else int(word)
        if -(2**63) <= value < 2**64:
            return value
    raise ValueError("this number does not fit 64 bits")


def _number(word: str) -> float:
    value = math.nan if _NOT_FINITE.match(word) else float(word)
    if not math.isfinite(value):
        raise ValueError("this is not a finite number")
    return value
