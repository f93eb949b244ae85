"""Key path: where in a document something stands, as a person writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

KeyPath = Sequence[str | int]
"""Keys and list indices from the top of a document."""

_LONGEST = 160
_PLAIN = re.compile(r"[^\s.\[\]\"'\\]{1,80}\Z")


def dotted(path: KeyPath) -> str:
    """`("machines", 2, "id")` as `machines[2].id`; a key that would be misread is quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{_key(step)}" if text else _key(step)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _key(step: str) -> str:
    return step if _PLAIN.match(step) and step.isprintable() else quoted(step)


def quoted(text: str, limit: int = 60) -> str:
    """`text` in double quotes on one line, shortened to `limit` characters."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    printable = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in short)
    return json.dumps(printable, ensure_ascii=False).replace("\\\\u", "\\u")
