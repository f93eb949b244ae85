"""Known: finished commands by heart, so that the same id again is the same command."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from bridge.commands.entry import Entry
    from bridge.model.command import Door

MAX_KNOWN = 20_000
"""Finished commands known by heart, of one door."""

MAX_REJECTIONS_KNOWN = 1_000
"""Rejected commands known by heart, of one door."""


class Known:
    """Finished commands, by door and whether they were only rejected: none drives another kind out."""

    def __init__(self, window: timedelta) -> None:
        self._window = window
        self._rooms: dict[tuple[bool, Door], OrderedDict[str, Entry]] = {}
        self.forgotten_total = 0
        """Commands forgotten before their time because there were too many."""

    def __len__(self) -> int:
        return sum(map(len, self._rooms.values()))

    def get(self, command_id: str, now: datetime) -> Entry | None:
        """The entry of this id, if it is young enough; a rejected one only where there is no other."""
        found: Entry | None = None
        for (rejected, _), room in self._rooms.items():
            entry = room.get(command_id)
            if entry is not None and now - entry.changed <= self._window and not (found and rejected):
                found = entry
        return found

    def put(self, entry: Entry) -> None:
        """Know an entry, newest last; what is too old goes. The first rejection of an id is the one that is known."""
        room = self._rooms.setdefault((entry.is_rejected, entry.command.door), OrderedDict())
        self._tidy(room, entry.changed)
        if entry.is_rejected and entry.command.id in room:
            return
        room[entry.command.id] = entry
        room.move_to_end(entry.command.id)
        if len(room) > (MAX_REJECTIONS_KNOWN if entry.is_rejected else MAX_KNOWN):
            room.popitem(last=False)
            self.forgotten_total += 1

    def _tidy(self, room: OrderedDict[str, Entry], now: datetime) -> None:
        while room and now - next(iter(room.values())).changed > self._window:
            room.popitem(last=False)
