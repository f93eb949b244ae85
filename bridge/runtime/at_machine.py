"""What happens to set points at the machine itself, and the last command of each machine, on every face.

A set point that changes without a command of ours was changed at the machine: an event tells everybody. A machine that
comes back from a loss with other set points than before was restarted: one event lists what was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.commands.masking import Secrets
from bridge.mapping.machine import LAST_COMMAND
from bridge.model.command import Door
from bridge.model.connection import ConnectionState
from bridge.model.email import without_emails
from bridge.model.event import Event
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from bridge.model.command import Command, Outcome
    from bridge.model.plant import Machine
    from bridge.model.tag import Tag
    from bridge.ports import Clock

GROUP = "Setpoints"
CLAIMED = (Door.SPARKPLUG, Door.UNS)
"""Doors that carry no proof of who is there."""


class SetPointWatch:
    """Remembers each machine's set points as they were last Good, and tells what changed without us."""

    def __init__(
        self,
        clock: Clock,
        append_event: Callable[[Event], None],
        is_own: Callable[[str, Value], bool],
    ) -> None:
        self._clock = clock
        self._append_event = append_event
        self._is_own = is_own
        self._known: dict[str, dict[str, Value]] = {}
        self._lost: set[str] = set()
        self._tags: dict[str, tuple[Machine, dict[int, Tag]]] = {}
        self._number = 0

    def lose(self, machine: str) -> None:
        """The machine was lost: what differs when it returns was lost with it."""
        self._lost.add(machine)

    def look(self, machine: Machine, pairs: Sequence[tuple[int, DataValue]], state: ConnectionState) -> None:
        """Values of a machine that have just changed."""
        tags = self._set_points(machine)
        known = self._known.setdefault(machine.id, {})
        moved: dict[str, tuple[Value, Value]] = {}
        for slot, value in pairs:
            tag = tags.get(slot)
            if tag is None or not value.status.is_good:
                continue
            before = known.get(tag.id)
            if before is not None and before != value.value and not self._is_own(tag.id, _said(tag, value.value)):
                moved[tag.id] = (_said(tag, before), _said(tag, value.value))
            known[tag.id] = value.value
        if moved:
            self._tell(machine.id, moved)
        if state is ConnectionState.Connected:
            self._lost.discard(machine.id)

    def _set_points(self, machine: Machine) -> dict[int, Tag]:
        cached = self._tags.get(machine.id)
        if cached is None or cached[0] is not machine:
            texts = {f"{tag.name}Text" for tag in machine.tags if tag.definition.enumeration}
            chosen = {tag.slot: tag for tag in machine.tags if tag.group == GROUP and tag.name not in texts}
            cached = self._tags[machine.id] = (machine, chosen)
        return cached[1]

    def _tell(self, machine: str, moved: dict[str, tuple[Value, Value]]) -> None:
        if machine in self._lost:
            listed = ", ".join(f"{tag} was {before}, is {after}" for tag, (before, after) in moved.items())
            data = {tag: str(before) for tag, (before, _) in moved.items()}
            self._event("MachineRestartedToDefaults", machine, f"Set points were lost: {listed}", 700, data)
            return
        for tag, (before, after) in moved.items():
            data = {"tag": tag, "before": str(before), "after": str(after)}
            self._event("SetpointChangedAtMachine", machine, f"{tag} was {before}, is {after}", 300, data)

    def _event(self, kind: str, machine: str, message: str, severity: int, data: dict[str, str]) -> None:
        now = self._clock.now()
        self._number += 1
        identifier = f"{now.isoformat()}-{kind}-{machine}-{self._number}"
        self._append_event(Event(identifier, kind, now, message[:1000], severity, "", machine, dict(data)))


def last_command_pairs(
    machine: Machine, command: Command, outcome: Outcome, at: datetime
) -> list[tuple[int, DataValue]]:
    """Commands/Last/* after a command ended: what the journal would show of it."""
    secrets = Secrets(command)
    command, outcome = secrets.command(command), secrets.outcome(outcome)
    who = without_emails(command.requester)  # everybody may read it
    by = f"claimed {who}" if command.door in CLAIMED else who
    asked = ", ".join(f"{name}={value}" for name, value in command.arguments.items())
    values: dict[str, Value] = {
        "At": at,
        "By": f"{by} ({command.door.value})",
        "Target": command.target,
        "Requested": asked[:254],
        "Outcome": outcome.result.value,
        "Sentence": outcome.sentence[:254],
    }
    return [
        (tag.slot, DataValue(value, StatusCode.Good, at, at))
        for name, value in values.items()
        if (tag := machine.tag(f"{LAST_COMMAND}/{name}")) is not None
    ]


def _said(tag: Tag, value: Value) -> Value:
    """A set point's value as a command would say it: an enum's text for its number."""
    enumeration = tag.definition.enumeration
    if enumeration:
        return next((text for text, number in enumeration.items() if number == value), value)
    return value
