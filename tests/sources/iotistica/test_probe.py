from __future__ import annotations

import re

import httpx
import pytest

from bridge.errors import NotConnected, ProtocolError
from bridge.ports import Probing
from bridge.sources.iotistica.source import IotisticaSource
from tests.sources.iotistica.cloud import NOT_FOUND, At

ACTUAL = ("anomaly-incidents", "jobs/executions", "events/recent")
DOCUMENTED = ("anomaly/incidents", "audit/events")


def server(*routes: str) -> httpx.MockTransport:
    """A server with these routes, all of which want a login."""

    def answer(request: httpx.Request) -> httpx.Response:
        if any(re.fullmatch(f"/api/v1/{route}", request.url.path) for route in routes):
            return httpx.Response(401, json={"error": "Unauthorized"}, headers={"x-ratelimit-limit": "300"})
        return httpx.Response(404, json=NOT_FOUND)

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(
    ("routes", "profile", "sentence", "advice"),
    [
        (("agents", *ACTUAL), "actual", "as configured: it has anomaly-", ""),
        (("agents", *DOCUMENTED), "documented", "and profile: actual is configured", "Write profile: documented"),
        (("agents", *DOCUMENTED, "events/recent"), "documented", "and not anomaly-incidents", "Write profile: docu"),
        (("agents",), "", "speaks neither", "profile: ours.yaml"),
        (("agents", *ACTUAL, *DOCUMENTED), "", "neither", "profile: ours.yaml"),
    ],
)
async def test_a_server_shows_what_it_speaks_without_a_login(
    routes: tuple[str, ...], profile: str, sentence: str, advice: str
) -> None:
    at = At()
    rest = at.rest()
    rest._transport = server(*routes)
    verdict = await rest.probe()
    assert verdict.profile == profile
    told = verdict.told("actual")
    assert sentence in told.sentence
    assert told.advice.startswith(advice) if profile else advice in told.advice
    assert bool(told.advice) == bool(advice)
    assert verdict.told("ours.yaml").advice == ""


async def test_another_server_is_none_of_the_vendors() -> None:
    rest = At().rest()
    rest._transport = server()
    with pytest.raises(ProtocolError, match="no API of Iotistica"):
        await rest.probe()


async def test_the_source_answers_the_doctor() -> None:
    at = At()
    transport = server("agents", "anomaly-incidents")
    from bridge.config.vendor_profile import load_profile

    source = IotisticaSource("i", at.config(), at.clock, at.heap, profile=load_profile("actual"), transport=transport)
    assert isinstance(source, Probing)
    assert "speaks the profile actual, as configured" in (await source.probe()).sentence


async def test_a_server_that_is_gone_is_told_as_such() -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    rest = At().rest()
    rest._transport = httpx.MockTransport(gone)
    with pytest.raises(NotConnected):
        await rest.probe()
