"""Bookings: kept while the vendor is offline, delivered in order with the times of the edge, each of them once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bridge.commands import lane as lanes
from bridge.commands.desk import Desk, DeskRules
from bridge.commands.journal import Journal, State
from bridge.commands.people import People
from bridge.model.action import Action
from bridge.model.command import Outcome, Result, Role
from bridge.model.event import Event
from bridge.model.status import StatusCode
from bridge.runtime.operations import BridgeOperations
from bridge.transport.clock import SystemClock
from tests.commands.test_desk import FREQUENCY, STANDBY, WRITABLE, Office

START, FINISH = "mock-1.Commands.StartStep", "mock-1.Commands.FinishStep"
PENDING = "mock-1.Job.PendingBookings"
SITE = WRITABLE.replace("serial: 1}}", "serial: 1}, mapping: test/mock}") + "mappings: [mock.yaml]\n"
MAPPING = """
version: 1
mapping: test/mock
extends: qitech/mock
commands:
  StartStep:
    when_offline: queue
    max_delay: 12h
    absolute: false
    args:
      Part: {type: String}
      At: {type: DateTime, default: now}
      Who: {type: String, person: true, default: ""}
    send: {start: $Part, at: $At, user: $Who}
  FinishStep:
    when_offline: queue
    max_delay: 12h
    absolute: false
    args: {Part: {type: String}, At: {type: DateTime, default: now}}
    send: {finish: $Part, at: $At}
"""
SPEED = 30
"""Pauses of a minute would be too long for a test."""

DONE = Outcome(Result.CONFIRMED, StatusCode.Good, "It is booked")
REFUSED = Outcome(Result.REFUSED, StatusCode.BadInvalidState, "No active step", None, 422, "No active step")
AWAY = Outcome(Result.UNREACHED, StatusCode.BadNotConnected, "Connection refused")
LOST = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "No answer came")
NEVER_CAME = Outcome(Result.UNREACHED, StatusCode.BadNotConnected, "It is not on the timeline")


class FastClock(SystemClock):
    """Waiting goes fast; the wall clock goes as it does, and may be put ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() * SPEED

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / SPEED)


@dataclass
class Vendor:
    """What a vendor has booked, and how it behaves; it outlives every bridge."""

    is_connected: bool = False
    booked: list[tuple[str, str, datetime]] = field(default_factory=list)
    says: list[Outcome | Callable[[], Outcome]] = field(default_factory=list)
    """How the next requests go; then all go well."""
    attempts: int = 0
    reads: int = 0
    has_read: Outcome | None = None
    """What reading says; None: the truth."""
    at_request: Callable[[str], None] = lambda moment: None
    is_cut_off: bool = False
    """The bridge was killed: nothing of it arrives any more."""

    async def execute(self, action: Action, deadline: float) -> Outcome:
        self.attempts += 1
        self.at_request("sending")
        if self.is_cut_off:
            await asyncio.Event().wait()
        answer = self.says.pop(0) if self.says else DONE
        answer = answer() if callable(answer) else answer
        if answer.status.is_good or answer is LOST_BUT_DONE:
            self.book(action)
        self.at_request("done")
        if self.is_cut_off:
            await asyncio.Event().wait()
        return answer

    def book(self, action: Action) -> None:
        kind, at = next(iter(action.payload)), action.payload["at"]
        self.booked.append((kind, action.payload[kind], at))

    async def reconcile(self, action: Action) -> Outcome:
        if self.is_cut_off:
            await asyncio.Event().wait()
        self.reads += 1
        if self.has_read is not None:
            return self.has_read
        if not self.is_connected:
            return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "It cannot be asked")
        kind = next(iter(action.payload))
        known = (kind, action.payload[kind], action.payload["at"]) in self.booked
        return DONE if known else NEVER_CAME

    @property
    def names(self) -> list[str]:
        return [f"{kind} {part}" for kind, part, _ in self.booked]


LOST_BUT_DONE = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "The connection broke")


