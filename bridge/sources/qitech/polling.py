"""Polling: one machine of a 2.x panel, read by GET at an even pace, and at once when somebody rings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bridge.errors import NotConnected, ProtocolError
from bridge.model.status import StatusCode
from bridge.sources._poll import Backoff, Pace
from bridge.sources._waiting import within
from bridge.sources.qitech.client import MachineRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.ports import Clock
    from bridge.sources.qitech.client import PanelClient, Polled
    from bridge.sources.qitech.payloads import ListedMachine
    from bridge.sources.qitech.report import Report


BREATH: Final = 0.02
"""Seconds between the beginnings of two reads, however often somebody rings."""


class Bell:
    """How others ask a poll for a read before it is due. The poll does the reading: never two at once."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._waiting: list[tuple[asyncio.Future[None], Callable[[], None]]] = []
        self._served: list[asyncio.Future[None]] = []

    async def renew(self, begins: Callable[[], None]) -> None:
        """Have the machine read; returns once what was read is published, or could not be read.

        `begins` is called when that read begins: what is published from then on is newer than the call.
        """
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, begins))
        self._rung.set()
        await answer

    def heard(self) -> None:
        """A read begins now, which serves whoever has rung."""
        for answer, begins in self._waiting:
            begins()
            self._served.append(answer)
        self._waiting.clear()
        self._rung.clear()

    def answered(self) -> None:
        """That read is over."""
        for answer in self._served:
            if not answer.done():
                answer.set_result(None)
        self._served.clear()

    async def rest(self, seconds: float, clock: Clock) -> bool:
        """Wait for so long, or until somebody rings, which it says."""
        if self._rung.is_set():
            return True
        ringing = asyncio.ensure_future(self._rung.wait())
        try:
            return await within(clock, seconds, ringing)
        finally:
            ringing.cancel()

    def silence(self) -> None:
        """There will be no more reads: let everybody go."""
        self._served += [answer for answer, _ in self._waiting]
        self._waiting.clear()
        self.answered()


async def poll(
    machine: ListedMachine, client: PanelClient, report: Report, clock: Clock, period: float, bell: Bell | None = None
) -> None:
    """Read a machine every `period` seconds, and whenever the bell rings, until cancelled.

    Raises NotConnected or AuthFailed when the panel is gone; what is wrong with this machine alone is reported.
    """
    bell = bell or Bell()
    try:
        await _poll(machine, client, report, clock, Pace(period, clock), bell)
    finally:
        bell.silence()


async def _poll(
    machine: ListedMachine, client: PanelClient, report: Report, clock: Clock, pace: Pace, bell: Bell
) -> None:
    backoff, is_rung = Backoff(), False
    while True:
        if not is_rung:  # a read that somebody asked for is one more: the even ones keep their times
            pace.began()
        began = clock.monotonic()
        bell.heard()
        polled = await _read(machine, client, report, clock)
        if polled is not None:
            backoff.reset()
            _publish(machine.identity.key, polled, report, clock, pace.effective)
        bell.answered()
        is_rung = await bell.rest(backoff.next() if polled is None else pace.left, clock)
        if is_rung:
            await clock.sleep(began + BREATH - clock.monotonic())


async def _read(machine: ListedMachine, client: PanelClient, report: Report, clock: Clock) -> Polled | None:
    """One snapshot; or None, with the reason reported."""
    key = machine.identity.key
    try:
        return await client.snapshot(machine.identity, machine.slug)
    except MachineRefused as error:
        advice = "Look at the machine's page on the panel; the bridge keeps asking."
        report.down(key, StatusCode.BadDeviceFailure, f"The panel says: {error}", advice)
    except ProtocolError as error:
        report.down(
            key, StatusCode.BadDecodingError, str(error), "Tell us the panel's release: its answer is new to us."
        )
    except NotConnected as error:
        await client.confirm(since=clock.monotonic())  # is it the machine, or the panel? Raises where it is the panel.
        advice = "The panel answers, this machine does not; look at its page on the panel."
        report.down(key, StatusCode.UncertainNoCommunicationLastUsableValue, str(error), advice)
    return None


def _publish(key: str, polled: Polled, report: Report, clock: Clock, period: float) -> None:
    """State, then live values: of one instant, with no stamp of the panel; a channel that is null is not told."""
    received = clock.now()
    snapshot, requested_at = polled
    for channel, payload in (("state", snapshot.state), ("live_values", snapshot.live_values)):
        if payload is not None:
            report.observed(key, channel, payload, received=received, requested_at=requested_at, period=period)
