"""`each`: tags that appear with the data, one for each key of the rows in a list; compiled once.

    rows -> EachProjection -> KnownTag (kept) -> Names -> EachSpec.tag -> TagSpec -> RowTag

A rule's paths begin in its row; here they are given the channel ROW, so that a row's tag is a tag like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bridge.mapping.names import FIELD, Names, filled
from bridge.mapping.schema import EachRule, TagRule
from bridge.mapping.tag_spec import KeyPath, Sources, TagSpec, as_list, labels_of, tag_definition, tag_spec
from bridge.model.known_tag import KnownTag
from bridge.model.path import escaped
from bridge.model.payload_path import Path, Row, parse_path
from bridge.model.tag import Tag
from bridge.model.units import unit_of
from bridge.model.value import DataType

ROW = "row"
"""The channel that a row is to the tag made of it."""

NO_SLOT = -1
"""Of a tag that is not there yet."""

_OF_NUMBERS = ("unit", "range", "deadband", "scale", "offset", "precision", "limits")
"""What a tag that turns out to be no number does without."""


@dataclass(frozen=True, slots=True, eq=False)
class EachSpec:
    """One rule of `each` as compiled."""

    name: str
    rule: EachRule
    path: Path
    """Of the list of rows."""
    pattern: str
    tag_rule: TagRule
    """The tag's rule, its paths below ROW."""
    unit_from: str | None
    sources: Sources
    specimen: TagSpec
    """The tag as it would be of a number: what is wrong with the rule shows in it."""
    key_path: KeyPath
    chosen: tuple[tuple[Row, TagSpec], ...] = ()
    """Tags of the mapping's own that look at one row, as that row sees them."""

    @property
    def has_alarms(self) -> bool:
        """Its tags are alarms, or make some."""
        return bool(self.specimen.alarms) or self.specimen.definition.alarm is not None

    def tag(self, known: KnownTag, texts: Sequence[str]) -> TagSpec:
        """The tag of a row, called after these texts."""
        rule, is_number = self._rule_of(known.data_type), known.data_type.is_numeric and not self.tag_rule.enum
        definition = tag_definition(
            filled(self.pattern, texts),
            rule,
            known.data_type,
            unit_of(known.unit) if known.unit and is_number else None,
            known.labels,
            known.description,
            is_found=True,
        )
        return tag_spec(definition, rule, self.sources, self.key_path)

    def names(self, name: str, data_type: DataType) -> tuple[str, ...]:
        """Every name that a tag of this name and type makes."""
        if len(self.specimen.definitions) == 1:
            return (name,)
        rule = self._rule_of(data_type)
        return tag_spec(tag_definition(name, rule, data_type), rule, self.sources, self.key_path).names

    def place(self, names: Names, known: KnownTag) -> tuple[str, ...] | None:
        """What stands for the fields of its name in this machine; None where it has no place."""
        if len(known.texts) != len(known.key) or len(known.key) != len(self.rule.key):
            return None  # the mapping had another key once
        return names.place(self.pattern, known.key, known.texts, lambda name: self.names(name, known.data_type))

    def _rule_of(self, data_type: DataType) -> TagRule:
        if data_type.is_numeric and not self.tag_rule.enum:
            return self.tag_rule
        return self.tag_rule.model_copy(update=dict.fromkeys(_OF_NUMBERS))

    def tag_id(self, machine: str, key: Sequence[str]) -> str:
        """The id of the tag of this key: "agent-1.readings.3f2a.temperature"."""
        return ".".join((machine, self.name, *map(escaped, key)))

    def outlook(self, machine: str) -> Tag:
        """What its tags of this machine will look like, fields still in name and id; in no slot."""
        identifier = ".".join((machine, self.name, *(f"<{as_list(field)[0]}>" for field in self.rule.key)))
        return Tag(identifier, NO_SLOT, machine, replace(self.specimen.definition, name=self.pattern, is_found=True))

    @property
    def has_type(self) -> bool:
        """The rule says the type; else the first value does."""
        return self.tag_rule.type is not None or self.tag_rule.enum is not None

    @property
    def labels(self) -> Mapping[str, str]:
        """Display names by language, with fields in them."""
        return labels_of(self.tag_rule.label)


def key_words(rule: EachRule) -> str:
    """The fields of a rule's key, for people."""
    return ", ".join(" or ".join(as_list(field)) for field in rule.key)


def fields(text: str) -> list[str]:
    """The row's fields that a name, label or description uses, in order."""
    return FIELD.findall(text)


def below_row(path: str) -> str:
    """A path that begins in the row, as one of the channel ROW. Raises ValueError where it is none."""
    parse_path(path)
    return f"{ROW}.{path}"


JUDGING = ("time", "quality", "bad_when", "uncertain_when")
"""What a rule says of its rows holds for the tag of a chosen row too, where that does not say its own."""


def chosen_tag(tag: TagSpec, rows: Path, row: Row, every: TagRule) -> TagSpec:
    """A tag whose paths all lead into one row, as that row sees it. `every`: the rule of all rows of that list.

    Raises ValueError, with the path, where one leads elsewhere.
    """
    inside = (*rows.keys, row)

    def below(text: str) -> str:
        path = parse_path(text)
        if path.channel != rows.channel or path.keys[: len(inside)] != inside:
            raise ValueError(text)
        return str(Path(ROW, path.keys[len(inside) :]))

    inherited = {key: getattr(every, key) for key in JUDGING if key not in tag.rule.model_fields_set}
    rule = with_paths(tag.rule, below).model_copy(update=inherited)
    sources = tuple((name, parse_path(below(str(path)))) for name, path in tag.sources)
    return tag_spec(tag.definition, rule, sources, tag.key_path)


def rule_below_row(rule: TagRule) -> TagRule:
    """The rule with every path below ROW. Raises ValueError for one that is none."""
    return with_paths(rule, below_row)


def with_paths(rule: TagRule, change: Callable[[str], str]) -> TagRule:
    """The rule with every path that its value is made of changed."""
    raw = rule.model_dump(by_alias=True, exclude_unset=True, exclude={"unit_from"})
    if raw.get("from") is not None:
        raw["from"] = _changed(raw["from"], change)
    if raw.get("time"):
        raw["time"] = change(raw["time"])
    if raw.get("quality"):
        told = {key: change(raw["quality"][key]) for key in ("from", "reason_from") if raw["quality"].get(key)}
        raw["quality"] = {**raw["quality"], **told}
    for key in ("bad_when", "uncertain_when"):
        if raw.get(key):
            whens = raw[key]
            raw[key] = [_when(one, change) for one in whens] if isinstance(whens, list) else _when(whens, change)
    return TagRule.model_validate(raw)


def _changed(paths: Any, change: Callable[[str], str]) -> Any:
    if isinstance(paths, str):
        return change(paths)
    if isinstance(paths, list):
        return [change(path) for path in paths]
    return {name: change(path) for name, path in paths.items()}


def _when(raw: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    changed = dict(raw)
    if raw.get("path"):
        changed["path"] = change(raw["path"])
    if raw.get("from"):
        changed["from"] = _changed(raw["from"], change)
    if raw.get("all"):
        changed["all"] = [_when(one, change) for one in raw["all"]]
    return changed
