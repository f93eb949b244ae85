"""From a mapping file to a compiled mapping: `for_each` expanded, every path parsed, every name checked.

Faults are reported, never raised, so that a person sees all of them at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from bridge.errors import did_you_mean
from bridge.mapping.actions import placeholders
from bridge.mapping.conditions import paths
from bridge.mapping.convert import converter
from bridge.mapping.each import ROW, EachSpec, chosen_tag, fields, key_words, rule_below_row, with_paths
from bridge.mapping.expand import Binding, bindings, fill, fill_text
from bridge.mapping.expression import compile_expression
from bridge.mapping.names import filled
from bridge.mapping.recipe import compile_recipe
from bridge.mapping.schema import (
    AlarmRule,
    ArgumentRule,
    ChannelRule,
    CommandRule,
    EachRule,
    ExampleRule,
    ItemStateRule,
    MappingFile,
    RowTagRule,
    Scalar,
    TagRule,
    WhenRule,
    WriteRule,
)
from bridge.mapping.tag_spec import (
    KeyPath,
    TagSpec,
    as_list,
    is_alarm,
    is_percentage,
    labels_of,
    tag_definition,
    tag_spec,
)
from bridge.model.command import UNSET_TIMES, Argument, ArgumentRange, CommandDefinition
from bridge.model.path import SEGMENT
from bridge.model.payload_path import Path, Row, parse_path
from bridge.model.plant import ALIVE, ITEM_STATE, PENDING_BOOKINGS
from bridge.model.tag import GROUPS, TagDefinition
from bridge.model.units import UNITS
from bridge.model.value import DataType, Value

Report = Callable[[KeyPath, str, str, str], None]
"""Takes key path, problem, expected, hint."""

EACH_NAME = re.compile(r"[a-z][a-z0-9_]{0,95}\Z")
"""Lower-case, so that no id made of it is one made of a group's name."""

PATHS = "a path such as state.mode_state.mode, state.outputs[3] or state.zones[name=front,side='left hand'].rpm"

ALARM_COUNT = "Alarms/ActiveCount"
ITEM_STATES = {"NotAvailable": 0, "OutOfService": 1, "NotExecuting": 2, "Executing": 3}
"""MachineryItemState numbers (OPC 40001-1, 9.2)."""

IDENTIFICATION_FIELDS = (
    "Manufacturer",
    "ManufacturerUri",
    "Model",
    "ProductCode",
    "SerialNumber",
    "ProductInstanceUri",
    "DeviceClass",
    "ComponentName",
    "AssetId",
    "Location",
    "YearOfConstruction",
    "MonthOfConstruction",
    "InitialOperationDate",
    "HardwareRevision",
    "SoftwareRevision",
)
"""Fields of MachineIdentificationType (OPC 40001-1, 8.2)."""

VENDOR_GROUPS = tuple(group for group in GROUPS if group not in {"Connection", "Commands", "Identification"})


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command as compiled."""

    name: str
    rule: CommandRule
    arguments: tuple[Argument, ...]
    key_path: KeyPath
    hazards: frozenset[str] = frozenset()
    sets: tuple[tuple[TagSpec, Scalar], ...] = ()
    """Of a recipe: its set points in order, each with "$<argument>" or a value of its type."""

    @property
    def is_booking(self) -> bool:
        """A record, kept while its vendor is offline."""
        return self.rule.when_offline == "queue"


@dataclass(frozen=True, slots=True, eq=False)
class CompiledMapping:
    """A machine type, ready to be bound to machines."""

    name: str
    label: str
    match: Mapping[str, Scalar | list[Scalar]]
    identification: Mapping[str, str]
    channels: Mapping[str, ChannelRule]
    tags: tuple[TagSpec, ...]
    commands: tuple[CommandSpec, ...]
    item_state: ItemStateRule | None
    examples: tuple[ExampleRule, ...] = ()
    was: Mapping[str, str] = field(default_factory=dict)
    each: tuple[EachSpec, ...] = ()
    """Rules of tags that appear with the data."""

    def is_sampled(self, path: str) -> bool:
        """It leads into a list that comes in parts: what is told there is as it was when it was read."""
        return _chosen_row(path, self.each) is not None


def _lists(file: MappingFile) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Paths of the lists of rows, with the name of the rule of `each` that reads them, of its tags, and its key."""
    for name, rule in file.each.items():
        if rule is not None:
            pattern = next(pattern for pattern, tag in rule.tag.items() if tag is not None)
            with suppress(ValueError):  # told where the rule is compiled
                yield parse_path(rule.within), (name, pattern, "=…,".join(as_list(one)[0] for one in rule.key))


