"""What a person pastes to say which tag or command is meant: an id, a NodeId, a name with slashes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from bridge.cli.values import plain_value

_NODE_ID = re.compile(r"ns=\d+;s=")
COMMANDS = ".Commands."


def pasted(text: str) -> str:
    """The id that is meant by "extruder-1.Setpoints.Mode", by its NodeId, and by its name with slashes."""
    return _NODE_ID.sub("", text.strip(), count=1).replace("/", ".")


def command_meant(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The id of the command, and what follows it: of "MACHINE COMMAND …" and of "<id> …". Raises click.UsageError."""
    machine, *rest = words
    machine = pasted(machine)
    if COMMANDS in machine:
        return machine, rest
    if not rest or "=" in rest[0]:
        raise click.UsageError(f"which command of {machine}? A word that is none is answered with those there are")
    name = pasted(rest[0]).removeprefix(f"{machine}.").removeprefix(COMMANDS[1:])
    return f"{machine}{COMMANDS}{name}", rest[1:]


def arguments_given(words: Sequence[str]) -> dict[str, bool | int | float | str]:
    """NAME=VALUE, each name once. Raises click.UsageError."""
    given: dict[str, bool | int | float | str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise click.UsageError(f"{word!r} is no argument; write NAME=VALUE")
        if name in given:
            raise click.UsageError(f"{name} is given twice")
        given[name] = plain_value(value)
    return given
