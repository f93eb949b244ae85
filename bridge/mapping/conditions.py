"""`bad_when` and `uncertain_when`: conditions on what a machine last said on any of its channels."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bridge.mapping.expression import compile_expression
from bridge.mapping.schema import WhenRule
from bridge.model.payload_path import MISSING, getter, parse_path

Payloads = Mapping[str, Any]
"""The last payload of each channel."""

Test = Callable[[Any], bool]
"""A comparison of one raw value."""

Leaf = Callable[[Payloads], bool]
"""One thing that has to hold."""


class When:
    """One condition, compiled. `holds` is asked with the payloads and the time, because `for:` remembers."""

    def __init__(self, rule: WhenRule) -> None:
        self._lasting = rule.lasting or 0.0
        self._since: float | None = None
        self._leaves = [_leaf(leaf) for leaf in leaves(rule)]
        self.channels = frozenset(parse_path(path).channel for leaf in leaves(rule) for path in paths(leaf))
        self.reason = rule.reason or " and ".join(_spoken(leaf) for leaf in leaves(rule))
        self.status = rule.status

    def holds(self, payloads: Payloads, at: float) -> bool:
        """It holds, and has for as long as it must. `at` is a time in seconds."""
        if not all(leaf(payloads) for leaf in self._leaves):
            self._since = None
            return False
        if self._since is None or at < self._since:  # a clock that was set back must not make it wait for ever
            self._since = at
        return at - self._since >= self._lasting

    def forget(self) -> None:
        """What was seen before a silence says nothing about how long it holds now."""
        self._since = None


def paths(rule: WhenRule) -> Iterator[str]:
    """The paths one leaf looks at."""
    if rule.path is not None:
        yield rule.path
    yield from (rule.source or {}).values()


def leaves(rule: WhenRule) -> list[WhenRule]:
    """The things that have to hold, one by one."""
    return [leaf for inner in rule.all for leaf in leaves(inner)] if rule.all is not None else [rule]


def _leaf(rule: WhenRule) -> Leaf:
    return _comparison(rule) if rule.path is not None else _expression(rule)


def _comparison(rule: WhenRule) -> Leaf:
    path = parse_path(rule.path or "")
    channel, get, tests = path.channel, getter(path.keys), _tests(rule)

    def holds(payloads: Payloads) -> bool:
        raw = get(payloads.get(channel, MISSING))
        return all(test(raw) for test in tests)

    return holds


def _expression(rule: WhenRule) -> Leaf:
    named = {name: parse_path(text) for name, text in (rule.source or {}).items()}
    getters = [(name, path.channel, getter(path.keys)) for name, path in named.items()]
    evaluate = compile_expression(rule.expr or "", frozenset(named))

    def holds(payloads: Payloads) -> bool:
        values = {name: get(payloads.get(channel, MISSING)) for name, channel, get in getters}
        if any(value is None or value is MISSING for value in values.values()):
            return False
        try:
            return evaluate(values) is True
        except Exception:  # CEL is total: what its functions refuse is a fault of the data, not a finding
            return False

    return holds


def _tests(rule: WhenRule) -> list[Test]:
    given = rule.model_fields_set
    tests: list[Test] = []
    if "eq" in given:
        tests.append(lambda raw: _same(raw, rule.eq))
    if "ne" in given:
        tests.append(lambda raw: raw is not MISSING and not _same(raw, rule.ne))
    if rule.within is not None:
        wanted = rule.within
        tests.append(lambda raw: any(_same(raw, one) for one in wanted))
    if rule.is_null is not None:
        tests.append(lambda raw: (raw is None or raw is MISSING) is rule.is_null)
    for bound, compare in (
        (rule.lt, operator.lt),
        (rule.le, operator.le),
        (rule.gt, operator.gt),
        (rule.ge, operator.ge),
    ):
        if bound is not None:
            tests.append(_numeric(bound, compare))
    return tests


def _numeric(bound: float, compare: Callable[[float, float], bool]) -> Test:
    return lambda raw: isinstance(raw, int | float) and not isinstance(raw, bool) and compare(raw, bound)


def _same(raw: Any, wanted: Any) -> bool:
    """Equal, and not because True happens to be 1."""
    return isinstance(raw, bool) is isinstance(wanted, bool) and raw == wanted


def _spoken(rule: WhenRule) -> str:
    if rule.expr is not None:
        return rule.expr
    words = {"eq": "is", "ne": "is not", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "within": "is one of"}
    for key, word in words.items():
        if key in rule.model_fields_set:
            value = getattr(rule, key)
            return f"{rule.path} {word} {str(value).lower() if isinstance(value, bool) else value}"
    return f"{rule.path} is {'absent' if rule.is_null else 'there'}"
