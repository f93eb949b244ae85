"""Values of payloads as JSON and back, without loss: what JSON has no word for is an object with one key in `$`.

    {"$float": "nan"}    not finite                {"$time": "2026-…"}     a datetime
    {"$int": "2…"}       beyond 64 bits            {"$bytes": "AP8="}      bytes, in base64
    {"$text": "…"}       UTF-16 halves, in base64  {"$dict": [[k, v], …]}  keys that are no text, or begin with $
    {"$lost": "Decimal"} a type nobody knows here: None when it is read

Tuples come back as lists. Nothing here keeps what it is given.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

_LARGEST = 2**63
_LONGEST_INT = 4000
"""Digits; Python itself spells no longer ones (sys.set_int_max_str_digits)."""
DEEPEST = 100
"""Levels of a payload; orjson writes 254 of them, and an observation is some levels down in its line."""


def packed(value: Any, depth: int = 0) -> Any:
    """What orjson can write."""
    kind = value.__class__
    if value is None or kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else _large(value)
    if kind is str:
        return value if value.isascii() or _is_encodable(value) else {"$text": _base64(_surrogates(value))}
    if depth >= DEEPEST:
        return {"$lost": "too deep"}
    if isinstance(value, Mapping):
        return _packed_mapping(value, depth + 1)
    if isinstance(value, list | tuple):
        return [packed(item, depth + 1) for item in value]
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": _base64(bytes(value))}
    return {"$lost": kind.__name__}


def unpacked(value: Any) -> Any:
    """What was packed. Raises ValueError for a mark that is none."""
    if isinstance(value, dict):
        if len(value) == 1:
            [(key, inner)] = value.items()
            if key.startswith("$"):
                return _unmarked(key, inner)
        return {key: unpacked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unpacked(item) for item in value]
    return value


def _packed_mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    if all(key.__class__ is str and key[:1] != "$" and _is_encodable(key) for key in value):
        return {key: packed(item, depth) for key, item in value.items()}
    return {"$dict": [[packed(key, depth), packed(item, depth)] for key, item in value.items()]}


def _large(value: int) -> dict[str, str]:
    return {"$int": str(value)} if value.bit_length() < 3 * _LONGEST_INT else {"$lost": "int"}


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _surrogates(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unmarked(key: str, inner: Any) -> Any:
    read = _MARKS.get(key)
    if read is None:
        raise ValueError(f"{key[:20]} is no mark of a value")
    try:
        return read(inner)
    except (TypeError, AttributeError, OverflowError):
        raise ValueError(f"{key} does not hold what it should") from None


def _number(text: str) -> float:
    number = float(text)
    if math.isfinite(number):
        raise ValueError("$float holds nan, inf or -inf")
    return number


def _key(value: Any) -> Any:
    key = unpacked(value)
    hash(key)  # raises TypeError: what a line says is not to be trusted
    return key


_MARKS: dict[str, Callable[[Any], Any]] = {
    "$float": _number,
    "$int": lambda text: int(text, 10),
    "$text": lambda text: base64.b64decode(text, validate=True).decode("utf-8", "surrogatepass"),
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$time": lambda text: datetime.fromisoformat(text),
    "$dict": lambda pairs: {_key(key): unpacked(item) for key, item in pairs},
    "$lost": lambda name: None,
}