class Shopfloor(Office):
    """A desk, its journal, and a vendor that may be away."""

    def __init__(self, folder: Path, vendor: Vendor, people: People | None = None) -> None:
        (folder / "mock.yaml").write_text(MAPPING, encoding="utf-8")
        rules = DeskRules(
            confirm_window_s=0.3, execute_timeout_s=0.5, reconcile_within_s=3.0, people=people or People()
        )
        super().__init__(folder, rules, SITE)
        self.vendor, self.clock = vendor, FastClock()
        self.journal = Journal(folder / "journal.db", self.clock)
        self.events: list[Event] = []
        self.told: list[tuple[str, Result]] = []
        plainly = self.panel.execute

        async def execute(action: Action, deadline: float) -> Outcome:
            is_booking = "at" in action.payload
            return await (vendor.execute(action, deadline) if is_booking else plainly(action, deadline))

        self.panel.execute = execute  # type: ignore[method-assign]
        self.panel.reconcile = vendor.reconcile  # type: ignore[method-assign]
        self.panel.can_reconcile = lambda action: True  # type: ignore[method-assign]

    async def __aenter__(self) -> Shopfloor:
        await self.journal.__aenter__()
        house, executors = self.house, {"panel": self.panel}
        self.desk = Desk(house.table, house.keeper.target, executors.get, self.journal, self.rules, self.clock)
        self.desk.is_connected = lambda source: self.vendor.is_connected
        self.desk.tell = self.events.append
        self.desk.finished = lambda command, target, outcome: self.told.append((command.id, outcome.result))
        house.keeper.pending_bookings = self.desk.bookings.pending
        self.task = asyncio.create_task(self.desk.run())
        await self.desk.opened.wait()
        self.panel.announce()
        return self

    def returns(self) -> None:
        """The vendor is there again, and the bridge sees it."""
        self.vendor.is_connected = True
        self.desk.returned("panel")

    def pending(self) -> Any:
        self.house.keeper.tick()
        return self.house.read(PENDING).value

    async def book(self, target: str, part: str, name: str = "", **more: Any) -> Outcome:
        name, now = name or f"{target.rpartition('.')[2]} {part}", self.clock.now()
        expires = now + timedelta(seconds=30)
        return await self.ends(target, {"Part": part, **more}, id=name, issued=now, expires=expires)

    async def state(self, identifier: str) -> State:
        entry = await self.journal.get(identifier)
        assert entry is not None
        return entry.state

    async def over(self) -> None:
        """Wait until no booking is kept any more."""
        await until(lambda: len(self.desk.bookings) == 0)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition; there is no one event
            await asyncio.sleep(0.005)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
async def floor(tmp_path: Path, vendor: Vendor) -> AsyncIterator[Shopfloor]:
    async with Shopfloor(tmp_path, vendor) as one:
        yield one


async def test_a_booking_goes_as_every_command_while_the_vendor_is_there(floor: Shopfloor) -> None:
    floor.vendor.is_connected = True
    outcome = await floor.book(START, "P1")
    assert outcome == DONE
    assert (floor.vendor.names, floor.events, floor.pending()) == (["start P1"], [], 0)


async def test_start_and_finish_of_an_outage_arrive_in_order_with_the_times_of_the_edge(floor: Shopfloor) -> None:
    before = floor.clock.now()
    first = await floor.book(START, "P1")
    assert (first.result, first.status) == (Result.QUEUED, StatusCode.GoodCompletesAsynchronously)
    assert "Kept with its time" in first.sentence
    floor.clock.ahead += timedelta(minutes=10)
    assert (await floor.book(FINISH, "P1", At=datetime.fromisoformat("1601-01-01T00:00:00Z"))).result is Result.QUEUED
    floor.clock.ahead += timedelta(minutes=10)
    assert (floor.pending(), floor.vendor.attempts) == (2, 0)
    assert (await floor.book(START, "P1")).result is Result.QUEUED, "the same id is the same booking"
    floor.returns()
    await floor.over()
    assert floor.vendor.names == ["start P1", "finish P1"]
    started, finished = (at for _, _, at in floor.vendor.booked)
    assert timedelta() <= started - before < timedelta(minutes=5)
    assert timedelta(minutes=9) < finished - started < timedelta(minutes=15)
    assert floor.pending() == 0
    assert await floor.book(START, "P1") == DONE, "and its end is known by the id"
    assert floor.kinds() == ["BookingDelivered"] * 2
    assert floor.events[0].data["booked"] == started.isoformat()
    assert [result for name, result in floor.told if name == "StartStep P1"] == [Result.QUEUED, Result.CONFIRMED]
    assert len(floor.vendor.booked) == 2


async def test_a_vendor_that_is_not_reached_is_tried_again_with_growing_pauses(floor: Shopfloor) -> None:
    floor.vendor.is_connected = True
    floor.vendor.says = [AWAY] * 4
    assert (await floor.book(START, "P1")).result is Result.QUEUED
    assert "Connection refused" in (await floor.book(START, "P1")).sentence
    assert (await floor.book(FINISH, "P1")).result is Result.QUEUED, "what comes later never overtakes"
    await floor.over()
    assert (floor.vendor.names, floor.vendor.attempts) == (["start P1", "finish P1"], 6)


async def test_other_commands_pass_by_and_a_safe_one_flushes_no_booking(floor: Shopfloor) -> None:
    await floor.book(START, "P1")
    assert (await floor.ends(FREQUENCY, {"value": 5})).result is Result.CONFIRMED
    assert (await floor.ends(STANDBY)).result is Result.CONFIRMED
    assert floor.pending() == 1
    floor.returns()
    await floor.over()
    assert floor.vendor.names == ["start P1"]


