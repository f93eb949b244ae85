from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest

from bridge.errors import AuthFailed, NotConnected, ProtocolError
from bridge.sources._budget import Priority
from bridge.sources.iotistica.rest.tokens import claims_of
from bridge.sources.iotistica.rest.wire import Missing, NotAllowed, NotOffered, NotSent, Unwell
from tests.sources.iotistica.cloud import AGENT, PASSWORD, USER, At, Cloud

PAGE = {"page": 1, "limit": 100}


async def agents(at: At, client: Any) -> Any:
    return await at.passing(client.read("agents", PAGE))


@pytest.mark.parametrize("shape", ["data", "flat", "bare"])
async def test_a_login_is_understood_in_each_shape_and_names_the_user_twice(shape: str) -> None:
    at = At()
    at.cloud.answer_shape = shape
    async with at.client() as client:
        reply = await agents(at, client)
        assert reply.rows()[0]["uuid"] == AGENT
    (login,) = at.cloud.asked("auth/login")
    assert login.content == f'{{"username":"{USER}","email":"{USER}","password":"{PASSWORD}"}}'.encode()


async def test_a_token_is_renewed_after_four_fifths_of_its_life_and_the_old_refresh_token_goes_on() -> None:
    at = At()
    async with at.client() as client:
        await agents(at, client)
        await at.clock.advance(700)
        await agents(at, client)
        assert not at.cloud.asked("auth/refresh")
        for _ in range(2):
            await at.clock.advance(725)
            await agents(at, client)
        assert len(at.cloud.asked("auth/refresh")) == 2
        assert len(at.cloud.asked("auth/login")) == 1
        assert not at.cloud.asked("logout")


async def test_a_refresh_token_that_ended_leads_to_one_login() -> None:
    at = At()
    async with at.client() as client:
        await agents(at, client)
        at.cloud.refreshes.clear()
        await at.clock.advance(800)
        await agents(at, client)
        assert (len(at.cloud.asked("auth/refresh")), len(at.cloud.asked("auth/login"))) == (1, 2)


async def test_a_token_that_dies_under_fifty_calls_is_renewed_once() -> None:
    at = At()
    async with at.client() as client:
        await agents(at, client)
        at.cloud.tokens.clear()
        calls = asyncio.gather(*(client.read("agents", PAGE) for _ in range(50)))
        replies = await at.passing(calls)
        assert len(replies) == 50
        assert (len(at.cloud.asked("auth/refresh")), len(at.cloud.asked("auth/login"))) == (1, 1)


async def test_a_token_without_an_end_lives_as_the_answer_says() -> None:
    at = At()
    at.cloud.answer_shape, at.cloud.life = "flat", 3600
    async with at.client(profile="documented") as client:
        await agents(at, client)
        await at.clock.advance(0.7 * 3600)
        await agents(at, client)
        assert at.cloud.minted == 1
        await at.clock.advance(0.15 * 3600)
        await agents(at, client)
        assert at.cloud.minted == 2


async def test_an_account_that_must_change_its_password_is_told_and_never_asked_again() -> None:
    at = At()
    at.cloud.must_change = True
    async with at.client() as client:
        for _ in range(3):
            with pytest.raises(AuthFailed, match="new password") as told:
                await agents(at, client)
            assert "write it into password" in told.value.advice
        assert len(at.cloud.asked("auth/login")) == 1


async def test_a_wrong_password_is_the_account_s_fault() -> None:
    at = At()
    async with at.client(password="wrong") as client:
        with pytest.raises(AuthFailed, match="refused the login"):
            await agents(at, client)


async def test_a_token_that_is_refused_though_new_is_this_request_s_fault_only() -> None:
    at = At()
    at.cloud.hooks.append(
        lambda request, cloud: (
            cloud.reply(401, {"error": "Invalid device API key"}) if "fleets" in request.url.path else None
        )
    )
    async with at.client() as client:
        with pytest.raises(NotAllowed):
            await at.passing(client.read("fleets"))
        await agents(at, client)


async def test_throttling_that_answers_500_lets_nothing_out_before_retry_after() -> None:
    at = At()
    async with at.client() as client:
        await agents(at, client)
        at.cloud.hooks.append(lambda request, cloud: cloud.throttled() if len(cloud.times) == 3 else None)
        works = [
            client.read("agents", PAGE),
            client.read("fleets"),
            client.read("device_health", {"agent": AGENT}),
            client.read("readings_latest", {"agent": AGENT}),
        ]
        await at.passing(asyncio.gather(*works))
        refused = at.cloud.times[2]
        later = at.cloud.times[3:]
        assert len(later) >= 4
        assert min(later) - refused >= 59
        assert client.limits.figures.throttled_total == 1
        assert client.limits.figures.rate < client.limits.budgets["general"].full_rate


async def test_no_other_count_is_used_while_one_says_to_wait() -> None:
    at = At()
    async with at.client() as client:
        await agents(at, client)
        at.cloud.hooks.append(lambda request, cloud: cloud.throttled() if len(cloud.times) == 3 else None)
        waiting = asyncio.ensure_future(client.read("agents", PAGE))
        await at.until(lambda: len(at.cloud.times) == 3, step=0.1)
        await at.passing(client.limits.turn("auth", Priority.AUTH))
        assert at.clock.monotonic() - at.cloud.times[2] >= 59
        await at.passing(waiting)


