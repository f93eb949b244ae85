"""Durations as people write them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from bridge.transport.duration import Duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("5 s", 5), ("2min", 120), ("1h", 3600), (0.5, 0.5), (5, 5)]
)
def test_duration_is_written_as_people_do(text: object, seconds: float) -> None:
    assert TypeAdapter(Duration).validate_python(text) == seconds


@pytest.mark.parametrize("text", ["5", "fast", "5 parsecs", "-1s", ""])
def test_what_is_no_duration_is_told_so(text: str) -> None:
    with pytest.raises(ValidationError, match="not a duration"):
        TypeAdapter(Duration).validate_python(text)
