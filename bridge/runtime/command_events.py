"""How commands ended, as events: who asked for what, by which door, with which result (OPC UA's audit).

The journal keeps every command; the log of events is read by people and must not be filled by one PLC that writes ten
times a second. So what is like the one before, for the same requester and target, is counted for a while and told with
the next.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from bridge.commands.masking import Secrets
from bridge.model.command import Result
from bridge.model.email import without_emails
from bridge.model.event import Event
from bridge.runtime.at_machine import CLAIMED

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.model.command import Command, Outcome
    from bridge.ports import Clock

PAUSE_S: Final = 1.0
"""Between two events of commands that were done."""
FAILED_PAUSE_S: Final = 60.0
"""Between two events of commands that were not: a cyclic writer tries for ever."""
MAX_KNOWN: Final = 1000

_Key = tuple[str, str, Result]


class CommandEvents:
    """Tells how commands ended."""

    def __init__(self, clock: Clock, append_event: Callable[[Event], None]) -> None:
        self._clock = clock
        self._append_event = append_event
        self._told: OrderedDict[_Key, tuple[float, int]] = OrderedDict()
        """When the last one was told, and how many like it were not told since."""

    def tell(self, command: Command, machine: str, outcome: Outcome) -> None:
        """A command ended; `machine` is "" where its target is of none."""
        key = (command.target, command.requester, outcome.result)
        now, pause = self._clock.monotonic(), PAUSE_S if outcome.status.is_good else FAILED_PAUSE_S
        at, unsaid = self._told.get(key, (now - pause, 0))
        if now - at < pause:
            self._told[key] = (at, unsaid + 1)
            return
        self._told[key] = (now, 0)
        self._told.move_to_end(key)
        if len(self._told) > MAX_KNOWN:
            self._told.popitem(last=False)
        self._append_event(self._event(command, machine, outcome, unsaid))

    def _event(self, command: Command, machine: str, outcome: Outcome, unsaid: int) -> Event:
        secrets = Secrets(command)
        command, outcome, now = secrets.command(command), secrets.outcome(outcome), self._clock.now()
        who = without_emails(command.requester)
        by = f"claimed {who}" if command.door in CLAIMED else who
        requested = without_emails(", ".join(f"{name}={value}" for name, value in command.arguments.items()))[:254]
        sentence = without_emails(outcome.sentence)
        data = {
            "id": command.id,
            "target": command.target,
            "requested": requested,
            "requester": by,
            "door": command.door.value,
            "role": command.role.value,
            "result": outcome.result.value,
            "status": outcome.status.name,
            "done": outcome.status.is_good,
            "sentence": sentence,
            "like_it_before": unsaid,
        }
        asked = f"{command.target} ({requested})" if requested else command.target
        message = f"{by}: {asked}: {outcome.result.value}{f': {sentence}' if sentence else ''}"
        identifier = f"command:{command.id}:{outcome.result.value}"
        severity = 300 if outcome.status.is_good else 700 if outcome.result is Result.UNKNOWN else 500
        return Event(identifier, "CommandEnded", now, message[:1000], severity, "", machine, data)
