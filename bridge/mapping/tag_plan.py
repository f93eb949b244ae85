"""One tag's plan: how value, status and time are made of payloads (rules: see `bridge.mapping.projection`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from bridge.mapping.conditions import When
from bridge.mapping.convert import converter, is_text, kind, parse_time, word
from bridge.mapping.expression import compile_expression
from bridge.mapping.schema import TagRule, WhenRule
from bridge.mapping.tag_spec import Sources, TagSpec
from bridge.model.payload_path import MISSING, Getter, getter, parse_path
from bridge.model.status import StatusCode
from bridge.model.value import DataType, DataValue, Value

Pairs = list[tuple[int, DataValue]]
SlotOf = Callable[[str], int]
"""The slot of a tag of this machine, by the tag's name."""

GOOD = StatusCode.Good
FUTURE_TOLERANCE = timedelta(seconds=5)
"""A source time further ahead than this is not believed (facts: clock skew of panels and clouds)."""

Raw = tuple[Value, StatusCode, str]


class TagPlan:
    """How one tag is made from payloads."""

    def __init__(self, spec: TagSpec, slot_of: SlotOf) -> None:
        rule = spec.rule
        self.spec = spec
        self.slot = slot_of(spec.definition.name)
        self.text_slot = slot_of(spec.text.name) if spec.text else None
        self.channel = spec.channel
        self.get = getter(spec.sources[0][1].keys)
        self.deadband = spec.deadband
        self.low, self.high = _usual_range(spec)
        self.scale = 1.0 if rule.scale is None else rule.scale
        self.offset = rule.offset or 0.0
        self.last: DataValue | None = None
        self.last_text: DataValue | None = None
        self._alarms = tuple((slot_of(alarm.name), _alarm_test(rule, key)) for alarm, key in spec.alarms)
        self._alarm_states: dict[int, DataValue] = {}
        self._sources = _getters(spec.sources)
        self._convert = converter(spec.definition.data_type)
        self._expression = compile_expression(rule.expr, frozenset(n for n, _ in spec.sources)) if rule.expr else None
        self._bad = _whens(rule.bad_when, StatusCode.BadDeviceFailure)
        self._uncertain = _whens(rule.uncertain_when, StatusCode.UncertainSubNormal)
        self._absent = StatusCode[rule.absent] if rule.absent else StatusCode.BadNoData
        self._time = _channel_getter(rule.time)
        self._quality = _channel_getter(rule.quality.path) if rule.quality else None
        self._quality_reason = _channel_getter(rule.quality.reason_from) if rule.quality else None
        self._sent_at: datetime | None = None
        self.is_plain = self._is_plain()

    @property
    def watched(self) -> frozenset[str]:
        """The channels that may change what this tag says."""
        conditions = (channel for when, _ in (*self._bad, *self._uncertain) for channel in when.channels)
        quality = self.spec.rule.quality
        others = [parse_path(quality.path).channel] if quality else []
        return frozenset((*conditions, *others, *(channel for _, channel, _ in self._sources)))

    def _is_plain(self) -> bool:
        """A number that needs nothing but arithmetic: the hot path."""
        rule = self.spec.rule
        return self._is_arithmetic() and not any((rule.quality, rule.time, rule.bad_when, rule.uncertain_when))

    def _is_arithmetic(self) -> bool:
        """A number that is as the payload says, but for scale and offset, while nothing is wrong with it."""
        rule = self.spec.rule
        special = (
            rule.map,
            rule.expr,
            rule.limits,
            rule.alarm,
            rule.max_age,
            rule.min_interval,
        )
        simple_type = self.spec.definition.data_type is DataType.Double and self.spec.text is None
        return simple_type and len(self._sources) == 1 and rule.precision is None and not any(special)

    def project(self, payloads: dict[str, Any], stamp: datetime, received: datetime, out: Pairs) -> None:
        """Put what changed of this tag (and of its text and alarms) into `out`."""
        value, status, reason = self._evaluate(payloads, received)
        moment = self._moment(payloads, stamp, received)
        if status is GOOD and self._is_too_old(moment, received):
            status, reason = StatusCode.UncertainLastUsableValue, f"The vendor's value is from {moment.isoformat()}"
        if status.is_bad:
            value = None
        if self._is_unchanged(value, status, reason) or self._is_too_soon(status, received):
            return
        since = None if status is GOOD else self._since(status, received)
        self.last = DataValue(value, status, moment, received, reason, since)
        self._sent_at = received
        out.append((self.slot, self.last))
        if self.text_slot is not None:
            self._project_text(payloads, out)
        self._project_alarms(out)

    def is_told(self, payloads: dict[str, Any]) -> bool:
        """The payloads have a field for it."""
        return any(get(payloads.get(channel, MISSING)) is not MISSING for _, channel, get in self._sources)

    def _evaluate(self, payloads: dict[str, Any], received: datetime) -> Raw:
        raw = self._select(payloads)
        if raw is None and self.spec.rule.null_is is not None:
            raw = self.spec.rule.null_is
        at = received.timestamp()
        for when, status in self._bad:
            if when.holds(payloads, at):
                return None, status, when.reason
        if raw is None or raw is MISSING:
            return self._told_quality(payloads, bad_only=True) or (
                None,
                self._absent,
                "There is none now (null)" if raw is None else "The vendor did not send this field",
            )
        try:
            value = self._typed(raw)
        except ValueError as error:
            return None, StatusCode.BadOutOfRange, f"{error}".removesuffix(".")
        return self._judged(value, payloads, at)

    def _select(self, payloads: dict[str, Any]) -> Any:
        if self.spec.named:
            values = {name: get(payloads.get(channel, MISSING)) for name, channel, get in self._sources}
            absent = next((value for value in values.values() if value is None or value is MISSING), None)
            return values if absent is None and None not in values.values() else absent
        raw: Any = MISSING
        for _, channel, get in self._sources:
            raw = get(payloads.get(channel, MISSING))
            if raw is not MISSING:
                break
        return raw

    def _typed(self, raw: Any) -> Value:
        rule = self.spec.rule
        if self._expression is not None:
            raw = self._computed(raw)
        if rule.map is not None:
            raw = mapped(raw, rule.map)
        if rule.enum is not None:
            return number_of(raw, rule.enum)
        value = self._convert(raw)
        if self.scale != 1.0 or self.offset:
            value = self._convert(value * self.scale + self.offset)  # type: ignore[operator]
        if rule.precision is not None:
            value = round(value, rule.precision)  # type: ignore[arg-type]
        return value

    def _computed(self, raw: Any) -> Any:
        assert self._expression is not None  # noqa: S101
        try:
            return self._expression(raw if self.spec.named else {"v": raw})
        except Exception as error:  # CEL is total: what its functions refuse is a fault of the data
            raise ValueError(f"expr gave no value ({type(error).__name__}: {str(error)[:80]})") from error

    def _judged(self, value: Value, payloads: dict[str, Any], at: float) -> Raw:
        if (told := self._told_quality(payloads)) is not None:
            return value, told[1], told[2]
        for when, status in self._uncertain:
            if when.holds(payloads, at):
                return value, status, when.reason
        if isinstance(value, float | int) and not self.low <= value <= self.high:
            status = StatusCode.UncertainEngineeringUnitsExceeded
            return value, status, f"Outside the range {self.low:g} to {self.high:g}"
        return value, GOOD, ""

    def _told_quality(self, payloads: dict[str, Any], *, bad_only: bool = False) -> Raw | None:
        """What the vendor says of the value, where that is not good."""
        rule = self.spec.rule.quality
        said = None if self._quality is None or rule is None else word(self._quality(payloads))
        named = None if rule is None or said is None else rule.map.get(said)
        status = GOOD if named is None else StatusCode[named]
        if status.is_good or (bad_only and not status.is_bad):
            return None
        words = None if self._quality_reason is None else word(self._quality_reason(payloads))
        more = f" ({words[:100]})" if words and is_text(words) else ""
        return None, status, f"The vendor calls this value {said}{more}"

    def _moment(self, payloads: dict[str, Any], stamp: datetime, received: datetime) -> datetime:
        if self._time is None:
            return stamp
        try:
            moment = parse_time(self._time(payloads))
        except (ValueError, TypeError):
            return stamp
        return moment if moment <= received + FUTURE_TOLERANCE else stamp

    def _is_too_old(self, moment: datetime, received: datetime) -> bool:
        max_age = self.spec.rule.max_age
        return max_age is not None and (received - moment).total_seconds() > max_age

    def _is_unchanged(self, value: Value, status: StatusCode, reason: str) -> bool:
        last = self.last
        if last is None or last.status is not status or last.reason != reason:
            return False
        if value == last.value:
            return True
        if self.deadband and isinstance(value, float | int) and isinstance(last.value, float | int):
            return abs(value - last.value) < self.deadband
        return False

    def _is_too_soon(self, status: StatusCode, received: datetime) -> bool:
        interval, last = self.spec.rule.min_interval, self.last
        if interval is None or last is None or self._sent_at is None or status is not last.status:
            return False
        return (received - self._sent_at).total_seconds() < interval

    def _since(self, status: StatusCode, received: datetime) -> datetime:
        last = self.last
        return last.since if last is not None and last.status is status and last.since else received

    def _project_text(self, payloads: dict[str, Any], out: Pairs) -> None:
        assert self.last is not None and self.text_slot is not None and self.spec.rule.enum is not None  # noqa: S101
        last = self.last
        raw = self._select(payloads)
        if last.value is not None:
            text = next((text for text, number in self.spec.rule.enum.items() if number == last.value), None)
            self.last_text = last._replace(value=text)
        elif last.status is StatusCode.BadOutOfRange and is_text(raw):
            # an unknown word has no number, but a person may read it (facts/opcua.md 2.3)
            self.last_text = DataValue(raw, GOOD, last.source_timestamp, last.server_timestamp)
        else:
            self.last_text = last
        out.append((self.text_slot, self.last_text))

    def _project_alarms(self, out: Pairs) -> None:
        last = self.last
        assert last is not None  # noqa: S101
        for slot, is_active in self._alarms:
            before = self._alarm_states.get(slot)
            if last.value is None:
                state = last
            else:
                was = before is not None and before.value is True
                state = last._replace(value=is_active(last.value, was))
            if before is None or before.value != state.value or before.status is not state.status:
                self._alarm_states[slot] = state
                out.append((slot, state))

    def forget(self) -> None:
        """Say everything again at the next observation."""
        self.last = self.last_text = self._sent_at = None
        self._alarm_states.clear()
        for when, _ in (*self._bad, *self._uncertain):
            when.forget()

    @property
    def slots(self) -> list[int]:
        """Every slot this plan writes."""
        text = [] if self.text_slot is None else [self.text_slot]
        return [self.slot, *text, *(slot for slot, _ in self._alarms)]


