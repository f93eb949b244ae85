"""Identifiers a PLC takes, made from names of tags, commands and arguments.

IEC 61131-3: letters, digits and single underscores, a letter first, upper and lower case the same. Every name here is
given a prefix that is a word of ours ("Monitoring_", "Args_", "PB_"): so none is reserved and none begins with a digit.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 120
"""Characters; TIA Portal takes 125 for a block's name and 128 for a tag's."""
SUFFIX = 4
"""Room for "_999"."""
_WORDS = {"°": "deg ", "µ": "u", "μ": "u", "²": "2", "³": "3", "·": ".", "–": "-", "—": "-", "…": "...", "ß": "ss"}


class Names:
    """The names of one scope: none is given twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, *words: str) -> str:
        """A name made of these words, in their order."""
        plain = identifier(*words)[: LONGEST - SUFFIX].rstrip("_")
        name, number = plain, 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{plain}_{number}"
        self._taken.add(name.casefold())
        return name


def identifier(*words: str) -> str:
    """These words as one identifier; what it may not hold becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9]+", "_", "_".join(words)).strip("_")


def remark(*parts: str) -> str:
    """The parts that say something, in one line of ASCII for a comment: not every PLC's editor takes more."""
    line = " | ".join(" ".join(part.split()) for part in parts if part.strip())
    known = "".join(_WORDS.get(letter, letter) for letter in line)
    plain = "".join(one for one in unicodedata.normalize("NFKD", known) if not unicodedata.combining(one))
    return plain.encode("ascii", "replace").decode("ascii")
