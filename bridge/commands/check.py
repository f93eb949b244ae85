"""What is asked against what may be asked: types, ranges, texts. Pure.

Every lossless number is accepted: a PLC's Float 30.0 for an Int32, an Int 30 for a Double.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from bridge.errors import did_you_mean
from bridge.model.command import UNSET_TIMES, Argument, Outcome, Result
from bridge.model.status import StatusCode
from bridge.model.value import INTEGER_LIMITS, DataType, Value

TEXT_LIMIT = 254
"""What a PLC's STRING holds; longer texts are refused rather than cut."""


class NotAccepted(Exception):
    """An argument that is refused; carries the outcome's status and sentence."""

    def __init__(self, status: StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.outcome = Outcome(Result.REJECTED, status, sentence)


def checked(arguments: Sequence[Argument], given: Mapping[str, Value], now: datetime) -> dict[str, Value]:
    """The arguments in their declared types; a time that is not set is `now`.

    Raises NotAccepted for the first that is not.
    """
    known = {argument.name for argument in arguments}
    for name in given:
        if name not in known:
            sentence = (
                f"There is no argument {name!r}; it takes {', '.join(sorted(known)) or 'none'}{_hint(name, known)}"
            )
            raise NotAccepted(StatusCode.BadInvalidArgument, sentence)
    raw = {one.name: one.initial if given.get(one.name) is None else given[one.name] for one in arguments}
    missing = [name for name, value in raw.items() if value is None]
    if missing:
        wanted = ", ".join(f"{one.name}: {_wanted(one)}" for one in arguments if one.name in missing)
        raise NotAccepted(StatusCode.BadInvalidArgument, f"{', '.join(missing)} is not given; expected {wanted}")
    converted = {argument.name: _converted(argument, raw[argument.name]) for argument in arguments}
    return {name: now if value in UNSET_TIMES else value for name, value in converted.items()}


def _converted(argument: Argument, raw: Value) -> Value:
    if argument.enumeration:
        return _text_of(argument, raw)
    value = _typed(argument, raw)
    bounds = argument.eu_range
    if bounds is not None and isinstance(value, int | float) and not bounds.low <= value <= bounds.high:
        unit = f" {argument.unit.symbol}" if argument.unit else ""
        sentence = f"{argument.name} is {value:g}{unit}; it must be from {bounds.low:g} to {bounds.high:g}{unit}"
        raise NotAccepted(StatusCode.BadOutOfRange, sentence)
    return value


def _text_of(argument: Argument, raw: Value) -> str:
    """An enumeration takes its text or its number."""
    texts = argument.enumeration
    if isinstance(raw, str):
        if raw in texts:
            return raw
        sentence = f"{argument.name} is {raw!r}; it must be one of {', '.join(texts)}{_hint(raw, texts)}"
        raise NotAccepted(StatusCode.BadOutOfRange, sentence)
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        text = next((text for text, number in argument.numbers.items() if number == raw), None)
        if text is not None:
            return text
    raise NotAccepted(StatusCode.BadOutOfRange, f"{argument.name} is {raw!r}; it must be one of {', '.join(texts)}")


def _typed(argument: Argument, raw: Value) -> Value:
    data_type = argument.data_type
    if data_type is DataType.String and isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw)  # a part number; of a fraction nobody knows how many digits it had
    if data_type is DataType.String and isinstance(raw, str):
        if len(raw) > TEXT_LIMIT:
            raise NotAccepted(StatusCode.BadOutOfRange, f"{argument.name} is longer than {TEXT_LIMIT} characters")
        return raw
    if data_type is DataType.DateTime:
        return _moment(argument, raw)
    if data_type is DataType.Boolean and (isinstance(raw, bool) or raw in (0, 1)):
        return bool(raw)
    if data_type.is_numeric and isinstance(raw, int | float) and not isinstance(raw, bool):
        return _number(argument, raw)
    raise _mismatch(argument, raw)


def _number(argument: Argument, raw: float) -> int | float:
    if not math.isfinite(raw):
        raise NotAccepted(StatusCode.BadOutOfRange, f"{argument.name} is {raw!r}, which is no number")
    if argument.data_type is DataType.Double:
        return float(raw)
    low, high = INTEGER_LIMITS[argument.data_type]
    if raw != int(raw):
        raise _mismatch(argument, raw)
    if not low <= raw <= high:
        raise NotAccepted(
            StatusCode.BadOutOfRange, f"{argument.name} is {raw!r}; {argument.data_type.value} cannot hold it"
        )
    return int(raw)


def _moment(argument: Argument, raw: Value) -> datetime:
    if raw == "now":
        return UNSET_TIMES[0]
    if isinstance(raw, str):
        try:
            raw = datetime.fromisoformat(raw)
        except ValueError:
            raise _mismatch(argument, raw) from None
    if not isinstance(raw, datetime) or raw.tzinfo is None:
        raise _mismatch(argument, raw)
    return raw.astimezone(UTC)


def _mismatch(argument: Argument, raw: Value) -> NotAccepted:
    shown = f"{str(raw).lower()} (Boolean)" if isinstance(raw, bool) else f"{raw!r}"
    sentence = f"{argument.name} is {shown}; it must be {_wanted(argument)}"
    return NotAccepted(StatusCode.BadTypeMismatch, sentence)


def _wanted(argument: Argument) -> str:
    """What it takes: "Double from 0 to 100 bar", "one of Standby, Heat"."""
    if argument.enumeration:
        return f"one of {', '.join(argument.enumeration)}"
    unit = f" {argument.unit.symbol}" if argument.unit else ""
    bounds = argument.eu_range
    limits = "" if bounds is None else f" from {bounds.low:g} to {bounds.high:g}{unit}"
    return f"{argument.data_type.value}{limits}"


def _hint(word: str, known: Iterable[str]) -> str:
    hint = did_you_mean(word, known)
    return f"; {hint}" if hint else ""