async def test_a_safe_command_flushes_no_booking_that_waits_its_turn(floor: Shopfloor) -> None:
    floor.vendor.is_connected = True
    floor.panel.gate.clear()
    blocker = floor.submit(FREQUENCY, {"value": 5})
    await floor.panel.began.wait()
    booking, standby = floor.submit(START, {"Part": "P1"}), floor.submit(STANDBY)
    await standby.accepted
    floor.panel.gate.set()
    assert (await booking.result, (await standby.result).result) == (DONE, Result.CONFIRMED)
    assert (await blocker.result).result is Result.CONFIRMED


async def test_a_refusal_is_an_end_that_everybody_is_told(floor: Shopfloor) -> None:
    await floor.book(START, "P1")
    await floor.book(FINISH, "P1")
    floor.vendor.says = [REFUSED]
    floor.returns()
    await floor.over()
    assert floor.vendor.names == ["finish P1"]
    assert floor.kinds() == ["BookingRefused", "BookingDelivered"]
    assert "No active step" in floor.events[0].message
    assert (await floor.book(START, "P1")).result is Result.REFUSED
    assert ("StartStep P1", Result.REFUSED) in floor.told
    assert await floor.journal.dead() == []


async def test_what_is_too_late_is_left_to_a_person_who_may_send_it_with_its_own_time(floor: Shopfloor) -> None:
    await floor.book(START, "P1")
    booked = floor.clock.now()
    await floor.book(FINISH, "P1")
    floor.clock.ahead += timedelta(hours=13)
    floor.desk._lanes[("panel", "1/7/1")].go_on()  # a minute passes
    await until(lambda: [result for _, result in floor.told].count(Result.EXPIRED) == 2)
    assert floor.kinds() == ["BookingExpired"] * 2
    assert (await floor.book(START, "P1")).result is Result.EXPIRED
    assert [entry.command.id for entry in await floor.journal.dead()] == ["StartStep P1", "FinishStep P1"]
    floor.returns()
    outcome = await BridgeOperations(floor).retry("StartStep P1", "anna", Role.ENGINEER)  # type: ignore[arg-type]
    assert (outcome, floor.vendor.names) == (DONE, ["start P1"])
    assert abs(floor.vendor.booked[0][2] - booked) < timedelta(minutes=1)


async def test_a_person_discards_a_kept_booking_or_has_it_tried_now(floor: Shopfloor) -> None:
    operations = BridgeOperations(floor)  # type: ignore[arg-type]
    await floor.book(START, "P1")
    await floor.book(START, "P2")
    assert [entry["state"] for entry in await operations.commands(10, "", dead=False)] == ["queued", "queued"]
    await operations.discard("StartStep P1", "anna", "a mistake")
    assert (await floor.book(START, "P1")).sentence == "Discarded by anna: a mistake"
    assert (floor.pending(), floor.kinds()) == (1, ["BookingDiscarded"])
    floor.vendor.is_connected = True  # and nobody has told the desk
    assert (await operations.retry("StartStep P2", "anna", Role.ENGINEER)).result is Result.QUEUED
    await floor.over()
    assert floor.vendor.names == ["start P2"]
    with pytest.raises(KeyError):
        await operations.discard("StartStep P2", "anna", "")


@pytest.mark.parametrize(
    ("lost", "read", "booked", "kind"),
    [
        (LOST_BUT_DONE, None, ["start P1", "finish P1"], "BookingDelivered"),
        (LOST, None, ["start P1", "finish P1"], "BookingDelivered"),
        (LOST, LOST, ["finish P1"], "BookingUnknown"),
    ],
)
async def test_what_may_have_arrived_is_looked_for_before_anything_after_it_goes(
    floor: Shopfloor, lost: Outcome, read: Outcome | None, booked: list[str], kind: str
) -> None:
    floor.vendor.is_connected, floor.vendor.says, floor.vendor.has_read = True, [lost], read
    outcome = await floor.book(START, "P1")
    assert (outcome.result, "being looked for" in outcome.sentence) == (Result.UNKNOWN, True)
    again = asyncio.create_task(floor.book(START, "P1"))
    await floor.book(FINISH, "P1")
    await floor.over()
    assert floor.vendor.names == booked
    assert floor.kinds()[0] == kind
    assert (await again).result in (Result.QUEUED, Result.CONFIRMED, Result.UNKNOWN)
    assert len(await floor.journal.dead()) == (kind == "BookingUnknown")


