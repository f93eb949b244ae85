"""`expr:`: the Common Expression Language (CEL): safe, typed, total; numbers are doubles, so write `v * 2.0`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def compile_expression(text: str, names: frozenset[str]) -> Callable[[Mapping[str, Any]], Any]:
    """A function of the named raw values. Raises ValueError for bad syntax or a name that is not given."""
    import cel  # here: it brings a command line and its libraries along, and few mappings have an expression

    try:
        program = cel.compile(text)
    except Exception as error:  # the library raises bare ValueError and RuntimeError from Rust
        raise ValueError(str(error).splitlines()[0]) from error
    unknown = set(program.variables()) - names
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} is not given by from; known here: {', '.join(sorted(names))}")

    def evaluate(values: Mapping[str, Any]) -> Any:
        return program.execute({name: _as_cel(value) for name, value in values.items()})

    return evaluate


def _as_cel(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
