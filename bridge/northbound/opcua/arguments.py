"""One value a client gives for an argument: does it fit? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.model.command import Argument
from bridge.model.status import StatusCode
from bridge.model.value import DataType
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.handshake import TEXT_BYTES

if TYPE_CHECKING:
    from bridge.model.value import Value


def taken(argument: Argument, value: Value) -> Value | StatusCode:
    """The value in the argument's own type, or the status that refuses it."""
    fitting = convert.fit(value, argument.data_type)
    if isinstance(fitting, StatusCode):
        return fitting
    if isinstance(fitting, str) and len(fitting.encode()) > TEXT_BYTES:
        return StatusCode.BadOutOfRange
    if argument.enumeration and fitting not in argument.enumeration:
        return StatusCode.BadOutOfRange
    bounds = argument.eu_range
    if bounds is not None and isinstance(fitting, int | float) and not bounds.low <= fitting <= bounds.high:
        return StatusCode.BadOutOfRange
    return fitting


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
