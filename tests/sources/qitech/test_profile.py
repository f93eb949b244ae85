"""Which API generation a panel speaks."""

from __future__ import annotations

import itertools

import pytest

from bridge.sources.qitech.profile import Metrics, Profile, decide, reconciled

STATUSES = (0, 200, 400, 404, 405, 500)
V2 = decide(list_status=200, lists_machines=True, metrics=Metrics.PRESENT)
V3 = decide(list_status=200, lists_machines=True, metrics=Metrics.ABSENT)
UNKNOWN = decide(list_status=404, lists_machines=False, metrics=Metrics.ABSENT)


def test_list_and_metrics_make_a_2x() -> None:
    assert (V2.profile, V2.is_known, V2.joins_lasers, V2.metrics) == (Profile.V2, True, False, Metrics.PRESENT)


def test_list_without_metrics_makes_a_3x() -> None:
    assert (V3.profile, V3.is_known, V3.joins_lasers, V3.metrics) == (Profile.V3, True, True, Metrics.ABSENT)


@pytest.mark.parametrize("metrics", Metrics)
def test_no_list_is_unknown_and_read_as_a_3x_without_lasers(metrics: Metrics) -> None:
    """2.12 and 2.13 have no list."""
    verdict = decide(list_status=404, lists_machines=False, metrics=metrics)
    assert (verdict.profile, verdict.is_known, verdict.joins_lasers) == (Profile.V3, False, False)


def test_nothing_but_the_documented_answers_makes_a_2x_or_joins_lasers() -> None:
    """A 2.x client kills a 3.x panel; a laser's namespace harms a 2.x."""
    for status, lists, metrics in itertools.product(STATUSES, (True, False), Metrics):
        verdict = decide(list_status=status, lists_machines=lists, metrics=metrics)
        is_listed = status == 200 and lists
        assert (verdict.profile is Profile.V2) is (is_listed and metrics is Metrics.PRESENT)
        assert verdict.joins_lasers is (is_listed and metrics is Metrics.ABSENT)


def test_a_person_decides_where_the_panel_does_not_show_what_it_is() -> None:
    for profile in Profile:
        verdict = reconciled(UNKNOWN, profile)
        assert (verdict.profile, verdict.is_known, verdict.joins_lasers) == (profile, False, False)


def test_a_person_who_agrees_changes_nothing() -> None:
    assert reconciled(V2, Profile.V2) is V2
    assert reconciled(V3, Profile.V3) is V3


def test_a_person_who_contradicts_the_panel_gets_what_harms_neither() -> None:
    for found, configured in ((V2, Profile.V3), (V3, Profile.V2)):
        verdict = reconciled(found, configured)
        assert (verdict.profile, verdict.is_known, verdict.joins_lasers) == (Profile.V3, True, False)
        assert verdict.metrics is found.metrics
        assert f"profile {configured} is configured, but" in verdict.reason
