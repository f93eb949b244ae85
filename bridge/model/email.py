"""E-mail addresses: whether a text is one, and texts without them. They are personal: only a vendor is told them."""

from __future__ import annotations

import re

HIDDEN = "(e-mail)"
"""What stands where an e-mail address was."""

LONGEST = 254
"""Characters (RFC 5321, 4.5.3.1.3, without its angle brackets)."""

_LOCAL = r"[\w.!#%&'*+/=?^`~|-]{1,64}"
_DOMAIN = r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_][\w-]{0,61}[^\W_]"
_EMAIL = re.compile(rf"(?<![\w.+-]){_LOCAL}@{_DOMAIN}")
"""Narrower than RFC 5322: no quotes, no blanks, and nothing that a `${…}` could be made of; a domain has a dot, and its
last label begins with a letter, so that `anna@10.0.0.1`, a login and where it came from, is none."""


def is_email(text: str) -> bool:
    """Whether the whole text is one address."""
    return len(text) <= LONGEST and _EMAIL.fullmatch(text) is not None


def without_emails(text: str) -> str:
    """The text with every address in it hidden."""
    return _EMAIL.sub(HIDDEN, text) if "@" in text else text
