"""Stream: one machine's Socket.IO namespace, followed as long as the machine is listed.

When any client leaves a machine's namespace the panel stops sending to all of them, until somebody joins: so a silent
namespace is joined anew at once (which revives the panel's own HMI too), and left only when it must be.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from bridge.errors import NotConnected, ProtocolError
from bridge.model.status import StatusCode
from bridge.model.value import to_milliseconds
from bridge.sources._poll import Backoff
from bridge.sources.qitech.catalogue import NOTICE, channel_of, period_of, stall_of
from bridge.sources.qitech.socketio import Connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.errors import SourceError
    from bridge.ports import Clock
    from bridge.sources.qitech.client import PanelClient
    from bridge.sources.qitech.panelclock import PanelClock
    from bridge.sources.qitech.payloads import Envelope, ListedMachine
    from bridge.sources.qitech.report import Report
    from bridge.sources.qitech.socketio import Door

SETTLED: Final = 10.0
"""Seconds of values after which a break is a new one: the first try to join again then comes at once."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


CHANNELS: Final = 32
"""Channels one machine may have; the richest known has three."""

STATE_PATIENCE: Final = 5.0
"""Seconds of live values without a state after joining; the panel sends one at once, unless its queue was full."""

STATE_TRIES: Final = 3
"""Joins for the sake of a lost state; a machine that has none is then left in peace."""


class Renewed(NotConnected):
    """A connection that we end ourselves, to join anew."""


async def follow(
    door: Door,
    namespace: str,
    clock: Clock,
    stall: float | None,
    take: Callable[[Envelope], None],
    joined: Callable[[Connection], None] = lambda _: None,
) -> SourceError:
    """Join a namespace and hand on what comes; returns why it ended. Raises AuthFailed."""
    try:
        async with Connection(door, namespace, clock, stall) as connection:
            joined(connection)
            while True:
                for event in await connection.events():
                    take(event)
    except (NotConnected, ProtocolError) as error:
        return error


async def keep_joined(
    join: Callable[[], Awaitable[SourceError]],
    lost: Callable[[SourceError], None],
    client: PanelClient,
    clock: Clock,
) -> None:
    """Join again and again, until cancelled. Raises NotConnected or AuthFailed when the panel is gone or changed."""
    backoff = Backoff()
    while True:
        joined = clock.monotonic()
        error = await join()
        broken = clock.monotonic()
        lost(error)
        if broken - joined >= SETTLED:
            backoff.reset()
        else:
            await clock.sleep(backoff.next())
        await client.confirm(since=broken)


class Stream:
    """Follows one machine."""

    def __init__(
        self,
        machine: ListedMachine,
        door: Door,
        client: PanelClient,
        report: Report,
        clock: Clock,
        panel_clock: PanelClock,
    ) -> None:
        self._identity = machine.identity
        self._key = machine.identity.key
        self._door = door
        self._client = client
        self._report = report
        self._clock = clock
        self._panel_clock = panel_clock
        self._newest: dict[str, int] = {"state": 0, "live_values": 0}
        """Channels, with the time of the newest value of each in milliseconds."""
        self._joined = 0.0
        self._has_state = False
        self._stateless = 0
        self._connection: Connection | None = None
        self._renewals: list[Callable[[], None]] = []

    async def renew(self, begins: Callable[[], None]) -> None:
        """Join anew, for the state which that brings; `begins` is called when it is done: what comes then is newer.

        Returns at once. The old connection is closed before the new one is opened: leaving silences the machine for
        everybody, joining gives it its voice back.
        """
        self._renewals.append(begins)
        if self._connection is not None:
            self._connection.end(Renewed("Joined anew, to see the machine's state"))

    async def run(self) -> None:
        """Follow until cancelled. Raises NotConnected or AuthFailed when the panel is gone."""
        await keep_joined(self._join, self._lost, self._client, self._clock)

    async def _join(self) -> SourceError:
        while True:
            error = await self._follow()
            if not isinstance(error, Renewed):
                return error

    async def _follow(self) -> SourceError:
        stall = stall_of(self._identity.machine)
        self._joined, self._has_state = self._clock.monotonic(), False
        try:
            return await follow(self._door, self._identity.namespace, self._clock, stall, self._take, self._enter)
        finally:
            self._connection = None

    def _enter(self, connection: Connection) -> None:
        self._connection = connection
        renewals, self._renewals = self._renewals, []
        for begins in renewals:
            begins()

    def _lost(self, error: SourceError) -> None:
        """Until the next event of each channel nothing is known, though the last values may still be true."""
        status = StatusCode.UncertainNoCommunicationLastUsableValue
        advice = "The bridge joins again by itself; if this lasts, look at the machine's page on the panel."
        self._report.down(self._key, status, str(error), advice, tuple(self._newest))

    def _take(self, event: Envelope) -> None:
        received = self._clock.now()
        moment = self._moment(event, received)
        if event.name == NOTICE:
            self._report.notice(self._key, received if moment is None else _stamp(moment), event.data)
            return
        channel = channel_of(event.name)
        if channel not in self._newest and len(self._newest) >= CHANNELS:
            return
        self._expect_state(channel)
        if isinstance(event.data, dict):
            source_time = self._source_time(channel, moment)
            self._report.observed(
                self._key, channel, event.data, received=received, source_time=source_time, period=period_of(channel)
            )
        elif event.data is not None:
            reason = f"{event.name} holds no object, but {type(event.data).__name__}"
            self._report.garbled(self._key, channel, StatusCode.BadDecodingError, reason)

    def _expect_state(self, channel: str) -> None:
        """Raise NotConnected where the state that joining brings was lost: it would not come again for hours."""
        if channel == "state":
            self._has_state, self._stateless = True, 0
        elif not self._has_state and self._stateless < STATE_TRIES and self._age() >= STATE_PATIENCE:
            self._stateless += 1
            raise NotConnected("The panel did not send the machine's state")

    def _age(self) -> float:
        """Seconds since the stream was joined."""
        return self._clock.monotonic() - self._joined

    def _moment(self, event: Envelope, received: datetime) -> int | None:
        """When the panel sent this, in milliseconds of our time; None where it does not say."""
        if event.ts is None:
            return None
        now = to_milliseconds(received)
        moment = self._panel_clock.corrected(event.ts, now)
        offset = self._panel_clock.news(now)
        if offset is not None:
            self._report.reading("ClockOffset", offset)
        return moment

    def _source_time(self, channel: str, moment: int | None) -> datetime | None:
        """The panel's stamp in our time, unless it runs backwards: then the receive time is the better one."""
        newest = self._newest.get(channel, 0)
        if moment is None or moment < newest:
            return None
        self._newest[channel] = moment
        return _stamp(moment)


def _stamp(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
