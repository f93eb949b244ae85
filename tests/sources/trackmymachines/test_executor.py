"""Steps started and finished, against the simulator: exactly once, or a person."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bridge.model.action import Action
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.sim.trackmymachines import Event
from tests.sources.trackmymachines.rig import Rig, rig

WRITES = {"writes": True, "allow": {"part": "[A-Z]+[0-9]+"}, "user_email": "user@example.com"}


@contextlib.asynccontextmanager
async def at_work(behaviour: dict[str, Any] | None = None, **config: Any) -> AsyncIterator[Rig]:
    async with rig({"feed_delay_s": 5.0, **(behaviour or {})}, **{**WRITES, **config}) as tmm:
        tmm.insert("cycle", "1", -60, -30)
        async with tmm.running():
            await tmm.polled()
            await tmm.until(lambda: tmm.source.executor._is_connected)
            yield tmm


def start(tmm: Rig, part: str = "PART1", **changed: Any) -> Action:
    fields = {
        "part": part, "recipe_version": "1", "step": "10", "work_order": "WO-1", "qty_expected": 5.0,
        "cycle_time": 120.0, "setup_time": -1.0, "start": tmm.clock.now(), "user": "", **changed,
    }  # fmt: skip
    return Action("tmm", "MACHINE_001", {"start_step": fields}, absolute=False)


def finish(tmm: Rig, **changed: Any) -> Action:
    fields = {"qty_made": 42.0, "qty_scrapped": 3.0, "end": tmm.clock.now(), "part": "", "event": "", **changed}
    return Action("tmm", "MACHINE_001", {"finish_step": fields}, absolute=False)


async def does(
    tmm: Rig, action: Action, meanwhile: Callable[[], object] = lambda: None, at: float = 5, step: float = 0.5
) -> Outcome:
    """Carry it out while virtual time passes; `meanwhile` happens after so many seconds."""
    assert tmm.source.executor.validate(action) is None
    task = asyncio.create_task(tmm.source.executor.execute(action, tmm.clock.monotonic() + 5))
    due = tmm.clock.monotonic() + at

    def done() -> bool:
        nonlocal due
        if tmm.clock.monotonic() >= due:
            due = float("inf")
            meanwhile()
        return task.done()

    await tmm.until(done, step=step)
    return task.result()


def steps(tmm: Rig) -> list[Event]:
    return [event for event in tmm.simulator.organisation.events if event.type == "step"]


async def test_step_is_started_and_finished_and_its_details_are_known() -> None:
    async with at_work() as tmm:
        outcome = await does(tmm, start(tmm))
        (made,) = steps(tmm)
        assert (outcome.result, outcome.status) == (Result.CONFIRMED, StatusCode.Good)
        assert (outcome.actual, outcome.vendor_code) == (made.number, 201)
        assert "PART1 Op10" in outcome.vendor_text
        assert made.metadata == {"qty_expected": 5, "wo_number": "WO-1"}
        await tmm.advance(3600, 15)
        assert tmm.heard.value("step", "work_order") == "WO-1"
        assert tmm.heard.value("step", "qty_expected") == 5
        outcome = await does(tmm, finish(tmm, part="PART1", event=str(made.number)))
        assert outcome.result is Result.CONFIRMED, outcome
        assert made.end is not None
        assert made.metadata["quantity_made"] == 42
        await tmm.advance(30, 15)
        assert not tmm.heard.value("step", "active")
        assert tmm.heard.value("step", "last", "qty_made") == 42
        assert tmm.heard.value("kpi", "quality") == pytest.approx(100 * 39 / 42)
        assert "@" not in tmm.disk.document
        assert "@" not in repr(tmm.heard.items)


@pytest.mark.parametrize("selection", ["overlap", "start-in-window"])
@pytest.mark.parametrize("fault", ["reset", "truncate", "status", "malformed"])
async def test_start_whose_answer_is_lost_is_one_step(fault: str, selection: str) -> None:
    async with at_work({"selection": selection}) as tmm:
        more = {"status": 502} if fault == "status" else {}
        if fault in ("reset", "status"):
            more["after_commit"] = True
        getattr(tmm.faults, fault)(method="POST", **more)
        outcome = await does(tmm, start(tmm))
        assert outcome.result is Result.CONFIRMED, outcome
        (made,) = steps(tmm)
        assert made.id in outcome.vendor_text
        assert len(tmm.simulator.journal.of(method="POST")) == 1


async def test_start_that_never_arrived_is_sent_once_more_with_the_same_start() -> None:
    async with at_work() as tmm:
        action = start(tmm)
        tmm.faults.reset(method="POST")
        outcome = await does(tmm, action)
        assert outcome.result is Result.CONFIRMED
        (made,) = steps(tmm)
        first, second = tmm.simulator.journal.of(method="POST")
        assert first.body == second.body
        assert made.start == action.payload["start_step"]["start"].replace(microsecond=0)


async def test_start_that_nobody_answers_is_left_to_a_person_and_made_no_more_than_once() -> None:
    async with at_work() as tmm:
        tmm.faults.status(502, method="POST", count=None)
        outcome = await does(tmm, start(tmm))
        assert outcome.result is Result.UNKNOWN
        assert outcome.status is StatusCode.BadTimeout
        assert len(tmm.simulator.journal.of(method="POST")) == 2
        assert steps(tmm) == []


async def test_start_is_not_sent_again_after_somebody_else_started_one() -> None:
    async with at_work() as tmm:
        tmm.faults.reset(method="POST")
        outcome = await does(tmm, start(tmm), lambda: tmm.insert("step", "PART9"))
        assert outcome.result is Result.UNKNOWN
        assert "PART9" in outcome.sentence
        assert [step.label for step in steps(tmm)] == ["PART9"]


async def test_start_is_not_sent_again_where_the_timeline_cannot_be_read() -> None:
    async with at_work() as tmm:
        tmm.faults.reset(method="POST", after_commit=True)
        outcome = await does(tmm, start(tmm), lambda: tmm.faults.status(503, path="/api/v1/events", count=None))
        assert len(steps(tmm)) == 1
        assert outcome.result is Result.UNKNOWN
        assert len(tmm.simulator.journal.of(method="POST")) == 1


async def test_finish_is_refused_once_a_new_step_has_begun() -> None:
    async with at_work() as tmm:
        await does(tmm, start(tmm))
        await tmm.advance(60, 15)
        tmm.faults.reset(method="PATCH")

        def somebody_else() -> None:
            steps(tmm)[0].end = tmm.clock.now()
            tmm.insert("step", "PART2")

        tmm.clock.advance(30)
        outcome = await does(tmm, finish(tmm), somebody_else)
        assert (outcome.result, outcome.status) == (Result.REFUSED, StatusCode.BadInvalidState)
        assert len(tmm.simulator.journal.of(method="PATCH")) == 1
        assert steps(tmm)[1].end is None
        assert "quantity_made" not in steps(tmm)[0].metadata


@pytest.mark.parametrize("hours", [1, 30])
@pytest.mark.parametrize("selection", ["overlap", "start-in-window"])
async def test_finish_that_hit_a_step_nobody_knew_of_is_not_sent_again(hours: int, selection: str) -> None:
    async with at_work({"when_active": "overlap", "selection": selection}) as tmm:
        await does(tmm, start(tmm))
        await tmm.advance(hours * 3600, 600)
        tmm.faults.reset(method="PATCH", after_commit=True)
        tmm.simulator.behave({"feed_delay_s": 5.0})
        tmm.insert("step", "PART2")  # the feed does not have it yet
        outcome = await does(tmm, finish(tmm, part="PART1"))
        one, other = steps(tmm)
        assert (one.end, other.metadata["quantity_made"]) == (None, 42)
        assert outcome.result is Result.CHANGED, outcome
        assert "PART2" in outcome.sentence
        assert len(tmm.simulator.journal.of(method="PATCH")) == 1


@pytest.mark.parametrize("after_commit", [True, False])
async def test_finish_whose_answer_is_lost_is_found_or_sent_once_more(after_commit: bool) -> None:
    async with at_work() as tmm:
        await does(tmm, start(tmm))
        await tmm.advance(60, 15)
        tmm.faults.reset(method="PATCH", after_commit=after_commit)
        outcome = await does(tmm, finish(tmm))
        assert outcome.result is Result.CONFIRMED, outcome
        assert len(tmm.simulator.journal.of(method="PATCH")) == (1 if after_commit else 2)
        assert steps(tmm)[0].metadata["quantity_made"] == 42


@pytest.mark.parametrize("policy", ["refuse", "overlap"])
async def test_next_step_starts_and_finishes_in_the_seconds_after_a_finish(policy: str) -> None:
    async with at_work({"when_active": "422"}, when_running=policy) as tmm:
        for part in ("PART1", "PART2"):
            outcome = await does(tmm, start(tmm, part), step=0.02)
            assert outcome.result is Result.CONFIRMED, outcome
            tmm.clock.advance(60)
            outcome = await does(tmm, finish(tmm), step=0.02)
            assert outcome.result is Result.CONFIRMED, outcome
        assert (await does(tmm, finish(tmm), step=0.02)).result is Result.REJECTED
        assert len(tmm.simulator.journal.of(method="PATCH")) == 2


async def test_finish_of_another_step_than_is_meant_is_rejected() -> None:
    async with at_work() as tmm:
        await does(tmm, start(tmm))
        for changed in ({"part": "PART2"}, {"event": "4711"}, {"part": "PART"}):
            outcome = await does(tmm, finish(tmm, **changed))
            assert (outcome.result, outcome.status) == (Result.REJECTED, StatusCode.BadInvalidState)
            assert "PART1" in outcome.sentence
        assert tmm.simulator.journal.of(method="PATCH") == []


async def test_finish_without_a_step_is_rejected() -> None:
    async with at_work() as tmm:
        assert (await does(tmm, finish(tmm))).result is Result.REJECTED


@pytest.mark.parametrize(
    ("policy", "result", "open_steps"),
    [
        ("refuse", Result.REJECTED, ["PART1"]),
        ("finish_first", Result.CONFIRMED, ["PART2"]),
        ("overlap", Result.CONFIRMED, ["PART1", "PART2"]),
    ],
)
async def test_another_step_that_runs_is_refused_finished_first_or_overlapped(
    policy: str, result: Result, open_steps: list[str]
) -> None:
    async with at_work({"when_active": "overlap"}, when_running=policy) as tmm:
        await does(tmm, start(tmm))
        tmm.clock.advance(60)
        assert (await does(tmm, start(tmm, "PART2"))).result is result
        assert [step.label for step in steps(tmm) if step.end is None] == open_steps


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"part": "part1"}, "part"),
        ({"part": "PART1 "}, None),
        ({"part": ""}, "part"),
        ({"recipe_version": "A"}, "recipe_version"),
        ({"step": "10/2"}, "step"),
        ({"user": "anna"}, "e-mail"),
        ({"qty_expected": -2.0}, "qty_expected"),
        ({"start": "now"}, "start"),
    ],
)
async def test_what_the_configuration_does_not_allow_is_never_sent(changed: dict[str, Any], told: str | None) -> None:
    async with rig(None, **WRITES) as tmm:
        why = tmm.make().executor.validate(start(tmm, **changed))
        assert (why is None) if told is None else (why is not None and told in why)


async def test_machine_without_a_display_name_cannot_be_written_to() -> None:
    async with rig(None, **WRITES) as tmm:
        tmm.machines = {"MACHINE_001": {"foreign_id": "MACHINE_001"}}
        why = tmm.make().executor.validate(start(tmm))
        assert why is not None
        assert "display_name" in why


async def test_vendors_refusals_keep_their_words() -> None:
    async with at_work() as tmm:
        outcome = await does(tmm, start(tmm, user="nobody@example.com"))
        assert (outcome.result, outcome.status) == (Result.REFUSED, StatusCode.BadInvalidArgument)
        assert outcome.vendor_text == "User not found"
        tmm.faults.rename("MACHINE_001", "Other")
        outcome = await does(tmm, start(tmm))
        assert (outcome.status, outcome.vendor_text) == (StatusCode.BadNotFound, "Machine not found")
        assert steps(tmm) == []


async def test_key_that_may_only_read_is_told_of() -> None:
    async with rig(None, **WRITES) as tmm:
        tmm.options["api_key"] = tmm.simulator.secret("ro")
        tmm.insert("cycle", "1", -60, -30)
        async with tmm.running():
            await tmm.until(lambda: tmm.source.executor._is_connected)
            outcome = await does(tmm, start(tmm))
            assert (outcome.result, outcome.status) == (Result.REFUSED, StatusCode.BadUserAccessDenied)
            await tmm.until(lambda: tmm.heard.readings.get("WriteAllowed") is False)


async def test_what_certainly_was_not_sent_is_unreached() -> None:
    async with at_work() as tmm:
        outcome = Outcome(Result.UNKNOWN, StatusCode.BadTimeout, "")
        await tmm.faults.refuse()
        outcome = await does(tmm, start(tmm))
        assert outcome.result is Result.UNREACHED
        await tmm.faults.accept()
    outcome = await tmm.source.executor.execute(start(tmm), 0)
    assert outcome.result is Result.UNREACHED


async def test_after_a_crash_a_start_and_a_finish_are_found_and_nothing_is_sent() -> None:
    async with at_work() as tmm:
        begun, executor = start(tmm), tmm.source.executor
        assert executor.can_reconcile(begun)
        task = asyncio.create_task(executor.reconcile(begun))
        await tmm.until(task.done)
        assert task.result().result is Result.UNREACHED
        await does(tmm, begun)
        tmm.clock.advance(60)
        ended = finish(tmm, part="PART1", event="7")
        task = asyncio.create_task(executor.reconcile(ended))
        await tmm.until(task.done)
        assert task.result().result is Result.UNKNOWN
        await does(tmm, finish(tmm, end=ended.payload["finish_step"]["end"]))
        sent = len([r for r in tmm.simulator.journal if r.method != "GET"])
        begun.payload["start_step"]["user"] = "(e-mail)"  # as the journal keeps it
        for action in (begun, ended):
            task = asyncio.create_task(executor.reconcile(action))
            await tmm.until(task.done)
            assert task.result().result is Result.CONFIRMED, task.result()
        assert len([r for r in tmm.simulator.journal if r.method != "GET"]) == sent


async def test_edition_of_july_finishes_by_its_parameter_or_says_that_it_cannot() -> None:
    july = {"edition": "2025-07", "when_active": "auto-finish"}
    async with at_work(july, edition="2025-07") as tmm:
        why = tmm.source.executor.validate(finish(tmm))
        assert why is not None
        assert "finish_parameter" in why
    async with at_work(
        {**july, "finish_parameter": "finished_at"}, edition="2025-07", finish_parameter="finished_at"
    ) as tmm:
        await does(tmm, start(tmm))
        await tmm.advance(60, 15)
        outcome = await does(tmm, finish(tmm))
        assert outcome.result is Result.CONFIRMED, outcome
        assert all(step.end is not None for step in steps(tmm))


@pytest.mark.parametrize("policy", ["refuse", "finish_first", "overlap"])
@pytest.mark.parametrize("ended", [False, True])
async def test_start_whose_first_request_landed_long_after_it_was_given_up_is_confirmed(
    policy: str, ended: bool
) -> None:
    async with at_work({"when_active": "overlap"}, when_running=policy) as tmm:
        action = start(tmm)
        tmm.insert("step", "PART1", 0, None)  # as the request of an attempt that the journal has lost
        await tmm.advance(120, 15)
        if ended:
            steps(tmm)[0].end = tmm.clock.now()
            await tmm.advance(60, 15)
        outcome = await does(tmm, action)
        assert (outcome.result, outcome.status) == (Result.CONFIRMED, StatusCode.Good), outcome
        assert outcome.actual == steps(tmm)[0].id
        assert tmm.simulator.journal.of(method="POST") == []
        assert len(steps(tmm)) == 1


async def test_start_of_another_operation_at_the_same_moment_is_not_taken_for_it() -> None:
    async with at_work() as tmm:
        action = start(tmm)
        await does(tmm, action)
        again = await does(tmm, action, step=0.02)  # not on the timeline yet
        assert (again.result, again.actual) == (Result.CONFIRMED, steps(tmm)[0].number)
        await tmm.advance(60, 15)
        outcome = await does(tmm, start(tmm, step="20", start=action.payload["start_step"]["start"]))
        assert outcome.result is Result.REJECTED
        assert "operation 10" in outcome.sentence
        assert len(steps(tmm)) == 1


async def test_start_is_not_confirmed_by_a_part_whose_name_only_begins_alike() -> None:
    async with at_work({"when_active": "overlap"}, when_running="overlap") as tmm:
        action = start(tmm)
        tmm.insert("step", "PART12", 0, None)
        tmm.faults.status(502, method="POST", count=None)
        outcome = await does(tmm, action)
        assert outcome.result is Result.UNKNOWN, outcome


async def test_step_that_was_deleted_in_the_vendors_program_is_not_in_the_way_of_the_next_one() -> None:
    async with at_work() as tmm:
        await does(tmm, start(tmm))
        await tmm.advance(120, 15)
        tmm.faults.delete(steps(tmm)[0].id)
        await tmm.advance(120, 15)
        outcome = await does(tmm, start(tmm, "PART2"))
        assert outcome.result is Result.CONFIRMED, outcome


async def test_step_that_began_after_a_late_booking_is_not_ended_before_it_began() -> None:
    async with at_work({"when_active": "422"}, when_running="finish_first") as tmm:
        late = start(tmm)
        await tmm.advance(120, 15)
        tmm.insert("step", "PART9", -60)
        await tmm.advance(30, 15)
        outcome = await does(tmm, late)
        assert outcome.result is Result.REJECTED
        assert "PART9" in outcome.sentence
        assert tmm.simulator.journal.of(method="PATCH") == []


async def test_finish_first_ends_nothing_where_several_steps_run() -> None:
    async with at_work({"when_active": "overlap"}, when_running="finish_first") as tmm:
        for label in ("PART8", "PART9"):
            tmm.insert("step", label, -60)
            await tmm.advance(60, 15)
        outcome = await does(tmm, start(tmm))
        assert outcome.result is Result.REJECTED
        assert "2 steps run" in outcome.sentence
        assert tmm.simulator.journal.of(method="PATCH") == []


async def test_vendors_words_are_shown_without_the_address_in_them() -> None:
    async with at_work() as tmm:
        tmm.faults.status(422, method="POST", body='{"error": "User not found: anna@example.com"}')
        outcome = await does(tmm, start(tmm))
        assert outcome.vendor_text == "User not found: (e-mail)"
        await tmm.until(lambda: tmm.heard.readings.get("LastError"))
        assert "@" not in repr(tmm.heard.items)


async def test_start_does_not_wait_until_an_account_is_no_longer_throttled() -> None:
    async with at_work() as tmm:
        tmm.faults.throttle(20, path="/api/v1/events", count=None)
        outcome = await does(tmm, start(tmm))
        assert outcome.result is Result.UNREACHED
        assert steps(tmm) == []
