"""asyncua, imported without writing the methods of 400 protocol classes, of which a server needs a few.

asyncua declares every structure of Parts 4 and 5 as a dataclass, and a dataclass writes and compiles `__init__`,
`__repr__` and `__eq__` when it is declared: a sixth of a second and 2 MB of every start. Here a class of theirs writes
them when one of them is called first; from then on it is as if it had always had them.
Import this before asyncua. Afterwards it changes nothing.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

PROTOCOL = "asyncua.ua.uaprotocol_auto"
"""Where the generated classes are. Those of other modules have their methods at once: they are few, and in use."""
METHODS = ("__init__", "__repr__", "__eq__")

_dataclass = dataclasses.dataclass


def deferring(cls: type | None = None, /, **options: Any) -> Any:
    """As `dataclasses.dataclass`; a plain class of asyncua's protocol gets its methods when it needs them."""
    if cls is None:
        return partial(deferring, **options)
    if cls.__module__ != PROTOCOL or options.keys() - {"slots"} or hasattr(cls, "__post_init__"):
        return _dataclass(cls, **options)
    made: Any = _dataclass(cls, init=False, repr=False, eq=False, **options)
    for name in METHODS:
        if name not in vars(made):
            setattr(made, name, _placeholder(made, name))
    made.__hash__ = None  # as of every dataclass that has __eq__
    return made


def _placeholder(cls: Any, name: str) -> Callable[..., Any]:
    def first_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        _write_methods(cls)
        return getattr(cls, name)(self, *args, **kwargs)

    first_call.is_placeholder = True  # type: ignore[attr-defined]
    return first_call


def _write_methods(cls: Any) -> None:
    """Give the class what `dataclass` would have given it; twice does no harm."""
    fields = [(one.name, one.type, one) for one in dataclasses.fields(cls)]
    twin = dataclasses.make_dataclass(cls.__name__, fields, slots="__slots__" in vars(cls))  # they have other __init__
    for name in METHODS:
        if hasattr(vars(cls)[name], "is_placeholder"):
            setattr(cls, name, vars(twin)[name])


if "asyncua" not in sys.modules:
    dataclasses.dataclass = deferring
    try:
        import asyncua  # noqa: F401
    finally:
        dataclasses.dataclass = _dataclass
