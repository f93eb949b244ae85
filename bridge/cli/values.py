"""Values on a command line."""

from __future__ import annotations

import json
import math


def plain_value(text: str) -> bool | int | float | str:
    """A number or true/false where the text is one, what is in double quotes, else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, float) and not math.isfinite(value):
        return text
    return value if isinstance(value, bool | int | float | str) else text
