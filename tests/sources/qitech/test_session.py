"""What a panel of 3.x tells, and what it may lose on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from aiohttp import web

from bridge.errors import NotConnected
from bridge.model.event import Event
from bridge.model.observation import Condition, Observation, Reading
from bridge.model.status import StatusCode
from bridge.sources.qitech.client import LIST, METRICS
from bridge.sources.qitech.config import QitechConfig
from bridge.sources.qitech.source import QitechSource
from tests.sources.qitech.listener import HurriedClock, Listener, outcome, running
from tests.sources.qitech.scripted import event, forever, listed, streaming

AQUAPATH, EXTRUDER, LASER = (9, 7), (4, 57922), (6, 1)


class Rest:
    """The REST side of a 3.x panel."""

    def __init__(self, *machines: tuple[int, int]) -> None:
        self.machines = machines
        self.metrics = 404
        self.list_status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path in {LIST, METRICS}, "a machine was asked"
        if request.url.path == METRICS:
            return httpx.Response(self.metrics, content=b'{"rss_bytes":1}' if self.metrics == 200 else b"")
        names = {4: "extruder_v1", 6: "laser_v1", 9: "aquapath_v1"}
        entries = [
            {"legacy_id": {"machine_identification": {"vendor": 1, "machine": m}, "serial": s}, "slug": names[m]}
            for m, s in self.machines
        ]
        return httpx.Response(self.list_status, content=orjson.dumps({"machines": entries}))


@asynccontextmanager
async def session_with(
    rest: Rest, script: Callable[[web.WebSocketResponse, str], Awaitable[None]]
) -> AsyncIterator[tuple[Listener, asyncio.Task[None]]]:
    """A source at a panel whose streams follow a script."""
    listener = Listener()
    async with streaming(script) as url:
        config = QitechConfig.model_validate({"type": "qitech", "url": url})
        source = QitechSource("panel", config, HurriedClock(), transport=httpx.MockTransport(rest))
        async with running(source, listener) as task:
            yield listener, task


def script_of(**frames: list[tuple[str, Any]]) -> Callable[[web.WebSocketResponse, str], Awaitable[None]]:
    """Each namespace ("main", or a machine's number) sends its events once."""

    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        name = "main" if namespace == "/main" else f"m{namespace.split('/')[3]}"
        for what, data in frames.get(name, []):
            await socket.send_bytes(event(namespace, what, data))
        await forever(socket, namespace)

    return script


async def test_notice_is_an_event_with_a_stable_id() -> None:
    notice = {"title": "Low flow", "message": "Pump of the left side was switched off"}
    script = script_of(
        main=[("MachinesEvent", listed(AQUAPATH))], m9=[("NoticeEvent", notice), ("NoticeEvent", notice)]
    )
    async with session_with(Rest(AQUAPATH), script) as (listener, _):
        await listener.until(lambda: len(listener.all(Event)) == 2)
    first, second = listener.all(Event)
    assert (first.kind, first.machine, first.source, first.severity) == ("Notice", "1/9/7", "panel", 500)
    assert first.message == "Low flow: Pump of the left side was switched off"
    assert first.data == notice
    assert first.id.split(":")[:3] == second.id.split(":")[:3] == ["panel", "1/9/7", "notice"]


@pytest.mark.parametrize("data", [None, 3, "text", {}, {"title": None}])
async def test_notice_of_any_shape_is_an_event(data: Any) -> None:
    script = script_of(main=[("MachinesEvent", listed(AQUAPATH))], m9=[("NoticeEvent", data)])
    async with session_with(Rest(AQUAPATH), script) as (listener, _):
        await listener.until(lambda: bool(listener.all(Event)))
    assert listener.all(Event)[0].message


async def test_event_without_an_object_is_a_condition_of_its_channel() -> None:
    script = script_of(
        main=[("MachinesEvent", listed(EXTRUDER))], m4=[("LiveValuesEvent", [1]), ("StateEvent", {"a": 1})]
    )
    async with session_with(Rest(EXTRUDER), script) as (listener, _):
        await listener.until(lambda: bool(listener.all(Observation)))
    told = listener.all(Condition, channel="live_values")[0]
    assert told.status is StatusCode.BadDecodingError
    assert [one.channel for one in listener.all(Observation)] == ["state"]


async def test_event_of_any_name_is_a_channel() -> None:
    script = script_of(
        main=[("MachinesEvent", listed(EXTRUDER))], m4=[("MeasurementRateHz", {"MeasurementRateHz": 2.0})]
    )
    async with session_with(Rest(EXTRUDER), script) as (listener, _):
        await listener.until(lambda: bool(listener.all(Observation)))
    (one,) = listener.all(Observation)
    assert (one.channel, one.payload, one.period) == ("measurement_rate_hz", {"MeasurementRateHz": 2.0}, None)


async def test_channels_of_a_machine_are_bounded() -> None:
    events: list[tuple[str, Any]] = [(f"Event{number}", {}) for number in range(200)]
    script = script_of(main=[("MachinesEvent", listed(EXTRUDER))], m4=[*events, ("StateEvent", {"last": True})])
    async with session_with(Rest(EXTRUDER), script) as (listener, _):
        await listener.until(lambda: bool(listener.all(Observation, channel="state")))
    assert len({one.channel for one in listener.all(Observation)}) <= 32


async def test_machines_event_that_was_lost_is_made_up_for_by_the_list() -> None:
    """The panel's queue holds 64 events and drops what does not fit."""
    script = script_of(main=[("MachinesEvent", listed(EXTRUDER))], m9=[("StateEvent", {"a": 1})])
    async with session_with(Rest(EXTRUDER, AQUAPATH), script) as (listener, _):
        await listener.until(lambda: bool(listener.all(Observation, machine="1/9/7")))


async def test_garbled_machines_event_takes_nothing_away() -> None:
    main = [("MachinesEvent", listed(EXTRUDER)), ("MachinesEvent", None), ("EthercatStateEvent", {"State": "op"})]
    script = script_of(main=main, m4=[("StateEvent", {"a": 1})])
    async with session_with(Rest(EXTRUDER), script) as (listener, task):
        await listener.until(lambda: bool(listener.all(Reading, name="EthercatState")))
        await listener.until(lambda: bool(listener.all(Observation)))
        assert not task.done()


async def test_laser_of_an_unknown_panel_is_not_joined() -> None:
    rest = Rest(EXTRUDER, LASER)
    rest.list_status = 404
    script = script_of(
        main=[("MachinesEvent", listed(EXTRUDER, LASER))], m4=[("StateEvent", {})], m6=[("StateEvent", {})]
    )
    async with session_with(rest, script) as (listener, _):
        await listener.until(lambda: bool(listener.all(Observation, machine="1/4/57922")))
        told = listener.all(Condition, machine="1/6/1")[0]
        assert told.status is StatusCode.BadNotSupported
        await asyncio.sleep(0.05)
        assert listener.all(Observation, machine="1/6/1") == []


async def test_unknown_panel_that_becomes_known_is_read_anew() -> None:
    rest = Rest(EXTRUDER)
    rest.list_status = 500
    script = script_of(main=[("MachinesEvent", listed(EXTRUDER))], m4=[("StateEvent", {})])
    async with session_with(rest, script) as (listener, task):
        await listener.until(lambda: bool(listener.all(Observation)))
        rest.list_status = 200
        error = await outcome(task)
    assert isinstance(error, NotConnected)
    assert "known now" in str(error)


@pytest.fixture
def no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy computer must not look like a silent panel."""
    monkeypatch.setattr("bridge.sources.qitech.stream.stall_of", lambda number: None)


@pytest.mark.usefixtures("no_watchdog")
async def test_list_that_fails_is_no_loss_while_streams_flow() -> None:
    rest = Rest(EXTRUDER)

    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        if namespace == "/main":
            await socket.send_bytes(event(namespace, "MachinesEvent", listed(EXTRUDER)))
            await forever(socket, namespace)
            return
        await socket.send_bytes(event(namespace, "StateEvent", {"mains": 0}))
        while not socket.closed:
            await socket.send_bytes(event(namespace, "LiveValuesEvent", {}))
            await asyncio.sleep(0.02)

    async with session_with(rest, script) as (listener, task):
        await listener.next(Observation)
        rest.list_status = 502
        await asyncio.sleep(1.2)
        assert not task.done()
        assert listener.all(Condition) == []


@pytest.mark.usefixtures("no_watchdog")
async def test_main_that_breaks_is_joined_again_and_no_machine_notices() -> None:
    mains = 0

    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        nonlocal mains
        if namespace == "/main":
            mains += 1
            await socket.send_bytes(event(namespace, "MachinesEvent", listed(EXTRUDER)))
            await asyncio.sleep(0.02)
            return
        await socket.send_bytes(event(namespace, "StateEvent", {"mains": 0}))
        while not socket.closed:
            await socket.send_bytes(event(namespace, "LiveValuesEvent", {"mains": mains}))
            await asyncio.sleep(0.02)

    async with session_with(Rest(EXTRUDER), script) as (listener, task):
        await listener.until(lambda: any(one.payload["mains"] >= 3 for one in listener.all(Observation)))
        assert not task.done()
    assert listener.all(Condition) == []


async def test_panel_whose_streams_are_blocked_is_not_connected() -> None:
    """A proxy before the panel that lets REST pass, but no WebSocket."""

    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        await socket.close()

    async with session_with(Rest(EXTRUDER), script) as (_, task):
        assert isinstance(await outcome(task), NotConnected)


async def test_stamps_that_run_backwards_are_not_believed() -> None:
    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        if namespace == "/main":
            await socket.send_bytes(event(namespace, "MachinesEvent", listed(EXTRUDER)))
        else:
            for ts in (1_000_000, 999_000, 1_000_001, None, "soon"):
                await socket.send_bytes(event(namespace, "StateEvent", {"ts": ts}, ts))
        await forever(socket, namespace)

    async with session_with(Rest(EXTRUDER), script) as (listener, _):
        await listener.until(lambda: len(listener.all(Observation)) == 5)
    assert [one.source_time is not None for one in listener.all(Observation)] == [True, False, True, False, False]


@pytest.mark.usefixtures("no_watchdog")
async def test_machine_without_any_state_is_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.sources.qitech.stream.STATE_PATIENCE", 0.1)
    joins = 0

    async def script(socket: web.WebSocketResponse, namespace: str) -> None:
        nonlocal joins
        if namespace == "/main":
            await socket.send_bytes(event(namespace, "MachinesEvent", listed(EXTRUDER)))
            await forever(socket, namespace)
            return
        joins += 1
        for number in range(20):
            await socket.send_bytes(event(namespace, "LiveValuesEvent", {"join": joins, "n": number}))
            await asyncio.sleep(0.02)
        await forever(socket, namespace)

    async with session_with(Rest(EXTRUDER), script) as (listener, _):
        await listener.until(lambda: any(one.payload == {"join": 4, "n": 19} for one in listener.all(Observation)))
    assert joins == 4
