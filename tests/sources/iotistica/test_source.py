from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from bridge.config.vendor_profile import load_profile
from bridge.errors import NotConnected
from bridge.model.observation import Condition, Observation
from bridge.model.status import StatusCode
from bridge.ports import Publish
from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.iotistica.rest.rows import milliseconds, reading_row
from bridge.sources.iotistica.source import IotisticaSource
from bridge.transport.mqtt import Message
from tests.sources.iotistica import cloud
from tests.sources.iotistica.cloud import At, Cloud
from tests.sources.iotistica.rig import AGENT, PRESS, PUMP, batch, reading, topic

BEGUN = cloud.START - timedelta(seconds=200)


class Both:
    """A source whose halves tell what a test says, one after the other."""

    def __init__(self, heap: cloud.Heap | None = None) -> None:
        account = {"url": cloud.URL, "username": cloud.USER, "password": cloud.PASSWORD, "readings": "always"}
        config = IotisticaConfig.model_validate({"type": "iotistica", "mqtt": {}, "rest": account})
        self.at = cloud.At()
        self.at.heap = heap or self.at.heap
        self.source = IotisticaSource("i", config, self.at.clock, self.at.heap, profile=load_profile("actual"))
        self.mqtt: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.rest: asyncio.Queue[tuple[list[dict[str, Any]], bool]] = asyncio.Queue()
        assert self.source.listener is not None
        assert self.source.rest is not None
        self.source.listener.run = self._listen  # type: ignore[method-assign]
        self.source.rest.run = self._poll  # type: ignore[method-assign]

    async def _listen(self, publish: Publish) -> None:
        assert self.source.listener is not None
        while (message := await self.mqtt.get()) is not None:
            raw = Message(topic("endpoints/x"), json.dumps(message).encode(), 1, False)
            self.source.listener.intake.take(raw, publish)
            self.mqtt.task_done()
        self.mqtt.task_done()
        raise NotConnected("The broker is gone")

    async def _poll(self, publish: Publish) -> None:
        while True:
            rows, historical = await self.rest.get()
            publish(Observation("i", AGENT, "readings", rows, self.at.clock.now(), historical=historical))
            self.rest.task_done()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.source.run(self.at.heard))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def hear(self, *readings: dict[str, Any]) -> None:
        await self.mqtt.put(batch(*readings))
        await self.mqtt.join()

    async def poll(self, *rows: dict[str, Any], historical: bool = False) -> None:
        await self.rest.put(([row for one in rows if (row := reading_row(one)) is not None], historical))
        await self.rest.join()

    @property
    def earlier(self) -> list[Any]:
        told = [one for one in self.at.heard.of(Observation) if one.channel == "readings" and one.historical]
        return [row["value"] for one in told for row in one.payload]

    @property
    def values(self) -> list[Any]:
        told = [one for one in self.at.heard.of(Observation) if one.channel == "readings" and not one.historical]
        return [row["value"] for one in told for row in one.payload]


def at(seconds: float) -> str:
    return (BEGUN + timedelta(seconds=seconds)).isoformat()


async def test_what_is_polled_beside_mqtt_moves_no_value_back() -> None:
    both = Both()
    async with both.running():
        await both.hear(reading(5.0, timestamp=at(10)))
        await both.poll(
            cloud.reading("pressure", 4.0, at(5), device=PUMP), cloud.reading("pressure", 1.0, at(5), device=PRESS)
        )
        assert both.values == [5.0, 1.0]
        await both.poll(cloud.reading("pressure", 6.0, at(20), device=PUMP))
        await both.hear(reading(5.5, timestamp=at(15)))
        assert both.values == [5.0, 1.0, 6.0]


