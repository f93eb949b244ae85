"""The recorder: nothing while nobody asks, a whole beginning, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import NotRecordable
from bridge.model.observation import Condition, FoundMachine, Inventory, Observation, Reading
from bridge.model.status import StatusCode
from bridge.ports import RecordingWish
from bridge.runtime import recorder as room
from bridge.runtime.recorder import Recorder
from bridge.sources.replay.record import Entry, Gap, Header, Line, read_header, read_line
from tests.runtime.test_plant_keeper import LIVE, STATE, House

FOUND = FoundMachine("1/7/9", {"vendor": 1, "machine": 7, "serial": 9, "slug": "mock"})


class Listener:
    def __init__(self, house: House, lines: AsyncGenerator[bytes, None]) -> None:
        self._house = house
        self._lines = lines
        self.header: Header
        self.read: list[Line] = []

    async def next(self) -> None:
        """Take the next portion, letting time pass for it."""
        waiting = asyncio.ensure_future(anext(self._lines))
        while not waiting.done():
            await self._house.clock.advance(0.25)
        for line in filter(None, (await waiting).split(b"\n")):
            if hasattr(self, "header"):
                self.read.append(read_line(line))
            else:
                self.header = read_header(line)

    def items(self) -> list[Any]:
        return [line.item for line in self.read if isinstance(line, Entry)]


@asynccontextmanager
async def recording(house: House, wish: RecordingWish | None = None) -> AsyncIterator[Listener]:
    recorder = Recorder(house.keeper, house.clock, "abc", frozenset({"adm1n-t0ken"}))
    lines = recorder.lines(wish or RecordingWish())
    listener = Listener(house, lines)
    await listener.next()
    await listener.next()
    try:
        yield listener
    finally:
        await lines.aclose()
        assert house.keeper.recorded is None


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_nothing_is_told_to_anybody_before_the_first_line_is_asked_for(house: House) -> None:
    recorder = Recorder(house.keeper, house.clock, "abc", frozenset())
    lines = recorder.lines(RecordingWish())
    assert house.keeper.recorded is None
    await anext(lines)
    assert house.keeper.recorded is not None
    await lines.aclose()
    assert house.keeper.recorded is None


async def test_it_begins_with_all_that_is_known(house: House) -> None:
    house.keeper.publish(Inventory("panel", (FOUND,)))
    house.keeper.publish(Reading("panel", "Profile", "3.x", house.clock.now()))
    house.observe("state", {"old": 1})
    house.observe("live_values", LIVE)
    await house.wait(1)
    house.observe("state", STATE)
    house.keeper.publish(
        Condition(
            "other", StatusCode.BadConfigurationError, "Refused: adm1n-t0ken", house.clock.now(), "1/7/2", None, "Ask"
        )
    )
    async with recording(house) as listener:
        header, items = listener.header, listener.items()
    assert header.sources == {"panel": "qitech", "other": "qitech"}
    assert {(part.machine, part.key, part.mapping) for part in header.machines} == {
        ("mock-1", "1/7/1", "qitech/mock"),
        ("mock-2", "1/7/2", "qitech/mock"),
        ("panel-mock-9", "1/7/9", "qitech/mock"),
    }
    assert Inventory("panel", (FOUND,)) in items
    assert [(item.name, item.value) for item in items if isinstance(item, Reading)] == [("Profile", "3.x")]
    observed = [(item.channel, item.payload) for item in items if isinstance(item, Observation)]
    assert observed == [("live_values", LIVE), ("state", STATE)]
    [lost] = [item for item in items if isinstance(item, Condition)]
    assert (lost.machine, lost.status, lost.reason) == ("1/7/2", StatusCode.BadConfigurationError, "Refused: ***")
    assert all(line.at == 0 for line in listener.read)


async def test_what_comes_then_has_its_moment(house: House) -> None:
    began = house.clock.monotonic()
    async with recording(house) as listener:
        listener.read.clear()
        await house.clock.advance(2)
        house.observe("state", STATE)
        published = house.clock.monotonic() - began
        await listener.next()
        [entry] = listener.read
    assert entry.at == pytest.approx(published, abs=0.3)
    assert isinstance(entry, Entry)
    assert isinstance(entry.item, Observation)


async def test_a_slow_reader_is_told_how_much_it_missed_and_where(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "QUEUE", 5)
    async with recording(house) as listener:
        listener.read.clear()
        for number in range(12):
            house.observe("state", {"n": number})
        await listener.next()
        house.observe("state", {"n": 12})
        await listener.next()
    told = [line.item.payload["n"] if isinstance(line, Entry) else line for line in listener.read]  # type: ignore[union-attr]
    assert told[:5] == [0, 1, 2, 3, 4]
    gap = told[5]
    assert isinstance(gap, Gap)
    assert (gap.dropped, gap.why) == (7, "the reader was too slow")
    assert told[6:] == [12]


async def test_only_what_was_asked_for(house: House) -> None:
    for wish in (RecordingWish(sources=("other",)), RecordingWish(machines=("mock-2",))):
        async with recording(house, wish) as listener:
            house.observe("state", STATE)
            house.observe("state", {"mine": 1}, "1/7/2", "other")
            house.keeper.publish(Inventory("other", (FOUND, FoundMachine("1/7/2", {"vendor": 1}))))
            await listener.next()
        observed = [item.payload for item in listener.items() if isinstance(item, Observation)]
        assert [payload for payload in observed if payload != {"mine": 1}] == []
        assert observed
        assert {part.machine for part in listener.header.machines} == {"mock-2"}
        keys = {found.key for item in listener.items() if isinstance(item, Inventory) for found in item.appeared}
        assert keys == ({"1/7/2"} if wish.machines else {"1/7/2", "1/7/9"})


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (RecordingWish(sources=("panle",)), "no source 'panle'; there is other, panel; did you mean \"panel\"?"),
        (RecordingWish(machines=("mock-3",)), "no machine 'mock-3'; there is mock-1, mock-2"),
    ],
)
def test_names_that_are_not_there_are_refused_at_once(house: House, wish: RecordingWish, words: str) -> None:
    with pytest.raises(NotRecordable) as refused:
        Recorder(house.keeper, house.clock, "abc", frozenset()).lines(wish)
    assert words in str(refused.value)


async def test_there_are_only_so_many(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_RECORDINGS", 1)
    recorder = Recorder(house.keeper, house.clock, "abc", frozenset())
    first = recorder.lines(RecordingWish())
    await anext(first)
    with pytest.raises(NotRecordable, match="1 recordings are under way already"):
        recorder.lines(RecordingWish())
    await first.aclose()
    await recorder.lines(RecordingWish()).aclose()


async def test_a_changed_configuration_ends_it(house: House, tmp_path: Path) -> None:
    async with recording(house) as listener:
        from tests.sites import make_site

        house.keeper.site = make_site(tmp_path)
        with pytest.raises(StopAsyncIteration):
            while True:
                await listener.next()
    assert isinstance(listener.read[-1], Gap)
    assert "the configuration was changed" in listener.read[-1].why
