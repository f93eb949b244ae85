"""Projection: what an observation makes of a machine's tags.

Theory of operation. A part of a machine has one `PartProjection`. It remembers the last payload of each channel,
because a condition may look at another channel than the value, and what it last said of each tag, because only
changes are passed on.

Rules
1. No I/O, no clock: time comes with the observation.
2. A channel changes only its own tags; a tag whose condition looks at another channel is looked at again when that
   channel speaks, unless its own channel is suspended (stale or lost).
3. Only changes are passed on: of value (by more than the deadband) or of status. The source time of a value is that
   of its last change (OPC UA Part 4, 7.11.3).
4. What is wrong with a value is a status and a reason; the value channel never carries a diagnosis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from bridge.mapping.compile import ITEM_STATES, CompiledMapping
from bridge.mapping.convert import word
from bridge.mapping.each import ROW
from bridge.mapping.rows import EachProjection, RowTag
from bridge.mapping.tag_plan import GOOD, Pairs, SlotOf, TagPlan
from bridge.model.observation import Observation
from bridge.model.payload_path import Key
from bridge.model.plant import ITEM_STATE
from bridge.model.value import DataValue, make


class PartProjection:
    """One part's mapping, bound to the slots of one machine (see `bridge.ports.Projector`)."""

    def __init__(self, mapping: CompiledMapping, slot_of: SlotOf) -> None:
        self.mapping = mapping
        self._slot_of = slot_of
        self._payloads: dict[str, Any] = {}
        self._late_plans: dict[str, list[TagPlan]] = {}
        self._suspended: set[str] = set()
        self._plans: dict[str, list[TagPlan]] = {}
        self._watchers: dict[str, list[TagPlan]] = {}
        of_rows = {tag.definition.name for each in mapping.each for _, tag in each.chosen}
        for spec in mapping.tags:
            if spec.definition.name in of_rows:
                continue
            plan = TagPlan(spec, slot_of)
            self._plans.setdefault(plan.channel, []).append(plan)
            for channel in () if plan.is_plain else plan.watched - {plan.channel}:
                self._watchers.setdefault(channel, []).append(plan)
        self.each = tuple(EachProjection(spec, slot_of) for spec in mapping.each)
        self._each: dict[str, list[EachProjection]] = {}
        for each in self.each:
            self._each.setdefault(each.channel, []).append(each)
        self._item_state = self._item_state_plan(slot_of)

    def _item_state_plan(self, slot_of: SlotOf) -> tuple[TagPlan, int, dict[str | None, int]] | None:
        rule = self.mapping.item_state
        if rule is None:
            return None
        plan = next(
            plan for plans in self._plans.values() for plan in plans if plan.spec.definition.name == rule.source
        )
        enum = plan.spec.rule.enum or {}
        numbers = {word(enum.get(text, text)): ITEM_STATES[state] for text, state in rule.map.items()}
        return plan, slot_of(ITEM_STATE), numbers

    @property
    def channels(self) -> frozenset[str]:
        """The channels that make tags here, or that conditions look at."""
        return frozenset((*self._plans, *self._watchers, *self._each))

    def project(self, observation: Observation) -> Sequence[tuple[int, DataValue]]:
        """What this observation changes. A historical one changes nothing current."""
        if observation.historical:
            return ()
        channel = observation.channel
        if channel not in self._plans and channel not in self._watchers and channel not in self._each:
            return ()  # a vendor may invent channels without end
        self._payloads[channel] = observation.payload
        stamp = observation.source_time or observation.received
        out = self._run(channel, stamp, observation.received)
        for each in self._each.get(channel, ()):
            each.project(observation.payload, stamp, observation.received, out)
        return out

    def late(self, observation: Observation) -> Sequence[tuple[int, DataValue]]:
        """What a historical observation says, of the fields it has; nothing current is looked at or remembered.

        But for conditions on other channels: what those said last is the best that is known.
        """
        channel, received = observation.channel, observation.received
        stamp = observation.source_time or received
        payloads = {**self._payloads, channel: observation.payload}
        out: Pairs = []
        for plan in self._late(channel):
            plan.forget()
            if plan.is_told(payloads):
                plan.project(payloads, stamp, stamp, out)  # not `received`: it is not too old for what it is
        for each in self._each.get(channel, ()):
            each.late(observation.payload, stamp, out)
        return [(slot, value._replace(server_timestamp=received)) for slot, value in out]

    def _late(self, channel: str) -> list[TagPlan]:
        if channel not in self._plans:
            return []
        if channel not in self._late_plans:
            self._late_plans[channel] = [TagPlan(plan.spec, self._slot_of) for plan in self._plans[channel]]
        return self._late_plans[channel]

    def remember(self, before: PartProjection) -> None:
        """What another mapping's projection of the same part last heard, to be said anew with `restate`."""
        known = self.channels
        self._payloads = {channel: payload for channel, payload in before._payloads.items() if channel in known}
        formers = {each.spec.name: each for each in before.each}
        for each in self.each:
            if each.spec.name in formers:
                each.remember(formers[each.spec.name])

    def suspend(self, channel: str) -> None:
        """The channel went stale or was lost: say nothing of its tags until it speaks again."""
        self._suspended.add(channel)

    def resume(self, channel: str) -> None:
        """The channel speaks again: everything is to be said anew."""
        self._suspended.discard(channel)
        for plan in self._plans.get(channel, ()):
            plan.forget()
        for each in self._each.get(channel, ()):
            each.forget()

    def restate(self, channel: str, now: datetime) -> Sequence[tuple[int, DataValue]]:
        """The channel's last payload is true again (silence is over): all its tags anew."""
        self.resume(channel)
        if channel not in self._payloads:
            return ()
        out = self._run(channel, now, now)
        for each in self._each.get(channel, ()):
            each.restate(now, out)
        return out

    def slots(self, channel: str | None = None) -> list[int]:
        """Slots of the tags that come from a channel, or from all."""
        chosen = self._plans.values() if channel is None else [self._plans.get(channel, [])]
        found = [slot for plans in chosen for plan in plans for slot in plan.slots]
        found.extend(slot for each in self.each if channel in (None, each.channel) for slot in each.slots())
        if self._item_state and (channel is None or self._item_state[0].channel == channel):
            found.append(self._item_state[1])
        return found

    @property
    def payloads(self) -> Mapping[str, Any]:
        """What each channel said last."""
        return self._payloads

    def payloads_of(self, plan: TagPlan) -> Mapping[str, Any]:
        """What the tag of this plan is made of: what each channel said last, or its row."""
        return {ROW: plan.row} if isinstance(plan, RowTag) else self._payloads

    @property
    def rows(self) -> dict[str, list[tuple[str | int, ...]]]:
        """Where in each channel's payload lists of rows are; the entries of a list on the way are one, with index 0."""
        return {channel: [_as_one(each.spec.path.keys) for each in found] for channel, found in self._each.items()}

    def plan_of(self, slot: int) -> TagPlan | None:
        """How the tag in this slot is made; None where no rule of this mapping makes it."""
        if self._item_state is not None and slot == self._item_state[1]:
            return self._item_state[0]
        plans = (plan for plans in self._plans.values() for plan in plans)
        rows = (tag for each in self.each for tag in each.tags)
        return next((plan for plan in chain(plans, rows) if slot in plan.slots), None)

    def _run(self, channel: str, stamp: datetime, received: datetime) -> Pairs:
        payloads = self._payloads
        payload = payloads[channel]
        out: Pairs = []
        for plan in self._plans.get(channel, ()):
            if plan.is_plain:
                raw = plan.get(payload)
                if raw.__class__ is float:
                    value = raw * plan.scale + plan.offset
                    if math.isfinite(value) and plan.low <= value <= plan.high:
                        last = plan.last
                        if last is not None and last.status is GOOD:
                            delta = value - last.value  # type: ignore[operator]
                            if delta == 0 or -plan.deadband < delta < plan.deadband:
                                continue
                        plan.last = make(DataValue, (value, GOOD, stamp, received, "", None))
                        out.append((plan.slot, plan.last))
                        continue
            plan.project(payloads, stamp, received, out)
        for plan in self._watchers.get(channel, ()):
            if plan.channel not in self._suspended and plan.channel in payloads:
                plan.project(payloads, received, received, out)
        self._project_item_state(out)
        return out

    def _project_item_state(self, out: Pairs) -> None:
        if self._item_state is None:
            return
        plan, slot, numbers = self._item_state
        for written, value in out:
            if written == plan.slot:
                number = numbers.get(word(value.value))
                out.append((slot, _not_available(value) if number is None else value._replace(value=number)))
                return


def _as_one(keys: tuple[Key, ...]) -> tuple[str | int, ...]:
    return tuple(key if isinstance(key, str) else 0 for key in keys)


def _not_available(value: DataValue) -> DataValue:
    return DataValue(ITEM_STATES["NotAvailable"], GOOD, value.source_timestamp, value.server_timestamp)


__all__ = ["PartProjection"]
