"""Aliases: numbers that stand for metrics' names. Pure.

A number is given once and never again: a host that still holds an older birth can then only name a metric that is
unknown, never another one. Within one NBIRTH even the same metric does not keep its number over a death of its device:
Tahu's host takes that for a clash and asks for a rebirth (facts 5.6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.northbound.sparkplug.codec import MetricEncoder


class Aliases:
    """The numbers of one edge node and its devices."""

    def __init__(self) -> None:
        self.births = 0
        """NBIRTHs so far: what was announced before the last one counts no more."""
        self._last = 0

    def next(self) -> int:
        """A number nobody had."""
        self._last += 1
        return self._last


class AliasedNames:
    """The numbers of one metric set's encoders, given anew whenever they were announced since the last NBIRTH."""

    def __init__(self, aliases: Aliases, encoders: Mapping[str, MetricEncoder]) -> None:
        self._aliases = aliases
        self._encoders = encoders
        self._announced_in = 0
        self._names: dict[int, str] = {}

    def announce(self) -> None:
        """A birth of the set is about to be encoded."""
        if not self._names or self._announced_in == self._aliases.births:
            self._names = {self._aliases.next(): name for name in self._encoders}
            for alias, name in self._names.items():
                self._encoders[name].rename(alias)
        self._announced_in = self._aliases.births

    def name(self, alias: int) -> str | None:
        """Whose number this is in the last birth."""
        return self._names.get(alias)
