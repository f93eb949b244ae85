"""A machine at run time: its parts, what they last said, and how they stand with their sources.

observation -> PartState -> projection -> pairs -> table
condition   -> PartState -> pairs (overlay) -> table
tick        -> freshness -> pairs (overlay) -> table
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.hub.table import WAITING
from bridge.mapping.compile import ALARM_COUNT, ITEM_STATES
from bridge.mapping.schema import ChannelRule
from bridge.model.connection import ConnectionState
from bridge.model.plant import ALIVE, ITEM_STATE, PENDING_BOOKINGS
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, Value, bad
from bridge.runtime.alarm_delay import AlarmDelay
from bridge.runtime.drift import LOOK_EVERY_S
from bridge.runtime.freshness import ChannelWatch, Phase, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from bridge.hub.table import Table
    from bridge.mapping.machine import BoundMachine
    from bridge.mapping.projection import PartProjection
    from bridge.model.observation import Condition, Observation
    from bridge.model.plant import Machine, Part
    from bridge.model.tag import Tag
    from bridge.ports import Clock

Pairs = list[tuple[int, DataValue]]

_STATES = {
    StatusCode.BadConfigurationError: ConnectionState.Refused,
    StatusCode.BadDeviceFailure: ConnectionState.Failed,
}

SILENT_ADVICE = "The connection is open but silent: look at the machine's own panel"


class PartState:
    """One part: its channels' freshness and its Connection tags."""

    def __init__(
        self,
        machine: Machine,
        part: Part,
        projection: PartProjection | None,
        table: Table,
        clock: Clock,
        former: PartState | None = None,
    ) -> None:
        self.part = part
        self.projection = projection
        self._table = table
        self._clock = clock
        rules = projection.mapping.channels if projection else {}
        channels = projection.channels if projection else frozenset[str]()
        self._watches = {name: ChannelWatch(name, rules.get(name, ChannelRule())) for name in (*rules, *channels)}
        if former is not None:
            self._watches.update(former.heirs(self._watches))
        self._kept_alive = {
            name: [watch for watch in self._watches.values() if watch.rule.alive_by == name] for name in self._watches
        }
        self._slots = {
            word: tag.slot
            for word in ("State", "StateText", "Reason", "Since", "Advice", "LastUpdate", "Age")
            if (tag := machine.tag(f"Connection/{part.name}/{word}"))
        }
        item_state = machine.tag(ITEM_STATE)
        self._item_state_slot = item_state.slot if item_state else None
        self.state = ConnectionState.Waiting
        self.reason = "Nothing has been heard yet"
        self.since = clock.now()
        self.advice = ""
        self.last_update: datetime | None = None
        self._last_heard: float | None = None
        self.last: dict[str, Observation] = {}
        """What each channel said last, as it came: a recording begins with it."""
        self._failed = False
        self.look: Callable[[Observation], None] = lambda observation: None
        """Told of a payload now and then: does it look as it did?"""
        self.advice_when_silent = ""
        """Where its source says why less is heard than usual."""
        if former is not None:
            self._take_over(former)

    def _take_over(self, former: PartState) -> None:
        """Go on where the part that was fed from the same address stood: a vendor does not say everything again."""
        self._enter(former.state, former.reason, former.since, former.advice)
        self.last_update, self._last_heard, self._failed = former.last_update, former._last_heard, former._failed
        self.advice_when_silent = former.advice_when_silent
        self.last = {channel: heard for channel, heard in former.last.items() if channel in self._watches}
        if self.projection is not None and former.projection is not None:
            self.projection.remember(former.projection)

    def heirs(self, watches: Mapping[str, ChannelWatch]) -> dict[str, ChannelWatch]:
        """How the channels stand, by name and under the rules of these watches."""
        return {name: self._watches[name].heir(watch.rule) for name, watch in watches.items() if name in self._watches}

    def watch(self, channel: str) -> ChannelWatch | None:
        """How a channel stands."""
        return self._watches.get(channel)

    @property
    def is_alive(self) -> bool:
        """Values flow, or did until a moment ago."""
        return any(watch.phase in (Phase.FRESH, Phase.SILENT, Phase.LOST) for watch in self._watches.values())

    def begin(self) -> Pairs:
        """All tags as they are at first: what was heard before this mapping was there, seen through it."""
        pairs = self._connection_pairs()
        return pairs if self.projection is None else [*pairs, *self._first_values(self.projection)]

    def _first_values(self, projection: PartProjection) -> Pairs:
        wall = self._clock.now()
        waiting = bad(StatusCode.BadWaitingForInitialData, WAITING, wall)
        values = dict.fromkeys(projection.slots(), waiting)
        quiet = (slot for each in projection.each for slot in each.quiet_slots())
        values.update((slot, current) for slot in quiet if (current := self._table.get(slot)))
        for watch in sorted(self._watches.values(), key=lambda watch: watch.verdict is None):
            own = set(projection.slots(watch.name))
            values.update(pair for pair in projection.restate(watch.name, wall) if pair[0] in own)
            if watch.verdict is not None:
                values.update(self._overlay(watch, watch.verdict, wall, values.get))
        return list(values.items())

    def observe(self, observation: Observation) -> Pairs:
        """What an observation changes."""
        now = self._clock.monotonic()
        watch = self._watches.get(observation.channel)
        if self.projection is None or watch is None:
            return []
        for each in self.projection.each:
            each.now = now
        pairs: Pairs = []
        if watch.hear(now, observation.period):
            self.projection.resume(observation.channel)
        pairs.extend(self.projection.project(observation))
        for other in self._kept_alive[observation.channel]:
            if other.stay_alive(now):
                pairs.extend(self.projection.restate(other.name, observation.received))
        if now >= watch.look_at:
            watch.look_at = now + LOOK_EVERY_S
            self.look(observation)
        self.last_update, self._last_heard = observation.received, now
        self.last[observation.channel] = observation
        if self.state is not ConnectionState.Connected and self._all_heard():
            self._failed = False
            self._enter(ConnectionState.Connected, "", observation.received, "")
            pairs.extend(self._connection_pairs())
        return pairs

    def late(self, observation: Observation) -> Pairs:
        """What a historical observation says: it moves nothing, and is no sign of life."""
        return [] if self.projection is None else list(self.projection.late(observation))

    def _all_heard(self) -> bool:
        """No channel is still lost; one that has never spoken does not count."""
        lost = (Phase.LOST, Phase.GONE)
        return not any(watch.phase in lost and watch.heard is not None for watch in self._watches.values())

    def condition(self, condition: Condition, state: ConnectionState | None = None) -> Pairs:
        """What a condition does to the tags of the channels it concerns; `state` where its status does not tell it."""
        now, wall = self._clock.monotonic(), self._clock.now()
        state = state or _STATES.get(condition.status, ConnectionState.Lost)
        self._failed = state is ConnectionState.Failed
        pairs: Pairs = []
        for watch in self._watches.values():
            if condition.channel in (None, watch.name):
                verdict = watch.lose(condition, now)
                pairs.extend(self._overlay(watch, verdict, wall) if verdict else ())
        if (state, condition.reason) != (self.state, self.reason):
            since = self.since if state is self.state else condition.since
            self._enter(state, condition.reason, since, condition.advice)
            pairs.extend(self._connection_pairs())
        return pairs

    def tick(self) -> Pairs:
        """What the passing of time does."""
        now, wall = self._clock.monotonic(), self._clock.now()
        pairs: Pairs = []
        for watch in self._watches.values():
            keeper = self._watches.get(watch.rule.alive_by or "")
            limit = (keeper.stale_after, keeper.bad_after) if keeper and watch.period is None else None
            verdict = watch.judge(now, wall, limit)
            if verdict is not None:
                pairs.extend(self._overlay(watch, verdict, wall))
                if self.state is ConnectionState.Connected:
                    advice = self.advice_when_silent or SILENT_ADVICE
                    self._enter(ConnectionState.Silent, verdict.reason, wall, advice)
                    pairs.extend(self._connection_pairs())
        pairs.extend(self._silence_pairs(now, wall))
        pairs.extend(self._age_pairs(now, wall))
        return pairs

    def _silence_pairs(self, now: float, wall: datetime) -> Pairs:
        """Tags of rows that are not seen any more, while their channel goes on with others."""
        pairs: Pairs = []
        for each in self.projection.each if self.projection else ():
            watch = self._watches[each.channel]
            if watch.phase is not Phase.FRESH:
                continue
            rule = each.spec.rule
            for silence in each.silent(now, rule.stale_after or watch.stale_after, rule.bad_after or watch.bad_after):
                status = StatusCode.BadNoCommunication if silence.is_bad else StatusCode.UncertainLastUsableValue
                verdict = Verdict(status, f"The vendor has not told this value for {silence.seconds:.0f} s", wall)
                known = ((slot, self._table.get(slot)) for slot in silence.slots)
                pairs.extend((slot, _worsened(current, verdict, wall)) for slot, current in known if current)
        return pairs

    def is_ripe(self) -> bool:
        """Rows have asked for tags, and these have been collected for long enough."""
        if self.projection is None or not self.projection.each:
            return False
        now = self._clock.monotonic()
        for each in self.projection.each:
            each.now = now
        return any(each.is_ripe() for each in self.projection.each)

    def flush(self) -> Pairs:
        """First values of the tags that were made for rows."""
        pairs: Pairs = []
        for each in self.projection.each if self.projection else ():
            each.flush(pairs)
        return pairs

    def _overlay(
        self,
        watch: ChannelWatch,
        verdict: Verdict,
        wall: datetime,
        value_of: Callable[[int], DataValue | None] | None = None,
    ) -> Pairs:
        if self.projection is None:
            return []
        self.projection.suspend(watch.name)
        return [
            (slot, self._item_state(current, verdict, wall) if slot == self._item_state_slot else worse)
            for slot in self.projection.slots(watch.name)
            if (current := (value_of or self._table.get)(slot)) is not None
            for worse in (_worsened(current, verdict, wall),)
        ]

    def _item_state(self, current: DataValue, verdict: Verdict, wall: datetime) -> DataValue:
        """Not available is a fact, and Good (OPC 40001-1, 9.2); so is out of service, when the vendor says so."""
        if self._failed:
            return DataValue(ITEM_STATES["OutOfService"], StatusCode.Good, wall, wall)
        if verdict.status.is_uncertain and current.value is not None:
            return _worsened(current, verdict, wall)
        return DataValue(ITEM_STATES["NotAvailable"], StatusCode.Good, wall, wall)

    def _enter(self, state: ConnectionState, reason: str, since: datetime, advice: str) -> None:
        self.state, self.reason, self.since, self.advice = state, reason, since, advice

    def _connection_pairs(self) -> Pairs:
        wall = self._clock.now()
        values: dict[str, Value] = {
            "State": int(self.state),
            "StateText": self.state.name,
            "Reason": self.reason,
            "Since": self.since,
            "Advice": self.advice,
        }
        return [*self._own(values, wall), *self._age_pairs(self._clock.monotonic(), wall)]

    def _age_pairs(self, now: float, wall: datetime) -> Pairs:
        """LastUpdate and Age change for ever: said only when a person would see a difference."""
        age = None if self._last_heard is None else now - self._last_heard
        shown = None if age is None else 0.0 if age < 2 else float(int(age))
        pairs = []
        if (slot := self._slots.get("Age")) is not None:
            current = self._table.get(slot)
            if current is None or current.value != shown or not current.status.is_good:
                pairs.append((slot, _own_value(shown, wall)))
        if (slot := self._slots.get("LastUpdate")) is not None and self.last_update is not None:
            current = self._table.get(slot)
            before = current.value if current else None
            moved = before is None or (self.last_update - before).total_seconds() >= 10  # type: ignore[operator]
            if moved or (shown and before != self.last_update):
                pairs.append((slot, _own_value(self.last_update, wall)))
        return pairs

    def _own(self, values: dict[str, Value], wall: datetime) -> Pairs:
        return [(self._slots[word], _own_value(value, wall)) for word, value in values.items() if word in self._slots]


