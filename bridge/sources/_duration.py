"""Durations in a source's configuration: "500ms", "5s", "2min"; a number is seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|h|d)\s*\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: object) -> object:
    """Seconds from a text; anything else passes through unchanged. Raises ValueError."""
    if not isinstance(text, str):
        return text
    match = _DURATION.match(text)
    if not match:
        raise ValueError("not a duration; write a number with ms, s, min, h or d, such as 500ms or 5s")
    return float(match[1]) * _SECONDS[match[2]]


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str | float)]
"""Seconds, written as "500ms", "5s", "2min", "1h". Bounds are the field's own."""
