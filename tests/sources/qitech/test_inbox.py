"""Events between the socket and the house."""

from __future__ import annotations

import asyncio

import pytest

from bridge.errors import NotConnected
from bridge.sources.qitech.inbox import Inbox
from bridge.sources.qitech.payloads import Envelope


def live(number: int) -> Envelope:
    return Envelope("LiveValuesEvent", {"n": number}, number)


def state(number: int) -> Envelope:
    return Envelope("StateEvent", {"n": number}, number)


async def test_newest_live_values_win_and_every_state_stays() -> None:
    inbox = Inbox()
    for event in (live(1), state(2), live(3), state(4), live(5)):
        await inbox.put(event)
    assert await inbox.take() == [state(2), state(4), live(5)]
    assert inbox.merged_total == 2


async def test_reader_waits_for_the_next_event() -> None:
    inbox = Inbox()
    reader = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    assert not reader.done()
    await inbox.put(live(1))
    assert await reader == [live(1)]


async def test_full_inbox_holds_the_writer_back_and_loses_no_state() -> None:
    inbox = Inbox(limit=2)

    async def write() -> None:
        for number in range(5):
            await inbox.put(state(number))

    writer = asyncio.create_task(write())
    await asyncio.sleep(0.01)
    assert len(inbox) == 2
    seen: list[Envelope] = []
    while len(seen) < 5:
        seen += await inbox.take()
    await writer
    assert seen == [state(number) for number in range(5)]


async def test_what_came_before_the_end_is_read_then_the_end_is_told() -> None:
    inbox = Inbox()
    await inbox.put(state(1))
    inbox.end(NotConnected("broke"))
    inbox.end(NotConnected("broke again"))
    assert await inbox.take() == [state(1)]
    with pytest.raises(NotConnected, match=r"^broke$"):
        await inbox.take()
