"""The desk while it is closed: every command is answered, at once, that none are taken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.model.command import Command, Outcome, Result
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bridge.ports import Submit

CLOSED = Outcome(Result.REJECTED, StatusCode.BadNotWritable, "This bridge takes no commands")


class _Refused:
    """The ticket of a command that nobody will carry out."""

    @property
    def accepted(self) -> Awaitable[Outcome | None]:
        """The refusal."""
        return self.result

    @property
    def result(self) -> Awaitable[Outcome]:
        """The refusal."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        answer.set_result(CLOSED)
        return answer


def closed_desk() -> Submit:
    """A `Submit` that rejects everything."""

    def submit(command: Command) -> _Refused:
        return _Refused()

    return submit
