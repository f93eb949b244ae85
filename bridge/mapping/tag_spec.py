"""One tag as compiled: its definition, its siblings, and where its value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.mapping.recipe import overlap
from bridge.mapping.schema import TagRule, WriteRule
from bridge.model.command import ArgumentRange
from bridge.model.payload_path import Path
from bridge.model.tag import Alarm, Limits, Owner, Range, TagDefinition
from bridge.model.units import UNITS, EngineeringUnits
from bridge.model.value import DataType

KeyPath = tuple[str | int, ...]
Sources = tuple[tuple[str, Path], ...]


@dataclass(frozen=True, slots=True)
class TagSpec:
    """One tag as compiled. `sources` are alternatives, or the names `expr` uses when `named`."""

    definition: TagDefinition
    rule: TagRule
    key_path: KeyPath
    sources: tuple[tuple[str, Path], ...]
    named: bool
    channel: str
    deadband: float
    text: TagDefinition | None = None
    """The sibling that carries an enum's text."""
    alarms: tuple[tuple[TagDefinition, str], ...] = ()
    """Alarm tags made by `limits`, each with the limit's name."""

    @property
    def id_names(self) -> dict[str, str]:
        """Names of tags of this rule whose id is made of an earlier name, and that name: an id is kept for ever."""
        first = next(iter(as_list(self.rule.was)), None)
        if first is None:
            return {}
        return {self.definition.name: first, **({self.text.name: f"{first}Text"} if self.text else {})}

    @property
    def definitions(self) -> tuple[TagDefinition, ...]:
        """All tags that come of this one rule; the tag itself first."""
        text = (self.text,) if self.text else ()
        return (self.definition, *text, *(alarm for alarm, _ in self.alarms))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tags that come of this one rule."""
        return tuple(definition.name for definition in self.definitions)


def tag_spec(definition: TagDefinition, rule: TagRule, sources: Sources, key_path: KeyPath) -> TagSpec:
    """The tag of this definition and rule; `sources` is what `from` says, parsed."""
    return TagSpec(
        definition,
        rule,
        key_path,
        sources,
        isinstance(rule.source, dict),
        sources[0][1].channel,
        _deadband(rule),
        _text_sibling(definition) if rule.enum else None,
        tuple(_alarms(definition, rule)),
    )


def tag_definition(
    name: str,
    rule: TagRule,
    data_type: DataType,
    unit: EngineeringUnits | None = None,
    labels: Mapping[str, str] | None = None,
    description: str | None = None,
    *,
    is_found: bool = False,
) -> TagDefinition:
    """What the rule makes of a tag of this name; unit, labels and description win over the rule's."""
    write = rule.write
    allowed = overlap(_range(rule.range), _range(write.range if write else None))
    return TagDefinition(
        name,
        data_type,
        unit or (UNITS[rule.unit] if rule.unit else None),
        Range(*allowed) if allowed else None,
        dict(rule.enum) if rule.enum else None,
        labels_of(rule.label) if labels is None else labels,
        rule.description if description is None else description,
        write is not None,
        _hazards(write),
        Limits(*(getattr(rule.limits, key) for key in Limits._fields)) if rule.limits else None,
        rule.history,
        _told_alarm(rule) if is_alarm(name) else None,
        is_found=is_found,
    )


def is_percentage(text: str) -> bool:
    """A deadband such as "1%"."""
    try:
        return text.endswith("%") and 0 <= float(text[:-1]) <= 100
    except ValueError:
        return False


def _deadband(rule: TagRule) -> float:
    if isinstance(rule.deadband, str):
        if not rule.range or not is_percentage(rule.deadband):
            return 0.0
        return (rule.range[1] - rule.range[0]) * float(rule.deadband[:-1]) / 100
    return rule.deadband or 0.0


def labels_of(label: str | dict[str, str] | None) -> dict[str, str]:
    """Display name by language."""
    return {"en": label} if isinstance(label, str) else dict(label or {})


def _hazards(write: WriteRule | None) -> frozenset[str]:
    if write is None:
        return frozenset()
    if isinstance(write.hazard, dict):
        return frozenset(hazard for hazards in write.hazard.values() for hazard in hazards)
    return frozenset(write.hazard)


def is_alarm(name: str) -> bool:
    """A tag of this name says whether an alarm is active, and is counted as one."""
    return name.startswith("Alarms/")


def _text_sibling(definition: TagDefinition) -> TagDefinition:
    label = {language: f"{text} (text)" for language, text in definition.label.items()}
    return TagDefinition(definition.name + "Text", DataType.String, label=label, description=definition.description)


MORE_SEVERE = 200
"""How much the outer limits are above the inner ones: two bands of ours."""


def _alarms(definition: TagDefinition, rule: TagRule) -> Iterator[tuple[TagDefinition, str]]:
    below = definition.name.partition("/")[2]
    limits = rule.limits
    for key, word in (("low_low", "LowLow"), ("low", "Low"), ("high", "High"), ("high_high", "HighHigh")):
        limit = getattr(limits, key) if limits else None
        if limits is None or limit is None:
            continue
        unit = f" {definition.unit.symbol}" if definition.unit else ""
        side = "at or below" if key.startswith("low") else "at or above"
        severity = min(1000, limits.severity + MORE_SEVERE * key.count("_"))
        yield (
            TagDefinition(
                f"Alarms/{below}/{word}",
                DataType.Boolean,
                description=f"{definition.display_name} is {side} {limit:g}{unit}",
                alarm=Alarm(severity, definition.name, key, limits.delay or 0.0),
                owner=Owner.BRIDGE,
            ),
            key,
        )
    if rule.alarm is not None and not is_alarm(definition.name):
        texts = f" is {' or '.join(rule.alarm.when)}" if rule.alarm.when else ""
        description = f"{definition.display_name}{texts}"
        alarm = Alarm(rule.alarm.severity, definition.name, "", rule.alarm.delay or 0.0)
        yield (
            TagDefinition(
                f"Alarms/{below}", DataType.Boolean, description=description, alarm=alarm, owner=Owner.BRIDGE
            ),
            "alarm",
        )


def _told_alarm(rule: TagRule) -> Alarm:
    """Of a tag that is an alarm itself."""
    return Alarm(rule.alarm.severity, delay=rule.alarm.delay or 0.0) if rule.alarm else Alarm()


def _range(given: tuple[float, float] | None) -> ArgumentRange | None:
    return ArgumentRange(*given) if given else None


def as_list(value: Any) -> list[Any]:
    """A list as it is, one value as a list, nothing as an empty one."""
    return [] if value is None else value if isinstance(value, list) else [value]
