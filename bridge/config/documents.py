"""Document: one YAML file a person wrote, and where in it everything stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from bridge.config.faults import faults_of
from bridge.config.keypath import KeyPath, dotted, quoted
from bridge.config.nodes import Node, compose
from bridge.errors import ConfigError, Fault

SIZE_LIMIT = 1024 * 1024
"""Bytes; the largest mapping shipped has some 30 000."""

_SECRET_WORD = re.compile(r"pass|secret|token|credential|api_?key", re.IGNORECASE)
_SHORTEST_SECRET = 4

ModelType = TypeVar("ModelType", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data with the place of every key. Strings may have been expanded since it was read."""

    file: str
    data: Any = field(repr=False)
    root: Node = field(repr=False)
    expanded: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """What came from outside and must not be shown, with the words that stand for it in the file."""

    def fault(self, path: KeyPath, problem: str, expected: str = "", hint: str = "", *, at_key: bool = False) -> Fault:
        """A fault at a key path: at the value there, at its key, or at the nearest place above that exists."""
        line, column = self.position(path, at_key=at_key)
        texts = (_one_line(self._without_secrets(text)) for text in (problem, expected, hint))
        return Fault(self.file, line, column, dotted(path), *texts)

    def position(self, path: KeyPath, *, at_key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of the value (or key) at a path, else of the nearest place above it."""
        node, found = self._nearest(path[:-1])
        if found < len(path) - 1 or not path:
            return node.line, node.column
        step = path[-1]
        if step in node.keys and (at_key or step not in node.children):
            return node.keys[step]
        node = node.children.get(step, node)
        return node.line, node.column

    def written(self, path: KeyPath) -> Any:
        """What the file says at a path, before expansion; None where it says nothing."""
        node, found = self._nearest(path)
        return node.data if found == len(path) else None

    def says(self, path: KeyPath) -> bool:
        """Whether the file says anything at a path."""
        return self._nearest(path)[1] == len(path)

    def _nearest(self, path: KeyPath) -> tuple[Node, int]:
        node = self.root
        for depth, step in enumerate(path):
            child = node.children.get(step)
            if child is None:
                return node, depth
            node = child
        return node, len(path)

    def _without_secrets(self, text: str) -> str:
        for value, reference in self.expanded:
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, reference)
        return text

    def with_data(self, data: Any, expanded: Sequence[tuple[str, str]]) -> Document:
        """The same file with expanded values."""
        longest_first = sorted(expanded, key=lambda pair: -len(pair[0]))
        return replace(self, data=data, expanded=(*self.expanded, *longest_first))


def read_document(path: Path) -> Document:
    """The document in a file. Raises ConfigError."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _refused(file, f"cannot be read: {reason}") from None
    if len(raw) > SIZE_LIMIT:
        raise _refused(file, "is too big", f"at most {SIZE_LIMIT} bytes")
    return parse_document(_decoded(raw, file), file)


def parse_document(text: str, file: str) -> Document:
    """The document in `text`; `file` is the name shown in faults. Raises ConfigError."""
    try:
        root = compose(text, file)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_fault(error, text, file)]) from None
    except UnicodeError:
        raise _refused(file, "holds characters that are not text") from None
    return Document(file, root.data, root)


def validate(document: Document, model: type[ModelType], data: Any = None, prefix: KeyPath = ()) -> ModelType:
    """The document, or its part `data` at `prefix`, as a model. Raises ConfigError with every fault."""
    try:
        return model.model_validate(document.data if data is None and not prefix else data)
    except ValidationError as error:
        raise ConfigError(faults_of(error, model, document, prefix)) from None


def _one_line(text: str) -> str:
    """Whatever a person wrote into the file must not write to the person's terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _refused(file: str, problem: str, expected: str = "") -> ConfigError:
    return ConfigError([Fault(file, 0, 0, "", problem, expected)])


def _decoded(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ConfigError([Fault(file, line, column, "", "this byte is not UTF-8", "a file saved as UTF-8")]) from None


def _syntax_fault(error: yaml.YAMLError, text: str, file: str) -> Fault:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return _unreadable(text, file)
    line, column = error.problem_mark.line, error.problem_mark.column
    if text.splitlines()[line : line + 1] and text.splitlines()[line][column : column + 1] == "\t":
        return Fault(file, line + 1, column + 1, "", "a tab cannot indent YAML", "spaces", _snippet(text, line))
    context = f" {error.context}" if error.context else ""
    if error.context_mark is not None and error.context_mark.line != line:
        context += f" begun in line {error.context_mark.line + 1}"
    return Fault(file, line + 1, column + 1, "", f"broken YAML: {error.problem}{context}", hint=_snippet(text, line))


def _unreadable(text: str, file: str) -> Fault:
    """The reader refuses a character (YAML 1.2.2, 5.1); its own position counts bytes or characters by backend."""
    for line, content in enumerate(text.split("\n"), start=1):
        for column, char in enumerate(content, start=1):
            if not char.isprintable() and char not in "\t\r\x85\xa0\u2028\u2029\ufeff":
                return Fault(file, line, column, "", f"the character U+{ord(char):04X} may not stand in YAML")
    return Fault(file, 0, 0, "", "holds a character that may not stand in YAML")


def _snippet(text: str, line: int) -> str:
    lines = text.splitlines()
    content = lines[line].strip() if line < len(lines) else ""
    return f"near {quoted(content)}" if content and not _SECRET_WORD.search(content) else ""
