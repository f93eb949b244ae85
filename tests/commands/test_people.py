"""Who a command is for: badge numbers and user names become e-mail addresses, which only the vendor is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.commands.check import NotAccepted, checked
from bridge.commands.desk import DeskRules
from bridge.commands.journal import Entry, State
from bridge.commands.people import People
from bridge.mapping.targets import CommandTarget
from bridge.model.action import Action
from bridge.model.command import UNSET_TIMES, Argument, Outcome, Result, Role
from bridge.model.email import is_email, without_emails
from bridge.model.plant import Part
from bridge.model.status import StatusCode
from bridge.model.value import DataType
from bridge.runtime.at_machine import last_command_pairs
from bridge.runtime.operations import BridgeOperations, entry_payload
from bridge.transport.clock import SystemClock
from tests.commands.test_desk import UNKNOWN, Office
from tests.commands.test_journal import everything_in
from tests.mapping.rig import compiled

ANNA, OTTO, SHIFT = "anna@acme.example", "otto@acme.example", "shift@acme.example"
EMAILS = {"0451": ANNA, "anna": ANNA, "Otto": OTTO, "shift": SHIFT}
WHO = Argument("Who", DataType.String, person=True)

MAPPING = """
tags:
  Job/Part: {from: state.part, type: String}
commands:
  StartStep:
    send: {start_step: {user_email: $Who, part: $Part, count: $Count}}
    args:
      Part: {type: String}
      Who: {type: String, person: true}
      Count: {type: Int32, range: [1, 100], default: 1}
    confirm: {Job/Part: $Part}
    absolute: false
"""
NOW = datetime(2025, 5, 27, 12, tzinfo=UTC)
START = "mock-1.Commands.StartStep"


def email(text: str, user: str = "", *, default: str | None = None, only: bool = False) -> Any:
    people = People(EMAILS, only=only)
    return people.resolved([replace(WHO, default=default)], {"Who": text, "Part": text}, user)["Who"]


@pytest.mark.parametrize(
    ("given", "user", "default", "expected"),
    [
        ("0451", "", None, ANNA),
        ("0451\0\0\0", "", None, ANNA),
        ("  anna  ", "otto", None, ANNA),
        ("OTTO", "", None, OTTO),
        ("new@acme.example", "", None, "new@acme.example"),
        ("", "anna", None, ANNA),
        ("", "anna", SHIFT, ANNA),
        ("\0\0", "nobody", SHIFT, SHIFT),
        ("", "", "shift", SHIFT),
        ("", "", "", ""),
    ],
)
def test_a_person_becomes_an_email_address(given: str, user: str, default: str | None, expected: str) -> None:
    assert email(given, user, default=default) == expected


@pytest.mark.parametrize(
    ("given", "user", "only", "said"),
    [
        ("0452", "", False, "'0452' is no badge number or user name in commands: people"),
        ("451", "", False, "'451' is no badge number"),
        ("anna@acme", "", False, "Who is no e-mail address; give one, or a badge number"),
        (ANNA, "", True, "give a badge number or user name of commands: people; people_only is set"),
        ("", "", False, "Who is empty, and this door does not know who asks"),
        ("", "berta", False, "the login 'berta' has no email"),
    ],
)
def test_who_is_not_known_is_refused_with_what_to_do(given: str, user: str, only: bool, said: str) -> None:
    with pytest.raises(NotAccepted) as refusal:
        email(given, user, only=only)
    assert refusal.value.outcome.status is StatusCode.BadInvalidArgument
    assert said in refusal.value.outcome.sentence
    assert "@" not in refusal.value.outcome.sentence


def test_only_persons_are_looked_up() -> None:
    assert People(EMAILS).resolved([WHO], {"Who": "0451", "Part": "anna"}, "") == {"Who": ANNA, "Part": "anna"}
    given = {"Part": "anna"}
    assert People(EMAILS).resolved([], given, "") is given


def test_addresses_are_not_shown_by_accident() -> None:
    assert "acme" not in repr(DeskRules(people=People(EMAILS)))


def test_what_is_not_given_is_its_default() -> None:
    arguments = (WHO, Argument("Count", DataType.Int32, default=0), Argument("On", DataType.Boolean, default=False))
    assert checked(arguments, {}, NOW) == {"Who": "", "Count": 0, "On": False}
    assert checked(arguments, {"Count": 3, "On": None}, NOW) == {"Who": "", "Count": 3, "On": False}
    with pytest.raises(NotAccepted, match="Part is not given"):
        checked((*arguments, Argument("Part", DataType.String)), {"Who": "0451"}, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ANNA, True),
        ("o'brien+line-3@sub.acme.co.uk", True),
        ("jürgen@bücher.example", True),
        ("anna@10.0.0.1", False),
        ("anna@acme", False),
        ("anna@@acme.example", False),
        ("anna@acme..example", False),
        ("${X}@acme.example", False),
        (f" {ANNA}", False),
        (f"{'a' * 65}@acme.example", False),
        (f"anna@{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 63}", False),
        ("", False),
    ],
)
def test_an_email_address_is_known_by_its_form(text: str, expected: bool) -> None:
    assert is_email(text) is expected


def test_a_text_is_shown_without_the_addresses_in_it() -> None:
    told = f"User <{ANNA}> or {OTTO}, asked by anna@10.0.0.1"
    assert without_emails(told) == "User <(e-mail)> or (e-mail), asked by anna@10.0.0.1"
    long = "a" * 200_000
    assert without_emails(long + "@") == long + "@"


# -- the desk ---------------------------------------------------------------------------------------------------------


class Shop(Office):
    """A desk whose machine has a step to start; the vendor repeats whom it was told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, DeskRules(confirm_window_s=0.05, reconcile_within_s=0.05, people=People(EMAILS)))
        mapping = compiled(MAPPING)
        target = CommandTarget("mock-1", Part("values", "panel", "1/7/1", "x"), mapping.commands[0], mapping)
        self.panel.answer = Outcome(
            Result.REFUSED, StatusCode.BadNotFound, f"It does not know {ANNA}", vendor_text=f"User {ANNA} not found"
        )
        find = self.house.keeper.target
        self.house.keeper.target = lambda name: target if name == START else find(name)  # type: ignore[method-assign]

    @property
    def sent_to(self) -> list[str]:
        return [payload["start_step"]["user_email"] for payload in self.panel.sent]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with Shop(tmp_path) as one:
        yield one


