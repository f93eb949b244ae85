"""A reader of the history: what it has had, what is on its way, what it is owed (see `bridge.ports.HistoryReader`).

    table -> waiting (in the reader's feed) -> handed (in its hands) -> under way (at the broker) -> delivered
                 | merged into a newer one, or not acknowledged
                 '--> owed: neither delivered nor in one of these three -> read() -> acknowledge

Rule: what is owed lies below everything that may still be said live. So nothing is read that a batch is about to say,
and an outage, a merged value, a slow broker and a restart are one thing: a position that is missing in `delivered`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.model.history import Gap, HistoricValue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bridge.hub.delivered import Delivered
    from bridge.hub.history import HistoryStore

GapKey = tuple[str, str]
"""Tag id, why."""


class Reader:
    """One face. Made by `HistoryStore.reader`."""

    def __init__(self, store: HistoryStore, name: str, delivered: Delivered, gaps: dict[GapKey, Gap]) -> None:
        self.name = name
        self.delivered = delivered
        self.gaps = gaps
        self.is_live = False
        """Its feed is open."""
        self._store = store
        self._waiting: dict[int, int] = {}
        self._handed: dict[int, int] = {}
        self._under_way: set[int] = set()

    # -- what its feed does -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """The feed begins: it holds every current value."""
        self.is_live = True
        self._waiting = dict(self._store.latest)
        self._store.announce()

    def close(self) -> None:
        """The feed is gone, and with it what was to be said."""
        self.is_live = False
        self._waiting.clear()
        self.abandon()

    def came(self, rows: Mapping[int, int]) -> None:
        """New values by slot; those they replace in the feed are merged, and owed."""
        self._waiting.update(rows)

    def forget(self, slots: Iterable[int]) -> None:
        """These tags are gone: nobody will say them live."""
        for slot in slots:
            self._waiting.pop(slot, None)
            self._handed.pop(slot, None)

    def hand_all(self) -> None:
        """The face took a batch."""
        self._handed.update(self._waiting)
        self._waiting.clear()

    def hand_newer(self, slot: int) -> None:
        """The face took one value that replaces another of its batch."""
        position = self._waiting.pop(slot, None)
        if position is not None:
            self._handed[slot] = position

    # -- what a face does ---------------------------------------------------------------------------------------------

    def hand_current(self, slots: Iterable[int]) -> None:
        """The face says the current values of these tags."""
        for slot in slots:
            position = self._store.latest.get(slot)
            if position is not None:
                self._waiting.pop(slot, None)
                self._handed[slot] = position

    def put_back(self, slots: Iterable[int]) -> None:
        """The face took these and did not say them."""
        for slot in slots:
            self._handed.pop(slot, None)

    def said(self) -> Sequence[int]:
        """What it took since it was asked last, and has now said."""
        said = tuple(self._handed.values())
        self._under_way.update(said)
        self._handed.clear()
        return said

    def abandon(self) -> None:
        """What it took and did not acknowledge is owed."""
        self._handed.clear()
        self._under_way.clear()
        self._store.announce()

    def acknowledge(self, said: Sequence[int]) -> None:
        """What `said` gave has arrived."""
        if not said:
            return
        self._under_way.difference_update(said)
        for position in sorted(said):
            self.delivered.add(position, position)
        self._store.note(self)

    async def read(self, limit: int, machines: Collection[str] | None = None) -> Sequence[HistoricValue | Gap]:
        """What it is owed (see `bridge.ports.HistoryReader`)."""
        return await self._store.owed_to(self, limit, machines)

    def acknowledge_read(self, items: Iterable[HistoricValue | Gap]) -> None:
        """What `read` gave has arrived."""
        for item in items:
            if isinstance(item, HistoricValue):
                self.delivered.add(item.position, item.position)
            elif self.gaps.get((item.tag, item.why)) == item:  # else it grew meanwhile, and is said again
                del self.gaps[item.tag, item.why]
                self._store.note_gap(self, item)
        self._store.note(self)

    # -- what the store asks ------------------------------------------------------------------------------------------

    @property
    def horizon(self) -> int | None:
        """Up to here nothing can be said live any more; None where there is no such bound."""
        if not self.is_live:
            return 0
        held = [*self._waiting.values(), *self._handed.values(), *self._under_way]
        return min(held) - 1 if held else None

    def miss(self, gap: Gap) -> None:
        """It will not get these."""
        known = self.gaps.get((gap.tag, gap.why))
        self.gaps[gap.tag, gap.why] = gap if known is None else known.and_also(gap)

    def gaps_of(self, machines: Collection[str] | None) -> list[Gap]:
        """Its gaps, oldest first."""
        chosen = (gap for gap in self.gaps.values() if machines is None or gap.tag.partition(".")[0] in machines)
        return sorted(chosen, key=lambda gap: gap.position)
