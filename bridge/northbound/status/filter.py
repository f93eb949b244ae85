"""Which tags a caller wants, by glob."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.model.tag import Tag

LONGEST = 200
"""Characters of a glob."""

MOST = 20
"""Globs of one request."""


class TagFilter:
    """Any of several globs over tag ids, whatever the case; none at all takes every tag.

    A word without `*`, `?` or `[` may stand anywhere in the id: `extruder-1.*`, `*/Temperature/*`, `pressure`.
    Raises ValueError for too many or too long ones.
    """

    def __init__(self, *globs: str) -> None:
        if len(globs) > MOST or any(len(glob) > LONGEST for glob in globs):
            raise ValueError(f"at most {MOST} globs of at most {LONGEST} characters")
        patterns = [fnmatch.translate(_whole(glob)) for glob in globs or ("*",)]
        self._match = re.compile("|".join(patterns)).match

    def __call__(self, tag: Tag) -> bool:
        """Whether this tag is wanted."""
        return self.takes(tag.id)

    def takes(self, identifier: str) -> bool:
        """Whether what has this id is wanted."""
        return self._match(identifier.casefold()) is not None


def _whole(glob: str) -> str:
    pattern = glob.casefold().replace("/", ".")
    return pattern if any(char in pattern for char in "*?[") else f"*{pattern}*"
