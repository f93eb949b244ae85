"""Expansion: `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `${file:path}` in the strings of a document.

`$$` is a dollar sign; any other `$` stands for itself (`$value` in a mapping). Keys are not expanded. An empty variable
counts as unset for `:-` and `:?`, as in a shell. A file's last line end is not part of its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.config.documents import Document
from bridge.config.keypath import KeyPath, quoted
from bridge.errors import ConfigError, Fault

FILE_LIMIT = 64 * 1024
"""Bytes of a `${file:…}`: passwords, tokens, certificates."""

_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)\}?")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::([-?])(.*))?\Z", re.DOTALL)
_EXPECTED = "${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:path}; $$ for a dollar sign"


class _NoValue(Exception):
    """A reference has no value; says why and what was expected."""

    def __init__(self, problem: str, expected: str = "") -> None:
        super().__init__(problem)
        self.expected = expected


def expand(document: Document, environment: Mapping[str, str]) -> Document:
    """The document with every reference replaced. Raises ConfigError with every reference that has no value."""
    expansion = _Expansion(document, environment)
    data = expansion.of(document.data, ())
    if expansion.faults:
        raise ConfigError(expansion.faults)
    return document.with_data(data, expansion.values)


@dataclass
class _Expansion:
    document: Document
    environment: Mapping[str, str]
    faults: list[Fault] = field(default_factory=list)
    values: list[tuple[str, str]] = field(default_factory=list)

    def of(self, data: Any, path: KeyPath) -> Any:
        """`data` at `path`, expanded; the same object where nothing is to be done."""
        if isinstance(data, str):
            return self._text(data, path) if "$" in data else data
        if isinstance(data, dict):
            return {key: self.of(value, (*path, key)) for key, value in data.items()}
        if isinstance(data, list):
            return [self.of(value, (*path, index)) for index, value in enumerate(data)]
        return data

    def _text(self, text: str, path: KeyPath) -> str:
        def replaced(match: re.Match[str]) -> str:
            try:
                return self._reference(match.group(), match.group(1))
            except _NoValue as error:
                self.faults.append(self.document.fault(path, str(error), error.expected))
                return ""

        return _REFERENCE.sub(replaced, text)

    def _reference(self, reference: str, inner: str | None) -> str:
        if inner is None:
            return "$"
        if not reference.endswith("}"):
            raise _NoValue(f"{quoted(reference)} has no closing brace", _EXPECTED)
        outside, value = self._file(inner[5:]) if inner.startswith("file:") else self._variable(inner)
        if outside:
            self.values.append((value, reference))
        return value

    def _variable(self, inner: str) -> tuple[bool, str]:
        """Whether the value came from outside the document, and the value."""
        match = _VARIABLE.match(inner)
        if match is None:
            raise _NoValue(f"{quoted('${' + inner + '}')} is not a reference", _EXPECTED)
        name, operator, word = match.groups()
        value = self.environment.get(name)
        if operator is None and value is None:
            raise _NoValue(f"the environment variable {name} is not set", f"it to be set, or ${{{name}:-default}}")
        if operator == "?" and not value:
            raise _NoValue(f"the environment variable {name} is not set: {word}")
        return (True, value) if value else (False, word if operator == "-" else "")

    def _file(self, name: str) -> tuple[bool, str]:
        path = Path(self.document.file).parent / name
        try:
            with path.open("rb") as stream:
                raw = stream.read(FILE_LIMIT + 1)
            text = raw.decode("utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise _NoValue(f"the file {quoted(str(path))} cannot be read: {reason}") from None
        if len(raw) > FILE_LIMIT:
            raise _NoValue(f"the file {quoted(str(path))} is too big", f"at most {FILE_LIMIT} bytes")
        return True, text.removesuffix("\n").removesuffix("\r")
