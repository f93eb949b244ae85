"""Where a machine stands (ISA-95) and what its id may look like."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

MACHINE_ID = re.compile(r"[A-Za-z0-9_-]{1,48}\Z")
"""Machine ids go into NodeIds, Sparkplug device ids and topics: the strictest common set."""

SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
"""One level of a tag name or of a place."""


@dataclass(frozen=True, slots=True)
class Place:
    """A machine's place in the ISA-95 equipment hierarchy; empty area or line means that level is left out."""

    enterprise: str
    site: str
    area: str = ""
    line: str = ""

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that are there, broad to narrow."""
        return tuple(level for level in (self.enterprise, self.site, self.area, self.line) if level)


def slugged(text: str) -> str:
    """`text` with everything a segment may not hold turned into "-"."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "x"


SEGMENT_LENGTH = 64
MARK_LENGTH = 6

_SPELLED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae"}
    | {"°": "deg", "µ": "u", "μ": "u", "Ω": "Ohm", "%": "percent", "²": "2", "³": "3"}
)


def spelled(text: str) -> str:
    """`text` as one segment that a person still reads: "Öl Druck" is "Oel-Druck". Not injective."""
    if SEGMENT.match(text):
        return text
    plain = unicodedata.normalize("NFKD", text.translate(_SPELLED))
    slug = slugged(plain.encode("ascii", "ignore").decode())
    return slug if len(slug) <= SEGMENT_LENGTH else marked(slug, text)


def marked(segment: str, identity: str) -> str:
    """The segment with a mark of `identity` behind it, no longer than a segment may be."""
    return f"{segment[: SEGMENT_LENGTH - MARK_LENGTH - 1]}-{mark(identity)}"


def mark(identity: str) -> str:
    """A few letters that stand for a text: always the same, hardly ever those of another."""
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:MARK_LENGTH]


def escaped(text: str) -> str:
    """`text` as one level of an id: letters, digits, "_" and "-" as they are, other bytes as "~xx". Injective.

    What would be longer than a segment is cut, and ends with "~~" and a hash of the whole.
    """
    if SEGMENT.match(text):
        return text
    raw = text.encode("utf-8", "surrogatepass")
    level = "".join(chr(byte) if chr(byte) in _PLAIN else f"~{byte:02x}" for byte in raw)
    if len(level) <= SEGMENT_LENGTH:
        return level
    return f"{level[:40]}~~{hashlib.sha256(raw).hexdigest()[:20]}"


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
