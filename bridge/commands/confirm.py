"""Confirmation: does the machine read what was asked? Decided on raw observations made after the send.

Rules
1. An observation that was asked for counts only if it was asked for after the send; a pushed one counts when it
   arrives after the send.
2. What was asked for reads back: confirmed, at once. A number or a set point that is asked for and reads a third
   value: changed, at once; one that is pushed may have been on its way, and counts when the window closes. A command's
   words and switches may pass through others on their way: they are waited for.
3. What has no lasting effect (homing, zeroing) may have read so before: then it counts only once it read otherwise.
4. The old value after the send proves nothing at once (an event may have been on its way); if it is still so when the
   window closes and the machine has *announced* it, the machine refused; if it was only polled, or nothing came,
   the outcome is unknown.
5. A sample is told when its vendor likes: the old value, or a third one, may have been read before the send. Only what
   was asked for is proof.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.model.payload_path import MISSING, getter, parse_path

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from bridge.model.action import Action, Expectation
    from bridge.model.observation import Observation
    from bridge.model.value import Value

TOLERANCE = 1e-6
"""Relative, and absolute near 0: panels convert units on the way (facts/qitech.md section 5)."""


class Reading(Enum):
    """What the readback says."""

    CONFIRMED = "confirmed"
    CHANGED = "changed"
    REFUSED = "refused"
    AS_BEFORE = "as before"
    """What was asked for, as before: it does not show whether anything was done."""
    UNKNOWN = "unknown"


class Verdict(NamedTuple):
    """What the readback says, and what is read where it differs."""

    reading: Reading
    actual: Value = None


class Confirmation:
    """Watches one machine's observations for what one action should change."""

    def __init__(self, action: Action, old: Callable[[Expectation], Value], *, is_set_point: bool) -> None:
        """`old` gives what a field read before; None where that is not known."""
        self._action = action
        self._olds = {expectation.path: old(expectation) for expectation in _expectations(action)}
        self._is_set_point = is_set_point
        self._standing = [one for one in action.confirm if not action.absolute and self._held_before(one)]
        self._payloads: dict[str, Any] = {}
        self._sent_at: float | None = None
        self._announced_old: Value = None
        self._announced_other: Value = None
        self._read: Value = None
        self._decided: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

    def sent(self, now: float) -> None:
        """The action leaves now (monotonic): only what comes after this counts."""
        self._sent_at = now
        self._payloads.clear()
        self._announced_old = self._announced_other = None

    def see(self, observation: Observation) -> None:
        """An observation of the machine."""
        if self._sent_at is None or self._decided.done() or observation.historical:
            return
        if observation.requested_at is not None and observation.requested_at < self._sent_at:
            return
        self._payloads[observation.channel] = observation.payload
        holding = [one for one in self._action.confirm if all(map(self._holds, one))]
        self._standing = [one for one in self._standing if one in holding or not self._is_told(one)]
        if any(one not in self._standing for one in holding):
            self._decided.set_result(Verdict(Reading.CONFIRMED))
        else:
            self._look_at_others(observation)

    def _look_at_others(self, observation: Observation) -> None:
        """What does not read as asked: still the old value, or a third one?"""
        for expectation in _expectations(self._action):
            if parse_path(expectation.path).channel != observation.channel or self._holds(expectation):
                continue
            actual, old = read_path(self._payloads, expectation.path), self._olds[expectation.path]
            if actual is None:
                continue
            self._read = actual
            if expectation.is_sampled:
                continue
            if not (self._is_set_point or _is_number(expectation.value)):
                continue
            self._announced_other = None
            if same(actual, old):
                self._announced_old = actual if observation.requested_at is None else self._announced_old
            elif old is not None and observation.requested_at is not None:
                self._decided.set_result(Verdict(Reading.CHANGED, actual))
            elif old is not None:
                self._announced_other = actual
            return

    def _held_before(self, alternative: tuple[Expectation, ...]) -> bool:
        return all(same(self._olds[expectation.path], expectation.value) for expectation in alternative)

    def _is_told(self, alternative: tuple[Expectation, ...]) -> bool:
        return all(read_path(self._payloads, expectation.path) is not None for expectation in alternative)

    def _holds(self, expectation: Expectation) -> bool:
        return same(read_path(self._payloads, expectation.path), expectation.value)

    async def wait(self, seconds: float) -> Verdict | None:
        """The verdict, if it comes within this time."""
        done, _ = await asyncio.wait([self._decided], timeout=seconds)
        return self._decided.result() if done else None

    async def during(self, asking: Coroutine[Any, Any, None], seconds: float) -> Verdict | None:
        """The verdict, if it comes while a read that was asked for goes on; that is given up after this time."""
        read = asyncio.create_task(asking, name="desk: refresh")
        both: list[asyncio.Future[Any]] = [self._decided, read]
        try:
            await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            read.cancel()
        failure = read.exception() if read.done() and not read.cancelled() else None
        if self._decided.done():
            return self._decided.result()
        if failure is not None:
            raise failure
        return None

    def at_the_end(self) -> Verdict:
        """What to make of it when the window closes without a decision."""
        if self._decided.done():
            return self._decided.result()
        if any(all(map(self._holds, one)) for one in self._standing):
            return Verdict(Reading.AS_BEFORE)
        if self._announced_other is not None:
            return Verdict(Reading.CHANGED, self._announced_other)
        if self._announced_old is not None:
            return Verdict(Reading.REFUSED, self._announced_old)
        return Verdict(Reading.UNKNOWN, self._read)


def _expectations(action: Action) -> Iterator[Expectation]:
    for alternative in action.confirm:
        yield from alternative


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_path(payloads: dict[str, Any], path: str) -> Any:
    """What a payload path ("state.heating_states.front.target_temperature") leads to; None where nowhere."""
    channel, keys = parse_path(path)
    found = getter(keys)(payloads.get(channel))
    return None if found is MISSING else found


def same(actual: Any, wanted: Any) -> bool:
    """Equal within the tolerance; a Boolean equals Booleans only."""
    if isinstance(actual, bool) or isinstance(wanted, bool):
        return actual is wanted
    if isinstance(actual, int | float) and isinstance(wanted, int | float):
        return abs(actual - wanted) <= TOLERANCE * max(1.0, abs(wanted))
    return bool(actual == wanted)