async def test_the_vendor_is_told_the_address_and_nobody_else(shop: Shop, tmp_path: Path) -> None:
    ended = []
    shop.desk.finished = lambda command, target, outcome: ended.append((command, outcome))
    outcome = await shop.ends(START, {"Part": "P1", "Who": "0451"}, id="one")
    assert shop.panel.sent == [{"start_step": {"user_email": ANNA, "part": "P1", "count": 1}}]
    assert (outcome.result, outcome.sentence) == (Result.REFUSED, "It does not know (e-mail)")
    entry = await shop.journal.get("one")
    assert entry is not None
    assert entry.command.arguments == {"Part": "P1", "Who": "0451"}
    assert entry.action is not None
    assert entry.action["payload"]["start_step"]["user_email"] == "(e-mail)"
    command, told = ended[0]
    machine = shop.house.table.plant.machines["mock-1"]
    shown = last_command_pairs(machine, command, told, SystemClock().now())
    for text in (str(entry), json.dumps(entry_payload(entry), default=str), str(shown), str(outcome)):
        assert "acme" not in text
    assert any("Who=0451" in str(value.value) for _, value in shown)
    assert ANNA.encode() not in everything_in(tmp_path)


async def test_an_address_that_was_given_is_sent_and_not_shown(shop: Shop, tmp_path: Path) -> None:
    await shop.ends(START, {"Part": "P1", "Who": OTTO}, id="one")
    assert shop.sent_to == [OTTO]
    entry = await shop.journal.get("one")
    assert entry is not None
    assert entry.command.arguments["Who"] == "(e-mail)"
    assert entry.is_masked
    machine = shop.house.table.plant.machines["mock-1"]
    given = replace(entry.command, arguments={"Who": OTTO})
    assert "acme" not in str(last_command_pairs(machine, given, UNKNOWN, SystemClock().now()))
    claimed = replace(given, requester="claimed:anna@acme.example")
    assert "acme" not in str(last_command_pairs(machine, claimed, UNKNOWN, SystemClock().now()))
    assert OTTO.encode() not in everything_in(tmp_path)


