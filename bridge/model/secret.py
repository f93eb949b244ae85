"""Secrets: which names stand for one. What has such a name is never shown, logged or kept."""

from __future__ import annotations

import re

_SECRET = ("passw", "passphrase", "passcode", "kennwort", "secret", "token", "credential", "apikey", "privatekey")
"""A name that contains one of these is a secret's, also across its words ("api_key")."""

_SECRET_AT_THE_END = ("pin", "pwd")
"""A name whose last word is one of these is a secret's: "UserPin", not "PinDistance" or "Spin"."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def is_secret(name: str) -> bool:
    """Whether an argument, a payload's key or a tag of this name holds a secret."""
    words = [word.casefold() for word in _WORD.findall(name)]
    joined = "".join(words)
    return any(part in joined for part in _SECRET) or words[-1:] in ([word] for word in _SECRET_AT_THE_END)
