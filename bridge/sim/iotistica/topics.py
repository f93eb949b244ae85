"""Topics of an agent: `i/{tenant}/a/{agent}/...`, with ids shortened to base64url. Source: facts 1.11; recorded."""

from __future__ import annotations

import base64
import re
import uuid

_HEX_ID = re.compile(r"[0-9a-fA-F]{12}")


def encoded(word: str) -> str:
    """A uuid in 22 characters, 12 hexadecimal digits in 8, anything else as it is."""
    if _HEX_ID.fullmatch(word):
        return base64.urlsafe_b64encode(bytes.fromhex(word)).decode()
    try:
        number = uuid.UUID(word) if len(word) == 36 else None
    except ValueError:
        number = None
    return word if number is None else base64.urlsafe_b64encode(number.bytes).decode().rstrip("=")


def topic(tenant: str, agent: str, *rest: str) -> str:
    """A topic of this agent."""
    return "/".join(("i", encoded(tenant), "a", encoded(agent), *rest))
