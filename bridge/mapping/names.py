"""Names of tags that appear with the data: made of what a row says, and told apart where two would be the same.

A name is a NodeId's path, a metric and a topic: no two may be equal, nor differ in case only, nor may one be the folder
that another is in (design.md 2.5, rule 5). Everything that these may not hold is spelled otherwise here, and only here.

Rules
1. Who came first keeps its name; that is remembered, so that the order holds over restarts.
2. A "/" in a text makes levels. Where that would make a value a folder, it becomes "-".
3. What is still taken gets a mark made of its key: the same at every site and after every restart.
4. The folder that a field names belongs to one value of the key's fields up to there: two devices of one name have two
   folders, and a device that is renamed keeps its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from bridge.model.path import SEGMENT_LENGTH, mark, marked, spelled

MOST_LEVELS = 4
"""Of one text: a vendor's own folders are of use to people, but not without end."""

FIELD = re.compile(r"<([^<>]+)>")
"""A field of the row in a name, label or description."""

Owner = tuple[str, ...]
"""The key's fields up to the one that a folder stands for."""


def texts_of(said: Iterable[str]) -> tuple[str, ...]:
    """What rows say for the fields of a name, as levels that every face takes."""
    return tuple(_spelled(text) for text in said)


def _spelled(text: str) -> str:
    levels = [level.strip() for level in text.split("/") if level.strip()]
    together = "/".join(spelled(level) for level in levels)
    if not 1 <= len(levels) <= MOST_LEVELS or len(together) > SEGMENT_LENGTH:
        return spelled(text)
    return together


def filled(pattern: str, texts: Sequence[str]) -> str:
    """The pattern with its fields replaced, in order."""
    first, *others = _around(pattern)
    return first + "".join(text + after for text, after in zip(texts, others, strict=True))


@lru_cache(maxsize=1000)
def _around(pattern: str) -> tuple[str, ...]:
    """What stands before, between and after the fields."""
    return tuple(FIELD.split(pattern)[::2])


@lru_cache(maxsize=1000)
def _beginning(pattern: str, count: int) -> str | None:
    """The pattern up to the level that its field of this number is in; None where that is the last level."""
    field = list(FIELD.finditer(pattern))[count - 1]
    end = pattern.find("/", field.end())
    return None if end < 0 else pattern[:end]


class Names:
    """Names of one machine: which are taken, and whose the folders are. Bounded by the machine's tags."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._leaves: set[str] = set()
        self._folders: dict[str, Owner | None] = {}
        self._homes: dict[tuple[str, Owner], str] = {}
        """What stands for a field of a pattern for those of this owner, once it was chosen."""
        for name in taken:
            self._take(name.lower())

    def place(
        self, pattern: str, key: Owner, texts: Sequence[str], names_of: Callable[[str], Iterable[str]]
    ) -> tuple[str, ...] | None:
        """Texts with which all names of this tag are free, nearest to those given; they are taken. None: none are free.

        Args:
            pattern: the rule's name; its fields stand for the key's, in order.
            key: the tag's key.
            texts: what the row says, spelled.
            names_of: every name the tag makes (itself, its text, its alarms) when it is called so.
        """
        chosen: tuple[str, ...] = ()
        for index in range(len(texts) - 1):
            owner = key[: index + 1]
            home = self._homes.get((pattern, owner))
            for text in _choices(texts[index], owner) if home is None else (home,):
                folder = self._folder(pattern, (*chosen, text))
                if folder is None or self._is_open(folder, owner):
                    break
            else:
                return None
            chosen = (*chosen, text)
        for text in _choices(texts[-1], key):
            whole = (*chosen, text)
            names = [name.lower() for name in names_of(filled(pattern, whole))]
            if all(map(self._is_free, names)) and self._is_own(pattern, whole, key):
                self._keep(pattern, whole, key, names)
                return whole
        return None

    def _keep(self, pattern: str, texts: Sequence[str], key: Owner, names: Iterable[str]) -> None:
        for name in names:
            self._take(name)
        for count in range(1, len(texts) + 1):
            folder = self._folder(pattern, texts[:count])
            if folder is not None:
                self._folders[folder] = key[:count]
                self._homes[pattern, key[:count]] = texts[count - 1]

    def _take(self, name: str) -> None:
        self._leaves.add(name)
        for folder in _folders(name):
            self._folders.setdefault(folder, None)

    def _is_free(self, name: str) -> bool:
        """Nobody has this name, nothing is in it, and it is in nothing that is a value."""
        if name in self._leaves or name in self._folders:
            return False
        return not any(folder in self._leaves for folder in _folders(name))

    def _is_own(self, pattern: str, texts: Sequence[str], key: Owner) -> bool:
        folder = self._folder(pattern, texts)
        return folder is None or self._is_open(folder, key)

    def _is_open(self, folder: str, owner: Owner) -> bool:
        """The folder is nobody else's, and neither it nor what it is in is a value."""
        if folder in self._leaves or any(above in self._leaves for above in _folders(folder)):
            return False
        return self._folders.get(folder) in (None, owner)

    @staticmethod
    def _folder(pattern: str, texts: Sequence[str]) -> str | None:
        """The folder that the last of these texts ends; None where it ends the name itself."""
        beginning = _beginning(pattern, len(texts))
        return None if beginning is None else filled(beginning, texts).lower()


def _choices(text: str, owner: Owner) -> Iterator[str]:
    """What a text may become: itself, without levels, with a mark; a longer one where even that is another's."""
    identity = "\x1f".join(owner)
    yield text
    flat = text.replace("/", "-")
    if flat != text and len(flat) <= SEGMENT_LENGTH:
        yield flat
    yield marked(flat, identity)
    yield marked(f"{flat[:40]}-{mark(identity)}", f"{identity}\x1f")


def _folders(name: str) -> Iterator[str]:
    """The folders a name is in, below its group."""
    while "/" in (name := name.rpartition("/")[0]):
        yield name


__all__ = ["FIELD", "Names", "filled", "texts_of"]
