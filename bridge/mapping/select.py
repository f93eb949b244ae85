"""Paths into a payload: "live_values.motor_status.screw_rpm", "state.outputs[3]", "data['a.b']".

The first name is the channel; the rest is walked inside the payload. A path that leads nowhere gives MISSING,
which is not the same as a null the vendor sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()
"""What a path gives where the payload has nothing at all."""

Getter = Callable[[Any], Any]

_TOKEN = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\['([^']*)'\]")


class Path(NamedTuple):
    """A parsed path. `keys` may be empty: then the whole payload is meant."""

    channel: str
    keys: tuple[str | int, ...]

    def __str__(self) -> str:
        rest = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.keys)
        return self.channel + rest


@lru_cache(maxsize=10_000)
def parse_path(text: str) -> Path:
    """The path written as `text`. Raises ValueError with a sentence that says where it is wrong."""
    keys: list[str | int] = []
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or (position == 0 and text[0] == "."):
            raise ValueError(f"not a path from its character {position + 1} on ({text[position : position + 12]!r})")
        name, index, quoted = token.groups()
        keys.append(int(index) if index is not None else name if name is not None else quoted)
        position = token.end()
    if not keys or not isinstance(keys[0], str):
        raise ValueError("a path begins with the name of a channel")
    return Path(keys[0], tuple(keys[1:]))


@lru_cache(maxsize=10_000)
def getter(keys: tuple[str | int, ...]) -> Getter:
    """A function that walks `keys` into a payload and gives MISSING where it cannot.

    One and two steps are written out: this is the hot path. A hundred machines of one mapping share theirs.
    """
    if not keys:
        return lambda payload: payload
    if len(keys) == 1:
        return _one_step(keys[0])
    if len(keys) == 2:
        return _two_steps(keys[0], keys[1])
    return _many_steps(keys)


def _one_step(key: str | int) -> Getter:
    def get(payload: Any) -> Any:
        try:
            return payload[key]
        except (KeyError, IndexError, TypeError):
            return MISSING

    return get


def _two_steps(first: str | int, second: str | int) -> Getter:
    def get(payload: Any) -> Any:
        try:
            return payload[first][second]
        except (KeyError, IndexError, TypeError):
            return MISSING

    return get


def _many_steps(keys: tuple[str | int, ...]) -> Getter:
    def get(payload: Any) -> Any:
        try:
            for key in keys:
                payload = payload[key]
        except (KeyError, IndexError, TypeError):
            return MISSING
        return payload

    return get
