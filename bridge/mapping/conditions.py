"""`bad_when` and `uncertain_when`: conditions on what a machine last said on any of its channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bridge.mapping.schema import WhenRule
from bridge.mapping.select import MISSING, Getter, getter, parse_path

Payloads = Mapping[str, Any]
"""The last payload of each channel."""

Test = Callable[[Any], bool]


class When:
    """One condition, compiled. `holds` is asked with the payloads and the time, because `for:` remembers."""

    def __init__(self, rule: WhenRule) -> None:
        self._lasting = rule.lasting or 0.0
        self._since: float | None = None
        self._leaves = [_leaf(leaf) for leaf in _leaves(rule)]
        self.channels = frozenset(channel for channel, _, _ in self._leaves)
        self.reason = rule.reason or " and ".join(_spoken(leaf) for leaf in _leaves(rule))
        self.status = rule.status

    def holds(self, payloads: Payloads, at: float) -> bool:
        """It holds, and has for as long as it must. `at` is a time in seconds."""
        if not all(test(get(payloads.get(channel, MISSING))) for channel, get, test in self._leaves):
            self._since = None
            return False
        if self._since is None:
            self._since = at
        return at - self._since >= self._lasting


def _leaves(rule: WhenRule) -> list[WhenRule]:
    return [leaf for inner in rule.all for leaf in _leaves(inner)] if rule.all is not None else [rule]


def _leaf(rule: WhenRule) -> tuple[str, Getter, Test]:
    path = parse_path(rule.path or "")
    tests = list(_tests(rule))
    return path.channel, getter(path.keys), lambda raw: all(test(raw) for test in tests)


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
        (rule.lt, float.__lt__),
        (rule.le, float.__le__),
        (rule.gt, float.__gt__),
        (rule.ge, float.__ge__),
    ):
        if bound is not None:
            tests.append(_numeric(bound, compare))
    return tests


def _numeric(bound: float, compare: Callable[[float, float], bool]) -> Test:
    return lambda raw: isinstance(raw, int | float) and not isinstance(raw, bool) and compare(float(raw), float(bound))


def _same(raw: Any, wanted: Any) -> bool:
    """Equal, and not because True happens to be 1."""
    return isinstance(raw, bool) is isinstance(wanted, bool) and raw == wanted


def _spoken(rule: WhenRule) -> str:
    words = {"eq": "is", "ne": "is not", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "within": "is one of"}
    for key, word in words.items():
        if key in rule.model_fields_set:
            value = getattr(rule, key)
            return f"{rule.path} {word} {str(value).lower() if isinstance(value, bool) else value}"
    return f"{rule.path} is {'absent' if rule.is_null else 'there'}"
