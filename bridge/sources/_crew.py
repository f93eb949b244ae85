"""Crew: one task per machine, started and stopped as machines come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Work = Callable[[], Coroutine[Any, Any, None]]
"""Makes a machine's endless work."""


class Crew:
    """The tasks of the machines that are there now; all of them children of one group, named for what they do."""

    def __init__(self, group: asyncio.TaskGroup, name: str) -> None:
        self._group = group
        self._name = name
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def muster(self, work: dict[str, Work]) -> None:
        """Make it so that exactly these machines are worked on; those already at work go on undisturbed."""
        for key in self._tasks.keys() - work.keys():
            self.dismiss(key)
        for key in work.keys() - self._tasks.keys():
            work_after = self._after(self._leaving.pop(key, None), work[key])
            self._tasks[key] = self._group.create_task(work_after, name=f"{self._name} {key}")

    def dismiss(self, key: str) -> None:
        """Stop working on a machine."""
        task = self._tasks.pop(key)
        task.cancel()
        self._leaving[key] = task
        task.add_done_callback(lambda done: self._left(key, done))

    def _left(self, key: str, task: asyncio.Task[None]) -> None:
        if self._leaving.get(key) is task:
            del self._leaving[key]

    async def _after(self, earlier: asyncio.Task[None] | None, work: Work) -> None:
        """Wait until the machine's earlier task has left, then work: never two for one machine."""
        if earlier is not None:
            await asyncio.wait({earlier})
        await work()
