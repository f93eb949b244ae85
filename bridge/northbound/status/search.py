"""Search: which tags a person means by a few words."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Final

from bridge.northbound.status.filter import LONGEST, MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bridge.model.plant import Machine, Plant
    from bridge.model.tag import Tag

_GLOB: Final = frozenset("*?[")


class Search:
    """Every word must be found: in the id, the labels, the description, the unit or the machine's place and label.

    A word with `*`, `?` or `[` is a glob over the whole id, as in `TagFilter`. Raises ValueError for too much text.
    """

    def __init__(self, text: str) -> None:
        words = text.casefold().split()
        if len(words) > MOST or len(text) > LONGEST:
            raise ValueError(f"at most {MOST} words, {LONGEST} characters together")
        self._words = {word.replace("/", "."): word for word in words if not _GLOB & set(word)}
        self._globs = [_glob(word) for word in words if _GLOB & set(word)]

    def found(self, plant: Plant) -> list[Tag]:
        """The tags of the plant that match: those of machines by their ids, the bridge's own last."""
        machines = sorted(plant.machines.values(), key=lambda machine: machine.id)
        return [tag for machine in (*machines, plant.bridge) for tag in self._of(machine)]

    def _of(self, machine: Machine) -> Iterable[Tag]:
        if not self._words and not self._globs:
            return machine.tags
        around = " ".join((machine.label, *(level or "" for level in machine.place.levels))).casefold()
        return (tag for tag in machine.tags if self._takes(tag, around))

    def _takes(self, tag: Tag, around: str) -> bool:
        identifier = tag.id.casefold()
        for matches in self._globs:
            if not matches(identifier):
                return False
        left = [word for dotted, word in self._words.items() if dotted not in identifier]
        left = [word for word in left if word not in around]
        return not left or _all_in(left, _described(tag))


def _glob(word: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(word.replace("/", "."))).match


def _all_in(words: Sequence[str], text: str) -> bool:
    return all(word in text for word in words)


def _described(tag: Tag) -> str:
    definition = tag.definition
    unit = definition.unit.symbol if definition.unit else ""
    return " ".join((*definition.label.values(), definition.description, unit)).casefold()