@pytest.mark.parametrize(
    ("status", "body", "headers", "is_throttle"),
    [
        (429, {"error": "x"}, {}, True),
        (503, {"error": "x"}, {"retry-after": "7"}, True),
        (500, {"error": "Too many requests"}, {}, True),
        (500, {"error": "Failed to list agents"}, {}, False),
        (404, {"error": "Device not found"}, {}, False),
    ],
)
async def test_what_says_that_we_ask_too_often(
    status: int, body: Any, headers: dict[str, str], is_throttle: bool
) -> None:
    at = At()
    async with at.client() as client:
        await agents(at, client)
        at.cloud.hooks.append(
            lambda r, cloud: cloud.reply(status, body, **headers) if len(cloud.requests) == 3 else None
        )
        if is_throttle:
            await agents(at, client)
        else:
            with pytest.raises((Unwell, Missing)):
                await agents(at, client)
        assert (client.limits.budgets["general"].figures.throttled_total == 1) is is_throttle


async def test_of_what_others_have_left_only_an_even_part_is_taken() -> None:
    at = At()
    async with at.client() as client:
        await agents(at, client)
        at.cloud.remaining = "5"
        begun = at.clock.monotonic()
        await agents(at, client)
        await agents(at, client)
        assert at.cloud.times[-1] - begun >= 30 / 6


async def test_the_documented_limits_and_half_of_them_by_default() -> None:
    at = At()
    async with at.client(share=0.5) as client, at.client(profile="documented", share=0.5) as other:
        assert {name: one.limit for name, one in client.limits.budgets.items()} == {
            "general": 150, "auth": 5, "device": 500, "admin": 50,
        }  # fmt: skip
        assert other.limits.budgets["general"].limit == 500


async def test_failures_are_told_apart() -> None:
    at = At()

    def fail(request: httpx.Request, cloud: Cloud) -> httpx.Response | None:
        if "fleets" in request.url.path:
            return httpx.Response(404, json={"error": "Not found", "message": "Route GET x not found"})
        if request.url.path.endswith("/executions"):
            return cloud.reply(500, {"error": "Failed to fetch job executions"})
        if "alerts" in request.url.path:
            return httpx.Response(200, content=b"<html>")
        return None

    at.cloud.hooks.append(fail)
    async with at.client() as client:
        with pytest.raises(NotOffered):
            await at.passing(client.read("fleets"))
        with pytest.raises(Missing):
            await at.passing(client.read("incident", {"incident": "x"}))
        with pytest.raises(Unwell):
            await at.passing(client.read("jobs", {"limit": 1, "offset": 0}))
        with pytest.raises(ProtocolError, match="no JSON"):
            await at.passing(client.read("alerts", {"since": 0}))
        with pytest.raises(NotAllowed, match="admin"):
            await at.passing(client.read("audit", {"limit": 1}))
        with pytest.raises(NotOffered):
            await at.passing(client.read("reading_insert"))


async def test_a_route_that_wants_the_agent_s_key_gets_it_and_no_other_does() -> None:
    at = At()
    async with at.client() as client:
        with pytest.raises(NotSent, match="device_keys"):
            await at.passing(client.write("target_state", {"agent": AGENT, "apps": {}}))
    at.cloud.hooks.append(
        lambda r, cloud: cloud.reply(200, {"status": "ok"}) if r.url.path.endswith("target-state") else None
    )
    async with at.client(device_keys={AGENT: "k" * 64}) as client:
        written = await at.passing(client.write("target_state", {"agent": AGENT, "apps": {}, "config": None}))
        assert written.answer.status == 200
        await agents(at, client)
    (sent,) = at.cloud.asked("target-state")
    assert sent.headers["x-device-api-key"] == "k" * 64
    assert "authorization" not in sent.headers
    assert all("x-device-api-key" not in one.headers for one in at.cloud.asked("GET agents|GET /api/v1/agents"))


async def test_a_read_survives_a_connection_that_was_cut_and_a_write_does_not_go_twice() -> None:
    at = At()
    cuts = []

    def cut(request: httpx.Request, cloud: Cloud) -> httpx.Response | None:
        if "auth" not in request.url.path and len(cuts) < 1:
            cuts.append(request)
            raise httpx.RemoteProtocolError("cut")
        return None

    at.cloud.hooks.append(cut)
    async with at.client() as client:
        await agents(at, client)
        cuts.clear()
        with pytest.raises(NotConnected):
            await at.passing(client.write("job_cancel", {"job": "1"}))
        assert len(at.cloud.asked("cancel")) == 1


async def test_no_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    at = At()
    async with at.client(device_keys={AGENT: "s3cr3t-key"}) as client:
        await agents(at, client)
        token = await client.tokens.valid()
        shown = f"{token!r} {client.tokens!r} {client!r} {at.config(device_keys={AGENT: 's3cr3t-key'})!r} {caplog.text}"
        assert token.text not in shown
        assert PASSWORD not in shown
        assert "s3cr3t-key" not in shown


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.!.c", "a.e30.c", "a.bnVsbA.c", "a.eyJleHAiOiJ4In0.c"])
def test_a_token_that_says_nothing_says_nothing(text: str) -> None:
    assert claims_of(text).expires is None
