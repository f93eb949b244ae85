"""IotisticaExecutor: which half carries out a command, by what its payload says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bridge.model.command import Outcome, Result
from bridge.model.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.model.action import Action


class Part(Protocol):
    """Carries out one kind of payload (see `bridge.ports.Executor`)."""

    def validate(self, action: Action) -> str | None:
        """Why this action must not be sent, or None."""

    async def execute(self, action: Action, deadline: float) -> Outcome:
        """Do it once."""

    async def refresh(self, machine: str) -> None:
        """Have its state told soon."""

    def can_reconcile(self, action: Action) -> bool:
        """Whether what became of it can be found out."""

    async def reconcile(self, action: Action) -> Outcome:
        """Find out what became of it."""


class IotisticaExecutor:
    """Commands to one installation (see `bridge.ports.Executor`).

    Args:
        parts: who carries out which payload, by its only key.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = parts

    def validate(self, action: Action) -> str | None:
        """Why this action must not be sent, or None. Pure."""
        part = self._part(action)
        return self._nobody(action) if part is None else part.validate(action)

    async def execute(self, action: Action, deadline: float) -> Outcome:
        """Do it once."""
        part = self._part(action)
        if part is None:
            return Outcome(Result.REJECTED, StatusCode.BadNotSupported, self._nobody(action))
        return await part.execute(action, deadline)

    async def refresh(self, machine: str) -> None:
        """Have a machine's state told soon."""
        for part in dict.fromkeys(self._parts.values()):
            await part.refresh(machine)

    def can_reconcile(self, action: Action) -> bool:
        """Whether what became of it can be found out. Pure."""
        part = self._part(action)
        return part is not None and part.can_reconcile(action)

    async def reconcile(self, action: Action) -> Outcome:
        """Find out what became of it."""
        part = self._part(action)
        if part is None:
            return Outcome(Result.UNKNOWN, StatusCode.BadTimeout, self._nobody(action))
        return await part.reconcile(action)

    def _part(self, action: Action) -> Part | None:
        payload = action.payload
        return self._parts.get(next(iter(payload))) if isinstance(payload, dict) and len(payload) == 1 else None

    def _nobody(self, action: Action) -> str:
        payload = action.payload
        keys = ", ".join(map(str, payload)) if isinstance(payload, dict) else "nothing"
        known = ", ".join(self._parts) or "nothing: it has no mqtt and no rest that takes commands"
        return f"This source has no way to do {keys[:100]}; it does {known}"
