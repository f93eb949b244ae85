r"""Rows: what an observation makes of the tags of one rule of `each`, and which tags it makes anew.

    row -- key known ----> RowTag.project -> pairs
        \- key not known -> kept until the runtime has made the tag (`newcomers`, `adopt`) -> pairs

Rules
1. A row costs what a plain tag costs: its key is looked up, and its tag looks at nothing but the row.
2. A row of an unknown key is kept, not lost: the newest KEPT_ROWS of each key are said once the tag is there.
3. What is refused (beyond the limit), not understood (no key, no scalar) or of another type or unit is counted.
4. A tag that is not seen any more stays; `silent` tells how long it was not seen, by the clock that is handed in.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from bridge.mapping.conditions import leaves, paths
from bridge.mapping.convert import is_text, parse_time
from bridge.mapping.each import ROW, EachSpec, fields
from bridge.mapping.names import FIELD, texts_of
from bridge.mapping.schema import TagRule, WhenRule
from bridge.mapping.tag_plan import FUTURE_TOLERANCE, GOOD, Pairs, Raw, SlotOf, TagPlan
from bridge.mapping.tag_spec import TagSpec, as_list
from bridge.model.known_tag import KnownTag
from bridge.model.payload_path import MISSING, Getter, Row, getter, parse_path
from bridge.model.status import StatusCode
from bridge.model.units import unit_of
from bridge.model.value import DataType, DataValue, Value

KEPT_ROWS = 20
"""Rows of one key that are kept until its tag is there."""

LONGEST_KEY, LONGEST_TEXT = 256, 200
"""Characters of a key's field, and of a text shown to people."""

EXACT = 2**53
"""Whole numbers below it are themselves as a Double."""

AT_MOST = 5
"""New tags wait so many times `settle`, however many more keep coming."""


@dataclass(slots=True)
class Tally:
    """What was not as it should be, since the start."""

    refused: int = 0
    """Rows of keys beyond the limit."""
    unreadable: int = 0
    """Rows without a key, or with something that is no scalar for a value."""
    contrary: int = 0
    """Values of another type or unit than their tag has."""


class Silence(NamedTuple):
    """A tag that has not been seen for so long that it says so; once for each of its two steps."""

    slots: list[int]
    seconds: float
    is_bad: bool


@dataclass(slots=True)
class _Newcomer:
    """A key that has no tag yet."""

    data_type: DataType
    rows: deque[tuple[Any, datetime, datetime]] = field(default_factory=lambda: deque(maxlen=KEPT_ROWS))


class RowTag(TagPlan):
    """One tag of a rule: a plan that looks at its row only."""

    def __init__(self, spec: TagSpec, slot_of: SlotOf, known: KnownTag, each: EachProjection) -> None:
        super().__init__(spec, slot_of)
        self.channel = each.channel
        self.known = known
        self.row: Any = MISSING
        self.stamp: datetime | None = None
        self.heard = 0.0
        self.silence = 0
        """0: seen lately; 1: Uncertain because it was not; 2: Bad."""
        self._each = each
        has_unit = each.unit_of is not None and known.data_type.is_numeric and spec.text is None
        self.unit_getter = each.unit_of if has_unit else None
        self.unit_said: Any = known.unit or MISSING
        """How the unit was last written."""
        self.is_quick = self._is_arithmetic() and each.is_judged_by_row
        """A number that is as its row says: the hot path."""

    @property
    def stale_after(self) -> float | None:
        """Seconds after its last row after which it is Uncertain; None: its channel's."""
        return self._each.spec.rule.stale_after

    @property
    def bad_after(self) -> float | None:
        """Seconds after its last row after which it is Bad; None: its channel's."""
        return self._each.spec.rule.bad_after

    def twin(self) -> RowTag:
        """A tag of the same slots that remembers nothing."""
        slots = dict(zip(self.spec.names, self.slots, strict=True))
        return RowTag(self.spec, slots.__getitem__, self.known, self._each)

    def succeed(self, before: RowTag) -> None:
        """Go on where the tag of this key stood under another rule."""
        self.row, self.stamp, self.heard, self.silence = before.row, before.stamp, before.heard, before.silence

    def hear(self, row: Any, stamp: datetime, now: float) -> None:
        """This is its row now; it is there again where it was silent."""
        self.row, self.stamp, self.heard = row, stamp, now
        if self.silence:
            self.silence = 0
            self.forget()

    def _evaluate(self, payloads: dict[str, Any], received: datetime) -> Raw:
        if self.unit_getter is not None:
            said = self.unit_getter(payloads[ROW])
            if said is not self.unit_said and said != self.unit_said and (other := self._other_unit(said)):
                self._each.tally.contrary += 1
                return None, StatusCode.BadConfigurationError, other
        return super()._evaluate(payloads, received)

    def _other_unit(self, said: Any) -> str:
        """Why a value of this unit is none of this tag; "" where it is one."""
        if not isinstance(said, str) or not said.strip():
            return ""  # a row that says no unit means the one it had
        if not self.known.unit:
            self._each.learn_unit(self, said)
        elif unit_of(said) != unit_of(self.known.unit):
            return f"The vendor now says {said[:40]}, and this tag is in {self.known.unit}"
        self.unit_said = said
        return ""

    def _typed(self, raw: Any) -> Value:
        try:
            return super()._typed(raw)
        except ValueError:
            self._each.tally.contrary += 1
            raise


