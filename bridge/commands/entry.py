"""Entry: what the journal knows of one command, and how that is JSON.

Types are kept: 1 is an integer and 1.0 a float; a datetime is {"$datetime": "2026-01-01T00:00:00+00:00"}, a float that
JSON has no number for {"$float": "nan"}, and an object one of whose keys begins with "$" is {"$object": {…}}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from math import isfinite
from types import EllipsisType
from typing import Any

from bridge.commands.masking import is_impersonal, is_masked
from bridge.model.command import Command, Door, ItemOutcome, Outcome, Result, Role
from bridge.model.status import StatusCode
from bridge.model.value import Value

MAX_HISTORY = 64
"""Steps kept of one command: the first and the newest. Only a command that is retried again and again has more."""


class State(Enum):
    """How far a command is."""

    ACCEPTED = "accepted"
    """Nothing was sent."""
    QUEUED = "queued"
    """A booking that is kept; nothing was sent."""
    SENDING = "sending"
    """It may have been sent."""
    ANSWERED = "answered"
    """The vendor answered; its effect is not known."""
    FINISHED = "finished"
    """It has its outcome."""
    DEAD = "dead"
    """A dead letter: a person must decide."""


Step = tuple[State, datetime, str]
"""A state, since when, and what there is to say about it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One command in the journal."""

    command: Command
    """Its secrets are masked."""
    machine: str
    lane: tuple[str, str]
    old: Value
    """What the set point was before it was accepted, and later: before it was sent."""
    state: State
    history: tuple[Step, ...]
    """Oldest first, never empty."""
    action: dict[str, Any] | None
    """What was to be sent, with its secrets masked."""
    outcome: Outcome | None
    position: int
    """Grows with each command; never given twice."""
    items: tuple[ItemOutcome, ...] = ()
    """Of a recipe: how those of its items ended that ended, in order."""

    @property
    def changed(self) -> datetime:
        """When it came to its state."""
        return self.history[-1][1]

    @property
    def is_rejected(self) -> bool:
        """It was recorded only; it never had an effect."""
        return self.history[0][0] is State.FINISHED

    @property
    def until(self) -> datetime | None:
        """Of a booking: until when it is kept."""
        return self._time("until")

    @property
    def edge(self) -> datetime | None:
        """What "now" means in it, where it has such an argument."""
        return self._time("edge")

    def _time(self, name: str) -> datetime | None:
        found = (self.action or {}).get(name)
        return found if isinstance(found, datetime) else None

    @property
    def is_masked(self) -> bool:
        """Secrets, or whom it was for, are missing from what was asked: it must not be sent from here."""
        given = self.command.arguments
        return is_masked(given) or is_impersonal(given) or not self.is_action_whole

    @property
    def is_action_whole(self) -> bool:
        """No secret is missing from what was sent. A person may be: nothing is confirmed by one."""
        return not is_masked(self.action)

    def then(
        self,
        state: State,
        at: datetime,
        detail: str,
        outcome: Outcome | None = None,
        items: tuple[ItemOutcome, ...] = (),
        old: Value | EllipsisType = ...,
    ) -> Entry:
        """The entry one step further; `old` where it is another by now."""
        history = (*self.history, (state, at, detail))
        if len(history) > MAX_HISTORY:
            history = (history[0], *history[2:])
        ended = (outcome.items if outcome else items) or self.items
        was = self.old if old is ... else old
        return replace(self, state=state, history=history, outcome=outcome or self.outcome, items=ended, old=was)


def encode_request(entry: Entry) -> str:
    """What of an entry never changes, as JSON. Raises TypeError or ValueError for what JSON cannot carry."""
    command = entry.command
    return _dump(
        {
            "id": command.id,
            "target": command.target,
            "arguments": pack(command.arguments),
            "door": command.door.value,
            "requester": command.requester,
            "issued": command.issued.isoformat(),
            "expires": command.expires.isoformat(),
            "role": command.role.value,
            "retained": command.retained,
            "user": command.user,
            "machine": entry.machine,
            "lane": entry.lane,
            "old": pack(entry.old),
            "action": pack(entry.action),
        }
    )


def encode_progress(entry: Entry) -> str:
    """What of an entry changes with each step, as JSON."""
    told: dict[str, Any] = {"history": [(state.value, at.isoformat(), detail) for state, at, detail in entry.history]}
    told["old"] = pack(entry.old)
    if entry.items:
        told["items"] = [_packed(item) for item in entry.items]
    outcome = entry.outcome
    if outcome is None:
        return _dump(told)
    return _dump(
        {
            **told,
            "result": outcome.result.value,
            "status": int(outcome.status),
            "sentence": outcome.sentence,
            "actual": pack(outcome.actual),
            "vendor_code": outcome.vendor_code,
            "vendor_text": outcome.vendor_text,
        }
    )


def decode(position: int, request: str, progress: str) -> Entry:
    """An entry from its JSON. Raises KeyError, TypeError or ValueError where it is not one."""
    told = json.loads(request)
    done = json.loads(progress)
    history = tuple((State(state), datetime.fromisoformat(at), detail) for state, at, detail in done["history"])
    source, machine = told["lane"]
    items = tuple(_item(item) for item in done.get("items", ()))
    return Entry(
        command=_command(told),
        machine=told["machine"],
        lane=(source, machine),
        old=unpack(done.get("old", told["old"])),
        state=history[-1][0],
        history=history,
        action=unpack(told["action"]),
        outcome=_outcome(done, items) if "result" in done else None,
        position=position,
        items=items,
    )


def _command(told: Mapping[str, Any]) -> Command:
    return Command(
        id=told["id"],
        target=told["target"],
        arguments=unpack(told["arguments"]),
        door=Door(told["door"]),
        requester=told["requester"],
        issued=datetime.fromisoformat(told["issued"]),
        expires=datetime.fromisoformat(told["expires"]),
        role=Role(told["role"]),
        retained=told["retained"],
        user=told.get("user", ""),
    )


def _packed(item: ItemOutcome) -> dict[str, Any]:
    return {
        "target": item.target,
        "value": pack(item.value),
        "result": item.result.value,
        "sentence": item.sentence,
        "actual": pack(item.actual),
    }


def _item(told: Mapping[str, Any]) -> ItemOutcome:
    value, actual = unpack(told["value"]), unpack(told["actual"])
    return ItemOutcome(told["target"], value, Result(told["result"]), told["sentence"], actual)


def _outcome(done: Mapping[str, Any], items: tuple[ItemOutcome, ...]) -> Outcome:
    return Outcome(
        result=Result(done["result"]),
        status=StatusCode(done["status"]),
        sentence=done["sentence"],
        actual=unpack(done["actual"]),
        vendor_code=done["vendor_code"],
        vendor_text=done["vendor_text"],
        items=items,
    )


def pack(value: Any) -> Any:
    """A value as JSON can carry it with its type. Raises TypeError for a key that is not a text."""
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, float) and not isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, Mapping):
        return _pack_mapping(value)
    if isinstance(value, list | tuple):
        return [pack(item) for item in value]
    return value


def _pack_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{key!r} cannot be a key in JSON")
    packed = {key: pack(item) for key, item in value.items()}
    return {"$object": packed} if any(key.startswith("$") for key in packed) else packed


def unpack(value: Any) -> Any:
    """What was packed; tuples are lists."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$datetime": text}:
            return datetime.fromisoformat(text)
        case {"$float": text}:
            return float(text)
        case {"$object": inner}:
            return {key: unpack(item) for key, item in inner.items()}
    return {key: unpack(item) for key, item in value.items()}


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