async def test_what_the_journal_must_not_keep_is_not_queued(tmp_path: Path, vendor: Vendor) -> None:
    people = People({"0451": "otto@acme.example"})
    async with Shopfloor(tmp_path, vendor, people) as floor:
        refused = await floor.book(START, "P1", Who="otto@acme.example")
        assert (refused.result, refused.status) == (Result.UNREACHED, StatusCode.BadNotConnected)
        assert "give a badge number" in refused.sentence
        assert (await floor.book(START, "P2", Who="0451")).result is Result.QUEUED
        floor.returns()
        await floor.over()
        assert vendor.names == ["start P2"]


async def test_there_is_a_bound_to_what_is_kept(floor: Shopfloor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.commands.desk.PER_LANE", 2)
    for part in ("P1", "P2"):
        assert (await floor.book(START, part)).result is Result.QUEUED
    refused = await floor.book(START, "P3")
    assert (refused.result, refused.status) == (Result.REJECTED, StatusCode.BadTooManyOperations)


async def test_while_nothing_can_be_done_nothing_is_done(floor: Shopfloor) -> None:
    for number in range(5):
        await floor.book(START, f"P{number}")
    commits = floor.journal.commits_total
    await floor.clock.sleep(120)
    assert (floor.vendor.attempts, floor.journal.commits_total) == (0, commits)


async def test_a_source_that_is_only_starting_keeps_bookings(floor: Shopfloor) -> None:
    floor.vendor.is_connected = True
    floor.desk._executors = lambda source: None
    assert (await floor.book(START, "P1")).result is Result.QUEUED
    assert (await floor.ends(FREQUENCY, {"value": 5})).result is Result.UNREACHED


# -- kill -9 ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def life(folder: Path, vendor: Vendor) -> AsyncIterator[Shopfloor]:
    """A bridge's life; `vendor.is_cut_off` ends all that comes of it."""
    vendor.is_cut_off, vendor.at_request = False, lambda moment: None
    async with Shopfloor(folder, vendor) as floor:
        yield floor


def kill(folder: Path, vendor: Vendor) -> Path:
    """What is on disk at this moment; nothing of the old life arrives from now on."""
    left = folder.parent / f"{folder.name}-"
    if not left.exists():
        shutil.copytree(folder, left)
        vendor.is_cut_off = True
    return left


@pytest.mark.parametrize("moment", ["accepted", "queued", "sending", "done"])
async def test_a_killed_bridge_loses_no_booking_and_doubles_none(tmp_path: Path, vendor: Vendor, moment: str) -> None:
    folder = tmp_path / "life"
    folder.mkdir()
    async with life(folder, vendor) as floor:
        if moment == "accepted":
            mark = floor.journal.mark

            async def die(*arguments: Any) -> None:
                kill(folder, vendor)
                await mark(*arguments)

            floor.journal.mark = die  # type: ignore[method-assign]
        await floor.book(START, "P1")
        if moment != "accepted":
            await floor.book(FINISH, "P1")
        if moment in ("accepted", "queued"):
            kill(folder, vendor)
        else:
            vendor.at_request = lambda when: kill(folder, vendor) and None if when == moment else None
            floor.returns()
            await until(lambda: vendor.is_cut_off)
    vendor.is_connected = False
    async with life(tmp_path / "life-", vendor) as floor:
        assert floor.pending() == (1 if moment == "accepted" else 2)
        assert (await floor.book(START, "P2")).result is Result.QUEUED, "nothing new goes first"
        await floor.clock.sleep(10)
        assert await floor.journal.dead() == [], "as long as the vendor is away nobody gives up"
        floor.returns()
        await floor.over()
        expected = ["start P1", "start P2"] if moment == "accepted" else ["start P1", "finish P1", "start P2"]
        assert vendor.names == expected
        assert set(floor.kinds()) == {"BookingDelivered"}
        assert await floor.book(START, "P1") == DONE


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_the_vendor_has_each_booking_once_and_in_order(
    tmp_path: Path, vendor: Vendor, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "SPREAD_S", 0.2)
    dice = Random(seed)
    folder, taken = tmp_path / "life", []
    folder.mkdir()
    for number in range(4):
        async with life(folder, vendor) as floor:
            for step in range(dice.randrange(1, 6)):
                vendor.is_connected = dice.random() < 0.5
                if vendor.is_connected:
                    floor.desk.returned("panel")
                vendor.says = [dice.choice([AWAY, LOST, LOST_BUT_DONE, DONE]) for _ in range(dice.randrange(4))]
                part = f"P{number}.{step}"
                outcome = await floor.book(START, part)
                assert outcome.result in (Result.QUEUED, Result.CONFIRMED, Result.UNKNOWN), outcome
                taken.append(f"start {part}")
                await asyncio.sleep(dice.random() * 0.02)
            folder = kill(folder, vendor)
    vendor.says = []
    async with life(folder, vendor) as floor:
        floor.returns()
        await floor.over()
        assert await floor.journal.dead() == []
    assert vendor.names == taken
