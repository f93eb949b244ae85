"""Recovery: what the journal keeps of an action, so that after a crash its fate can be read from the machine.

What may have been sent before the crash is never sent again, and what a recipe had not sent yet is not sent any more.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.commands import recipe
from bridge.commands.confirm import same
from bridge.commands.journal import State
from bridge.commands.masking import MASK, is_masked, is_secret
from bridge.commands.recipe import Part
from bridge.model.action import Action, Expectation
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.commands.entry import Entry
    from bridge.commands.job import Job
    from bridge.commands.journal import Journal
    from bridge.model.value import Value
    from bridge.ports import Clock, Executor

logger = logging.getLogger(__name__)


def written(job: Job) -> dict[str, Any]:
    """What is to be sent, as the journal keeps it; a recipe's items each with its set point."""
    if not job.is_recipe:
        return _written(job.items[0].action)
    items = zip(job.parts, job.items, job.olds, strict=True)
    return {"items": [_item(part, _written(item.action), old) for part, item, old in items]}


def _written(action: Action) -> dict[str, Any]:
    confirm = [[[e.path, e.value] for e in alternative] for alternative in action.confirm]
    return {
        "source": action.source,
        "machine": action.machine,
        "payload": action.payload,
        "confirm": confirm,
        "absolute": action.absolute,
    }


def _item(part: Part, action: dict[str, Any], old: Value) -> dict[str, Any]:
    if is_secret(part.name.rpartition("/")[2]):  # the journal masks by the command's own names, which are others
        return {**part._asdict(), **action, "value": MASK, "payload": MASK, "confirm": [], "old": MASK}
    return {**part._asdict(), **action, "old": old}


@dataclass(frozen=True, slots=True)
class _InFlight:
    """What may have been sent: the whole command, or one item of it."""

    action: Action
    old: Value
    is_readable: bool

    @classmethod
    def of(cls, kept: Mapping[str, Any], old: Value, *, is_masked: bool) -> _InFlight:
        """What the journal keeps."""
        confirm = tuple(tuple(Expectation(path, value) for path, value in one) for one in kept["confirm"])
        action = Action(kept["source"], kept["machine"], kept["payload"], confirm, absolute=bool(kept["absolute"]))
        return cls(action, old, bool(confirm) and not is_masked)


class Recovery:
    """Ends what a crash left unfinished: by reading, and what cannot be read is left to a person."""

    def __init__(
        self, journal: Journal, executors: Callable[[str], Executor | None], clock: Clock, within_s: float
    ) -> None:
        self._journal = journal
        self._executors = executors
        self._clock = clock
        self._within_s = within_s

    async def end(self, entry: Entry) -> None:
        """End one command."""
        if entry.state is State.ACCEPTED:
            sentence = "The bridge stopped before it was sent"
            outcome = Outcome(Result.UNREACHED, StatusCode.BadNotConnected, sentence)
        elif entry.action is not None and "items" in entry.action:
            outcome = await self._end_of_recipe(entry, entry.action["items"])
        else:
            kept = entry.action
            sent = None if kept is None else _InFlight.of(kept, entry.old, is_masked=not entry.is_action_whole)
            outcome = await self._fate(entry, sent)
        await self._journal.finish(entry.command.id, outcome, dead=outcome.result is Result.UNKNOWN)

    async def _end_of_recipe(self, entry: Entry, items: list[dict[str, Any]]) -> Outcome:
        parts = [Part(item["target"], item["name"], item["value"]) for item in items]
        begun = list(entry.items)
        kept = items[len(begun)]
        last = await self._fate(entry, _InFlight.of(kept, kept["old"], is_masked=is_masked(kept)))
        begun.append(parts[len(begun)].ended(last))
        if last.status.is_good and len(begun) < len(parts):
            last = Outcome(Result.UNREACHED, StatusCode.BadNotConnected, "The bridge stopped before it was sent")
            begun.append(parts[len(begun)].ended(last))
        return recipe.whole(parts, begun, last)

    async def _fate(self, entry: Entry, sent: _InFlight | None) -> Outcome:
        """What became of what may have been sent.

        The source connects only now, so this asks until it tells, or for `within_s`.
        """
        outcome = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "The bridge stopped while it was being sent")
        deadline = self._clock.monotonic() + self._within_s
        while sent is not None and sent.is_readable and outcome.result is Result.UNKNOWN:
            outcome = await self._read_back(entry, sent) or outcome
            if outcome.result is not Result.UNKNOWN or self._clock.monotonic() >= deadline:
                break
            await self._clock.sleep(min(1.0, self._within_s))
        return outcome

    async def _read_back(self, entry: Entry, sent: _InFlight) -> Outcome | None:
        """What the machine reads now says of it; None while nobody can be asked."""
        executor = self._executors(entry.lane[0])
        if executor is None:
            return None
        try:
            outcome = await executor.reconcile(sent.action)
        except Exception:
            logger.exception("Reconciling %s failed", entry.command.id)
            return None
        if outcome.result is Result.CHANGED and same(outcome.actual, sent.old):
            sentence = f"It had no effect: the machine still reads {outcome.actual}"
            return Outcome(Result.REFUSED, StatusCode.BadInvalidState, sentence, outcome.actual)
        return outcome