async def test_what_mqtt_missed_of_each_device_is_asked_for_when_it_is_heard_again() -> None:
    both = Both()
    assert both.source.rest is not None
    async with both.running():
        await both.hear(reading(1.0, timestamp=at(10)), reading(1.0, device=PRESS, timestamp=at(20)))
        await both.mqtt.put(None)
        await both.mqtt.put(batch(reading(2.0, timestamp=at(100)), reading(2.0, device=PRESS, timestamp=at(90))))
        await both.at.until(lambda: both.values == [1.0, 1.0, 2.0, 2.0])
        (fill,) = both.source.rest.backfilled._queue
    start = milliseconds(BEGUN.isoformat()) or 0
    assert fill.windows == {PUMP: (start + 10_000, start + 100_000), PRESS: (start + 20_000, start + 90_000)}


async def test_what_an_agent_kept_and_the_cloud_has_as_well_is_told_once() -> None:
    """A broker that was gone for everybody: the agent tells what it kept, and the cloud is asked for the same."""
    both = Both()
    async with both.running():
        await both.hear(reading(1.0, timestamp=at(10)))
        await both.mqtt.put(None)
        live = [reading(float(number), timestamp=at(number)) for number in (58, 59, 60)]
        await both.mqtt.put(batch(*live))
        await both.at.until(lambda: both.values == [1.0, 60.0])
        assert both.earlier == [58.0, 59.0]
        await both.hear(reading(20.0, timestamp=at(20)))
        missed = [cloud.reading("pressure", float(number), at(number), device=PUMP) for number in (20, 30, 40, 58, 59)]
        await both.poll(*missed, historical=True)
        await both.hear(reading(30.0, timestamp=at(30)), reading(5.0, timestamp=at(5)))
    assert both.earlier == [58.0, 59.0, 20.0, 30.0, 40.0, 5.0]
    assert both.source._lapses.repeated == 4


async def test_a_half_that_stays_lost_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    both = Both()
    for _ in range(5):
        both.mqtt.put_nowait(None)
    async with both.running():
        await both.at.until(lambda: both.mqtt.empty())
    assert [one.message for one in caplog.records] == ["Source i: MQTT is lost: The broker is gone"]


async def test_a_refused_password_of_rest_is_told_of_the_source_until_rest_is_back() -> None:
    """And what was said of REST's pace ends with it."""
    both, at = Both(), At()
    account = {"url": cloud.URL, "username": cloud.USER, "password": cloud.PASSWORD}
    config = IotisticaConfig.model_validate({"type": "iotistica", "mqtt": {}, "rest": account})
    transport = httpx.MockTransport(at.cloud)
    both.source = IotisticaSource("i", config, at.clock, at.heap, profile=load_profile("actual"), transport=transport)
    both.at = at
    assert both.source.listener is not None
    both.source.listener.run = both._listen  # type: ignore[method-assign]
    is_refused = is_slow = False

    def hook(request: httpx.Request, cloud: Cloud) -> httpx.Response | None:
        if is_refused:
            return cloud.reply(401, {"error": "Invalid credentials"})
        return cloud.throttled("1") if is_slow and "incidents" in request.url.path else None

    at.cloud.hooks.append(hook)

    def told() -> list[Condition]:
        return [one for one in at.heard.of(Condition) if one.machine is None and one.channel is None]

    async with both.running():
        await both.hear(reading(1.0))
        await at.until(lambda: at.heard.readings().get("RestConnected"))
        is_slow = True
        await at.until(told)
        is_slow, is_refused = False, True
        await at.until(lambda: any(one.way for one in told()))
        slowed, pace, lost = told()
        assert slowed.reason.startswith("Slowed")
        assert (pace.status, pace.reason) == (StatusCode.Good, "")
        assert (lost.way, lost.status) == ("REST", StatusCode.BadConfigurationError)
        assert lost.reason.startswith("By REST: ")
        assert "password" in lost.advice
        is_refused = False
        await at.until(lambda: any(one.way and not one.reason for one in told()))
        assert at.heard.readings()["RestConnected"] is True


async def test_what_was_missed_while_the_bridge_was_stopped_is_asked_for() -> None:
    before = Both()
    async with before.running():
        await before.hear(reading(1.0, timestamp=at(10)), reading(1.0, device=PRESS, timestamp=at(20)))
    after = Both(before.at.heap)
    assert after.source.rest is not None
    async with after.running():
        await after.hear(reading(2.0, timestamp=at(100)), reading(2.0, device=PRESS, timestamp=at(90)))
        assert after.values == [2.0, 2.0]
        (fill,) = after.source.rest.backfilled._queue
    assert fill.windows == {PUMP: (ms(10), ms(100)), PRESS: (ms(20), ms(90))}


