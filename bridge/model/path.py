"""Where a machine stands (ISA-95) and what its id may look like."""

from __future__ import annotations

import re
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
