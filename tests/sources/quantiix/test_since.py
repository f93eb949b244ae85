from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.sources.quantiix.intervals import MINUTE
from bridge.sources.quantiix.since import Latched, corrected, seen

NOW = 1_000_000 * MINUTE


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=50))
def test_a_state_that_lasts_keeps_its_since_however_the_minutes_jitter(jitter: list[int]) -> None:
    latched = seen(None, "RUNNING", 10, NOW).latched
    for poll, error in enumerate(jitter, 1):
        told = seen(latched, "RUNNING", 10 + poll + error, NOW + poll * MINUTE)
        assert not told.changed
        assert not told.missed
        latched = told.latched
    assert latched.since == NOW - 10 * MINUTE


def test_another_state_is_a_change_and_never_begins_before_the_one_before() -> None:
    before = Latched("RUNNING", NOW - 5 * MINUTE)
    told = seen(before, "IDLE", 9, NOW)
    assert told.changed
    assert told.latched == Latched("IDLE", NOW - 5 * MINUTE)


def test_an_estimate_that_jumps_to_later_is_a_transition_nobody_saw() -> None:
    before = Latched("RUNNING", NOW - 60 * MINUTE)
    told = seen(before, "RUNNING", 3, NOW)
    assert told.missed
    assert not told.changed
    assert told.latched.since == NOW - 3 * MINUTE


def test_an_exact_time_is_not_given_up_for_an_estimate() -> None:
    exact = corrected(Latched("IDLE", NOW - 10 * MINUTE), "IDLE", NOW - 12 * MINUTE)
    assert exact == Latched("IDLE", NOW - 12 * MINUTE, exact=True)
    assert seen(exact, "IDLE", 15, NOW).latched == exact
    assert seen(exact, "IDLE", 11, NOW).latched == exact


def test_activity_of_another_state_corrects_nothing() -> None:
    before = Latched("IDLE", NOW)
    assert corrected(before, "RUNNING", NOW - MINUTE) == before
    assert corrected(None, "RUNNING", NOW) is None
