"""Polling: one machine of a 2.x panel, read by GET at an even pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.errors import NotConnected, ProtocolError
from bridge.model.status import StatusCode
from bridge.sources._poll import Backoff, Pace
from bridge.sources.qitech.client import MachineRefused

if TYPE_CHECKING:
    from bridge.ports import Clock
    from bridge.sources.qitech.client import PanelClient, Polled
    from bridge.sources.qitech.payloads import ListedMachine
    from bridge.sources.qitech.report import Report


async def poll(machine: ListedMachine, client: PanelClient, report: Report, clock: Clock, period: float) -> None:
    """Read a machine every `period` seconds until cancelled.

    Raises NotConnected or AuthFailed when the panel is gone; what is wrong with this machine alone is reported.
    """
    pace, backoff = Pace(period, clock), Backoff()
    while True:
        pace.began()
        polled = await _read(machine, client, report, clock)
        if polled is None:
            await clock.sleep(backoff.next())
            continue
        backoff.reset()
        _publish(machine.identity.key, polled, report, clock, pace.effective)
        await pace.wait()


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
