"""Alarms that must last: a tag becomes true only when its cause has stood for the delay of its mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.model.tag import Tag
    from bridge.model.value import DataValue

Pairs = list[tuple[int, "DataValue"]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    due: float
    value: DataValue


class AlarmDelay:
    """The alarm tags of one machine that have a delay."""

    def __init__(self, tags: Iterable[Tag], read: Callable[[int], DataValue | None]) -> None:
        """`read` gives what a tag is now: an alarm that stands does not wait again after a reload."""
        delays = {tag.slot: tag.definition.alarm.delay for tag in tags if tag.definition.alarm}
        self._delays = {slot: delay for slot, delay in delays.items() if delay}
        self._active = {slot for slot in self._delays if (now := read(slot)) is not None and now.value is True}
        self._waiting: dict[int, _Waiting] = {}

    def __bool__(self) -> bool:
        return bool(self._delays)

    def passed(self, pairs: Pairs, now: float) -> Pairs:
        """What may be said at once: what begins waits, and counts as not active meanwhile."""
        return [self._one(slot, value, now) if slot in self._delays else (slot, value) for slot, value in pairs]

    def _one(self, slot: int, value: DataValue, now: float) -> tuple[int, DataValue]:
        if value.value is not True:
            self._waiting.pop(slot, None)
            if value.value is False:
                self._active.discard(slot)
            return slot, value
        if slot in self._active:
            return slot, value
        known = self._waiting.get(slot)
        self._waiting[slot] = _Waiting(known.due if known else now + self._delays[slot], value)
        return slot, value._replace(value=False)

    def due(self, now: float) -> Pairs:
        """What has lasted."""
        ripe = {slot: one.value for slot, one in self._waiting.items() if one.due <= now}
        for slot in ripe:
            del self._waiting[slot]
        self._active.update(ripe)
        return list(ripe.items())
