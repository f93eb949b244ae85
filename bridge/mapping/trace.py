"""Trace: how one tag's value comes out of the last payloads, step by step.

payloads -> looks (which path, what stood there) -> steps (each rule and its result) -> verdict (what it was judged)
                                                                                      -> change (told, or held back)

Pure; made when somebody asks, never kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.mapping.conditions import When
from bridge.mapping.convert import converter
from bridge.mapping.expression import compile_expression
from bridge.mapping.tag_plan import mapped, number_of
from bridge.model.payload_path import MISSING, Path, getter

if TYPE_CHECKING:
    from bridge.mapping.compile import TagSpec
    from bridge.mapping.schema import WhenRule
    from bridge.mapping.tag_plan import TagPlan
    from bridge.model.value import DataValue, Value

SIBLINGS = 12
"""Fields of a payload that are shown beside the one that is meant."""
LONGEST_TEXT = 120


class Look(NamedTuple):
    """One path that was tried. `found`: "value", "null" or "absent"; `chosen`: the value was taken from here."""

    path: Path
    found: str
    chosen: bool
    raw: Any


class Step(NamedTuple):
    """A rule of the mapping, in its own words, and what it made of the value."""

    rule: str
    result: Any


class Trace(NamedTuple):
    """How a value came about."""

    looks: tuple[Look, ...]
    steps: tuple[Step, ...]
    refused: str
    """Why a step did not take the value, "" where all did."""
    value: Value
    """What came out; None where nothing did."""


def trace(spec: TagSpec, payloads: Mapping[str, Any]) -> Trace:
    """How these payloads, by channel, make the tag's value."""
    looks = tuple(_looks(spec, payloads))
    raw = _chosen(spec, looks)
    steps: list[Step] = []
    try:
        value = _typed(spec, raw, steps)
    except ValueError as error:
        return Trace(looks, tuple(steps), str(error).removesuffix("."), None)
    return Trace(looks, tuple(steps), "", value)


def _looks(spec: TagSpec, payloads: Mapping[str, Any]) -> list[Look]:
    looks: list[Look] = []
    for _, path in spec.sources:
        raw = getter(path.keys)(payloads.get(path.channel, MISSING))
        found = "absent" if raw is MISSING else "null" if raw is None else "value"
        is_taken = spec.named or not any(look.chosen for look in looks)
        looks.append(Look(path, found, raw is not MISSING and is_taken, raw))
    return looks


def _chosen(spec: TagSpec, looks: tuple[Look, ...]) -> Any:
    if not spec.named:
        return next((look.raw for look in looks if look.chosen), MISSING)
    lacking = next((look.raw for look in looks if look.found != "value"), None)
    named = {name: look.raw for (name, _), look in zip(spec.sources, looks, strict=True)}
    return named if all(look.found == "value" for look in looks) else lacking


def _typed(spec: TagSpec, raw: Any, steps: list[Step]) -> Value:
    """As `TagPlan` does it, noting every step. Raises ValueError."""
    rule = spec.rule
    if raw is None and rule.null_is is not None:
        raw = _noted(steps, f"null_is: {rule.null_is}", rule.null_is)
    if raw is None or raw is MISSING:
        return None
    if rule.expr is not None:
        raw = _noted(steps, f"expr: {rule.expr}", _computed(spec, raw))
    if rule.map is not None:
        raw = _noted(steps, "map", mapped(raw, rule.map))
    if rule.enum is not None:
        return int(_noted(steps, "enum", number_of(raw, rule.enum)))
    convert = converter(spec.definition.data_type)
    value = _noted(steps, f"type: {spec.definition.data_type.value}", convert(raw))
    scale, offset = 1.0 if rule.scale is None else rule.scale, rule.offset or 0.0
    if scale != 1.0 or offset:
        words = " ".join(filter(None, (f"scale: {scale:g}", f"offset: {offset:g}" if offset else "")))
        value = _noted(steps, words, convert(value * scale + offset))
    if rule.precision is not None:
        value = _noted(steps, f"precision: {rule.precision}", round(value, rule.precision))
    return value  # type: ignore[no-any-return]


