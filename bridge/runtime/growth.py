"""Growth: tags that rows ask for become part of their machine, many at once, and are kept for ever.

tick -> parts whose new tags were collected for long enough -> Names, slots -> InventoryStore
     -> one plant with all of them -> their first values
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.errors import counted
from bridge.mapping.each import key_words
from bridge.mapping.machine import with_tags
from bridge.model.units import is_known_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bridge.mapping.rows import EachProjection
    from bridge.model.known_tag import KnownTag
    from bridge.runtime.inventory import InventoryStore
    from bridge.runtime.machine import MachineState, PartState

NAMED = 5
"""Tags that an event names; it counts the others."""


@dataclass(frozen=True, slots=True)
class Said:
    """An event about tags of a machine. `is_once`: not to be repeated with these words."""

    kind: str
    message: str
    source: str
    machine: str
    severity: int
    is_once: bool


class Growth:
    """Makes tags of what was collected, and tells what became of it."""

    def __init__(self, inventory: InventoryStore, slot: Callable[[str], int]) -> None:
        self._inventory = inventory
        self._slot = slot

    def grow(self, state: MachineState) -> list[Said]:
        """The machine has the tags its rows asked for; none of their values is said yet."""
        said: list[Said] = []
        for part in state.parts:
            for each in part.projection.each if part.projection else ():
                said.extend(self._grow(state, part, each))
        return said

    def _grow(self, state: MachineState, part: PartState, each: EachProjection) -> Iterable[Said]:
        wanted, known = each.newcomers(), each.known
        if not wanted:
            return
        grown = with_tags(state.bound, part.part.name, wanted, self._slot)
        self._inventory.learn(part.part.source, part.part.source_machine, grown.tags)
        state.grow(grown.bound)
        source, machine = part.part.source, state.machine.id
        if each.known > known:
            yield Said("TagsAppeared", _appeared(each, grown.tags), source, machine, 100, is_once=False)
        if grown.refused:
            message = f"{grown.refused} tags of {machine} ({each.spec.name}) have no place: raise limits.tags"
            yield Said("TagsRefused", message, source, machine, 500, is_once=True)
        for unit in sorted({tag.unit for tag in grown.tags if tag.unit and not is_known_unit(tag.unit)}):
            message = f"{machine}: there is no UNECE code for the vendor's unit {unit}; it is shown as it is"
            yield Said("UnitUnknown", message, source, machine, 200, is_once=True)


def _appeared(each: EachProjection, tags: Sequence[KnownTag]) -> str:
    named = ", ".join("/".join(tag.texts) for tag in tags[:NAMED])
    more = f" and {len(tags) - NAMED} more" if len(tags) > NAMED else ""
    return f"{counted(len(tags), 'tag')} appeared with the data ({each.spec.name}): {named}{more}"


def troubles(state: MachineState) -> Iterable[Said]:
    """What is wrong with a machine's rows; each once, however often it is asked."""
    for part in state.parts:
        for each in part.projection.each if part.projection else ():
            name, rule, source = each.spec.name, each.spec.rule, part.part.source
            machine = state.machine.id
            where = f"{machine} ({name})"
            if each.tally.refused:
                message = f"{where} has rows for more than {rule.limit} tags; raise limit in the mapping"
                yield Said("TagsRefused", message, source, machine, 500, is_once=True)
            if each.tally.unreadable:
                message = f"{where} has rows without {key_words(rule)}, or with a list or an object for a value"
                yield Said("RowsUnreadable", message, source, machine, 300, is_once=True)
            if each.tally.contrary:
                message = f"{where} has values of another type or unit than their tag was given first: they are Bad"
                yield Said("ValuesContrary", message, source, machine, 300, is_once=True)
