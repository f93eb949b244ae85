"""One value a client gives for an argument: does it fit? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.model.command import UNSET_TIMES, Argument
from bridge.model.status import StatusCode
from bridge.model.value import DataType
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.handshake import TEXT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.model.value import Value


def taken(argument: Argument, value: Value) -> Value | StatusCode:
    """The value in the argument's own type, or the status that refuses it."""
    fitting = convert.fit(value, argument.data_type)
    if isinstance(fitting, StatusCode):
        return fitting
    if isinstance(fitting, str) and len(fitting.encode()) > TEXT_BYTES:
        return StatusCode.BadOutOfRange
    if argument.enumeration and fitting not in argument.enumeration and not _is_left_out(argument, fitting):
        return StatusCode.BadOutOfRange
    bounds = argument.eu_range
    if bounds is not None and isinstance(fitting, int | float) and not bounds.low <= fitting <= bounds.high:
        return StatusCode.BadOutOfRange
    return fitting


def given(arguments: Iterable[Argument], values: Mapping[str, Value]) -> dict[str, Value]:
    """What a client really gave of these; the rest takes its default.

    Neither a method nor a PLC's variables can leave an argument out: a text left empty, and a time that is not set.
    """
    return {one.name: values[one.name] for one in arguments if not _is_left_out(one, values[one.name])}


def _is_left_out(argument: Argument, value: Value) -> bool:
    if isinstance(value, str):
        return not value and argument.default is not None and not argument.person
    return value in UNSET_TIMES and argument.default in UNSET_TIMES


def described(argument: Argument) -> str:
    """What the argument is and takes, for the person who fills it in."""
    unit = f" {argument.unit.symbol}" if argument.unit else ""
    parts = [argument.description] if argument.description else []
    if argument.eu_range is not None:
        parts.append(f"{argument.eu_range.low:g} to {argument.eu_range.high:g}{unit}")
    elif unit:
        parts.append(f"in{unit}")
    if argument.enumeration:
        parts.append(f"one of {', '.join(argument.enumeration)}")
    if argument.person:
        parts.append("a badge number, a user name or an e-mail address; empty: who is logged in")
    elif argument.default not in (None, ""):
        words = argument.default_words
        parts.append(f"{words:g} by default" if isinstance(words, float) else f"{words} by default")
    return "; ".join(parts)


EXECUTE = Argument("Execute", DataType.Boolean)
REQUEST_ID = Argument("RequestId", DataType.UInt32)
