"""Waiting for something, but not for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.ports import Clock


async def within(clock: Clock, seconds: float, awaited: asyncio.Future[Any]) -> bool:
    """Wait for a task or future at most so many seconds of the clock; says whether it is done. Never cancels it."""
    alarm = asyncio.ensure_future(clock.sleep(max(0.0, seconds)))
    try:
        await asyncio.wait({awaited, alarm}, return_when=asyncio.FIRST_COMPLETED)
        return awaited.done()
    finally:
        alarm.cancel()
