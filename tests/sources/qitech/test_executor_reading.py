"""Reading on demand: what a command is confirmed by."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from aiohttp import web

from bridge.model.action import Action, Expectation
from bridge.model.command import Result
from bridge.model.observation import Observation
from bridge.model.value import Value
from bridge.sources.qitech.client import MUTATE, PanelClient, Polled
from bridge.sources.qitech.config import QitechConfig
from bridge.sources.qitech.identity import Identity
from bridge.sources.qitech.payloads import ListedMachine, Snapshot
from bridge.sources.qitech.polling import BREATH, Bell, poll
from bridge.sources.qitech.readback import Readback, agrees
from bridge.sources.qitech.report import Report
from bridge.sources.qitech.source import QitechSource
from bridge.transport.clock import VirtualClock
from tests.sources.qitech.listener import HurriedClock, Listener, running, until
from tests.sources.qitech.scripted import event, listed, streaming
from tests.sources.qitech.test_session import Rest

MACHINE = ListedMachine(Identity(1, 4, 57922), "extruder_v1")


class SlowClient:
    """Answers when `go` is set; notes when it was asked, and how often at once."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.asked_at: list[float] = []
        self.at_once = self.most_at_once = self.given_up = 0
        self.go = asyncio.Event()
        self.go.set()

    async def snapshot(self, identity: Identity, slug: str) -> Polled:
        requested_at = self._clock.monotonic()
        self.asked_at.append(requested_at)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.at_once -= 1
        return Polled(Snapshot({"n": len(self.asked_at)}, None), requested_at)


@asynccontextmanager
async def polled(clock: VirtualClock, client: SlowClient) -> AsyncIterator[tuple[Bell, Listener, asyncio.Task[None]]]:
    listener, bell = Listener(), Bell()
    report = Report("panel", clock, listener)
    task = asyncio.create_task(poll(MACHINE, cast(PanelClient, client), report, clock, 0.5, bell))
    try:
        yield bell, listener, task
    finally:
        task.cancel()
        await asyncio.wait({task})


def ring(bell: Bell) -> asyncio.Task[None]:
    return asyncio.create_task(bell.renew(lambda: None))


async def test_refresh_reads_at_once_and_the_even_reads_keep_their_times() -> None:
    clock = VirtualClock()
    client = SlowClient(clock)
    async with polled(clock, client) as (bell, listener, _):
        await clock.advance(0.2)
        refresh = ring(bell)
        await clock.advance(0.0)
        assert refresh.done()
        assert listener.all(Observation)[-1].requested_at == pytest.approx(0.2)
        await clock.advance(0.8)
    assert client.asked_at == pytest.approx([0, 0.2, 0.5, 1.0])
    assert {one.period for one in listener.all(Observation)} == {0.5}


async def test_many_refreshes_are_one_read_and_a_storm_of_them_is_slowed_down() -> None:
    clock = VirtualClock()
    client = SlowClient(clock)
    async with polled(clock, client) as (bell, _, _):
        await clock.advance(0.1)
        many = [ring(bell) for _ in range(50)]
        await clock.advance(0.0)
        assert all(one.done() for one in many)
        assert len(client.asked_at) == 2
        for _ in range(100):
            ring(bell)
            await clock.advance(0.001)
    assert len(client.asked_at) <= 2 + 0.1 / BREATH + 1


async def test_refresh_during_a_read_waits_for_the_next_one_and_never_reads_twice_at_once() -> None:
    clock = VirtualClock()
    client = SlowClient(clock)
    async with polled(clock, client) as (bell, listener, _):
        await clock.advance(0.4)
        client.go.clear()
        await clock.advance(0.2)
        refresh, given_up = ring(bell), ring(bell)
        await clock.advance(1)
        given_up.cancel()
        assert not refresh.done()
        assert len(client.asked_at) == 2
        client.go.set()
        await clock.advance(0.0)
        assert refresh.done()
        assert (listener.all(Observation)[-1].requested_at or 0) >= 1.6
    assert (client.most_at_once, client.given_up) == (1, 0)


async def test_poll_that_ends_lets_everybody_go() -> None:
    clock = VirtualClock()
    client = SlowClient(clock)
    client.go.clear()
    async with polled(clock, client) as (bell, _, task):
        early = ring(bell)
        await clock.advance(0.1)
        late = ring(bell)
        await clock.advance(0.1)
        task.cancel()
        await asyncio.wait({early, late}, timeout=1)
        assert early.done()
        assert late.done()


# -- comparing


@pytest.mark.parametrize(
    ("actual", "expected", "result"),
    [
        (12.300000000000002, 12.3, True),
        (12.3001, 12.3, False),
        (30, 30.0, True),
        (1e-7, 0, True),
        (1e-5, 0, False),
        (1_000_000.5, 1_000_000, True),
        (1_000_002, 1_000_000, False),
        (True, True, True),
        (True, 1, False),
        (0, False, False),
        ("Heat", "Heat", True),
        ("Heat", "Standby", False),
        (None, None, True),
        (None, 0, False),
        (math.nan, 0.0, False),
        ({"a": 1}, "a", False),
    ],
)
def test_readback_agrees_within_a_millionth(actual: Any, expected: Value, result: bool) -> None:
    assert agrees(actual, expected) is result