class ChosenTag(RowTag):
    """A tag of the mapping's own that looks at one row, beside the tag that the row makes."""

    def __init__(self, spec: TagSpec, slot_of: SlotOf, known: KnownTag, each: EachProjection, place: Row) -> None:
        super().__init__(spec, slot_of, known, each)
        self.place = place
        if not known.unit:
            self.unit_getter = None

    def twin(self) -> ChosenTag:
        """A tag of the same slots that remembers nothing."""
        slots = dict(zip(self.spec.names, self.slots, strict=True))
        return ChosenTag(self.spec, slots.__getitem__, self.known, self._each, self.place)


class EachProjection:
    """The rows of one rule, bound to the slots of one machine."""

    def __init__(self, spec: EachSpec, slot_of: SlotOf) -> None:
        self.spec = spec
        self.channel = spec.path.channel
        self.tally = Tally()
        self.now = 0.0
        """Monotonic seconds; whoever observes sets it first."""
        self.unit_of = _field_getter(spec.unit_from)
        self._rows_of = getter(spec.path.keys)
        self._key_fields = [[_getter(text) for text in as_list(texts)] for texts in spec.rule.key]
        self._key_of = _key_of([as_list(texts)[0] for texts in spec.rule.key])
        self._texts = [_getter(text) for text in fields(spec.pattern)]
        self._values = [getter(path.keys) for _, path in spec.sources]
        self._tags: dict[Any, RowTag] = {}
        """By the key as rows have it: a text, a number, a tuple of these."""
        self._by_key: dict[tuple[str, ...], RowTag] = {}
        self._late: dict[RowTag, RowTag] = {}
        self._newcomers: dict[tuple[str, ...], _Newcomer] = {}
        self._units: dict[tuple[str, ...], str] = {}
        self._first_new = self._last_new = 0.0
        self._time_of = _below_row(spec.tag_rule.time)
        self.is_judged_by_row = not any(when.lasting for when in _whens(spec.tag_rule))
        """What is wrong with a value follows from its row alone, and not from how long it is so."""
        self._judges = _judges(spec.tag_rule)
        self._good_words: list[Any] = [MISSING] * len(self._judges)
        """What the last row of a good value said there."""
        self._time_said, self._time = "", _NEVER
        self._box: dict[str, Any] = {}
        self._look_at = -math.inf
        self._chosen = [self._choice(row, tag, slot_of) for row, tag in spec.chosen]
        self._choices = _by_fields(self._chosen)

    # -- values -------------------------------------------------------------------------------------------------------

    def project(self, payload: Any, stamp: datetime, received: datetime, out: Pairs) -> None:
        """Put what the rows of this payload change into `out`; keep those that have no tag yet."""
        box, tags, key_of, now = self._box, self._tags, self._key_of, self.now
        rows = self._rows(payload)
        for chosen, row in self._choose(rows):
            chosen.hear(row, stamp, now)
            chosen.project({ROW: row}, stamp, received, out)
        for chosen in self._chosen:
            if chosen.row is MISSING and chosen.last is None:
                chosen.project({ROW: MISSING}, stamp, received, out)
        for row in rows:
            try:
                tag = tags.get(key_of(row))
            except (KeyError, TypeError, IndexError):
                tag = None
            if tag is None and (tag := self._meet(row, stamp, received)) is None:
                continue
            tag.row, tag.stamp, tag.heard = row, stamp, now  # not `hear`: a call is a tenth of what a row costs
            if tag.silence:
                tag.silence = 0
                tag.forget()
            if tag.is_quick:
                raw = tag.get(row)
                if raw.__class__ is int and -EXACT < raw < EXACT:
                    raw = float(raw)
                if raw.__class__ is float and self._is_good(row, tag):
                    value = raw * tag.scale + tag.offset
                    if math.isfinite(value) and tag.low <= value <= tag.high:
                        last = tag.last
                        if last is not None and last.status is GOOD:
                            delta = value - last.value  # type: ignore[operator]
                            if delta == 0 or -tag.deadband < delta < tag.deadband:
                                continue
                        tag.last = DataValue(value, GOOD, self._moment(row, stamp, received), received)
                        out.append((tag.slot, tag.last))
                        continue
            box[ROW] = row
            tag.project(box, stamp, received, out)
            if self._judges and tag.last is not None and tag.last.status is GOOD:
                self._good_words = [get(row) for get in self._judges]

    def _is_good(self, row: Any, tag: RowTag) -> bool:
        """What quality and conditions look at is as in the last good row, and so is the unit: it is good too."""
        for get, word in zip(self._judges, self._good_words, strict=True):
            said = get(row)
            if said is not word and said != word:
                return False
        if tag.unit_getter is None:
            return True
        unit = tag.unit_getter(row)
        return unit is None or unit is MISSING or unit == tag.unit_said

    def _moment(self, row: Any, stamp: datetime, received: datetime) -> datetime:
        """The row's own time; rows that came together mostly share it."""
        if self._time_of is None:
            return stamp
        raw = self._time_of(row)
        if raw.__class__ is str and raw == self._time_said:
            moment = self._time
        else:
            try:
                moment = parse_time(raw)
            except (ValueError, TypeError):
                return stamp
            self._time_said, self._time = raw, moment
        return moment if moment <= received + FUTURE_TOLERANCE else stamp

    def late(self, payload: Any, stamp: datetime, out: Pairs) -> None:
        """What rows of the past say of tags that are known; nothing current is looked at or remembered."""
        rows = self._rows(payload)
        known = ((self._by_key.get(key), row) for row in rows if (key := self._key(row)) is not None)
        for tag, row in chain(self._choose(rows), known):
            if tag is None:
                continue
            late = self._late.get(tag)
            if late is None:
                late = self._late[tag] = tag.twin()
            late.forget()
            late.project({ROW: row}, stamp, stamp, out)

    def _choose(self, rows: Iterable[Any]) -> Iterator[tuple[ChosenTag, Any]]:
        """The chosen tags that rows are of: one look at a row's fields, however many tags there are."""
        for fields_of, choices in self._choices:
            for row in rows:
                try:
                    found = choices.get(fields_of(row), ())
                except (KeyError, TypeError, IndexError):
                    continue
                yield from ((tag, row) for tag in found if tag.place.fits(row))

    def _choice(self, row: Row, tag: TagSpec, slot_of: SlotOf) -> ChosenTag:
        known = KnownTag(self.spec.name, (), (), tag.definition.data_type, tag.rule.unit or "")
        return ChosenTag(tag, slot_of, known, self, row)

    def _rows(self, payload: Any) -> Iterable[Any]:
        rows = self._rows_of(payload)
        if rows.__class__ is list:
            return rows
        if rows is not MISSING and rows is not None:
            self.tally.unreadable += 1
        return ()

    def restate(self, now: datetime, out: Pairs) -> None:
        """Everything that was seen lately is true again."""
        for tag in self.tags:
            if tag.row is not MISSING and not tag.silence:
                self._box[ROW] = tag.row
                tag.project(self._box, tag.stamp or now, now, out)

    def forget(self) -> None:
        """Say everything again when it is seen again."""
        for tag in self.tags:
            tag.forget()

    def remember(self, before: EachProjection) -> None:
        """What another mapping's projection of the same rule last saw."""
        self.tally, self.now = before.tally, before.now
        for key, tag in self._by_key.items():
            if key in before._by_key:
                tag.succeed(before._by_key[key])
        for chosen in self._chosen:
            former = next((tag for tag in before.tags if chosen.place.fits(tag.row)), None)
            if former is not None:
                chosen.succeed(former)
        for newcomer in before._newcomers.values():
            for row, stamp, received in newcomer.rows:
                self._meet(row, stamp, received)

    def slots(self) -> Iterator[int]:
        """Slots of all its tags."""
        for tag in self.tags:
            yield from tag.slots

    def quiet_slots(self) -> Iterator[int]:
        """Slots of the tags that have not been seen for a while."""
        for tag in self.tags:
            if tag.silence:
                yield from tag.slots

    def silent(self, now: float, stale_after: float | None, bad_after: float) -> list[Silence]:
        """Tags whose silence is news. It looks at all of them, and so not more often than makes a difference."""
        if stale_after is None or now < self._look_at:
            return []
        self._look_at = now + min(max(stale_after / 8, 0.25), 10.0)
        found = []
        for tag in self.tags:
            seconds = now - tag.heard
            step = 0 if tag.row is MISSING or seconds <= stale_after else 2 if seconds > bad_after else 1
            if step > tag.silence:
                tag.silence = step
                found.append(Silence(tag.slots, seconds, step == 2))
        return found

    # -- tags ---------------------------------------------------------------------------------------------------------

    @property
    def known(self) -> int:
        """How many tags rows have made."""
        return len(self._by_key)

    def spec_of_key(self, key: tuple[str, ...]) -> TagSpec | None:
        """The tag of this key."""
        tag = self._by_key.get(key)
        return None if tag is None else tag.spec

    @property
    def tags(self) -> Iterable[RowTag]:
        """All of them."""
        return chain(self._chosen, self._by_key.values())

    def is_ripe(self) -> bool:
        """There are new tags, and they have been collected for long enough."""
        if not self._newcomers and not self._units:
            return False
        settle = self.spec.rule.settle
        return self.now - self._last_new >= settle or self.now - self._first_new >= AT_MOST * settle

    def newcomers(self) -> list[KnownTag]:
        """The tags that rows ask for, and those whose unit is known now; in the order of their keys."""
        units = {key: self._by_key[key].known for key in self._units}
        changed = [_with_unit(known, self._units[key]) for key, known in units.items()]
        return [*(self._known(key, one) for key, one in sorted(self._newcomers.items())), *changed]

    def adopt(self, known: KnownTag, spec: TagSpec, slot_of: SlotOf) -> None:
        """There is a tag of this key now; another one of the same key goes on where that one stood."""
        tag, before = RowTag(spec, slot_of, known, self), self._by_key.get(known.key)
        if before is not None:
            tag.succeed(before)
            self._tags = {raw: one for raw, one in self._tags.items() if one is not before}
            self._late.pop(before, None)
        self._by_key[known.key] = tag

    def flush(self, out: Pairs) -> None:
        """What was kept for the tags that are there now; the rest is refused."""
        for key, newcomer in self._newcomers.items():
            tag = self._by_key.get(key)
            if tag is None:
                self.tally.refused += len(newcomer.rows)
                continue
            for row, stamp, received in newcomer.rows:
                tag.row, tag.stamp, tag.heard = row, stamp, self.now
                self._box[ROW] = row
                tag.project(self._box, stamp, received, out)
        self._newcomers.clear()
        self._units.clear()

    def learn_unit(self, tag: RowTag, unit: str) -> None:
        """A tag that had no unit has one."""
        self._collect()
        self._units[tag.known.key] = unit[:LONGEST_TEXT]

    def _meet(self, row: Any, stamp: datetime, received: datetime) -> RowTag | None:
        """A row whose key is not in `_tags`: known under another spelling, or new."""
        key = self._key(row)
        if key is None:
            self.tally.unreadable += 1
            return None
        tag = self._by_key.get(key)
        if tag is not None:
            if all(_key_text(getters[0](row)) is not None for getters in self._key_fields):
                self._tags[self._key_of(row)] = tag  # else the first alternatives do not tell it from others
            return tag
        self._keep(key, row, stamp, received)
        return None

    def _keep(self, key: tuple[str, ...], row: Any, stamp: datetime, received: datetime) -> None:
        newcomer = self._newcomers.get(key)
        if newcomer is None:
            if len(self._by_key) + len(self._newcomers) >= self.spec.rule.limit:
                self.tally.refused += 1
                return
            data_type = self._type_of(row)
            if data_type is None:
                return
            self._collect()
            newcomer = self._newcomers[key] = _Newcomer(data_type)
        newcomer.rows.append((row, stamp, received))

    def _collect(self) -> None:
        if not self._newcomers and not self._units:
            self._first_new = self.now
        self._last_new = self.now

    def _type_of(self, row: Any) -> DataType | None:
        """The type that a first value gives its tag; None where it gives none."""
        if self.spec.has_type:
            return self.spec.specimen.definition.data_type
        raw = next((raw for get in self._values if (raw := get(row)) is not MISSING), None)
        if raw is None:
            return None  # no value yet: its type is not known before it has one
        data_type = _KINDS.get(raw.__class__)
        if data_type is None:
            self.tally.unreadable += 1
        return data_type

    def _key(self, row: Any) -> tuple[str, ...] | None:
        """The key's texts; None where a field is missing, or is neither a text nor a whole number."""
        texts = tuple(_first_text(getters, row) for getters in self._key_fields)
        return None if None in texts else texts  # type: ignore[return-value]

    def _known(self, key: tuple[str, ...], newcomer: _Newcomer) -> KnownTag:
        row = newcomer.rows[0][0]
        said = [_shown(get(row)) or text for get, text in zip(self._texts, key, strict=True)]
        unit = None if self.unit_of is None else self.unit_of(row)
        texts = texts_of(said)
        labels = {language: _filled(text, row) for language, text in self.spec.labels.items()}
        if not labels and not self.spec.pattern.rpartition("/")[2].rpartition(">")[2] and said[-1] != texts[-1]:
            labels = {"en": said[-1]}
        return KnownTag(
            self.spec.name,
            key,
            texts,
            newcomer.data_type,
            _shown(unit) if isinstance(unit, str) else "",
            labels,
            _filled(self.spec.tag_rule.description, row),
        )


