"""Node: a piece of a YAML file with the place it was written at, composed from the parser's events.

PyYAML's own composer forgets positions, accepts duplicate keys, recurses without limit, and lets ten lines of aliases
unfold into a billion nodes; this one does none of it. Merge keys (`<<`) are YAML 1.1 and are not supported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from bridge.config.keypath import dotted, quoted
from bridge.config.scalars import resolved, tagged
from bridge.errors import ConfigError, Fault

DEPTH_LIMIT = 64
"""Levels of nesting; a hand-written file has perhaps ten."""

SIZE_LIMIT = 200_000
"""Nodes of one document after its aliases are unfolded."""

_PLAIN_COLLECTIONS = {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_LOADER = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # same events, ten times faster


@dataclass(slots=True)
class Node:
    """Data as written, where it begins (from 1), what is below it, and how many nodes that is."""

    data: Any
    line: int
    column: int
    children: dict[str | int, Node] = field(default_factory=dict)
    keys: dict[str | int, tuple[int, int]] = field(default_factory=dict)
    """Where each key of a mapping stands."""
    size: int = 1


def compose(text: str, file: str) -> Node:
    """The document in `text`. Raises ConfigError with every fault found, yaml.YAMLError where the syntax is broken."""
    composer = _Composer(file, yaml.parse(text, Loader=_LOADER))
    root = composer.document()
    if composer.faults:
        raise ConfigError(composer.faults)
    return root


class _Composer:
    """Reads events into nodes; collects faults, and raises only where going on makes no sense."""

    def __init__(self, file: str, events: Iterator[Event]) -> None:
        self.faults: list[Fault] = []
        self._file = file
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._path: list[str | int] = []

    def document(self) -> Node:
        """The one document of the file; an empty file is None at 1:1."""
        next(self._events)  # StreamStart
        if not isinstance(next(self._events), DocumentStartEvent):
            return Node(None, 1, 1)
        root = self._node(next(self._events))
        next(self._events)  # DocumentEnd
        following = next(self._events)
        if isinstance(following, DocumentStartEvent):
            self._fault(following, "a second document begins here", "one document per file")
        return root

    def _node(self, event: Event) -> Node:
        if len(self._path) > DEPTH_LIMIT:
            self._give_up(event, "nested too deeply", f"at most {DEPTH_LIMIT} levels")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        assert isinstance(event, NodeEvent)  # noqa: S101 - the parser emits nothing else here
        node = self._made(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _made(self, event: NodeEvent) -> Node:
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        assert isinstance(event, CollectionStartEvent)  # noqa: S101
        if event.tag not in _PLAIN_COLLECTIONS:
            self._fault(event, f"the tag {quoted(str(event.tag))} is not supported")
        node = self._mapping(event) if isinstance(event, MappingStartEvent) else self._sequence(event)
        if node.size > SIZE_LIMIT:
            self._give_up(event, "unfolds into too much", f"at most {SIZE_LIMIT} values")
        return node

    def _alias(self, event: AliasEvent) -> Node:
        target = self._anchors.get(str(event.anchor))
        if target is None:
            self._fault(event, f"nothing above is anchored as {quoted(str(event.anchor))}")
            return Node(None, *_position(event))
        return target

    def _scalar(self, event: ScalarEvent) -> Node:
        return Node(self._value(event), *_position(event))

    def _value(self, event: ScalarEvent) -> Any:
        try:
            if event.tag is not None:
                return tagged(event.value, event.tag)
            return resolved(event.value) if event.implicit[0] else event.value
        except ValueError as error:
            self._fault(event, str(error))
            return None

    def _sequence(self, event: CollectionStartEvent) -> Node:
        node = Node([], *_position(event))
        while not isinstance(item := next(self._events), SequenceEndEvent):
            self._add(node, len(node.children), item)
        node.data.extend(child.data for child in node.children.values())
        return node

    def _mapping(self, event: CollectionStartEvent) -> Node:
        node = Node({}, *_position(event))
        while not isinstance(item := next(self._events), MappingEndEvent):
            key = self._key(item, node)
            node.keys[key] = _position(item)
            self._add(node, key, next(self._events))
        node.data.update((key, child.data) for key, child in node.children.items())
        return node

    def _add(self, node: Node, step: str | int, event: Event) -> None:
        self._path.append(step)
        child = node.children[step] = self._node(event)
        self._path.pop()
        node.size += child.size

    def _key(self, event: Event, node: Node) -> str:
        key = self._node(event).data
        if not isinstance(key, str):
            written = event.value if isinstance(event, ScalarEvent) else ""
            hint = f"write {quoted(written)} in quotes" if written else ""
            self._fault(event, "a key must be a word", "text", hint)
            return str(key)
        if key in node.children:
            line, _ = node.keys[key]
            self._path.append(key)
            self._fault(event, f"this key is already there in line {line}", "each key once")
            self._path.pop()
        return key

    def _fault(self, event: Event, problem: str, expected: str = "", hint: str = "") -> None:
        line, column = _position(event)
        self.faults.append(Fault(self._file, line, column, dotted(self._path), problem, expected, hint))

    def _give_up(self, event: Event, problem: str, expected: str) -> None:
        self._fault(event, problem, expected)
        raise ConfigError(self.faults)


def _position(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
