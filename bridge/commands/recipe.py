"""How a recipe ended: one answer made of its items' answers. Pure.

Where every item is done it is the weakest of what they say (confirmed, changed, accepted). Where one is not, it has
that one's result and status, and what comes after that was not sent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from bridge.commands.check import TEXT_LIMIT
from bridge.model.command import ItemOutcome, Outcome, Result
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.model.tag import Tag
    from bridge.model.value import Value

_WEAKNESS = {
    Result.CONFIRMED: (0, StatusCode.Good),
    Result.CHANGED: (1, StatusCode.GoodClamped),
    Result.ACCEPTED: (2, StatusCode.GoodCompletesAsynchronously),
    Result.QUEUED: (3, StatusCode.GoodCompletesAsynchronously),
}
"""What done items say of the whole, the weakest last."""

_SENT = (Result.REFUSED, Result.UNKNOWN)
"""What stopped a recipe after it was sent; every other result says that it was not."""


class Part(NamedTuple):
    """One item of a recipe, as a person reads it."""

    target: str
    """Tag id."""
    name: str
    """Tag name."""
    value: Value

    @classmethod
    def of(cls, tag: Tag, value: Value) -> Part:
        """The set point and what it is set to."""
        return cls(tag.id, tag.name, value)

    def ended(self, outcome: Outcome) -> ItemOutcome:
        """How it ended."""
        return ItemOutcome(self.target, self.value, outcome.result, outcome.sentence, outcome.actual)


def place(parts: Sequence[Part], index: int) -> str:
    """Which item it is: "2 of 4 Setpoints/ScrewSpeed"."""
    return f"{index + 1} of {len(parts)} {parts[index].name}"


def whole(parts: Sequence[Part], begun: Sequence[ItemOutcome], last: Outcome) -> Outcome:
    """The outcome of a recipe.

    Args:
        parts: all its items.
        begun: how those ended that were begun, at least one; all of them are Good but for the last.
        last: the outcome of the last one begun. Where it is Good, every item was begun.
    """
    if last.status.is_good:
        return _done(parts, begun, last)
    index = len(begun) - 1
    left = len(parts) - index - (last.result in _SENT)
    stop = f"Not sent: {place(parts, index)} stopped the recipe"
    unsent = [ItemOutcome(part.target, part.value, Result.UNREACHED, stop) for part in parts[len(begun) :]]
    head = f"Item {index + 1} of {len(parts)} ({parts[index].name}): "
    sentence = _fitted(head, last.sentence, f"; {index} done, {left} not sent")
    return replace(last, sentence=sentence, actual=None, items=(*begun, *unsent))


def refused(parts: Sequence[Part], index: int, refusal: Outcome) -> Outcome:
    """The outcome of a recipe one of whose items must not be sent: none of them is."""
    head = f"Item {index + 1} of {len(parts)} ({parts[index].name}): "
    return replace(refusal, sentence=_fitted(head, refusal.sentence, "; nothing was sent"))


def _done(parts: Sequence[Part], begun: Sequence[ItemOutcome], last: Outcome) -> Outcome:
    result = max((item.result for item in begun), key=lambda one: _WEAKNESS[one][0])
    head = f"All {len(parts)} set points are as asked"
    if result is not Result.CONFIRMED:
        others = [
            f"{part.name}: {item.sentence}"
            for part, item in zip(parts, begun, strict=True)
            if item.result is not Result.CONFIRMED
        ]
        head = _fitted(f"All {len(parts)} done; ", "; ".join(others), "")
    status = _WEAKNESS[result][1]
    return Outcome(result, status, head, None, last.vendor_code, last.vendor_text, tuple(begun))


def _fitted(head: str, words: str, tail: str) -> str:
    """A sentence whose end is not lost where a PLC's STRING cuts it; the items keep every word."""
    room = TEXT_LIMIT - len(f"{head}{tail}".encode())
    if len(words.encode()) > room:
        words = words.encode()[: max(0, room - len(" …".encode()))].decode("utf-8", "ignore") + " …"
    return f"{head}{words}{tail}"
