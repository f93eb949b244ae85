"""Listener: what agents publish, from the broker to observations.

    broker -> Link -> Listener -> place (topic) -> Intake -> publish

Rules
1. A subscription that the broker refuses is a fault that everybody sees: silence would look like a quiet plant.
2. No `await` for a message: the inbox of a link is bounded, and what comes faster than it is taken is lost (counted).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING, Final

from bridge.errors import AuthFailed, LinkError, LinkRefused, NotConnected, SubscribeRefused
from bridge.model.observation import Condition, Reading
from bridge.model.status import StatusCode
from bridge.sources.iotistica.mqtt.encoding import INFLATED
from bridge.sources.iotistica.mqtt.executor import RESULTS, WriteExecutor
from bridge.sources.iotistica.mqtt.intake import Intake
from bridge.sources.iotistica.mqtt.topic import ENDPOINTS, STATE, Topics
from bridge.transport.mqtt import Link
from bridge.transport.mqtt_version import Spoken

if TYPE_CHECKING:
    from bridge.ports import Clock, Publish
    from bridge.sources.iotistica.config import IotisticaConfig
    from bridge.sources.iotistica.mqtt.config import MqttRules
    from bridge.sources.iotistica.notebook import Notebook
    from bridge.sources.iotistica.roster import Roster
    from bridge.transport.mqtt_connecting import Connecting

log = logging.getLogger(__name__)

READINGS_PERIOD: Final = 5.0
"""Seconds between figures of this half."""
KEEP_PERIOD: Final = 30.0
"""Seconds between looks at what is to be kept."""
DICTIONARIES: Final = "dictionaries"
"""The page of the notebook."""
TICK: Final = 5.0
"""Seconds between looks at who is silent."""
READINGS, STATE_CHANNEL, LINK = "readings", "state", "link"


class Listener:
    """The MQTT half of a source. `run` serves one session; who runs it connects again."""

    title = "MQTT"
    channels = frozenset({READINGS, STATE_CHANNEL, LINK, "anomaly", "update"})

    def __init__(
        self,
        source: str,
        config: IotisticaConfig,
        rules: MqttRules,
        clock: Clock,
        roster: Roster,
        notebook: Notebook,
    ) -> None:
        self._source = source
        self._config = config
        self._rules = rules
        self._clock = clock
        self._notebook = notebook
        self._is_recalled = False
        self._topics = Topics(config.tenant)
        self._client_id = f"plantbridge-{source}-{uuid.uuid4().hex[:8]}"
        self._spoken = Spoken(f"Source {source}")
        self._link: Link | None = None
        self._dropped = 0
        self.intake = Intake(source, rules, clock, roster, self._topics)
        self.executor = WriteExecutor(config, rules, clock, self.intake)

    @property
    def is_connected(self) -> bool:
        """A session is up, and something of it is heard."""
        return self._link is not None

    async def run(self, publish: Publish) -> None:
        """Serve one session. Raises NotConnected, AuthFailed."""
        await self._recall()
        try:
            async with self._connect() as link:
                await self._serve(link, publish)
        except* LinkRefused as group:
            raise AuthFailed(_first(group), "Check user name, password and client id at the broker") from None
        except* LinkError as group:
            raise NotConnected(_first(group), f"Is the broker {self._rules.broker.where} running?") from None
        finally:
            self._link = None
            await self._keep()

    def _connect(self) -> Connecting:
        """What is not deflated may be as long as what is: an agent writes about 1 KiB for each reading (recorded)."""
        return Link.connect(self._rules.broker, self._client_id, spoken=self._spoken, largest=INFLATED)

    async def _serve(self, link: Link, publish: Publish) -> None:
        await self._subscribe(link, publish)
        unheard = await self._subscribe_results(link)
        self._link = link
        self.intake.begin()
        with self.executor.connected(link, unheard):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(publish), name=f"{self._source} MQTT silence")
                group.create_task(self._tell_readings(link, publish), name=f"{self._source} MQTT figures")
                group.create_task(self._keep_all_the_time(), name=f"{self._source} MQTT memory")
                async for message in link.messages():
                    if not self.executor.take(message):
                        self.intake.take(message, publish)

    # -- subscriptions

    async def _subscribe(self, link: Link, publish: Publish) -> None:
        """Ask for all there is; what is refused is told. Raises AuthFailed where everything is."""
        wanted = [*(self._topics.filters if self._rules.vendor_topics else ())]
        wanted += [destination.topic for destination in self._rules.destinations]
        refused: dict[str, str] = {}
        for topic in wanted:
            try:
                await link.subscribe(topic)
            except SubscribeRefused as error:
                refused[topic] = str(error).removeprefix(f"{topic}: ")
        if not refused:
            return
        reason = self._reason(refused, len(wanted))
        if len(refused) == len(wanted):
            raise AuthFailed(reason, self._advice)
        log.warning("Source %s: %s", self._source, reason)
        for channel in self._concerned(refused):
            status = StatusCode.BadConfigurationError
            publish(Condition(self._source, status, reason, self._clock.now(), None, channel, self._advice))

    async def _subscribe_results(self, link: Link) -> str:
        """Listen to the answers to writes; why they cannot be heard, "" where they can."""
        if not self._config.writes:
            return ""
        try:
            await link.subscribe(RESULTS)
        except SubscribeRefused as error:
            log.warning("Source %s: the broker refuses the answers to writes (%s); none is sent", self._source, error)
            return f"the broker refuses the subscription to {RESULTS}"
        return ""

    def _reason(self, refused: dict[str, str], asked: int) -> str:
        first = next(iter(refused))
        return (
            f"The broker {self._rules.broker.where} refuses {len(refused)} of {asked} subscriptions "
            f"({first}: {refused[first]}): what is published there is not heard"
        )

    @property
    def _advice(self) -> str:
        """Facts 1.11, "Trap": the ACL callback wants access 4 for SUBSCRIBE, and REST only gives 1 to 3."""
        who = f"user {self._rules.broker.username}" if self._rules.broker.username else "clients without a name"
        return (
            f"Give {who} read access to {self._topics.acl} and permission to subscribe to it. With Iotistica's "
            "mosquitto an ACL made by its REST API (access 1 to 3) does not allow SUBSCRIBE: make the user a "
            "superuser, or set access 5 in the database"
        )

    def _concerned(self, refused: dict[str, str]) -> list[str]:
        """Channels of which nothing, or not all, is heard."""
        own = {destination.topic for destination in self._rules.destinations}
        channels = []
        if self._topics.filter(f"{ENDPOINTS}/#") in refused or own & refused.keys():
            channels.append(READINGS)
        if self._topics.filter(STATE) in refused:
            channels.append(STATE_CHANNEL)
        return channels

    async def _watch(self, publish: Publish) -> None:
        while True:
            await self._clock.sleep(TICK)
            self.intake.tick(publish)

    # -- memory

    async def _recall(self) -> None:
        if not self._is_recalled:
            await self._notebook.recall()
            self.intake.shelf.recall(self._notebook.page(DICTIONARIES))
            self._is_recalled = True

    async def _keep(self) -> None:
        page = self.intake.shelf.news()
        if page is not None:
            await self._notebook.keep({DICTIONARIES: page})

    async def _keep_all_the_time(self) -> None:
        while True:
            await self._clock.sleep(KEEP_PERIOD)
            await self._keep()

    # -- figures

    async def _tell_readings(self, link: Link, publish: Publish) -> None:
        before = self._dropped
        while True:
            self._dropped = before + link.dropped
            now = self._clock.now()
            for name, value in (*self.intake.figures(), ("MqttDropped", self._dropped)):
                publish(Reading(self._source, name, value, now))
            await self._clock.sleep(READINGS_PERIOD)


def _first(group: BaseExceptionGroup[LinkError]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
