"""The table of what 100 requests a minute can carry, as the vendor's facts have it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sources._budget import BACKGROUND
from bridge.sources._periods import Periods, achievable


@pytest.mark.parametrize(
    ("machines", "wanted", "state", "activity_min"),
    [
        (10, 30, 30, 10),
        (30, 30, 30, 10),
        (38, 30, 30, 10),
        (50, 30, 40, 10),
        (75, 60, 62, 10),
        (100, 60, 86, 10),
        (200, 60, 188, 12.5),
    ],
)
def test_table(machines: int, wanted: float, state: float, activity_min: float) -> None:
    periods = achievable(machines, 80, Periods(wanted, 600))
    assert (round(periods.state), periods.activity) == (state, activity_min * 60)


def test_no_machine_needs_nothing() -> None:
    assert achievable(0, 80, Periods(30, 600)) == Periods(30, 600)


@given(
    machines=st.integers(0, 5000),
    rate=st.floats(1, 5000),
    state=st.floats(1, 3600),
    activity=st.floats(60, 86400),
)
def test_what_is_achievable_fits_the_rate(machines: int, rate: float, state: float, activity: float) -> None:
    wanted = Periods(state, activity)
    periods = achievable(machines, rate, wanted)
    assert periods.state >= state
    assert periods.activity >= activity
    assert 60 * machines / periods.activity <= BACKGROUND * rate * (1 + 1e-9)
    assert 60 * machines / periods.state + 60 * machines / periods.activity <= rate * (1 + 1e-9)
