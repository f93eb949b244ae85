"""Which API generation a panel speaks."""

from __future__ import annotations

import itertools

import pytest

from bridge.sources.qitech.profile import Profile, decide, forced

STATUSES = (0, 200, 400, 404, 405, 500)


def test_list_and_metrics_make_a_2x() -> None:
    verdict = decide(list_status=200, lists_machines=True, metrics_status=200, has_metrics=True)
    assert (verdict.profile, verdict.certain, verdict.has_metrics) == (Profile.V2, True, True)


def test_list_without_metrics_makes_a_3x() -> None:
    verdict = decide(list_status=200, lists_machines=True, metrics_status=404, has_metrics=False)
    assert (verdict.profile, verdict.certain, verdict.has_metrics) == (Profile.V3, True, False)


@pytest.mark.parametrize("metrics", [True, False])
def test_no_list_is_unknown_and_read_as_a_3x(metrics: bool) -> None:
    """2.12 and 2.13 have no list."""
    status = 200 if metrics else 404
    verdict = decide(list_status=404, lists_machines=False, metrics_status=status, has_metrics=metrics)
    assert (verdict.profile, verdict.certain) == (Profile.V3, False)


def test_nothing_but_the_two_documented_answers_makes_a_2x() -> None:
    """A 2.x client kills a 3.x panel, so every doubt counts as 3.x."""
    for listed, machines, metrics, body in itertools.product(STATUSES, (True, False), STATUSES, (True, False)):
        verdict = decide(list_status=listed, lists_machines=machines, metrics_status=metrics, has_metrics=body)
        is_documented = (listed, machines, metrics, body) == (200, True, 200, True)
        assert (verdict.profile is Profile.V2) is is_documented


def test_a_person_decides() -> None:
    assert forced(Profile.V2).certain
    assert forced(Profile.V2).has_metrics is None
