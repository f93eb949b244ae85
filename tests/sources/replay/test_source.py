"""The source on a virtual clock: spacing, times, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import NotConnected
from bridge.model.event import Event
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.ports import Published
from bridge.sources.replay.config import ReplayConfig
from bridge.sources.replay.source import ReplaySource
from bridge.transport.clock import VirtualClock
from tests.sources.replay.records import BEGAN, observed, written

ITEMS = [
    (0.0, Inventory("panel", (FoundMachine("1/7/1", {"vendor": 1, "machine": 7}),))),
    (0.0, observed(-3600, {"mode": "Standby"})),
    (1.0, observed(1.0, {"n": 1}, requested_at=0.8, period=0.5)),
    (1.0, observed(1.0, {"n": 1}, source="other")),
    (3.0, observed(3.0, {"n": 2})),
    (4.0, Condition("panel", StatusCode.BadDeviceFailure, "Gone", BEGAN + timedelta(seconds=4), "1/7/1")),
    (5.0, Event("e-1", "Notice", BEGAN + timedelta(seconds=5), "Look", 500, "panel", "1/7/1")),
    (10.0, Reading("panel", "Profile", "3.x", BEGAN + timedelta(seconds=10))),
]


class Play:
    def __init__(self, clock: VirtualClock, source: ReplaySource) -> None:
        self.clock = clock
        self.source = source
        self.heard: list[tuple[float, Published]] = []
        self.readings: dict[str, Any] = {}
        self.error: BaseException | None = None

    def publish(self, item: Published) -> None:
        if isinstance(item, Reading) and item.name in ("Position", "Items", "Progress", "Ended"):
            self.readings[item.name] = item.value
        else:
            self.heard.append((round(self.clock.monotonic(), 2), item))

    async def wait(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    def kinds(self) -> list[tuple[float, str]]:
        return [(at, type(item).__name__) for at, item in self.heard]


def _cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-12])


@asynccontextmanager
async def playing(file: Path, **options: Any) -> AsyncIterator[Play]:
    clock = VirtualClock()
    config = ReplayConfig(type="replay", file=str(file), **{"of": "panel", **options})
    play = Play(clock, ReplaySource("again", config, clock))
    task = asyncio.create_task(play.source.run(play.publish))
    async with asyncio.timeout(30):
        while not play.readings and not task.done():  # noqa: ASYNC110 - the file is measured in a thread
            await asyncio.sleep(0.005)
    try:
        yield play
    finally:
        task.cancel()
        [play.error] = await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "a.gz", ITEMS, sources={"panel": "qitech", "other": "qitech"})


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
async def test_items_come_with_the_spacing_they_had(file: Path, speed: float) -> None:
    async with playing(file, speed=speed) as play:
        await play.wait(30)
    kinds = ["Inventory", "Observation", "Observation", "Observation", "Condition", "Event", "Reading"]
    times = [0.0, 0.0, 1.0, 3.0, 4.0, 5.0, 10.0]
    assert play.kinds() == [(pytest.approx(at / speed, abs=0.01), kind) for at, kind in zip(times, kinds, strict=True)]
    assert all(item.source == "again" for _, item in play.heard)
    assert play.readings == {"Position": 10.0, "Items": 7, "Progress": 100.0, "Ended": True}


async def test_as_fast_as_possible_needs_no_time(file: Path) -> None:
    async with playing(file, speed=0) as play:
        await play.wait(0)
        assert [at for at, _ in play.heard] == [0.0] * 7
        assert play.readings["Ended"] is True


async def test_times_keep_their_distance(file: Path) -> None:
    async with playing(file) as play:
        start = play.clock.now()
        await play.wait(30)
    old, first, second = (item for _, item in play.heard if isinstance(item, Observation))
    assert old.received == start - timedelta(hours=1)
    assert first.received == start + timedelta(seconds=1)
    assert first.source_time == start - timedelta(seconds=1)
    assert second.received - first.received == timedelta(seconds=2)
    assert (first.requested_at, first.period) == (pytest.approx(0.8), 0.5)
    condition, event = play.heard[4][1], play.heard[5][1]
    assert isinstance(condition, Condition)
    assert isinstance(event, Event)
    assert condition.since == start + timedelta(seconds=4)
    assert event.time == start + timedelta(seconds=5)


async def test_at_another_speed_nothing_is_from_the_future_and_periods_follow(file: Path) -> None:
    async with playing(file, speed=10.0) as play:
        start = play.clock.now()
        await play.wait(30)
    _, first, _ = (item for _, item in play.heard if isinstance(item, Observation))
    assert first.received == start + timedelta(seconds=0.1)
    assert first.source_time == first.received - timedelta(seconds=2)
    assert first.period == 0.05


async def test_a_loop_begins_again_with_events_of_its_own(file: Path) -> None:
    async with playing(file, loop=True) as play:
        await play.wait(26)
    events = [item for _, item in play.heard if isinstance(item, Event)]
    assert len({event.id for event in events}) == len(events) == 3
    assert [at for at, kind in play.kinds() if kind == "Inventory"] == [
        0.0,
        pytest.approx(10, abs=0.05),
        pytest.approx(20, abs=0.05),
    ]


async def test_progress_is_told_while_nothing_comes(file: Path) -> None:
    async with playing(file) as play:
        await play.wait(7)
        assert play.readings["Progress"] == pytest.approx(70, abs=6)
        assert play.readings["Ended"] is False


@pytest.mark.parametrize(
    ("options", "words", "advice"),
    [
        ({"of": None}, "has several sources", "panel, other"),
        ({"of": "panle"}, "has no source panle", "It has panel, other"),
    ],
)
async def test_a_source_that_is_not_there_is_said_so(file: Path, options: Any, words: str, advice: str) -> None:
    async with playing(file, **options) as play:
        await play.wait(1)
    assert isinstance(play.error, NotConnected)
    assert words in str(play.error)
    assert advice in play.error.advice


async def test_a_missing_file_is_said_so_and_read_when_it_is_there(tmp_path: Path) -> None:
    async with playing(tmp_path / "a.gz") as play:
        await play.wait(1)
    assert isinstance(play.error, NotConnected)
    assert str(play.error) == f"{tmp_path / 'a.gz'} cannot be read: No such file or directory"
    written(tmp_path / "a.gz", ITEMS)
    async with playing(tmp_path / "a.gz") as play:
        await play.wait(1)
    assert play.heard


async def test_damage_is_named_with_its_line_and_what_stands_before_it_is_played_once(file: Path) -> None:
    _cut_off(file)
    clock = VirtualClock()
    play = Play(clock, ReplaySource("again", ReplayConfig(type="replay", file=str(file), of="panel", speed=0), clock))
    for _ in range(3):
        with pytest.raises(NotConnected, match=rf"{file}, line \d+: the file was cut off here"):
            await play.source.run(play.publish)
    assert len(play.heard) == len({id(item) for _, item in play.heard}) <= 7
    assert play.kinds()[:3] == [(0.0, "Inventory"), (0.0, "Observation"), (0.0, "Observation")]
    written(file, ITEMS)
    before = len(play.heard)
    task = asyncio.create_task(play.source.run(play.publish))
    async with asyncio.timeout(30):
        while play.readings["Ended"] is not True:  # noqa: ASYNC110 - a thread measures the file
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(play.heard) == before + 7


async def test_a_record_of_a_replay_does_not_speak_for_this_one(tmp_path: Path) -> None:
    reading = Reading("panel", "Ended", True, BEGAN)
    async with playing(written(tmp_path / "a.gz", [(0.0, reading), (9.0, replace(reading, name="X"))])) as play:
        await play.wait(1)
        assert play.readings["Ended"] is False


async def test_a_machine_that_never_was_does_not_overflow(tmp_path: Path) -> None:
    never = replace(observed(0.0, 1), source_time=BEGAN.replace(year=1, month=1, day=1))
    async with playing(written(tmp_path / "a.gz", [(0.0, never)])) as play:
        await play.wait(1)
    assert len(play.heard) == 1
