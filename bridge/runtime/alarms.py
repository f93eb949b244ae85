"""Alarms: conditions made of alarm tags and of lost sources, with who has seen them; kept over a restart.

    table -> feed -> Boolean tags below Alarms/, Sources/<name>/Connected -> AlarmCondition -> event, alarms.json

Rules
1. The limits of one tag are one alarm, as severe as the outermost limit that is passed.
2. A tag without a value (lost, Bad) says nothing, nor a source that was just started: the alarm stays as it was.
3. What becomes active, or more severe, is to be acknowledged anew; what is inactive and acknowledged is forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from bridge.model.alarm import (
    ALARM_ACKNOWLEDGED,
    ALARM_ACTIVE,
    ALARM_COMMENTED,
    ALARM_INACTIVE,
    AlarmCondition,
    AlarmKind,
)
from bridge.model.connection import ConnectionState
from bridge.model.event import Event
from bridge.runtime.state_directory import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from bridge.hub.table import Table
    from bridge.model.plant import Machine, Plant
    from bridge.model.tag import Tag
    from bridge.ports import Clock

_log = logging.getLogger(__name__)

MAX_CONDITIONS: Final = 5000
"""Conditions that are active or not acknowledged; more are told as events only."""
MAX_COMMENT: Final = 500
MAX_NAME: Final = 120
SOURCE_SEVERITY: Final = 700
STATE: Final = "state"
_LEVELS: Final = {"low": "Low", "high": "High", "low_low": "LowLow", "high_high": "HighHigh"}
"""The inner limits first."""


@dataclass(frozen=True, slots=True)
class _Watch:
    """What makes one condition: the alarm tags, by limit."""

    id: str
    kind: AlarmKind
    machine: str
    name: str
    tag: str
    causes: Mapping[str, Tag]
    limits: Mapping[str, float] = field(default_factory=dict)

    def judge(self, read: Callable[[Tag], Any]) -> tuple[bool, str, int] | None:
        """Active, level and severity; None where nobody knows."""
        if self.kind is AlarmKind.SOURCE:
            connected, state = read(self.causes[""]).value, self.causes.get(STATE)
            if connected is None or (state is not None and read(state).value == ConnectionState.Waiting):
                return None
            return connected is False, "", SOURCE_SEVERITY
        values = {limit: read(tag).value for limit, tag in self.causes.items()}
        if None in values.values():
            return None
        passed = [limit for limit in ("", *_LEVELS) if values.get(limit) is True]
        if not passed:
            return False, "", 0
        alarm = self.causes[passed[-1]].definition.alarm
        return True, _LEVELS.get(passed[-1], ""), alarm.severity if alarm else 500

    def words(self, level: str) -> str:
        """What is wrong."""
        if self.kind is AlarmKind.SOURCE:
            return "it does not answer"
        cause = self.causes[next((limit for limit, word in _LEVELS.items() if word == level), "")]
        return cause.definition.description or "in alarm"


class AlarmKeeper:
    """All conditions. `run` is its task; `acknowledge` and `conditions` are for faces, on the same loop."""

    def __init__(self, path: Path, table: Table, clock: Clock, append_event: Callable[[Event], None]) -> None:
        self._path = path
        self._table = table
        self._clock = clock
        self._append_event = append_event
        self._conditions: dict[str, AlarmCondition] = {}
        self._beyond: dict[str, AlarmCondition] = {}
        """What is active and had no room: told once, as an event. As many as the plant has alarms."""
        self._by_slot: dict[int, _Watch] = {}
        self._unwritten = asyncio.Event()
        self._write: asyncio.Task[None] | None = None
        """What a thread writes now: it is waited for, since a thread cannot be cancelled."""

    @property
    def conditions(self) -> Sequence[AlarmCondition]:
        """What is active or not acknowledged."""
        return list(self._conditions.values())

    def metrics(self) -> dict[str, float]:
        """Gauges for the status page."""
        conditions = self._conditions.values()
        return {
            "alarms_active": sum(one.active for one in conditions),
            "alarms_unacknowledged": sum(not one.acked for one in conditions),
        }

    def load(self) -> None:
        """What was when the bridge stopped. A file that cannot be read is left aside."""
        try:
            found = [_condition(one) for one in orjson.loads(self._path.read_bytes())["conditions"]]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.error("The alarms of before cannot be read, and begin anew: %s", error)
            return
        self._conditions = {one.id: one for one in found}

    async def run(self) -> None:
        """Until cancelled; what is then is on disk."""
        writer = asyncio.create_task(self._write_forever(), name="alarms: writer")
        try:
            with self._table.subscribe("alarms") as feed:
                async for batch in feed:
                    if batch.change is not None:
                        self._by_slot = {tag.slot: one for one in _watches(batch.plant) for tag in one.causes.values()}
                        self._forget_what_is_gone()
                    moved = {one.id: one for slot in batch.values if (one := self._by_slot.get(slot))}
                    for watch in moved.values():
                        self._look(watch)
        finally:
            writer.cancel()
            await asyncio.wait({writer, self._write} if self._write else {writer})
            self._save()

    def _forget_what_is_gone(self) -> None:
        here = {watch.id for watch in self._by_slot.values()}
        for condition in (*self.conditions, *self._beyond.values()):
            if condition.id not in here and condition.active:
                self._end(condition, "it is not there any more")

    def _look(self, watch: _Watch) -> None:
        judged = watch.judge(self._table.read)
        if judged is None:
            return
        self._let_in(watch.id)
        before = self._conditions.get(watch.id) or self._beyond.get(watch.id)
        active, level, severity = judged
        if not active:
            if before is not None and before.active:
                self._end(before, "normal again")
        elif before is None or not before.active or before.level != level:
            self._begin(watch, level, severity, before)

    def _let_in(self, identifier: str) -> None:
        """There is room for it by now."""
        if identifier in self._beyond and len(self._conditions) < MAX_CONDITIONS:
            self._conditions[identifier] = self._beyond.pop(identifier)
            self._unwritten.set()

    def _begin(self, watch: _Watch, level: str, severity: int, before: AlarmCondition | None) -> None:
        now = self._clock.now()
        after = AlarmCondition(
            watch.id, watch.kind, watch.machine, watch.name, watch.tag, True, level, False, severity, now, "", ""
        )
        after = replace(after, limits=watch.limits)
        if before is not None:
            last = before.last_severity if before.severity == severity else before.severity
            kept = {key: getattr(before, key) for key in ("comment", "commented_by", "commented")}
            after = replace(after, last_severity=last, **kept)
        if before is not None and before.active and severity <= before.severity:
            seen = {key: getattr(before, key) for key in ("acked", "acked_by", "raised")}
            after = replace(after, **seen)
        self._tell(after, ALARM_ACTIVE, watch.words(level))

    def _end(self, before: AlarmCondition, words: str) -> None:
        self._tell(replace(before, active=False, level="", since=self._clock.now()), ALARM_INACTIVE, words)

    def acknowledge(self, identifier: str, by: str, comment: str | None) -> bool:
        """Somebody has seen it; False where there is nothing to acknowledge. None: the comment stays as it is."""
        condition = self._conditions.get(identifier)
        if condition is None or condition.acked:
            return False
        after = replace(condition, acked=True, acked_by=by[:MAX_NAME])
        if comment is not None:
            after = self._with(after, by, comment)
        self._tell(after, ALARM_ACKNOWLEDGED, f"acknowledged by {by[:MAX_NAME]}")
        return True

    def comment(self, identifier: str, by: str, comment: str) -> bool:
        """Somebody says something about it; False where there is no such alarm now."""
        condition = self._conditions.get(identifier)
        if condition is None:
            return False
        self._tell(self._with(condition, by, comment), ALARM_COMMENTED, f"a comment by {by[:MAX_NAME]}")
        return True

    def _with(self, condition: AlarmCondition, by: str, comment: str) -> AlarmCondition:
        now = self._clock.now()
        return replace(condition, comment=comment[:MAX_COMMENT], commented_by=by[:MAX_NAME], commented=now)

    def _tell(self, condition: AlarmCondition, kind: str, words: str) -> None:
        told = replace(condition, message=f"{condition.name}: {words}", event=f"alarm:{uuid.uuid4()}")
        if kind == ALARM_ACTIVE and not told.acked:
            told = replace(told, raised=told.event)
        self._beyond.pop(told.id, None)
        if not told.retain:
            self._conditions.pop(told.id, None)
        elif told.id in self._conditions or len(self._conditions) < MAX_CONDITIONS:
            self._conditions[told.id] = told
        elif told.active:
            self._beyond[told.id] = told
        source = told.id.split(".")[2] if told.kind is AlarmKind.SOURCE else ""
        severity = told.severity if kind == ALARM_ACTIVE else 100
        now = self._clock.now()
        self._append_event(Event(told.event, kind, now, told.message, severity, source, told.machine, told.data()))
        self._unwritten.set()

    async def _write_forever(self) -> None:
        while True:
            await self._unwritten.wait()
            self._unwritten.clear()
            document = self._document()
            self._write = asyncio.create_task(asyncio.to_thread(write_atomically, self._path, document), name="alarms")
            try:
                await asyncio.shield(self._write)
            except OSError as error:
                _log.error("The alarms cannot be kept: %s", error)
            await self._clock.sleep(1.0)

    def _save(self) -> None:
        try:
            if self._unwritten.is_set() or self._path.exists():
                write_atomically(self._path, self._document())
        except OSError as error:
            _log.error("The alarms cannot be kept: %s", error)

    def _document(self) -> bytes:
        return orjson.dumps({"version": 1, "conditions": [asdict(one) for one in self._conditions.values()]})


def _condition(fields: dict[str, Any]) -> AlarmCondition:
    return AlarmCondition(
        **{
            **fields,
            "kind": AlarmKind(fields["kind"]),
            "since": datetime.fromisoformat(fields["since"]),
            "commented": datetime.fromisoformat(fields["commented"]) if fields.get("commented") else None,
        }
    )


def _watches(plant: Plant) -> Iterable[_Watch]:
    for machine in plant.machines.values():
        yield from _of_machine(machine)
    for tag in plant.bridge.tags:
        group, _, rest = tag.name.partition("/")
        name, _, word = rest.partition("/")
        if group == "Sources" and word == "Connected":
            about = f"Source {name}"
            state = plant.bridge.tag(f"Sources/{name}/State")
            causes = {"": tag} if state is None else {"": tag, STATE: state}
            yield _Watch(f"{plant.bridge.id}.Sources.{name}.Alarm", AlarmKind.SOURCE, "", about, tag.id, causes)


def _of_machine(machine: Machine) -> Iterable[_Watch]:
    limits: dict[str, dict[str, Tag]] = {}
    for tag in machine.tags:
        alarm = tag.definition.alarm
        if alarm is None:
            continue
        if alarm.limit:
            limits.setdefault(alarm.of, {})[alarm.limit] = tag
        else:
            judged = machine.tag(alarm.of) or tag
            name = judged.definition.display_name
            yield _Watch(f"{tag.id}.Alarm", AlarmKind.STATE, machine.id, name, judged.id, {"": tag})
    for of, causes in limits.items():
        judged = machine.tag(of) or next(iter(causes.values()))
        name = judged.definition.display_name
        given = judged.definition.limits
        values = {key: value for key, value in given._asdict().items() if value is not None} if given else {}
        yield _Watch(f"{judged.id}.Alarm", AlarmKind.LIMIT, machine.id, name, judged.id, causes, values)
