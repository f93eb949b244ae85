"""From a command to the vendor's payload: `$name` in a template becomes the typed argument. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bridge.model.value import Value

_PLACEHOLDER = re.compile(r"\$([A-Za-z][A-Za-z0-9_]*)\Z")


def placeholders(template: Any) -> Iterator[str]:
    """Names of the arguments a template asks for."""
    if isinstance(template, str):
        match = _PLACEHOLDER.match(template)
        if match:
            yield match[1]
    elif isinstance(template, dict):
        for inner in template.values():
            yield from placeholders(inner)
    elif isinstance(template, list):
        for inner in template:
            yield from placeholders(inner)


def render(template: Any, arguments: Mapping[str, Value]) -> Any:
    """The vendor's payload. Raises KeyError for an argument that was not given."""
    if isinstance(template, str):
        match = _PLACEHOLDER.match(template)
        return arguments[match[1]] if match else template
    if isinstance(template, dict):
        return {key: render(inner, arguments) for key, inner in template.items()}
    if isinstance(template, list):
        return [render(inner, arguments) for inner in template]
    return template
