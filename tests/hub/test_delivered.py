"""Ranges of positions, against a plain set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.hub import delivered as module
from bridge.hub.delivered import Delivered

SPANS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8)), max_size=40)


@given(begin=st.integers(0, 10), spans=SPANS, up_to=st.integers(0, 80))
def test_it_holds_what_a_set_would(begin: int, spans: list[tuple[int, int]], up_to: int) -> None:
    ranges, plain = Delivered(begin), set(range(begin + 1))
    for low, length in spans:
        ranges.add(low, low + length)
        plain.update(range(low, low + length + 1))
    assert [position for position in range(90) if position in ranges] == sorted(plain)
    assert ranges.end == max(plain)
    holes = [position for low, high in ranges.holes(up_to) for position in range(low, high + 1)]
    assert holes == sorted(set(range(up_to + 1)) - plain)
    assert ranges.lacks(up_to) is bool(holes)
    assert Delivered.from_text(ranges.as_text()).as_text() == ranges.as_text()


def test_touching_ranges_are_one() -> None:
    ranges = Delivered(3)
    ranges.add(6, 6)
    ranges.add(4, 5)
    assert ranges.as_text() == "0-6"


def test_a_range_too_many_is_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RANGES", 3)
    ranges = Delivered()
    for position in (2, 4, 6, 8):
        ranges.add(position, position)
    assert ranges.as_text() == "0-0 2-2 4-4"
    ranges.add(5, 5)  # what touches needs no range
    assert ranges.as_text() == "0-0 2-2 4-5"