class _Compiler:
    def __init__(self, file: MappingFile, overrides: Mapping[str, Any], report: Report) -> None:
        self.file = file
        self.overrides = dict(overrides)
        self.report = report
        self.specs: dict[str, TagSpec] = {}
        self._lists = dict(_lists(file))

    def compile(self) -> CompiledMapping:
        file = self.file
        self._check_channels()
        self._check_identification()
        for name, rule in file.tags.items():
            if rule is not None:
                self._tag(name, rule)
        for name in self.overrides:
            self.report(
                ("overrides", name),
                f"{file.mapping} has no tag of this name",
                "the name of one of its tags",
                did_you_mean(name, self.specs),
            )
        commands = tuple(self._commands())
        self._check_names()
        self._check_references(commands)
        self._check_item_state()
        was = self._earlier_names()
        each = self._with_chosen(list(self._each()))
        self._check_item_state_row(each)
        return CompiledMapping(
            file.mapping,
            file.label,
            file.match,
            file.identification,
            file.channels,
            tuple(self.specs.values()),
            commands,
            file.item_state,
            tuple(file.examples),
            was,
            each,
        )

    def _earlier_names(self) -> dict[str, str]:
        """The tag that has the id of each earlier name."""
        was: dict[str, str] = {}
        for name, spec in self.specs.items():
            for old in as_list(spec.rule.was):
                expected = "an earlier name of this tag alone"
                if not self._name_is_sound(old, (*spec.key_path, "was")):
                    continue
                if old in self.specs:
                    self.report((*spec.key_path, "was"), f"{old} is the name of a tag", expected, "")
                elif was.setdefault(old, name) != name:
                    self.report((*spec.key_path, "was"), f"{old} was also {was[old]}", expected, "")
        return was

    # -- tags ---------------------------------------------------------------------------------------------------------

    def _tag(self, name: str, rule: TagRule) -> None:
        key_path: KeyPath = ("tags", name)
        try:
            bound = list(bindings(name, self.file.for_each))
        except KeyError as error:
            self.report(
                key_path, f"<{error.args[0]}> is not in for_each", "", did_you_mean(error.args[0], self.file.for_each)
            )
            return
        for binding in bound:
            self._bound_tag(name, rule, binding, key_path)

    def _bound_tag(self, name: str, rule: TagRule, binding: Binding, key_path: KeyPath) -> None:
        filled = self._filled(rule, binding, key_path)
        if filled is None:
            return
        text = fill_text(name, binding)
        override = self.overrides.pop(text, None)
        if override is not None:
            key_path = ("overrides", text)
            self._check_override(filled, override, key_path)
            filled = deep_merge(filled, override)
        try:
            bound_rule = TagRule.model_validate(filled)
        except ValidationError as error:
            for detail in error.errors():
                self.report(("overrides", text, *detail["loc"]), detail["msg"].removeprefix("Value error, "), "", "")
            return
        if text in self.specs:
            self.report(key_path, f"{text} is declared twice", "", "")
            return
        spec = self._spec(text, bound_rule, key_path)
        if spec is not None:
            self.specs[text] = spec

    def _check_override(self, rule: Mapping[str, Any], override: Mapping[str, Any], key_path: KeyPath) -> None:
        """A machine may narrow what a set point accepts, never widen it: the mapping's range is the vendor's."""
        ours, theirs = override.get("range"), rule.get("range")
        if "write" not in rule or ours is None or theirs is None or not _is_range(ours) or not _is_range(theirs):
            return
        if ours[0] < theirs[0] or ours[1] > theirs[1]:
            expected = f"a range within [{theirs[0]:g}, {theirs[1]:g}]"
            self.report((*key_path, "range"), "is wider than what the mapping allows", expected, "")

    def _filled(self, rule: TagRule | CommandRule, binding: Binding, key_path: KeyPath) -> dict[str, Any] | None:
        raw = rule.model_dump(by_alias=True, exclude_unset=True)
        try:
            filled: dict[str, Any] = fill(raw, binding)
        except KeyError as error:
            self.report(key_path, f"{error.args[0]} stands for nothing here", "a variable that the name uses", "")
            return None
        return filled

    def _spec(self, name: str, rule: TagRule, key_path: KeyPath) -> TagSpec | None:
        if not self._name_is_sound(name, key_path):
            return None
        sources = self._sources(rule, key_path)
        data_type = self._data_type(rule, key_path)
        if sources is None or data_type is None:
            return None
        if is_alarm(name) and (data_type is not DataType.Boolean or rule.write is not None):
            self.report(key_path, "an alarm is active or not", "type: Boolean, and no write", "")
            return None
        self._check_rule(rule, data_type, key_path)
        return tag_spec(tag_definition(name, rule, data_type), rule, sources, key_path)

    def _name_is_sound(self, name: str, key_path: KeyPath) -> bool:
        group, *levels = name.split("/")
        if group not in VENDOR_GROUPS:
            expected = f"a name that begins with {', '.join(VENDOR_GROUPS)}"
            self.report(
                key_path,
                f"{group!r} is not a group for a vendor's values",
                expected,
                did_you_mean(group, VENDOR_GROUPS),
            )
            return False
        if not levels or not all(SEGMENT.match(level) for level in levels):
            self.report(key_path, f"{name!r} is no tag name", "<Group>/<Tag> with letters, digits, _ and - only", "")
            return False
        if name in {ITEM_STATE, ALIVE, ALARM_COUNT, PENDING_BOOKINGS}:
            self.report(key_path, f"{name} is made by the bridge", "another name, or item_state:", "")
            return False
        return True

    def _sources(self, rule: TagRule, key_path: KeyPath) -> tuple[tuple[str, Path], ...] | None:
        if rule.source is None:
            self.report(key_path, "says nothing about where the value comes from", "from: <channel>.<path>", "")
            return None
        pairs = (
            list(rule.source.items())
            if isinstance(rule.source, dict)
            else [("v", text) for text in as_list(rule.source)]
        )
        parsed = [(name, self._path(text, (*key_path, "from"))) for name, text in pairs]
        known = tuple((name, path) for name, path in parsed if path is not None)
        if not parsed or len(known) < len(parsed):
            return None
        if not isinstance(rule.source, dict) and len({path.channel for _, path in known}) > 1:
            expected = "alternatives of one channel: freshness belongs to the channel"
            self.report((*key_path, "from"), "its alternatives come from different channels", expected, "")
            return None
        return known

    def _path(self, text: str, key_path: KeyPath) -> Path | None:
        try:
            path = parse_path(text)
        except ValueError as error:
            self.report(key_path, f"{text!r} is {error}", PATHS, "")
            return None
        if self.file.channels and path.channel not in self.file.channels:
            known = ", ".join(self.file.channels)
            self.report(
                key_path,
                f"{path.channel!r} is no channel of this mapping",
                f"one of {known}",
                did_you_mean(path.channel, self.file.channels),
            )
            return None
        return path if self._is_no_row(text, path, key_path) else None

    def _is_no_row(self, text: str, path: Path, key_path: KeyPath) -> bool:
        """Rows come in parts and in any order: a place in their list is one tag's row now, and another's next."""
        for rows, (name, pattern, key) in self._lists.items():
            is_within = (rows.channel, rows.keys) == (path.channel, path.keys[: len(rows.keys)])
            place = next(iter(path.keys[len(rows.keys) :]), None)
            if is_within and isinstance(place, int):
                problem = f"{text!r} is whatever row stands at place {place}: {rows} is the list of each: {name}"
                expected = (
                    f"a row by what it says, such as {rows}[{key}=…]; {name} makes a tag of each row too ({pattern})"
                )
                self.report(key_path, problem, expected, "")
                return False
        return True

    def _data_type(self, rule: TagRule, key_path: KeyPath) -> DataType | None:
        if rule.enum is not None:
            if rule.type not in (None, DataType.UInt32):
                self.report((*key_path, "type"), "an enum is UInt32 on every face", "no type, or UInt32", "")
            return DataType.UInt32
        if rule.type is None:
            self.report(key_path, "has no type", "type: Double, Boolean, String, Int32, Int64, UInt32 or DateTime", "")
        return rule.type

    def _check_rule(self, rule: TagRule, data_type: DataType, key_path: KeyPath) -> None:
        for key in ("unit", "range", "limits", "scale", "offset", "deadband"):
            if getattr(rule, key) is not None and (not data_type.is_numeric or rule.enum):
                kind = "an enum" if rule.enum else data_type.value
                self.report((*key_path, key), f"{kind} has no {key}", "a numeric type", "")
        if rule.range and rule.range[0] >= rule.range[1]:
            self.report((*key_path, "range"), "the low end is not below the high end", "[low, high]", "")
        self._check_deadband(rule, key_path)
        if rule.enum and len(set(rule.enum.values())) != len(rule.enum):
            self.report((*key_path, "enum"), "two texts have one number", "a number of its own for each text", "")
        if rule.enum and any(number < 0 for number in rule.enum.values()):
            self.report((*key_path, "enum"), "a number is negative", "numbers from 0 on", "")
        if rule.precision is not None and data_type is not DataType.Double:
            self.report(
                (*key_path, "precision"), f"{data_type.value} has no digits after the point", "type: Double", ""
            )
        if rule.alarm is not None:
            self._check_alarm(rule, rule.alarm, data_type, key_path)
        if rule.limits:
            limits = rule.limits
            ladder = [v for v in (limits.low_low, limits.low, limits.high, limits.high_high) if v is not None]
            if ladder != sorted(ladder) or not ladder:
                self.report((*key_path, "limits"), "not in order", "low_low <= low <= high <= high_high", "")
        self._check_expression(rule, key_path)
        self._check_interval(rule, key_path)
        self._check_statuses(rule, key_path)
        for key in ("bad_when", "uncertain_when"):
            for when in as_list(getattr(rule, key)):
                self._check_when(when, (*key_path, key))
        quality = rule.quality
        told = (quality and quality.path, quality and quality.reason_from)
        for key, text in (*(("quality", path) for path in told), ("time", rule.time)):
            if text:
                self._path(text, (*key_path, key))
        if rule.write:
            self._check_write(rule, rule.write, key_path)

    def _check_alarm(self, rule: TagRule, alarm: AlarmRule, data_type: DataType, key_path: KeyPath) -> None:
        here = (*key_path, "alarm")
        if rule.enum is None and data_type is not DataType.Boolean:
            self.report(
                here, f"{data_type.value} is neither on nor off", "a Boolean or an enum; limits: of a number", ""
            )
        elif rule.enum is None and alarm.when is not None:
            self.report((*here, "when"), "a Boolean is an alarm while it is true", "no when", "")
        elif rule.enum is not None and alarm.when is None:
            self.report(here, "does not say which of the texts are an alarm", "when: [<text>, …]", "")
        for text in alarm.when or ():
            if rule.enum is not None and text not in rule.enum:
                self.report(
                    (*here, "when"), f"{text!r} is not in enum", ", ".join(rule.enum), did_you_mean(text, rule.enum)
                )

    def _check_deadband(self, rule: TagRule, key_path: KeyPath) -> None:
        here = (*key_path, "deadband")
        if isinstance(rule.deadband, str) and not is_percentage(rule.deadband):
            self.report(here, f"{rule.deadband!r} is no deadband", "a number, or a percentage such as 1%", "")
        elif isinstance(rule.deadband, str) and not rule.range:
            self.report(here, "a percentage needs a range", "range: [low, high]", "")
        elif not isinstance(rule.deadband, str) and rule.deadband is not None and rule.deadband < 0:
            self.report(here, "is negative", "0 or more", "")

    def _check_statuses(self, rule: TagRule, key_path: KeyPath) -> None:
        """Bad has no value, Uncertain keeps it: a status that contradicts its key would do neither."""
        asked = [("absent", "Bad", rule.absent)]
        asked += [("bad_when", "Bad", when.status) for when in as_list(rule.bad_when)]
        asked += [("uncertain_when", "Uncertain", when.status) for when in as_list(rule.uncertain_when)]
        for key, severity, status in asked:
            if status is not None and not status.startswith(severity):
                expected = f"a status that begins with {severity}"
                self.report((*key_path, key), f"{status} is not {severity}", expected, "")

    def _check_expression(self, rule: TagRule, key_path: KeyPath) -> None:
        if isinstance(rule.source, dict) and rule.expr is None:
            self.report((*key_path, "from"), "names are of no use without expr", "expr:, or one path", "")
        if rule.expr is None:
            return
        names = frozenset(rule.source) if isinstance(rule.source, dict) else frozenset({"v"})
        self._check_cel(rule.expr, names, (*key_path, "expr"))

    def _check_cel(self, text: str, names: frozenset[str], key_path: KeyPath) -> None:
        try:
            compile_expression(text, names)
        except ValueError as error:
            self.report(key_path, str(error), "a CEL expression such as v * 2.0", "")

    def _check_interval(self, rule: TagRule, key_path: KeyPath) -> None:
        first = next(iter(as_list(rule.source)), "")
        channel = self.file.channels.get(str(first).partition(".")[0])
        if rule.min_interval is not None and channel is not None and channel.on_change:
            problem = "would swallow the last change: this channel speaks on change only"
            self.report((*key_path, "min_interval"), problem, "min_interval on a periodic channel", "")

    def _check_when(self, when: WhenRule, key_path: KeyPath) -> None:
        for inner in when.all or ():
            for key, given in (("for", inner.lasting), ("status", inner.status), ("reason", inner.reason)):
                if given is not None:
                    self.report((*key_path, "all"), f"{key} is said inside all", f"{key} beside all", "")
            self._check_when(inner, key_path)
        for path in paths(when):
            self._path(path, (*key_path, "path" if when.path is not None else "from"))
        if when.expr is not None:
            self._check_cel(when.expr, frozenset(when.source or {}), (*key_path, "expr"))

    def _check_write(self, rule: TagRule, write: WriteRule, key_path: KeyPath) -> None:
        here = (*key_path, "write")
        asked = set(placeholders(write.send))
        if asked - {"value"}:
            self.report((*here, "send"), f"${sorted(asked - {'value'})[0]} stands for nothing", "$value", "")
        if "value" not in asked:
            self.report((*here, "send"), "the new value is not sent", "$value somewhere in it", "")
        for key in ("scale", "offset", "map", "expr"):
            if getattr(rule, key) is not None:
                problem = "is written as it is sent, but read through this"
                self.report((*key_path, key), problem, "a set point in the vendor's own unit and words", "")
        texts = rule.enum or {}
        for key, words in (("hazard", write.hazard if isinstance(write.hazard, dict) else {}), ("safe", write.safe)):
            for word in words:
                if word not in texts:
                    self.report(
                        (*here, key), f"{word!r} is no text of the enum", ", ".join(texts), did_you_mean(word, texts)
                    )
        if isinstance(write.hazard, dict) and (missing := [text for text in texts if text not in write.hazard]):
            self.report(
                (*here, "hazard"), f"{', '.join(missing)} is not mentioned", "a list for each text of the enum", ""
            )
        if write.confirm_path is not None:
            self._path(write.confirm_path, (*here, "confirm_path"))

    # -- tags that appear with the data -------------------------------------------------------------------------------

    def _each(self) -> Iterator[EachSpec]:
        for name, rule in self.file.each.items():
            if rule is not None:
                spec = self._each_spec(name, rule, ("each", name))
                if spec is not None:
                    yield spec

    def _each_spec(self, name: str, rule: EachRule, key_path: KeyPath) -> EachSpec | None:
        if not EACH_NAME.match(name):
            expected = "lower-case letters, digits and _: ids of tags begin with it"
            self.report(key_path, f"{name!r} is no name for a rule", expected, "")
            return None
        pattern, tag = next((pattern, tag) for pattern, tag in rule.tag.items() if tag is not None)
        here = (*key_path, "tag", pattern)
        path = self._path(rule.within, (*key_path, "in"))
        checks = (
            self._check_key(rule, key_path),
            self._check_pattern(pattern, rule, here),
            self._check_row_texts(tag, here),
        )
        row_rule = self._row_rule(tag, here)
        if not all(checks) or path is None or row_rule is None:
            return None
        specimen = self._specimen(pattern, row_rule, path.channel, here)
        if specimen is None:
            return None
        return EachSpec(name, rule, path, pattern, row_rule, tag.unit_from, specimen.sources, specimen, key_path)

    def _with_chosen(self, each: Sequence[EachSpec]) -> tuple[EachSpec, ...]:
        """The rules, each with the tags that choose one of its rows."""
        chosen: dict[str, list[tuple[Row, TagSpec]]] = {spec.name: [] for spec in each}
        for tag in self.specs.values():
            found = {place for text in _paths_of(tag.rule) if (place := _chosen_row(text, each))}
            if len(found) > 1:
                problem, expected = "looks at more than one row of a list", "a tag for each row"
                self.report((*tag.key_path, "from"), problem, expected, "")
            for name, row in found if len(found) == 1 else ():
                rule = next(spec for spec in each if spec.name == name)
                if self._chooses_one(tag, row, rule):
                    chosen[name] += self._chosen(tag, row, rule)
        return tuple(replace(spec, chosen=tuple(chosen[spec.name])) for spec in each)

    def _chooses_one(self, tag: TagSpec, row: Row, each: EachSpec) -> bool:
        named = {name for name, _ in row.fields}
        lacking = [one for one in each.rule.key if not named.intersection(as_list(one))]
        if not lacking:
            return True
        problem = f"{each.path}{row} may be several rows: each: {each.name} tells them apart by {key_words(each.rule)}"
        self.report((*tag.key_path, "from"), problem, f"{' or '.join(as_list(lacking[0]))} too", "")
        return False

    def _chosen(self, tag: TagSpec, row: Row, each: EachSpec) -> list[tuple[Row, TagSpec]]:
        try:
            return [(row, chosen_tag(tag, each.path, row, each.tag_rule))]
        except ValueError as error:
            problem = f"{str(error)!r} leads elsewhere, and the tag is of the row {each.path}{row}"
            expected = "paths into that row only: its list comes in parts"
            self.report((*tag.key_path, "from"), problem, expected, "")
            return []

    def _check_item_state_row(self, each: Sequence[EachSpec]) -> None:
        rule = self.file.item_state
        if rule is not None and any(tag.definition.name == rule.source for one in each for _, tag in one.chosen):
            problem = f"{rule.source} is of a row of a list that comes in parts"
            self.report(("item_state", "from"), problem, "a tag of what is told as a whole", "")

    def _row_rule(self, tag: RowTagRule, key_path: KeyPath) -> TagRule | None:
        try:
            rule = rule_below_row(tag)
        except ValueError as error:
            self.report(key_path, f"holds a path that is {error}", "a path that begins in the row, such as value", "")
            return None
        if rule.type is None and rule.enum is None and (rule.expr or rule.map or rule.null_is is not None):
            expected = "type:, since JSON does not tell what comes of expr, map or null_is"
            self.report(key_path, "has no type", expected, "")
            return None
        return rule

    def _check_key(self, rule: EachRule, key_path: KeyPath) -> bool:
        is_sound = True
        for index, texts in enumerate(rule.key):
            for text in as_list(texts):
                is_sound &= self._is_field(text, (*key_path, "key", index))
        if not all(rule.key):
            self.report((*key_path, "key"), "has an empty list of fields", "fields of the row", "")
            return False
        return is_sound

    def _is_field(self, text: str, key_path: KeyPath) -> bool:
        try:
            parse_path(text)
        except ValueError as error:
            self.report(key_path, f"{text!r} is {error}", "a field of the row, such as metric", "")
            return False
        return True

    def _check_pattern(self, pattern: str, rule: EachRule, key_path: KeyPath) -> bool:
        named, levels = fields(pattern), pattern.split("/")
        if len(named) != len(rule.key):
            expected = f"as many <field> as key has fields, in that order ({key_words(rule)})"
            self.report(key_path, f"has {len(named)} fields in its name", expected, "")
            return False
        if any(len(fields(level)) > 1 for level in levels) or fields(levels[0]):
            self.report(key_path, f"{pattern!r} is no name", "<Group>/… with one <field> a level at most", "")
            return False
        return all(self._is_field(text, key_path) for text in named)

    def _check_row_texts(self, rule: RowTagRule, key_path: KeyPath) -> bool:
        is_sound = rule.unit_from is None or self._is_field(rule.unit_from, (*key_path, "unit_from"))
        for text in (*labels_of(rule.label).values(), rule.description):
            is_sound = all(self._is_field(one, key_path) for one in fields(text)) and is_sound
        return is_sound

    def _specimen(self, pattern: str, rule: TagRule, channel: str, key_path: KeyPath) -> TagSpec | None:
        """The tag as it would be of a number, or of the type it says: compiled to find what is wrong."""
        channels = {ROW: self.file.channels.get(channel, ChannelRule())}
        inside = _Compiler(self.file.model_copy(update={"channels": channels, "each": {}}), {}, self.report)
        name = filled(pattern, ["x"] * len(fields(pattern)))
        given = rule if rule.type or rule.enum else rule.model_copy(update={"type": DataType.Double})
        return inside._spec(name, given, key_path)

    # -- commands -----------------------------------------------------------------------------------------------------

    def _commands(self) -> Iterator[CommandSpec]:
        for name, rule in self.file.commands.items():
            if rule is None:
                continue
            key_path: KeyPath = ("commands", name)
            try:
                bound = list(bindings(name, self.file.for_each))
            except KeyError as error:
                self.report(
                    key_path,
                    f"<{error.args[0]}> is not in for_each",
                    "",
                    did_you_mean(error.args[0], self.file.for_each),
                )
                continue
            for binding in bound:
                filled = self._filled(rule, binding, key_path)
                if filled is not None:
                    self._check_filled(rule, filled, key_path)
                    yield self._command(fill_text(name, binding), CommandRule.model_validate(filled), key_path)

    def _check_filled(self, rule: CommandRule, filled: Mapping[str, Any], key_path: KeyPath) -> None:
        if rule.set is not None and len(filled["set"]) < len(rule.set):
            self.report((*key_path, "set"), "names a set point twice", "each set point once", "")

    def _command(self, name: str, rule: CommandRule, key_path: KeyPath) -> CommandSpec:
        if not all(SEGMENT.match(level) for level in name.split("/")):
            self.report(key_path, f"{name!r} is no command name", "letters, digits, _ and - in levels parted by /", "")
        if rule.set is not None:
            recipe = compile_recipe(rule, self.specs, key_path, self.report)
            return CommandSpec(name, rule, recipe.arguments, key_path, recipe.hazards, recipe.sets)
        asked = set(placeholders(rule.send))
        for unknown in sorted(asked - set(rule.args)):
            self.report(
                (*key_path, "send"),
                f"${unknown} is no argument",
                ", ".join(rule.args),
                did_you_mean(unknown, rule.args),
            )
        for unused in sorted(set(rule.args) - asked):
            self.report((*key_path, "args", unused), "is never sent", f"${unused} in send", "")
        for word, argument in rule.args.items():
            if isinstance(argument, ArgumentRule):
                self._check_argument(argument, (*key_path, "args", word))
        arguments = tuple(_argument(word, argument) for word, argument in rule.args.items())
        return CommandSpec(name, rule, arguments, key_path, frozenset(rule.hazard))

    def _check_argument(self, rule: ArgumentRule, key_path: KeyPath) -> None:
        if rule.person and (rule.type is not DataType.String or rule.enum or rule.range):
            self.report((*key_path, "person"), "a person is a text", "type: String, without enum and range", "")
        if rule.default is None:
            return
        here = (*key_path, "default")
        if rule.enum is not None:
            if rule.default not in rule.enum:
                hint = did_you_mean(str(rule.default), rule.enum)
                self.report(here, f"{rule.default!r} is not accepted", ", ".join(rule.enum), hint)
        elif (default := _default(rule)) is None:
            self.report(here, f"{rule.default!r} is none of the type {rule.type.value}", _default_wanted(rule), "")
        elif rule.range is not None and not rule.range[0] <= float(default) <= rule.range[1]:  # type: ignore[arg-type]
            self.report(here, "is out of range", f"{rule.range[0]:g} to {rule.range[1]:g}", "")

    # -- the file as a whole ------------------------------------------------------------------------------------------

    def _check_channels(self) -> None:
        for name, channel in self.file.channels.items():
            other = channel.alive_by
            if other is not None and other not in self.file.channels:
                hint = did_you_mean(other, self.file.channels)
                self.report(
                    ("channels", name, "alive_by"), f"{other!r} is no channel", ", ".join(self.file.channels), hint
                )

    def _check_identification(self) -> None:
        for name in self.file.identification:
            if name not in IDENTIFICATION_FIELDS:
                self.report(
                    ("identification", name),
                    "is no field of MachineIdentificationType",
                    ", ".join(IDENTIFICATION_FIELDS),
                    did_you_mean(name, IDENTIFICATION_FIELDS),
                )

    def _all_definitions(self) -> Iterator[tuple[TagDefinition, KeyPath]]:
        for spec in self.specs.values():
            yield spec.definition, spec.key_path
            if spec.text:
                yield spec.text, spec.key_path
            for alarm, _ in spec.alarms:
                yield alarm, spec.key_path

    def _check_names(self) -> None:
        seen: dict[str, str] = {}
        for definition, key_path in self._all_definitions():
            name = definition.name
            other = seen.setdefault(name.lower(), name)
            if other != name:
                self.report(key_path, f"{name} and {other} differ only in case", "names that differ otherwise", "")
        names = set(seen.values())
        counted = Counter(definition.name for definition, _ in self._all_definitions())
        for name, count in counted.items():
            if count > 1:
                key_path = self.specs[name].key_path if name in self.specs else ("tags",)
                self.report(key_path, f"{name} is also made by enum or limits of another tag", "another name", "")
        for name in names:
            folder = name.rpartition("/")[0]
            while "/" in folder:
                if folder in names:
                    key_path = self.specs[folder].key_path if folder in self.specs else ("tags",)
                    self.report(key_path, f"{folder} is a tag and also the folder of {name}", "a name of its own", "")
                folder = folder.rpartition("/")[0]

    def _check_references(self, commands: Sequence[CommandSpec]) -> None:
        for spec in self.specs.values():
            if spec.rule.write:
                here = (*spec.key_path, "write")
                self._check_confirm(spec.rule.write.confirm, {"value"}, (*here, "confirm"))
                self._check_tags(spec.rule.write.requires, (*here, "requires"))
        for command in commands:
            comparable = {argument.name for argument in command.arguments if not argument.person}
            self._check_confirm(command.rule.confirm, comparable, (*command.key_path, "confirm"))
            self._check_tags(command.rule.requires, (*command.key_path, "requires"))

    def _check_confirm(self, confirm: Any, given: set[str], key_path: KeyPath) -> None:
        for alternative in confirm_alternatives(confirm):
            for name in sorted(set(placeholders(alternative)) - given):
                self.report(key_path, f"${name} stands for nothing", ", ".join(f"${word}" for word in given), "")
            self._check_tags(alternative, key_path)

    def _check_tags(self, wanted: Mapping[str, Any], key_path: KeyPath) -> None:
        """The tags exist, and those that are enums have these texts."""
        for name, value in wanted.items():
            spec = self.specs.get(name)
            if spec is None:
                problem, expected = f"there is no tag {name}", "the name of a tag of this mapping"
                self.report(key_path, problem, expected, did_you_mean(name, self.specs))
            elif spec.rule.enum and value not in spec.rule.enum and not list(placeholders(value)):
                hint = did_you_mean(str(value), spec.rule.enum)
                self.report(key_path, f"{value!r} is no text of {name}", ", ".join(spec.rule.enum), hint)

    def _check_item_state(self) -> None:
        rule = self.file.item_state
        if rule is None:
            return
        spec = self.specs.get(rule.source)
        if spec is None:
            self.report(
                ("item_state", "from"),
                f"there is no tag {rule.source}",
                "a tag's name",
                did_you_mean(rule.source, self.specs),
            )
        elif spec.rule.enum:
            for text in rule.map:
                if text not in spec.rule.enum:
                    hint = did_you_mean(str(text), spec.rule.enum)
                    self.report(
                        ("item_state", "map"), f"{text!r} is no text of {rule.source}", ", ".join(spec.rule.enum), hint
                    )


