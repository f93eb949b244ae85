"""Ids that were released stay: a SCADA client, a historian and a PLC hold them (design.md 2.5, rule 4)."""

from __future__ import annotations

import pytest

from bridge.config.library import MappingLibrary
from tests.mapping import golden
from tests.mapping.golden import GoldenCommand, GoldenTag

SHIPPED = MappingLibrary.load([])


def broken_tags(released: list[GoldenTag], library: MappingLibrary) -> list[str]:
    """What became of released tags that are not as they were."""
    return [line for tag in released if (line := broken(tag, library))]


def broken(tag: GoldenTag, library: MappingLibrary) -> str:
    if tag.mapping not in library.names:
        return f"{tag.mapping} is gone"
    mapping = library.compiled(tag.mapping)
    now = {one.name: one for one in golden.tags_of(mapping)}
    name = mapping.was.get(tag.name, tag.name)
    if name not in now:
        return f"{tag.mapping} {tag.name} is gone; a new name keeps the id with `was: {tag.name}`"
    if now[name].data_type != tag.data_type:
        return f"{tag.mapping} {tag.name} was {tag.data_type}, is {now[name].data_type}"
    if lost := tag.enumeration - now[name].enumeration:
        return f"{tag.mapping} {tag.name} lost {', '.join(sorted(lost))}"
    return ""


def broken_commands(released: list[GoldenCommand], library: MappingLibrary) -> list[str]:
    """Released commands that are not there with the same arguments."""
    now = {
        command
        for name in {command.mapping for command in released} & set(library.names)
        for command in golden.commands_of(library.compiled(name))
    }
    return [f"{one.mapping} {one.name}({', '.join(one.arguments)}) is gone" for one in released if one not in now]


def test_released_tags_are_there_with_their_types_and_numbers() -> None:
    assert broken_tags(golden.read_tags(), SHIPPED) == []


def test_released_commands_are_there_with_their_arguments() -> None:
    assert broken_commands(golden.read_commands(), SHIPPED) == []


def test_lists_are_not_empty_and_name_nothing_twice() -> None:
    tags = [(tag.mapping, tag.name) for tag in golden.read_tags()]
    assert len(tags) == len(set(tags)) > 400
    commands = [(command.mapping, command.name) for command in golden.read_commands()]
    assert len(commands) == len(set(commands)) > 20


@pytest.mark.parametrize(
    ("released", "told"),
    [
        (GoldenTag("qitech/gone", "Monitoring/X", "Double", frozenset()), "qitech/gone is gone"),
        (GoldenTag("qitech/mock", "Monitoring/Gone", "Double", frozenset()), "Monitoring/Gone is gone"),
        (GoldenTag("qitech/mock", "Setpoints/Frequency1", "Int32", frozenset()), "was Int32, is Double"),
        (GoldenTag("qitech/mock", "Setpoints/Mode", "UInt32", frozenset({"Running=2"})), "lost Running=2"),
    ],
)
def test_removed_retyped_or_renumbered_tag_is_told(released: GoldenTag, told: str) -> None:
    (line,) = broken_tags([released], SHIPPED)
    assert told in line


@pytest.mark.parametrize("arguments", [(), ("Kp:Double",)])
def test_removed_command_or_changed_argument_is_told(arguments: tuple[str, ...]) -> None:
    released = GoldenCommand("qitech/mock", "Standby" if arguments else "Gone", arguments)
    assert len(broken_commands([released], SHIPPED)) == 1


def test_added_tag_is_no_breach() -> None:
    assert broken_tags(golden.read_tags()[1:], SHIPPED) == []
