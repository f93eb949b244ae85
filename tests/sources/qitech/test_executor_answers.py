"""What a panel's answer, or the lack of one, says about a command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest

from bridge.errors import NotConnected
from bridge.model.action import Action
from bridge.model.command import HAZARDS, Outcome, Result
from bridge.model.status import StatusCode
from bridge.sources.qitech.client import METRICS, MUTATE, PROOF, NotSent, PanelClient
from bridge.sources.qitech.config import QitechConfig
from bridge.sources.qitech.executor import QitechExecutor
from bridge.sources.qitech.identity import Identity
from bridge.sources.qitech.outcomes import outcome_of
from bridge.sources.qitech.payloads import ListedMachine
from bridge.sources.qitech.session import Session
from bridge.transport.clock import VirtualClock
from bridge.transport.http import Answer, http_client, tls_context
from tests.sources.qitech.listener import HurriedClock
from tests.sources.qitech.recorded import body

EXTRUDER = Identity(1, 4, 57922)
HEAT = Action("panel", EXTRUDER.key, {"SetExtruderMode": "Heat"})
OK = b'{"success":true,"error":null}'


class FakeSession:
    """A session that lists one machine."""

    def __init__(self, client: PanelClient) -> None:
        self.client = client
        self.listed: ListedMachine | None = ListedMachine(EXTRUDER, "extruder_v1")

    def machine(self, key: str) -> ListedMachine | None:
        return self.listed if key == EXTRUDER.key else None


class FakePanel:
    """A 2.x; what it says to a mutation is a response or an exception."""

    def __init__(self, answer: httpx.Response | Exception | None = None) -> None:
        self.answer = answer or httpx.Response(200, content=OK)
        self.metrics = httpx.Response(200, content=body("metrics_process"))
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path == METRICS:
            await self.go.wait()
            return self.metrics
        if request.url.path != MUTATE:
            return httpx.Response(200, content=body("machine_list"))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def posts(self) -> int:
        return self.asked.count(MUTATE)


@asynccontextmanager
async def ready(
    panel: FakePanel, clock: VirtualClock
) -> AsyncIterator[tuple[QitechExecutor, PanelClient, FakeSession]]:
    executor = QitechExecutor("panel", clock, writes=True)
    http = http_client("http://panel", transport=httpx.MockTransport(panel))
    async with PanelClient(http, clock) as client:
        client.settle((await client.probe()).verdict)
        session = FakeSession(client)
        with executor.connected(cast(Session, session)):
            yield executor, client, session


@pytest.mark.parametrize(
    ("status", "content", "result", "code", "words"),
    [
        (200, body("v1_mutate_ok"), Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously, ""),
        (200, b'{"success":false,"error":"no"}', Result.REFUSED, StatusCode.BadInvalidState, "no"),
        (200, b"<html>Log in to the guest network</html>", Result.UNKNOWN, StatusCode.BadTimeout, "<html>Log"),
        (200, b"null", Result.UNKNOWN, StatusCode.BadTimeout, "None"),
        (308, b"", Result.UNKNOWN, StatusCode.BadTimeout, ""),
        (400, b"Failed to parse", Result.REFUSED, StatusCode.BadInvalidArgument, "Failed to parse"),
        (401, b"", Result.REFUSED, StatusCode.BadConfigurationError, ""),
        (403, b"", Result.REFUSED, StatusCode.BadConfigurationError, ""),
        (404, b"", Result.REFUSED, StatusCode.BadInvalidArgument, ""),
        (415, b"Expected request with", Result.REFUSED, StatusCode.BadInvalidArgument, "Expected request"),
        (422, b"Failed to deserialize", Result.REFUSED, StatusCode.BadInvalidArgument, "Failed to des"),
        (429, b"", Result.UNREACHED, StatusCode.BadNotConnected, ""),
        (500, body("v1_mutate_unknown_machine"), Result.REFUSED, StatusCode.BadNotFound, "[server::rest"),
        (500, b'{"error":"broken"}', Result.REFUSED, StatusCode.BadInvalidState, "broken"),
        (500, b"", Result.UNKNOWN, StatusCode.BadTimeout, ""),
        (502, b"", Result.UNREACHED, StatusCode.BadNotConnected, ""),
        (503, b"", Result.UNREACHED, StatusCode.BadNotConnected, ""),
        (504, b"", Result.UNKNOWN, StatusCode.BadTimeout, ""),
    ],
)
def test_answer_is_told_with_the_vendors_words(
    status: int, content: bytes, result: Result, code: StatusCode, words: str
) -> None:
    outcome = outcome_of(Answer("panel", status, {}, content), 0.01)
    assert (outcome.result, outcome.status, outcome.vendor_code) == (result, code, status)
    assert outcome.vendor_text.startswith(words)
    assert outcome.sentence


def test_late_502_may_have_been_taken_by_a_process_that_died() -> None:
    assert outcome_of(Answer("panel", 502, {}, b""), 1.5).result is Result.UNKNOWN


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (httpx.ConnectError("refused"), Result.UNREACHED),
        (httpx.ConnectError("Name or service not known"), Result.UNREACHED),
        (httpx.ConnectTimeout("late"), Result.UNREACHED),
        (httpx.PoolTimeout("full"), Result.UNREACHED),
        (httpx.UnsupportedProtocol("ftp"), Result.UNREACHED),
        (httpx.ReadTimeout("late"), Result.UNKNOWN),
        (httpx.WriteTimeout("late"), Result.UNKNOWN),
        (httpx.ReadError("reset"), Result.UNKNOWN),
        (httpx.WriteError("reset"), Result.UNKNOWN),
        (httpx.CloseError("reset"), Result.UNKNOWN),
        (httpx.RemoteProtocolError("disconnected"), Result.UNKNOWN),
        (httpx.LocalProtocolError("ours"), Result.UNKNOWN),
        (httpx.ProxyError("proxy"), Result.UNKNOWN),
        (httpx.DecodingError("gzip"), Result.UNKNOWN),
    ],
)
async def test_failure_is_unreached_only_where_nothing_can_have_left(error: Exception, result: Result) -> None:
    panel, clock = FakePanel(error), VirtualClock()
    async with ready(panel, clock) as (executor, _, _):
        outcome = await executor.execute(HEAT, clock.monotonic() + 30)
        assert outcome.result is result
        assert panel.posts == 1


async def test_release_is_probed_again_where_the_panel_was_silent() -> None:
    panel, clock = FakePanel(), VirtualClock()
    async with ready(panel, clock) as (executor, _, _):
        probes = panel.asked.count(METRICS)
        assert (await executor.execute(HEAT, clock.monotonic() + 30)).result is Result.ACCEPTED
        assert panel.asked.count(METRICS) == probes
        await clock.advance(PROOF)
        assert (await executor.execute(HEAT, clock.monotonic() + 30)).result is Result.ACCEPTED
        assert panel.asked.count(METRICS) == probes + 1


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (httpx.Response(404), (Result.UNREACHED, StatusCode.BadNotConnected)),
        (httpx.Response(502), (Result.UNREACHED, StatusCode.BadNotConnected)),
        (httpx.Response(401), (Result.REFUSED, StatusCode.BadConfigurationError)),
    ],
)
async def test_panel_that_is_another_one_now_is_sent_nothing(
    metrics: httpx.Response, expected: tuple[Result, StatusCode]
) -> None:
    panel, clock = FakePanel(), VirtualClock()
    async with ready(panel, clock) as (executor, _, _):
        await clock.advance(PROOF)
        panel.metrics = metrics
        outcome = await executor.execute(HEAT, clock.monotonic() + 30)
        assert (outcome.result, outcome.status) == expected
        assert panel.posts == 0


async def executed(panel: FakePanel, clock: VirtualClock, meanwhile: Callable[[FakeSession], Any]) -> Outcome:
    """Execute while the panel does not prove itself; `meanwhile` something happens."""
    async with ready(panel, clock) as (executor, _, session):
        await clock.advance(PROOF)
        panel.go.clear()
        task = asyncio.create_task(executor.execute(HEAT, clock.monotonic() + 3))
        await clock.advance(1)
        meanwhile(session)
        await clock.advance(2)
        panel.go.set()
        return await task


async def test_panel_that_does_not_prove_itself_in_time_is_sent_nothing() -> None:
    panel = FakePanel()
    assert (await executed(panel, VirtualClock(), lambda _: None)).result is Result.UNREACHED
    assert panel.posts == 0


async def test_machine_that_vanishes_while_the_panel_proves_itself_is_sent_nothing() -> None:
    panel = FakePanel()

    def vanish(session: FakeSession) -> None:
        session.listed = None
        panel.go.set()

    outcome = await executed(panel, VirtualClock(), vanish)
    assert (outcome.result, "not listed" in outcome.sentence) == (Result.UNREACHED, True)
    assert panel.posts == 0


async def test_handshake_that_does_not_end_is_certainly_not_sent() -> None:
    """The server takes the connection and says nothing, so that TLS never begins; nothing may leave later either."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(4096):
            heard.extend(part)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        http = http_client(f"https://127.0.0.1:{port}", tls=tls_context(verify=False))
        async with PanelClient(http, HurriedClock(10)) as client:
            with pytest.raises(NotSent):
                await client.mutate(EXTRUDER, "Standby", 0.4)
            with pytest.raises(NotSent, match="earlier command"):
                await client.mutate(EXTRUDER, "Standby", 0.4)
            await client.mutated(EXTRUDER)
    assert b"mutate" not in heard


async def test_server_that_takes_a_mutation_and_breaks_off_is_unknown() -> None:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"Standby")
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        http = http_client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with PanelClient(http, HurriedClock(10)) as client:
            with pytest.raises(NotConnected) as refused:
                await client.mutate(EXTRUDER, "Standby")
            assert not isinstance(refused.value, NotSent)


# -- what a person may allow


def config(**keys: Any) -> QitechConfig:
    return QitechConfig.model_validate({"type": "qitech", "url": "http://127.0.0.1:9"} | keys)


def test_hazards_are_allowed_by_name_and_none_to_begin_with() -> None:
    assert config().allow_hazards == ()
    assert config(allow_hazards=list(HAZARDS)).allow_hazards == HAZARDS


def test_unknown_hazard_is_a_fault() -> None:
    with pytest.raises(ValueError, match="heat"):
        config(allow_hazards=["heating"])