def compile_mapping(file: MappingFile, report: Report, overrides: Mapping[str, Any] | None = None) -> CompiledMapping:
    """The mapping, compiled; what is wrong with it goes to `report` (paths under "overrides" for the overrides).

    Args:
        file: the mapping with its `extends` already merged in.
        report: called once for each fault.
        overrides: a machine's own changes of tag rules, by tag name.
    """
    return _Compiler(file, overrides or {}, report).compile()


def deep_merge(base: Any, change: Any) -> Any:
    """`change` laid over `base`: dicts are merged key by key, everything else is replaced."""
    if isinstance(base, dict) and isinstance(change, Mapping):
        return {**base, **{key: deep_merge(base.get(key), inner) for key, inner in change.items()}}
    return change


def confirm_alternatives(confirm: Any) -> list[dict[str, Any]]:
    """The alternatives of a `confirm`: each is a conjunction of tag name and value."""
    if not confirm:
        return []
    if set(confirm) == {"any"} and isinstance(confirm["any"], list):
        return list(confirm["any"])
    return [confirm]


def _paths_of(rule: TagRule) -> list[str]:
    """Every path that the tag's value is made of."""
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    with_paths(rule, note)
    return found


def _chosen_row(text: str, each: Sequence[EachSpec]) -> tuple[str, Row] | None:
    """The row of a list of `each` that a path leads into, by what it says; and the rule's name."""
    try:
        path = parse_path(text)
    except ValueError:  # told where the tag is compiled
        return None
    for spec in each:
        depth = len(spec.path.keys)
        row = path.keys[depth] if len(path.keys) > depth else None
        if path.channel == spec.path.channel and path.keys[:depth] == spec.path.keys and isinstance(row, Row):
            return spec.name, row
    return None


