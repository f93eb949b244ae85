"""Version 3.0 of the wire is one package: everything else speaks to its front door."""

from __future__ import annotations

import ast
from pathlib import Path

import bridge
from bridge.northbound.sparkplug import codec

ROOM = Path(codec.__file__).parent.parent
SOURCES = sorted(Path(bridge.__file__).parent.rglob("*.py"))


def test_the_namespace_is_written_once() -> None:
    written = [
        path.relative_to(ROOM.parents[1]).as_posix() for path in SOURCES for text in _texts(path) if "spBv1" in text
    ]
    assert written == ["northbound/sparkplug/codec/__init__.py"]


def _texts(path: Path) -> list[str]:
    """The texts of a source, but for docstrings and comments."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source if "spBv1" in source else "")  # parsing all of them takes seconds
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told
    ]


def test_nobody_looks_behind_the_front_door() -> None:
    package = Path(codec.__file__).parent
    outside = [path for path in SOURCES if path.parent != package]
    assert [path.name for path in outside if "sparkplug.codec." in path.read_text(encoding="utf-8")] == []


def test_the_front_door_shows_all_it_names() -> None:
    assert set(codec.__all__) <= set(dir(codec))
    modules = {path.stem for path in Path(codec.__file__).parent.glob("*.py")}
    assert not modules & (set(codec.__all__) - {"decode"}), "values and functions, no modules"