def _with_unit(known: KnownTag, unit: str) -> KnownTag:
    return KnownTag(known.each, known.key, known.texts, known.data_type, unit, known.labels, known.description)


_KINDS = {bool: DataType.Boolean, int: DataType.Double, float: DataType.Double, str: DataType.String}


_NEVER = datetime.min.replace(tzinfo=UTC)


def _whens(rule: TagRule) -> list[WhenRule]:
    return [*as_list(rule.bad_when), *as_list(rule.uncertain_when)]


def _judges(rule: TagRule) -> list[Getter]:
    """The fields of a row that say whether its value is good."""
    quality = [rule.quality.path] if rule.quality else []
    looked_at = (path for when in _whens(rule) for leaf in leaves(when) for path in paths(leaf))
    return [getter(parse_path(path).keys) for path in dict.fromkeys((*quality, *looked_at))]


def _below_row(path: str | None) -> Getter | None:
    return None if path is None else getter(parse_path(path).keys)


def _getter(text: str) -> Getter:
    path = parse_path(text)
    return getter((path.channel, *path.keys))


def _field_getter(text: str | None) -> Getter | None:
    return None if text is None else _getter(text)


def _key_of(texts: list[str]) -> Callable[[Any], Any]:
    """A row's key as it is; raises KeyError or TypeError where it has none, or has no such fields."""
    paths = [parse_path(text) for text in texts]
    if not any(path.keys for path in paths):
        return itemgetter(*(path.channel for path in paths))
    getters = [_getter(text) for text in texts]
    return lambda row: tuple(get(row) for get in getters)


