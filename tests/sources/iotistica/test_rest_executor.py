from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from bridge.model.action import Action
from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode
from bridge.sources.iotistica.rest.rest import Rest
from tests.sources.iotistica.cloud import AGENT, At, Cloud, incident_row

JOB = {"job_execute": {"name": "update", "template": "7"}}


def action(payload: Any, command: str = "uns:4711", agent: str = AGENT) -> Action:
    return Action("i", agent, payload, command=command)


@contextlib.asynccontextmanager
async def at_work(profile: str = "actual", **rules: Any) -> AsyncIterator[tuple[At, Rest]]:
    at = At()
    rest = at.rest(profile=profile, **rules)
    async with at.running(rest):
        await at.until(lambda: rest.is_connected)
        await at.clock.advance(30)
        yield at, rest


async def done(at: At, rest: Rest, payload: Any, **more: Any) -> Outcome:
    deadline = at.clock.monotonic() + 60
    outcome = await at.passing(rest.executor.execute(action(payload, **more), deadline))
    assert isinstance(outcome, Outcome)
    return outcome


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ("x", "a command is one of"),
        ({"device_write": {}}, "there is no device_write"),
        ({"job_execute": {}, "job_cancel": {}}, "a command is one of"),
        ({"job_execute": {"name": "x"}}, "either a template"),
        ({"job_execute": {"template": "1", "document": {}}}, "either a template"),
        ({"job_execute": {"document": "rm"}}, "document is no object"),
        ({"job_execute": {"template": "1", "timeout_minutes": 0}}, "timeout_minutes is 0"),
        ({"job_execute": {"template": "1", "target_type": "all"}}, "there is no target_type"),
        ({"job_cancel": {}}, "job is missing"),
        ({"incident_resolve": {"incident": 5}}, "incident is no text"),
        ({"incident_resolve": {"incident": "x" * 1001}}, "longer than 1000"),
        ({"reading_insert": {"metric": "m", "value": 1}}, "a server of profile actual has no reading_insert"),
        ({"target_state": {"name": "x"}}, "is not allowed: target_states of the source has none"),
    ],
)
def test_what_must_not_be_sent_is_told_why(payload: Any, sentence: str) -> None:
    why = At().rest().executor.validate(action(payload))
    assert why is not None
    assert sentence in why


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"metric": "m", "value": "5"}, "keeps numbers only"),
        ({"metric": "m", "value": True}, "keeps numbers only"),
        ({"metric": "m", "value": float("nan")}, "keeps numbers only"),
        ({"value": 5}, "metric is missing"),
        ({"metric": "m", "value": 5, "quality": "bad"}, "quality is 'bad'"),
        ({"metric": "m", "value": 5}, ""),
    ],
)
def test_a_reading_is_inserted_where_the_page_says_so_only(told: dict[str, Any], sentence: str) -> None:
    why = At().rest(profile="documented").executor.validate(action({"reading_insert": told}))
    assert sentence in (why or "")
    assert (why is None) == (not sentence)


async def test_a_job_is_taken_and_its_name_has_the_command_s_id() -> None:
    async with at_work() as (at, rest):
        outcome = await done(at, rest, JOB)
        assert (outcome.result, outcome.actual) == (Result.ACCEPTED, "job-1")
        (sent,) = at.cloud.asked("jobs/execute")
        assert orjson.loads(sent.content) == {
            "job_name": "bridge:uns:4711 update", "template_id": "7", "target_type": "device",
            "target_agents": [AGENT], "execution_type": "oneTime", "timeout_minutes": 60, "created_by": "plantbridge",
        }  # fmt: skip
        await at.until(lambda: at.heard.events("job_queued"), step=10)


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("fault", ["cut", "500", "504"])
async def test_a_job_without_a_clear_answer_is_looked_for_and_never_sent_twice(is_committed: bool, fault: str) -> None:
    async with at_work() as (at, rest):

        def vague(request: httpx.Request, cloud: Cloud) -> httpx.Response | None:
            if not request.url.path.endswith("jobs/execute"):
                return None
            if is_committed:
                cloud.execute(request)
            if fault == "cut":
                raise httpx.ReadTimeout("no answer")
            return cloud.reply(int(fault), {"error": "Failed to create job execution"})

        at.cloud.hooks.append(vague)
        outcome = await done(at, rest, JOB)
        expected = {
            (True, "cut"): Result.ACCEPTED,
            (True, "500"): Result.ACCEPTED,
            (True, "504"): Result.ACCEPTED,
            (False, "504"): Result.UNKNOWN,
            (False, "cut"): Result.UNKNOWN,
            (False, "500"): Result.REFUSED,
        }[is_committed, fault]
        assert outcome.result is expected
        assert len(at.cloud.asked("jobs/execute")) == 1
        at.cloud.hooks.clear()
        again = await at.passing(rest.executor.reconcile(action(JOB)))
        assert again.result is (Result.ACCEPTED if is_committed else Result.UNREACHED)
        assert len(at.cloud.asked("jobs/execute")) == 1


