"""Earlier: what the commands before one left a field reading, by the journal. Pure.

After a start a set point may be sent before its machine was read, and what it was before is not known. Then it is what
the last command of the same field and lane was seen to have made it.

Rules
1. Only what was read back counts, of a single field. One whose end nobody knows may have come to the machine at any
   time: then nothing is known.
2. It must have ended before this one was sent: what ended later may have been done after it.
3. What was not sent, or refused, left nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.commands.journal import State
from bridge.model.command import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.commands.entry import Entry
    from bridge.model.action import Action
    from bridge.model.value import Value

WITHOUT_EFFECT = (Result.REJECTED, Result.SUPERSEDED, Result.EXPIRED, Result.REFUSED, Result.UNREACHED)


def left_by_earlier(entry: Entry, sent: Action, others: Iterable[Entry]) -> Value:
    """What the field of `sent` read before, as the vendor says it; None where that is not known.

    Args:
        entry: whose fate is asked for; its newest step is the send, or the vendor's answer.
        sent: what may have been sent for it.
        others: of the journal, in any order, also rejected ones; `entry` itself is passed over.
    """
    fields = {one.path for alternative in sent.confirm for one in alternative}
    if len(fields) != 1:
        return None
    began = max((at for state, at, _ in entry.history if state is State.SENDING), default=entry.changed)
    setting = [one for one in others if one.position != entry.position and _may_have_set(one, entry, fields)]
    newest = max(setting, key=lambda one: (one.changed, one.position), default=None)
    if newest is None or newest.changed > began or newest.action is None or newest.outcome is None:
        return None
    confirm = newest.action.get("confirm", ())
    if len(confirm) != 1 or len(confirm[0]) != 1:
        return None
    asked: Value = confirm[0][0][1]
    return {Result.CONFIRMED: asked, Result.CHANGED: newest.outcome.actual}.get(newest.outcome.result)


def _may_have_set(one: Entry, entry: Entry, fields: set[str]) -> bool:
    if one.lane != entry.lane or one.action is None:
        return False
    if one.outcome is not None and not one.items and one.outcome.result in WITHOUT_EFFECT:
        return False
    return any(path in fields for action in one.action.get("items", [one.action]) for path in _paths(action))


def _paths(action: Mapping[str, Any]) -> Iterable[str]:
    return (path for alternative in action.get("confirm", ()) for path, _ in alternative)