def _by_fields(tags: Iterable[ChosenTag]) -> list[tuple[Callable[[Any], Any], dict[Any, list[ChosenTag]]]]:
    """Tags by what their rows must say, for each set of fields that tells it, and how those are read from a row."""
    found: dict[tuple[str, ...], dict[Any, list[ChosenTag]]] = {}
    for tag in tags:
        names, wanted = zip(*sorted(tag.place.fields), strict=True)
        choices = found.setdefault(names, {})
        choices.setdefault(wanted[0] if len(wanted) == 1 else wanted, []).append(tag)
    return [(itemgetter(*names), choices) for names, choices in found.items()]


def _first_text(getters: list[Getter], row: Any) -> str | None:
    return next((text for get in getters if (text := _key_text(get(row))) is not None), None)


def _key_text(raw: Any) -> str | None:
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        return None
    text = str(raw) if isinstance(raw, str) or abs(raw) < 2**64 else ""
    return text if 0 < len(text) <= LONGEST_KEY and is_text(text) else None


def _shown(raw: Any) -> str:
    """A field as a text for people; "" where it is none."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return ""
    text = str(raw).strip() if isinstance(raw, str) else f"{raw:g}"
    return text[:LONGEST_TEXT] if is_text(text) else ""


def _filled(text: str, row: Any) -> str:
    """A label or description with what the row says."""
    return FIELD.sub(lambda found: _shown(_getter(found[1])(row)), text).strip() if "<" in text else text


__all__ = ["EachProjection", "RowTag", "Silence", "Tally"]