async def test_a_command_that_is_throttled_was_not_done() -> None:
    async with at_work() as (at, rest):
        at.cloud.hooks.append(lambda r, cloud: cloud.throttled() if r.url.path.endswith("jobs/execute") else None)
        outcome = await done(at, rest, JOB)
        assert (outcome.result, outcome.status) == (Result.UNREACHED, StatusCode.BadTooManyOperations)
        moment = at.cloud.times[-1]
        late = await done(at, rest, JOB, command="uns:2")
        assert late.result is Result.UNREACHED
        assert len(at.cloud.asked("jobs/execute")) == 1 or at.cloud.times[-1] - moment >= 59


async def test_who_is_not_connected_sends_nothing() -> None:
    at = At()
    outcome = await done(at, at.rest(), JOB)
    assert outcome.result is Result.UNREACHED
    assert not at.cloud.requests


async def test_a_job_is_cancelled_once() -> None:
    async with at_work() as (at, rest):
        at.cloud.add_job("x", [AGENT])
        assert (await done(at, rest, {"job_cancel": {"job": "job-1"}})).result is Result.CONFIRMED
        again = await done(at, rest, {"job_cancel": {"job": "job-1"}})
        assert (again.result, again.status) == (Result.REFUSED, StatusCode.BadInvalidState)
        assert again.vendor_text == "Job not found or already completed"
        told = await at.passing(rest.executor.reconcile(action({"job_cancel": {"job": "job-1"}})))
        assert told.result is Result.CONFIRMED


async def test_an_incident_is_resolved_by_the_bridge() -> None:
    async with at_work() as (at, rest):
        at.cloud.incidents["i1"] = incident_row("i1", at.cloud.now_ms())
        await at.until(lambda: at.heard.events("incident_opened"), step=10)
        payload = {"incident_resolve": {"incident": "i1", "notes": "seen"}}
        assert (await at.passing(rest.executor.reconcile(action(payload)))).result is Result.UNREACHED
        assert (await done(at, rest, payload)).result is Result.CONFIRMED
        await at.until(lambda: at.heard.events("incident_resolved"), step=10)
        row = at.cloud.incidents["i1"]
        assert (row["acknowledged_by"], row["resolution_notes"]) == ("plantbridge", "seen")
        assert (await at.passing(rest.executor.reconcile(action(payload)))).result is Result.CONFIRMED
        unknown = await done(at, rest, {"incident_resolve": {"incident": "i2"}})
        assert (unknown.result, unknown.status) == (Result.REFUSED, StatusCode.BadNotFound)


async def test_only_a_target_state_that_is_allowed_is_sent_to_its_agent() -> None:
    states = {"idle": {"agents": [AGENT], "apps": []}}
    async with at_work(target_states=states, device_keys={AGENT: "k" * 64}) as (at, rest):
        at.cloud.hooks.append(
            lambda r, cloud: cloud.reply(200, {"status": "ok"}) if r.url.path.endswith("target-state") else None
        )
        outcome = await done(at, rest, {"target_state": {"name": "idle"}})
        assert outcome.result is Result.ACCEPTED
        (sent,) = at.cloud.asked("target-state")
        assert (sent.method, orjson.loads(sent.content)) == ("POST", {"apps": []})
        other = "00000000-0000-4000-8000-000000000001"
        assert rest.executor.validate(action({"target_state": {"name": "idle"}}, agent=other)) is not None
        assert not rest.executor.can_reconcile(action({"target_state": {"name": "idle"}}))


async def test_without_writes_nothing_is_sent() -> None:
    at = At()
    rest = at.rest()
    rest.executor._writes = False
    outcome = await done(at, rest, JOB)
    assert (outcome.result, outcome.status) == (Result.REJECTED, StatusCode.BadNotWritable)
