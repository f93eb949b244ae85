"""Faults before, during and after the vendor's commit, and kills: one step event or a dead letter, never two."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.flow.crash import both
from tests.flow.steps import WAYS, Chain, Tally, chain


@pytest.mark.timeout(300)
async def test_whatever_fails_a_step_is_booked_once_or_left_to_a_person(tmp_path: Path) -> None:
    tally = Tally()
    await _soaked(tmp_path, 3, 16, tally)
    assert tally.outcomes["confirmed"] > 0, tally.told()
    assert tally.kills, tally.told()


async def _soaked(folder: Path, seed: int, schedules: int, total: Tally) -> None:
    """Chains side by side, one for each way of the bridge and the vendor."""
    async with AsyncExitStack() as stack:
        work = []
        for way in range(len(WAYS)):
            one = await stack.enter_async_context(chain(folder / str(way), f"{seed}/{way}", way, total))
            work.append(_soak(one, schedules // len(WAYS) + (way < schedules % len(WAYS)), total))
        await both(*work)


async def _soak(one: Chain, schedules: int, total: Tally) -> None:
    for _ in range(schedules):
        await one.schedule()
        if total.schedules % 50 == 0:
            print(f"{total.schedules} schedules", flush=True)
    one.check_all()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a bridge that is killed closes nothing
async def test_a_thousand_schedules_book_a_step_once_or_leave_it_to_a_person(
    tmp_path: Path, seed: int, schedules: int, capsys: pytest.CaptureFixture[str]
) -> None:
    total = Tally()
    with capsys.disabled():
        print(f"\nseed {seed}: repeat with --seed {seed} --schedules {schedules}")
        try:
            await _soaked(tmp_path, seed, schedules, total)
        finally:
            print(total.told())
