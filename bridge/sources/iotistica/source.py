"""IotisticaSource: agents by MQTT, and their cloud by REST, as one source of machines.

    broker -> mqtt.Listener -.
                              +-> publish
    cloud  -> rest.Rest -----'

Rules
1. Either half may be missing. Both: one that is lost takes its own channels with it, and is connected again here; only
   where both are lost is the source.
2. Telemetry is MQTT's where there is MQTT: REST loses what is no number (facts, finding 4). REST fills what MQTT
   missed; where it is polled all the same (readings: always), it moves no value back.
3. The time in which the bridge itself was not there is a lapse as any other, and what is older than what was told
   before a restart is historical: both are known by the notebook.

done: Bronze, Silver
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from bridge.errors import AuthFailed, RateLimited, SourceError
from bridge.model.event import Event
from bridge.model.observation import Condition, Observation
from bridge.model.status import StatusCode
from bridge.ports import Spoken
from bridge.sources._gravest import gravest
from bridge.sources._poll import Backoff
from bridge.sources.iotistica.executor import IotisticaExecutor, Part
from bridge.sources.iotistica.lapses import Lapses
from bridge.sources.iotistica.mqtt.listener import Listener
from bridge.sources.iotistica.mqtt.write import DEVICE_WRITE
from bridge.sources.iotistica.notebook import Notebook
from bridge.sources.iotistica.presence import Presence
from bridge.sources.iotistica.rest.orders import KINDS
from bridge.sources.iotistica.rest.rest import Rest
from bridge.sources.iotistica.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Collection

    import httpx

    from bridge.ports import Clock, Memory, Publish, Published
    from bridge.sources.iotistica.config import IotisticaConfig
    from bridge.sources.iotistica.profile import Profile

log = logging.getLogger(__name__)

NOTE_PERIOD: Final = 60.0
"""Seconds between what is kept, besides when it stops; after a crash so much may be told again as historical."""

REFUSED_WAIT: Final = 60.0
"""Seconds until a half that was refused is tried again: a person is needed."""


class Half(Protocol):
    """MQTT or REST. `run` serves until it is lost, as a source's does, and may be called again."""

    @property
    def title(self) -> str:
        """What it is called in log lines."""

    @property
    def channels(self) -> frozenset[str]:
        """The channels it alone speaks on."""

    @property
    def is_connected(self) -> bool:
        """It is at work."""

    async def run(self, publish: Publish) -> None:
        """Serve. Raises SourceError."""


