"""Backfill: what tags with `history: true` were while no host heard it, as historical metrics (facts 5.10).

    births, data -> said -> (arrived at the broker) -> acknowledged
    history -> read, of born devices -> publisher (DDATA, is_historical) -> (arrived) -> acknowledged

A gap is a historical null with Quality 0 at the time of the first value that is missing: historians break the line.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.model.history import Gap
from bridge.model.status import StatusCode
from bridge.model.value import bad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bridge.model.history import HistoricValue
    from bridge.model.value import DataValue
    from bridge.northbound.sparkplug.session import Session
    from bridge.ports import Clock, HistoryReader, TagView
    from bridge.transport.mqtt import Link

    Items = Sequence[HistoricValue | Gap]
    Past = list[tuple[int, DataValue]]

CONFIRM_S = 1.0
"""Live values are acknowledged together, once in this time at most."""
MAX_READ = 500
"""Values in one message at most: decoders have bounds as well."""


class Backfill:
    """What is owed to the hosts of one session after another.

    Args:
        reader: this node's reader of the history.
        session: who is born.
        clock: time.
        view: the plant.
        rate: values of the past in a second, at most.
        interval_s: seconds between two messages of a device.
    """

    def __init__(
        self, reader: HistoryReader, session: Session, clock: Clock, view: TagView, rate: float, interval_s: float
    ) -> None:
        self._reader = reader
        self._session = session
        self._clock = clock
        self._view = view
        self._rate = rate
        self._interval_s = interval_s
        self._said: list[int] = []
        self._wake = asyncio.Event()
        self._births = asyncio.Event()
        self.values_total = 0
        self.gaps_total = 0

    # -- what the publisher says live ---------------------------------------------------------------------------------

    def born(self, slots: Iterable[int]) -> None:
        """A birth says the current values of these tags."""
        self._reader.hand_current(slots)
        self._births.set()

    def unsaid(self, slots: Iterable[int]) -> None:
        """These came, and nobody may be told: births are due, or the device is dead."""
        self._reader.put_back(slots)

    def note_said(self) -> None:
        """All else that came was published."""
        said = self._reader.said()
        if said:
            self._said += said
            self._wake.set()

    # -- what it does itself ------------------------------------------------------------------------------------------

    def begin_session(self) -> None:
        """What was said in the last one, and not acknowledged, is owed."""
        self._said.clear()
        self._wake.clear()
        self._reader.abandon()

    async def confirm(self, link: Link) -> None:
        """Acknowledge what was said live when the broker has it. DATA has QoS 0: no answer of its own."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            said, self._said = self._said, []
            await link.arrived()
            self._reader.acknowledge(said)
            await self._clock.sleep(CONFIRM_S)

    async def publish(self, link: Link, say: Callable[[str, Past], bool]) -> None:
        """Say what is owed, by device and in order of time; `say` tells whether it may be said now."""
        limit = max(1, min(int(self._rate * self._interval_s), MAX_READ))
        while True:
            items = await self._read(limit)
            said = self._say(items, say)
            await link.drain()
            if said:
                await link.arrived()
                self._reader.acknowledge_read(said)
            await self._clock.sleep(max(len(items) / self._rate, self._interval_s if len(items) < limit else 0))

    async def _read(self, limit: int) -> Items:
        """What is owed of the devices that are born now; of those born meanwhile as well."""
        while True:
            self._births.clear()
            reading = asyncio.ensure_future(self._reader.read(limit, self._session.born))
            births = asyncio.ensure_future(self._births.wait())
            try:
                await asyncio.wait({reading, births}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiting in (reading, births):
                    waiting.cancel()
                await asyncio.wait({reading, births})
            if not reading.cancelled():
                return reading.result()

    def _say(self, items: Items, say: Callable[[str, Past], bool]) -> list[HistoricValue | Gap]:
        """Those that were said, or never can be: their tag is gone."""
        by_device: dict[str, tuple[Past, list[HistoricValue | Gap]]] = {}
        done: list[HistoricValue | Gap] = []
        plant = self._view.plant
        for item in items:
            tag = plant.find(item.tag)
            if tag is None:
                done.append(item)
                continue
            past, told = by_device.setdefault(tag.machine, ([], []))
            past.append((tag.slot, _missing(item) if isinstance(item, Gap) else item.value))
            told.append(item)
        for device_id, (past, told) in by_device.items():
            past.sort(key=lambda pair: pair[1].source_timestamp)
            if say(device_id, past):
                done += told
                gaps = sum(isinstance(item, Gap) for item in told)
                self.gaps_total += gaps
                self.values_total += len(told) - gaps
        return done


def _missing(gap: Gap) -> DataValue:
    return bad(StatusCode.BadNoData, gap.why, gap.first)