_AlarmTest = Callable[[Any, bool], bool]
"""Of a value and whether the alarm is active already: whether it is active now."""


def _alarm_test(rule: TagRule, key: str) -> _AlarmTest:
    if key == "alarm":
        chosen = rule.alarm.when if rule.alarm else None
        numbers = None if chosen is None else {(rule.enum or {})[text] for text in chosen}
        return lambda value, was: value is True if numbers is None else value in numbers
    limit: float = getattr(rule.limits, key)
    deadband = rule.limits.deadband if rule.limits else 0.0
    if key.startswith("low"):
        return lambda value, was: value <= (limit + deadband if was else limit)
    return lambda value, was: value >= (limit - deadband if was else limit)


def _usual_range(spec: TagSpec) -> tuple[float, float]:
    """Bounds beyond which a value is doubtful; a set point beyond our own bounds is still what the machine has."""
    rule = spec.rule
    return (-math.inf, math.inf) if rule.range is None or rule.write is not None else rule.range


@lru_cache(maxsize=10_000)
def _getters(sources: Sources) -> tuple[tuple[str, str, Getter], ...]:
    """Name, channel and getter of each source: one object for all machines of a mapping."""
    return tuple((name, path.channel, getter(path.keys)) for name, path in sources)


def _whens(rules: WhenRule | list[WhenRule] | None, default: StatusCode) -> tuple[tuple[When, StatusCode], ...]:
    listed = [] if rules is None else rules if isinstance(rules, list) else [rules]
    compiled = [When(rule) for rule in listed]
    return tuple((when, StatusCode[when.status] if when.status else default) for when in compiled)


def _channel_getter(text: str | None) -> Getter | None:
    if text is None:
        return None
    path = parse_path(text)
    get = getter(path.keys)
    return lambda payloads: get(payloads.get(path.channel, MISSING))


def mapped(raw: Any, table: dict[str, Any]) -> Any:
    """What `map` makes of a raw value. Raises ValueError."""
    key = word(raw)
    if key in table:
        return table[key]
    raise ValueError(f"{kind(raw)} is not in map")


def number_of(raw: Any, enum: dict[str, int]) -> int:
    """The number of a word of `enum`, or of itself. Raises ValueError."""
    if isinstance(raw, str) and raw in enum:
        return enum[raw]
    if isinstance(raw, int) and not isinstance(raw, bool) and raw in enum.values():
        return raw
    raise ValueError(f"expected one of {', '.join(enum)}, got {kind(raw)}")
