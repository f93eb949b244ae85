"""Changes in place: a person's YAML with one list item more, or one value changed, and every other byte as it was.

The text is spliced where the parser says the neighbours stand; then it is parsed, and what it says now must be what it
said before with exactly this change. Whatever is written in a way this does not understand is left alone: NotEdited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from bridge.config.documents import parse_document
from bridge.config.keypath import KeyPath, dotted
from bridge.config.scalars import resolved
from bridge.errors import ConfigError, NotEdited

_DASH = re.compile(r"( *)-( +)\Z")
_PLAIN = re.compile(r"[^\W_][\w.@+=-]*\Z")
_STEP = 2
"""Columns of indentation where the file shows none of its own."""


def with_item(text: str, path: Sequence[str], fields: Mapping[str, str]) -> str:
    """The text with one mapping more in the block list at `path`; what is missing of the path is made.

    Raises NotEdited, and ConfigError where the text is no document.
    """
    wanted = _unshared(parse_document(text, "").data)
    _append(wanted, path, dict(fields))
    after = _with_item(text, path, fields)
    _verify(after, wanted)
    return after


def with_value(text: str, path: KeyPath, value: str) -> str:
    """The text with another value, in the quotes it has, for the one-line scalar at `path`, which exists.

    Raises NotEdited, and ConfigError where the text is no document.
    """
    wanted = _unshared(parse_document(text, "").data)
    holder = wanted
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    node: Node | None = _root(text)
    for step in path:
        node = _child(node, step)
    start, end, quotes = _one_line(text, node, path)
    after = text[:start] + quotes + value + quotes + text[end:]
    _verify(after, wanted)
    return after


def quoted(value: str) -> str:
    """A text as a YAML scalar: plain where nothing could take it for something else."""
    if _PLAIN.match(value) and resolved(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False) if "'" in value else f"'{value}'"


def _one_line(text: str, node: Node | None, path: KeyPath) -> tuple[int, int, str]:
    """Where a scalar begins and ends, and its quotes."""
    if not isinstance(node, ScalarNode) or node.style in ("|", ">"):
        raise NotEdited(f"{dotted(path)} is not written on one line")
    start, end = node.start_mark.index, node.end_mark.index
    quotes = node.style or ""
    if not text.startswith(quotes or node.value, start) or node.start_mark.line != node.end_mark.line:
        raise NotEdited(f"{dotted(path)} has an anchor or a tag, or is not written on one line")
    return start, end, quotes


def _root(text: str) -> Node | None:
    return yaml.compose(text, Loader=yaml.SafeLoader)  # the slow one: its marks count characters


def _child(node: Node | None, step: str | int) -> Node | None:
    if isinstance(node, MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, SequenceNode) and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    return None


def _unshared(data: Any) -> Any:
    """A copy in which nothing is there twice: an alias is data of its own."""
    if isinstance(data, dict):
        return {key: _unshared(value) for key, value in data.items()}
    return [_unshared(value) for value in data] if isinstance(data, list) else data


def _append(data: Any, path: Sequence[str], item: dict[str, str]) -> None:
    """The same change in the parsed data."""
    for step in path[:-1]:
        if not isinstance(data, dict):
            raise NotEdited(f"{dotted(path)} cannot be there: above it is no mapping")
        if data.get(step) is None:
            data[step] = {}
        data = data[step]
    if not isinstance(data, dict) or not isinstance(data.get(path[-1]), list | None):
        raise NotEdited(f"{dotted(path)} is no list")
    data[path[-1]] = [*(data.get(path[-1]) or ()), item]


def _verify(after: str, wanted: Any) -> None:
    try:
        said = parse_document(after, "").data
    except ConfigError as error:
        raise NotEdited(f"the change would break the file ({error.faults[0].problem})") from None
    if said != wanted:
        raise NotEdited("the change would change something else too, such as what an alias stands for")


def _with_item(text: str, path: Sequence[str], fields: Mapping[str, str]) -> str:
    node, depth = _root(text), 0
    while depth < len(path) and (child := _child(node, path[depth])) is not None and not _is_nothing(child):
        node, depth = child, depth + 1
    name = dotted(path[:depth]) or "the file"
    if depth == len(path):
        if not isinstance(node, SequenceNode):
            raise NotEdited(f"{name} is no list")
        return _in_list(text, node, path, fields)
    if not isinstance(node, MappingNode) or node.flow_style:
        raise NotEdited(f"{name} is not written as a block of indented lines")
    return _in_mapping(text, node, path[depth:], fields)


def _is_nothing(node: Node) -> bool:
    """A key with nothing behind it."""
    return isinstance(node, ScalarNode) and node.style is None and node.value == ""


def _in_list(text: str, node: SequenceNode, path: Sequence[str], fields: Mapping[str, str]) -> str:
    if node.flow_style and node.value:
        raise NotEdited(f"{dotted(path)} is written in brackets")
    if node.flow_style:
        return _in_empty_list(text, node, fields)
    last: Node = node.value[-1]
    start = last.start_mark.index
    dash = _DASH.match(text[text.rfind("\n", 0, start) + 1 : start])
    if dash is None:
        raise NotEdited(f"the last item of {dotted(path)} does not stand behind a dash on a line of its own")
    indent, gap = dash.groups()
    is_block = isinstance(last, MappingNode) and not last.flow_style
    return _below(text, _end(node), _item(fields, indent, gap, is_block=is_block))


def _in_empty_list(text: str, node: SequenceNode, fields: Mapping[str, str]) -> str:
    """`[]` goes, and what stands behind it on its line stays there."""
    start, end = node.start_mark.index, node.end_mark.index
    line = text[text.rfind("\n", 0, start) + 1 : start]
    kept = text[:start].rstrip(" ")
    if text[start:end] != "[]" or not kept.endswith(":"):
        raise NotEdited("the empty list is not written as [] behind its key")
    indent = " " * (len(line) - len(line.lstrip(" ")) + _STEP)
    return _below(kept + text[end:], len(kept), _item(fields, indent, " ", is_block=False))


def _in_mapping(text: str, node: MappingNode, missing: Sequence[str], fields: Mapping[str, str]) -> str:
    """Below the last line of a block mapping, or below its key that has nothing behind it."""
    column = node.value[0][0].start_mark.column
    empty = next((key for key, _ in node.value if key.value == missing[0]), None)
    lines, at = [], _end(node) if empty is None else _end_of_key(text, empty)
    for number, key in enumerate(missing):
        if number or empty is None:
            lines.append(f"{' ' * (column + _STEP * number)}{key}:")
    lines += _item(fields, " " * (column + _STEP * len(missing)), " ", is_block=False)
    return _below(text, at, lines)


def _end_of_key(text: str, key: Node) -> int:
    return text.index(":", key.end_mark.index) + 1


def _item(fields: Mapping[str, str], indent: str, gap: str, *, is_block: bool) -> list[str]:
    """A mapping behind a dash, in one line or in one for each key."""
    pairs = [f"{key}: {quoted(value)}" for key, value in fields.items()]
    if not is_block:
        return [f"{indent}-{gap}{{{', '.join(pairs)}}}"]
    return [f"{indent}-{gap}{pairs[0]}", *(f"{indent} {gap}{pair}" for pair in pairs[1:])]


def _end(node: Node) -> int:
    """Where the last thing in it ends; a block's own end mark lies behind the comments that follow it."""
    if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    pairs = [(item, item) for item in node.value] if isinstance(node, SequenceNode) else node.value
    return max(max(int(key.end_mark.index) if key is not value else 0, _end(value)) for key, value in pairs)


def _below(text: str, at: int, lines: Sequence[str]) -> str:
    """The text with more lines below the line in which the character before `at` stands."""
    eol = "\r\n" if "\r\n" in text else "\n"
    end = text.find("\n", at - 1)
    if end < 0:
        return text + eol + eol.join(lines)
    return text[: end + 1] + eol.join(lines) + eol + text[end + 1 :]


__all__ = ["quoted", "with_item", "with_value"]
