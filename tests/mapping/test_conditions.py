from typing import Any

import pytest
from pydantic import ValidationError

from bridge.mapping.conditions import When
from bridge.mapping.schema import WhenRule


def when(**rule: Any) -> When:
    return When(WhenRule.model_validate(rule))


def holds(rule: dict[str, Any], raw: object) -> bool:
    return when(path="s.x", **rule).holds({"s": {"x": raw}}, 0.0)


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ({"eq": 0}, [0, 0.0], [False, "0", None, 1]),
        ({"eq": True}, [True], [1, "true", False, None]),
        ({"eq": "Heat"}, ["Heat"], ["heat", None, 5]),
        ({"ne": "Heat"}, ["Cool", None, 5], ["Heat"]),
        ({"lt": 5}, [4.9, -(10**400)], [5, None, True, "4", float("nan")]),
        ({"le": 5}, [5], [5.1, 10**400]),
        ({"gt": 5}, [5.1, 10**400], [5, None, [6]]),
        ({"ge": 5}, [5], [4.9]),
        ({"ge": 1, "le": 2}, [1, 1.5, 2], [0.9, 2.1]),
        ({"in": ["a", 1, False]}, ["a", 1, False], ["b", True, 0, None]),
        ({"is_null": True}, [None], [0, "", False]),
        ({"is_null": False}, [0, "", False], [None]),
    ],
)
def test_comparison(rule: dict[str, Any], yes: list[object], no: list[object]) -> None:
    assert [raw for raw in yes if not holds(rule, raw)] == []
    assert [raw for raw in no if holds(rule, raw)] == []


@pytest.mark.parametrize("rule", [{"eq": 0}, {"ne": 0}, {"lt": 5}, {"in": [0]}, {"is_null": False}])
@pytest.mark.parametrize("payloads", [{}, {"s": {}}, {"s": None}, {"s": 5}, {"other": {"x": 0}}])
def test_missing_field_meets_no_comparison(rule: dict[str, Any], payloads: dict[str, Any]) -> None:
    assert not when(path="s.x", **rule).holds(payloads, 0.0)


def test_missing_field_is_null() -> None:
    assert when(path="s.x", is_null=True).holds({}, 0.0)


def test_all_looks_at_several_channels() -> None:
    both = when(all=[{"path": "s.mode", "eq": "Extrude"}, {"path": "live.rpm", "lt": 1}])
    assert both.channels == {"s", "live"}
    assert both.holds({"s": {"mode": "Extrude"}, "live": {"rpm": 0.5}}, 0.0)
    assert not both.holds({"s": {"mode": "Extrude"}, "live": {"rpm": 5}}, 0.0)
    assert not both.holds({"s": {"mode": "Extrude"}}, 0.0)


def test_expression_compares_fields() -> None:
    inside = when(expr="d <= target + upper", **{"from": {"d": "live.d", "target": "s.t", "upper": "s.u"}})
    assert inside.channels == {"s", "live"}
    assert inside.holds({"live": {"d": 1.8}, "s": {"t": 1.75, "u": 0.05}}, 0.0)
    assert not inside.holds({"live": {"d": 2}, "s": {"t": 1.75, "u": 0.05}}, 0.0)


@pytest.mark.parametrize("raw", [None, "text", [1], {}, float("nan"), 10**400, "\ud800"])
def test_expression_that_cannot_be_computed_does_not_hold(raw: object) -> None:
    assert not when(expr="d + 1.0 > 0.0", **{"from": {"d": "s.d"}}).holds({"s": {"d": raw}}, 0.0)


def test_expression_that_is_not_true_or_false_does_not_hold() -> None:
    assert not when(expr="d", **{"from": {"d": "s.d"}}).holds({"s": {"d": 1.0}}, 0.0)


def test_duration_runs_from_when_it_began_to_hold() -> None:
    lasting = when(path="s.x", eq=1, **{"for": "5s"})
    assert [lasting.holds({"s": {"x": 1}}, at) for at in (100.0, 104.9, 105.0, 200.0)] == [False, False, True, True]


def test_interruption_starts_the_duration_anew() -> None:
    lasting = when(path="s.x", eq=1, **{"for": "5s"})
    lasting.holds({"s": {"x": 1}}, 0.0)
    lasting.holds({"s": {"x": 0}}, 4.0)
    assert not lasting.holds({"s": {"x": 1}}, 6.0)
    assert lasting.holds({"s": {"x": 1}}, 11.0)


def test_clock_that_was_set_back_does_not_hold_it_up_for_ever() -> None:
    lasting = when(path="s.x", eq=1, **{"for": "5s"})
    lasting.holds({"s": {"x": 1}}, 10_000.0)
    assert not lasting.holds({"s": {"x": 1}}, 100.0)
    assert lasting.holds({"s": {"x": 1}}, 105.0)


def test_forgetting_starts_the_duration_anew() -> None:
    lasting = when(path="s.x", eq=1, **{"for": "5s"})
    lasting.holds({"s": {"x": 1}}, 0.0)
    lasting.forget()
    assert not lasting.holds({"s": {"x": 1}}, 100.0)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"path": "s.x", "eq": True}, "s.x is true"),
        ({"path": "s.x", "is_null": True}, "s.x is absent"),
        ({"path": "s.x", "gt": 5}, "s.x > 5.0"),
        ({"all": [{"path": "s.x", "eq": 1}, {"path": "s.y", "ne": "a"}]}, "s.x is 1 and s.y is not a"),
        ({"expr": "d > 1.0", "from": {"d": "s.d"}}, "d > 1.0"),
        ({"path": "s.x", "eq": 1, "reason": "Because"}, "Because"),
    ],
)
def test_condition_says_why(rule: dict[str, Any], reason: str) -> None:
    assert when(**rule).reason == reason


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"path": "s.x"},
        {"eq": 1},
        {"path": "s.x", "eq": 1, "all": []},
        {"expr": "a > 1.0"},
        {"path": "s.x", "eq": 1, "from": {"a": "s.a"}},
        {"all": [{"path": "s.x", "eq": 1}], "gt": 5},
        {"path": "s.x", "eq": 1, "for": "soon"},
        {"path": "s.x", "eq": 1, "status": "BadLuck"},
    ],
)
def test_condition_that_says_nothing_or_too_much_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WhenRule.model_validate(rule)