async def test_a_replay_that_comes_first_after_a_restart_is_of_the_past() -> None:
    before = Both()
    async with before.running():
        await before.hear(reading(1.0, timestamp=at(10)), reading(9.0, timestamp=at(50)))
    after = Both(before.at.heap)
    async with after.running():
        await after.hear(reading(2.0, timestamp=at(20)))
        await after.poll(cloud.reading("pressure", 3.0, at(30), device=PUMP))
        assert (after.values, after.earlier) == ([], [2.0])
        await after.hear(reading(10.0, timestamp=at(60)))
    assert (after.values, after.earlier) == ([10.0], [2.0])


async def test_what_an_agent_kept_over_our_restart_and_the_cloud_has_as_well_is_told_once() -> None:
    before = Both()
    async with before.running():
        await before.hear(reading(1.0, timestamp=at(10)))
    after = Both(before.at.heap)
    async with after.running():
        await after.hear(reading(60.0, timestamp=at(60)))
        await after.hear(reading(20.0, timestamp=at(20)))
        missed = [cloud.reading("pressure", float(number), at(number), device=PUMP) for number in (20, 30)]
        await after.poll(*missed, historical=True)
    assert (after.values, after.earlier) == ([60.0], [20.0, 30.0])


async def test_what_waits_to_be_filled_outlives_restarts() -> None:
    before = Both()
    async with before.running():
        await before.hear(reading(1.0, timestamp=at(10)))
        await before.mqtt.put(None)
        await before.mqtt.put(batch(reading(2.0, timestamp=at(40))))
        await before.at.until(lambda: before.values == [1.0, 2.0])
    between = Both(before.at.heap)
    async with between.running():
        await asyncio.sleep(0)
    after = Both(between.at.heap)
    assert after.source.rest is not None
    async with after.running():
        await after.hear(reading(3.0, timestamp=at(90)))
        fills = list(after.source.rest.backfilled._queue)
    assert [fill.windows for fill in fills] == [{PUMP: (ms(10), ms(40))}, {PUMP: (ms(40), ms(90))}]


async def test_what_is_told_is_kept_once_a_minute_and_when_it_stops() -> None:
    both = Both()
    async with both.running():
        await both.hear(reading(1.0, timestamp=at(10)))
        assert not both.at.heap.document
        await both.at.until(lambda: both.at.heap.document)
        assert told_of(both) == {AGENT: {PUMP: {"pressure": ms(10)}}}
        await both.hear(reading(2.0, timestamp=at(20)))
        assert told_of(both) == {AGENT: {PUMP: {"pressure": ms(10)}}}
    assert told_of(both) == {AGENT: {PUMP: {"pressure": ms(20)}}}


@pytest.mark.parametrize(
    "page",
    [
        {"told": {AGENT: 3}, "backfill": {"fills": 7}},
        {"told": {AGENT: {PUMP: {"pressure": "x"}}}, "backfill": {"fills": [3, [1, 2], [AGENT, "m", 4, None, []]]}},
        {"told": {AGENT: {PUMP: {"pressure": 10**14}}}, "backfill": {"fills": [[AGENT, "m", {}, None, []]]}},
    ],
)
async def test_pages_that_are_none_and_times_ahead_are_left_aside(page: dict[str, Any]) -> None:
    heap = cloud.Heap()
    heap.document = {"version": 1, "pages": page}
    both = Both(heap)
    assert both.source.rest is not None
    async with both.running():
        await both.hear(reading(1.0, timestamp=at(10)))
    assert both.values == [1.0]
    assert not len(both.source.rest.backfilled)


def ms(seconds: float) -> int:
    return milliseconds(at(seconds)) or 0


def told_of(both: Both) -> Any:
    return both.at.heap.document["pages"]["told"]