def _is_range(given: Any) -> bool:
    return (
        isinstance(given, list | tuple)
        and len(given) == 2
        and all(isinstance(end, int | float) and not isinstance(end, bool) for end in given)
    )


def _argument(name: str, rule: tuple[float, float] | ArgumentRule) -> Argument:
    if isinstance(rule, tuple):
        return Argument(name, DataType.Double, ArgumentRange(*rule))
    return Argument(
        name,
        DataType.String if rule.enum else rule.type,
        ArgumentRange(*rule.range) if rule.range else None,
        tuple(rule.enum or ()),
        UNITS[rule.unit] if rule.unit else None,
        rule.description,
        default=_default(rule),
        person=rule.person,
    )


def _default(rule: ArgumentRule) -> Value:
    """In the argument's type; None where there is none, or it does not fit. A time that never changes is no default."""
    if rule.type is DataType.DateTime:
        return UNSET_TIMES[0] if rule.default == "now" else None
    if rule.default is None:
        return None
    try:
        return converter(DataType.String if rule.enum else rule.type)(rule.default)
    except ValueError:
        return None


def _default_wanted(rule: ArgumentRule) -> str:
    return (
        "now, or no default: a time that never changes is none" if rule.type is DataType.DateTime else rule.type.value
    )


def command_definition(spec: CommandSpec, part: str) -> CommandDefinition:
    """The command as every face sees it."""
    rule = spec.rule
    return CommandDefinition(
        spec.name, part, spec.arguments, spec.hazards, rule.safe, labels_of(rule.label), rule.description
    )


__all__ = [
    "ALARM_COUNT",
    "IDENTIFICATION_FIELDS",
    "ITEM_STATES",
    "CommandSpec",
    "CompiledMapping",
    "TagSpec",
    "command_definition",
    "compile_mapping",
    "confirm_alternatives",
    "deep_merge",
]
