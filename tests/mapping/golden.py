"""The golden lists: ids that were released, with their types. They only ever grow.

`python -m tests.mapping.golden` (from the checkout's root) writes them anew from the mappings as they are: do so when
names were added, at the latest before a release. Lines that vanish by it are a breach of design.md 2.5, rule 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bridge.config.library import MappingLibrary
from bridge.mapping.compile import ITEM_STATES, CompiledMapping
from bridge.model.plant import ITEM_STATE
from bridge.model.tag import TagDefinition
from bridge.model.value import DataType

FOLDER = Path(__file__).parents[1] / "golden"
TAGS = "_tags.txt"
COMMANDS = "_commands.txt"
"""What a vendor's name is followed by in its two lists."""


class GoldenTag(NamedTuple):
    """A line "<mapping> <tag> <type> [<text>=<number> …]"."""

    mapping: str
    name: str
    data_type: str
    enumeration: frozenset[str]


class GoldenCommand(NamedTuple):
    """A line "<mapping> <command> [<argument>:<type> …]"."""

    mapping: str
    name: str
    arguments: tuple[str, ...]


def read_tags() -> list[GoldenTag]:
    """The tags that were released."""
    rows = (line.split() for line in _lines(TAGS))
    return [GoldenTag(row[0], row[1], row[2], frozenset(row[3:])) for row in rows]


def read_commands() -> list[GoldenCommand]:
    """The commands that were released."""
    rows = (line.split() for line in _lines(COMMANDS))
    return [GoldenCommand(row[0], row[1], tuple(row[2:])) for row in rows]


def _lines(ending: str) -> list[str]:
    files = sorted(FOLDER.glob(f"*{ending}"))
    return [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def tags_of(mapping: CompiledMapping) -> Iterator[GoldenTag]:
    """The tags a mapping makes now, with their texts and alarms."""
    for spec in mapping.tags:
        siblings = [spec.text] if spec.text else []
        for definition in (spec.definition, *siblings, *(alarm for alarm, _ in spec.alarms)):
            yield _golden(mapping, definition)
    if mapping.item_state:
        numbers = frozenset(f"{text}={number}" for text, number in ITEM_STATES.items())
        yield GoldenTag(mapping.name, ITEM_STATE, DataType.UInt32.value, numbers)


def _golden(mapping: CompiledMapping, definition: TagDefinition) -> GoldenTag:
    numbers = frozenset(f"{text}={number}" for text, number in (definition.enumeration or {}).items())
    return GoldenTag(mapping.name, definition.name, definition.data_type.value, numbers)


def commands_of(mapping: CompiledMapping) -> Iterator[GoldenCommand]:
    """The commands a mapping offers now."""
    for command in mapping.commands:
        arguments = tuple(f"{argument.name}:{argument.data_type.value}" for argument in command.arguments)
        yield GoldenCommand(mapping.name, command.name, arguments)


def write() -> None:
    """Write both lists of every vendor."""
    library = MappingLibrary.load([])
    for vendor in sorted({name.partition("/")[0] for name in library.names}):
        mappings = [library.compiled(name) for name in library.names if name.startswith(f"{vendor}/")]
        tags = [tag for mapping in mappings for tag in tags_of(mapping)]
        commands = [command for mapping in mappings for command in commands_of(mapping)]
        _write(f"{vendor}{TAGS}", [" ".join([*tag[:3], *sorted(tag.enumeration, key=_number)]) for tag in tags])
        _write(f"{vendor}{COMMANDS}", [" ".join([*command[:2], *command.arguments]) for command in commands])


def _number(pair: str) -> int:
    return int(pair.rpartition("=")[2])


def _write(name: str, lines: list[str]) -> None:
    if not lines:
        return
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    write()
