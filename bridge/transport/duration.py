"""Durations in configuration files: "500ms", "5s", "2min", "1h"; a bare number is seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|h|d)\s*\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: object) -> object:
    """Seconds from a text; anything else passes through unchanged. Raises ValueError."""
    return seconds_of(text) if isinstance(text, str) else text


def seconds_of(text: str) -> float:
    """Seconds of "500ms", "5s", "2min", "1h", "1d". Raises ValueError."""
    match = _DURATION.match(text)
    if not match:
        raise ValueError("not a duration; write a number with ms, s, min, h or d, such as 500ms or 5s")
    return float(match[1]) * _SECONDS[match[2]]


def duration_words(seconds: float) -> str:
    """Seconds as a person writes them, in the largest unit that leaves a whole number: "5s", "6h", "7d"."""
    for unit in ("d", "h", "min", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str | float)]
"""Seconds, written as "500ms", "5s", "2min", "1h". Bounds are the field's own."""
