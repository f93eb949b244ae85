"""One machine of a 2.x panel that does not answer as it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from bridge.errors import AuthFailed, NotConnected, ProtocolError, SourceError
from bridge.model.observation import Condition, Observation
from bridge.model.status import StatusCode
from bridge.sources.qitech.client import MachineRefused, PanelClient, Polled
from bridge.sources.qitech.identity import Identity
from bridge.sources.qitech.payloads import ListedMachine, Snapshot
from bridge.sources.qitech.polling import poll
from bridge.sources.qitech.report import Report
from bridge.transport.clock import VirtualClock
from tests.sources.qitech.listener import Listener

MACHINE = ListedMachine(Identity(1, 4, 57922), "extruder_v1")


class FakeClient:
    """Gives the answers it was told, the last one for ever."""

    def __init__(self, clock: VirtualClock, *answers: Snapshot | SourceError) -> None:
        self._clock = clock
        self._answers = list(answers)
        self.asked_at: list[float] = []
        self.panel: SourceError | None = None
        self.confirmed = 0

    async def snapshot(self, identity: Identity, slug: str) -> Polled:
        assert (identity, slug) == (MACHINE.identity, MACHINE.slug)
        self.asked_at.append(self._clock.monotonic())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, SourceError):
            raise answer
        return Polled(answer, self._clock.monotonic())

    async def confirm(self, since: float) -> None:
        self.confirmed += 1
        if self.panel is not None:
            raise self.panel


VALUES = Snapshot({"mode": "Heat"}, {"pressure": 1.0})


@asynccontextmanager
async def polling(clock: VirtualClock, client: FakeClient, listener: Listener) -> AsyncIterator[asyncio.Task[None]]:
    report = Report("panel", clock, listener)
    task = asyncio.create_task(poll(MACHINE, cast(PanelClient, client), report, clock, 0.5))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_machine_is_read_at_an_even_pace() -> None:
    clock, listener = VirtualClock(), Listener()
    client = FakeClient(clock, VALUES)
    async with polling(clock, client, listener):
        await clock.advance(2)
    assert client.asked_at == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert [one.channel for one in listener.all(Observation)[:2]] == ["state", "live_values"]
    assert {one.period for one in listener.all(Observation)} == {0.5}


async def test_channel_that_is_null_is_not_told() -> None:
    clock, listener = VirtualClock(), Listener()
    async with polling(clock, FakeClient(clock, Snapshot({"mode": "Off"}, None)), listener):
        await clock.advance(0.1)
    assert [one.channel for one in listener.all(Observation)] == ["state"]


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (MachineRefused("Unknown machine!"), StatusCode.BadDeviceFailure, "The panel says: Unknown machine!"),
        (ProtocolError("not JSON"), StatusCode.BadDecodingError, "not JSON"),
        (NotConnected("no answer"), StatusCode.UncertainNoCommunicationLastUsableValue, "no answer"),
    ],
)
async def test_failure_of_one_machine_is_told_once_and_values_end_it(
    failure: SourceError, status: StatusCode, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    clock, listener = VirtualClock(), Listener()
    client = FakeClient(clock, VALUES, failure, failure, failure, VALUES)
    async with polling(clock, client, listener) as task:
        await clock.advance(60)
        assert not task.done()
    (told,) = listener.all(Condition)
    assert (told.machine, told.status, told.reason) == ("1/4/57922", status, words)
    assert told.advice
    assert isinstance(listener.said[-1], Observation)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_machine_that_fails_is_asked_ever_more_slowly() -> None:
    clock, listener = VirtualClock(), Listener()
    client = FakeClient(clock, MachineRefused("Unknown machine!"))
    async with polling(clock, client, listener):
        await clock.advance(300)
    waits = [later - earlier for earlier, later in zip(client.asked_at, client.asked_at[1:], strict=False)]
    assert all(1 <= wait <= 30 for wait in waits)
    assert 10 <= len(waits) <= 60


@pytest.mark.parametrize("panel", [NotConnected("gone"), AuthFailed("password")])
async def test_failure_of_the_panel_ends_the_polling(panel: SourceError) -> None:
    clock, listener = VirtualClock(), Listener()
    client = FakeClient(clock, NotConnected("no answer"))
    client.panel = panel
    async with polling(clock, client, listener) as task:
        await clock.advance(1)
        assert task.exception() is panel
    assert listener.all(Condition) == []


async def test_refused_credentials_end_the_polling_at_once() -> None:
    clock, listener = VirtualClock(), Listener()
    client = FakeClient(clock, AuthFailed("password"))
    async with polling(clock, client, listener) as task:
        await clock.advance(1)
        assert isinstance(task.exception(), AuthFailed)
    assert client.confirmed == 0