def test_paths_are_those_of_mappings() -> None:
    payload = {"outputs": [0, 7], "a.b": {"c": 8}, "zones": [{"name": "rear", "rpm": 1}, {"name": "front", "rpm": 9}]}
    for path, value in (("state.outputs[1]", 7), ("state['a.b'].c", 8), ("state.zones[name=front].rpm", 9)):
        readback = Readback("1/4/1", [[Expectation(path, value)]])
        readback.forget()
        seen(readback, "state", payload)
        assert readback.is_confirmed, path


def seen(readback: Readback, channel: str, payload: Any) -> None:
    readback.see(Observation("panel", "1/4/1", channel, payload, VirtualClock().now()))


def test_only_what_is_seen_after_the_read_began_counts() -> None:
    readback = Readback("1/4/1", [[Expectation("state.mode", "Heat")]])
    seen(readback, "state", {"mode": "Heat"})
    assert not readback.settled.is_set()
    readback.forget()
    assert not readback.is_confirmed
    seen(readback, "live_values", {"mode": "Heat"})
    assert not readback.settled.is_set()
    seen(readback, "state", {"mode": "Standby"})
    assert (readback.settled.is_set(), readback.is_confirmed, readback.is_refuted) == (True, False, True)
    assert readback.actual == "Standby"


@pytest.mark.parametrize(
    ("payload", "confirmed", "refuted", "actual"),
    [
        ({"home": True, "homed": False}, True, False, False),
        ({"home": False, "homed": True, "side": "in"}, True, False, None),
        ({"home": False, "homed": False, "side": "in"}, False, True, False),
        ({"homed": True}, False, False, None),
        ({"home": [1], "homed": [1], "side": "in"}, False, True, None),
        (None, False, False, None),
    ],
)
def test_alternatives_are_met_in_full_or_not_at_all(
    payload: Any, confirmed: bool, refuted: bool, actual: Value
) -> None:
    readback = Readback(
        "1/4/1",
        [
            [Expectation("state.homed", True), Expectation("state.side", "in")],
            [Expectation("state.home", True)],
        ],
    )
    readback.forget()
    seen(readback, "state", payload)
    assert (readback.is_confirmed, readback.is_refuted, readback.actual) == (confirmed, refuted, actual)


# -- a 3.x panel, step by step

EXTRUDER = (4, 57922)
HEAT = Action("panel", "1/4/57922", {"SetExtruderMode": "Heat"}, ((Expectation("state.mode", "Heat"),),))


class Writable(Rest):
    """The REST side of a 3.x panel that takes every mutation."""

    posts = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == MUTATE:
            self.posts += 1
            return httpx.Response(200, content=b'{"success":true,"error":null}')
        return super().__call__(request)


class Stage:
    """The streams of a 3.x panel: what comes on /main, and who joins and leaves the machine's namespace."""

    def __init__(self) -> None:
        self.main: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue()
        self.seen: list[str] = []

    async def __call__(self, socket: web.WebSocketResponse, namespace: str) -> None:
        if namespace == "/main":
            while (said := await self.main.get()) is not None:
                await socket.send_bytes(event(namespace, *said))
            return
        self.seen.append("joined")
        await socket.send_bytes(event(namespace, "StateEvent", {"mode": "Heat"}))
        await socket.receive()
        self.seen.append("left")


@asynccontextmanager
async def staged(rest: Rest, stage: Stage) -> AsyncIterator[tuple[QitechSource, Listener]]:
    async with streaming(stage) as url:
        config = QitechConfig.model_validate({"type": "qitech", "url": url, "writes": True})
        source = QitechSource("panel", config, HurriedClock(), transport=httpx.MockTransport(rest))
        listener = Listener()
        async with running(source, listener):
            yield source, listener


def is_commandable(source: QitechSource) -> bool:
    session = source.executor._session
    return session is not None and session.machine("1/4/57922") is not None


async def result_of(source: QitechSource) -> Result:
    return (await source.executor.execute(HEAT, float("inf"))).result


async def test_stream_is_left_before_it_is_joined_anew() -> None:
    stage = Stage()
    stage.main.put_nowait(("MachinesEvent", listed(EXTRUDER)))
    async with staged(Writable(EXTRUDER), stage) as (source, listener):
        await listener.until(lambda: bool(listener.all(Observation)))
        assert (await source.executor.reconcile(HEAT)).result is Result.CONFIRMED
        assert stage.seen == ["joined", "left", "joined"]


async def test_machine_is_commanded_only_while_the_field_bus_runs_and_the_panel_tells() -> None:
    stage, rest = Stage(), Writable(EXTRUDER)
    stage.main.put_nowait(("EthercatStateEvent", {"State": "preop"}))
    stage.main.put_nowait(("MachinesEvent", listed(EXTRUDER)))
    async with staged(rest, stage) as (source, listener):
        await listener.until(lambda: bool(listener.all(Observation)))
        assert await result_of(source) is Result.UNREACHED
        stage.main.put_nowait(("EthercatStateEvent", {"State": "op"}))
        await until(lambda: is_commandable(source))
        assert await result_of(source) is Result.ACCEPTED
        stage.main.put_nowait(None)
        await until(lambda: not is_commandable(source))
        assert await result_of(source) is Result.UNREACHED
        stage.main.put_nowait(("MachinesEvent", listed(EXTRUDER)))
        await until(lambda: is_commandable(source))
        assert await result_of(source) is Result.ACCEPTED
    assert rest.posts == 2
