"""Several files as one: a site may be one file, several, or a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.config.documents import Document, read_document
from bridge.config.expand import expand
from bridge.config.keypath import KeyPath
from bridge.config.nodes import Node
from bridge.errors import ConfigError, Fault


@dataclass(frozen=True, slots=True)
class Sheaf(Document):
    """Documents merged: mappings key by key, lists one after the other; each fault goes to the file it belongs to."""

    documents: tuple[Document, ...] = ()
    lists: Mapping[KeyPath, list[tuple[Document, int]]] = field(default_factory=dict, repr=False)
    """Of each merged list: which document an element is from, and its index there."""

    def place(self, path: KeyPath) -> tuple[Document, KeyPath]:
        """The document that says what is at `path`, and the path in it."""
        for end in range(1, len(path)):
            index, elements = path[end], self.lists.get(tuple(path[:end]))
            if elements is not None and isinstance(index, int) and index < len(elements):
                document, own = elements[index]
                return document, (*path[:end], own, *path[end + 1 :])
        return max(self.documents, key=lambda document: _depth(document.root, path)), path

    def fault(self, path: KeyPath, problem: str, expected: str = "", hint: str = "", *, at_key: bool = False) -> Fault:
        """A fault in the right file."""
        document, own = self.place(path)
        return document.fault(own, problem, expected, hint, at_key=at_key)


def read_sheaf(paths: Iterable[Path], environment: Mapping[str, str]) -> Sheaf:
    """Read, expand and merge. Raises ConfigError with the faults of every file."""
    documents: list[Document] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            documents.append(expand(read_document(path), environment))
        except ConfigError as error:
            faults.extend(error.faults)
    faults.extend(
        document.fault((), "is no configuration", "keys such as bridge:, sources: and machines:")
        for document in documents
        if not isinstance(document.data, dict)
    )
    if faults:
        raise ConfigError(faults)
    return _merged(documents)


def _merged(documents: list[Document]) -> Sheaf:
    root = Node({}, 1, 1)
    data: dict[str, Any] = {}
    merger = _Merger()
    for document in documents:
        merger.merge(root, data, document.root, document.data, document, ())
    if merger.faults:
        raise ConfigError(merger.faults)
    name = documents[0].file if documents else ""
    expanded = tuple(pair for document in documents for pair in document.expanded)
    return Sheaf(name, data, root, expanded, tuple(documents), merger.lists)


class _Merger:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.lists: dict[KeyPath, list[tuple[Document, int]]] = {}

    def merge(
        self, target: Node, into: dict[str, Any], node: Node, data: Any, document: Document, path: KeyPath
    ) -> None:
        for key, child in node.children.items():
            here, value = (*path, key), data[key]
            target.keys.setdefault(key, node.keys.get(key, (child.line, child.column)))
            if isinstance(value, list):
                self._extend(target, into, str(key), child, value, document, here)
            elif key not in into and not isinstance(value, dict):
                target.children[key] = child
                target.data[key], into[str(key)] = child.data, value
            elif isinstance(value, dict) and isinstance(into.setdefault(str(key), {}), dict):
                inner = target.children.setdefault(key, Node({}, child.line, child.column))
                target.data[key] = inner.data
                self.merge(inner, into[str(key)], child, value, document, here)
            elif into[str(key)] != value:
                self.faults.append(
                    document.fault(here, "is said differently in another file", "one value for the whole site")
                )

    def _extend(
        self,
        target: Node,
        into: dict[str, Any],
        key: str,
        child: Node,
        value: list[Any],
        document: Document,
        here: KeyPath,
    ) -> None:
        existing = into.setdefault(key, [])
        if not isinstance(existing, list):
            self.faults.append(document.fault(here, "is a list here and none in another file", "one kind of value"))
            return
        inner = target.children.setdefault(key, Node([], child.line, child.column))
        target.data[key] = inner.data
        for index, element in enumerate(value):
            inner.children[len(existing)] = child.children[index]
            inner.data.append(child.data[index])
            existing.append(element)
            self.lists.setdefault(here, []).append((document, index))


def _depth(node: Node, path: KeyPath) -> float:
    depth = 0.0
    for step in path:
        child = node.children.get(step)
        if child is None:
            return depth + (0.5 if step in node.keys else 0.0)
        node = child
        depth += 1
    return depth
