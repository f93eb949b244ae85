"""Last writes: who wrote a set point last and what became of it, so that cyclic writers do no harm. No I/O.

Rules (design.md section 6)
1. The same value again from the same writer is answered from the last result, and not sent.
2. Where the set point reads something else by now, whoever made it so, the writer is told until it wants another value.
3. Nobody is told Good of a set point that is not known now; nor is it sent again, for it may come back as it was, or
   with the defaults of a machine that was restarted.
4. A write that failed is answered so for a while; then it is sent anew.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from bridge.commands.confirm import same
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from bridge.model.value import DataValue, Value

LIMIT = 10_000
"""Set points whose last writer is remembered, and writers of set points."""


READ_BACK = (Result.CONFIRMED, Result.CHANGED)
"""What says how the set point read when the write ended."""

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class LastWrite:
    """What a writer last wanted of a set point, and how that ended."""

    value: Value
    outcome: Outcome
    at: float
    """Monotonic."""

    @property
    def left(self) -> Value:
        """What the set point read then: what was asked, or what the machine took instead."""
        return self.outcome.actual if self.outcome.result is Result.CHANGED else self.value

    def answer(self, current: DataValue, shown: Value) -> Outcome:
        """What the same writer is told who wants the same again; Good only while the set point still reads so.

        `current` is the set point now, `shown` its value as a command would say it.
        """
        if self.outcome.result not in READ_BACK:
            return self.outcome
        if not current.status.is_good:
            sentence = f"Not sent again while the set point is not known: {current.reason or current.status.name}"
            return Outcome(Result.UNREACHED, StatusCode.BadNotConnected, sentence)
        if same(shown, self.left):
            return self.outcome
        when = current.source_timestamp.strftime("%H:%M:%S")
        sentence = f"It was changed at the machine to {shown} at {when}; write another value to set it again"
        return Outcome(Result.REJECTED, StatusCode.BadInvalidState, sentence, shown)


class LastWrites:
    """By set point, and by set point and writer; the oldest are forgotten."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, LastWrite] = OrderedDict()
        self._by_writer: OrderedDict[tuple[str, str], LastWrite] = OrderedDict()

    def put(self, set_point: str, writer: str, write: LastWrite) -> None:
        """A write has ended."""
        _keep(self._newest, set_point, write)
        _keep(self._by_writer, (set_point, writer), write)

    def repeated(self, set_point: str, writer: str, value: Value) -> LastWrite | None:
        """What this writer last wrote there, if it was the same and a later write of another's does not hide it."""
        last = self._by_writer.get((set_point, writer))
        if last is None or not same(value, last.value):
            return None
        return last if last.outcome.result in READ_BACK or last is self._newest.get(set_point) else None

    def newest(self, set_point: str) -> LastWrite | None:
        """What anybody last wrote there."""
        return self._newest.get(set_point)


def _keep(known: OrderedDict[_Key, LastWrite], key: _Key, write: LastWrite) -> None:
    known[key] = write
    known.move_to_end(key)
    if len(known) > LIMIT:
        known.popitem(last=False)