class MachineState:
    """One machine: its parts and the tags that sum them up."""

    def __init__(
        self,
        bound: BoundMachine,
        alive_rule: str,
        table: Table,
        clock: Clock,
        former: Mapping[tuple[str, str], PartState] | None = None,
        pending_bookings: Callable[[str], int] = lambda machine: 0,
    ) -> None:
        self.bound = bound
        self.machine = bound.machine
        self._alive_rule = alive_rule
        self._table = table
        self._clock = clock
        self.parts = [
            PartState(
                bound.machine,
                part,
                bound.projections.get(part.name),
                table,
                clock,
                (former or {}).get((part.source, part.source_machine)),
            )
            for part in bound.machine.parts
        ]
        self._alive_tag = bound.machine.tag(ALIVE)
        self._alarm_tag = bound.machine.tag(ALARM_COUNT)
        self._bookings_tag = bound.machine.tag(PENDING_BOOKINGS)
        self._pending_bookings = pending_bookings
        self._tags_of: Machine | None = None
        self._tags: dict[int, Tag] = {}
        self._learn_alarms()

    @property
    def tags(self) -> Mapping[int, Tag]:
        """Its tags by slot."""
        if self._tags_of is not self.machine:
            self._tags_of, self._tags = self.machine, {tag.slot: tag for tag in self.machine.tags}
        return self._tags

    def _learn_alarms(self) -> None:
        tags = self.machine.tags
        self._delay = AlarmDelay(tags, self._table.get)
        self._alarm_slots = [tag.slot for tag in tags if tag.group == "Alarms" and tag is not self._alarm_tag]

    def grow(self, bound: BoundMachine) -> None:
        """The machine has more tags; those it had go on as they are."""
        before, self.bound, self.machine = self.machine, bound, bound.machine
        if any(tag.definition.alarm and before.with_id(tag.id) is None for tag in self.machine.tags):
            self._learn_alarms()

    def begin(self) -> None:
        """Put on the table what is not there already: also what an earlier mapping left behind is seen to."""
        for part in self.parts:
            begin = self._delay.passed(part.begin(), self._clock.monotonic())
            news = [pair for pair in begin if not _says_the_same(self._table.get(pair[0]), pair[1])]
            self._table.update(news)
        self._sum_up()

    def apply(self, part: PartState, change: Callable[[], Iterable[tuple[int, DataValue]]]) -> Pairs:
        """Put on the table what `change` of a part gives, and what follows from it; the change itself."""
        state = part.state
        pairs = list(change())
        if self._delay:
            pairs = self._delay.passed(pairs, self._clock.monotonic())
        self._table.update(pairs)
        if part.state is not state or self._alarm_tag is not None:
            self._sum_up()
        return pairs

    def tick(self) -> list[PartState]:
        """Let time pass; the parts that have just gone silent."""
        silent = []
        for part in self.parts:
            before = part.state
            self._table.update(part.tick())
            if part.state is not before:
                silent.append(part)
        if self._delay:
            self._table.update(self._delay.due(self._clock.monotonic()))
        self._sum_up()
        return silent

    def _sum_up(self) -> None:
        wall = self._clock.now()
        if self._alive_tag is not None:
            self._say(self._alive_tag.slot, self._is_alive(), wall)
        if self._bookings_tag is not None:
            self._say(self._bookings_tag.slot, self._pending_bookings(self.machine.id), wall)
        if self._alarm_tag is not None:
            count = _counted([alarm for slot in self._alarm_slots if (alarm := self._table.get(slot))], wall)
            if not _says_the_same(self._table.get(self._alarm_tag.slot), count):
                self._table.update([(self._alarm_tag.slot, count)])

    def _say(self, slot: int, value: Value, wall: datetime) -> None:
        current = self._table.get(slot)
        if current is not None and (current.value != value or not current.status.is_good):
            self._table.update([(slot, _own_value(value, wall))])

    def _is_alive(self) -> bool:
        alive = {part.part.name: part.is_alive for part in self.parts}
        if self._alive_rule in alive:
            return alive[self._alive_rule]
        return all(alive.values()) if self._alive_rule == "all" else any(alive.values())


