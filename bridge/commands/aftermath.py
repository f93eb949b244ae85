"""Aftermath: what a machine's reading says, after a crash, of a command that may have been sent. Pure.

Rules
1. That it reads as asked, whoever made it so, says that this command did it only where the vendor had said yes.
2. That it reads otherwise says nothing while the request may still be on its way.
3. That a set point reads a third value says nothing: somebody may have changed it, or the machine was restarted.
4. Some vendors know what became of a command by its id: that they refused it, or took it as too late, is its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.commands.confirm import same
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from bridge.model.value import Value


def aftermath(
    read: Outcome, old: Value, *, is_set_point: bool, absolute: bool, was_taken: bool, has_landed: bool
) -> Outcome | None:
    """How the command ended; None: ask again.

    Args:
        read: what `Executor.reconcile` gives.
        old: what the set point was before the command was sent; None where that is not known.
        is_set_point: it is the value of a set point that is read.
        absolute: doing it twice leaves the same state.
        was_taken: the vendor had said yes.
        has_landed: nothing can be on its way any more; what was taken has landed.
    """
    if read.result is Result.UNKNOWN:
        return None
    if read.result in (Result.CONFIRMED, Result.REFUSED, Result.EXPIRED):
        return read
    if read.result is Result.ACCEPTED:
        taken = Outcome(Result.CONFIRMED, StatusCode.Good, "The machine took it, and reads as asked")
        return taken if was_taken else _unknown(f"{read.sentence}: it may never have been sent")
    if not has_landed:
        return None
    if not absolute:
        return _unknown("The machine does not read as asked now: it was not done, or it is over by now")
    if not is_set_point or same(read.actual, old):
        now = "does not read as asked" if read.actual is None else f"reads {read.actual}"
        sentence = f"It has no effect: the machine {now}"
        return Outcome(Result.REFUSED, StatusCode.BadInvalidState, sentence, read.actual)
    if old is None:
        return _unknown(f"The machine reads {read.actual}, not what was asked, and what it read before is not known")
    return _unknown(f"The machine reads {read.actual}, which is neither what was asked nor what was before")


def _unknown(sentence: str) -> Outcome:
    return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, sentence)