async def test_the_login_a_door_has_checked_stands_for_nobody_given(shop: Shop) -> None:
    await shop.ends(START, {"Part": "P1"}, user="otto")
    assert shop.sent_to == [OTTO]
    outcome = await shop.ends(START, {"Part": "P1"}, requester="claimed:otto")
    assert (outcome.result, shop.sent_to) == (Result.REJECTED, [OTTO])


async def test_who_is_unknown_has_nothing_sent(shop: Shop) -> None:
    outcome = await shop.ends(START, {"Part": "P1", "Who": "0452"})
    assert (outcome.result, outcome.status, shop.panel.sent) == (
        Result.REJECTED,
        StatusCode.BadInvalidArgument,
        [],
    )
    assert "'0452' is no badge number or user name in commands: people; add it there" in outcome.sentence


async def test_a_dead_letter_that_is_sent_again_asks_anew_who_it_is(shop: Shop) -> None:
    shop.panel.answer = UNKNOWN
    await shop.ends(START, {"Part": "P1", "Who": ""}, user="anna", id="by login")
    await shop.ends(START, {"Part": "P2", "Who": "0451"}, id="by badge")
    await shop.ends(START, {"Part": "P3", "Who": ANNA}, id="by address")
    shop.desk.rules = replace(shop.desk.rules, people=People({"anna": SHIFT, "0451": OTTO}))
    operations = BridgeOperations(BridgeOf(shop))  # type: ignore[arg-type]
    assert (await operations.retry("by login", "admin", Role.ENGINEER)).result is Result.UNKNOWN
    assert (await operations.retry("by badge", "admin", Role.ENGINEER)).result is Result.UNKNOWN
    refused = await operations.retry("by address", "admin", Role.ENGINEER)
    assert (refused.result, "no e-mail addresses" in refused.sentence) == (Result.REJECTED, True)
    assert shop.sent_to == [ANNA, ANNA, ANNA, SHIFT, OTTO]
    assert "by address" in {entry.command.id for entry in await shop.journal.dead()}


class BridgeOf:
    """What of a bridge a retry needs."""

    def __init__(self, shop: Shop) -> None:
        self.journal, self.desk, self.clock = shop.journal, shop.desk, SystemClock()


@pytest.mark.parametrize("who", ["0451", ANNA])
async def test_after_a_crash_it_is_found_out_what_became_of_it_without_the_address(tmp_path: Path, who: str) -> None:
    first = Shop(tmp_path)
    first.panel.gate.clear()
    async with first:
        ticket = first.submit(START, {"Part": "P1", "Who": who}, id="one")
        await ticket.accepted
        await first.panel.began.wait()
        assert (await found(first)).state is State.SENDING
    second = Shop(tmp_path)
    async with second:
        async with asyncio.timeout(30):
            while (await found(second)).outcome is None:  # noqa: ASYNC110 - the journal is asked, not listened to
                await asyncio.sleep(0.01)
        outcome = (await found(second)).outcome
        assert outcome is not None
        assert outcome.result is Result.CONFIRMED
        assert [action.payload["start_step"]["part"] for action in second.panel.reconciled] == ["P1"]
        assert second.panel.sent == []


async def found(shop: Shop) -> Entry:
    entry = await shop.journal.get("one")
    assert entry is not None
    return entry


def test_a_command_with_a_person_renders_its_payload() -> None:
    mapping = compiled(MAPPING)
    target = CommandTarget("m", Part("values", "panel", "1", "x"), mapping.commands[0], mapping)
    action: Action = target.items({"Part": "P1", "Who": ANNA, "Count": 2})[0].action
    assert action.payload == {"start_step": {"user_email": ANNA, "part": "P1", "count": 2}}


def test_a_time_that_nobody_sets_is_now() -> None:
    arguments = (Argument("Start", DataType.DateTime, default=UNSET_TIMES[0]),)
    for unset in ({}, {"Start": None}, {"Start": "now"}, *({"Start": zero} for zero in UNSET_TIMES)):
        assert checked(arguments, unset, NOW) == {"Start": NOW}
    earlier = NOW - timedelta(hours=1)
    assert checked(arguments, {"Start": earlier.isoformat()}, NOW) == {"Start": earlier}
    assert arguments[0].default_words == "now"
