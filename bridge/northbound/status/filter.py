"""Which tags a caller wants, by glob."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.model.tag import Tag

LONGEST = 200
"""Characters of a glob."""


class TagFilter:
    """A glob over tag ids, whatever the case; a word without `*`, `?` or `[` may stand anywhere in the id.

    `extruder-1.*`, `*/Temperature/*` and `pressure` all work. Raises ValueError when the glob is too long.
    """

    def __init__(self, glob: str = "") -> None:
        if len(glob) > LONGEST:
            raise ValueError(f"q is longer than {LONGEST} characters")
        pattern = glob.casefold().replace("/", ".")
        if not any(char in pattern for char in "*?["):
            pattern = f"*{pattern}*"
        self._match = re.compile(fnmatch.translate(pattern)).match

    def __call__(self, tag: Tag) -> bool:
        """Whether this tag is wanted."""
        return self._match(tag.id.casefold()) is not None
