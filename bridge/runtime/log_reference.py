"""Every sentence the bridge may log, read from its own code: for a page that is never behind it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import bridge
from bridge.runtime.logging import sentence_id

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS = {"warning": "warning", "error": "error", "exception": "error", "info": "info", "critical": "error"}
"""Methods of a logger, and the level they log at. Debug lines are for developers."""
LOGGERS = ("log", "_log", "logger", "_logger")
NOT_RUNNING = ("sim",)
"""Rooms that are not part of a running bridge."""


class Sentence(NamedTuple):
    """One sentence, with %s where something is filled in."""

    id: str
    level: str
    room: str
    template: str


def sentences() -> list[Sentence]:
    """All of them, by room, then as they stand in the code."""
    root = Path(bridge.__file__).parent
    found = [
        one
        for file in sorted(root.rglob("*.py"))
        if file.relative_to(root).parts[0] not in NOT_RUNNING
        for one in _of(file, _room(file.relative_to(root)))
    ]
    return sorted(dict.fromkeys(found), key=lambda one: one.room)


def _room(path: Path) -> str:
    levels = [level for level in path.parts[:-1] if level not in ("sources", "northbound")]
    return levels[0] if levels else path.stem


def _of(file: Path, room: str) -> Iterator[Sentence]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (level := _level(node)) and node.args:
            template = _text(node.args[0], constants)
            if template and template != "%s":
                yield Sentence(sentence_id(template), level, room, template)


def _level(call: ast.Call) -> str | None:
    """Of a call of a logger, or of one of the `_warn_once(about, text, …)` that stand before one."""
    if not isinstance(call.func, ast.Attribute):
        return None
    if isinstance(call.func.value, ast.Name) and call.func.value.id in LOGGERS:
        return LEVELS.get(call.func.attr)
    if call.func.attr == "_warn_once" and len(call.args) > 1:
        del call.args[0]
        return "warning"
    return None


def _text(node: ast.expr, constants: dict[str, str]) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return constants.get(node.id, "") if isinstance(node, ast.Name) else ""


def log_page() -> str:
    """The page, as Markdown."""
    lines = [
        "# What the bridge logs",
        "",
        "Made by `plantbridge docs log` from the code. Warnings and errors end with their id in brackets; with",
        "`--log-format json` every line has one. An id stays as long as the words of its sentence do. In normal",
        "operation nothing is logged after the start.",
        "",
        "**error**: something is lost, or a person is needed. **warning**: something is wrong and the bridge goes on",
        "by itself, or by the advice in the line. **info**: it began, it ended, it came back. How much is told is",
        "changed while the bridge runs: `plantbridge log-level opcua debug --state-dir state`. The same warning again",
        "within a minute is counted, and told once.",
    ]
    room = ""
    for one in sentences():
        if one.room != room:
            room = one.room
            lines += ["", f"## {room}", "", "| id | level | sentence |", "| --- | --- | --- |"]
        lines.append(f"| {one.id} | {one.level} | {_cell(one.template)} |")
    return "\n".join(lines) + "\n"


def _cell(template: str) -> str:
    return template.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
