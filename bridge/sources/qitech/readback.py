"""Readback: what a machine says after a command, compared with what it should say. No I/O."""

from __future__ import annotations

import asyncio
import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.model.action import Expectation
    from bridge.model.observation import Observation
    from bridge.model.value import Value

TOLERANCE: Final = 1e-6
"""Relative, and absolute near 0: a panel converts units there and back (12.3 rpm reads 12.300000000000002)."""

_STEP: Final = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\['([^']*)'\]")


def agrees(actual: Any, expected: Value) -> bool:
    """The machine reads what was asked; a Boolean is never a number."""
    if isinstance(actual, bool) or isinstance(expected, bool):
        return actual is expected
    if isinstance(actual, int | float) and isinstance(expected, int | float):
        return math.isclose(actual, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(actual) is type(expected) and actual == expected


def keys_of(path: str) -> list[str | int]:
    """The steps of a path: "state.outputs[3]" is ["state", "outputs", 3]; the first one is the channel."""
    steps = (match.groups() for match in _STEP.finditer(path))
    return [int(index) if index is not None else name if name is not None else quoted for name, index, quoted in steps]


def value_at(payloads: Any, keys: list[str | int]) -> Any:
    """What a path leads to. Raises LookupError where it leads nowhere."""
    for key in keys:
        try:
            payloads = payloads[key]
        except TypeError as error:
            raise LookupError(key) from error
    return payloads


class Readback:
    """Waits for what a machine reads, channel by channel, and judges it.

    `confirm` lists alternatives, as in an Action. Only what `see` is shown after the last `forget` counts.
    """

    def __init__(self, machine: str, confirm: Sequence[Sequence[Expectation]]) -> None:
        self.machine = machine
        self._alternatives = [
            [(keys_of(wanted.path), wanted.value) for wanted in all_of] for all_of in confirm if all_of
        ]
        self._channels = {keys[0] for all_of in self._alternatives for keys, _ in all_of if keys}
        self._payloads: dict[str | int, Any] = {}
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
        return any(all(self._meets(keys, value) for keys, value in all_of) for all_of in self._alternatives)

    @property
    def is_refuted(self) -> bool:
        """Every alternative has something that reads otherwise."""
        return bool(self._alternatives) and all(
            any(self._is_there(keys) and not self._meets(keys, value) for keys, value in all_of)
            for all_of in self._alternatives
        )

    @property
    def actual(self) -> Value:
        """What reads otherwise than the first alternative wants; None where nothing does, or it is no scalar."""
        for keys, value in self._alternatives[0] if self._alternatives else ():
            if self._is_there(keys) and not self._meets(keys, value):
                found = value_at(self._payloads, keys)
                return found if isinstance(found, bool | int | float | str) else None
        return None

    def _is_there(self, keys: list[str | int]) -> bool:
        try:
            value_at(self._payloads, keys)
        except LookupError:
            return False
        return True

    def _meets(self, keys: list[str | int], value: Value) -> bool:
        try:
            return agrees(value_at(self._payloads, keys), value)
        except LookupError:
            return False
