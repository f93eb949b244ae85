"""Every key of both kinds of file, as Markdown: made from the JSON Schema, so that it is never behind the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

ANYTHING = "anything"
_BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))


def reference(schema: Schema) -> str:
    """A page: the file itself, then each model in the order in which the file comes to it."""
    models = dict(_reached(schema, schema["$defs"]))
    lines = [
        f"# {schema['title']}",
        "",
        "Made by `make schema` from the models in the code. Keys without a default must be written.",
        *_table(schema, schema["$defs"]),
    ]
    for name, model in models.items():
        lines += ["", f"## {name}", "", _text(model.get("description", "")), *_table(model, schema["$defs"])]
    return "\n".join(lines) + "\n"


def _reached(schema: Schema, models: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """Models with keys, breadth first."""
    waiting, seen = [schema], set[str]()
    while waiting:
        for name in _names(waiting.pop(0).get("properties", {})):
            if name not in seen and "properties" in models[name]:
                seen.add(name)
                waiting.append(models[name])
                yield name, models[name]


def _names(node: object) -> Iterator[str]:
    """Names of the models that a piece of a schema refers to."""
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield _name(node)
        for value in node.values():
            yield from _names(value)
    elif isinstance(node, list):
        for value in node:
            yield from _names(value)


def _table(schema: Schema, models: Mapping[str, Schema]) -> Iterator[str]:
    required = schema.get("required", ())
    yield from ("", "| key | what | default | |", "| --- | --- | --- | --- |")
    for key, rule in schema["properties"].items():
        default = "" if key in required else _default(rule)
        yield f"| `{key}` | {_kind(rule, models)}{_bounds(rule)} | {default} | {_text(rule.get('description', ''))} |"


def _kind(rule: Schema, models: Mapping[str, Schema]) -> str:
    """What may be written there."""
    if "$ref" in rule:
        name = _name(rule)
        return f"[{name}](#{name.lower()})" if "properties" in models[name] else _kind(models[name], models)
    choices = [choice for choice in (*rule.get("anyOf", ()), *rule.get("oneOf", ())) if choice.get("type") != "null"]
    if choices:
        return " or ".join(dict.fromkeys(_kind(choice, models) + _bounds(choice) for choice in choices))
    if "const" in rule or "enum" in rule:
        return " ".join(f"`{_scalar(value)}`" for value in rule.get("enum", [rule.get("const")]))
    return _container(rule, models)


def _container(rule: Schema, models: Mapping[str, Schema]) -> str:
    kind = rule.get("type")
    if kind == "array":
        items = [_kind(item, models) for item in rule.get("prefixItems", ())]
        return f"[{', '.join(items)}]" if items else f"list of {_kind(rule.get('items', {}), models)}"
    if kind == "object":
        value = rule.get("additionalProperties")
        return f"by name: {_kind(value, models)}" if isinstance(value, Mapping) else "by name"
    return _plain(kind)


def _plain(kind: object) -> str:
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return words.get(str(kind), ANYTHING)


def _bounds(rule: Schema) -> str:
    said = " ".join(f"{sign} {_scalar(rule[key])}" for key, sign in _BOUNDS if key in rule)
    return f", {said}" if said else ""


def _default(rule: Schema) -> str:
    value = rule.get("default")
    return "–" if value in (None, "", [], {}) else f"`{_scalar(value)}`"


def _scalar(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _name(rule: Schema) -> str:
    return str(rule["$ref"]).rpartition("/")[2]


def _text(text: str) -> str:
    """On one line of a table; what looks like HTML is shown, not obeyed."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;")