def _noted(steps: list[Step], rule: str, result: Any) -> Any:
    steps.append(Step(_cut(rule), _short(result)))
    return result


def _computed(spec: TagSpec, raw: Any) -> Any:
    evaluate = compile_expression(spec.rule.expr or "", frozenset(name for name, _ in spec.sources))
    try:
        return evaluate(raw if spec.named else {"v": raw})
    except Exception as error:  # as in TagPlan: what CEL's functions refuse is a fault of the data
        raise ValueError(f"expr gave no value ({type(error).__name__}: {str(error)[:80]})") from error


def change(plan: TagPlan, value: Value) -> str:
    """Whether the newest payload's value was told, or what held it back; one sentence."""
    last, spec = plan.last, plan.spec
    if last is None:
        return "It has not been told since its channel came, or came back"
    if value is None or last.value is None or value == last.value:
        return "It was told; a payload that says the same is not told again"
    is_number = isinstance(value, float | int) and isinstance(last.value, float | int)
    if is_number and spec.deadband and abs(value - last.value) < spec.deadband:  # type: ignore[operator]
        return f"Held back: {value:g} is less than the deadband {spec.deadband:g} away from {last.value:g}, told before"
    if spec.rule.min_interval is not None:
        return f"Held back: it is told at most every {spec.rule.min_interval:g} s (min_interval)"
    return "It was told"


def verdict(spec: TagSpec, traced: Trace, current: DataValue) -> str:
    """Which rule of the mapping gave the value its status, in the mapping's words."""
    rule = spec.rule
    for word, whens in (("bad_when", rule.bad_when), ("uncertain_when", rule.uncertain_when)):
        if any(When(when).reason == current.reason for when in _listed(whens)):
            return word
    if traced.refused:
        return "type" if rule.enum is None else "enum"
    if current.value is None:
        return "absent"
    if current.status.is_good:
        return ""
    if rule.quality is not None and current.reason.startswith("The vendor calls"):
        return "quality"
    if rule.max_age is not None and current.reason.startswith("The vendor's value is from"):
        return "max_age"
    return "range"


def _listed(rules: WhenRule | list[WhenRule] | None) -> list[WhenRule]:
    return [] if rules is None else rules if isinstance(rules, list) else [rules]


def around(payload: Any, keys: tuple[str | int, ...]) -> Any:
    """The part of a payload a path leads to, within what is around it: the fields beside it, cut to a bounded size.

    Where the path leads nowhere, what is there instead of its first missing step.
    """
    if keys and isinstance(payload, Mapping):
        return _around_mapping(payload, keys)
    if keys and isinstance(payload, list) and isinstance(keys[0], int) and keys[0] < len(payload):
        return {f"[{keys[0]}] of {len(payload)}": around(payload[keys[0]], keys[1:])}
    if isinstance(payload, Mapping):
        return {_cut(str(key)): _short(item) for key, item in [*payload.items()][:SIBLINGS]}
    return _short(payload)


def _around_mapping(payload: Mapping[str, Any], keys: tuple[str | int, ...]) -> Any:
    key, rest = keys[0], keys[1:]
    if rest and key in payload:
        return {_cut(str(key)): around(payload[key], rest)}  # type: ignore[index]
    own = {_cut(str(key)): _short(payload[key])} if key in payload else {}  # type: ignore[index]
    beside = {_cut(str(name)): _short(item) for name, item in [*payload.items()][:SIBLINGS] if name != key}
    more = len(payload) - len(own) - len(beside)
    return {**own, **beside, **({"…": f"{more} more"} if more > 0 else {})}


def _short(item: Any) -> Any:
    if item is MISSING:
        return None
    if isinstance(item, int) and abs(item) >= 2**63:
        return f"a whole number of {item.bit_length()} bits"
    if isinstance(item, Mapping):
        return f"{{{len(item)} fields}}"
    if isinstance(item, list | tuple):
        return f"[{len(item)} items]"
    return _cut(item) if isinstance(item, str) else item


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
