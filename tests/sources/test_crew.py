"""One task per machine."""

from __future__ import annotations

import asyncio

from bridge.sources._crew import Crew, Work


class Floor:
    """Who works, and whether two ever worked on one machine."""

    def __init__(self) -> None:
        self.at_work: list[str] = []
        self.begun: list[str] = []
        self.leave = asyncio.Event()
        self.leave.set()

    def work(self, key: str) -> Work:
        async def run() -> None:
            assert key not in self.at_work
            self.at_work.append(key)
            self.begun.append(key)
            try:
                await asyncio.Event().wait()
            finally:
                await self.leave.wait()
                self.at_work.remove(key)

        return run

    def works(self, keys: str) -> dict[str, Work]:
        return {key: self.work(key) for key in keys}


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_machines_come_and_go_and_the_others_are_not_disturbed() -> None:
    floor = Floor()
    async with asyncio.TaskGroup() as group:
        crew = Crew(group, "qitech")
        for keys in ("ab", "bc", ""):
            crew.muster(floor.works(keys))
            await turns()
            assert sorted(floor.at_work) == list(keys)
            assert len(crew) == len(keys)
    assert floor.begun.count("b") == 1


async def test_machine_that_returns_waits_until_its_earlier_task_has_left() -> None:
    floor = Floor()
    async with asyncio.TaskGroup() as group:
        crew = Crew(group, "qitech")
        crew.muster(floor.works("a"))
        await turns()
        floor.leave.clear()
        crew.muster({})
        crew.muster(floor.works("a"))
        await turns()
        assert floor.begun == ["a"]
        floor.leave.set()
        await turns()
        assert floor.begun == ["a", "a"]
        crew.muster({})
