"""Readback: what a machine says after a command, compared with what it should say. No I/O."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

from bridge.model.payload_path import MISSING, Path, getter, parse_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.model.action import Expectation
    from bridge.model.observation import Observation
    from bridge.model.value import Value

TOLERANCE: Final = 1e-6
"""Relative, and absolute near 0: a panel converts units there and back (12.3 rpm reads 12.300000000000002)."""


def agrees(actual: Any, expected: Value) -> bool:
    """The machine reads what was asked; a Boolean is never a number."""
    if isinstance(actual, bool) or isinstance(expected, bool):
        return actual is expected
    if isinstance(actual, int | float) and isinstance(expected, int | float):
        return math.isclose(actual, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(actual) is type(expected) and actual == expected


class Readback:
    """Waits for what a machine reads, channel by channel, and judges it.

    `confirm` lists alternatives, as in an Action. Only what `see` is shown after the last `forget` counts.
    """

    def __init__(self, machine: str, confirm: Sequence[Sequence[Expectation]]) -> None:
        self.machine = machine
        self._alternatives = [
            [(parse_path(wanted.path), wanted.value) for wanted in all_of] for all_of in confirm if all_of
        ]
        self._channels = {path.channel for all_of in self._alternatives for path, _ in all_of}
        self._payloads: dict[str, Any] = {}
        self._is_armed = False
        self.settled = asyncio.Event()
        """It is confirmed, or every channel it depends on was seen."""

    def forget(self) -> None:
        """What comes from now on is newer than the command."""
        self._is_armed = True
        self._payloads.clear()

    def see(self, observation: Observation) -> None:
        """Take a machine's observation in."""
        if not self._is_armed or observation.machine != self.machine or self.settled.is_set():
            return
        self._payloads[observation.channel] = observation.payload
        if self.is_confirmed or self._channels <= self._payloads.keys():
            self.settled.set()

    @property
    def is_confirmed(self) -> bool:
        """One alternative is met in full."""
        return any(all(self._meets(path, value) for path, value in all_of) for all_of in self._alternatives)

    @property
    def is_refuted(self) -> bool:
        """Every alternative has something that reads otherwise."""
        return bool(self._alternatives) and all(
            any(self._reads_otherwise(path, value) for path, value in all_of) for all_of in self._alternatives
        )

    @property
    def actual(self) -> Value:
        """What reads otherwise than the first alternative wants; None where nothing does, or it is no scalar."""
        for path, value in self._alternatives[0] if self._alternatives else ():
            if self._reads_otherwise(path, value):
                found = self._read(path)
                return found if isinstance(found, bool | int | float | str) else None
        return None

    def _read(self, path: Path) -> Any:
        return getter(path.keys)(self._payloads.get(path.channel, MISSING))

    def _reads_otherwise(self, path: Path, value: Value) -> bool:
        return self._read(path) is not MISSING and not self._meets(path, value)

    def _meets(self, path: Path, value: Value) -> bool:
        return agrees(self._read(path), value)
