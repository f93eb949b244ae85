"""Every requirement an edge node has to meet is named by a test."""

from __future__ import annotations

import ast
from pathlib import Path

HERE = Path(__file__).parent


def listed() -> list[str]:
    lines = (HERE / "tck_ids.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def named() -> set[str]:
    """The arguments of every `pytest.mark.tck(…)`, or of its short form `tck(…)`, that decorates a test."""
    found: set[str] = set()
    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for call in node.decorator_list:
                    found.update(_ids(call))
    return found


def _ids(call: ast.expr) -> list[str]:
    if not isinstance(call, ast.Call) or ast.unparse(call.func) not in ("tck", "pytest.mark.tck"):
        return []
    ids = [ast.literal_eval(argument) for argument in call.args]
    assert all(isinstance(one, str) for one in ids)
    return ids


def test_every_requirement_is_named_by_a_test() -> None:
    assert sorted(set(listed()) - named()) == []


def test_no_test_names_a_requirement_that_is_not_listed() -> None:
    assert sorted(named() - set(listed())) == []


def test_no_requirement_is_listed_twice() -> None:
    assert len(listed()) == len(set(listed())) > 150
