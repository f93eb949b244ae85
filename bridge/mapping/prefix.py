"""Prefix: a mapping whose tags and commands have names one level deeper, so that two of a kind fit into one machine.

KPI/Today/Run of a part with `prefix: Quantiix` is KPI/Quantiix/Today/Run, and the command Standby is Quantiix/Standby.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from bridge.mapping.schema import CommandRule, EachRule, MappingFile, TagRule

Rename = Callable[[str], str]
RuleType = TypeVar("RuleType", bound=BaseModel)


def prefixed(file: MappingFile, prefix: str) -> MappingFile:
    """The mapping with `prefix` after the group of every tag's name, earlier names too, and before every command's.

    Its examples are left out: they were run without the prefix.
    """

    def renamed(name: str) -> str:
        group, _, below = name.partition("/")
        return f"{group}/{prefix}/{below}"

    changed = {
        "tags": {renamed(name): _tag(rule, renamed) for name, rule in file.tags.items()},
        "each": {
            f"{prefix.lower().replace('-', '_')}_{name}": _each(rule, renamed) for name, rule in file.each.items()
        },
        "commands": {f"{prefix}/{name}": _command(rule, renamed) for name, rule in file.commands.items()},
        "item_state": file.item_state and _changed(file.item_state, source=renamed(file.item_state.source)),
        "examples": [],
    }
    return file.model_copy(update=changed)


def _tag(rule: TagRule | None, renamed: Rename) -> TagRule | None:
    if rule is None:
        return None
    write = rule.write and _changed(
        rule.write, confirm=_confirm(rule.write.confirm, renamed), requires=_keys(rule.write.requires, renamed)
    )
    was = [renamed(name) for name in rule.was] if isinstance(rule.was, list) else rule.was and renamed(rule.was)
    return _changed(rule, was=was, write=write)


def _each(rule: EachRule | None, renamed: Rename) -> EachRule | None:
    return rule and rule.model_copy(update={"tag": {renamed(name): tag for name, tag in rule.tag.items()}})


def _command(rule: CommandRule | None, renamed: Rename) -> CommandRule | None:
    if rule is None:
        return None
    return _changed(
        rule,
        set=rule.set and _keys(rule.set, renamed),
        confirm=_confirm(rule.confirm, renamed),
        requires=_keys(rule.requires, renamed),
    )


def _confirm(confirm: Any, renamed: Rename) -> Any:
    if confirm and set(confirm) == {"any"} and isinstance(confirm["any"], list):
        return {"any": [_keys(alternative, renamed) for alternative in confirm["any"]]}
    return confirm and _keys(confirm, renamed)


def _keys(given: Mapping[str, Any], renamed: Rename) -> dict[str, Any]:
    return {renamed(name): value for name, value in given.items()}


def _changed(rule: RuleType, **changes: Any) -> RuleType:
    """The rule with these of its keys changed that a person has written: what is unset stays so."""
    written = {key: value for key, value in changes.items() if key in rule.model_fields_set}
    return rule.model_copy(update=written)
