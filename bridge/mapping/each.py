"""`each`: tags that appear with the data, one for each key of the rows in a list; compiled once.

    rows -> EachProjection -> KnownTag (kept) -> Names -> EachSpec.tag -> TagSpec -> RowTag

A rule's paths begin in its row; here they are given the channel ROW, so that a row's tag is a tag like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bridge.mapping.names import FIELD, Names, filled
from bridge.mapping.schema import EachRule, TagRule
from bridge.mapping.select import Path, parse_path
from bridge.mapping.tag_spec import KeyPath, Sources, TagSpec, as_list, labels_of, tag_definition, tag_spec
from bridge.model.known_tag import KnownTag
from bridge.model.path import escaped
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


def rule_below_row(rule: TagRule) -> TagRule:
    """The rule with every path below ROW. Raises ValueError for one that is none."""
    raw = rule.model_dump(by_alias=True, exclude_unset=True, exclude={"unit_from"})
    if raw.get("from") is not None:
        raw["from"] = _below(raw["from"])
    if raw.get("time"):
        raw["time"] = below_row(raw["time"])
    if raw.get("quality"):
        told = {key: below_row(raw["quality"][key]) for key in ("from", "reason_from") if raw["quality"].get(key)}
        raw["quality"] = {**raw["quality"], **told}
    for key in ("bad_when", "uncertain_when"):
        if raw.get(key):
            raw[key] = [_when(one) for one in raw[key]] if isinstance(raw[key], list) else _when(raw[key])
    return TagRule.model_validate(raw)


def _below(paths: Any) -> Any:
    if isinstance(paths, str):
        return below_row(paths)
    if isinstance(paths, list):
        return [below_row(path) for path in paths]
    return {name: below_row(path) for name, path in paths.items()}


def _when(raw: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(raw)
    if raw.get("path"):
        changed["path"] = below_row(raw["path"])
    if raw.get("from"):
        changed["from"] = _below(raw["from"])
    if raw.get("all"):
        changed["all"] = [_when(one) for one in raw["all"]]
    return changed