def _counted(alarms: Sequence[DataValue], wall: datetime) -> DataValue:
    """How many are active, as good as the best of them: where all are lost, nobody knows."""
    if not alarms:  # they appear with the data, and none has
        return bad(StatusCode.BadWaitingForInitialData, WAITING, wall)
    best = min(alarms, key=lambda alarm: alarm.status)
    count = None if best.status.is_bad else sum(alarm.value is True for alarm in alarms)
    return DataValue(count, best.status, wall, wall, best.reason, best.since)


def _says_the_same(current: DataValue | None, value: DataValue) -> bool:
    return current is not None and current[:2] == value[:2] and current.reason == value.reason


def _own_value(value: Value, wall: datetime) -> DataValue:
    if value is None:
        return DataValue(None, StatusCode.BadNoData, wall, wall, "Nothing has been heard yet", wall)
    return DataValue(value, StatusCode.Good, wall, wall)


def _worsened(current: DataValue, verdict: Verdict, wall: datetime) -> DataValue:
    """A tag's value under a loss: Uncertain keeps the last value, Bad has none; one that never had any stays Bad."""
    if verdict.status.is_uncertain and current.value is not None:
        return DataValue(current.value, verdict.status, wall, wall, verdict.reason, verdict.since)
    status = verdict.status
    if status.is_uncertain:
        never = current.status in (StatusCode.BadWaitingForInitialData, StatusCode.BadNotConnected)
        status = StatusCode.BadNotConnected if never else StatusCode.BadNoCommunication
    return DataValue(None, status, wall, wall, verdict.reason, verdict.since)
