"""What a person reads of an argument before filling it in."""

from __future__ import annotations

import pytest

from bridge.model.command import Argument, ArgumentRange
from bridge.model.value import DataType, Value
from bridge.northbound.opcua.arguments import described


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