class IotisticaSource:
    """One installation. The constructor does no I/O; `run` may be called again.

    Args:
        name: the source's name in the configuration.
        config: the installation.
        clock: the one clock.
        memory: what is known after a restart.
        wanted: UUIDs of the agents to be read; None for all.
        profile: what the cloud's API looks like; needed where `rest` is configured.
        transport: takes the place of the network of REST in tests.
    """

    def __init__(
        self,
        name: str,
        config: IotisticaConfig,
        clock: Clock,
        memory: Memory,
        wanted: Collection[str] | None = None,
        *,
        profile: Profile | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._config = config
        self._clock = clock
        self.roster = Roster(name, config, wanted)
        self.notebook = Notebook(memory)
        self.listener = None
        if config.mqtt is not None:
            self.listener = Listener(name, config, config.mqtt, clock, self.roster, self.notebook)
        self.presence = Presence(name)
        self.rest = None
        if config.rest is not None and profile is not None:
            self.rest = Rest(
                name, config.rest, profile, clock, self.roster, self.presence, self.notebook,
                has_mqtt=config.mqtt is not None, writes=config.writes, websocket=config.websocket, transport=transport,
            )  # fmt: skip
        self.executor = IotisticaExecutor(self._parts())
        self._lapses = Lapses()
        self._is_recalled = False
        self._halves: list[Half] = [half for half in (self.listener, self.rest) if half is not None]
        self._waiting: set[Half] = set()
        """Halves that were lost and are not tried again yet."""
        self._lost: set[Half] = set()
        """Halves of which the source's state says that they are lost."""

    @property
    def name(self) -> str:
        """The source's name in the configuration."""
        return self._name

    async def probe(self) -> Spoken:
        """Which profile the cloud's server speaks (see `bridge.ports.Probing`). Raises SourceError."""
        if self.rest is None:
            return Spoken("it is read by MQTT only: there is no server whose profile could differ")
        return (await self.rest.probe()).told(self._config.profile)

    def _parts(self) -> dict[str, Part]:
        """Who carries out which command."""
        parts: dict[str, Part] = {}
        if self.listener is not None:
            parts[DEVICE_WRITE] = self.listener.executor
        if self.rest is not None:
            parts |= dict.fromkeys(KINDS, self.rest.executor)
        return parts

    async def run(self, publish: Publish) -> None:
        """Serve until nothing of it can be reached any more, or it is cancelled."""
        self.roster.begin()
        self._waiting.clear()
        self._lost.clear()
        if self.listener is None:
            await self._halves[0].run(publish)
            return
        await self._recall(self.listener)
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(self._write_down(), name=f"{self._name} notebook")
                try:
                    await self._serve(self.listener, publish)
                finally:
                    writing.cancel()
        except BaseExceptionGroup as errors:
            raise gravest(errors) from None
        finally:
            self._lapses.lost()
            await self._note()

    async def _serve(self, listener: Listener, publish: Publish) -> None:
        if self.rest is None:
            await listener.run(self._heard(publish))
            return
        async with asyncio.TaskGroup() as group:
            for half in self._halves:
                group.create_task(self._keep(half, publish), name=f"{self._name} {half.title}")

    async def _recall(self, listener: Listener) -> None:
        """Read what was kept: what has been told, and so what is missed, and what was to be filled."""
        await self.notebook.recall()
        if self._is_recalled:
            return
        self._is_recalled = True
        now = round(self._clock.now().timestamp() * 1000)
        for (agent, device, metric), at in self._lapses.recall(self.notebook.page("told"), now):
            listener.intake.newest.recall(agent, device, metric, datetime.fromtimestamp(at / 1000, UTC))
        if self.rest is not None:
            self.rest.backfilled.recall(self.notebook.page("backfill"))

    async def _write_down(self) -> None:
        while True:
            await self._clock.sleep(NOTE_PERIOD)
            await self._note()

    async def _note(self) -> None:
        """Keep what must be known after a restart."""
        pages = {"told": self._lapses.document()}
        if self.rest is not None:
            pages["backfill"] = self.rest.backfilled.document()
        await self.notebook.keep(pages)

    async def _keep(self, half: Half, publish: Publish) -> None:
        """Serve one half, again and again, as long as the other one is there."""
        backoff, told = Backoff(1.0, 60.0), ""
        while True:
            began = self._clock.monotonic()
            self._waiting.discard(half)
            try:
                told_by = self._heard if half is self.listener else self._polled
                await half.run(self._returning(half, told_by(publish)))
            except SourceError as error:
                if half is self.listener:
                    self._lapses.lost()
                    self.presence.release()
                self._waiting.add(half)
                if self._waiting.issuperset(self._halves):
                    raise
                level = logging.DEBUG if str(error) == told else logging.WARNING
                log.log(level, "Source %s: %s is lost: %s", self._name, half.title, error)
                told = str(error)
                self._lost.add(half)
                for condition in self._conditions(half, error):
                    publish(condition)
                wait = _wait_of(error)
                if self._clock.monotonic() - began > REFUSED_WAIT:
                    backoff.reset()
                    told = ""
                await self._clock.sleep(max(wait, backoff.next()))

    def _returning(self, half: Half, publish: Publish) -> Publish:
        """What a half publishes; the first of it after a loss says that the half is back."""

        def tell(item: Published) -> None:
            if half in self._lost and half.is_connected:
                self._lost.discard(half)
                publish(Condition(self._name, StatusCode.Good, "", self._clock.now(), way=half.title))
            publish(item)

        return tell

    def _heard(self, publish: Publish) -> Publish:
        """Hear what MQTT publishes: the first sample after a loss tells what was missed."""

        def hear(told: Published) -> None:
            if (item := self._lapses.once(told)) is None:
                return
            publish(item)
            if isinstance(item, Observation):
                self.presence.hear(item.machine)
            elif isinstance(item, Event):
                self.presence.note(item)
            if (lapses := self._lapses.hear(item)) and self.rest is not None:
                self.rest.fill(lapses)

        return hear

    def _polled(self, publish: Publish) -> Publish:
        """What REST publishes: of readings that MQTT tells too nothing older than MQTT has told, and nothing twice."""

        def tell(told: Published) -> None:
            item = self._lapses.once(told)
            if isinstance(item, Observation) and item.channel == "readings" and not item.historical and self.listener:
                fresh = self.listener.intake.newest.fresh(item.machine, item.payload, item.received)
                item = replace(item, payload=fresh)
            if item is not None:
                publish(item)

        return tell

    def _conditions(self, half: Half, error: SourceError) -> list[Condition]:
        is_refused = isinstance(error, AuthFailed)
        status = StatusCode.UncertainNoCommunicationLastUsableValue
        if is_refused:
            status = StatusCode.BadConfigurationError
        advice = getattr(error, "advice", "") or f"Can this computer reach Iotistica by {half.title}?"
        reason = f"By {half.title}: {error}"
        now = self._clock.now()
        return [
            *(Condition(self._name, status, reason, now, None, channel, advice) for channel in sorted(half.channels)),
            Condition(self._name, status, reason, now, advice=advice, way=half.title),
        ]


def _wait_of(error: SourceError) -> float:
    if isinstance(error, RateLimited):
        return error.retry_after
    return REFUSED_WAIT if isinstance(error, AuthFailed) else 0.0
