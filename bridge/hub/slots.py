"""Slots: a stable integer per tag id, so that a value's place in the table is one list index."""

from __future__ import annotations


class Slots:
    """Gives each tag id its slot, once and for the life of the process.

    Bounded by `limit` ids ever seen: a plant that churns through more of them is misconfigured.
    """

    def __init__(self, limit: int = 1_000_000) -> None:
        self._slots: dict[str, int] = {}
        self._limit = limit

    def slot(self, tag_id: str) -> int:
        """The slot of this tag. Raises OverflowError when the limit is reached."""
        slot = self._slots.get(tag_id)
        if slot is None:
            if len(self._slots) >= self._limit:
                raise OverflowError(f"more than {self._limit} tags have been seen by this process")
            slot = self._slots[tag_id] = len(self._slots)
        return slot
