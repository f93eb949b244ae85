"""Runs the function block of emitted PLC sources: its statements, read from the text and carried out one cycle a call.

Understands what the block uses and nothing more: assignments, IF, CASE, comparisons, one timer. What it does not
understand is a SyntaxError of the Python it makes.
"""

from __future__ import annotations

import re
from types import CodeType, SimpleNamespace
from typing import Any

from bridge.ports import Clock

NAME = r'"?PB_Handshake"?'
BLOCK = re.compile(rf"^FUNCTION_BLOCK {NAME}$(?P<all>.*?)^END_FUNCTION_BLOCK$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^\s*VAR(?:_INPUT|_OUTPUT)?$(?P<lines>.*?)^\s*END_VAR$", re.MULTILINE | re.DOTALL)
DECLARATION = re.compile(r"^\s*(?P<name>\w+) : (?P<kind>[^;]+);", re.MULTILINE)
OPERATORS = {"AND": "and", "OR": "or", "NOT": "not", "TRUE": "True", "FALSE": "False", "<>": "!="}


class Timer:
    """TON: Q is true once IN has been for PT."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None
        self.Q = False

    def __call__(self, IN: bool, PT: float) -> None:
        now = self._clock.monotonic()
        self._since = (now if self._since is None else self._since) if IN else None
        self.Q = self._since is not None and now - self._since >= PT


class Block:
    """An instance: `inputs` are its inputs, `cycle` is one call; the outputs are attributes."""

    def __init__(self, source: str, clock: Clock) -> None:
        found = BLOCK.search(source)
        assert found is not None
        text = found["all"]
        self._names: dict[str, Any] = {}
        for section in SECTION.finditer(text):
            for declared in DECLARATION.finditer(section["lines"]):
                self._names[declared["name"]] = _initial(declared["kind"].strip(), clock)
        statements = text[text.rindex("END_VAR") + len("END_VAR") :]
        self._code = _compiled(statements.replace("BEGIN\n", ""))

    def cycle(self, answer: SimpleNamespace, **inputs: Any) -> None:
        self._names.update(Answer=answer, **inputs)
        exec(self._code, {"__builtins__": {}}, self._names)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_names"][name]
        except KeyError:
            raise AttributeError(name) from None


def _initial(kind: str, clock: Clock) -> Any:
    word = kind.upper().partition(" ")[0]
    if word.startswith("TON"):
        return Timer(clock)
    if word == "TIME":
        seconds = re.search(r"T#(\d+)s", kind)
        assert seconds is not None
        return float(seconds[1])
    if "STRING" in word:
        return ""
    return False if word == "BOOL" else 0


def _compiled(statements: str) -> CodeType:
    lines, depth, selected = [], 0, ""
    for raw in statements.splitlines():
        line = _plain(raw)
        if not line:
            continue
        if found := re.fullmatch(r"CASE (\w+) OF", line):
            selected = found[1]
            lines.append(f"{' ' * depth}if False: pass")
        elif found := re.fullmatch(r"(\d+):", line):
            depth = 1
            lines.append(f"elif {selected} == {found[1]}:")
        elif line == "END_CASE;":
            depth = 0
        elif found := re.fullmatch(r"IF (.*) THEN", line):
            lines.append(f"{' ' * depth}if {_expression(found[1])}:")
            depth += 1
        elif line == "ELSE":
            lines.append(f"{' ' * (depth - 1)}else:")
        elif line == "END_IF;":
            depth -= 1
        elif found := re.fullmatch(r"(\w+)\((.*)\);", line):
            lines.append(f"{' ' * depth}{found[1]}({_expression(found[2].replace(':=', '§'))})")
        else:
            target, _, value = line.rstrip(";").partition(" := ")
            lines.append(f"{' ' * depth}{target} = {_expression(value)}")
    return compile("\n".join(lines), "PB_Handshake", "exec")


def _plain(line: str) -> str:
    """Without the remark; numbers as Python has them, variables without what SCL puts before them."""
    return re.sub(r"\s*//.*", "", line).strip().replace("16#", "0x").replace("WSTRING#", "").replace("#", "")


def _expression(text: str) -> str:
    """An expression of ST in Python; texts stay as they are."""
    parts = re.split(r"('[^']*')", text)
    return "".join(part if number % 2 else _operators(part) for number, part in enumerate(parts))


def _operators(text: str) -> str:
    text = re.sub(r"\b(AND|OR|NOT|TRUE|FALSE)\b|<>", lambda found: OPERATORS[found[0]], text)
    return re.sub(r"(?<![<>!])=", "==", text).replace("§", "=")
