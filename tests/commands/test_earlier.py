"""What earlier commands left a set point reading: never more than was seen, and nothing that may have come later."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.commands.earlier import left_by_earlier
from bridge.commands.entry import Entry
from bridge.commands.journal import State
from bridge.model.action import Action, Expectation
from bridge.model.command import Command, Door, ItemOutcome, Outcome, Result, Role
from bridge.model.status import StatusCode
from bridge.model.value import Value

START = datetime(2026, 1, 1, tzinfo=UTC)
LANE = ("panel", "1/7/1")
PATH = "state.frequency1"
SENT = Action(*LANE, {"SetFrequency1": 7.0}, ((Expectation(PATH, 7.0),),), absolute=True)
NUMBERS = itertools.count()


def entry(
    second: float, action: dict[str, Any] | None, outcome: Outcome | None = None, lane: tuple[str, str] = LANE
) -> Entry:
    """A command whose newest step was then; without an outcome one that may have been sent."""
    number, at = next(NUMBERS), START + timedelta(seconds=second)
    command = Command(f"c{number}", "mock-1.X", {}, Door.ADMIN, "anna", START, START, Role.OPERATOR)
    state = State.FINISHED if outcome else State.SENDING
    history = ((State.ACCEPTED, START, ""), (state, at, ""))
    items = outcome.items if outcome else ()
    return Entry(command, "mock-1", lane, None, state, history, action, outcome, number, items)


def ended(
    second: float, result: Result, asked: Value, actual: Value = None, path: str = PATH, lane: tuple[str, str] = LANE
) -> Entry:
    return entry(second, {"confirm": [[[path, asked]]]}, Outcome(result, StatusCode.Good, "", actual), lane)


def left(*others: Entry, began: float = 10.0, sent: Action = SENT) -> Value:
    one = entry(began, {"confirm": [[[PATH, 7.0]]]})
    return left_by_earlier(one, sent, [one, *others])


def test_what_was_read_back_last_is_what_was_before() -> None:
    assert left(ended(2, Result.CONFIRMED, 5.0), ended(1, Result.CONFIRMED, 4.0)) == 5.0
    assert left(ended(2, Result.CHANGED, 5.0, 4.5)) == 4.5


@pytest.mark.parametrize("result", [Result.REFUSED, Result.UNREACHED, Result.SUPERSEDED, Result.EXPIRED])
def test_what_had_no_effect_left_nothing(result: Result) -> None:
    assert left(ended(1, Result.CONFIRMED, 5.0), ended(2, result, 6.0)) == 5.0


@pytest.mark.parametrize("result", [Result.UNKNOWN, Result.ACCEPTED])
def test_after_one_whose_end_nobody_saw_nothing_is_known(result: Result) -> None:
    assert left(ended(1, Result.CONFIRMED, 5.0), ended(2, result, 5.0)) is None


def test_beside_one_that_is_open_nothing_is_known() -> None:
    assert left(ended(1, Result.CONFIRMED, 5.0), entry(2, {"confirm": [[[PATH, 5.0]]]})) is None


def test_what_ended_after_it_was_sent_may_have_been_done_after_it() -> None:
    assert left(ended(10.5, Result.CONFIRMED, 5.0)) is None
    assert left(ended(1, Result.CONFIRMED, 5.0), ended(10.5, Result.CONFIRMED, 5.0)) is None


def test_when_it_was_sent_counts_and_not_when_the_vendor_answered() -> None:
    one = entry(10, {"confirm": [[[PATH, 7.0]]]}).then(State.ANSWERED, START + timedelta(seconds=12), "")
    assert left_by_earlier(one, SENT, [ended(9, Result.CONFIRMED, 5.0)]) == 5.0
    assert left_by_earlier(one, SENT, [ended(11, Result.CONFIRMED, 5.0)]) is None


def test_a_dead_letter_that_was_sent_again_later_counts_from_then() -> None:
    retried, other = ended(3, Result.CONFIRMED, 4.0), ended(2, Result.CONFIRMED, 5.0)
    assert retried.position < other.position
    assert left(other, retried) == 4.0


def test_other_fields_and_other_machines_tell_nothing() -> None:
    assert left(ended(1, Result.CONFIRMED, 5.0, path="state.frequency2")) is None
    assert left(ended(1, Result.CONFIRMED, 5.0, lane=("panel", "1/7/2"))) is None
    assert left(ended(1, Result.CONFIRMED, 5.0), ended(2, Result.UNKNOWN, 6.0, path="state.frequency2")) == 5.0
    assert left(entry(1, None, Outcome(Result.REJECTED, StatusCode.BadOutOfRange, ""), ("", ""))) is None


def test_of_several_fields_none_is_picked() -> None:
    both = [[[PATH, 5.0], ["state.mode", "Hold"]]]
    either = [[[PATH, 5.0]], [["state.mode", "Hold"]]]
    for confirm in (both, either):
        for result in (Result.CONFIRMED, Result.CHANGED):
            assert left(entry(1, {"confirm": confirm}, Outcome(result, StatusCode.Good, "", 4.0))) is None
    two = ((Expectation(PATH, 7.0), Expectation("state.mode", "Hold")),)
    assert left(ended(1, Result.CONFIRMED, 5.0), sent=Action(*LANE, {}, two)) is None


@pytest.mark.parametrize("result", [Result.CONFIRMED, Result.SUPERSEDED])
def test_after_a_recipe_that_may_have_set_it_nothing_is_known(result: Result) -> None:
    items = (ItemOutcome("mock-1.X", 5.0, Result.CONFIRMED, "", None),)
    recipe = {"items": [{"confirm": [[[PATH, 5.0]]]}]}
    of_it = entry(2, recipe, Outcome(result, StatusCode.Good, "", items=items))
    assert left(ended(1, Result.CONFIRMED, 5.0), of_it) is None
