"""What a person reads of an argument before filling it in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bridge.model.command import UNSET_TIMES, Argument, ArgumentRange
from bridge.model.value import DataType, Value
from bridge.northbound.opcua.arguments import described, given, taken


@pytest.mark.parametrize(
    ("data_type", "default", "told"),
    [
        (DataType.String, "", "Work order"),
        (DataType.String, "1", "Work order; 1 by default"),
        (DataType.Double, -1.0, "Work order; -1 to 1e+09; -1 by default"),
    ],
)
def test_default_is_told_where_it_says_something(data_type: DataType, default: Value, told: str) -> None:
    bounds = ArgumentRange(-1, 1e9) if data_type is DataType.Double else None
    assert described(Argument("X", data_type, bounds, description="Work order", default=default)) == told


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("argument", "value", "is_given"),
    [
        (Argument("X", DataType.String, default="1"), "", False),
        (Argument("X", DataType.String, default="1"), "2", True),
        (Argument("X", DataType.String), "", True),
        (Argument("X", DataType.String, default="a@b.example", person=True), "", True),
        (Argument("X", DataType.String, enumeration=("a", "b"), default="b"), "", False),
        (Argument("X", DataType.DateTime, default=UNSET_TIMES[0]), UNSET_TIMES[0], False),
        (Argument("X", DataType.DateTime, default=UNSET_TIMES[0]), UNSET_TIMES[1], False),
        (Argument("X", DataType.DateTime, default=UNSET_TIMES[0]), NOW, True),
        (Argument("X", DataType.DateTime), UNSET_TIMES[0], True),
        (Argument("X", DataType.Double, default=0.0), 0.0, True),
    ],
)
def test_what_cannot_be_left_out_is_left_out_by_being_empty(argument: Argument, value: Value, is_given: bool) -> None:
    assert given((argument,), {"X": value}) == ({"X": value} if is_given else {})
    assert taken(argument, value) == value
