"""The reference of the command line, made from the commands themselves."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click

from bridge.cli.main import VERBS, cli, module_of

WIDTH = 110
HELP = "Show this message and exit."
"""Every verb has it, and click spells its option as it was asked first."""


def cli_page() -> str:
    """Every verb with what it takes, as Markdown."""
    lines = [
        "# Commands",
        "",
        "Made by `plantbridge docs cli` from the commands; `plantbridge VERB --help` says the same.",
        "",
        "Exit codes of every verb: 0 done; 1 it could not be done; 2 the command line or the configuration is wrong;",
        "130 interrupted. What a verb adds to that is in its text.",
        "",
        "| verb | |",
        "| --- | --- |",
        *(f"| [{verb}](#plantbridge-{verb}) | {what} |" for verb, what in VERBS.items()),
    ]
    with click.Context(cli, info_name="plantbridge", terminal_width=WIDTH, max_content_width=WIDTH) as root:
        for verb in VERBS:
            command = importlib.import_module(module_of(verb)).command
            for name, told in _helps(command, verb, root):
                depth = "##" if " " not in name else "###"
                shown = [line for line in told.splitlines() if not line.endswith(HELP)]
                lines += ["", f"{depth} plantbridge {name}", "", "```text", *shown, "```"]
    return "\n".join(lines) + "\n"


def _helps(command: click.Command, name: str, parent: click.Context) -> Iterator[tuple[str, str]]:
    with click.Context(
        command, info_name=name.rpartition(" ")[2], parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    ) as context:
        yield name, command.get_help(context)
        if isinstance(command, click.Group):
            for verb in command.list_commands(context):
                inner = command.get_command(context, verb)
                if inner is not None:
                    yield from _helps(inner, f"{name} {verb}", context)
