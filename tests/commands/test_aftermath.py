"""What a reading says after a crash: never more than can be known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.commands.aftermath import aftermath
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode

AS_ASKED = Outcome(Result.CONFIRMED, StatusCode.Good, "It reads as asked")
BY_ANYBODY = Outcome(Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously, "It reads as asked, whoever did it")
AS_BEFORE = Outcome(Result.CHANGED, StatusCode.GoodClamped, "It reads 1", 1.0)
THIRD = replace(AS_BEFORE, actual=7.0)
OTHERWISE = replace(AS_BEFORE, actual=None)
SILENT = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "It does not tell")
OLD = 1.0
"""Of the set point."""


def said(
    read: Outcome,
    absolute: bool,
    was_taken: bool,
    has_landed: bool,
    old: float | None = OLD,
    is_set_point: bool = True,
) -> Result | None:
    outcome = aftermath(
        read, old, is_set_point=is_set_point, absolute=absolute, was_taken=was_taken, has_landed=has_landed
    )
    assert outcome is None or outcome.status.is_good == (outcome.result is Result.CONFIRMED)
    return outcome and outcome.result


@pytest.mark.parametrize("has_landed", [False, True])
@pytest.mark.parametrize(
    ("read", "was_taken", "result"),
    [
        (AS_ASKED, False, Result.CONFIRMED),
        (AS_ASKED, True, Result.CONFIRMED),
        (BY_ANYBODY, True, Result.CONFIRMED),
        (BY_ANYBODY, False, Result.UNKNOWN),
    ],
)
def test_as_asked_is_confirmed_unless_it_may_have_been_so_before(
    read: Outcome, was_taken: bool, result: Result, has_landed: bool
) -> None:
    assert said(read, False, was_taken, has_landed) is result


@pytest.mark.parametrize("read", [AS_BEFORE, THIRD, OTHERWISE])
@pytest.mark.parametrize("absolute", [False, True])
def test_what_may_still_arrive_is_asked_again(read: Outcome, absolute: bool) -> None:
    assert said(read, absolute, was_taken=False, has_landed=False) is None


@pytest.mark.parametrize("was_taken", [False, True])
def test_a_silent_machine_is_asked_again(was_taken: bool) -> None:
    assert said(SILENT, True, was_taken, has_landed=True) is None


@pytest.mark.parametrize("was_taken", [False, True])
def test_the_value_of_before_means_that_it_had_no_effect(was_taken: bool) -> None:
    assert said(AS_BEFORE, True, was_taken, has_landed=True) is Result.REFUSED


@pytest.mark.parametrize("was_taken", [False, True])
def test_a_command_that_does_not_read_so_had_no_effect_and_changed_nothing(was_taken: bool) -> None:
    assert said(OTHERWISE, True, was_taken, has_landed=True, old=None, is_set_point=False) is Result.REFUSED
    assert said(AS_BEFORE, True, was_taken, has_landed=True, old=None, is_set_point=False) is Result.REFUSED


@pytest.mark.parametrize("old", [OLD, None])
@pytest.mark.parametrize("was_taken", [False, True])
def test_a_third_value_tells_nothing(old: float | None, was_taken: bool) -> None:
    assert said(THIRD, True, was_taken, has_landed=True, old=old) is Result.UNKNOWN


def test_what_is_not_known_to_have_been_before_is_not_said_to_differ() -> None:
    sentences = [
        outcome.sentence
        for old in (OLD, None)
        if (outcome := aftermath(THIRD, old, is_set_point=True, absolute=True, was_taken=False, has_landed=True))
    ]
    assert sentences == [
        "The machine reads 7.0, which is neither what was asked nor what was before",
        "The machine reads 7.0, not what was asked, and what it read before is not known",
    ]


@pytest.mark.parametrize("result", [Result.REFUSED, Result.EXPIRED])
@pytest.mark.parametrize("old", [OLD, None])
def test_what_a_vendor_says_became_of_it_is_told_in_its_words(result: Result, old: float | None) -> None:
    told = Outcome(result, StatusCode.BadInvalidState, "The device refuses it: locked", vendor_text="locked")
    for has_landed in (False, True):
        assert told == aftermath(told, old, is_set_point=True, absolute=True, was_taken=False, has_landed=has_landed)


@pytest.mark.parametrize("was_taken", [False, True])
def test_what_must_not_be_done_twice_is_left_to_a_person_when_it_reads_otherwise(was_taken: bool) -> None:
    assert said(OTHERWISE, False, was_taken, has_landed=True, old=None) is Result.UNKNOWN
